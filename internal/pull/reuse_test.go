package pull

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// shards are ten files of a model, of which one differs between versions.
func shards(version string) map[string]string {
	files := map[string]string{"config.json": "{}"}
	for i := range 10 {
		files[fmt.Sprintf("model-%02d.safetensors", i)] = strings.Repeat(fmt.Sprintf("shard %d,", i), 10_000)
	}
	files["model-04.safetensors"] = strings.Repeat("shard "+version+",", 10_000)
	return files
}

// TestReuse checks that of ten files only the changed one is fetched.
func TestReuse(t *testing.T) {
	one, two := shards("a"), shards("b")
	formats := []modelpack.Format{modelpack.FormatModelPack, modelpack.FormatModelKit, modelpack.FormatImage}
	f := newFront(t, open, false)
	for _, format := range formats {
		for _, links := range []bool{false, true} {
			t.Run(fmt.Sprint(format, links), func(t *testing.T) {
				older, dir := t.TempDir(), t.TempDir()
				f.breaks(nil)
				p, _ := f.pulling(older, f.pushLaidOut(t, format, one))
				if _, err := p.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				d := f.pushLaidOut(t, format, two)
				f.breaks(nil)
				p, log := f.pulling(dir, d)
				p.options.Reuse, p.options.HardLinks = older, links
				got, err := p.Run(t.Context())
				if err != nil || got != (Result{Digest: d, Files: len(two), Bytes: sizeOf(two)}) {
					t.Fatalf("Run(...): %s, %v\n%s", got, err, log)
				}
				// A ModelKit's config places its files.
				want := map[modelpack.Format]int{modelpack.FormatModelPack: 1, modelpack.FormatModelKit: 2, modelpack.FormatImage: 1}[format]
				if asked := f.requests("/blobs/"); len(asked) != want {
					t.Errorf("want only the changed file to be fetched, got %v\n%s", asked, log)
				}
				holdsFiles(t, dir, two)
				holdsFiles(t, older, one)
				a, aerr := os.Stat(filepath.Join(older, "model-01.safetensors"))
				b, berr := os.Stat(filepath.Join(dir, "model-01.safetensors"))
				if aerr != nil || berr != nil || os.SameFile(a, b) != links {
					t.Errorf("want files to be linked only if that is asked for: %v, %v", aerr, berr)
				}
				checkAgain(t, f, dir, d)
			})
		}
	}
}

