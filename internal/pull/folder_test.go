package pull

import (
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestChanged checks a pull into a folder that has changed since the same artifact was
// pulled into it.
func TestChanged(t *testing.T) {
	const t0 = "application/vnd.kitops.modelkit.model.v1.tar"
	files := map[string]string{"a": "aaaa", "b/c": "cccc", "b/same": "aaaa"}
	cases := map[string]struct {
		reason string
		change func(t *testing.T, dir string)
		blobs  bool // Whether some content has to be fetched.
	}{
		"Nothing":   {reason: "Nothing should be fetched if nothing has changed.", change: func(*testing.T, string) {}},
		"Removed":   {reason: "A missing file should be fetched.", change: func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "b/c")) }, blobs: true},
		"Changed":   {reason: "A file with different content of the same size should be fetched.", change: func(t *testing.T, dir string) { write(t, dir, "b/c", "CCCC") }, blobs: true},
		"Shortened": {reason: "A file of another size should be fetched.", change: func(t *testing.T, dir string) { write(t, dir, "b/c", "c") }, blobs: true},
		"Touched": {reason: "A file with another modification time should be read, and not fetched if it is right.", change: func(t *testing.T, dir string) {
			if err := os.Chtimes(filepath.Join(dir, "b/c"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}},
		"NoState":     {reason: "Files should be recognized by their content if the state is missing.", change: func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, stateFile)) }, blobs: false},
		"BrokenState": {reason: "Files should be recognized by their content if the state cannot be read.", change: func(t *testing.T, dir string) { write(t, dir, stateFile, `{"version":2,"files":{"../x":{}}}`) }, blobs: false},
	}
	for format, layers := range map[string][]content{"Raw": rawLayers(files), "Tar": {tarLayer(t, t0, files)}} {
		for name, tc := range cases {
			t.Run(name+format, func(t *testing.T) {
				f := newFront(t, open, false)
				d := f.push(t, modelPack, layers...)
				dir := t.TempDir()
				p, log := f.pulling(dir, d)
				if _, err := p.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.breaks(nil)
				tc.change(t, dir)
				if _, err := p.Run(t.Context()); err != nil {
					t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, log)
				}
				holdsFiles(t, dir, files)
				// The files of an archive are not known without the state.
				want := tc.blobs || format == "Tar" && strings.HasSuffix(name, "State")
				if asked := f.requests("/blobs/"); (len(asked) > 0) != want {
					t.Errorf("\n%s\nRun(...): asked %v", tc.reason, asked)
				}
			})
		}
	}
}

// TestReplace checks that a former artifact's files are removed.
func TestReplace(t *testing.T) {
	const t0 = "application/vnd.kitops.modelkit.model.v1.tar"
	first := map[string]string{"keep": "k", "change": "old", "gone": "g", "deep/er/gone": "g", "dir": "a file first"}
	second := map[string]string{"keep": "k", "change": "new", "new": "n", "dir/x": "a folder then"}
	foreign := map[string]string{"mine": "m", "deep/mine": "m", "lost+found/x": "x"}
	both := maps.Clone(second)
	maps.Copy(both, foreign)
	forms := map[string]func(map[string]string) []content{
		"Raw": rawLayers,
		"Tar": func(f map[string]string) []content { return []content{tarLayer(t, t0, f)} },
		"One": func(f map[string]string) []content {
			var out []content
			for name, c := range f {
				out = append(out, tarLayer(t, t0, map[string]string{name: c}))
			}
			return out
		},
	}
	for from, before := range forms {
		for to, after := range forms {
			t.Run(from+"To"+to, func(t *testing.T) {
				f := newFront(t, open, false)
				one := f.push(t, modelPack, append(before(first), rawLayers(nil)...)...)
				two := f.push(t, modelPack, after(second)...)
				dir := t.TempDir()
				for name, c := range foreign {
					write(t, dir, name, c)
				}
				p, _ := f.pulling(dir, one)
				if _, err := p.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.breaks(nil)
				p, log := f.pulling(dir, two)
				if _, err := p.Run(t.Context()); err != nil {
					t.Fatalf("Run(...): %v\n%s", err, log)
				}
				holdsFiles(t, dir, both)
				if _, err := os.Stat(filepath.Join(dir, "deep/er")); err == nil {
					t.Error("want empty folders to be gone")
				}
				if asked := len(f.requests("/blobs/")); from == "Raw" && to == "Raw" && asked != 3 {
					t.Errorf("want what both have to be kept, got %d requests", asked)
				}
				checkAgain(t, f, dir, two)
			})
		}
	}
}

