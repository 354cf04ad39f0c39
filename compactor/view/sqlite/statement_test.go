package sqlite

import (
	"errors"
	"testing"
)

func TestOneStatement(t *testing.T) {
	for text, is := range map[string]bool{
		"select 1": true, "select 1;": true, " select 1 ; ; -- end": true, "select ';' ; /* ; */": true, `select ";a" from runs`: true,
		"select 'it''s; so'": true, "select `;`": true, "select [;]": true, "-- first;\nselect 1": true, ";select 1": true, "select '": true, "/* open": false,
		"": false, " \n": false, ";": false, "-- nothing": false, "select 1; select 2": false, "select 1;select 2;": false,
		"select 1; -- and\nselect 2": false, "select 'a';'b'": false,
	} {
		if err := one(text); (err == nil) != is || err != nil && !errors.Is(err, ErrStatement) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
