package programs

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestContentKey(t *testing.T) {
	base := map[string]string{"go.mod": "module m\n", "main.go": "package main\n"}
	r := recipe{target: ".", binary: "m"}
	first := keyOf(t, base, r)
	cases := map[string]struct {
		reason string
		change map[string]string
		r      recipe
		same   bool
	}{
		"Same":   {reason: "The same sources have the same key.", r: r, same: true},
		"Notes":  {reason: "A file that no build reads does not count.", change: map[string]string{"README.md": "x"}, r: r, same: true},
		"Source": {reason: "Another source is another build.", change: map[string]string{"main.go": "package main // changed\n"}, r: r},
		"More":   {reason: "So is one source more.", change: map[string]string{"more.go": "package main\n"}, r: r},
		"Sums":   {reason: "So are other versions of dependencies.", change: map[string]string{"go.sum": "x"}, r: r},
		"Flags":  {reason: "So are other flags.", r: recipe{target: ".", binary: "m", ldflags: "-s"}},
		"Names":  {reason: "So are other names for the program.", r: recipe{target: ".", binary: "m", links: []string{"n"}}},
		"Data":   {reason: "So is what else the build holds.", r: recipe{target: ".", binary: "m", data: data{module: "m"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for _, from := range []map[string]string{base, tc.change} {
				for k, v := range from {
					files[k] = v
				}
			}
			if same := keyOf(t, files, tc.r) == first; same != tc.same {
				t.Errorf("\n%s\ncontentKey(...): want the same key: %t, got %t", tc.reason, tc.same, same)
			}
		})
	}
}

func keyOf(t *testing.T, files map[string]string, r recipe) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := contentKey(t.Context(), dir, r)
	if err != nil {
		t.Fatalf("contentKey(...): %v", err)
	}
	return key
}

// TestBuild is slow because it builds a program, in an empty cache.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program, which -short leaves out")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOCACHE", goEnv(t, "GOCACHE"))
	t.Setenv("GOMODCACHE", goEnv(t, "GOMODCACHE"))

	if _, ok, err := Built(t.Context(), Pause); ok || err != nil {
		t.Errorf("Built(...): before the build: want false, got %t, error %v", ok, err)
	}
	var log strings.Builder
	dir, err := Build(t.Context(), &log, Pause)
	if err != nil {
		t.Fatalf("Build(...): %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "pause")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("Build(...): want a program at %s/pause, error %v", dir, err)
	}
	if !strings.Contains(log.String(), "building pause") {
		t.Errorf("Build(...): want it to say what it builds, got %q", log.String())
	}
	log.Reset()
	again, err := Build(t.Context(), &log, Pause)
	if err != nil || again != dir {
		t.Errorf("Build(...): a second time: want %s, got %s, error %v", dir, again, err)
	}
	if diff := cmp.Diff("", log.String()); diff != "" {
		t.Errorf("Build(...): a second time: -want, +got:\n%s", diff)
	}
	if got, ok, err := Built(t.Context(), Pause); !ok || got != dir || err != nil {
		t.Errorf("Built(...): want %s, got %s, %t, error %v", dir, got, ok, err)
	}
	if _, ok, err := Built(t.Context(), Pause, "nonsense"); ok || err == nil {
		t.Error("Built(...): want an error for a module that is not there")
	}
	if _, err := Build(t.Context(), io.Discard, "nonsense"); err == nil {
		t.Error("Build(...): want an error for a module that is not there")
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestCompileLeavesNothingHalf(t *testing.T) {
	source, cache := t.TempDir(), t.TempDir()
	for name, data := range map[string]string{"go.mod": "module m\n", "main.go": "package main\nthis is no Go\n"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := compile(t.Context(), source, filepath.Join(cache, "m-key"), recipe{target: ".", binary: "m"})
	if err == nil || !strings.Contains(err.Error(), "main.go:2") {
		t.Errorf("compile(...): want an error that says what is wrong where, got %v", err)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
		t.Errorf("compile(...): want nothing left, got %v, error %v", left, err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), io.Discard, path)
	if err != nil {
		t.Fatalf("lock(...): %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var log strings.Builder
	if _, err := lock(ctx, &log, path); err == nil || !strings.Contains(log.String(), "waiting") {
		t.Errorf("lock(...): while it is held: want to wait and say so, got %q, error %v", log.String(), err)
	}
	unlock()
	if unlock, err = lock(t.Context(), io.Discard, path); err != nil {
		t.Fatalf("lock(...): when it is free again: %v", err)
	}
	unlock()
}

// TestVersions keeps the versions that programs say they are and those that
// they are together.
func TestVersions(t *testing.T) {
	cases := map[Name]struct {
		reason string
		want   string
	}{
		Kubernetes:    {reason: "Clients compare the API server's version.", want: "k8s.io/kubernetes " + KubernetesVersion},
		Crossplane:    {reason: "Packages say which versions of Crossplane they work with.", want: "github.com/crossplane/crossplane/v2 " + CrossplaneVersion},
		CrossplaneCLI: {reason: "People report it.", want: "github.com/crossplane/cli/v2 " + CrossplaneCLIVersion},
	}
	for name, tc := range cases {
		t.Run(string(name), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("modules", string(name), "go.mod"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), tc.want) {
				t.Errorf("\n%s\ngo.mod of %s: want %q in it", tc.reason, name, tc.want)
			}
		})
	}
}

func TestCopyData(t *testing.T) {
	source, build := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"go.mod": "module m\n", "crds/one.yaml": "a: b\n"} {
		path := filepath.Join(source, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyData(t.Context(), source, build, data{module: "m", dir: "crds", name: "the-crds"}); err != nil {
		t.Fatalf("copyData(...): %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(build, "the-crds", "one.yaml")); err != nil || string(got) != "a: b\n" {
		t.Errorf("copyData(...): got %q, error %v", got, err)
	}
	if err := copyData(t.Context(), source, build, data{}); err != nil {
		t.Errorf("copyData(...): without anything to copy: %v", err)
	}
	if err := copyData(t.Context(), source, build, data{module: "m", dir: "nowhere", name: "x"}); err == nil {
		t.Error("copyData(...): want an error for a folder that is not there")
	}
}
