package plugin_test

import (
	"bytes"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/plugin"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
)

// fill creates an Artifact in each state.
func (w world) fill(t *testing.T) (run *modelv1alpha1.Artifact) {
	t.Helper()
	w.artifact(t, "failed", failed("Unauthorized"), notReady("Unauthorized", "The Hub refused the token."))
	w.artifact(t, "new", modelv1alpha1.ArtifactObservation{})
	w.artifact(t, "ready", succeeded(), xpv2.Available())
	return w.artifact(t, "running", running(), notReady("Creating", ""))
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	if got := w.run(t, "", "status"); got.code != 0 || got.out != "" || !strings.Contains(got.err, "No Artifacts found in namespace "+w.namespace) {
		t.Errorf("A namespace without Artifacts should be said to have none: got %+v", got)
	}
	w.fill(t)

	want := result{out: strings.Join([]string{
		"NAME      MODEL             PHASE       REASON         PROGRESS                                                  DIGEST",
		"failed    Qwen/Qwen3-0.6B   Failed      Unauthorized   -                                                         -",
		"new       Qwen/Qwen3-0.6B   -           -              -                                                         -",
		"ready     Qwen/Qwen3-0.6B   Succeeded   Available      3.0 GiB                                                   sha256:9f86d081884c",
		"running   Qwen/Qwen3-0.6B   Running     Creating       50% copy, 20.0 GiB of 40.0 GiB, 100.0 MiB/s, 3m20s left   -",
	}, "\n") + "\n"}
	if diff := cmp.Diff(want, w.run(t, "", "status"), cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("Where there is no terminal, the table should have words: -want, +got:\n%s", diff)
	}
	if got := w.run(t, "", "status", "ready"); strings.Count(got.out, "\n") != 2 || !strings.Contains(got.out, "\nready ") {
		t.Errorf("Names should select Artifacts: got %+v", got)
	}
	if got := w.run(t, "", "status", "nowhere"); got.code != 1 || !strings.Contains(got.err, `error: cannot get Artifact `+w.namespace+`/nowhere: `) {
		t.Errorf("A name that does not exist should be an error: got %+v", got)
	}
	if got := w.run(t, "", "status", "-A"); !strings.HasPrefix(got.out, "NAMESPACE ") || !strings.Contains(got.out, "\n"+w.namespace+"   ready ") {
		t.Errorf("All namespaces should have a column: got %+v", got)
	}
	if got := w.run(t, "", "status", "-A", "ready"); got.code != 1 || !strings.Contains(got.err, "leave out the names") {
		t.Errorf("A name is of one namespace: got %+v", got)
	}
}

// TestStatusOnTerminal checks that a run has a bar on a terminal.
func TestStatusOnTerminal(t *testing.T) {
	w := newWorld(t)
	w.fill(t)
	tty, shown := terminaltest.New(t, 200, 20)
	if code := plugin.Run(t.Context(), w.args([]string{"status"}), plugin.Streams{In: tty, Out: tty, Err: tty}); code != 0 {
		t.Errorf("want exit code 0, got %d", code)
	}
	terminaltest.Wait(t, shown, "A run should have a bar.", func(s string) bool {
		return strings.Contains(s, "██████████░░░░░░░░░░  50% copy, 20.0 GiB of 40.0 GiB") && strings.Contains(s, "\nready ")
	})
}

// TestWatchLines checks what a pipe gets of changes.
func TestWatchLines(t *testing.T) {
	w := newWorld(t)
	run := w.fill(t)
	out, errs := &buffer{}, &bytes.Buffer{}
	stop := w.start(t, plugin.Streams{Out: out, Err: errs}, "status", "-w")
	terminaltest.Wait(t, out, "All Artifacts should be shown first.", func(s string) bool { return strings.Count(s, "\n") == 5 })

	next := running()
	next.Progress.Percent, next.Progress.BytesDone = 75, 30<<30
	w.set(t, run, next)
	terminaltest.Wait(t, out, "A change should be one line.", func(s string) bool {
		return strings.Count(s, "\n") == 6 && strings.Contains(s, "\nrunning   Qwen/Qwen3-0.6B   Running     Creating       75% copy, 30.0 GiB of 40.0 GiB")
	})
	// A change of what is not in the table is no line.
	run.SetAnnotations(map[string]string{"example.com/note": "x"})
	if err := w.Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), w.get(t, "new")); err != nil {
		t.Fatal(err)
	}
	terminaltest.Wait(t, out, "An Artifact that is gone should be said to be, and nothing else.", func(s string) bool {
		return strings.Count(s, "\n") == 7 && strings.Contains(s, "\nnew       Qwen/Qwen3-0.6B   Deleted")
	})
	if code := stop(); code != 0 || errs.String() != "" || strings.Contains(out.String(), "\x1b") {
		t.Errorf("The user's end should be no error, and a pipe should get no control sequence: got %d, %q", code, errs)
	}
}

// TestWatchOnTerminal checks that a table on a terminal is updated in place.
func TestWatchOnTerminal(t *testing.T) {
	w := newWorld(t)
	run := w.fill(t)
	tty, shown := terminaltest.New(t, 200, 20)
	stop := w.start(t, plugin.Streams{In: tty, Out: tty, Err: tty}, "status", "-w")

	terminaltest.Wait(t, shown, "The run should have a bar, which moves by its rate, and says that it is estimated.", func(s string) bool {
		return strings.Contains(s, "██████████") && strings.Contains(s, "~50% copy, 20.") && strings.Contains(s, "~ is estimated") &&
			strings.Contains(s, "1 running, 1 failed, 1 succeeded")
	})
	next := running()
	next.Progress = &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 75, BytesDone: 30 << 30, BytesTotal: 40 << 30}
	w.set(t, run, next)
	terminaltest.Wait(t, shown, "What was reported should replace what was shown.", func(s string) bool {
		return strings.Contains(s, "███████████████░░░░░  75% copy, 30.0 GiB of 40.0 GiB") && strings.Count(s, "NAME ") == 1 && !strings.Contains(s, "~")
	})
	w.set(t, run, succeeded(), xpv2.Available())
	terminaltest.Wait(t, shown, "A run that has ended should have no bar.", func(s string) bool {
		return !strings.Contains(s, "█") && strings.Contains(s, "1 failed, 2 succeeded. Ctrl-C ends.")
	})
	if code := stop(); code != 0 {
		t.Errorf("The user's end should be no error: got exit code %d", code)
	}
}
