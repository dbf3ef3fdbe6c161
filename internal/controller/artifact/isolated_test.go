package artifact

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// Credentials of the administrator in the tests of isolated runs.
const (
	adminPassword = "administrators-password"
	adminToken    = "hf_administratorsToken"
)

// isolate has the world's runs execute in a namespace of their own, for a
// ClusterProviderConfig with credentials of an administrator's, and starts the
// controllers for these namespaces and further ones.
func isolate(t *testing.T, options Options, further ...string) (*world, *v1alpha1.ClusterProviderConfig) {
	t.Helper()
	t.Parallel()
	w := newWorld(t)
	w.runs = apiserver.Namespace(t, w.client)
	pc := w.isolatedConfig()
	options.Images = testImages
	startManagerAs(t, apiserver.Config(t), append([]string{w.namespace, w.runs}, further...), options, setupConfigs)
	return w, pc
}

// isolatedConfig makes a ClusterProviderConfig with credentials whose runs execute in
// the world's namespace for runs.
func (w *world) isolatedConfig() *v1alpha1.ClusterProviderConfig {
	w.t.Helper()
	home := apiserver.Namespace(w.t, w.client)
	registry := w.dockerConfig("registry", adminPassword)
	registry.SetNamespace(home)
	w.create(registry)
	w.create(credentialsSecret(home, "hub", map[string]string{"token": adminToken}))
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	pc.Spec.Registry = v1alpha1.ClusterRegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.ClusterRegistryCredentials{
			Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Name: "registry", Namespace: home},
		},
	}
	pc.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{TokenSecretRef: &xpv2.SecretKeySelector{
		SecretReference: xpv2.SecretReference{Name: "hub", Namespace: home}, Key: "token",
	}}
	pc.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: w.runs}}
	w.create(pc)
	return pc
}

// isolated returns an Artifact, not created yet, whose runs execute in the world's
// namespace for runs.
func (w *world) isolated(name string) *modelv1alpha1.Artifact {
	a := w.artifact(name)
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: w.namespace}
	return a
}

// moveRuns has further runs execute in another namespace.
func (w *world) moveRuns(pc *v1alpha1.ClusterProviderConfig, namespace string) {
	w.t.Helper()
	w.change(pc, func() { pc.Spec.Job.Namespace = namespace })
	w.runs = namespace
}

// checkNothing reports objects of runs in a namespace.
func (w *world) checkNothing(namespace string) {
	w.t.Helper()
	if left := w.objectsIn(namespace); left != "" {
		w.t.Errorf("namespace %s has %s", namespace, left)
	}
}

// objectsIn names the objects of runs in a namespace; empty for none.
func (w *world) objectsIn(namespace string) string {
	w.t.Helper()
	var out []string
	for kind, list := range map[string]client.ObjectList{
		"Jobs": &batchv1.JobList{}, "Pods": &corev1.PodList{}, "claims": &corev1.PersistentVolumeClaimList{}, "Secrets": &corev1.SecretList{},
	} {
		if err := w.client.List(w.t.Context(), list, client.InNamespace(namespace), client.MatchingLabels(artifact.CommonLabels())); err != nil {
			w.t.Fatal(err)
		}
		if n := metaLen(list); n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, kind))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// metaLen returns how many objects a list has.
func metaLen(list client.ObjectList) int {
	switch l := list.(type) {
	case *batchv1.JobList:
		return len(l.Items)
	case *corev1.PodList:
		return len(l.Items)
	case *corev1.PersistentVolumeClaimList:
		return len(l.Items)
	case *corev1.SecretList:
		return len(l.Items)
	}
	return -1
}

