package artifact

import (
	"fmt"
	"slices"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A policyCase is a set of management policies that the runtime accepts, and
// what happens under it.
type policyCase struct {
	reason string
	set    xpv2.ManagementPolicies

	// makes says that a new Artifact is made, follows that a changed revision
	// is, heals that what the registry lost is made again, and deletes that the
	// tag goes with the Artifact.
	makes, follows, heals, deletes bool
}

// policyCases are all sets that the runtime accepts (crossplane-runtime 2.4,
// pkg/reconciler/managed/policies.go) but the empty one, which pauses.
func policyCases() map[string]policyCase {
	const o, c, u, l, d = xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate,
		xpv2.ManagementActionLateInitialize, xpv2.ManagementActionDelete
	set := func(p ...xpv2.ManagementAction) xpv2.ManagementPolicies { return p }
	return map[string]policyCase{
		"All":      {reason: "Full control.", set: set(xpv2.ManagementActionAll), makes: true, follows: true, heals: true, deletes: true},
		"AllNamed": {reason: "Full control, spelled out.", set: set(o, c, u, l, d), makes: true, follows: true, heals: true, deletes: true},
		"OCUD":     {reason: "There is nothing to initialize late.", set: set(o, c, u, d), makes: true, follows: true, heals: true, deletes: true},
		"OCUL":     {reason: "Without Delete the artifact stays.", set: set(o, c, u, l), makes: true, follows: true, heals: true},
		"OCU":      {reason: "Without Delete the artifact stays.", set: set(o, c, u), makes: true, follows: true, heals: true},
		"OCLD":     {reason: "Without Update it is made once, and again where it is lost.", set: set(o, c, l, d), makes: true, heals: true, deletes: true},
		"OCD":      {reason: "Without Update it is made once, and again where it is lost.", set: set(o, c, d), makes: true, heals: true, deletes: true},
		"OCL":      {reason: "Made once, and left.", set: set(o, c, l), makes: true, heals: true},
		"OC":       {reason: "Made once, and left.", set: set(o, c), makes: true, heals: true},
		"OUL":      {reason: "Without Create nothing is made where nothing is.", set: set(o, u, l), follows: true},
		"OU":       {reason: "Without Create nothing is made where nothing is.", set: set(o, u), follows: true},
		"O":        {reason: "Looked at only.", set: set(o)},
		"OL":       {reason: "Looked at only.", set: set(o, l)},
		"OD":       {reason: "Looked at, and what this Artifact pushed is deleted.", set: set(o, d), deletes: true},
	}
}

// withPolicies sets an Artifact's management policies.
func withPolicies(p xpv2.ManagementPolicies) func(*modelv1alpha1.Artifact) {
	return func(a *modelv1alpha1.Artifact) { a.Spec.ManagementPolicies = p }
}

// stays has the Artifact reconciled a few times and checks that no Job is made.
func (w *world) stays(a *modelv1alpha1.Artifact, why string) {
	w.t.Helper()
	for i := range 2 {
		w.poke(a, fmt.Sprint(time.Now().UnixNano(), "-", i))
	}
	jobs := &batchv1.JobList{}
	if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.namespace), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
		w.t.Fatal(err)
	}
	for _, j := range jobs.Items {
		if isLive(&j) {
			w.t.Errorf("%s: run %+v was begun", why, artifact.RunOf(&j))
		}
	}
}

func TestPoliciesOfNewArtifacts(t *testing.T) {
	for name, tc := range policyCases() {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a := w.artifact("new")
			a.Spec.ManagementPolicies = tc.set
			w.create(a)
			if tc.makes {
				w.retryOnce(a)
				w.waitReady(a, corev1.ConditionTrue, "Available")
				return
			}
			w.waitReady(a, corev1.ConditionFalse, string(outcome.NotFound))
			w.stays(a, tc.reason)
			w.remove(a)
			w.waitGone(a)
		})
	}
}

// retryOnce has the first run fail and the second one succeed.
func (w *world) retryOnce(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	job := w.job(a, 1)
	w.finish(job, outcome.Result{Failure: &outcome.Failure{}}, `{"failure":{"reason":"Gated","message":"No access"}}`)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Gated))
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
	})
	w.waitGone(job)
	w.deletePods()
	w.succeed(a, 2, "one")
	w.eventually("acknowledged", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetLastHandledReconcileAt(); got != "now" {
			return fmt.Sprintf("status.lastHandledReconcileAt is %q", got)
		}
		return ""
	})
}

