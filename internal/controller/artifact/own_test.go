package artifact

import (
	stdcmp "cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

const testCommit = "0123456789012345678901234567890123456789"

// made returns an Artifact that is ready, and its digest.
func (w *world) made(name string) (*modelv1alpha1.Artifact, string) {
	w.t.Helper()
	a := w.artifact(name)
	w.create(a)
	d := w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	return a, d
}

// look has an Artifact reconciled again.
func (w *world) look(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.looks++
	n := fmt.Sprint("look-", w.looks)
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", n)
	})
	w.eventually("looked at", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if a.GetLastHandledReconcileAt() != n {
			return "not yet: " + a.GetCondition(xpv2.TypeSynced).Message
		}
		return ""
	})
}

// testKeys are those of the tests' provider.
var testKeys = newKeys()

// newKeys returns the keys of a provider.
func newKeys() provenance.Keys {
	b, err := attest.GenerateKey()
	if err != nil {
		panic(err)
	}
	key, err := attest.ParsePrivateKey(b, nil)
	if err != nil {
		panic(err)
	}
	v, err := attest.NewVerifier(key.PublicPEM())
	if err != nil {
		panic(err)
	}
	return provenance.Keys{Cluster: "33333333-3333-3333-3333-333333333333", Signer: key, Verifier: v}
}

// place is a repository of the registry with the keys of a provider.
func (w *world) place(keys provenance.Keys, repository string) provenance.Place {
	return provenance.Place{Keys: keys, Repository: repository, Name: w.host + "/" + repository}
}

// record pushes a record about what is in the registry, as the provider does.
func (w *world) record(repository, d string, r provenance.Record) {
	w.t.Helper()
	w.recordAs(testKeys, repository, d, r)
}

// recordAs pushes a record as a provider with these keys does.
func (w *world) recordAs(keys provenance.Keys, repository, d string, r provenance.Record) {
	w.t.Helper()
	if r.Owner.Namespace == "" {
		r.Owner.Namespace, r.Owner.Name = "nobody", "nobody"
	}
	subject, err := w.registry.Resolve(w.t.Context(), repository, d)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.place(keys, repository).Push(w.t.Context(), w.registry, subject, r); err != nil {
		w.t.Fatal(err)
	}
}

// records returns the records of an Artifact in the registry.
func (w *world) records(a *modelv1alpha1.Artifact, d string) []provenance.Found {
	w.t.Helper()
	found, _, err := w.place(testKeys, a.Spec.ForProvider.Target.Repository).Of(w.t.Context(), w.registry, digest.Digest(d), ownerOf(a))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// TestTagIsKept moves the tag of an artifact that is ready.
func TestTagIsKept(t *testing.T) {
	type want struct {
		status corev1.ConditionStatus
		reason string
		tag    string // Of: ours, other.
	}
	kept := want{status: corev1.ConditionTrue, reason: "Available", tag: "ours"}
	conflict := want{status: corev1.ConditionFalse, reason: string(outcome.TagConflict), tag: "other"}
	own := func(a *modelv1alpha1.Artifact, hash string, run int64) *provenance.Record {
		return &provenance.Record{Owner: ownerOf(a), RunHash: hash, Run: run, Files: 7, Revision: testCommit, License: "mit"}
	}
	const otherHash = "00000000000000aa"
	cases := map[string]struct {
		reason    string
		record    func(*modelv1alpha1.Artifact) *provenance.Record
		overwrite bool
		want      want
	}{
		"Foreign":     {reason: "Nothing of somebody else's is overwritten.", want: conflict},
		"Overwritten": {reason: "Unless that is asked for.", overwrite: true, want: kept},
		"OtherOwner": {
			reason: "A record of another Artifact makes it no less foreign.",
			record: func(a *modelv1alpha1.Artifact) *provenance.Record {
				r := own(a, artifact.RunHash(a), 9)
				r.Owner.ID = "another"
				return r
			},
			want: conflict,
		},
		"OlderRun": {
			reason: "What an earlier run pushed gives way.",
			record: func(a *modelv1alpha1.Artifact) *provenance.Record { return own(a, otherHash, 1) },
			want:   kept,
		},
		"SameHash": {
			reason: "A record is copied easily: what status knows is put back.",
			record: func(a *modelv1alpha1.Artifact) *provenance.Record { return own(a, artifact.RunHash(a), 1) },
			want:   kept,
		},
		"NewerRun": {
			reason: "So it is over what seems to be a later run's.",
			record: func(a *modelv1alpha1.Artifact) *provenance.Record { return own(a, artifact.RunHash(a), 5) },
			want:   kept,
		},
	}
	w := startControllers(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			a, ours := w.made("kept-" + strings.ToLower(name))
			repository := a.Spec.ForProvider.Target.Repository
			if tc.overwrite {
				w.update(a, func(a *modelv1alpha1.Artifact) {
					a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
				})
			}
			other := w.push(repository, "v1", "other")
			if tc.record != nil {
				w.record(repository, other, *tc.record(a))
			}
			w.look(a)
			w.waitReady(a, tc.want.status, tc.want.reason)
			w.waitTag(repository, "v1", map[string]string{"ours": ours, "other": other}[tc.want.tag])
			w.stays(a, tc.reason)
			w.job(a, 1)
			w.waitEvent(a, map[want]string{kept: "back to " + ours + ", from " + other, conflict: "did not push"}[tc.want])

			at := a.Status.AtProvider
			if at.Digest != ours {
				t.Errorf("%s Status has the digest %s, want %s", tc.reason, at.Digest, ours)
			}
			if ready := a.GetCondition(xpv2.TypeReady); tc.want == conflict && !strings.Contains(ready.Message, other) {
				t.Errorf("%s The condition does not name what is there: %s", tc.reason, ready.Message)
			}
		})
	}
}