// TestIsolatedRun is the life of an Artifact whose runs execute in another namespace.
func TestIsolatedRun(t *testing.T) {
	w, _ := isolate(t, Options{})
	w.create(credentialsSecret(w.namespace, "mine", map[string]string{"token": "tenants-token"}))
	a := w.isolated("model")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "mine", Key: "token"}
	w.create(a)
	job := w.job(a, 1)
	w.checkNothing(w.namespace)

	w.eventually("Secret of the Job's", func() string {
		copies := w.copies(a)
		if len(copies) != 1 || !metav1.IsControlledBy(&copies[0], job) {
			return fmt.Sprintf("there are %d Secrets", len(copies))
		}
		if got := string(copies[0].Data["hub-token"]); got != "tenants-token" {
			t.Fatalf("The tenant's own token should be copied to the run, got %q", got)
		}
		return ""
	})
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.runs, Name: artifact.WorkspaceName(artifact.In(a, w.runs))}}
	if err := w.get(pvc); err != nil {
		t.Error(err)
	}
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
	if ref := a.Status.AtProvider.JobRef; ref == nil || ref.Namespace != w.runs || ref.Name != job.GetName() {
		t.Errorf("status.atProvider.jobRef: got %v", ref)
	}
	w.waitNoCopies(a)
	w.releaseClaims()
	w.waitGone(pvc)

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.eventually("second run", func() string {
		w.deletePods()
		jobs := &batchv1.JobList{}
		if err := w.client.List(t.Context(), jobs, client.InNamespace(w.runs)); err != nil || len(jobs.Items) != 1 || artifact.RunOf(&jobs.Items[0]).Number != 2 {
			return fmt.Sprintf("%d Jobs, %v", len(jobs.Items), err)
		}
		return ""
	})
	w.remove(a)
	w.eventually("Artifact gone", func() string {
		w.deletePods()
		w.removeClaimFinalizers()
		if err := w.get(a); err == nil {
			return "Synced: " + a.GetCondition(xpv2.TypeSynced).Message
		}
		return ""
	})
	w.checkNothing(w.namespace)
	w.checkNothing(w.runs)
}

// TestIsolatedSameNames has two Artifacts of one name in two namespaces run at a time.
func TestIsolatedSameNames(t *testing.T) {
	other := apiserver.Namespace(t, apiserver.Client(t))
	w, _ := isolate(t, Options{}, other)
	a, b := w.isolated("model"), w.isolated("model")
	b.SetNamespace(other)
	b.Spec.ForProvider.Target.Repository = "models/other"
	w.create(a)
	w.create(b)
	jobs := &batchv1.JobList{}
	w.eventually("two Jobs", func() string {
		if err := w.client.List(t.Context(), jobs, client.InNamespace(w.runs)); err != nil || len(jobs.Items) != 2 {
			return fmt.Sprintf("%d Jobs, %v", len(jobs.Items), err)
		}
		return ""
	})
	digests := map[string]string{}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		key, _ := artifact.ArtifactOf(job)
		repository := map[string]string{w.namespace: "models/model", other: "models/other"}[key.Namespace]
		digests[key.Namespace] = w.stageFor(job.Spec.Template.Spec, repository, key.Namespace)
		w.finish(job, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q}`, digests[key.Namespace], testCommit))
	}
	for _, a := range []*modelv1alpha1.Artifact{a, b} {
		w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
		if got := a.Status.AtProvider.Digest; got != digests[a.GetNamespace()] {
			t.Errorf("The Artifact of namespace %s should have its own run's digest %s, got %s", a.GetNamespace(), digests[a.GetNamespace()], got)
		}
	}
	// The deletion of one touches nothing of the other.
	w.remove(a)
	w.eventually("Artifact gone", func() string {
		if err := w.client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(w.runs), client.GracePeriodSeconds(0), client.MatchingLabels{artifact.LabelArtifactUID: string(a.GetUID())}); err != nil {
			return err.Error()
		}
		if err := w.get(a); err == nil {
			return "Synced: " + a.GetCondition(xpv2.TypeSynced).Message
		}
		return ""
	})
	if err := w.client.List(t.Context(), jobs, client.InNamespace(w.runs)); err != nil || len(jobs.Items) != 1 || jobs.Items[0].GetLabels()[artifact.LabelArtifactUID] != string(b.GetUID()) {
		t.Errorf("The Job of the other Artifact should be left alone, got %d, %v", len(jobs.Items), err)
	}
}

// TestRunNamespaceChanged changes job.namespace while a run is in progress.
func TestRunNamespaceChanged(t *testing.T) {
	for name, before := range map[string]func(*world) string{
		"FromAnother":   func(w *world) string { return w.runs },
		"FromArtifacts": func(w *world) string { return w.namespace },
	} {
		t.Run(name, func(t *testing.T) {
			next := apiserver.Namespace(t, apiserver.Client(t))
			w, pc := isolate(t, Options{}, next)
			first := before(w)
			w.moveRuns(pc, first)
			a := w.isolated("model")
			w.create(a)
			job := w.job(a, 1)
			if job.GetNamespace() != first {
				t.Fatalf("The first run should execute in %s, got %s", first, job.GetNamespace())
			}
			pod := w.start(job)
			w.moveRuns(pc, next)
			w.poke(a, "moved")
			// It ends where it is.
			w.checkNothing(next)
			d := w.stageFor(job.Spec.Template.Spec, "models/model", "one")
			w.finishPod(job, pod, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q}`, d, testCommit))
			w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
			if ref := a.Status.AtProvider.JobRef; ref == nil || ref.Namespace != first {
				t.Errorf("status.atProvider.jobRef: want namespace %s, got %v", first, ref)
			}
			// The next one executes in the new namespace, once nothing is left in the former.
			w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
			w.waitGone(job)
			if err := w.client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(first), client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			w.succeed(a, 2, "two")
			w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
			w.eventually("only the new namespace is recorded", func() string {
				if err := w.get(a); err != nil {
					return err.Error()
				}
				if got := a.GetAnnotations()[artifact.AnnotationRunNamespaces]; got != next || a.Status.AtProvider.JobRef.Namespace != next {
					return fmt.Sprintf("annotation %q, jobRef %v", got, a.Status.AtProvider.JobRef)
				}
				return ""
			})
			w.eventually("nothing left in the former namespace", func() string { return w.objectsIn(first) })
		})
	}
}

