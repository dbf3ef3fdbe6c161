package e2e

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// pipelines are all of them, for tests in which it makes a difference.
var pipelines = []modelv1alpha1.PipelineType{modelv1alpha1.PipelineKit, modelv1alpha1.PipelineStream}

// forPipelines runs a test for each pipeline, in a tenant of its own.
func forPipelines(t *testing.T, test func(*tenant, modelv1alpha1.PipelineType)) {
	t.Helper()
	t.Parallel()
	for _, p := range pipelines {
		t.Run(strings.ToLower(string(p)), func(t *testing.T) {
			t.Parallel()
			test(newTenant(t), p)
		})
	}
}

// ownModel is a model of the tenant's own.
func (n *tenant) ownModel() string { return "test/" + n.namespace }

// publishOwn puts a revision of the tenant's own model on the Hub. No blob of
// its weights is another model's. It returns the files.
func (n *tenant) publishOwn(revision string) map[string]string {
	n.t.Helper()
	const weights = "onnx/model.onnx"
	files := with(n.files, weights, n.files[weights]+n.namespace+revision)
	if err := models.Write(local.Cluster.HubDir(), n.ownModel(), revision, files); err != nil {
		n.t.Fatal(err)
	}
	return files
}

// ownArtifact returns an Artifact of the tenant's own model that is not created
// yet.
func (n *tenant) ownArtifact(name string, pipeline modelv1alpha1.PipelineType) *modelv1alpha1.Artifact {
	a := n.artifact(name, pipeline, modelv1alpha1.PackFormatModelPack)
	a.Spec.ForProvider.Source.HuggingFace.Model = n.ownModel()
	return a
}

// makeOwn makes an artifact of the tenant's own model, and returns the model's
// files.
func (n *tenant) makeOwn(a *modelv1alpha1.Artifact) map[string]string {
	n.t.Helper()
	files := n.publishOwn("main")
	n.create(a)
	n.waitReady(a, corev1.ConditionTrue, "Available")
	return files
}

// get reads the Artifact.
func (n *tenant) get(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
		n.t.Fatal(err)
	}
}

// change the Artifact as the API server has it.
func (n *tenant) change(a *modelv1alpha1.Artifact, change func()) {
	n.t.Helper()
	n.get(a)
	patch := client.MergeFrom(a.DeepCopy())
	change()
	if err := local.Client.Patch(n.t.Context(), a, patch); err != nil {
		n.t.Fatal(err)
	}
}

// ask has the Artifact looked at, as a person does, and waits until it was.
func (n *tenant) ask(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	token := rand.Text()
	n.change(a, func() { meta.SetReconcileRequest(a, token) })
	n.eventually("looked at", func() string {
		n.get(a)
		if a.GetLastHandledReconcileAt() != token {
			return "the request is not handled"
		}
		return ""
	})
}

// say logs what a person sees of the Artifact: its conditions and its events.
func (n *tenant) say(when string, a *modelv1alpha1.Artifact) {
	n.t.Helper()
	n.get(a)
	out := &strings.Builder{}
	for _, c := range a.Status.Conditions {
		fmt.Fprintf(out, "\n  %s=%s %s %q", c.Type, c.Status, c.Reason, c.Message)
	}
	n.t.Logf("%s, %s:%s", a.GetName(), when, out)
	n.sayEvents(a)
}

// sayEvents logs the Artifact's events, also where it is gone.
func (n *tenant) sayEvents(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	out := &strings.Builder{}
	for _, e := range n.events(a) {
		fmt.Fprintf(out, "\n  %s %s %s", e.Type, e.Reason, e.Message)
	}
	n.t.Logf("events of %s:%s", a.GetName(), out)
}

