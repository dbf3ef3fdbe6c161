package main

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

	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
)

func TestOwnImage(t *testing.T) {
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
			reason: "Under Crossplane the provider's container is not the first where others are put beside it.",
			args:   args{pod: pod, containers: []corev1.Container{{Name: "proxy", Image: "proxy:1"}, {Name: "package-runtime", Image: "provider:1"}}},
			want:   want{image: "provider:1"},
		},
		"First": {
			reason: "Elsewhere it is the first.",
			args:   args{pod: pod, containers: []corev1.Container{{Name: "provider", Image: "provider:1"}, {Name: "proxy", Image: "proxy:1"}}},
			want:   want{image: "provider:1"},
		},
		"NoContainers": {
			reason: "A Pod without containers is no answer.",
			args:   args{pod: pod},
			want:   want{err: cmpopts.AnyError},
		},
		"NoPod": {
			reason: "Outside of a cluster nobody is asked.",
			args:   args{containers: []corev1.Container{{Image: "provider:1"}}},
			want:   want{err: errNoPod},
		},
		"Unreadable": {
			reason: "What the API server says is told.",
			args:   args{pod: pod, err: errBoom},
			want:   want{err: errBoom},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kube := &test.MockClient{MockGet: func(_ context.Context, key client.ObjectKey, o client.Object) error {
				if diff := cmp.Diff(pod, key); diff != "" {
					t.Errorf("\n%s\nownImage(...): -want, +got:\n%s", tc.reason, diff)
				}
				if p, ok := o.(*corev1.Pod); ok {
					p.Spec.Containers = tc.args.containers
				}
				return tc.args.err
			}}
			image, err := ownImage(t.Context(), kube, tc.args.pod)
			if diff := cmp.Diff(tc.want.err, err, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("\n%s\nownImage(...): -want error, +got error:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want.image, image); diff != "" {
				t.Errorf("\n%s\nownImage(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestWorkerIsOwnImage: runs get the image that the provider itself runs as, also
// where it may read its Pod only later.
func TestWorkerIsOwnImage(t *testing.T) {
	p := newProvider(t)
	p.account.Grant(t, "crossplane", accesstest.Crossplane(t))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.account.Namespace, Name: "provider-kitops-1"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "proxy", Image: "proxy:1"}, {Name: runtimeContainer, Image: "registry.example.com/provider-kitops@sha256:0000000000000000000000000000000000000000000000000000000000000000"},
		}},
	}
	if err := p.kube.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	p.start([]string{"POD_NAMESPACE=" + pod.GetNamespace(), "POD_NAME=" + pod.GetName()})
	a := p.artifact("model")
	p.waitLog("get, list, watch pods")
	installed, _ := accesstest.Installed(t, "rbac.yaml")
	p.account.Grant(t, "installed", installed)
	if got := p.workerOf(a); got != pod.Spec.Containers[1].Image {
		t.Errorf("the worker is %q, want %q", got, pod.Spec.Containers[1].Image)
	}
}