// TestRunNamespaceChangedThenDeleted deletes an Artifact whose run is in the namespace
// that job.namespace named before.
func TestRunNamespaceChangedThenDeleted(t *testing.T) {
	next := apiserver.Namespace(t, apiserver.Client(t))
	w, pc := isolate(t, Options{}, next)
	a := w.isolated("model")
	w.create(a)
	job := w.job(a, 1)
	w.start(job)
	former := w.runs
	w.change(pc, func() { pc.Spec.Job.Namespace = next })
	w.remove(a)
	w.waitGoneWithPods(a)
	w.checkNothing(former)
	w.checkNothing(next)
}

// TestRunNamespaceUnusable has runs that have no namespace, or one that is going.
func TestRunNamespaceUnusable(t *testing.T) {
	missing := "test-missing-" + strings.ToLower(t.Name())
	w, pc := isolate(t, Options{}, missing)
	w.moveRuns(pc, missing)
	a := w.isolated("model")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.ConfigMissing))
	if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, missing) || !strings.Contains(got, "does not exist: create it") {
		t.Errorf("Ready should name the namespace and the cure, got %q", got)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: missing}}
	w.create(ns)
	w.succeed(a, 1, "one") // By itself.
	w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))

	// Nobody plays the namespace controller, so that it stays as it is.
	w.remove(ns)
	b := w.isolated("late")
	w.create(b)
	w.waitReady(b, corev1.ConditionFalse, string(outcome.ConfigMissing))
	if got := b.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, missing) || !strings.Contains(got, "is being deleted") {
		t.Errorf("Ready should name the namespace and the cure, got %q", got)
	}
	w.remove(b)
	w.waitGone(b)
	// What was pushed needs no run, and goes without one.
	w.poke(a, "still-ready")
	w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
	w.remove(a)
	w.waitGoneWithPods(a)
}

// TestStrippedFinalizer has a tenant remove the finalizer and the record of where the
// run is while it is in progress.
func TestStrippedFinalizer(t *testing.T) {
	w, _ := isolate(t, Options{})
	a, alive := w.isolated("model"), w.isolated("alive")
	w.create(a)
	w.create(alive)
	job, kept := w.job(a, 1), w.job(alive, 1)
	w.remove(a)
	w.strip(a)
	w.waitGone(a)
	w.waitGone(job)
	w.waitNoCopies(a)
	if err := w.get(kept); err != nil || len(w.copies(alive)) != 1 {
		t.Errorf("What belongs to another Artifact should stay: %v", err)
	}

	// The next Artifact of the name has a run of its own.
	again := w.isolated("model")
	w.create(again)
	w.deletePods()
	w.succeed(again, 1, "one")
	w.waitReady(again, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
}

// strip removes an Artifact's finalizers, as a tenant may.
func (w *world) strip(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("strip finalizers", func() string {
		if err := w.get(a); kerrors.IsNotFound(err) {
			return ""
		} else if err != nil {
			return err.Error()
		}
		a.SetFinalizers(nil)
		if err := w.client.Update(w.t.Context(), a); client.IgnoreNotFound(err) != nil {
			return err.Error()
		}
		return ""
	})
}

// TestSweep checks what a sweep deletes.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runs = apiserver.Namespace(t, w.client)
	alive, gone := w.isolated("alive"), w.isolated("gone")
	w.create(alive)
	gone.SetUID("11111111-1111-1111-1111-111111111111")
	earlier := alive.DeepCopy()
	earlier.SetUID("22222222-2222-2222-2222-222222222222")
	made := map[string]*corev1.Secret{}
	secret := func(name, namespace string, of *modelv1alpha1.Artifact) {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
		s.SetLabels(artifact.SelectorLabelsForArtifact(of.GetName()))
		s.Labels[artifact.LabelArtifactUID] = string(of.GetUID())
		s.SetAnnotations(map[string]string{artifact.AnnotationArtifact: of.GetName(), artifact.AnnotationArtifactNamespace: of.GetNamespace()})
		w.create(s)
		made[name] = s
	}
	secret("of-the-living", w.runs, alive)
	secret("of-the-gone", w.runs, gone)
	secret("of-an-earlier", w.runs, earlier)
	secret("in-the-artifacts-namespace", w.namespace, gone)
	unlabelled := credentialsSecret(w.runs, "unlabelled", nil)
	w.create(unlabelled)
	made["unlabelled"] = unlabelled

	// Another's UID with a name of nobody's must not have the other's objects deleted.
	poison := alive.DeepCopy()
	poison.SetName("nobody")
	poison.SetNamespace("nowhere")
	secret("poison", w.namespace, poison)

	none := client.Reader(emptyReader{w.client})
	s := newSweeper(none, w.client, scope{w.namespace, w.runs}, logging.NewNopLogger(), nil)
	if more, err := s.sweep(t.Context()); err != nil || more {
		t.Fatalf("The sweep should be complete: %t, %v", !more, err)
	}
	for name, stays := range map[string]bool{
		"of-the-living": true, "of-the-gone": false, "of-an-earlier": false, "in-the-artifacts-namespace": true, "unlabelled": true, "poison": false,
	} {
		if err := w.get(made[name]); (err == nil) != stays {
			t.Errorf("Secret %s: want it to stay: %t, got %v", name, stays, err)
		}
	}
}

