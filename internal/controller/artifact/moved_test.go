package artifact

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// A followedHub is a Hub with org/model, whose branch main can be moved.
type followedHub struct {
	*testhub.Handler

	t      *testing.T
	client *hub.Client
	dir    string
}

// startHub starts a Hub, and has the ProviderConfig name it.
func (w *world) startHub() *followedHub {
	w.t.Helper()
	dir := w.t.TempDir()
	for _, revision := range []string{"main", "next"} {
		folder := filepath.Join(dir, "models", "org", "model", revision)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(`"`+revision+`"`), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	h := testhub.NewHandler(dir)
	server := httptest.NewServer(h)
	w.t.Cleanup(server.Close)
	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.namespace}}
	w.eventually("Hub", func() string {
		if err := w.get(pc); err != nil {
			return err.Error()
		}
		pc.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(server.URL)}
		if err := w.client.Update(w.t.Context(), pc); err != nil {
			return err.Error()
		}
		return ""
	})
	c, err := hub.New(hub.Options{Endpoint: server.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	return &followedHub{Handler: h, t: w.t, client: c, dir: dir}
}

// move moves the branch main.
func (h *followedHub) move() {
	h.t.Helper()
	if err := testhub.Move(h.dir, "org/model", "main", "next"); err != nil {
		h.t.Fatal(err)
	}
}

// commit returns what a revision stands for.
func (h *followedHub) commit(revision string) string {
	h.t.Helper()
	head, err := h.client.Commit(h.t.Context(), "org/model", revision, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return head.Commit
}

// following returns an Artifact that follows main and is ready at a commit.
func (w *world) following(name string, h *followedHub) (*modelv1alpha1.Artifact, string) {
	w.t.Helper()
	a := w.artifact(name)
	source := a.Spec.ForProvider.Source
	source.RevisionPolicy = modelv1alpha1.RevisionFollow
	source.FollowInterval = &metav1.Duration{Duration: time.Hour}
	w.create(a)
	d := w.succeedAt(a, 1, "one", h.commit("main"))
	w.waitReady(a, corev1.ConditionTrue, "Available")
	return a, d
}

// waitUpToDate waits for the condition UpToDate.
func (w *world) waitUpToDate(a *modelv1alpha1.Artifact, status corev1.ConditionStatus, reason xpv2.ConditionReason) {
	w.t.Helper()
	w.eventually("UpToDate", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if c := a.GetCondition(modelv1alpha1.TypeUpToDate); c.Status != status || c.Reason != reason {
			return fmt.Sprintf("%s %s %q", c.Status, c.Reason, c.Message)
		}
		return ""
	})
}

// staysReady watches that an Artifact stays ready until stop is called.
func (w *world) staysReady(a *modelv1alpha1.Artifact) (stop func()) {
	w.t.Helper()
	watcher, err := newBase(w.t).Watch(w.t.Context(), &modelv1alpha1.ArtifactList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range watcher.ResultChan() {
			got, ok := e.Object.(*modelv1alpha1.Artifact)
			if !ok || got.GetName() != a.GetName() {
				continue
			}
			if ready := got.GetCondition(xpv2.TypeReady); ready.Status != corev1.ConditionTrue {
				w.t.Errorf("Ready=%s %s %q while it is rebuilt", ready.Status, ready.Reason, ready.Message)
			}
		}
	}()
	return func() { watcher.Stop(); <-done }
}

func TestFollowedBranch(t *testing.T) {
	w := startControllers(t)
	h := w.startHub()
	a, before := w.following("followed", h)
	stop := w.staysReady(a)
	w.waitUpToDate(a, corev1.ConditionTrue, reasonCurrent)
	w.stays(a, "The branch has not moved.")
	w.job(a, 1)

	h.move()
	w.lookUntilRun(a)
	if got := a.Status.AtProvider.Digest; got != before {
		t.Errorf("digest while it is rebuilt: %s, want %s", got, before)
	}
	w.waitUpToDate(a, corev1.ConditionFalse, reasonRebuilding)
	after := w.succeedAt(a, 2, "two", h.commit("main"))
	w.eventually("new digest", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if s := a.Status.AtProvider; s.Digest != after || s.Source.Revision != h.commit("next") {
			return s.Digest
		}
		return ""
	})
	stop()
	if hist := a.Status.AtProvider.History; len(hist) != 1 || hist[0].Digest != before || len(hist[0].Revision) != 40 {
		t.Errorf("history: %+v", hist)
	}
	w.look(a)
	w.waitUpToDate(a, corev1.ConditionTrue, reasonCurrent)
	w.stays(a, "It has what the branch stands for now.")
	w.job(a, 2)
}

