package volume

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// made returns the folder of a volume in which files with these contents lie.
func made(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, time.Unix(1, 2), time.Unix(1, 2)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, dir, path string) (*Folder, error) {
	t.Helper()
	f, err := New(pipeline.VolumeSource{Name: "pvc://team/models/" + path, Folder: dir, Path: path})
	if err == nil {
		t.Cleanup(f.Close)
	}
	return f, err
}

func link(t *testing.T, target, at string) {
	t.Helper()
	if err := os.Symlink(target, at); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	type want struct {
		Files  []file.File
		Reason outcome.Reason
		Says   string
	}
	files := map[string]string{"tiny/config.json": "{}", "tiny/sub/a b.bin": "12345", "other/x": "x"}
	listed := func(name string, size int64) file.File {
		return file.File{Path: name, Size: size, Version: "mtime:1000000002"}
	}
	cases := map[string]struct {
		reason string
		path   string
		change func(t *testing.T, dir string)
		want   want
	}{
		"Path":   {reason: "Only the files of the named folder should be listed.", path: "tiny", want: want{Files: []file.File{listed("config.json", 2), listed("sub/a b.bin", 5)}}},
		"All":    {reason: "Without a path all files of the volume should be listed.", want: want{Files: []file.File{listed("other/x", 1), listed("tiny/config.json", 2), listed("tiny/sub/a b.bin", 5)}}},
		"Absent": {reason: "A path that does not exist should be named.", path: "large", want: want{Reason: outcome.NotFound, Says: `no folder "large"`}},
		"File":   {reason: "A path to a file should be refused.", path: "other/x", want: want{Reason: outcome.Unsupported, Says: "no folder inside the volume"}},
		"PathOut": {reason: "A path that is a link out of the volume should be refused.", path: "out",
			change: func(t *testing.T, dir string) { link(t, filepath.Dir(secret), filepath.Join(dir, "out")) },
			want:   want{Reason: outcome.Unsupported, Says: "a link that leads elsewhere"}},
		"LinkOut": {reason: "A link out of the folder should be refused, since it may lead to a credential.", path: "tiny",
			change: func(t *testing.T, dir string) { link(t, secret, filepath.Join(dir, "tiny/model.bin")) },
			want:   want{Reason: outcome.Unsupported, Says: `"model.bin" in pvc://team/models/tiny is a link that leads out of the folder`}},
		"LinkUp": {reason: "A link to another folder of the volume leads out of the named one.", path: "tiny",
			change: func(t *testing.T, dir string) { link(t, "../other/x", filepath.Join(dir, "tiny/model.bin")) },
			want:   want{Reason: outcome.Unsupported, Says: "leads out of the folder"}},
		"LinkInside": {reason: "A link to a file inside the folder should be followed.", path: "tiny",
			change: func(t *testing.T, dir string) { link(t, "config.json", filepath.Join(dir, "tiny/copy.json")) },
			want:   want{Files: []file.File{listed("config.json", 2), listed("copy.json", 2), listed("sub/a b.bin", 5)}}},
		"LinkToFolder": {reason: "A link to a folder should be refused, since it may lead round in a circle.", path: "tiny",
			change: func(t *testing.T, dir string) { link(t, ".", filepath.Join(dir, "tiny/sub/again")) },
			want:   want{Reason: outcome.Unsupported, Says: "is a link to a folder"}},
		"Pipe": {reason: "What is no file should be refused, and not be waited for.", path: "tiny",
			change: func(t *testing.T, dir string) {
				if err := syscall.Mkfifo(filepath.Join(dir, "tiny/pipe"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: want{Reason: outcome.Unsupported, Says: `"pipe" in pvc://team/models/tiny is no regular file`}},
		"OfFilesystem": {reason: "Folders that a filesystem makes for itself should be left out.", path: "tiny",
			change: func(t *testing.T, dir string) {
				if err := os.Mkdir(filepath.Join(dir, "tiny/lost+found"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "tiny/lost+found/x"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: want{Files: []file.File{listed("config.json", 2), listed("sub/a b.bin", 5)}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := made(t, files)
			if tc.change != nil {
				tc.change(t, dir)
			}
			var got []file.File
			f, err := open(t, dir, tc.path)
			if err == nil {
				got, err = f.List(t.Context())
			}
			checkError(t, tc.reason, err, tc.want.Reason, tc.want.Says)
			if diff := cmp.Diff(tc.want.Files, got); err == nil && diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func checkError(t *testing.T, reason string, err error, want outcome.Reason, says string) {
	t.Helper()
	var got outcome.Reason
	if err != nil {
		got = outcome.ReasonOf(err)
	}
	if got != want {
		t.Errorf("\n%s\nwant an error with reason %q, got %q: %v", reason, want, got, err)
	}
	if want != "" && err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("\n%s\nwant an error that says %q, got %q", reason, says, err)
	}
}

func TestRead(t *testing.T) {
	const name = "model.bin"
	cases := map[string]struct {
		reason   string
		before   func(t *testing.T, p string) // Between List and Open.
		between  func(t *testing.T, p string) // Between the first bytes and the last.
		from, to int64
		want     string
		err      outcome.Reason
	}{
		"Whole": {reason: "The bytes of the file should be returned.", to: 10, want: "0123456789"},
		"Part":  {reason: "Only the bytes asked for should be returned.", from: 2, to: 5, want: "234"},
		"ChangedBefore": {reason: "Another content of the same size should be refused.", to: 10, err: outcome.Changed,
			before: func(t *testing.T, p string) { rewrite(t, p, "abcdefghij") }},
		"Shorter": {reason: "A file that became shorter should be refused.", to: 10, err: outcome.Changed,
			between: func(t *testing.T, p string) { rewrite(t, p, "012") }},
		"ChangedBetween": {reason: "A file that changes while it is read should be refused.", to: 10, err: outcome.Changed,
			between: func(t *testing.T, p string) { rewrite(t, p, "abcdefghij") }},
		"Replaced": {reason: "A file that another one with its time replaces should be refused.", to: 10, err: outcome.Changed,
			before: func(t *testing.T, p string) {
				other := p + ".new"
				rewrite(t, other, "abcdefghij")
				if err := os.Chtimes(other, time.Unix(1, 2), time.Unix(1, 2)); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(other, p); err != nil {
					t.Fatal(err)
				}
			}},
		"ReplacedBetween": {reason: "A file that is replaced while it is read should be refused.", to: 10, err: outcome.Changed,
			between: func(t *testing.T, p string) {
				rewrite(t, p+".new", "abcdefghij")
				if err := os.Rename(p+".new", p); err != nil {
					t.Fatal(err)
				}
			}},
		"GoneBetween": {reason: "A file that is removed while it is read should be refused.", to: 10, err: outcome.Changed,
			between: func(t *testing.T, p string) {
				if err := os.Remove(p); err != nil {
					t.Fatal(err)
				}
			}},
		"Gone": {reason: "A file that is gone should be reported as a change.", to: 10, err: outcome.Changed,
			before: func(t *testing.T, p string) {
				if err := os.Remove(p); err != nil {
					t.Fatal(err)
				}
			}},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			dir := made(t, map[string]string{name: "0123456789"})
			f, err := open(t, dir, "")
			if err != nil {
				t.Fatal(err)
			}
			files, err := f.List(t.Context())
			if err != nil || len(files) != 1 {
				t.Fatalf("List(...): want one file, got %v, %v", files, err)
			}
			if tc.before != nil {
				tc.before(t, filepath.Join(dir, name))
			}
			got, err := read(t.Context(), f, files[0], tc.from, tc.to, func() {
				if tc.between != nil {
					tc.between(t, filepath.Join(dir, name))
				}
			})
			checkError(t, tc.reason, err, tc.err, name)
			if tc.err == "" && got != tc.want {
				t.Errorf("\n%s\nOpen(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// read reads a part of a file, and calls between after its first byte.
func read(ctx context.Context, f *Folder, one file.File, from, to int64, between func()) (string, error) {
	rc, err := f.Open(ctx, one, from, to)
	if err != nil {
		return "", err
	}
	defer func() { _ = rc.Close() }()
	first := make([]byte, 1)
	if _, err := io.ReadFull(rc, first); err != nil {
		return "", err
	}
	between()
	rest, err := io.ReadAll(rc)
	return string(first) + string(rest), err
}

// TestContext checks that neither listing nor reading goes on after a run's end.
func TestContext(t *testing.T) {
	f, err := open(t, made(t, map[string]string{"model.bin": "0123456789"}), "")
	if err != nil {
		t.Fatal(err)
	}
	files, err := f.List(t.Context())
	if err != nil || len(files) != 1 {
		t.Fatalf("List(...): want one file, got %v, %v", files, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if got, err := read(ctx, f, files[0], 0, 10, cancel); !errors.Is(err, context.Canceled) || len(got) > 1 {
		t.Errorf("want reading to end with the run, got %q, %v", got, err)
	}
	if _, err := f.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("want listing to end with the run, got %v", err)
	}
}

// TestManyEntries checks that a folder that may not fit into memory is refused.
func TestManyEntries(t *testing.T) {
	f, err := open(t, made(t, map[string]string{"a": "", "b": "", "c": ""}), "")
	if err != nil {
		t.Fatal(err)
	}
	f.most = 3
	if _, err := f.List(t.Context()); err != nil {
		t.Errorf("want as many files to be listed, got %v", err)
	}
	f.most = 2
	_, err = f.List(t.Context())
	checkError(t, "A folder with more files than an artifact can have should be refused.", err, outcome.Unsupported, "more than 2 files")
}

func rewrite(t *testing.T, p, content string) {
	t.Helper()
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUnreadable checks the words for what another user's files are.
func TestUnreadable(t *testing.T) {
	cases := map[string]struct {
		reason string
		closed string
		says   string
	}{
		"File":   {reason: "A file should be named with its mode and owner.", closed: "config.json", says: `"config.json" in pvc://team/models/tiny (mode ----------, owner `},
		"Folder": {reason: "A folder should be named with its mode and owner.", closed: "sub", says: `"sub" in pvc://team/models/tiny (mode d---------, owner `},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := made(t, map[string]string{"tiny/config.json": "{}", "tiny/sub/a.bin": "1"})
			closed := filepath.Join(dir, "tiny", tc.closed)
			if err := os.Chmod(closed, 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
			f, err := open(t, dir, "tiny")
			if err != nil {
				t.Fatal(err)
			}
			checkError(t, tc.reason, f.failed(tc.closed, os.ErrPermission), outcome.Unauthorized, tc.says)
		})
	}
}

// TestOtherUser checks what another user than the volume's gets, by running this test
// again as one.
func TestOtherUser(t *testing.T) {
	const variable, user = "TEST_VOLUME_OF_ROOT", 1001
	if dir := os.Getenv(variable); dir != "" {
		f, err := open(t, dir, "tiny")
		if err == nil {
			_, err = f.List(t.Context())
		}
		if err == nil {
			_, err = read(t.Context(), f, file.File{Path: "model.bin"}, 0, 0, func() {})
		}
		t.Log(err)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to run as another user")
	}
	cases := map[string]struct {
		reason string
		closed string
		says   string
	}{
		"Volume": {reason: "A volume that is closed should be named with its mode and owner.", closed: ".", says: "the top folder of the volume in pvc://team/models/tiny (mode drwx------, owner 0:0) cannot be read by user 1001"},
		"Path":   {reason: "The folder that the Artifact names should be named with its mode and owner.", closed: "tiny", says: `"tiny" in pvc://team/models/tiny (mode drwx------, owner 0:0) cannot be read by user 1001`},
		"Folder": {reason: "A folder in it should be named with its mode and owner.", closed: "tiny/sub", says: `"sub" in pvc://team/models/tiny (mode drwx------, owner 0:0) cannot be read by user 1001`},
		"File":   {reason: "A file should be named with its mode and owner.", closed: "tiny/model.bin", says: `"model.bin" in pvc://team/models/tiny (mode -rwx------, owner 0:0) cannot be read by user 1001`},
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "volume-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			volume := filepath.Join(dir, "volume")
			for _, folder := range []string{"tiny", "tiny/sub"} {
				if err := os.MkdirAll(filepath.Join(volume, folder), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range []string{dir, volume} {
				if err := os.Chmod(p, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			test := filepath.Join(dir, "volume.test")
			for at, content := range map[string][]byte{test: program, filepath.Join(volume, "tiny/model.bin"): nil} {
				if err := os.WriteFile(at, content, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(filepath.Join(volume, tc.closed), 0o700); err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), test, "-test.run=^TestOtherUser$", "-test.v")
			c.Dir, c.Env = dir, []string{variable + "=" + volume, "TMPDIR=/tmp"}
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
			said, err := c.CombinedOutput()
			if err != nil || !strings.Contains(string(said), tc.says) {
				t.Errorf("\n%s\nwant %q, got %v: %s", tc.reason, tc.says, err, said)
			}
		})
	}
}