// TestSweepIsBounded checks that sweeps look at a limited number of objects each, and at
// all of them together.
func TestSweepIsBounded(t *testing.T) {
	t.Parallel()
	const secrets, page, most = 11, 2, 5
	w := newWorld(t)
	for i := range secrets {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("gone-%d", i), Namespace: w.namespace}}
		s.SetLabels(artifact.SelectorLabelsForArtifact("gone"))
		s.Labels[artifact.LabelArtifactUID] = fmt.Sprint(i)
		s.SetAnnotations(map[string]string{artifact.AnnotationArtifact: "gone", artifact.AnnotationArtifactNamespace: "nowhere"})
		w.create(s)
	}
	deleted, expired := 0, false
	direct := interceptor.NewClient(newBase(t), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			deleted++
			return c.Delete(ctx, o, opts...)
		},
		// One list takes so long that the API server no longer has its version.
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if next := (&client.ListOptions{}).ApplyOptions(opts).Continue; next != "" && !expired {
				expired = true
				err := kerrors.NewResourceExpired("too old")
				err.ErrStatus.Continue = next
				return err
			}
			return c.List(ctx, list, opts...)
		},
	})
	s := newSweeper(emptyReader{w.client}, direct, scope{w.namespace}, logging.NewNopLogger(), nil)
	s.page, s.most = page, most
	for sweeps, more := 0, true; more; sweeps++ {
		before := deleted
		var err error
		if more, err = s.sweep(t.Context()); err != nil || sweeps > secrets {
			t.Fatalf("After %d sweeps %d Secrets were deleted, %v", sweeps, deleted, err)
		}
		if n := deleted - before; n >= most+page {
			t.Errorf("A sweep deleted %d objects, want fewer than %d", n, most+page)
		}
	}
	w.checkNothing(w.namespace)
	if deleted != secrets {
		t.Errorf("%d Secrets were deleted, want %d", deleted, secrets)
	}
}

// An emptyReader is a cache that is behind: it has no object yet.
type emptyReader struct{ client.Reader }

// Get finds nothing.
func (emptyReader) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return kerrors.NewNotFound(modelv1alpha1.SchemeGroupVersion.WithResource("artifacts").GroupResource(), key.Name)
}