// events of the Artifact and of others that had its name, oldest first.
func (n *tenant) events(a *modelv1alpha1.Artifact) []corev1.Event {
	n.t.Helper()
	list := &corev1.EventList{}
	if err := local.Client.List(n.t.Context(), list, client.InNamespace(n.namespace)); err != nil {
		n.t.Fatal(err)
	}
	all := slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
		return e.InvolvedObject.Kind != modelv1alpha1.ArtifactGroupVersionKind.Kind || e.InvolvedObject.Name != a.GetName()
	})
	slices.SortFunc(all, func(a, b corev1.Event) int {
		return cmp.Or(a.LastTimestamp.Compare(b.LastTimestamp.Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	return all
}

// waitEvent waits for an event of this reason whose message has these parts.
func (n *tenant) waitEvent(a *modelv1alpha1.Artifact, reason string, parts ...string) {
	n.t.Helper()
	n.eventually("event "+reason, func() string {
		for _, e := range n.events(a) {
			if e.Reason == reason && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(e.Message, part) }) {
				return ""
			}
		}
		return fmt.Sprintf("there is none that names %v", parts)
	})
}

// clearRuns deletes the tenant's Jobs, so that each one that is there later is
// a new one.
func (n *tenant) clearRuns() {
	n.t.Helper()
	if err := local.Client.DeleteAllOf(n.t.Context(), &batchv1.Job{}, client.InNamespace(n.namespace), client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		n.t.Fatal(err)
	}
	n.eventually("no runs", func() string {
		return strings.Join(append(n.names(&batchv1.JobList{}), n.names(&corev1.PodList{})...), " ")
	})
}

// checkNoRun checks that no Job was made since clearRuns: a Job stays for an
// hour after its end.
func (n *tenant) checkNoRun() {
	n.t.Helper()
	if jobs := n.names(&batchv1.JobList{}); len(jobs) > 0 {
		n.t.Errorf("a run was begun: %v", jobs)
	}
}

// repository is where the Artifact is pushed to, at the open registry.
func (n *tenant) repository(a *modelv1alpha1.Artifact) *remote.Repository {
	n.t.Helper()
	return n.repositoryAt(local.RegistryHost, a)
}

func (n *tenant) repositoryAt(host string, a *modelv1alpha1.Artifact) *remote.Repository {
	n.t.Helper()
	repository, err := local.Repository(host, a.Spec.ForProvider.Target.Repository, auth.EmptyCredential)
	if err != nil {
		n.t.Fatal(err)
	}
	return repository
}

// tags of a repository, also the fallback tags of referrers.
func (n *tenant) tags(repository *remote.Repository) []string {
	n.t.Helper()
	var out []string
	err := repository.Tags(n.t.Context(), "", func(tags []string) error {
		out = append(out, tags...)
		return nil
	})
	var answer *errcode.ErrorResponse
	if err != nil && (!errors.As(err, &answer) || answer.StatusCode != http.StatusNotFound) {
		n.t.Fatal(err)
	}
	return out
}

// referrers of a manifest.
func (n *tenant) referrers(repository *remote.Repository, digest string) []ocispec.Descriptor {
	n.t.Helper()
	d, err := repository.Resolve(n.t.Context(), digest)
	if err != nil {
		n.t.Fatal(err)
	}
	var out []ocispec.Descriptor
	err = repository.Referrers(n.t.Context(), d, "", func(page []ocispec.Descriptor) error {
		out = append(out, page...)
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// records returns the attestations of who pushed a manifest.
func (n *tenant) records(repository *remote.Repository, digest string) []ocispec.Descriptor {
	n.t.Helper()
	return slices.DeleteFunc(n.referrers(repository, digest), func(d ocispec.Descriptor) bool {
		return d.ArtifactType != "application/vnd.dev.sigstore.bundle.v0.3+json"
	})
}

// tagged returns the digest that a tag points to, nothing if there is none.
func (n *tenant) tagged(repository *remote.Repository, tag string) string {
	n.t.Helper()
	d, err := repository.Resolve(n.t.Context(), tag)
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		n.t.Fatal(err)
	}
	return d.Digest.String()
}

// loseManifest removes the manifest that the tag v1 points to, and so the tag.
func (n *tenant) loseManifest(repository *remote.Repository) {
	n.t.Helper()
	d, err := repository.Resolve(n.t.Context(), "v1")
	if err == nil {
		err = repository.Delete(n.t.Context(), d)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// untag takes a tag away, and nothing else.
func (n *tenant) untag(repository *remote.Repository, tag string) {
	n.t.Helper()
	url := "http://" + repository.Reference.Registry + "/v2/" + repository.Reference.Repository + "/manifests/" + tag
	r, err := http.NewRequestWithContext(n.t.Context(), http.MethodDelete, url, http.NoBody)
	if err != nil {
		n.t.Fatal(err)
	}
	rsp, err := repository.Client.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = rsp.Body.Close()
	if rsp.StatusCode != http.StatusAccepted {
		n.t.Fatalf("cannot take tag %s away: %s", tag, rsp.Status)
	}
}

// pushForeign has a tag point to an artifact that no Artifact pushed, and
// returns its digest.
func (n *tenant) pushForeign(repository *remote.Repository, tag string) string {
	n.t.Helper()
	o := oras.PackManifestOptions{ManifestAnnotations: map[string]string{"by": rand.Text()}}
	d, err := oras.PackManifest(n.t.Context(), repository, oras.PackManifestVersion1_1, "application/vnd.test.foreign", o)
	if err == nil {
		err = repository.Tag(n.t.Context(), d, tag)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return d.Digest.String()
}

// looksAt returns how often the provider has asked the open registry for the
// Artifact's tag.
func (n *tenant) looksAt(a *modelv1alpha1.Artifact) int {
	n.t.Helper()
	log, err := os.ReadFile(filepath.Join(local.Cluster.LogDir(), "registry.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	t, looks := a.Spec.ForProvider.Target, 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"HEAD /v2/`+t.Repository+"/manifests/"+t.Tag+" ") && strings.Contains(line, "provider-kitops") {
			looks++
		}
	}
	return looks
}

// watch calls look for each version of the Artifact from the one given on, until
// it says that this is enough.
func (n *tenant) watch(a *modelv1alpha1.Artifact, look func(*modelv1alpha1.Artifact) bool) {
	n.t.Helper()
	c, err := client.NewWithWatch(local.REST, client.Options{Scheme: local.Client.Scheme()})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	w, err := c.Watch(ctx, &modelv1alpha1.ArtifactList{}, client.InNamespace(n.namespace), client.MatchingFields{"metadata.name": a.GetName()},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: a.GetResourceVersion()}})
	if err != nil {
		n.t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		version, ok := e.Object.(*modelv1alpha1.Artifact)
		if !ok || e.Type == watch.Deleted {
			n.t.Fatalf("%s of %+v", e.Type, e.Object)
		}
		if look(version) {
			return
		}
	}
	n.t.Fatalf("what is waited for did not come in %s", patience)
}

// sayReady logs each Ready condition that comes up once.
func (n *tenant) sayReady() func(*modelv1alpha1.Artifact) {
	said := map[string]bool{}
	return func(a *modelv1alpha1.Artifact) {
		c := a.GetCondition(xpv2.TypeReady)
		text := fmt.Sprintf("Ready=%s %s %q", c.Status, c.Reason, c.Message)
		if !said[text] {
			said[text] = true
			n.t.Logf("%s: %s", a.GetName(), text)
		}
	}
}
