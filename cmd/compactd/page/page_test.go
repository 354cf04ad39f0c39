package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/journal"
)

// site is a root and its page.
type site struct {
	testing.TB
	root journal.Root
	page *Page
	cfg  Config
}

// newSite makes a root, with a page that is closed with the test.
func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(t.TempDir(), "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{TB: t, root: root, cfg: Config{Root: compactor.Config{Root: root.Dir}}}
	for _, c := range change {
		c(&s.cfg)
	}
	s.page = New(s.cfg)
	t.Cleanup(s.page.Close)
	return s
}

// append appends records of one cohort.
func (s *site) append(id cohort.ID, records ...string) {
	s.Helper()
	w, err := s.root.Create(id, journal.Options{})
	if err != nil {
		s.Fatal(err)
	}
	var all []cohort.Record
	for _, text := range records {
		r, err := cohort.ParseRecord([]byte(text), 0)
		if err != nil {
			s.Fatal(err)
		}
		all = append(all, r)
	}
	if err := w.Append(all); err != nil {
		s.Fatal(err)
	}
	if err := w.Close(); err != nil {
		s.Fatal(err)
	}
}

func (s *site) fold() {
	s.Helper()
	if _, err := compactor.Fold(context.Background(), s.cfg.Root); err != nil {
		s.Fatal(err)
	}
}

// trained are so many runs.
func trained(from, to int) (records []string) {
	for i := from; i < to; i++ {
		opt := []string{"adam", "sgd"}[i%2]
		records = append(records, fmt.Sprintf(`{"run_id":"r-%d","stage":"TRAINING","metrics":{"auc":0.%03d},"params":{"lr":0.%d,"opt":%q},"layers":[64,%d]}`, i, 100+i, 1+i%3, opt, i))
	}
	return records
}

// ask sends a request to the page.
func (s *site) ask(method, target string, headers ...string) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequest(method, strings.TrimPrefix(target, "."), nil) // a link of a page at the top
	r.Host = "localhost:8321"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.page.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Security-Policy"); got != policy {
		s.Errorf("%s %s: Content-Security-Policy %q, want %q", method, target, got, policy)
	}
	for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"} {
		if w.Header().Get(name) == "" {
			s.Errorf("%s %s: no %s", method, target, name)
		}
	}
	return w
}

// get is the body of a page, which must have the code.
func (s *site) get(target string, code int, headers ...string) string {
	s.Helper()
	w := s.ask(http.MethodGet, target, headers...)
	if w.Code != code {
		s.Fatalf("GET %s: %d, want %d\n%s", target, w.Code, code, w.Body)
	}
	return w.Body.String()
}

// has fails for texts that a page does not have.
func (s *site) has(page string, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			s.Errorf("the page has no %q:\n%s", text, page)
		}
	}
}

// lacks fails for texts that a page has.
func (s *site) lacks(page string, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			s.Errorf("the page has %q:\n%s", text, page)
		}
	}
}

// at is an address with values.
func at(path string, values ...string) string {
	q := url.Values{}
	for i := 0; i < len(values); i += 2 {
		q.Add(values[i], values[i+1])
	}
	return path + "?" + q.Encode()
}