// TestForgedRunIsNotBelieved has a tenant make what looks like a run of an isolated
// Artifact in the tenant's own namespace, with a Secret for it.
func TestForgedRunIsNotBelieved(t *testing.T) {
	w, _ := isolate(t, Options{})
	a := w.isolated("forged")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
	a.SetAnnotations(map[string]string{
		meta.AnnotationKeyReconciliationPaused: "true",
		artifact.AnnotationRun:                 "1", artifact.AnnotationRunHash: artifact.RunHash(a),
	})
	w.create(a)
	mine := metav1.ObjectMeta{
		Name: "forged", Namespace: w.namespace, Labels: artifact.SelectorLabelsForArtifact(a.GetName()),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(a, modelv1alpha1.ArtifactGroupVersionKind)},
	}
	secret := &corev1.Secret{ObjectMeta: mine, Type: artifact.SecretTypeCredentials}
	w.create(secret)
	job := &batchv1.Job{ObjectMeta: *mine.DeepCopy()}
	job.SetFinalizers([]string{"example.com/tenants"})
	job.SetAnnotations(map[string]string{
		artifact.AnnotationRun: "1", artifact.AnnotationRunHash: artifact.RunHash(a), artifact.AnnotationCredentials: secret.GetName(),
	})
	job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "worker", Image: "sleep"}}}
	w.create(job)
	w.change(a, func() { delete(a.Annotations, meta.AnnotationKeyReconciliationPaused) })

	// What looks like an earlier run is deleted, and while it is there, Ready says so.
	w.eventually("the Job is being deleted", func() string {
		if err := w.get(job); err != nil || job.GetDeletionTimestamp() == nil {
			return fmt.Sprintf("it is not being deleted, %v", err)
		}
		return ""
	})
	w.waitReady(a, corev1.ConditionFalse, string(xpv2.ReasonCreating))
	w.eventually("Ready names the Job", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, fmt.Sprintf("Job %q of an earlier run in namespace %q is still there", job.GetName(), w.namespace)) {
			return got
		}
		return ""
	})
	if err := w.get(secret); client.IgnoreNotFound(err) != nil || len(secret.Data) > 0 {
		t.Errorf("Nothing should be written into a Secret of the tenant's: %d keys, %v", len(secret.Data), err)
	}
	if s := a.Status.AtProvider; s.JobRef != nil || s.Phase != "" {
		t.Errorf("The run that a tenant made is believed: %s, %v", s.Phase, s.JobRef)
	}
	w.change(job, func() { job.SetFinalizers(nil) })
	if run := w.job(a, 1); run.GetNamespace() != w.runs {
		t.Errorf("The run should execute in %s, not in %s.", w.runs, run.GetNamespace())
	}
}

// TestOnlyRunNamespaces restricts the provider to one namespace for runs.
func TestOnlyRunNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runs = apiserver.Namespace(t, w.client)
	pc := w.isolatedConfig()
	startManagerAs(t, apiserver.Config(t), []string{w.namespace, w.runs}, Options{
		Images: testImages, RunNamespaces: []string{w.runs},
	}, setupConfigs)
	a := w.isolated("model")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))

	tenants := w.artifact("tenants")
	w.create(tenants)
	w.waitRefused(tenants, outcome.NotAllowed, w.runs, w.namespace, "--run-namespace")
	w.remove(tenants)
	w.waitGone(tenants)

	w.change(pc, func() { pc.Spec.Job.Namespace = "elsewhere" })
	b := w.isolated("elsewhere")
	w.create(b)
	w.waitReady(b, corev1.ConditionFalse, string(outcome.NotAllowed))
	w.remove(b)
	w.waitGone(b)
	// It is ready as it was, and goes with what it has in the namespace.
	w.poke(a, "after")
	if err := w.get(a); err != nil || a.GetCondition(xpv2.TypeReady).Status != corev1.ConditionTrue {
		t.Errorf("An Artifact that is ready should stay so: %v", err)
	}
	w.remove(a)
	w.waitGoneWithPods(a)
	w.checkNothing(w.runs)
}

// TestIsolatedSecretIsBound has the provider die before a run's Secret is its Job's.
func TestIsolatedSecretIsBound(t *testing.T) {
	w, _ := isolate(t, Options{})
	a := w.isolated("model")
	w.create(a)
	job := w.job(a, 1)
	pokes := 0
	w.eventually("Secret is bound again", func() string {
		copies := w.copies(a)
		if len(copies) != 1 {
			return fmt.Sprintf("there are %d Secrets", len(copies))
		}
		if copies[0].GetAnnotations()["test"] == "" {
			if !metav1.IsControlledBy(&copies[0], job) {
				return "it is not bound yet"
			}
			meta.AddAnnotations(&copies[0], map[string]string{"test": "unbound"})
			copies[0].SetOwnerReferences(nil)
			if err := w.client.Update(t.Context(), &copies[0]); err != nil {
				return err.Error()
			}
			pokes++
			w.poke(a, fmt.Sprint(pokes))
			return "it was unbound just now"
		}
		if !metav1.IsControlledBy(&copies[0], job) {
			pokes++
			w.poke(a, fmt.Sprint(pokes))
			return "it is not bound again"
		}
		return ""
	})
}
