package main

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/runfold/runfold/internal/acceptance"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts get into what they want")

func TestMain(m *testing.M) { acceptance.Main(m, "journal-append", main, "compactd") }

// TestScripts runs testdata/*.txtar: one behaviour each.
func TestScripts(t *testing.T) {
	testscript.Run(t, acceptance.Params(*rewrite))
}