// TestPoliciesOfMadeArtifacts makes an artifact under full control first.
func TestPoliciesOfMadeArtifacts(t *testing.T) {
	for name, tc := range policyCases() {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a := w.artifact("made")
			w.create(a)
			digest := w.succeed(a, 1, "one")
			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.update(a, withPolicies(slices.Clone(tc.set)))
			w.waitReady(a, corev1.ConditionTrue, "Available")

			w.update(a, revision("v2"))
			run := int64(1)
			if tc.follows {
				run++
				w.endJob(a)
				digest = w.succeed(a, run, "two")
			} else {
				w.stays(a, tc.reason)
				if a.Status.AtProvider.Digest != digest {
					t.Errorf("%s The digest became %q", tc.reason, a.Status.AtProvider.Digest)
				}
				if ready := a.GetCondition(xpv2.TypeReady); ready.Status != corev1.ConditionTrue {
					t.Errorf("%s The artifact is there, and Ready=%s %s %q", tc.reason, ready.Status, ready.Reason, ready.Message)
				}
				w.update(a, revision("main"))
			}

			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.loseAndHeal(a, tc, run, &digest)
			w.remove(a)
			w.waitGoneWithPods(a)
			_, err := w.registry.Resolve(t.Context(), "models/made", "v1")
			if gone := registry.IsNotFound(err); gone != tc.deletes {
				t.Errorf("%s tag gone: want %t, got %t (%v)", tc.reason, tc.deletes, gone, err)
			}
		})
	}
}

// endJob plays the garbage collector for the Job of the run before.
func (w *world) endJob(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("earlier Job gone", func() string {
		w.deletePods()
		jobs := &batchv1.JobList{}
		if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.namespace)); err != nil {
			return err.Error()
		}
		for _, j := range jobs.Items {
			if artifact.RunOf(&j).Hash != artifact.RunHash(a) || !isLive(&j) {
				return "it is still there"
			}
		}
		return ""
	})
}

// loseAndHeal has the registry lose the tag, and then the artifact.
func (w *world) loseAndHeal(a *modelv1alpha1.Artifact, tc policyCase, run int64, digest *string) {
	w.t.Helper()
	if err := w.registry.Untag(w.t.Context(), "models/made", "v1"); err != nil {
		w.t.Fatal(err)
	}
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "look", "again") })
	if tc.heals || tc.follows {
		w.waitTag("models/made", "v1", *digest)
		w.stays(a, "The tag was put back.")
		w.waitReady(a, corev1.ConditionTrue, "Available")
	}
	if !tc.heals && !tc.follows {
		w.waitReady(a, corev1.ConditionFalse, string(outcome.NotFound))
		w.putBack(a, tc, *digest)
	}

	w.lose("models/made", "v1")
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "look", "once-more") })
	if tc.heals {
		w.endJob(a)
		*digest = w.succeed(a, run+1, "again")
		w.waitReady(a, corev1.ConditionTrue, "Available")
		return
	}
	w.waitReady(a, corev1.ConditionFalse, string(outcome.NotFound))
	w.stays(a, tc.reason)
	w.putBack(a, tc, *digest)
}

// putBack has a person push what was lost: it is what it was.
func (w *world) putBack(a *modelv1alpha1.Artifact, tc policyCase, digest string) {
	w.t.Helper()
	if got := w.push("models/made", "v1", map[bool]string{true: "two", false: "one"}[tc.follows]); got != digest {
		w.t.Fatalf("pushed %s, not %s", got, digest)
	}
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataLabel(&a.ObjectMeta, "back", time.Now().Format("150405.000"))
	})
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// waitTag waits until a tag is on a digest.
func (w *world) waitTag(repository, tag, digest string) {
	w.t.Helper()
	w.eventually("tag "+tag, func() string {
		d, err := w.registry.Resolve(w.t.Context(), repository, tag)
		if err != nil {
			return err.Error()
		}
		if got := d.Digest.String(); got != digest {
			return "it is on " + got
		}
		return ""
	})
}

func TestPausedByAnnotation(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("paused")
	a.SetAnnotations(map[string]string{"crossplane.io/paused": "true"})
	w.create(a)
	w.eventually("paused", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetCondition(xpv2.TypeSynced).Reason; got != xpv2.ReasonReconcilePaused {
			return fmt.Sprintf("Synced's reason is %q", got)
		}
		return ""
	})
	w.stays(a, "Paused.")
	w.update(a, func(a *modelv1alpha1.Artifact) { a.SetAnnotations(map[string]string{"crossplane.io/paused": "false"}) })
	w.job(a, 1)
}

func TestPausedByEmptyPolicies(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("paused")
	// An empty list is not the same as none, which Go leaves out.
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(a)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	if err := unstructured.SetNestedSlice(u.Object, []any{}, "spec", "managementPolicies"); err != nil {
		t.Fatal(err)
	}
	w.create(u)
	w.eventually("paused", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetCondition(xpv2.TypeSynced).Reason; got != xpv2.ReasonReconcilePaused {
			return fmt.Sprintf("Synced's reason is %q", got)
		}
		return ""
	})
	w.waitNoJob()
	w.update(a, withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionAll}))
	w.job(a, 1)
}
