package kit

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// scripted returns a run whose kit is a shell script.
func scripted(t *testing.T, script string, log *bytes.Buffer) *task {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kit")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := openWorkspace(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &task{
		kit: New(WithPath(path), WithGrace(200*time.Millisecond)), workspace: w,
		log: newRunLog(log, []string{"hf_secret"}), env: []string{"PATH=/usr/bin:/bin"},
	}
}

func TestOutput(t *testing.T) {
	type want struct {
		lines  []string
		reason outcome.Reason
		log    []string // Sorted: both outputs come as they please.
	}
	cases := map[string]struct {
		reason string
		script string
		args   []string
		want   want
	}{
		"Success": {
			reason: "A step's standard output should be returned, and both outputs logged.",
			script: "echo out; echo err >&2",
			args:   []string{"import", "--token", "hf_secret"},
			want:   want{lines: []string{"out"}, log: []string{"  err", "  out", "$ kit import --token ***"}},
		},
		"Failure": {
			reason: "A failed step should be judged by its standard error alone.",
			script: "echo 'status code 404'; echo 'status code 429' >&2; exit 1",
			args:   []string{"import"},
			want:   want{reason: outcome.RateLimited, log: []string{"  status code 404", "  status code 429", "$ kit import"}},
		},
		"WorkingDirectory": {
			reason: "A step should run in an empty folder.",
			script: "ls -A; echo end",
			args:   []string{"import"},
			want:   want{lines: []string{"end"}, log: []string{"  end", "$ kit import"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			log := &bytes.Buffer{}
			lines, err := scripted(t, tc.script, log).output(t.Context(), tc.args...)
			got := want{lines: lines, log: slices.Sorted(strings.Lines(log.String()))}
			for i := range got.log {
				got.log[i] = strings.TrimRight(got.log[i], "\n")
			}
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\noutput(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestStop ends the context of steps that do not end by themselves.
func TestStop(t *testing.T) {
	cases := map[string]struct {
		reason string
		script string
		want   string // In the log.
	}{
		"Gentle": {
			reason: "A step should be told to end, and may say something.",
			script: "trap 'echo tidied; exit 1' TERM; echo started; sleep 60 & wait",
			want:   "tidied",
		},
		"Stubborn": {
			reason: "A step that does not listen should be killed, with what it started.",
			script: "trap '' TERM; sleep 60 & echo started; wait; sleep 60",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			log := &bytes.Buffer{}
			r := scripted(t, "echo $$ > ../pid\n"+tc.script, log)
			// The log is where the script tells that it has begun.
			r.log.w = &onWrite{w: log, on: "started", do: cancel}
			begin := time.Now()
			_, err := r.output(ctx, "import")
			if err == nil || ctx.Err() == nil || !strings.Contains(err.Error(), "kit import was stopped") {
				t.Errorf("\n%s\noutput(...): got %v", tc.reason, err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("\n%s\noutput(...): it took %s", tc.reason, took)
			}
			if !strings.Contains(log.String(), tc.want) {
				t.Errorf("\n%s\noutput(...): want %q in the log:\n%s", tc.reason, tc.want, log)
			}
			awaitNoGroup(t, filepath.Join(r.workspace.root, "pid"))
		})
	}
}

// onWrite calls do once when a text is written.
type onWrite struct {
	w  *bytes.Buffer
	on string
	do func()
}

func (o *onWrite) Write(b []byte) (int, error) {
	if strings.Contains(string(b), o.on) {
		o.do()
	}
	return o.w.Write(b)
}

// awaitNoGroup waits until no process of a group is left; a killed one may
// take a moment.
func awaitNoGroup(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if syscall.Kill(-pid, 0) != nil {
			return
		}
	}
	t.Errorf("processes of group %d are left", pid)
}