// TestForeign checks that a pull does not touch foreign files.
func TestForeign(t *testing.T) {
	const t0 = "application/vnd.kitops.modelkit.model.v1.tar"
	files := map[string]string{"a": "aaaa", "b/c": "cccc"}
	outside := t.TempDir()
	cases := map[string]struct {
		reason  string
		change  func(t *testing.T, dir string)
		want    outcome.Reason
		message string
	}{
		"SameName":    {reason: "A foreign file with the name of an artifact's file should be an error.", change: func(t *testing.T, dir string) { write(t, dir, "a", "mine") }, want: outcome.Unsupported, message: "empty folder"},
		"FolderThere": {reason: "A foreign folder with the name of an artifact's file should be an error.", change: func(t *testing.T, dir string) { write(t, dir, "a/x", "mine") }, want: outcome.Unsupported, message: "empty folder"},
		"FileThere":   {reason: "A foreign file with the name of an artifact's folder should be an error.", change: func(t *testing.T, dir string) { write(t, dir, "b", "mine") }, want: outcome.Unsupported, message: "empty folder"},
		"SameFile":    {reason: "A foreign file with the right content should be adopted.", change: func(t *testing.T, dir string) { write(t, dir, "a", "aaaa") }},
		"LinkOut": {reason: "A symbolic link out of the folder should not be followed.", change: func(t *testing.T, dir string) {
			if err := os.Symlink(outside, filepath.Join(dir, "b")); err != nil {
				t.Fatal(err)
			}
		}, want: outcome.Internal, message: "b"},
		"StateLinkOut": {reason: "A state that is a symbolic link out of the folder should not be followed.", change: func(t *testing.T, dir string) {
			if err := os.Symlink(outside, filepath.Join(dir, stateDir)); err != nil {
				t.Fatal(err)
			}
		}, want: outcome.Internal, message: stateDir},
		"FileLinkOut": {reason: "A symbolic link with the name of an artifact's file should be an error.", change: func(t *testing.T, dir string) {
			if err := os.Symlink(filepath.Join(outside, "x"), filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
		}, want: outcome.Unsupported, message: "empty folder"},
	}
	for format, layers := range map[string][]content{"Raw": rawLayers(files), "Tar": {tarLayer(t, t0, files)}} {
		for name, tc := range cases {
			t.Run(name+format, func(t *testing.T) {
				f := newFront(t, open, false)
				d := f.push(t, modelPack, layers...)
				dir := t.TempDir()
				tc.change(t, dir)
				p, _ := f.pulling(dir, d)
				_, err := p.Run(t.Context())
				checkError(t, tc.reason, err, tc.want, tc.message)
				if got := visible(t, outside); len(got) > 0 {
					t.Errorf("\n%s\nwritten outside of the folder: %v", tc.reason, got)
				}
			})
		}
	}
}

func TestNotWritable(t *testing.T) {
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(map[string]string{"a": "a"})...)
	dir := t.TempDir()
	write(t, dir, "file", "")
	p, _ := f.pulling(filepath.Join(dir, "file"), d)
	_, err := p.Run(t.Context())
	checkError(t, "An error should be returned if the destination is a file.", err, outcome.Unsupported, "in the way")
	p, _ = f.pulling("/proc/1/model", d)
	if _, err = p.Run(t.Context()); err == nil {
		t.Error("Run(...): want an error of the folder")
	}
}

// TestTogether checks that a pull waits for another one into the same folder, and then
// fetches nothing.
func TestTogether(t *testing.T) {
	files := map[string]string{"model.bin": strings.Repeat("weight", 100_000)}
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(files)...)
	dir := t.TempDir()
	errs := make(chan error, 3)
	for range cap(errs) {
		p, _ := f.pulling(dir, d)
		go func() { _, err := p.Run(t.Context()); errs <- err }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	holdsFiles(t, dir, files)
	if diff := cmp.Diff([]string{"GET bytes=0-599999"}, f.requests("/blobs/")); diff != "" {
		t.Errorf("requests: -want, +got:\n%s", diff)
	}
}

// TestKilled kills pulls repeatedly, and checks that each one resumes the last one, and
// that no incomplete file ever has its name.
func TestKilled(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d/e", "d/f"} {
		files[name] = strings.Repeat(name, 200_000)
	}
	archived := map[string]string{"t/x": strings.Repeat("x", 100_000), "t/y": strings.Repeat("y", 100_000)}
	f := newFront(t, open, false)
	d := f.push(t, modelPack, append(rawLayers(files), tarLayer(t, "application/vnd.cncf.model.code.v1.tar", archived))...)
	maps.Copy(files, archived)
	dir := t.TempDir()
	p, _ := f.pulling(dir, d)
	p.options.Parallel = 2
	kills := 0
	for ; ; kills++ {
		ctx, kill := context.WithCancel(t.Context())
		f.breaks((&ration{left: 300_000, spent: kill}).wrap)
		err := child(ctx, t, p.options).Run()
		kill()
		for name, c := range visible(t, dir) {
			if files[name] != c {
				t.Fatalf("after %d kills: %s has %d bytes of %d", kills, name, len(c), len(files[name]))
			}
		}
		if err == nil {
			break
		}
		if kills > 50 {
			t.Fatalf("it never ends: %v", err)
		}
	}
	holdsFiles(t, dir, files)
	if kills < 4 {
		t.Errorf("want some kills, got %d", kills)
	}
	t.Logf("%d kills", kills)
	checkAgain(t, f, dir, d)
}

// A ration passes some bytes of blobs, then calls spent and passes no more.
type ration struct {
	mu    sync.Mutex
	left  int
	spent func()
}

func (r *ration) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		next.ServeHTTP(&rationed{ResponseWriter: w, ration: r, gone: req.Context().Done()}, req)
	})
}

// A rationed is a ResponseWriter with a ration.
type rationed struct {
	http.ResponseWriter

	ration *ration
	gone   <-chan struct{}
}

func (r *rationed) Write(p []byte) (int, error) {
	r.ration.mu.Lock()
	r.ration.left -= len(p)
	spent := r.ration.left < 0
	r.ration.mu.Unlock()
	if spent {
		_ = http.NewResponseController(r.ResponseWriter).Flush()
		r.ration.spent()
		<-r.gone
		panic(http.ErrAbortHandler)
	}
	return r.ResponseWriter.Write(p)
}
