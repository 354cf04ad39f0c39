package postgres

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/viewtest"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/pgclient"
)

// place is a schema of a server.
type place struct {
	server
	schema string
}

func newPlace(t testing.TB) viewtest.Place { return place{need(t), newSchema()} }

func (p place) Open(t testing.TB, step viewtest.Step) view.View {
	t.Helper()
	v, err := Open(p.url(p.schema), Options{Wait: 5 * time.Millisecond, wrap: func(c driver.Connector) driver.Connector { return viewtest.Connector(c, step) }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (place) Canonical(json []byte) []byte { return canonical(fromJSONB(json)) }

// Cells reads what a user would see.
func (p place) Cells(t testing.TB, rootID string) viewtest.Cells {
	t.Helper()
	conn, cells := p.connect(t, p.schema), viewtest.Cells{}
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), `SELECT * FROM runs WHERE root_id = $1`, rootID)
	if pgclient.IsCode(err, pgclient.CodeNoTable) {
		return cells
	}
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		row := map[string]string{}
		for i, f := range rows.FieldDescriptions() {
			raw := rows.RawValues()[i]
			if raw == nil || f.Name == "root_id" || f.Name == "_key_digest" {
				continue
			}
			if f.Name == "_extra" || f.Name == "snapshot" {
				row[f.Name] = jsonText(f.Format, raw)
				continue
			}
			values, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			row[f.Name] = cell(t, f.Name, values[i])
		}
		key := jsonscan.Text([]byte(row["_key"]))
		if cells[key] != nil {
			t.Errorf("%s stands twice", key)
		}
		cells[key] = row
	}
	if err := rows.Err(); err != nil && !pgclient.IsCode(err, pgclient.CodeNoTable) {
		t.Fatal(err)
	}
	return cells
}

// jsonText is the text of a jsonb, which begins with its version in the binary form.
func jsonText(format int16, raw []byte) string {
	if format == pgx.BinaryFormatCode {
		raw = raw[1:]
	}
	return string(raw)
}

// cell is a value as the index spells it.
func cell(t testing.TB, name string, v any) string {
	t.Helper()
	switch v := v.(type) {
	case int64:
		if name == "_digest" {
			return `"` + hex.EncodeToString([]byte{byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}) + `"`
		}
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return string(index.Token(cohort.FormatTime(v.UTC())))
	case string:
		return string(index.Token(unescaper.Replace(v)))
	case float64:
	default:
		t.Errorf("%s holds %T", name, v)
		return ""
	}
	return string(index.Token(v))
}

// Exec runs a statement as somebody else would.
func (p place) Exec(t testing.TB, stmt string) {
	t.Helper()
	conn := p.connect(t, p.schema)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), "CREATE SCHEMA IF NOT EXISTS "+p.schema+"; "+stmt); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

// Spoil changes the table as somebody else would.
func (p place) Spoil(t testing.TB, what string) {
	t.Helper()
	stmt := map[string]string{
		"a cell":     `UPDATE runs SET n = n + 1 WHERE run_id = 'many-1'`,
		"a snapshot": `UPDATE runs SET snapshot = replace(snapshot::text, 'many-1', 'many-2')::jsonb WHERE run_id = 'many-1'`,
		"a row less": `DELETE FROM runs WHERE run_id = 'many-1'`,
		"_extra":     `UPDATE runs SET _extra = '{"more":1}' WHERE run_id = 'many-1'`,
	}[what]
	r, err := p.connect(t, p.schema).Exec(context.Background(), stmt)
	if n := r.RowsAffected(); n != 1 || err != nil {
		t.Fatal(fmt.Errorf("%s changed %d rows: %w", stmt, n, err))
	}
}

func TestView(t *testing.T) { viewtest.Test(t, newPlace) }