// TestFollowedDataset has a dataset move on, while the model of its name stays.
func TestFollowedDataset(t *testing.T) {
	w := startControllers(t)
	h := w.startHub()
	folder := filepath.Join(h.dir, "datasets", "org", "model", "main")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "train.csv"), []byte("1,2"), 0o600); err != nil {
		t.Fatal(err)
	}
	head, err := h.client.Of(hub.Dataset).Commit(t.Context(), "org/model", "main", "")
	if err != nil {
		t.Fatal(err)
	}
	a := w.artifact("dataset")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
	source := a.Spec.ForProvider.Source
	source.RevisionPolicy = modelv1alpha1.RevisionFollow
	source.HuggingFace.Model, source.HuggingFace.Dataset = "", "org/model"
	w.create(a)
	w.succeedAt(a, 1, "one", h.commit("main"))
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.lookUntilRun(a)
	w.succeedAt(a, 2, "two", head.Commit)
	w.eventually("the dataset's commit", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if s := a.Status.AtProvider.Source; s == nil || s.Revision != head.Commit {
			return fmt.Sprint(s)
		}
		return ""
	})
}

// lookUntilRun requests reconciles until the next run begins: a Hub that was asked
// just before is not asked again at once.
func (w *world) lookUntilRun(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("earlier Job gone", func() string {
		w.look(a)
		w.deletePods()
		jobs := &batchv1.JobList{}
		if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.namespace)); err != nil {
			return err.Error()
		}
		for i := range jobs.Items {
			if !isLive(&jobs.Items[i]) {
				return "it is still there"
			}
		}
		return ""
	})
}

// TestFollowedBranchFails has the run that follows fail: what is there stays.
func TestFollowedBranchFails(t *testing.T) {
	w := startControllers(t)
	h := w.startHub()
	a, before := w.following("unfollowed", h)
	stop := w.staysReady(a)
	h.move()
	w.lookUntilRun(a)
	w.finish(w.job(a, 2), outcome.Result{Failure: &outcome.Failure{}}, `{"failure":{"reason":"Gated","message":"No access any more"}}`)
	w.eventually("failure", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if m := a.GetCondition(xpv2.TypeReady).Message; m != "The artifact is there as it was; rebuilding it failed: No access any more" {
			return m
		}
		return ""
	})
	w.waitUpToDate(a, corev1.ConditionFalse, "Gated")
	w.stays(a, "It is tried again after the interval only.")
	stop()
	w.waitTag("models/unfollowed", "v1", before)
}

// TestPinnedBranchStays has a branch move that is pinned.
func TestPinnedBranchStays(t *testing.T) {
	w := startControllers(t)
	h := w.startHub()
	a, _ := w.made("pinned")
	h.move()
	w.look(a)
	w.stays(a, "It is pinned.")
	if n := len(h.Requests()); n != 0 {
		t.Errorf("the Hub was asked %d times", n)
	}
	if hasCondition(a, modelv1alpha1.TypeUpToDate) {
		t.Error("What follows nothing should have no condition UpToDate.")
	}
}

// TestFollowWithoutHub has the Hub fail: it is said, and nothing else changes.
func TestFollowWithoutHub(t *testing.T) {
	w := startControllers(t)
	h := w.startHub()
	a, _ := w.following("hubless", h)
	stop := w.staysReady(a)
	if err := os.RemoveAll(filepath.Join(h.dir, "models")); err != nil {
		t.Fatal(err)
	}
	w.eventually("trouble", func() string {
		w.look(a) // Again, where the Hub was asked just before.
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if ready := a.GetCondition(xpv2.TypeReady); ready.Message == "" {
			return "Ready says nothing"
		}
		return ""
	})
	stop()
	w.waitUpToDate(a, corev1.ConditionFalse, "NotFound")
	w.stays(a, "It is not known to have moved.")
	t.Log(a.GetCondition(xpv2.TypeReady).Message)
}
