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
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "qwen3"}}
	a.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	a.Status.AtProvider.JobRef = &modelv1alpha1.JobReference{Namespace: "kitops-runs", Name: "qwen3-abc"}
	pod := func(name, created string) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kitops-runs", Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "worker"}}}}
		if err := json.Unmarshal([]byte(`"`+created+`"`), &p.CreationTimestamp); err != nil {
			t.Fatal(err)
		}
		p.Status.Phase = corev1.PodRunning
		return p
	}
	pods := &corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: []corev1.Pod{pod("new", "2026-01-02T00:00:00Z"), pod("old", "2026-01-01T00:00:00Z")}}
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/model.kitops.m.crossplane.io/v1alpha1/namespaces/models/artifacts/qwen3", func(w http.ResponseWriter, _ *http.Request) { write(w, a) })
	mux.HandleFunc("GET /api/v1/namespaces/kitops-runs/pods", func(w http.ResponseWriter, r *http.Request) {
		if s := r.URL.Query().Get("labelSelector"); s != "batch.kubernetes.io/job-name=qwen3-abc" {
			t.Errorf("Only the Job's Pods should be listed: got %q", s)
		}
		write(w, pods)
	})
	mux.HandleFunc("GET /api/v1/namespaces/kitops-runs/pods/new/log", func(w http.ResponseWriter, r *http.Request) {
		if c := r.URL.Query().Get("container"); c != "worker" {
			t.Errorf("want the log of the run's container, got %q", c)
		}
		if r.URL.Query().Get("tailLines") == "1" {
			_, _ = io.WriteString(w, "last\n")
			return
		}
		log(w)
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
