package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var screenshots = flag.String("screenshots", "", "keep the screenshots of TestBrowser in this folder")

// TestBrowser goes through the pages of "compactd serve" in Chromium. It needs chromium, node, and a folder with playwright-core that
// $RUNFOLD_PLAYWRIGHT names: npm install --prefix FOLDER playwright-core.
func TestBrowser(t *testing.T) {
	modules := filepath.Join(os.Getenv("RUNFOLD_PLAYWRIGHT"), "node_modules")
	chromium, err := exec.LookPath("chromium")
	if err == nil {
		_, err = exec.LookPath("node")
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "playwright-core"))
	}
	if err != nil {
		if os.Getenv("RUNFOLD_MUST_RUN") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "runs")
	for id, records := range map[string]string{"churn_eu": sweep(300), "hostile": hostile()} {
		do(t, records, "journal-append", "--root", root, "--create", "--cohort", id)
		do(t, "", "compactd", "once", "--root", root, "--quiet")
	}
	do(t, sweep(5), "journal-append", "--root", root, "--cohort", "churn_us") // which waits

	serve := exec.Command("compactd", "serve", "--root", root, "--listen", "127.0.0.1:0")
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	serve.Stderr = &said
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Signal(os.Interrupt)
		if err := serve.Wait(); err != nil {
			t.Errorf("serve: %v\n%s", err, &said)
		}
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	shots := *screenshots
	if shots == "" {
		shots = filepath.Join(dir, "shots")
	}
	browse := exec.CommandContext(t.Context(), "node", filepath.Join("testdata", "browser", "browse.cjs"), strings.TrimSpace(address), chromium, shots)
	browse.Env = append(os.Environ(), "NODE_PATH="+modules, "HOME="+dir)
	if told, err := browse.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
}

// do runs a command that must succeed.
func do(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// sweep is records of a search for good params, always the same.
func sweep(n int) string {
	var b strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		lr := []string{"1e-4", "0.0003", "0.001", "0.003", "0.01"}[r.IntN(5)]
		fmt.Fprintf(&b, `{"run_id":"r-%d","stage":"TRAINING","timestamp":"2026-01-%02dT%02d:30:00Z","metrics":{"auc":%.4f,"loss":%.5f,"precision":%.3f,"recall":%.3f,"epoch_seconds":%d},`,
			i, 1+i/24%28, i%24, 0.5+0.4*float64(i)/float64(n)+0.1*r.Float64()-0.05, 2/(1+float64(i)/40)+0.2*r.Float64(), r.Float64(), r.Float64(), 20+r.IntN(200))
		fmt.Fprintf(&b, `"params":{"lr":%s,"opt":"%s","batch":%d,"dropout":%.1f},"tags":{"owner":"%s","host":"gpu-%02d"},"layers":[512,256,%d],"config":{"data":{"from":"2025-01-01","rows":%d,"features":["age","tenure","plan","usage_30d","usage_90d"],"note":"all customers with a contract"},"seed":%d,"early_stop":null,"amp":true}}`+"\n",
			lr, []string{"adam", "sgd", "lamb"}[r.IntN(3)], 32<<r.IntN(4), float64(r.IntN(6))/10, []string{"ada", "grace", "barbara"}[i%3], r.IntN(12), 8<<r.IntN(4), 100000+i, r.IntN(1000))
	}
	return b.String()
}

// hostile is records of somebody who wants scripts to run in the browsers of others.
func hostile() string {
	var b strings.Builder
	for _, text := range []string{
		`<script>window.hacked=1</script>`, `"><img src=x onerror="window.hacked=1">`, `javascript:window.hacked=1`, `' onmouseover='window.hacked=1`, "line\nbreak\r\n\ttab", "\u202egnp.exe", "\x1b[31mred",
		"zero\u200bwidth\u2066", `</title></svg><style>*{display:none}</style>`, "漢字 🙂 ünï", strings.Repeat("very long ", 90), `a&b=c?d#e%00+ `, `"quoted"`, `back\slash`,
	} {
		data, err := json.Marshal(map[string]any{"run_id": text, "stage": "S", "metrics": map[string]any{"auc": 0.5, text: 1}, "params": map[string]string{"opt": text}, text: map[string]any{text: []string{text}}})
		if err != nil {
			panic(err)
		}
		b.Write(append(data, '\n'))
	}
	return b.String()
}
