package artifact

import (
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

func TestObservedArtifact(t *testing.T) {
	const observe = xpv2.ManagementActionObserve
	type want struct {
		ready  corev1.ConditionStatus
		reason string
		says   string
		at     modelv1alpha1.ArtifactObservation
	}
	w := startControllers(t)
	digest := w.push("models/existing", "v7", "existing")
	name := w.host + "/models/existing"
	at := modelv1alpha1.ArtifactObservation{Digest: digest, PinnedReference: name + "@" + digest, Size: 2, Format: "Other", Source: &modelv1alpha1.SourceObservation{}}
	byTag, byDigest := at, at
	byTag.Reference, byDigest.Reference = name+":v7", name+"@"+digest
	cases := map[string]struct {
		reason string
		arg    string
		want   want
	}{
		"Tag":      {reason: "A tag names what is there now.", arg: name + ":v7", want: want{ready: corev1.ConditionTrue, reason: "Available", at: byTag}},
		"Digest":   {reason: "A digest names one artifact for ever.", arg: name + "@" + digest, want: want{ready: corev1.ConditionTrue, reason: "Available", at: byDigest}},
		"Gone":     {reason: "What is not there is not found.", arg: name + ":v8", want: want{ready: corev1.ConditionFalse, reason: "NotFound", says: "has no " + name + ":v8"}},
		"NoTag":    {reason: "An artifact is never guessed.", arg: name, want: want{ready: corev1.ConditionFalse, reason: "Unsupported", says: "registry/repository:tag"}},
		"Nonsense": {reason: "What is no reference is told.", arg: "::", want: want{ready: corev1.ConditionFalse, reason: "Unsupported", says: "external-name"}},
		"Nothing":  {reason: "Somebody who names nothing is told how.", want: want{ready: corev1.ConditionFalse, reason: "ConfigMissing", says: "external-name"}},
	}
	for caseName, tc := range cases {
		t.Run(caseName, func(t *testing.T) {
			w := *w
			w.t = t
			a := w.artifact(strings.ToLower(caseName))
			a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
			a.Spec.ManagementPolicies = xpv2.ManagementPolicies{observe}
			a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: a.GetName() + "-details"}
			if tc.arg != "" {
				a.SetAnnotations(map[string]string{"crossplane.io/external-name": tc.arg})
			}
			w.create(a)
			w.waitReady(a, tc.want.ready, tc.want.reason)
			if diff := cmp.Diff(tc.want.at, a.Status.AtProvider); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, tc.want.says) {
				t.Errorf("%s: message %q does not name %q", tc.reason, got, tc.want.says)
			}
			if tc.want.ready == corev1.ConditionTrue {
				w.checkDetails(a)
			}
			w.remove(a)
			w.waitGone(a)
		})
	}
	if _, err := w.registry.Resolve(t.Context(), "models/existing", "v7"); err != nil {
		t.Errorf("What was observed only must stay: %v", err)
	}
}

// TestObservedImage looks at an image with a model's file, and at an index of such.
func TestObservedImage(t *testing.T) {
	w := startControllers(t)
	w.push("models/image", "empty", "") // For the blob.
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},`+
		`"layers":[{"mediaType":%q,"digest":%[3]q,"size":2,"annotations":{%[5]q:"config.json"}}],"annotations":{%q:%q}}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, digest.FromString("{}"),
		ocispec.MediaTypeImageLayer, specv1.AnnotationFilepath, ocispec.AnnotationRevision, testCommit)
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if err := w.registry.PushManifest(t.Context(), "models/image", d, manifest, "v1"); err != nil {
		t.Fatal(err)
	}
	w.pushIndex("models/image", "index", "amd64", "arm64")
	for tag, revision := range map[string]string{"v1": testCommit, "index": ""} {
		a := w.artifact("image-" + tag)
		a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
		a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
		a.SetAnnotations(map[string]string{"crossplane.io/external-name": w.host + "/models/image:" + tag})
		w.create(a)
		w.waitReady(a, corev1.ConditionTrue, "Available")
		if s := a.Status.AtProvider; s.Format != "Image" || s.Size != 4 || s.Source.Revision != revision {
			t.Errorf("%s: want an image with its revision, got %+v", tag, s)
		}
	}
}