// TestReuseHostile checks that nothing of an older folder is believed: the files are right
// whatever is in it.
func TestReuseHostile(t *testing.T) {
	files := shards("a")
	const name, other = "model-01.safetensors", "model-02.safetensors"
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(files[name]), 0o600); err != nil {
		t.Fatal(err)
	}
	restate := func(t *testing.T, dir string, change func(s *state)) {
		t.Helper()
		f, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		s := f.loadState(t.Logf)
		change(s)
		if err := f.saveState(s); err != nil {
			t.Fatal(err)
		}
	}
	remake := func(t *testing.T, dir, name string, create func(name string) error) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		if err := create(name); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(t *testing.T, dir string, names ...string) {
		t.Helper()
		for _, name := range names {
			write(t, dir, name, strings.Repeat("x", len(files[name])))
		}
	}
	cases := map[string]struct {
		reason string
		change func(t *testing.T, dir string)
		wrong  map[modelpack.Format]int // Files or archives that are read in vain, where it is checked.
	}{
		"ManyNames": {reason: "Few of many files that all claim one layer's digest should be read.", wrong: map[modelpack.Format]int{modelpack.FormatModelPack: maxNames}, change: func(t *testing.T, dir string) {
			swap(t, dir, name)
			restate(t, dir, func(s *state) {
				for i := range 100 {
					claims := fmt.Sprintf("a-%03d", i)
					write(t, dir, claims, strings.Repeat("x", len(files[name])))
					s.Files[claims] = s.Files[name]
				}
			})
		}},
		"AllSwapped": {reason: "Nothing more should be read after a few files of other content.", wrong: map[modelpack.Format]int{modelpack.FormatModelPack: maxWrong, modelpack.FormatModelKit: maxWrong}, change: func(t *testing.T, dir string) {
			swap(t, dir, slices.Collect(maps.Keys(files))...)
		}},
		"None":    {reason: "A folder that does not exist should be no error.", change: func(_ *testing.T, dir string) { _ = os.RemoveAll(dir) }},
		"NoState": {reason: "A folder without a state should be no error.", change: func(_ *testing.T, dir string) { _ = os.RemoveAll(filepath.Join(dir, stateDir)) }},
		"BadState": {reason: "A state that cannot be read should be no error.", change: func(t *testing.T, dir string) {
			write(t, dir, stateFile, `{"version":2,"files":{"../x":{}}}`)
		}},
		"StatePipe": {reason: "A state that is a pipe should not be waited for.", change: func(t *testing.T, dir string) {
			remake(t, dir, stateFile, func(name string) error { return syscall.Mkfifo(name, 0o600) })
		}},
		"Swapped": {reason: "A file of other content, and the time and size of when it was verified, should not be used.", change: func(t *testing.T, dir string) {
			fi, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, name, files[other])
			if err := os.Chtimes(filepath.Join(dir, name), fi.ModTime(), fi.ModTime()); err != nil {
				t.Fatal(err)
			}
		}},
		"Longer": {reason: "A file that is longer should not be used.", change: func(t *testing.T, dir string) { write(t, dir, name, files[name]+"more") }},
		"WrongDigest": {reason: "A state that gives a file another one's digest should not be believed.", change: func(t *testing.T, dir string) {
			restate(t, dir, func(s *state) { s.Files[name], s.Files[other] = s.Files[other], s.Files[name] })
		}},
		"WrongArchive": {reason: "A state that gives an archive other files should not be believed.", change: func(t *testing.T, dir string) {
			restate(t, dir, func(s *state) {
				for key, names := range s.Archives {
					if names[0] == name {
						s.Archives[key] = []string{other}
					}
				}
			})
		}},
		"LinkOut": {reason: "A symbolic link out of the folder should not be followed.", change: func(t *testing.T, dir string) {
			remake(t, dir, name, func(name string) error { return os.Symlink(outside, name) })
		}},
		"LinkWithin": {reason: "A symbolic link within the folder should not be followed.", change: func(t *testing.T, dir string) {
			remake(t, dir, name, func(name string) error { return os.Symlink(other, name) })
		}},
		"Pipe": {reason: "A pipe should not be waited for.", change: func(t *testing.T, dir string) {
			remake(t, dir, name, func(name string) error { return syscall.Mkfifo(name, 0o600) })
		}},
		"Folder": {reason: "A folder should not be taken for a file.", change: func(t *testing.T, dir string) {
			remake(t, dir, name, func(name string) error { return os.Mkdir(name, 0o750) })
		}},
	}
	for _, format := range []modelpack.Format{modelpack.FormatModelPack, modelpack.FormatModelKit} {
		f := newFront(t, open, false)
		d := f.pushLaidOut(t, format, files)
		for what, tc := range cases {
			for _, links := range []bool{false, true} {
				t.Run(fmt.Sprint(format, what, links), func(t *testing.T) {
					older, dir := t.TempDir(), t.TempDir()
					f.breaks(nil)
					p, _ := f.pulling(older, d)
					if _, err := p.Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					tc.change(t, older)
					before := map[string]string{}
					if !strings.Contains(what, "Pipe") {
						before = visible(t, older)
					}
					p, log := f.pulling(dir, d)
					p.options.Reuse, p.options.HardLinks = older, links
					if tc.wrong != nil {
						p.options.Parallel = 1
					}
					if _, err := p.Run(t.Context()); err != nil {
						t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, log)
					}
					holdsFiles(t, dir, files)
					if want, ok := tc.wrong[format]; ok && want != strings.Count(log.String(), "not what its state says") {
						t.Errorf("\n%s\nwant %d to be read in vain:\n%s", tc.reason, want, log)
					}
					if !strings.Contains(what, "Pipe") && !maps.Equal(before, visible(t, older)) {
						t.Errorf("\n%s\nthe older folder was changed", tc.reason)
					}
					checkAgain(t, f, dir, d)
				})
			}
		}
	}
}

// TestReuseLeftBehind checks that what a killed pull has linked into its folder is never
// written to.
func TestReuseLeftBehind(t *testing.T) {
	files := map[string]string{"model.bin": text(3 * rangeSize)}
	f := newFront(t, open, false)
	d := f.pushLaidOut(t, modelpack.FormatModelPack, files)
	older, dir := t.TempDir(), t.TempDir()
	p, _ := f.pulling(older, d)
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, partial(digest.FromString(files["model.bin"]))+"-reused")
	if err := os.MkdirAll(filepath.Dir(temp), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(older, "model.bin"), temp); err != nil {
		t.Fatal(err)
	}
	p, _ = f.ranged(dir, d)
	p.options.Reuse = older
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	holdsFiles(t, dir, files)
	holdsFiles(t, older, files)
}