func TestTagConflictIsResolved(t *testing.T) {
	w := startControllers(t)
	a, ours := w.made("resolved")
	foreign := w.push("models/resolved", "v1", "foreign")
	w.look(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	if err := w.registry.Untag(t.Context(), "models/resolved", "v1"); err != nil {
		t.Fatal(err)
	}
	w.look(a)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitTag("models/resolved", "v1", ours)

	w.push("models/resolved", "v1", "foreign")
	w.look(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
	})
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitTag("models/resolved", "v1", ours)
	if _, err := w.registry.Resolve(t.Context(), "models/resolved", foreign); err != nil {
		t.Errorf("what the tag was on is gone: %v", err)
	}
	w.job(a, 1)
}

// TestFirstRunAndForeignTag has something foreign under the tag before there is
// anything of the Artifact's own.
func TestFirstRunAndForeignTag(t *testing.T) {
	w := startControllers(t)
	w.push("models/taken", "v1", "foreign")
	a := w.artifact("taken")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	w.stays(a, "The tag is taken.")
	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
	})
	d := w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitTag("models/taken", "v1", d)
}

// TestConflictInMidRun has the worker find the tag taken at the end.
func TestConflictInMidRun(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("overtaken")
	w.create(a)
	job := w.job(a, 1)
	foreign := w.push("models/overtaken", "v1", "foreign")
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	w.eventually("what is there", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if m := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(m, foreign) {
			return m
		}
		return ""
	})
	if err := w.registry.Untag(t.Context(), "models/overtaken", "v1"); err != nil {
		t.Fatal(err)
	}
	w.poke(a, "1")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if n := w.job(a, 1); n.GetUID() != job.GetUID() {
		t.Error("there was another run")
	}
}

