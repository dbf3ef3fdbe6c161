package artifact

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// noTags refuses to delete tags, as registries do that delete by digest only.
func noTags(code int) func(*http.Request) int {
	return func(r *http.Request) int {
		if r.Method == http.MethodDelete && !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return code
		}
		return 0
	}
}

// TestDeletedFromRegistry deletes an Artifact whose registry can do more or less.
func TestDeletedFromRegistry(t *testing.T) {
	type want struct {
		tag, manifest, record bool // What stays.
		event                 string
	}
	all := want{tag: true, manifest: true, record: true}
	cases := map[string]struct {
		reason string
		refuse func(*http.Request) int
		before func(*world, *modelv1alpha1.Artifact)
		want   want
	}{
		"Tags": {
			reason: "The tag goes, and the registry collects what it stood for.",
			want:   want{manifest: true, event: "Removed tag v1"},
		},
		"NoTags": {
			reason: "Without other tags it is deleted by its digest.",
			refuse: noTags(http.StatusBadRequest),
			want:   want{event: "which had no other tag"},
		},
		"NoTagsShared": {
			reason: "By its digest other tags would go too.",
			refuse: noTags(http.StatusMethodNotAllowed),
			before: func(w *world, a *modelv1alpha1.Artifact) {
				w.push(a.Spec.ForProvider.Target.Repository, "others", "one")
			},
			want: func() want { w := all; w.event = "other tags have the same digest: others"; return w }(),
		},
		"NoTagsNoList": {
			reason: "Whether others share it has to be known.",
			refuse: func(r *http.Request) int {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					return http.StatusMethodNotAllowed
				}
				return noTags(http.StatusMethodNotAllowed)(r)
			},
			want: func() want { w := all; w.event = "neither deletes tags nor lists them"; return w }(),
		},
		"Nothing": {
			reason: "A registry that deletes nothing keeps it.",
			refuse: status(http.StatusMethodNotAllowed, http.MethodDelete),
			want:   func() want { w := all; w.event = "the registry does not delete"; return w }(),
		},
		"TagsOnly": {
			reason: "The record of a registry that deletes tags only stays without harm.",
			refuse: func(r *http.Request) int {
				if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/manifests/sha256:") {
					return http.StatusMethodNotAllowed
				}
				return 0
			},
			want: want{manifest: true, record: true, event: "Removed tag v1"},
		},
		"Foreign": {
			reason: "A tag on something else is not touched.",
			before: func(w *world, a *modelv1alpha1.Artifact) {
				w.push(a.Spec.ForProvider.Target.Repository, "v1", "foreign")
			},
			want: want{tag: true, manifest: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a, d := w.made("deleted-" + strings.ToLower(name))
			repository := a.Spec.ForProvider.Target.Repository
			if len(w.records(a, d)) == 0 {
				t.Fatal("there is no record to delete")
			}
			if tc.before != nil {
				tc.before(w, a)
			}
			w.requests.refuseWith(tc.refuse)
			w.remove(a)
			w.waitGoneWithPods(a)
			for what, stays := range map[string]bool{"v1": tc.want.tag, d: tc.want.manifest} {
				if _, err := w.registry.Resolve(t.Context(), repository, what); registry.IsNotFound(err) == stays {
					t.Errorf("%s %s stays: want %t, got %v", tc.reason, what, stays, err)
				}
			}
			if got := len(w.records(a, d)) > 0; got != tc.want.record {
				t.Errorf("%s record stays: want %t, got %t", tc.reason, tc.want.record, got)
			}
			if tc.want.event != "" {
				w.waitEvent(a, tc.want.event)
			}
		})
	}
}

// TestImageIsDeleted deletes an Artifact whose image is an index, by its digest:
// the index's manifests go, too, without those that others name.
func TestImageIsDeleted(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("deleted-image")
	w.create(a)
	d := w.succeed(a, 1, "index amd64 arm64 riscv64")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	repository := a.Spec.ForProvider.Target.Repository
	w.pushManifest(repository, "tagged", ocispec.MediaTypeImageManifest, imageFor("arm64"))
	w.pushIndex(repository, "another", "riscv64")
	w.requests.refuseWith(noTags(http.StatusBadRequest))
	w.remove(a)
	w.waitGoneWithPods(a)
	for what, stays := range map[string]bool{"amd64": false, "arm64": true, "riscv64": true, "index": false} {
		digest := digest.FromBytes(imageFor(what)).String()
		if what == "index" {
			digest = d
		}
		if _, err := w.registry.Resolve(t.Context(), repository, digest); registry.IsNotFound(err) == stays {
			t.Errorf("%s stays: want %t, got %v", what, stays, err)
		}
	}
}

