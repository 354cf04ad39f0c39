package page

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// downloads is the page of the public files.
type downloads struct {
	chrome
	Generation string
	Files      []download
	Never      bool // nothing is folded yet
}

type download struct {
	Name, Link, What, Size, Rows, CRC string
}

// published is a file that is offered.
type published struct {
	name string // in addresses
	what string
	generation.DataFile
}

// publishedOf are the files of a generation. With a file for each cohort, there is one snapshots file for each.
func publishedOf(m generation.Manifest) []published {
	if m.Generation == 0 {
		return nil
	}
	all := []published{{"index.parquet", "one row for each run", m.Index}}
	for _, s := range m.Snapshots {
		name, what := "snapshot_index.json", "the snapshot of each run"
		if s.Cohort != "" {
			name, what = "snapshot_index."+string(s.Cohort)+".json", "the snapshots of cohort "+string(s.Cohort)
		}
		all = append(all, published{name, what, s.DataFile})
	}
	return all
}

// files lists them.
func (p *Page) files(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	m, latest, _, err := p.manifest(v.At)
	if err != nil {
		return err
	}
	d := &downloads{chrome: chrome{Title: "Files", Section: "/files/", Root: string(p.Root.Root)}, Generation: generationText(m.Generation), Never: m.Generation == 0}
	if m.Generation < latest {
		d.At = generationText(m.Generation)
		d.Notes = append(d.Notes, note{Text: fmt.Sprintf("This is generation %d; the newest is %d.", m.Generation, latest), Link: "/files/", Instead: "Show the newest"})
	}
	for _, f := range publishedOf(m) {
		d.Files = append(d.Files, download{f.name, view{At: m.Generation}.at("/files/" + f.name), f.what, size(f.Size), count(f.Rows), f.CRC32C.String()})
	}
	return render(w, r, http.StatusOK, "files.html", d)
}

// manifest is that of a generation, or of the newest one for 0.
func (p *Page) manifest(g cohort.Generation) (m generation.Manifest, latest cohort.Generation, store *generation.Store, err error) {
	if store, err = p.Root.Store(); err != nil {
		return m, 0, nil, err
	}
	if m, err = store.Newest(); err != nil {
		return m, 0, nil, store.Doubt(err, 0)
	}
	latest = m.Generation
	if g != 0 && g != latest {
		m, err = store.Kept(g)
		err = store.Doubt(err, 0)
	}
	return m, latest, store, err
}

// file sends one of them. It is the data file of a generation, which never changes, so that all parts of a download fit together.
func (p *Page) file(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	m, _, store, err := p.manifest(v.At)
	if err != nil {
		return err
	}
	for _, f := range publishedOf(m) {
		if f.name == r.PathValue("name") {
			return send(w, r, store, m, f)
		}
	}
	return errNoPage
}

func send(w http.ResponseWriter, r *http.Request, store *generation.Store, m generation.Manifest, f published) error {
	if err := store.CheckSize(f.DataFile); err != nil {
		return swept(store, m, err)
	}
	file, err := store.FS.Open(store.Root.Data(f.Name)) // so that a fold can sweep it meanwhile on any system
	if err != nil {
		return swept(store, m, err)
	}
	defer file.Close() // it was only read, so its error says nothing
	h := w.Header()
	h.Set("Content-Type", "application/vnd.apache.parquet")
	if strings.HasSuffix(f.name, ".json") {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Disposition", `attachment; filename="`+f.name+`"`)
	h.Set("Etag", fmt.Sprintf(`"%d-%s-%d"`, m.Generation, f.CRC32C, f.Size))
	h.Set("Cache-Control", "private, no-cache")
	if unless := r.Header.Get("If-Range"); unless != "" && unless[0] != '"' { // a date: two generations may be of one second
		r.Header.Del("Range")
	}
	created, _ := cohort.ParseTime(m.CreatedAt)
	http.ServeContent(w, r, "", created, &slowly{io.NewSectionReader(file, 0, f.Size), http.NewResponseController(w)})
	return nil
}

// swept is the error of a file that is gone because its generation is.
func swept(store *generation.Store, m generation.Manifest, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return store.Doubt(err, 0)
	}
	if _, kerr := store.Kept(m.Generation); errors.As(kerr, new(*generation.NotKeptError)) {
		return kerr
	}
	return store.Doubt(fmt.Errorf("generation %d: %w: %w", m.Generation, generation.ErrCorrupt, err), 0)
}

// slowly gives the connection more time with each part that is read: a download may take long, and may not stand still.
type slowly struct {
	io.ReadSeeker
	on *http.ResponseController
}

func (s *slowly) Read(b []byte) (int, error) {
	s.on.SetWriteDeadline(time.Now().Add(idleTime)) // an error is dropped: a test has no connection
	return s.ReadSeeker.Read(b)
}

// when is when the generation was committed.
func (b *reading) when() time.Time {
	t, _ := cohort.ParseTime(b.Newest.CreatedAt) // zero if the manifest does not say it
	return t
}