// TestStagedIsLost has the registry collect what a run staged before it is committed:
// the run is repeated.
func TestStagedIsLost(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("collected")
	a.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Interval: &metav1.Duration{Duration: time.Second}}
	w.create(a)
	w.job(a, 1)
	// Until it is gone, no reconcile may see what the tag points to.
	w.requests.refuseWith(status(http.StatusServiceUnavailable, http.MethodHead))
	staged := w.succeed(a, 1, "one")
	w.eventually("staged", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if s := a.Status.AtProvider.Staged; s == nil || s.Digest != staged || s.Run != 1 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	d, err := w.registry.Resolve(t.Context(), "models/collected", staged)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.registry.DeleteManifest(t.Context(), "models/collected", d); err != nil {
		t.Fatal(err)
	}
	w.requests.refuseWith(nil)
	w.poke(a, "1")
	w.eventually("failure", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		s := a.Status.AtProvider
		if s.Staged != nil || s.Failures != 1 || s.Failure == nil || !strings.Contains(s.Failure.Message, "no longer has "+staged) || s.Failure.NextTryTime == nil {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	w.deletePods()
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if s := a.Status.AtProvider; s.Failures != 0 || s.Failure != nil || s.Digest != staged {
		t.Errorf("status after the second run: %+v", s)
	}
}

// TestLostStatusIsFound deletes what the cluster knows of an artifact.
func TestLostStatusIsFound(t *testing.T) {
	cases := map[string]struct {
		reason string
		lose   func(*world, *modelv1alpha1.Artifact) *modelv1alpha1.Artifact
	}{
		"Status": {
			reason: "A backup has annotations and no status.",
			lose: func(w *world, a *modelv1alpha1.Artifact) *modelv1alpha1.Artifact {
				w.eventually("update of the status", func() string {
					if err := w.get(a); err != nil {
						return err.Error()
					}
					a.Status = modelv1alpha1.ArtifactStatus{}
					if err := w.client.Status().Update(w.t.Context(), a); err != nil {
						return err.Error()
					}
					return ""
				})
				return a
			},
		},
		"Restored": {
			reason: "A backup is restored: the annotations are there, and the UID is another.",
			lose: func(w *world, a *modelv1alpha1.Artifact) *modelv1alpha1.Artifact {
				again := w.artifact(a.GetName())
				again.SetAnnotations(a.GetAnnotations())
				w.orphan(a)
				w.create(again)
				return again
			},
		},
		"AppliedAgain": {
			reason: "The YAML is applied in a new cluster: nothing but the name is the same.",
			lose: func(w *world, a *modelv1alpha1.Artifact) *modelv1alpha1.Artifact {
				again := w.artifact(a.GetName())
				w.orphan(a)
				w.create(again)
				return again
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			w.adopts("true")
			a, d := w.made("lost-" + strings.ToLower(name))
			want := a.Status.AtProvider
			w.remove(w.job(a, 1))
			w.deletePods()
			a = tc.lose(w, a)
			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.waitEvent(a, "Adopted")
			w.waitNoJob()
			want.JobRef, want.StartTime, want.CompletionTime, want.Size = nil, nil, nil, 2 // As the test's manifest has it.
			want.Format = formatOther
			if want.Attestation == nil || a.Status.AtProvider.Attestation == nil {
				t.Errorf("%s want an attestation before and after, got %v, %v", tc.reason, want.Attestation, a.Status.AtProvider.Attestation)
			}
			want.Attestation = a.Status.AtProvider.Attestation // Of another owner, where the UID is another.
			if diff := cmp.Diff(want, a.Status.AtProvider); diff != "" {
				t.Errorf("%s -want, +got:\n%s", tc.reason, diff)
			}
			w.eventually("identity", func() string {
				if err := w.get(a); err != nil {
					return err.Error()
				}
				if len(w.records(a, d)) == 0 || ownerOf(a).ID == "" || a.GetAnnotations()["crossplane.io/external-name"] == "" {
					return fmt.Sprintf("annotations are %v", a.GetAnnotations())
				}
				return ""
			})
			// It is the Artifact's own from now on.
			w.remove(a)
			w.waitGone(a)
			if _, err := w.registry.Resolve(t.Context(), a.Spec.ForProvider.Target.Repository, "v1"); err == nil {
				t.Errorf("%s The tag was not deleted with the Artifact", tc.reason)
			}
			named := a.DeepCopy()
			named.SetAnnotations(nil)
			for _, of := range []*modelv1alpha1.Artifact{a, named} {
				if left := w.records(of, d); len(left) > 0 {
					t.Errorf("%s %d records are left", tc.reason, len(left))
				}
			}
		})
	}
}

// adopts annotates the tests' ProviderConfig with whether records are believed.
func (w *world) adopts(value string) {
	w.t.Helper()
	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.namespace}}
	w.eventually("annotated", func() string {
		if err := w.get(pc); err != nil {
			return err.Error()
		}
		metav1.SetMetaDataAnnotation(&pc.ObjectMeta, artifact.AnnotationAdopt, value)
		if err := w.client.Update(w.t.Context(), pc); err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestRecordsAreNotBelieved has somebody who may push name an Artifact in a record
// about something foreign, before the Artifact knows of anything that it pushed.
func TestRecordsAreNotBelieved(t *testing.T) {
	cases := map[string]struct {
		reason string
		owner  func(*modelv1alpha1.Artifact) provenance.Owner
		runs   bool // Whether there is a run to find out what is there.
	}{
		"UID": {
			reason: "A record that names the Artifact's UID may be a copy: its run finds out what is there.",
			owner:  ownerOf,
			runs:   true,
		},
		"Annotation": {
			reason: "An annotation that names another's identity makes nothing the Artifact's own.",
			owner: func(a *modelv1alpha1.Artifact) provenance.Owner {
				return provenance.Owner{ID: "22222222-2222-2222-2222-222222222222", Namespace: a.GetNamespace(), Name: a.GetName()}
			},
		},
		"Name": {
			reason: "An Artifact of the same name in another cluster is another.",
			owner: func(a *modelv1alpha1.Artifact) provenance.Owner {
				return provenance.Owner{Namespace: a.GetNamespace(), Name: a.GetName()}
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a := w.artifact("named-" + strings.ToLower(name))
			// Until it has a UID, something foreign keeps it from running.
			repository := a.Spec.ForProvider.Target.Repository
			foreign := w.push(repository, "v1", "foreign")
			if id := tc.owner(a).ID; id != "" {
				metav1.SetMetaDataAnnotation(&a.ObjectMeta, artifact.AnnotationOwner, id)
			}
			w.create(a)
			w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
			w.record(repository, foreign, provenance.Record{Owner: tc.owner(a), RunHash: artifact.RunHash(a), Run: 1, Revision: testCommit})
			w.look(a)
			if tc.runs {
				w.job(a, 1)
			} else {
				w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
				w.stays(a, tc.reason)
			}
			if d := a.Status.AtProvider.Digest; d != "" {
				t.Errorf("%s Status has the digest %s", tc.reason, d)
			}
			if hint := strings.Contains(a.GetCondition(xpv2.TypeReady).Message, artifact.AnnotationAdopt); !tc.runs && hint != (name == "Annotation") {
				t.Errorf("%s The condition: %s", tc.reason, a.GetCondition(xpv2.TypeReady).Message)
			}
			if tc.runs {
				return
			}
			w.adopts("true")
			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.waitEvent(a, "owner "+stdcmp.Or(tc.owner(a).ID, "unknown"))
		})
	}
}

// TestForgedRecord has an account that may push write a record about foreign content,
// which names the Artifact in every way but the signature.
func TestForgedRecord(t *testing.T) {
	w := startControllers(t)
	w.adopts("true")
	a := w.artifact("forged")
	repository := a.Spec.ForProvider.Target.Repository
	foreign := w.push(repository, "v1", "foreign")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	keys := newKeys()
	keys.Cluster = testKeys.Cluster
	w.recordAs(keys, repository, foreign, provenance.Record{Owner: ownerOf(a), RunHash: artifact.RunHash(a), Run: 1, Revision: testCommit})
	w.look(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	w.stays(a, "A record that another key signed makes nothing the Artifact's own.")
	message := a.GetCondition(xpv2.TypeReady).Message
	if want := "(it has an attestation that does not count: the bundle is signed by none of the trusted keys"; !strings.Contains(message, want) {
		t.Errorf("the condition must say why the attestation does not count: want %q in %q", want, message)
	}
	if d := a.Status.AtProvider.Digest; d != "" {
		t.Errorf("the status has the digest %s", d)
	}
}

// TestMadeBeforeRecords has an Artifact that was made when there were neither
// identities nor records.
func TestMadeBeforeRecords(t *testing.T) {
	w := startControllers(t)
	a, d := w.made("early")
	for _, r := range w.records(a, d) {
		if err := w.registry.DeleteManifest(t.Context(), "models/early", r.Descriptor); err != nil {
			t.Fatal(err)
		}
	}
	w.update(a, func(a *modelv1alpha1.Artifact) { delete(a.Annotations, artifact.AnnotationOwner) })
	w.eventually("record", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		found := w.records(a, d)
		if len(found) != 1 || found[0].Owner.ID != string(a.GetUID()) || found[0].RunHash != artifact.RunHash(a) || found[0].Revision != testCommit {
			return fmt.Sprintf("%+v", found)
		}
		return ""
	})
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.job(a, 1)
}

// orphan deletes an Artifact and leaves what it pushed.
func (w *world) orphan(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.update(a, withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate}))
	w.remove(a)
	w.waitGone(a)
}

// TestAdoptedOfAnotherSpec finds what an Artifact of the same name pushed for
// another spec: it is rebuilt.
func TestAdoptedOfAnotherSpec(t *testing.T) {
	w := startControllers(t)
	w.adopts("true")
	a, d := w.made("changed")
	again := w.artifact("changed")
	again.Spec.ForProvider.Source.HuggingFace.Revision = "v2"
	job := w.job(a, 1)
	w.orphan(a)
	w.remove(job)
	w.deletePods()
	w.create(again)
	next := w.succeed(again, 2, "two")
	w.waitReady(again, corev1.ConditionTrue, "Available")
	w.waitTag("models/changed", "v1", next)
	if h := again.Status.AtProvider.History; len(h) != 1 || h[0].Digest != d || h[0].Revision != testCommit {
		t.Errorf("history: %+v", h)
	}
}

// TestTwoClaims has two Artifacts of different ProviderConfigs, which know
// nothing of each other, push to one reference.
func TestTwoClaims(t *testing.T) {
	w := startControllers(t)
	pc := &v1alpha1.ProviderConfig{}
	pc.SetName("default")
	pc.SetNamespace(w.namespace)
	if err := w.get(pc); err != nil {
		t.Fatal(err)
	}
	other := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: w.namespace}, Spec: pc.Spec}
	w.create(other)
	a, d := w.made("claimed")
	b := w.artifact("claimant")
	b.Spec.ProviderConfigReference.Name = "other"
	b.Spec.ForProvider.Target.Repository = "models/claimed"
	w.create(b)
	w.waitReady(b, corev1.ConditionFalse, string(outcome.TagConflict))
	w.look(a)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	for range 3 {
		before := []string{a.GetCondition(xpv2.TypeReady).LastTransitionTime.String(), b.GetCondition(xpv2.TypeReady).LastTransitionTime.String()}
		w.look(a)
		w.look(b)
		after := []string{a.GetCondition(xpv2.TypeReady).LastTransitionTime.String(), b.GetCondition(xpv2.TypeReady).LastTransitionTime.String()}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("a condition flaps:\n%s", diff)
		}
	}
	w.waitTag("models/claimed", "v1", d)
	w.remove(b)
	w.waitGone(b)
	w.waitTag("models/claimed", "v1", d)
}

