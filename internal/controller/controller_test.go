package controller

import (
	"context"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/test"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

func TestPodImage(t *testing.T) {
	errBoom := errors.New("boom")
	pod := types.NamespacedName{Namespace: "crossplane-system", Name: "provider-kitops-1"}
	type args struct {
		pod        types.NamespacedName
		containers []corev1.Container
		err        error
	}
	type want struct {
		image string
		err   error
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Runtime": {
			reason: "Crossplane's own container should be used even if it is not the first one.",
			args:   args{pod: pod, containers: []corev1.Container{{Name: "proxy", Image: "proxy:1"}, {Name: "package-runtime", Image: "provider:1"}}},
			want:   want{image: "provider:1"},
		},
		"First": {
			reason: "The first container should be used if none has Crossplane's name.",
			args:   args{pod: pod, containers: []corev1.Container{{Name: "provider", Image: "provider:1"}, {Name: "proxy", Image: "proxy:1"}}},
			want:   want{image: "provider:1"},
		},
		"NoContainers": {
			reason: "An error should be returned if the Pod has no containers.",
			args:   args{pod: pod},
			want:   want{err: cmpopts.AnyError},
		},
		"NoPod": {
			reason: "An error should be returned outside of a cluster, without a request.",
			args:   args{containers: []corev1.Container{{Image: "provider:1"}}},
			want:   want{err: errNoPod},
		},
		"Unreadable": {
			reason: "Any error encountered while getting the Pod should be returned.",
			args:   args{pod: pod, err: errBoom},
			want:   want{err: errBoom},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kube := &test.MockClient{MockGet: func(_ context.Context, key client.ObjectKey, o client.Object) error {
				if diff := cmp.Diff(pod, key); diff != "" {
					t.Errorf("\n%s\npodImage(...): -want, +got:\n%s", tc.reason, diff)
				}
				if p, ok := o.(*corev1.Pod); ok {
					p.Spec.Containers = tc.args.containers
				}
				return tc.args.err
			}}
			image, err := podImage(t.Context(), kube, tc.args.pod)
			if diff := cmp.Diff(tc.want.err, err, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("\n%s\npodImage(...): -want error, +got error:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want.image, image); diff != "" {
				t.Errorf("\n%s\npodImage(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStripSecretMetadata(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "registry", UID: "uid", ResourceVersion: "7", Labels: map[string]string{"app": "x"}}
	meta.Annotations = map[string]string{artifact.AnnotationCopyHash: "hash", artifact.AnnotationArtifact: "model", artifact.AnnotationArtifactNamespace: "team-a"}
	had := *meta.DeepCopy()
	had.Annotations[corev1.LastAppliedConfigAnnotation] = `{"data":{"password":"c2VjcmV0"}}`
	had.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	got, err := stripSecretMetadata(&metav1.PartialObjectMetadata{ObjectMeta: had})
	if diff := cmp.Diff(&metav1.PartialObjectMetadata{ObjectMeta: meta}, got); diff != "" || err != nil {
		t.Errorf("data that kubectl apply recorded should not be cached: %v: -want, +got:\n%s", err, diff)
	}
}
