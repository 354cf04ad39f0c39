package cohort_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

const examples = "../docs/examples"

// counts is what docs/examples/README.md and the README say about the examples.
type counts struct {
	Records, Keys, Retries int
	Runs, Snapshots        int // run ids; records with a snapshot
	Phase                  int // records that say phase instead of stage
	NoTime, Offset         int // no timestamp; one that does not end in Z
	NonFinite              int
	FloatRows              int // n_rows as 25000.0 instead of 25000
	Symbols                int // records with target, view and symbol
}

func (c *counts) add(o counts) {
	for _, f := range []struct {
		sum *int
		n   int
	}{
		{&c.Records, o.Records}, {&c.Keys, o.Keys}, {&c.Retries, o.Retries}, {&c.Runs, o.Runs},
		{&c.Snapshots, o.Snapshots}, {&c.Phase, o.Phase}, {&c.NoTime, o.NoTime}, {&c.Offset, o.Offset},
		{&c.NonFinite, o.NonFinite}, {&c.FloatRows, o.FloatRows}, {&c.Symbols, o.Symbols},
	} {
		*f.sum += f.n
	}
}

// exampleRecords reads one file of the examples: no line may be empty or invalid.
func exampleRecords(t testing.TB, path string) []cohort.Record {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if last := len(lines) - 1; lines[last] != "" {
		t.Errorf("%s: the last line does not end in a line feed", path)
	}
	var records []cohort.Record
	for i, line := range lines[:len(lines)-1] {
		r, err := valid(line)
		if err != nil {
			t.Errorf("%s:%d: ParseRecord: %v", path, i+1, err)
			continue
		}
		records = append(records, r)
	}
	return records
}

func count(records []cohort.Record) counts {
	c := counts{Records: len(records)}
	keys, runs := make(map[cohort.Key]bool), make(map[string]bool)
	for _, r := range records {
		keys[cohort.KeyForm{}.Of(r)], runs[r.RunID] = true, true
		c.NonFinite += r.NonFinite
		for _, fact := range []struct {
			n  *int
			is bool
		}{
			{&c.Snapshots, kindAt(r.JSON, "snapshot") == jsonscan.Object},
			{&c.Phase, kindAt(r.JSON, "phase") != 0 && kindAt(r.JSON, "stage") == 0},
			{&c.NoTime, r.Timestamp == ""},
			{&c.Offset, r.Timestamp != "" && !strings.HasSuffix(r.Timestamp, "Z")},
			{&c.FloatRows, kindAt(r.JSON, "metrics", "n_rows") == jsonscan.Double},
			{&c.Symbols, r.Target != "" && r.View != "" && r.Symbol != ""},
		} {
			if fact.is {
				*fact.n++
			}
		}
	}
	c.Keys, c.Runs, c.Retries = len(keys), len(runs), len(records)-len(keys)
	return c
}

// at is the value at a path of member names, nil if it is absent.
func at(obj []byte, path ...string) []byte {
	for _, want := range path {
		var found []byte
		for name, value := range jsonscan.Members(obj) {
			if name == want {
				found = value
			}
		}
		if found == nil {
			return nil
		}
		obj = found
	}
	return obj
}

func kindAt(obj []byte, path ...string) jsonscan.Kind {
	if value := at(obj, path...); value != nil {
		return jsonscan.KindOf(value)
	}
	return 0
}