func TestGuards(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Hosts = []string{"runs.example.org"} })
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"} {
		if w := s.ask(method, "/"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for host, code := range map[string]int{
		"localhost": 200, "LOCALHOST:1": 200, "127.0.0.1:8321": 200, "[::1]:8321": 200, "10.0.0.3": 200, "runs.example.org": 200, "Runs.Example.Org.:80": 200,
		"evil.example.org": 403, "127.0.0.1.evil.example": 403, "": 403, "localhost.evil": 403, "[::1": 403 + 0,
	} {
		if w := s.ask("GET", "/", "Host", host); w.Code != code && !(host == "[::1" && w.Code == 200) {
			t.Errorf("Host %q: %d, want %d", host, w.Code, code)
		}
	}
	for _, target := range []string{"/nix", "/static/", "/static/../page.go", "/files/../runfold.json", "/files/runfold.json", "/files/manifests", "/static/style.css", "/templates/runs.html"} {
		if w := s.ask("GET", target); w.Code != 404 && w.Code != 301 && w.Code != 307 {
			t.Errorf("%s: %d, want 404", target, w.Code)
		}
	}
	for _, name := range []string{"style.css", "page.js", "icon.svg"} {
		if w := s.ask("GET", staticPath(name)); w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

func TestToken(t *testing.T) {
	const token = "0123456789abcdef-secret"
	s := newSite(t, func(c *Config) {
		c.Token = token
		c.Failed = func(err error) {
			if strings.Contains(err.Error(), token) {
				t.Errorf("the token is told: %v", err)
			}
		}
	})
	page := s.get("/?where=stage+%3D+%27A%27", 401)
	s.has(page, "needs a token")
	s.lacks(page, token)
	s.has(s.get("/?token=wrong", 401), "This token is not the right one")
	s.get("/?token="+token+"&token=wrong", 401)
	s.get("/", 401, "Authorization", "Bearer wrong")
	s.get("/", 401, "Cookie", s.page.cookieName()+"=wrong")
	s.get("/", 200, "Authorization", "Bearer "+token)
	s.has(page, `name="where" value="stage = &#39;A&#39;"`, `type="password" name="token"`)
	s.get(staticPath("style.css"), 200) // the page above needs it
	s.get("/static/style.css", 401)
	s.get("/", 200, "Authorization", "bearer "+token)

	w := s.ask("GET", "/status?every=5&token="+token)
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != "./status?every=5" {
		t.Errorf("with the token: %d to %q, want 303 to the same address without it", w.Code, got)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode || strings.Contains(cookies[0].Value, token) {
		t.Fatalf("cookies %v", cookies)
	}
	s.get("/status", 200, "Cookie", cookies[0].Name+"="+cookies[0].Value)
	for _, target := range []string{"//evil.example/?token=" + token, "/%2f/evil.example/?token=" + token, "/.//evil.example?token=" + token, `/\evil.example?token=` + token} {
		to, err := url.Parse(s.ask("GET", target).Header().Get("Location"))
		if err != nil || to.Host != "" || strings.HasPrefix(to.Path, "/") {
			t.Errorf("%s leads to another server: %q, %v", target, to, err)
		}
	}
	for header, secure := range map[string]bool{"http": false, "https": true} {
		if c := s.ask("GET", "/?token="+token, "X-Forwarded-Proto", header).Result().Cookies()[0]; c.Secure != secure {
			t.Errorf("behind a proxy with %s: Secure %v", header, c.Secure)
		}
	}
	for path, want := range map[string]string{"/": "", "/status": "", "/files/": "/"} {
		if c := s.ask("GET", path+"?token="+token).Result().Cookies()[0]; c.Path != want {
			t.Errorf("%s: the cookie is for %q, want %q", path, c.Path, want)
		}
	}
}

// TestEmbedded refuses what pages of strangers ask for beside what a reader clicks.
func TestEmbedded(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		site, mode, dest string
		code             int
	}{
		{"none", "navigate", "document", 200}, {"same-origin", "no-cors", "style", 200}, {"same-origin", "navigate", "document", 200}, {"", "", "", 200},
		{"cross-site", "navigate", "document", 200}, // a link in a mail
		{"cross-site", "no-cors", "image", 403}, {"cross-site", "navigate", "iframe", 403}, {"cross-site", "cors", "empty", 403},
		{"same-site", "no-cors", "script", 403}, // another port of localhost
	} {
		s.get("/", c.code, "Sec-Fetch-Site", c.site, "Sec-Fetch-Mode", c.mode, "Sec-Fetch-Dest", c.dest)
	}
}

// TestPrefix follows each link of the pages behind a proxy that puts a path before ours, as JupyterHub does.
func TestPrefix(t *testing.T) {
	const prefix = "/user/ada/proxy/8321"
	s := newSite(t, func(c *Config) { c.Token = "0123456789abcdef" })
	s.append("c", trained(0, 6)...)
	s.fold()
	s.append("c", trained(6, 8)...)
	s.fold()
	proxy := http.NewServeMux()
	proxy.Handle(prefix+"/", http.StripPrefix(prefix, s.page))
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	met, next := map[string]bool{}, []string{server.URL + prefix + "/?token=0123456789abcdef", server.URL + prefix + "/nix/nix", server.URL + prefix + "/?c=run_id&c=stage"}
	for len(next) > 0 && len(met) < 200 {
		at := next[0]
		next = next[1:]
		res, err := client.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode >= 500 || res.StatusCode >= 400 && !strings.Contains(at, "/nix/") {
			t.Errorf("%s: %d, %v", at, res.StatusCode, err)
		}
		if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range regexp.MustCompile(` (?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(string(body), -1) {
			to, err := res.Request.URL.Parse(html.UnescapeString(m[1]))
			if err != nil || !strings.HasPrefix(to.Path, prefix+"/") {
				t.Errorf("%s has a link %s, which leads to %v, %v", at, m[1], to, err)
				continue
			}
			if to.Fragment = ""; !met[to.String()] && to.Path != prefix+"/compare" { // it wants runs
				met[to.String()] = true
				next = append(next, to.String())
			}
		}
	}
	if len(met) < 100 {
		t.Errorf("%d links", len(met))
	}
	for _, c := range jar.Cookies(&url.URL{Scheme: "http", Host: strings.TrimPrefix(server.URL, "http://"), Path: "/user/grace/"}) {
		t.Errorf("the cookie %s goes to others behind the same proxy", c.Name)
	}
}

func TestNoRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	s := &site{TB: t, cfg: Config{Root: compactor.Config{Root: cohort.Root(dir)}}}
	s.page = New(s.cfg)
	t.Cleanup(s.page.Close)
	for _, path := range []string{"/", "/status", "/generations", "/files/", "/files/index.parquet", "/chart", "/run?run=r-1"} {
		s.has(s.get(path, 503), "There is no root yet")
	}
	root, _, err := journal.InitRoot(cohort.Root(dir), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.root = root
	s.has(s.get("/", 200), "No run is folded yet")
	s.has(s.get("/status", 200), "never folded")
	s.has(s.get("/generations", 200), "never folded")
	s.has(s.get("/files/", 200), "never folded")
	s.has(s.get("/chart", 200), "There is no metric yet")
	s.get("/files/index.parquet", 404)
	s.get("/run?run=r-1", 404)
	s.has(s.get("/", 200), "no record waits")
	s.append("c", trained(0, 3)...)
	s.has(s.get("/status", 200), "3 records are not folded yet")
	page := s.get("/", 200)
	s.has(page, "No run is folded yet: 3 records wait. <code>compactd once</code> folds them")
	s.has(s.get(link(t, page, "show what is not folded yet"), 200), "1 to 3 of <strong>3</strong>")
	s.fold()
	s.has(s.get("/", 200), "r-2", "metrics.auc")
}

func TestServe(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.page.Serve(ctx, l) }()
	res, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), "<h1>Runs</h1>") {
		t.Errorf("%d %v\n%s", res.StatusCode, err, body)
	}
	req, _ := http.NewRequest("GET", "http://"+l.Addr().String()+"/", nil)
	req.Header.Set("X-Long", strings.Repeat("x", 2*headerBytes))
	if res, err := http.DefaultClient.Do(req); err == nil {
		if res.Body.Close(); res.StatusCode != 431 {
			t.Errorf("long headers: %d, want 431", res.StatusCode)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestBusy(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Queries = 1 })
	s.page.slots <- struct{}{} // somebody asks
	ctx, stop := context.WithTimeout(context.Background(), 0)
	defer stop()
	if _, err := s.page.turn(ctx); !errors.Is(err, errBusy) {
		t.Errorf("turn: %v, want %v", err, errBusy)
	}
	<-s.page.slots
	s.get("/", 200)
}

func TestSlow(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.QueryTime = 1
		c.Failed = func(err error) { t.Errorf("a slow question is told as a failure: %v", err) }
	})
	s.append("c", trained(0, 3)...)
	s.fold()
	for range 20 {
		if w := s.ask("GET", "/"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("%d, want 503\n%s", w.Code, w.Body)
		}
	}
}

func TestSurvives(t *testing.T) {
	told := ""
	s := newSite(t, func(c *Config) { c.Failed = func(err error) { told = err.Error() } })
	w := httptest.NewRecorder()
	s.page.answer(time.Hour, func(http.ResponseWriter, *http.Request) error { panic("lost") })(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "goroutine") || !strings.Contains(told, "lost") {
		t.Errorf("%d, told %q\n%s", w.Code, told, w.Body)
	}
}

// TestFew lets one connection in at a time.
func TestFew(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &few{Listener: l, slots: make(chan struct{}, 1), closed: make(chan struct{})}
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, err := f.Accept()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	first.Close() // frees its slot once
	if _, err := f.Accept(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { _, err := f.Accept(); ended <- err }()
	f.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed one: %v", err)
	}
}

func TestRuns(t *testing.T) {
	s := newSite(t)
	s.append("churn_eu", trained(0, 30)...)
	s.append("other", `{"run_id":"alone","stage":"EVALUATION","metrics":{"auc":"failed"}}`)
	s.fold()
	page := s.get("/", 200)
	s.has(page, "1 to 31 of <strong>31</strong>", ">r-0<", ">alone<", ">churn_eu<", "failed", `>no value</span>`)
	s.lacks(page, "rel=\"next\"", "newest is")

	page = s.get(at("/", "where", "metrics.auc >= 0.1 and params.opt = 'sgd'", "sort", "-metrics.auc", "limit", "5", "columns", "run_id,metrics.auc"), 200)
	s.has(page, "1 to 5 of <strong>15</strong>", `aria-sort="descending"`, "0.129", "0.127", `rel="next"`)
	s.lacks(page, ">r-1<", "params.lr</bdi></a>")
	next := link(t, page, "rel=\"next\"")
	if !strings.Contains(next, "at=1") {
		t.Errorf("the next page %q is not of this generation", next)
	}
	s.append("churn_eu", trained(100, 110)...)
	s.fold()
	page = s.get(next, 200)
	s.has(page, "6 to 10 of <strong>15</strong>", "This is generation 1; the newest is 2.", "Show the newest", `rel="prev"`)
	s.has(s.get(at("/", "from", "200"), 200), "after the last run")

	// A click on a column: descending, ascending, not.
	up := link(t, s.get(at("/", "sort", "-metrics.auc"), 200), "metrics.auc</bdi>")
	if !strings.Contains(up, "sort=metrics.auc") {
		t.Errorf("the second click leads to %q", up)
	}
	s.lacks(link(t, s.get(up, 200), "metrics.auc</bdi>"), "sort=")

	// Ticked columns become an address.
	w := s.ask("GET", "/?c=run_id&c=params.lr&where="+url.QueryEscape("params.lr > 0.1"))
	if got := w.Header().Get("Location"); w.Code != 303 || got != "./?columns=run_id%2Cparams.lr&where=params.lr+%3E+0.1" {
		t.Errorf("ticked columns: %d to %q", w.Code, got)
	}

	// What a form leaves empty is not handed on.
	for target, want := range map[string]string{
		"/?where=stage+%3D+%27A%27&cohort=&stage=&since=&until=&sort=-run_id&columns=&limit=100": "./?sort=-run_id&where=stage+%3D+%27A%27",
		"/?where=&limit=25": "./?limit=25",
		"/?unfolded=":       "./",
		"/chart?y=metrics.auc&x=&cohort=&run=r-1": "./chart?run=r-1&y=metrics.auc",
	} {
		if w := s.ask("GET", target); w.Code != 303 || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", target, w.Code, w.Header().Get("Location"), want)
		}
	}
	s.has(s.get(at("/", "cohort", "churn"), 200), "No run of cohort churn: the cohorts of the root are churn_eu, other.")
	s.has(s.get(at("/", "stage", "TRAIN", "where", "metrics.auc > 0"), 200), "No run of stage TRAIN: the stages of the root are EVALUATION, TRAINING.")
	s.has(s.get(at("/", "cohort", "other", "stage", "TRAINING"), 200), "though there are runs of each")
	s.has(s.get(at("/", "where", "metrics.auc > 5"), 200), "No run is like that")
	s.has(s.get(at("/", "where", "params.opt = 1"), 200), "has texts")

	s.append("timed", `{"run_id":"t-1","stage":"S","timestamp":"2026-01-31T23:59:59.999999Z"}`, `{"run_id":"t-2","stage":"S","timestamp":"2026-02-01T00:00:00Z"}`)
	s.fold()
	page = s.get(at("/", "since", "2026-01-01", "until", "2026-02-01"), 200)
	s.has(page, ">t-1<", "1 to 1 of", `name="until" value="2026-02-01"`)
	s.has(s.get(at("/", "from", "200", "where", "run_id = 't-1'"), 200), "where=run_id")
}

func TestUnfolded(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 3)...)
	s.has(s.get("/?unfolded=1", 200), "1 to 3 of <strong>3</strong>", "metrics.auc", "unfolded</span>", `checked`)
	s.has(s.get("/?unfolded=1&run=r-1", 200), "r-1")
	s.fold()
	s.append("c", `{"run_id":"r-1","stage":"TRAINING","metrics":{"auc":0.9,"new":7}}`, `{"run_id":"waits","stage":"S","metrics":{"auc":0.8}}`)
	page := s.get("/?unfolded=1&sort=-metrics.auc", 200)
	s.has(page, "1 to 4 of <strong>4</strong>", "0.9", "metrics.new", `href="./run?run=waits%3AS&amp;unfolded=1"`)
	s.lacks(page, "0.101")
	s.lacks(s.get("/", 200), "waits")
	s.has(s.get(at("/run", "run", "waits", "unfolded", "1"), 200), "unfolded", "0.8")
	s.get(at("/run", "run", "waits"), 404)
	s.has(s.get(at("/compare", "run", "r-1:TRAINING", "run", "waits:S", "unfolded", "1"), 200), "metrics.new")
	s.has(s.get(at("/chart", "y", "metrics.auc", "unfolded", "1"), 200), "4 points")
	s.has(s.get("/?unfolded=1&at=1", 200), "1 to 4 of <strong>4</strong>", "and not generation 1, which was asked for") // a list that is paged through, with a tick more
	s.get("/?unfolded=1&from=30000&sort=run_id", 200)
}

func TestMistakes(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 3)...)
	s.fold()
	page := s.get(at("/", "where", "metrics.auc >> 0.7"), 400)
	s.has(page, "(at character 14)", "             ^", `aria-invalid="true"`, `value="metrics.auc &gt;&gt; 0.7"`)
	s.has(s.get(at("/", "where", "auc > 0.7"), 400), "did you mean metrics.auc?")
	s.has(s.get(at("/", "sort", "metrics.acu"), 400), "did you mean metrics.auc?")
	s.has(s.get(at("/", "columns", "metrics.acu"), 400), "did you mean metrics.auc?")
	s.has(s.get(at("/", "sort", "snapshot_seq,metrics.acu"), 400), "did you mean metrics.auc?")
	s.has(s.get(at("/", "sort", strings.Repeat("run_id,", 500)+"run_id"), 400), "sorted by 10 columns at most")
	s.has(s.get(at("/", "columns", "run_id,,"), 400), "the name of a column is missing")
	s.has(s.get(at("/", "since", "yesterday"), 400), "since &#34;yesterday&#34; is no time")
	s.has(s.get(at("/", "until", "tomorrow"), 400), "until &#34;tomorrow&#34; is no time")
	begins := link(t, s.get(at("/", "where", "r-1"), 400), "begins with")
	s.has(s.get(begins, 200), "1 to 1 of <strong>1</strong>", ">r-1<")
	s.lacks(s.get(at("/", "where", "metrics.auc >"), 400), "begins with")
	s.has(s.get(at("/", "cohort", "a/b"), 400), "cohort")
	for _, target := range []string{"/?at=0", "/?at=-1", "/?at=x", "/?from=-1", "/?limit=0", "/?limit=501", "/?limit=9999999999999999999", "/?every=0", "/?where=%zz", "/?where=" + strings.Repeat("a", longest+1), "/generations?before=x"} {
		s.has(s.get(target, 400), "The address has a mistake")
	}
	s.has(s.get("/?sort=metrics.auc&from=1000000", 400), "can be turned to row 1,000,000")
	s.has(s.get("/run", 400), "names no run")
	s.has(s.get("/compare?run=r-1", 400), "two runs or more")
	s.has(s.get("/run?run=r", 404), "there is no run", "begin so")
	s.has(s.get("/?at=77", 410), "not kept", "The same in the newest generation")
	s.has(s.get(at("/", "where", strings.Repeat("(", 3000)), 400), "nested too deep")
}

var hrefs = regexp.MustCompile(`<a ([^>]*)>`)

// link is where the link leads that has a text in it or in its tag.
func link(t testing.TB, page, text string) string {
	t.Helper()
	for _, at := range hrefs.FindAllStringSubmatchIndex(page, -1) {
		whole := page[at[0]:]
		if end := strings.Index(whole, "</a>"); end >= 0 && strings.Contains(whole[:end], text) {
			_, after, _ := strings.Cut(page[at[2]:at[3]], `href="`)
			href, _, _ := strings.Cut(after, `"`)
			return html.UnescapeString(href)
		}
	}
	t.Fatalf("the page has no link with %q:\n%s", text, page)
	return ""
}

func TestHostile(t *testing.T) {
	s := newSite(t)
	nasty := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, "tab\tnew\nline", "esc\x1b[31mred", "\u202egnp.exe", "zero\u200bwidth", `' or 1=1 --`, "nul\x00", `</textarea></svg></style>{{.}}`,
		"ünï→漢字", strings.Repeat("long ", 200), `a&b=c?d#e`, "%2e%2e/..", "a:b:c",
	}
	for _, id := range nasty {
		object := func(v any) string { data, _ := json.Marshal(v); return string(data) }
		s.append("c", object(map[string]any{"run_id": id, "stage": "S", "metrics": map[string]any{"auc": 0.5, id: 1}, "params": map[string]any{"p": id, id: id}, id: map[string]any{id: []string{id}}}))
	}
	s.fold()
	raw := []string{"<script>alert", "<img src=x", "\x1b", "\u202e", "\x00", "</textarea></svg>", `href="javascript:`}
	list := s.get(at("/", "columns", "*", "limit", "500"), 200)
	s.lacks(list, raw...)
	s.lacks(s.get("/", 200), raw...)
	for _, id := range nasty {
		page := s.get(at("/run", "run", id+":S"), 200)
		s.lacks(page, raw...)
		s.has(page, "Metrics", "Params", "Snapshot")
		s.get(at("/run.json", "run", id+":S"), 200)
		s.lacks(s.get(at("/compare", "run", id+":S", "run", "a&b=c?d#e:S"), map[bool]int{true: 400, false: 200}[id == "a&b=c?d#e"]), raw...)
		s.lacks(s.get(at("/chart", "y", "metrics.auc", "x", "params.p", "run", id+":S"), 200), raw...)
		s.lacks(fields.ReplaceAllString(s.get(at("/", "where", "run_id = '"+strings.ReplaceAll(id, "'", "''")+"'"), 200), ""), raw...)
		for _, name := range []string{"where", "cohort", "stage", "since", "sort", "columns", "at", "from", "limit", "x", "y", "every", "run"} {
			for _, path := range []string{"/", "/run", "/compare", "/chart", "/generations", "/status", "/files/"} {
				s.lacks(fields.ReplaceAllString(s.ask("GET", at(path, name, id)).Body.String(), ""), raw...) // a field has what was written into it
			}
		}
	}
	// Each link of the list leads to the run that it names.
	for _, m := range regexp.MustCompile(`href="(\./run\?[^"]*)"`).FindAllStringSubmatch(list, -1) {
		s.get(html.UnescapeString(m[1]), 200)
	}
}

var fields = regexp.MustCompile(` value="[^"]*"`)

func TestHuge(t *testing.T) {
	s := newSite(t)
	big := strings.Repeat("x", 3<<20)
	many := map[string]int{}
	for i := range 10_000 {
		many[fmt.Sprintf("m%d", i)] = i
	}
	object, _ := json.Marshal(map[string]any{"run_id": "many", "stage": "S", "metrics": many})
	s.append("c", `{"run_id":"big","stage":"S","text":"`+big+`","list":["`+big+`"]}`, string(object))
	s.fold()
	for _, target := range []string{"/", at("/", "columns", "*"), at("/", "columns", "run_id,text,list"), at("/run", "run", "big"), at("/run", "run", "many"), at("/compare", "run", "big", "run", "many"), "/chart"} {
		page := s.get(target, 200)
		if len(page) > 6<<20 {
			t.Errorf("%s has %d bytes", target, len(page))
		}
	}
	s.has(s.get(at("/run", "run", "big"), 200), "(cut)", "the JSON is")
	if whole := s.get(at("/run.json", "run", "big"), 200); !strings.Contains(whole, big) {
		t.Error("the JSON of a run is not whole")
	}
	s.has(s.get(at("/", "columns", "run_id,metrics.m9999"), 200), "9999")
}

func TestRun(t *testing.T) {
	s := newSite(t)
	s.append("c", `{"run_id":"r-1","stage":"TRAINING","metrics":{"auc":0.710},"params":{"lr":1e-3},"layers":[64,64],"config":{"deep":{"er":[true,null,"x"]},"empty":{}}}`,
		`{"run_id":"r-1","stage":"EVALUATION","metrics":{"auc":0.7}}`, `{"run_id":"r-2","stage":"TRAINING","metrics":{"auc":0.71},"params":{"lr":0.002}}`)
	s.fold()
	page := s.get(at("/run", "run", "r-1:TRAINING"), 200)
	s.has(page, "0.710", "1e-3", "[64,64]", "config", "deep", "Where it came from", "committed_at", "<details open>")
	page = s.get(at("/run", "run", "r-1"), 300)
	s.has(page, "Several runs", "r-1:EVALUATION", "/run?run=r-1%3ATRAINING")
	s.has(s.get(at("/run", "run", "r-1", "stage", "EVALUATION"), 200), "0.7")

	page = s.get(at("/compare", "run", "r-1:TRAINING", "run", "r-2:TRAINING", "run", "r-1:EVALUATION"), 200)
	s.has(page, "differences", "params.lr", "0.002", "without")
	if differ, equal := strings.Index(page, "params.lr"), strings.Index(page, "cohort_id"); differ > equal || equal < 0 {
		t.Errorf("differences do not come first:\n%s", page)
	}
	s.has(s.get(at("/compare", "run", "r-1:TRAINING", "run", "r-1:TRAINING"), 400), "two runs or more")
	s.has(page, `name="run" value="r-2:TRAINING"`, "Compare with")
	page = s.get(at("/compare", "run", "r-2:TRAINING", "run", "r-1"), 300) // what somebody has written
	s.has(s.get(link(t, page, "r-1:EVALUATION"), 200), "Compare 2 runs", "r-1:EVALUATION", "r-2:TRAINING")
	s.has(s.get(at("/run", "run", "r-2:TRAINING"), 200), `name="run" value="r-2:TRAINING"`, "Compare with")

	w := s.ask("GET", at("/run.json", "run", "r-1:TRAINING"))
	var out struct {
		RunID    string `json:"run_id"`
		Snapshot struct{ Metrics struct{ AUC json.Number } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.RunID != "r-1" || out.Snapshot.Metrics.AUC != "0.710" {
		t.Errorf("run.json: %v\n%s", err, w.Body)
	}
}

func TestWithdrawn(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 4)...)
	s.fold()
	act(t, s, cohort.Withdraw, "r-1", "it was <b>wrong</b>")
	act(t, s, cohort.Protect, "r-2", "")
	s.fold()
	page := s.get(at("/run", "run", "r-1:TRAINING"), 200)
	s.has(page, "was withdrawn", "it was &lt;b&gt;wrong&lt;/b&gt;")
	s.has(s.get(at("/run", "run", "r-1"), 200), "was withdrawn")
	s.has(s.get(at("/run", "run", "r-2"), 200), "is protected")
	s.lacks(s.get(at("/run", "run", "r-3"), 200), "is protected", "was withdrawn")
	s.get(at("/run", "run", "r-1", "at", "1"), 200)
}

// act withdraws or protects a run.
func act(t *testing.T, s *site, kind cohort.Action, run, reason string) {
	t.Helper()
	rows, err := compactor.Standings(context.Background(), s.cfg.Root, ofKey(context.Background(), run), nil)
	if err == nil {
		_, err = compactor.Act(context.Background(), s.cfg.Root, kind, reason, rows)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestChart(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 20)...)
	s.append("c", `{"run_id":"text","stage":"S","metrics":{"auc":"failed"}}`, `{"run_id":"none","stage":"S"}`, `{"run_id":"edge","stage":"S","metrics":{"auc":-1.7e308,"top":1.7e308},"params":{"lr":0.5}}`, `{"run_id":"edge2","stage":"S","metrics":{"top":-1.7e308}}`)
	s.fold()
	page := s.get("/chart", 200)
	s.has(page, "<svg", "metrics.auc over snapshot_seq: 21 points", "3 of 24 runs have no number as metrics.auc", `href="./run?run=r-7%3ATRAINING"`)
	s.has(s.get(at("/chart", "y", "metrics.auc", "x", "params.opt"), 200), ">adam<", ">sgd<", "1 of 24 runs have a metrics.auc and no params.opt")
	s.has(s.get(at("/chart", "y", "metrics.auc", "x", "params.lr", "where", "run_id like 'r-%'"), 200), "20 points")
	page = s.get(at("/chart", "y", "metrics.top", "x", "timestamp"), 200)
	s.has(page, "2 points")
	s.lacks(page, "NaN", "Inf")
	s.has(s.get(at("/chart", "y", "metrics.auc", "run", "r-3:TRAINING"), 200), `class="marked"`)
	s.has(s.get(at("/chart", "y", "metrics.acu"), 400), "did you mean metrics.auc?")
	s.has(s.get(at("/chart", "y", "metrics.auc,params.lr"), 400), "an axis has one column")
	s.has(s.get(at("/chart", "y", "layers"), 200), "No run has a number to draw")
	s.has(s.get(at("/chart", "y", "metrics.auc", "cohort", "nix"), 200), "no run of cohort nix: the cohorts of the root are c.")
}

func TestThinned(t *testing.T) {
	s := newSite(t)
	var records []string
	for i := range 5000 {
		v := 500
		if i == 2503 {
			v = 999
		}
		records = append(records, fmt.Sprintf(`{"run_id":"r-%d","stage":"S","metrics":{"m":%d}}`, i, v))
	}
	s.append("c", records...)
	s.fold()
	page := s.get(at("/chart", "y", "metrics.m"), 200)
	s.has(page, "Thinned:", "of 5,000 points are drawn", "to 999")
	if n := strings.Count(page, "<circle"); n > mostPoints || n < mostPoints/4 {
		t.Errorf("%d points", n)
	}
	page = s.get(at("/chart", "y", "metrics.m", "run", "r-4001:S"), 200)
	s.has(page, `class="marked"`)

	// A sweep goes through the values of a param in turn. Points of each of them are drawn.
	records = records[:0]
	for i := range 20_000 {
		records = append(records, fmt.Sprintf(`{"run_id":"s-%d","stage":"SWEEP","metrics":{"m":%d},"params":{"lr":%d}}`, i, i*7919%1000, i%5))
	}
	s.append("c", records...)
	s.fold()
	page = s.get(at("/chart", "y", "metrics.m", "x", "params.lr", "stage", "SWEEP"), 200)
	at := map[string]int{}
	for _, m := range regexp.MustCompile(`<circle cx="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		at[m[1]]++
	}
	for x, n := range at {
		if n < 150 {
			t.Errorf("%d points at %s, of %d values", n, x, len(at))
		}
	}
	if len(at) != 5 {
		t.Errorf("%d values of the param are drawn", len(at))
	}
}

func TestFiles(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 50)...)
	s.fold()
	page := s.get("/files/", 200)
	s.has(page, "index.parquet", "snapshot_index.json")
	for _, name := range []string{"index.parquet", "snapshot_index.json"} {
		public, err := os.ReadFile(filepath.Join(string(s.root.Dir), name))
		if err != nil {
			t.Fatal(err)
		}
		w := s.ask("GET", "/files/"+name)
		if w.Code != 200 || w.Body.String() != string(public) || w.Header().Get("Accept-Ranges") != "bytes" || w.Header().Get("Content-Disposition") == "" {
			t.Errorf("%s: %d, %d bytes, want %d; %v", name, w.Code, w.Body.Len(), len(public), w.Header())
		}
		head := s.ask("HEAD", "/files/"+name)
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != fmt.Sprint(len(public)) {
			t.Errorf("HEAD %s: %d, %d bytes, Content-Length %s", name, head.Code, head.Body.Len(), head.Header().Get("Content-Length"))
		}
		tag := w.Header().Get("Etag")
		part := s.ask("GET", "/files/"+name, "Range", "bytes=10-19", "If-Range", tag)
		if part.Code != 206 || part.Body.String() != string(public[10:20]) {
			t.Errorf("a part of %s: %d %q", name, part.Code, part.Body)
		}
		if w := s.ask("GET", "/files/"+name, "Range", "bytes=99999999-"); w.Code != 416 {
			t.Errorf("beyond the end of %s: %d", name, w.Code)
		}
		if w := s.ask("GET", "/files/"+name, "Range", "bytes=10-19", "If-Range", w.Header().Get("Last-Modified")); w.Code != 200 {
			t.Errorf("the rest of %s, by a date, which says too little: %d", name, w.Code)
		}
		if w := s.ask("GET", "/files/"+name, "If-None-Match", tag); w.Code != 304 {
			t.Errorf("%s again: %d", name, w.Code)
		}
		// After a fold the rest of a download does not fit, unless its generation is named.
		defer func() {
			if w := s.ask("GET", "/files/"+name, "Range", "bytes=10-19", "If-Range", tag); w.Code != 200 {
				t.Errorf("the rest of another %s: %d", name, w.Code)
			}
			if w := s.ask("GET", "/files/"+name+"?at=1", "Range", "bytes=10-19", "If-Range", tag); w.Code != 206 || w.Body.String() != string(public[10:20]) {
				t.Errorf("the rest of %s: %d", name, w.Code)
			}
		}()
	}
	s.append("c", trained(50, 60)...)
	s.fold()
	s.has(s.get("/files/?at=1", 200), "the newest is 2")
	for _, path := range []string{"/", "/status", "/generations", "/files/", "/chart", "/run?run=r-1", "/static/nix"} {
		get, head := s.ask("GET", path), s.ask("HEAD", path)
		if head.Code != get.Code || head.Header().Get("Content-Type") != get.Header().Get("Content-Type") {
			t.Errorf("HEAD %s: %d, GET %d", path, head.Code, get.Code)
		}
	}
}

func TestPerCohort(t *testing.T) {
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(t.TempDir(), "runs")), cohort.Settings{Snapshots: cohort.PerCohort}, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{TB: t, root: root, cfg: Config{Root: compactor.Config{Root: root.Dir}}}
	s.page = New(s.cfg)
	t.Cleanup(s.page.Close)
	s.append("a", trained(0, 2)...)
	s.append("b", trained(2, 4)...)
	s.fold()
	s.has(s.get("/files/", 200), "snapshot_index.a.json", "snapshot_index.b.json")
	s.has(s.get("/files/snapshot_index.b.json", 200), "r-3")
	s.get("/files/snapshot_index.json", 404)
}

func TestSwept(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Root.KeepGenerations, c.Root.KeepAge = 2, -1 })
	s.append("c", trained(0, 5)...)
	s.fold()
	s.get("/?at=1", 200)
	reader, err := s.page.shelf.take(context.Background(), 1) // it pages while others fold
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s.append("c", trained(10*i+10, 10*i+15)...)
		s.fold()
	}
	l := &list{View: view{Limit: 10}}
	if err := s.page.fill(context.Background(), l, reader); err != nil || len(l.Rows) != 5 {
		t.Errorf("the generation that is being read: %d rows, %v", len(l.Rows), err)
	}
	reader.back()
	for _, path := range []string{"/", "/run?run=r-1&", "/files/", "/files/index.parquet", "/chart"} {
		target, sign := path, "?"
		if strings.Contains(path, "?") {
			sign = ""
		}
		s.has(s.get(target+sign+"at=1", 410), "not kept", "The same in the newest generation")
	}
}

func TestDamaged(t *testing.T) {
	var mu sync.Mutex
	var failed []string
	s := newSite(t, func(c *Config) {
		c.Failed = func(err error) { mu.Lock(); defer mu.Unlock(); failed = append(failed, err.Error()) }
	})
	s.append("c", trained(0, 500)...)
	s.fold()
	names, err := filepath.Glob(filepath.Join(string(s.root.Dir), "data", "*.parquet"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(change func([]byte) []byte) {
		t.Helper()
		s.page.Close() // what is open keeps what it has read
		s.page = New(s.cfg)
		t.Cleanup(s.page.Close)
		if err := os.Remove(names[0]); err != nil && !errors.Is(err, fs.ErrNotExist) { // the public name is the same file, and stays as it is
			t.Fatal(err)
		}
		if new := change(append([]byte(nil), data...)); new != nil {
			if err := os.WriteFile(names[0], new, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"footer": func(b []byte) []byte { b[len(b)-20] ^= 0xff; return b },
		"short":  func(b []byte) []byte { return b[:len(b)/2] },
		"empty":  func([]byte) []byte { return []byte{} },
		"gone":   func([]byte) []byte { return nil },
		"rows": func(b []byte) []byte {
			for i := 4; i < len(b)/2; i++ {
				b[i] ^= 0x55
			}
			return b
		},
	} {
		spoil(change)
		for _, path := range []string{"/", "/chart", "/run?run=r-1", "/status", "/generations", "/files/"} {
			if w := s.ask("GET", path); w.Code >= 500 && !strings.Contains(w.Body.String(), "damaged") {
				t.Errorf("%s, %s: %d\n%s", name, path, w.Code, w.Body)
			}
		}
		if w := s.ask("GET", "/"); w.Code != 500 {
			t.Errorf("%s: the list is shown: %d\n%s", name, w.Code, w.Body)
		}
		if name != "rows" && name != "footer" {
			s.has(s.get("/status", 200), "Somebody should look at this")
		}
		spoil(func(b []byte) []byte { return b })
		s.get("/", 200)
	}
	if len(failed) == 0 {
		t.Error("nobody was told")
	}
}

// TestReaders asks from many sides while folds go on. The race detector looks on.
func TestReaders(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Root.KeepGenerations, c.Root.KeepAge = 2, -1
		c.QueryTime = time.Hour // a slow machine is not what this is about
	})
	s.append("c", trained(0, 200)...)
	s.fold()
	server := httptest.NewServer(s.page)
	t.Cleanup(server.Close)
	paths := []string{"/", "/?sort=-metrics.auc&limit=25", "/?where=params.opt+%3D+%27sgd%27", "/run?run=r-7", "/compare?run=r-1&run=r-2", "/chart?y=metrics.auc", "/generations", "/files/index.parquet", "/?at=1", "/?from=100"}
	readers := 200
	if testing.Short() {
		readers = 20
	}
	var all sync.WaitGroup
	stop := make(chan struct{})
	folded := make(chan struct{})
	go func() {
		defer close(folded)
		for i := 0; i < 30; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s.append("c", trained(200+10*i, 210+10*i)...)
			s.fold()
		}
	}()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 50}}
	for n := range readers {
		all.Go(func() {
			for i := range 3 {
				path := paths[(n+i)%len(paths)]
				res, err := client.Get(server.URL + path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				gone := strings.Contains(path, "at=1") && res.StatusCode == http.StatusGone
				if err != nil || res.StatusCode != 200 && !gone {
					t.Errorf("%s: %d %v\n%s", path, res.StatusCode, err, body)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	<-folded
	client.CloseIdleConnections()
	server.Close() // after it no request is being answered
	s.page.shelf.mu.Lock()
	defer s.page.shelf.mu.Unlock()
	for token, b := range s.page.shelf.books {
		if b.users != 0 {
			t.Errorf("generation %s is still in the hands of %d readers", token, b.users)
		}
	}
}

// TestSortedEnd says where a sorted list ends.
func TestSortedEnd(t *testing.T) {
	of := func(sort string, from int64) (*list, string) {
		l := &list{View: view{Sort: sort, From: from, Limit: 100}, BySeq: sort == "", Total: mostSorted + 500, Last: from + 100, Rows: make([]listRow, 100)}
		l.turnable(&reading{book: &book{Moment: &compactor.Moment{}}})
		var texts []string
		for _, p := range l.Pages {
			texts = append(texts, p.Text)
		}
		return l, strings.Join(texts, " ")
	}
	for _, c := range []struct {
		sort  string
		from  int64
		pages string
		ends  string
	}{
		{"", 0, "Next Last", ""},
		{"", mostSorted, "First Previous Next Last", ""},
		{"run_id", 0, "Next", "1,000,000"},
		{"run_id", mostSorted - 200, "First Previous Next", "1,000,000"},
		{"run_id", mostSorted - 100, "First Previous", "1,000,000"},
	} {
		if l, pages := of(c.sort, c.from); pages != c.pages || l.Ends != c.ends {
			t.Errorf("sort %q from %d: pages %q, ends at %q, want %q and %q", c.sort, c.from, pages, l.Ends, c.pages, c.ends)
		}
	}
}

// TestManyColumns ticks all that can be ticked.
func TestManyColumns(t *testing.T) {
	s := newSite(t)
	params := map[string]int{}
	for i := range 190 { // a record brings 200 at most
		params[fmt.Sprintf("a_hyperparameter_whose_name_is_long_enough_%03d", i)] = i
	}
	for n := range 2 {
		object, _ := json.Marshal(map[string]any{"run_id": fmt.Sprint("r-", n), "stage": "S", []string{"params", "metrics"}[n]: params})
		s.append("c", string(object))
		s.fold()
	}
	q := url.Values{}
	for _, m := range regexp.MustCompile(`name="c" value="([^"]*)"`).FindAllStringSubmatch(s.get("/", 200), -1) {
		q.Add("c", html.UnescapeString(m[1]))
	}
	if len(q["c"]) < 380 {
		t.Fatalf("%d boxes", len(q["c"]))
	}
	s.has(s.get(s.ask("GET", "/?"+q.Encode()).Header().Get("Location"), 200), "more columns are not shown")
}

