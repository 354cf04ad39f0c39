package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/quantity"
)

// daemonFlags are what compactd run is told. A configuration file adds to them; what both say is refused.
type daemonFlags struct {
	schedule, logFormat, logLevel, config string
	views                                 []string // their URLs
	lock                                  lockFlags
	fold                                  compactor.Config
	given                                 func(flag string) bool // whether it stands on the command line
}

// settings are the fields of a configuration file. Each is named like its flag, with _ for -. That of a flag that may be given more than once takes a list, too.
var settings = []struct {
	name string
	set  func(f *daemonFlags, text string) error
	many bool
}{
	{"schedule", func(f *daemonFlags, text string) error { f.schedule = text; return nil }, false},
	{"log_level", func(f *daemonFlags, text string) error { f.logLevel = text; return nil }, false},
	{"batch_bytes", func(f *daemonFlags, text string) error {
		return positive{(*quantity.Bytes)(&f.fold.BatchBytes)}.Set(text)
	}, false},
	{"keep_generations", func(f *daemonFlags, text string) error { return positive{(*count)(&f.fold.KeepGenerations)}.Set(text) }, false},
	{"keep_age", func(f *daemonFlags, text string) error {
		return positive{(*quantity.Duration)(&f.fold.KeepAge)}.Set(text)
	}, false},
	{"dead_after", func(f *daemonFlags, text string) error {
		return positive{(*quantity.Duration)(&f.fold.DeadAfter)}.Set(text)
	}, false},
	{"grace", func(f *daemonFlags, text string) error {
		return positive{(*quantity.Duration)(&f.fold.ReapGrace)}.Set(text)
	}, false},
	{"scrub", func(f *daemonFlags, text string) error {
		return positive{(*quantity.Share)(&f.fold.Scrub)}.Set(text)
	}, false},
	{"lock", func(f *daemonFlags, text string) error { return f.lock.url.Set(text) }, false},
	{"lock_optional", func(f *daemonFlags, text string) (err error) { f.lock.optional, err = yesOrNo(text); return err }, false},
	{"view", func(f *daemonFlags, text string) error { f.views = append(f.views, text); return nil }, true},
}

func settingNames() []string {
	var names []string
	for _, s := range settings {
		names = append(names, s.name)
	}
	return names
}

// read takes the settings of a configuration file.
func (f *daemonFlags) read(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := f.decode(data); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	limitMemory(f.fold.BatchBytes)
	return nil
}

func (f *daemonFlags) decode(data []byte) error {
	data = []byte(strings.TrimSpace(string(data)))
	if err := checkJSON(data); err != nil {
		return err
	}
	seen := map[string]bool{}
	for m := range jsonscan.EachMember(data) {
		name := string(m.Name)
		at := slices.Index(settingNames(), name)
		flag := strings.ReplaceAll(name, "_", "-")
		switch {
		case at < 0:
			return fmt.Errorf("unknown setting %q: there are %s", name, strings.Join(settingNames(), ", "))
		case seen[name]:
			return fmt.Errorf("%s stands twice", name)
		case f.given != nil && f.given(flag):
			return fmt.Errorf("%s stands here, and --%s on the command line: give it once", name, flag)
		}
		seen[name] = true
		texts, err := textsOf(m.Value, settings[at].many)
		for i := 0; i < len(texts) && err == nil; i++ {
			err = settings[at].set(f, texts[i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// textsOf are the texts of a value: one, or where there may be many those of a list.
func textsOf(value []byte, many bool) (texts []string, err error) {
	switch kind := jsonscan.KindOf(value); {
	case many && kind == jsonscan.Array:
		if err := json.Unmarshal(value, &texts); err != nil {
			return nil, errors.New("what is in the list must be text")
		}
		return texts, nil
	case kind == jsonscan.String:
		return []string{jsonscan.Text(value)}, nil
	case many:
		return nil, fmt.Errorf("is a JSON %v: it must be text, or a list of texts", kind)
	case kind == jsonscan.Int, kind == jsonscan.Double, kind == jsonscan.Bool:
		return []string{string(value)}, nil
	default:
		return nil, fmt.Errorf("is a JSON %v: it must be a number, text, true or false", kind)
	}
}

func yesOrNo(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

// checkJSON wants one JSON object.
func checkJSON(data []byte) error {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(data, &raw); errors.As(err, &syntax) {
		line := 1 + strings.Count(string(data[:min(int(syntax.Offset), len(data))]), "\n")
		return fmt.Errorf("is not JSON in line %d: %w", line, err)
	} else if err != nil {
		return err
	}
	if kind := jsonscan.KindOf(data); kind != jsonscan.Object {
		return fmt.Errorf("is a JSON %v: it must be an object, such as {\"schedule\": \"@every 10s\"}", kind)
	}
	return nil
}

// parseSchedule is compactor.ParseSchedule, and takes durations such as 1d.
func parseSchedule(text string) (compactor.Schedule, error) {
	if every, ok := strings.CutPrefix(strings.TrimSpace(text), "@every "); ok {
		d, err := quantity.ParseDuration(every)
		if err != nil {
			return compactor.Schedule{}, fmt.Errorf("schedule %q: %w", text, err)
		}
		if _, err := time.ParseDuration(strings.TrimSpace(every)); err != nil { // that of Go stays as it is written
			text = "@every " + d.String()
		}
	}
	return compactor.ParseSchedule(text)
}

func parseLevel(text string) (zapcore.Level, error) {
	level, err := zapcore.ParseLevel(text)
	if err != nil || level > zapcore.ErrorLevel {
		return 0, fmt.Errorf("the log level %q is not debug, info, warn or error", text)
	}
	return level, nil
}