func TestExamples(t *testing.T) {
	want := map[string]counts{
		"fwd_ret_5m":    {Records: 64, Keys: 58, Retries: 6, Runs: 20, Snapshots: 46, Phase: 10, NoTime: 8, Symbols: 12},
		"fwd_ret_60m":   {Records: 52, Keys: 47, Retries: 5, Runs: 16, Snapshots: 38, Phase: 7, NoTime: 6, Offset: 13, NonFinite: 1, FloatRows: 8},
		"churn_eu":      {Records: 44, Keys: 38, Retries: 6, Runs: 13, Snapshots: 34, Phase: 6, NoTime: 5, Offset: 14, FloatRows: 8},
		"vision_resnet": {Records: 40, Keys: 35, Retries: 5, Runs: 12, Snapshots: 33, Phase: 6, NoTime: 5, Offset: 7},
	}
	paths, err := filepath.Glob(examples + "/*.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]counts)
	var all []cohort.Record
	var sum counts
	for _, path := range paths {
		id, err := cohort.ParseID(strings.TrimSuffix(filepath.Base(path), ".ndjson"))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		records := exampleRecords(t, path)
		got[id.String()] = count(records)
		sum.add(count(records))
		all = append(all, records...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts of %s (-want +got):\n%s", examples, diff)
	}
	// No key stands in two cohorts: rows of an index are one per key, whatever the cohort.
	if diff := cmp.Diff(sum, count(all)); diff != "" {
		t.Errorf("counts of all files together (-sum +together):\n%s", diff)
	}
	want200 := counts{Records: 200, Keys: 178, Retries: 22, Runs: 61, Snapshots: 151, Phase: 29, NoTime: 24, Offset: 34,
		NonFinite: 1, FloatRows: 16, Symbols: 12}
	if diff := cmp.Diff(want200, sum); diff != "" {
		t.Errorf("sum of counts (-want +got):\n%s", diff)
	}
}

// Each odd value that docs/examples/README.md names stands in exactly the given number of records.
func TestExamplesOddities(t *testing.T) {
	tests := []struct {
		cohort, name string
		want         int
		is           func(r cohort.Record) bool
	}{
		{"fwd_ret_5m", "clock behind", 1, func(r cohort.Record) bool {
			return string(at(r.JSON, "tags", "note")) == `"host clock is behind"`
		}},
		{"fwd_ret_60m", "run_id with ':'", 4, func(r cohort.Record) bool { return r.RunID == "日次:北-2026-03-01" }},
		{"fwd_ret_60m", "record_id", 1, func(r cohort.Record) bool { return r.ID == "rerun-14-2" }},
		{"fwd_ret_60m", "null metric", 1, func(r cohort.Record) bool {
			return kindAt(r.JSON, "metrics", "auc") == jsonscan.Null && r.NonFinite == 1
		}},
		{"churn_eu", "umlauts as escapes", 4, func(r cohort.Record) bool {
			return r.RunID == "größe-2026-w09" && string(at(r.JSON, "run_id")) == `"gr\u00f6\u00dfe-2026-w09"` &&
				string(at(r.JSON, "tags", "größe")) == `"mittel"`
		}},
		{"churn_eu", "text in a metric", 1, func(r cohort.Record) bool {
			return string(at(r.JSON, "metrics", "lift_top10")) == `"n/a"`
		}},
		{"churn_eu", "null metric", 1, func(r cohort.Record) bool { return kindAt(r.JSON, "metrics", "lift_top10") == jsonscan.Null }},
		{"churn_eu", "empty text", 1, func(r cohort.Record) bool { return string(at(r.JSON, "tags", "note")) == `""` }},
		{"vision_resnet", "2^53 + 1", 1, func(r cohort.Record) bool {
			return string(at(r.JSON, "params", "seed")) == "9007199254740993"
		}},
		{"vision_resnet", "zero", 1, func(r cohort.Record) bool { return string(at(r.JSON, "params", "warmup_steps")) == "0" }},
		{"vision_resnet", "null parameter", 1, func(r cohort.Record) bool { return kindAt(r.JSON, "params", "clip_norm") == jsonscan.Null }},
		{"vision_resnet", "top-level bool", 2, func(r cohort.Record) bool { return kindAt(r.JSON, "ok") == jsonscan.Bool }},
		{"vision_resnet", "top-level array", 1, func(r cohort.Record) bool { return kindAt(r.JSON, "warnings") == jsonscan.Array }},
	}
	for _, test := range tests {
		got := 0
		for _, r := range exampleRecords(t, filepath.Join(examples, test.cohort+".ndjson")) {
			if test.is(r) {
				got++
			}
		}
		if got != test.want {
			t.Errorf("%s: %s in %d records, want %d", test.cohort, test.name, got, test.want)
		}
	}
	rows := make(map[string]int)
	for _, r := range exampleRecords(t, filepath.Join(examples, "churn_eu.ndjson")) {
		rows[string(at(r.JSON, "metrics", "n_rows"))]++
	}
	if rows["25000"] == 0 || rows["25000.0"] == 0 {
		t.Errorf("churn_eu: n_rows is %v, want 25000 and 25000.0 among them", rows)
	}
}

// The later line of a key is the last write, even where its timestamp is earlier, and the synonym of
// stage makes no other key.
func TestExamplesRetries(t *testing.T) {
	older, synonym, same := 0, 0, 0
	last := make(map[cohort.Key]cohort.Record)
	for _, r := range exampleRecords(t, filepath.Join(examples, "fwd_ret_5m.ndjson")) {
		key := cohort.KeyForm{}.Of(r)
		if old, ok := last[key]; ok {
			if r.Timestamp != "" && old.Timestamp != "" && r.Time().Before(old.Time()) {
				older++
			}
			if kindAt(old.JSON, "stage") != 0 && kindAt(r.JSON, "phase") != 0 {
				synonym++
			}
			if bytes.Equal(at(old.JSON, "metrics"), at(r.JSON, "metrics")) || old.Symbol != r.Symbol {
				same++
			}
		}
		last[key] = r
	}
	if older != 1 || synonym == 0 || same != 0 {
		t.Errorf("retries: %d with an earlier timestamp, %d with the synonym, %d with equal metrics or another symbol; "+
			"want 1, some and none", older, synonym, same)
	}
}

func TestExamplesOld(t *testing.T) {
	data, err := os.ReadFile(examples + "/old/snapshot_index.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) {
		t.Fatal("snapshot_index.json is not JSON")
	}
	wide := mustForm(t, "run_id", "phase", "target", "view", "symbol")
	type facts struct{ Entries, Plain, WithStage, Long, WithAttempt, WithSeq, LackRunID, LackStage, Keys, WideKeys int }
	var got facts
	keys := make(map[cohort.Key]bool)
	wides := make(map[cohort.Key]bool)
	for text, value := range jsonscan.Members(data) {
		own := "" // what the value says itself
		if run := at(value, "run_id"); run != nil {
			own = jsonscan.Text(run)
		}
		parts := cohort.ParseKey(text, own)
		got.Entries++
		switch {
		case parts.Attempt != "":
			got.WithAttempt++
		case parts.Target != "":
			got.Long++
		case parts.Stage != "":
			got.WithStage++
		default:
			got.Plain++
		}
		if k := kindAt(value, "snapshot_seq"); k == jsonscan.Int || k == jsonscan.Double {
			got.WithSeq++
		}
		if own == "" {
			got.LackRunID++
		}
		stage := at(value, "stage")
		if stage == nil {
			stage = at(value, "phase")
		}
		if stage == nil {
			got.LackStage++
		} else if s := jsonscan.Text(stage); parts.Stage == "" {
			parts.Stage = s
		} else if parts.Stage != s {
			t.Errorf("%q: the key says stage %q, the value %q", text, parts.Stage, s)
		}
		r := cohort.Record{RunID: parts.RunID, Stage: parts.Stage, Target: parts.Target, View: parts.View, Symbol: parts.Symbol}
		keys[cohort.KeyForm{}.Of(r)], wides[wide.Of(r)] = true, true
	}
	got.Keys, got.WideKeys = len(keys), len(wides)
	want := facts{Entries: 12, Plain: 3, WithStage: 4, Long: 3, WithAttempt: 2, WithSeq: 8,
		LackRunID: 3, LackStage: 3, Keys: 10, WideKeys: 11}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("old/snapshot_index.json (-want +got):\n%s", diff)
	}
}