// TestRegistryThatCannotBeAsked has the registry fail while an artifact is there.
func TestRegistryThatCannotBeAsked(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			w := startControllers(t)
			a, d := w.made("unreachable")
			before := a.GetCondition(xpv2.TypeReady)
			w.requests.refuseWith(status(code, http.MethodHead, http.MethodGet))
			w.poke(a, "1")
			w.eventually("Synced says why", func() string {
				if err := w.get(a); err != nil {
					return err.Error()
				}
				if s := a.GetCondition(xpv2.TypeSynced); s.Status != corev1.ConditionFalse || !strings.Contains(s.Message, w.host) {
					return s.Message
				}
				return ""
			})
			if diff := cmp.Diff(before, a.GetCondition(xpv2.TypeReady)); diff != "" {
				t.Errorf("Ready changed: -before, +after:\n%s", diff)
			}
			w.stays(a, "A registry that does not answer is no reason for a run.")
			w.requests.refuseWith(nil)
			w.look(a)
			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.waitTag("models/unreachable", "v1", d)
			w.job(a, 1)
		})
	}
}

func TestIdleArtifactCostsOneHead(t *testing.T) {
	w := startControllers(t)
	a, _ := w.made("idle")
	w.look(a)
	w.requests.take()
	w.poke(a, "1")
	// Whether the config is Ready is asked every 10 minutes, and may be just now.
	got := slices.DeleteFunc(w.requests.take(), func(r string) bool { return r == "GET /v2/" })
	if diff := cmp.Diff([]string{"HEAD /v2/models/idle/manifests/v1"}, got); diff != "" {
		t.Errorf("requests of one look: -want, +got:\n%s", diff)
	}
}

