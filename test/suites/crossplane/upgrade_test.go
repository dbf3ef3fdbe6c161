package crossplane

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// testUpgrade upgrades the provider and rolls it back, with runs in progress, a run
// that waits for a node and Artifacts that are Ready, and makes an Artifact
// while one version takes over from the other.
func testUpgrade(t *testing.T) {
	installed(t, v1)
	n := newTenant(t)
	jobs := n.watchRuns()
	n.create("ready")
	n.waitReady("ready", "True", "Available")

	n.changeVersion("upgrade", 8001, v2)
	n.changeVersion("rollback", 8002, v1)

	want := map[string]runs{"ready": {Jobs: 1, Pods: 1}}
	got := jobs()
	for _, step := range []string{"upgrade", "rollback"} {
		want[step+"-running"] = runs{Jobs: 1, Pods: 1}
		want[step+"-new"] = runs{Jobs: 1, Pods: 1}
		want[step+"-waiting"] = runs{Jobs: 1, Pods: 1}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Jobs that were ever made and Pods that ever ran, by Artifact: -want, +got:\n%s", diff)
	}
	for name := range want {
		if a := n.get(name); a.Status.AtProvider.Run != 1 {
			t.Errorf("%s: run %d, want the first one", name, a.Status.AtProvider.Run)
		}
	}
}

// changeVersion goes to another version of the provider while Artifacts whose
// names begin with step are being made.
func (n *tenant) changeVersion(step string, port int, version string) {
	n.t.Helper()
	running, waiting, late := step+"-running", step+"-waiting", step+"-new"
	h := newHeldHub(n.t, port)
	n.configure(n.namespace+"-"+step, h.url)
	n.create(running, withConfig(n.namespace+"-"+step))
	n.create(waiting, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
		a.Spec.ForProvider.Job = &v1alpha1.JobSettings{NodeSelector: map[string]string{"test/" + step: "open"}}
	})
	eventually(n.t, "runs", func(context.Context) string {
		if h.held.Load() == 0 {
			return "no run asks for files"
		}
		if a := n.get(waiting); a.Status.AtProvider.JobRef == nil {
			return waiting + " has no Job"
		}
		return ""
	})
	before := n.jobUID(running)

	apply(n.t, version)
	n.create(late)
	waitInstalled(n.t, version)
	n.waitReady(late, "True", "Available")
	if after := n.jobUID(running); after != before {
		n.t.Errorf("%s: the Job at work is another one now", running)
	}

	h.open()
	kubectl(n.t, "", "label", "node", local.Cluster.NodeName(), "test/"+step+"=open", "--overwrite")
	for _, name := range []string{running, waiting, "ready"} {
		n.waitReady(name, "True", "Available")
	}
}

// jobUID is the UID of an Artifact's Job, which must exist and be running.
func (n *tenant) jobUID(name string) types.UID {
	n.t.Helper()
	ref := n.get(name).Status.AtProvider.JobRef
	if ref == nil {
		n.t.Fatalf("%s has no Job", name)
	}
	job := &batchv1.Job{}
	if err := local.Client.Get(n.t.Context(), types.NamespacedName{Namespace: n.namespace, Name: ref.Name}, job); err != nil {
		n.t.Fatal(err)
	}
	if job.Status.Active != 1 || job.GetDeletionTimestamp() != nil {
		n.t.Errorf("%s: the Job is not at work: %+v", name, job.Status)
	}
	return job.GetUID()
}

// runs is what was ever there for an Artifact.
type runs struct {
	Jobs int // that were made
	Pods int // that began to work
}

// watchRuns watches the tenant's Jobs and Pods from now on. What it returns
// stops that and counts, by Artifact.
func (n *tenant) watchRuns() func() map[string]runs {
	n.t.Helper()
	c, err := kubernetes.NewForConfig(local.REST)
	if err != nil {
		n.t.Fatal(err)
	}
	jobs := n.collect(c.BatchV1().Jobs(n.namespace))
	pods := n.collect(c.CoreV1().Pods(n.namespace))
	return func() map[string]runs {
		count := map[string]runs{}
		for _, name := range jobs() {
			r := count[name]
			r.Jobs++
			count[name] = r
		}
		for _, name := range pods() {
			r := count[name]
			r.Pods++
			count[name] = r
		}
		return count
	}
}

// A watcher watches the objects of one kind.
type watcher interface {
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// collect watches objects from now on. What it returns stops that and has the
// Artifact of each that was ever there, but for Pods that never began to work.
func (n *tenant) collect(objects watcher) func() map[types.UID]string {
	n.t.Helper()
	w, err := objects.Watch(n.t.Context(), metav1.ListOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	seen := map[types.UID]string{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if pod, ok := e.Object.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodPending {
				continue
			}
			if o, err := apimeta.Accessor(e.Object); err == nil {
				seen[o.GetUID()] = o.GetAnnotations()[artifact.AnnotationArtifact]
			}
		}
	}()
	return func() map[types.UID]string {
		select {
		case <-done:
			n.t.Error("a watch ended too soon")
		default:
		}
		w.Stop()
		<-done
		return seen
	}
}

// A heldHub is a Hub that Pods reach and that gives no file away until it is
// opened.
type heldHub struct {
	url  string
	held atomic.Int64 // requests that it held
	open func()
}

// newHeldHub serves the cluster's models on a port of the node.
func newHeldHub(t *testing.T, port int) *heldHub {
	t.Helper()
	l, err := local.Cluster.Listen(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	h := &heldHub{url: fmt.Sprintf("http://%s:%d", local.Cluster.HubIP(), port), open: sync.OnceFunc(func() { close(opened) })}
	file := hub.On("/resolve/")
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: hub.NewHandler(local.Cluster.HubDir(),
		hub.WithFault(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if file(r) {
					h.held.Add(1)
					select {
					case <-opened:
					case <-r.Context().Done():
						return
					}
				}
				next.ServeHTTP(w, r)
			})
		}))}
	go func() { _ = server.Serve(l) }() // Ends with Close.
	t.Cleanup(func() {
		h.open()
		_ = server.Close() // All of it ends with the test.
	})
	return h
}
