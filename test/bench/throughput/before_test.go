package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// oldWorker is a program that refuses a provider of an older contract as a worker does.
const oldWorker = `package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "failed: TooOld: the provider is older than the worker's image, which needs contract 3: upgrade the provider")
	os.Exit(1)
}
`

// commit makes a repository of git whose one commit has a worker, and returns its folder
// and the commit.
func commit(t *testing.T) (string, string) {
	t.Helper()
	root := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", root}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for path, text := range map[string]string{"go.mod": "module example.com/old\n\ngo 1.26\n", "cmd/worker/main.go": oldWorker} {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "--message=Add a worker")
	// The source tree may have changed since.
	if err := os.WriteFile(filepath.Join(root, "cmd/worker/main.go"), []byte("package broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root, git("rev-parse", "HEAD")
}

func TestBuildCommit(t *testing.T) {
	root, want := commit(t)
	got, found := resolveCommit(t.Context(), root, want[:8])
	if diff := cmp.Diff(want, got); diff != "" || !found {
		t.Fatalf("A commit should be found by the beginning of its name: -want, +got:\n%s", diff)
	}
	if _, found := resolveCommit(t.Context(), root, strings.Repeat("a", 40)); found {
		t.Error("A commit that the history does not have should not be found.")
	}

	cache := t.TempDir()
	program, err := buildCommit(t.Context(), root, want, cache)
	if err != nil {
		t.Fatalf("The worker of a commit should be built, whatever the source tree has now: %v", err)
	}
	contract, err := contractOf(t.Context(), program)
	if err != nil || contract != 3 {
		t.Errorf("A worker should be asked for its contract: want 3, got %d, %v", contract, err)
	}
	left, err := os.ReadDir(filepath.Dir(program))
	if err != nil || len(left) != 1 {
		t.Errorf("Nothing should be left of the build but the program: got %v, %v", left, err)
	}

	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	again, err := buildCommit(t.Context(), root, want, cache)
	if diff := cmp.Diff(program, again); diff != "" || err != nil {
		t.Errorf("A worker that was built should be used again: %v: -want, +got:\n%s", err, diff)
	}
	if w, err := findBefore(t.Context(), program, cache); err != nil || w.program != program || w.contract != 3 {
		t.Errorf("A worker should be found by its path: got %+v, %v", w, err)
	}
}

func TestNoBefore(t *testing.T) {
	w, err := findBefore(t.Context(), "0123456789abcdef0123456789abcdef01234567", t.TempDir())
	if want := "this clone does not have the commit 0123456789ab"; err != nil || w.missing != want {
		t.Errorf("A commit that this clone does not have should be left out: want %q, got %q, %v", want, w.missing, err)
	}
	b := &bench{before: w, report: &report{}}
	b.holdBefore(round{results: []*result{{contender: b.stream(), took: []time.Duration{time.Second / 4}}}}, "one file", aThird, "a third of the time before")
	want := [][]string{{"one file: at most a third of the time before", "not measured: " + w.missing, "NOT reached"}}
	if diff := cmp.Diff(want, b.report.limits); diff != "" {
		t.Errorf("A limit that could not be measured should not be reached: -want, +got:\n%s", diff)
	}
}

func TestHoldRatio(t *testing.T) {
	seconds := func(all ...float64) *result {
		r := &result{}
		for _, s := range all {
			r.took = append(r.took, time.Duration(s*float64(time.Second)))
		}
		return r
	}
	cases := map[string]struct {
		reason     string
		own, other *result
		want       []string
	}{
		"InTurn": {
			reason: "A slow minute should not count, if it hit both.",
			own:    seconds(1, 10, 1.2), other: seconds(1, 10, 1.1),
			want: []string{"limit", "1.000 times 1.10 s (single runs 1.00 to 1.09)", "reached"},
		},
		"Slower": {
			reason: "The middle of the ratios should be held against the limit.",
			own:    seconds(1, 1.2, 1.1, 1.1), other: seconds(1, 1, 1, 1),
			want: []string{"limit", "1.100 times 1.00 s (single runs 1.00 to 1.20)", "NOT reached"},
		},
		"Once": {
			reason: "One run differs from none.",
			own:    seconds(1), other: seconds(2),
			want: []string{"limit", "0.500 times 2.00 s", "reached"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := &bench{report: &report{}}
			b.holdRatio(tc.own, tc.other, "limit", 1.05)
			if diff := cmp.Diff([][]string{tc.want}, b.report.limits, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("\n%s\nholdRatio(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