// TestEvery keeps a page that is loaded again so, whatever is asked of it.
func TestEvery(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 3)...)
	s.fold()
	for _, target := range []string{"/?every=5", "/chart?every=5"} {
		page := s.get(target, 200)
		s.has(page, `<noscript><meta http-equiv="refresh" content="5"></noscript>`, `data-every="5"`)
		forms := strings.Count(page, "<form") - strings.Count(page, "/compare\"") // a comparison stays as it is
		if got := strings.Count(page, `name="every" value="5"`); got != forms {
			t.Errorf("%s: %d of %d forms keep it", target, got, forms)
		}
	}
}

// TestOrder turns the pages of lists in the order of the index and in its reverse, filtered or not.
func TestOrder(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 23)...)
	s.fold()
	s.append("c", append(trained(23, 30), trained(5, 6)...)...) // one comes again
	ids := regexp.MustCompile(`run=r-([0-9]+)%3ATRAINING[^"]*"><bdi>`)
	for _, c := range []struct{ values, want string }{
		{"", "22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0"},
		{"sort=snapshot_seq", "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22"},
		{"sort=-snapshot_seq,run_id", "22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0"},
		{"where=params.opt+%3D+'sgd'", "21 19 17 15 13 11 9 7 5 3 1"},
		{"where=params.opt+%3D+'sgd'&sort=snapshot_seq", "1 3 5 7 9 11 13 15 17 19 21"},
		{"unfolded=1&where=snapshot_seq+>+20", "5 29 28 27 26 25 24 23 22 21 20"},
		{"unfolded=1", "5 29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 4 3 2 1 0"},
	} {
		for _, limit := range []int{1, 5, 7, 23, 100} {
			var got []string
			for next := fmt.Sprintf("/?limit=%d&%s", limit, c.values); ; {
				page := s.get(next, 200)
				for _, m := range ids.FindAllStringSubmatch(page, -1) {
					got = append(got, m[1])
				}
				if !strings.Contains(page, `rel="next"`) {
					break
				}
				next = link(t, page, `rel="next"`)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s, %d on a page: %v, want %s", c.values, limit, got, c.want)
			}
		}
	}
	s.has(s.get("/", 200), "the newest first")
	s.lacks(s.get("/?sort=run_id", 200), "the newest first")

	// Of many filtered rows the far ones are counted from the end.
	b, err := s.page.shelf.take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.back()
	e, err := query.Parse("params.opt = 'sgd'")
	if err != nil {
		t.Fatal(err)
	}
	q := query.Query{Where: e, Columns: []string{"run_id"}, Offset: 3, Limit: deepRows}
	var got []string
	for row, err := range rowsOf(t.Context(), q, 11, b.Source) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row.Cells[0].Text())
	}
	if want := "r-15 r-13 r-11 r-9 r-7 r-5 r-3 r-1"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestExport(t *testing.T) {
	s := newSite(t)
	s.append("c", append(trained(0, 3), `{"run_id":"x,\"y\"","stage":"S","metrics":{"auc":"failed"},"note":""}`)...)
	s.fold()
	const all = "r-0,TRAINING,c,1,"
	page := s.get(at("/", "columns", "run_id,metrics.auc", "where", "metrics.auc < 1"), 200)
	s.has(page, "All 3 as CSV</a>")
	w := s.ask("GET", link(t, page, "as CSV"))
	if got, want := w.Body.String(), "run_id,metrics.auc\nr-0,0.1\nr-1,0.101\nr-2,0.102\n"; got != want || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" || w.Header().Get("Content-Disposition") != `attachment; filename="runs-1.csv"` {
		t.Errorf("%q %v, want %q", got, w.Header(), want)
	}
	s.has(s.get("/runs.csv", 200), "run_id,stage,cohort_id,snapshot_seq,timestamp,record_id,", all, `"x,""y""",S,c,4,`)
	if got, want := s.get("/runs.csv?sort=-metrics.auc&columns=run_id,note", 200), "run_id,note\nr-2,\nr-1,\nr-0,\n\"x,\"\"y\"\"\",\"\"\n"; got != want {
		t.Errorf("sorted: %q, want %q", got, want)
	}
	s.append("c", trained(3, 5)...)
	s.fold()
	s.lacks(s.get("/runs.csv?at=1", 200), "r-4")
	s.has(s.get("/runs.csv?unfolded=1", 400), "CSV has what is folded")
	s.has(s.get("/runs.csv?columns=nix", 400), "no column and no row has the name")
	s.has(s.get("/runs.csv?sort=nix", 400), "no column and no row has the name")
	s.has(s.get("/runs.csv?where=nix", 400), "after the name of a column")
	if w := s.ask("HEAD", "/runs.csv"); w.Code != 200 || w.Body.Len() > 0 {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
	l := &list{Total: exportSort + 1, View: view{Sort: "run_id"}}
	l.turnable(&reading{book: &book{Moment: &compactor.Moment{}}})
	if l.Sorted || strings.Contains(l.CSV, "sort") {
		t.Errorf("a sorted list that is too long leads to %s", l.CSV)
	}
}

// gone is the connection of a reader who goes away.
type gone struct{ *httptest.ResponseRecorder }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestExportBreaks shows that a file that could not be sent whole does not look whole: the connection is broken off.
func TestExportBreaks(t *testing.T) {
	s := newSite(t)
	s.append("c", trained(0, 3)...)
	s.fold()
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("it ends with %v", v)
		}
		if n := len(s.page.exports); n > 0 {
			t.Errorf("%d lists are still being sent", n)
		}
	}()
	r := httptest.NewRequest("GET", "/runs.csv", nil)
	r.Host = "localhost"
	s.page.ServeHTTP(gone{httptest.NewRecorder()}, r)
}
