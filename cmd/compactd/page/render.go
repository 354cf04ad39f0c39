package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/terminal"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"show": terminal.Field, "line": terminal.Line, "count": count, "static": staticPath, "version": build.Version, "size": size, "age": func(d time.Duration) string { return d.Round(time.Second).String() },
	"table": func(runs []comparedRun, lines []comparedLine) any {
		return struct {
			Runs  []comparedRun
			Lines []comparedLine
		}{runs, lines}
	},
}).ParseFS(templateFiles, "templates/*.html"))

// chrome is what every page has around it.
type chrome struct {
	Title   string
	Section string // of the navigation
	Root    string
	Every   int64
	Again   string // the same page, loaded again now and then, or not any more
	At      string // a generation that is not the newest, which the other pages show, too
	Notes   []note
}

// note is something that a reader must know of a page.
type note struct {
	Text    string
	Bad     bool
	Link    string
	Instead string
}

// keyLink is a run, and where it is shown.
type keyLink struct{ Key, Link string }

// render writes a page. It is made before anything is written, so that no page ends in the middle.
func render(w http.ResponseWriter, r *http.Request, code int, name string, of any) error {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, of); err != nil {
		return err
	}
	page := relative(b.Bytes(), r)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(code)
	w.Write(page) // an error is dropped: nobody listens
	return nil
}

// up leads from the page of a request to the top of ours, which is no place that we know: a proxy may put a path before it, as JupyterHub does.
func up(r *http.Request) string {
	depth := strings.Count(r.URL.EscapedPath(), "/") - 1
	if depth <= 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// relative makes the links of a page relative to it. No text of a record looks like one of them, as a template escapes quotes everywhere.
func relative(page []byte, r *http.Request) []byte {
	for _, attribute := range []string{` href="`, ` action="`, ` src="`} {
		page = bytes.ReplaceAll(page, []byte(attribute+"/"), []byte(attribute+up(r)))
	}
	return page
}

// redirect leads to another of our pages, by an address that begins with a slash.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Location", up(r)+strings.TrimLeft(to, "/")) // http.Redirect would name a path of which a proxy has taken a part away
	w.WriteHeader(http.StatusSeeOther)
}

// staticNames are the names of our files in addresses: with their content in them, they never change.
var staticNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range []string{"style.css", "page.js", "icon.svg"} {
		data, err := fs.ReadFile(staticFiles, "static/"+name)
		if err != nil {
			panic("page: internal error: " + err.Error())
		}
		sum := sha256.Sum256(data)
		names[name] = hex.EncodeToString(sum[:6]) + "-" + name
	}
	return names
}()

func staticPath(name string) string { return "/static/" + staticNames[name] }

// isStatic tells whether an address is that of one of our files. They hold nothing of a root, and the page that asks for a token needs them.
func isStatic(path string) bool {
	for name := range staticNames {
		if path == staticPath(name) {
			return true
		}
	}
	return false
}

// static answers with one of our files.
func static(w http.ResponseWriter, r *http.Request) error {
	for name, path := range staticNames {
		if path == r.PathValue("name") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			http.ServeFileFS(w, r, staticFiles, "static/"+name)
			return nil
		}
	}
	return errNoPage
}

// count is a number with commas.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(n int64) string {
	const unit = 1000
	if n < unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f, i = f/unit, i+1
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + []string{"kB", "MB", "GB", "TB", "PB"}[i]
}

// cut shortens a text, which then ends with an ellipsis.
func cut(text string, most int) (short string, was bool) {
	if len(text) <= most {
		return text, false
	}
	short = text[:most]
	for !utf8.ValidString(short[max(0, len(short)-utf8.UTFMax):]) && len(short) > most-utf8.UTFMax {
		short = short[:len(short)-1]
	}
	return short + terminal.Ellipsis, true
}

// shortTime is a time to the second.
func shortTime(text string) string {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC().Format("2006-01-02 15:04:05")
	}
	return strings.TrimSpace(text)
}
