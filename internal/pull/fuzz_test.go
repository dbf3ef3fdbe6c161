package pull

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// FuzzUnpack checks that no archive is unpacked outside of its folder, that no file is
// visible before it is named, and that an archive is unpacked completely or not at
// all.
func FuzzUnpack(f *testing.F) {
	good := tarOf(f, []*tar.Header{{Name: "a/b", Mode: 0o644, Size: 1}, {Name: "../c", Mode: 0o644, Size: 1}}, map[string]string{"a/b": "x", "../c": "y"})
	f.Add(good, uint8(0))
	f.Add(compressed(f, "+gzip", good), uint8(1))
	f.Add(compressed(f, "+zstd", good), uint8(2))
	f.Add(tarOf(f, []*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}}, nil), uint8(0))
	encodings := []modelpack.Encoding{modelpack.Tar, modelpack.TarGzip, modelpack.TarZstd}
	f.Fuzz(func(t *testing.T, archive []byte, encoding uint8) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "dir")
		to, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer to.close()
		l := modelpack.Layer{
			Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(archive), Size: int64(len(archive))},
			Encoding:   encodings[int(encoding)%len(encodings)],
		}
		j := &job{Pull: &Pull{log: log.New(io.Discard, "", 0)}, folder: to, state: to.loadState(t.Logf)}
		if err := to.MkdirAll(unpacked(l.Key()), dirMode); err != nil {
			t.Fatal(err)
		}
		entries, err := j.unpackFrom(t.Context(), bytes.NewReader(archive), l)
		if len(visible(t, dir)) > 0 {
			t.Errorf("a file is visible before it is named: %v", visible(t, dir))
		}
		if err == nil {
			err = j.nameAll(l.Key(), entries)
		}
		if got := visible(t, dir); err == nil && len(got) != len(entries) {
			t.Errorf("want %d files, got %d", len(entries), len(got))
		}
		outside, err := os.ReadDir(parent)
		if err != nil || len(outside) != 1 {
			t.Errorf("files got out: %v, %v", outside, err)
		}
	})
}

// FuzzState checks that no state refers to files outside of its folder.
func FuzzState(f *testing.F) {
	f.Add(`{"version":2,"digest":"sha256:x","files":{"a":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}}`)
	f.Add(`{"version":2,"files":{"../a":null}}`)
	f.Add(`{"version":2,"archives":{"x":["a"]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseState([]byte(text))
		if !ok {
			return
		}
		isSound(t, s)
	})
}

// isSound checks that a state refers to no files outside of its folder.
func isSound(t *testing.T, s *state) {
	t.Helper()
	for name, file := range s.Files {
		if file == nil || !filepath.IsLocal(name) || strings.HasPrefix(name, stateDir+"/") {
			t.Errorf("want no such file: %q", name)
		}
	}
	for _, names := range s.Archives {
		for _, name := range names {
			if s.Files[name] == nil {
				t.Errorf("want no archive with a file that is not there: %q", name)
			}
		}
	}
}

// FuzzJournal checks that no journal refers to files outside of its folder, and that
// changes can be appended to a journal that was read.
func FuzzJournal(f *testing.F) {
	const d = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	f.Add(`{"files":{"a":{"digest":"`+d+`","size":2}}}`+"\n", "b")
	f.Add(`{"files":{"a":{"digest":"`+d+`"}},"archives":{"k":["a"]}}`+"\n"+`{"files":{"c`, "b")
	f.Add(`{"files":{"../a":null}}`+"\n", "..")
	f.Add(`{"archives":{"k":["z"]}}`+"\n\n", "a/b")
	f.Add("null\n{}\n", "a")
	f.Fuzz(func(t *testing.T, journal, added string) {
		read := func(to *folder) *state {
			s := &state{Version: stateVersion, Generation: 1, Files: map[string]*file{}, Archives: map[string][]string{}}
			if !to.replay(s) {
				return nil
			}
			isSound(t, s)
			return s
		}
		to, err := openFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer to.close()
		if err := to.WriteFile(journalFile(1), []byte(journal), fileMode); err != nil {
			t.Fatal(err)
		}
		s := read(to)
		if s == nil {
			return
		}
		name, err := filePath(added)
		if err != nil || !utf8.ValidString(name) {
			name = "added"
		}
		s.Files[name] = &file{Digest: d, Size: 3}
		if err := to.record(s, change{Files: map[string]*file{name: s.Files[name]}}, false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, read(to)); diff != "" {
			t.Errorf("the journal read again: -want, +got:\n%s", diff)
		}
	})
}
