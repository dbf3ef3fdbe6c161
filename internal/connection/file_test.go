package connection

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// publish makes a folder's files those of a new folder, as the kubelet does: files are
// links into ..data, which is a link to the folder with the current ones.
func publish(t *testing.T, dir, version, content string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, version, "token"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// TestMountedFile checks that a file is read again once it is replaced as the kubelet replaces
// it, and once it is written in place.
func TestMountedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	f := NewMountedFile(path)
	if _, err := f.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Read(): want an error before the file is there, got %v", err)
	}
	publish(t, dir, "..1", "hf_first\n")
	if err := os.Symlink("..data/token", path); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		reason string
		change func()
		want   string
	}{
		{reason: "The first content is read, without the line's end.", change: func() {}, want: "hf_first"},
		{reason: "The same content is returned again.", change: func() {}, want: "hf_first"},
		{reason: "A replaced folder is noticed, though the content has the same size.", change: func() { publish(t, dir, "..2", "hf_other\n") }, want: "hf_other"},
		{reason: "White space and a byte order mark are not part of the value.", change: func() { publish(t, dir, "..3", "\uFEFF hf_third \r\n") }, want: "hf_third"},
		{
			reason: "A file that is written in place is noticed by its size.",
			change: func() {
				if err := os.WriteFile(filepath.Join(dir, "..3", "token"), []byte("hf_longer"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: "hf_longer",
		},
	}
	for _, s := range steps {
		s.change()
		got, err := f.Text()
		if err != nil {
			t.Fatalf("\n%s\nText(): %v", s.reason, err)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("\n%s\nText(): -want, +got:\n%s", s.reason, diff)
		}
	}
	publish(t, dir, "..4", strings.Repeat("x", maxFileBytes+1))
	if _, err := f.Read(); err == nil {
		t.Error("Read(): want an error for a file that no Secret can hold")
	}
	publish(t, dir, "..5", strings.Repeat("x", maxFileBytes))
	if b, err := f.Read(); err != nil || len(b) != maxFileBytes {
		t.Errorf("Read(): want the largest file, got %d bytes, %v", len(b), err)
	}
}