// TestObservedPart looks at what does not hold all of a model.
func TestObservedPart(t *testing.T) {
	w := startControllers(t)
	w.push("models/part", "empty", "") // For the blob.
	empty := fmt.Sprintf(`"digest":%q,"size":2`, digest.FromString("{}"))
	cases := map[string]struct {
		reason   string
		manifest string
		says     string
	}{
		"Statement": {
			reason:   "A signature or a bill of materials is no artifact.",
			manifest: `"config":{"mediaType":"application/vnd.example",` + empty + `},"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json",` + empty + `}`,
			says:     "a statement about another one",
		},
		"Elsewhere": {
			reason: "What lies at another address is not in the registry.",
			manifest: `"config":{"mediaType":"application/vnd.cncf.model.config.v1+json",` + empty +
				`},"layers":[{"mediaType":"application/vnd.cncf.model.doc.v1.raw",` + empty + `,"urls":["https://example.com/a"]}]`,
			says: "another address",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			tag := strings.ToLower(name)
			manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,%s}`, ocispec.MediaTypeImageManifest, tc.manifest)
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
			if err := w.registry.PushManifest(t.Context(), "models/part", d, manifest, tag); err != nil {
				t.Fatal(err)
			}
			a := w.artifact("part-" + tag)
			a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
			a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
			a.SetAnnotations(map[string]string{"crossplane.io/external-name": w.host + "/models/part:" + tag})
			w.create(a)
			w.waitReady(a, corev1.ConditionFalse, string(outcome.Unsupported))
			if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, tc.says) {
				t.Errorf("%s: message %q does not name %q", tc.reason, got, tc.says)
			}
		})
	}
}

// checkDetails compares an Artifact's connection details with its status.
func (w *world) checkDetails(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	s := a.Status.AtProvider
	ref, err := registry.ParseReference(s.Reference)
	if err != nil {
		w.t.Fatal(err)
	}
	want := map[string]string{
		"registry": ref.Registry, "repository": ref.Repository, "tag": ref.Tag,
		"digest": s.Digest, "reference": s.Reference, "pinnedReference": s.PinnedReference,
	}
	w.eventually("connection details", func() string {
		secret := &corev1.Secret{}
		if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: a.GetNamespace(), Name: a.Spec.WriteConnectionSecretToReference.Name}, secret); err != nil {
			return err.Error()
		}
		got := map[string]string{}
		for k, v := range secret.Data {
			got[k] = string(v)
		}
		return cmp.Diff(want, got)
	})
}

// TestObservedThenManaged has an Artifact, that looked at a foreign tag, be made.
func TestObservedThenManaged(t *testing.T) {
	cases := map[string]struct {
		reason    string
		overwrite bool
		made      bool // Whether the Artifact pushed something before it observed.
	}{
		"Foreign":     {reason: "What was only observed is foreign."},
		"Overwritten": {reason: "Unless that is asked for.", overwrite: true},
		"MadeBefore":  {reason: "So it is for who pushed something else before.", made: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			observe := withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionObserve})
			a := w.artifact("handed-" + strings.ToLower(name))
			if tc.made {
				w.create(a)
				w.succeed(a, 1, "ours")
				w.waitReady(a, corev1.ConditionTrue, "Available")
				w.remove(w.job(a, 1))
				w.deletePods()
			}
			foreign := w.push(a.Spec.ForProvider.Target.Repository, "v1", "foreign")
			if tc.made {
				w.update(a, observe)
			} else {
				observe(a)
				w.create(a)
			}
			w.eventually("observed", func() string {
				if err := w.get(a); err != nil {
					return err.Error()
				}
				if d := a.Status.AtProvider.Digest; d != foreign {
					return "the digest is " + d
				}
				return ""
			})
			w.update(a, func(a *modelv1alpha1.Artifact) {
				withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionAll})(a)
				if tc.overwrite {
					a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
				}
			})
			if tc.overwrite {
				d := w.succeed(a, 1, "ours")
				w.waitReady(a, corev1.ConditionTrue, "Available")
				w.waitTag(a.Spec.ForProvider.Target.Repository, "v1", d)
				return
			}
			w.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
			w.stays(a, tc.reason)
			w.waitTag(a.Spec.ForProvider.Target.Repository, "v1", foreign)
			if d := a.Status.AtProvider.Digest; d != "" {
				t.Errorf("%s Status still knows %s", tc.reason, d)
			}
			w.remove(a)
			w.waitGoneWithPods(a)
			w.waitTag(a.Spec.ForProvider.Target.Repository, "v1", foreign)
		})
	}
}

// TestObservedInMidRun has an Artifact only be observed while its run is going.
func TestObservedInMidRun(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("observed-in-mid-run")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(a)
	job := w.job(a, 1)
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: artifact.PVCName(a.GetName()), Namespace: w.namespace}}
	w.update(a, withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionObserve}))
	w.waitReady(a, corev1.ConditionFalse, string(outcome.NotFound))
	w.waitGone(job)
	w.eventually("the workspace is deleted", func() string {
		if err := w.get(pvc); err == nil && pvc.GetDeletionTimestamp() == nil {
			return "it is not"
		}
		return ""
	})
	w.eventually("no run in the status", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if s := a.Status.AtProvider; s.Phase != "" || s.JobRef != nil {
			return fmt.Sprintf("phase %q, Job %v", s.Phase, s.JobRef)
		}
		return ""
	})
}

func TestObservedArtifactIsRenamed(t *testing.T) {
	w := startControllers(t)
	w.push("models/existing", "v7", "existing")
	a := w.artifact("renamed")
	a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
	a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
	name := func(to string) func(*modelv1alpha1.Artifact) {
		return func(a *modelv1alpha1.Artifact) {
			a.SetAnnotations(map[string]string{"crossplane.io/external-name": w.host + "/models/" + to})
		}
	}
	name("existing:v7")(a)
	w.create(a)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.update(a, name("existing"))
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Unsupported))
	w.update(a, name("existing:v7"))
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestFailedRunWithoutCreateSaysSo(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("handed-over")
	w.create(a)
	w.finish(w.job(a, 1), outcome.Result{Failure: &outcome.Failure{}}, `{"failure":{"reason":"Gated","message":"No access"}}`)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Gated))
	w.update(a, withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionUpdate}))
	w.waitReady(a, corev1.ConditionFalse, string(outcome.NotFound))
	if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, "add Create") {
		t.Errorf("message: %q", got)
	}
}

func TestConnectionDetails(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("detailed")
	a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: "details"}
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.checkDetails(a)

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Tag = "v2" })
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.checkDetails(a)
}
