package plugin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/plugin"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
)

// fakePods is an API server with one Artifact and two Pods of its Job, since the one that
// tests share has no Pods that run.
func fakePods(t *testing.T, log func(w io.Writer)) kubectl {
	t.Helper()
	return servePods(t, []corev1.Pod{newPod(t, "new", "2026-01-02T00:00:00Z"), newPod(t, "old", "2026-01-01T00:00:00Z")}, func(w io.Writer, pod string) {
		if pod != "new" {
			t.Errorf("want the log of the latest Pod, got that of %q", pod)
		}
		log(w)
	})
}

// newPod returns a Pod that was created at a time and runs.
func newPod(t *testing.T, name, created string) corev1.Pod {
	t.Helper()
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kitops-runs", Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "worker"}}}}
	if err := json.Unmarshal([]byte(`"`+created+`"`), &p.CreationTimestamp); err != nil {
		t.Fatal(err)
	}
	p.Status.Phase = corev1.PodRunning
	return p
}

// servePods is an API server with one Artifact and the Pods of its Job.
func servePods(t *testing.T, items []corev1.Pod, log func(w io.Writer, pod string)) kubectl {
	t.Helper()
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "qwen3"}}
	a.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	a.Status.AtProvider.JobRef = &modelv1alpha1.JobReference{Namespace: "kitops-runs", Name: "qwen3-abc"}
	pods := &corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: items}
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/model.kitops.m.crossplane.io/v1alpha1/namespaces/models/artifacts/qwen3", func(w http.ResponseWriter, _ *http.Request) { write(w, a) })
	mux.HandleFunc("GET /api/v1/namespaces/kitops-runs/pods", func(w http.ResponseWriter, r *http.Request) {
		s := strings.TrimPrefix(r.URL.Query().Get("labelSelector"), "batch.kubernetes.io/job-completion-index=0,")
		if s != "batch.kubernetes.io/job-name=qwen3-abc" {
			t.Errorf("Only the Job's Pods should be listed: got %q", s)
		}
		write(w, pods)
	})
	mux.HandleFunc("GET /api/v1/namespaces/kitops-runs/pods/{pod}/log", func(w http.ResponseWriter, r *http.Request) {
		if c := r.URL.Query().Get("container"); c != "worker" {
			t.Errorf("want the log of the run's container, got %q", c)
		}
		if r.URL.Query().Get("tailLines") == "1" {
			_, _ = io.WriteString(w, "last\n")
			return
		}
		log(w, r.PathValue("pod"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return kubectl{kubeconfig: kubeconfig(t, &rest.Config{Host: server.URL}), namespace: "models"}
}

func TestLogs(t *testing.T) {
	k := fakePods(t, func(w io.Writer) { _, _ = io.WriteString(w, "one\r\n\x1b[2Jtwo \xff\n10%\r20%\n") })
	want := result{out: "one\n\\x1b[2Jtwo \\xff\n10%\n20%\n"}
	if diff := cmp.Diff(want, k.run(t, "", "logs", "qwen3"), cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("The log of the latest Pod should be shown, without effect on the terminal: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(result{out: "last\n"}, k.run(t, "", "logs", "qwen3", "--tail=1"), cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("As many lines should be shown as are asked for: -want, +got:\n%s", diff)
	}
}

// TestLogsOfSeveralPods checks which Pod's log is shown of a run of several.
func TestLogsOfSeveralPods(t *testing.T) {
	pod := func(name, index, created string, phase corev1.PodPhase) corev1.Pod {
		p := newPod(t, name, created)
		p.Labels = map[string]string{"batch.kubernetes.io/job-completion-index": index}
		p.Status.Phase = phase
		return p
	}
	const earlier, later = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	done, runs := pod("done", "0", later, corev1.PodSucceeded), pod("runs", "1", earlier, corev1.PodRunning)
	cases := map[string]struct {
		reason string
		args   []string
		pods   []corev1.Pod
		want   result
	}{
		"Failed":   {reason: "A Pod that failed should come first.", pods: []corev1.Pod{done, runs, pod("failed", "2", earlier, corev1.PodFailed)}, want: result{out: "log of failed\n", err: "This is Pod failed (Failed), one of 3: --index chooses another.\n"}},
		"Running":  {reason: "A Pod that runs should come before one that has finished.", pods: []corev1.Pod{done, runs}, want: result{out: "log of runs\n", err: "This is Pod runs (Running), one of 2: --index chooses another.\n"}},
		"Replaced": {reason: "A Pod that was replaced is history.", pods: []corev1.Pod{pod("evicted", "0", earlier, corev1.PodFailed), done}, want: result{out: "log of done\n"}},
		"Chosen":   {reason: "A Pod should be found by its index.", args: []string{"--index=0"}, pods: []corev1.Pod{done}, want: result{out: "log of done\n"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := servePods(t, tc.pods, func(w io.Writer, pod string) { _, _ = io.WriteString(w, "log of "+pod+"\n") })
			if diff := cmp.Diff(tc.want, k.run(t, "", append([]string{"logs", "qwen3"}, tc.args...)...), cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestLogsFollow checks that lines are shown as they come, and until the user ends it.
func TestLogsFollow(t *testing.T) {
	ended := make(chan struct{})
	k := fakePods(t, func(w io.Writer) {
		_, _ = io.WriteString(w, "one\n")
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		<-ended
	})
	defer close(ended)
	out, errs := &buffer{}, &bytes.Buffer{}
	stop := k.start(t, plugin.Streams{Out: out, Err: errs}, "logs", "-f", "qwen3")
	terminaltest.Wait(t, out, "A line should be shown before the log ends.", func(s string) bool { return s == "one\n" })
	if code := stop(); code != 0 || errs.String() != "" {
		t.Errorf("The user's end should be no error: got %d, %q", code, errs)
	}
}

// TestCompletion checks that names are completed, also by the name of the program that
// kubectl calls for it.
func TestCompletion(t *testing.T) {
	w := newWorld(t)
	w.fill(t)
	link := filepath.Join(t.TempDir(), "kubectl_complete-kitops")
	complete := func(args ...string) result {
		var out, errs bytes.Buffer
		all := append([]string{link, "--kubeconfig", w.kubeconfig, "-n", w.namespace}, args...)
		code := plugin.Run(t.Context(), all, plugin.Streams{In: os.Stdin, Out: &out, Err: &errs})
		return result{code: code, out: out.String()}
	}
	if got := complete("retry", "new", ""); got.code != 0 || !strings.HasPrefix(got.out, "failed\nready\nrunning\n:") {
		t.Errorf("Names that were not written yet should be completed: got %+v", got)
	}
	if got := complete("status", "--context", ""); !strings.HasPrefix(got.out, "test\n") {
		t.Errorf("Contexts should be completed: got %+v", got)
	}
	if got := complete("im"); !strings.HasPrefix(got.out, "import\t") {
		t.Errorf("Commands should be completed: got %+v", got)
	}
}