// TestTagOnStaged has somebody who may push set a tag on what a run has staged, before it
// is committed. It is foreign, and only looked at until it moves.
func TestTagOnStaged(t *testing.T) {
	cases := map[string]struct{ reason, tag string }{
		"Own":        {reason: "The Artifact's tag should stay as it is.", tag: "v1"},
		"Additional": {reason: "So should an additional one.", tag: "stable"},
	}
	w := startControllers(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			a := w.artifact("staged-" + strings.ToLower(name))
			a.Spec.ForProvider.Target.AdditionalTags = []string{"stable"}
			repository := a.Spec.ForProvider.Target.Repository
			w.create(a)
			job := w.job(a, 1)
			d := w.stageFor(job.Spec.Template.Spec, repository, name)
			w.push(repository, tc.tag, name)
			w.finish(job, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"revision":%q}`, d, testCommit))
			w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
			w.look(a)

			w.requests.take()
			w.look(a)
			w.look(a)
			if got := slices.DeleteFunc(w.requests.take(), func(r string) bool {
				return !strings.Contains(r, repository) || strings.HasPrefix(r, http.MethodGet) || strings.HasPrefix(r, http.MethodHead)
			}); len(got) > 0 {
				t.Errorf("\n%s\nNothing should be written, got %v", tc.reason, got)
			}
			if c := a.GetCondition(xpv2.TypeReady); c.Reason != xpv2.ConditionReason(outcome.TagConflict) || len(w.records(a, d)) > 0 {
				t.Errorf("\n%s\nwant TagConflict and no record, got %+v", tc.reason, c)
			}

			if err := w.registry.Untag(t.Context(), repository, tc.tag); err != nil {
				t.Fatal(err)
			}
			w.look(a)
			w.waitReady(a, corev1.ConditionTrue, "Available")
			w.waitTag(repository, "v1", d)
			w.waitTag(repository, "stable", d)
			w.job(a, 1)
		})
	}
}