// TestLostImageIsHealed takes a manifest from under the index of an image.
func TestLostImageIsHealed(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("lost-image")
	w.create(a)
	w.succeed(a, 1, "index amd64 arm64")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	gone := imageFor("arm64")
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(gone), Size: int64(len(gone))}
	if err := w.registry.DeleteManifest(t.Context(), "models/lost-image", d); err != nil {
		t.Fatal(err)
	}
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
	})
	w.endJob(a)
	w.job(a, 2)
	w.succeed(a, 2, "index amd64 arm64")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// waitEvent waits for an event that says this of an Artifact.
func (w *world) waitEvent(a *modelv1alpha1.Artifact, text string) {
	w.t.Helper()
	w.eventually("event", func() string {
		list := &corev1.EventList{}
		if err := w.client.List(w.t.Context(), list); err != nil {
			return err.Error()
		}
		all := ""
		for _, e := range list.Items {
			if e.InvolvedObject.Namespace != w.namespace || e.InvolvedObject.Name != a.GetName() {
				continue
			}
			if strings.Contains(e.Message, text) {
				return ""
			}
			all += e.Message + "; "
		}
		return "none says " + text + ": " + all
	})
}

// TestDeletionWaitsForTheRegistry deletes while the registry refuses for now.
func TestDeletionWaitsForTheRegistry(t *testing.T) {
	for name, code := range map[string]int{"Down": http.StatusServiceUnavailable, "Forbidden": http.StatusForbidden, "Unauthorized": http.StatusUnauthorized} {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a, _ := w.made("waiting-" + strings.ToLower(name))
			w.requests.refuseWith(status(code, http.MethodDelete))
			w.remove(a)
			w.eventually("says so", func() string {
				w.deletePods()
				if err := w.get(a); err != nil {
					return err.Error()
				}
				if m := a.GetCondition(xpv2.TypeSynced).Message; !strings.Contains(m, "take Delete from spec.managementPolicies") {
					return m
				}
				return ""
			})
			w.requests.refuseWith(nil)
			w.waitGone(a)
			if _, err := w.registry.Resolve(t.Context(), a.Spec.ForProvider.Target.Repository, "v1"); !registry.IsNotFound(err) {
				t.Errorf("the tag is still there: %v", err)
			}
		})
	}
}

// TestDeletedWhileStaging deletes an Artifact whose run staged and did not report it.
func TestDeletedWhileStaging(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("RegistryDown=%t", down), func(t *testing.T) {
			w := startControllers(t)
			a := w.artifact("midpush")
			w.create(a)
			job := w.job(a, 1)
			w.stageFor(job.Spec.Template.Spec, "models/midpush", "one")
			tag := provenance.StagingTag(ownerOf(a), artifact.RunHash(a))
			if down {
				w.requests.refuseWith(status(http.StatusServiceUnavailable, http.MethodGet, http.MethodHead))
			}
			w.remove(a)
			w.waitGoneWithPods(a)
			w.requests.refuseWith(nil)
			if _, err := w.registry.Resolve(t.Context(), "models/midpush", tag); registry.IsNotFound(err) == down {
				t.Errorf("staging tag, registry down %t: %v", down, err)
			}
		})
	}
}

// TestLostBlobIsHealed takes a blob from under a manifest.
func TestLostBlobIsHealed(t *testing.T) {
	w := startControllers(t)
	a, _ := w.made("holed")
	w.loseBlobs("models/holed")
	w.poke(a, "1")
	w.waitReady(a, corev1.ConditionTrue, "Available") // Nobody looked.
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
	})
	w.endJob(a)
	w.job(a, 2)
	// Not sooner: where the blob is back before its run begins, there is none.
	w.requests.refuseWith(nil)
	w.succeed(a, 2, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}
