package pull

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// written records files in a state one after the other, as a pull does, and returns the
// number of bytes written.
func written(t *testing.T, dir string, files int) int64 {
	t.Helper()
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	s := f.loadState(t.Logf)
	for i := range files {
		s.Files[fmt.Sprintf("data/%06d.bin", i)] = &file{Digest: digest.FromString("x"), Size: 1}
	}
	if err := f.saveState(s); err != nil {
		t.Fatal(err)
	}
	j := &job{Pull: &Pull{}, folder: f, state: s}
	for name := range s.Files {
		if err := j.note(map[string]int64{name: 7}); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := f.Stat(journalFile(s.Generation))
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// TestStateIsLinear checks that the bytes of a pull's state grow linearly with the number
// of files, and that no change is lost.
func TestStateIsLinear(t *testing.T) {
	dir := t.TempDir()
	few, many := written(t, t.TempDir(), 100), written(t, dir, 10_000)
	if many > 110*few || many > 10_000*300 {
		t.Errorf("want a hundred times as much for a hundred times as many files, got %d and %d bytes", few, many)
	}
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	s := f.loadState(t.Logf)
	for name, one := range s.Files {
		if one.ModTime != 7 {
			t.Fatalf("%s: want what was noted, got %+v", name, one)
		}
	}
	if len(s.Files) != 10_000 {
		t.Errorf("want all files, got %d", len(s.Files))
	}
}

// TestJournal checks that journals are read after crashes.
func TestJournal(t *testing.T) {
	d := digest.FromString("x").String()
	state := fmt.Sprintf(`{"version":2,"generation":3,"files":{"a":{"digest":%q,"size":1}}}`, d)
	line := func(name string) string { return fmt.Sprintf(`{"files":{%q:{"digest":%q,"size":1}}}`, name, d) }
	cases := map[string]struct {
		reason  string
		name    string
		journal string
		want    []string
	}{
		"Whole":   {reason: "All lines should be applied.", name: journalFile(3), journal: line("b") + "\n" + line("c") + "\n", want: []string{"a", "b", "c"}},
		"Torn":    {reason: "An incomplete last line should be ignored.", name: journalFile(3), journal: line("b") + "\n" + line("c")[:9], want: []string{"a", "b"}},
		"Other":   {reason: "The journal of another state should be ignored.", name: journalFile(2), journal: line("b") + "\n", want: []string{"a"}},
		"Outside": {reason: "A path out of the folder should make the state invalid.", name: journalFile(3), journal: line("../b") + "\n"},
		"Broken":  {reason: "A line that is no change should make the state invalid.", name: journalFile(3), journal: "x\n"},
		"Archive": {reason: "An archive with unknown files should make the state invalid.", name: journalFile(3), journal: `{"archives":{"k":["z"]}}` + "\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, stateFile, state)
			write(t, dir, tc.name, tc.journal)
			f, err := openFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			s := f.loadState(t.Logf)
			var got []string
			for _, n := range []string{"a", "b", "c", "../b"} {
				if s.Files[n] != nil {
					got = append(got, n)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nloadState(...): -want, +got:\n%s", tc.reason, diff)
			}
			if len(got) == 0 {
				f.close()
				return
			}
			// The next change must start a new line.
			s.Files["d"] = &file{Digest: digest.Digest(d), Size: 1}
			if err := f.record(s, change{Files: map[string]*file{"d": s.Files["d"]}}, true); err != nil {
				t.Fatal(err)
			}
			f.close()
			if f, err = openFolder(dir); err != nil {
				t.Fatal(err)
			}
			defer f.close()
			if again := f.loadState(t.Logf); len(again.Files) != len(tc.want)+1 {
				t.Errorf("\n%s\nloadState(...) afterwards: got %v", tc.reason, again.Files)
			}
			if err := f.saveState(s); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, journalFile(3))); err == nil {
				t.Errorf("\n%s\nthe old journal is still there", tc.reason)
			}
		})
	}
}
