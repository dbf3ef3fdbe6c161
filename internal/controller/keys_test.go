package controller

import (
	"context"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
)

const ownNamespace = "crossplane-system"

// newKey returns a private key and its public one, both in PEM.
func newKey(t *testing.T) (private, public []byte) {
	t.Helper()
	private, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	return private, key.PublicPEM()
}

// newCluster returns a client of a cluster with these objects and namespace kube-system.
func newCluster(f interceptor.Funcs, objects ...client.Object) client.Client {
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "33333333-3333-3333-3333-333333333333"}}
	return fake.NewClientBuilder().WithObjects(append(objects, system)...).WithInterceptorFuncs(f).Build()
}

// signingKey returns the Secret with these keys.
func signingKey(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: SigningKeyName}, Data: data}
}

func TestKeys(t *testing.T) {
	private, public := newKey(t)
	_, earlier := newKey(t)
	type want struct {
		KeyIDs  int
		Cluster string
		Error   string
	}
	const uid = "33333333-3333-3333-3333-333333333333"
	forbidden := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, is := o.(*corev1.ConfigMap); is {
			return kerrors.NewBadRequest("no")
		}
		return c.Get(ctx, key, o, opts...)
	}}
	cases := map[string]struct {
		reason    string
		cluster   client.Client
		clusterID string
		want      want
	}{
		"FirstStart": {
			reason:  "Without a key the provider must make one.",
			cluster: newCluster(interceptor.Funcs{}),
			want:    want{KeyIDs: 1, Cluster: uid},
		},
		"Again": {
			reason:  "A key that exists must be used.",
			cluster: newCluster(interceptor.Funcs{}, signingKey(map[string][]byte{privateKeyFile: private, publicKeyFile: public})),
			want:    want{KeyIDs: 1, Cluster: uid},
		},
		"Rotated": {
			reason:  "What an earlier key signed must still count while its public key is in the Secret.",
			cluster: newCluster(interceptor.Funcs{}, signingKey(map[string][]byte{privateKeyFile: private, publicKeyFile: append(append([]byte(nil), earlier...), public...)})),
			want:    want{KeyIDs: 2, Cluster: uid},
		},
		"Restored": {
			reason:    "A cluster that took over another's Artifacts keeps that one's ID.",
			cluster:   newCluster(interceptor.Funcs{}),
			clusterID: "former",
			want:      want{KeyIDs: 1, Cluster: "former"},
		},
		"Damaged": {
			reason:  "A key that cannot be used must stop the provider, and not be replaced: what it signed would count no more.",
			cluster: newCluster(interceptor.Funcs{}, signingKey(map[string][]byte{privateKeyFile: []byte("no key")})),
			want:    want{Error: "cannot use the signing key in Secret crossplane-system/provider-kitops-signing-key"},
		},
		"NotPublished": {
			reason:  "A provider that cannot publish its key must say what it needs.",
			cluster: newCluster(forbidden),
			want:    want{Error: "examples/install/without-crossplane.yaml does without it: cannot get the ConfigMap with the public key"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			keys, err := Keys(t.Context(), tc.cluster, ownNamespace, tc.clusterID, logging.NewNopLogger())
			got := want{Error: tc.want.Error}
			if err != nil {
				if tc.want.Error == "" || !strings.Contains(err.Error(), tc.want.Error) || strings.Contains(err.Error(), "no key\n") {
					t.Fatalf("\n%s\nKeys(...): want error %q, got %v", tc.reason, tc.want.Error, err)
				}
				return
			}
			got.KeyIDs, got.Cluster, got.Error = len(keys.Verifier.KeyIDs()), keys.Cluster, ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nKeys(...): -want, +got:\n%s", tc.reason, diff)
			}
			published := &corev1.ConfigMap{}
			if err := tc.cluster.Get(t.Context(), types.NamespacedName{Namespace: ownNamespace, Name: SigningKeyName}, published); err != nil {
				t.Fatal(err)
			}
			v, err := attest.NewVerifier([]byte(published.Data[publishedKeyFile]))
			if err != nil || len(v.KeyIDs()) != 1 || v.KeyIDs()[0] != keys.Signer.KeyID() {
				t.Errorf("\n%s\nKeys(...): want the public key of %s to be published, got %q, %v", tc.reason, keys.Signer.KeyID(), published.Data, err)
			}
			again, err := Keys(t.Context(), tc.cluster, ownNamespace, tc.clusterID, logging.NewNopLogger())
			if err != nil || again.Signer.KeyID() != keys.Signer.KeyID() {
				t.Errorf("\n%s\nKeys(...): want the same key after a restart, got %v", tc.reason, err)
			}
		})
	}
}

// TestKeysOfReplicas has another replica make the key first.
func TestKeysOfReplicas(t *testing.T) {
	private, public := newKey(t)
	first := signingKey(map[string][]byte{privateKeyFile: private, publicKeyFile: public})
	race := interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if _, is := o.(*corev1.Secret); is {
			if err := c.Create(ctx, first.DeepCopy(), opts...); err != nil {
				return err
			}
			return kerrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, o.GetName())
		}
		return c.Create(ctx, o, opts...)
	}}
	keys, err := Keys(t.Context(), newCluster(race), ownNamespace, "", logging.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	want, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	if keys.Signer.KeyID() != want.KeyID() {
		t.Errorf("want all replicas to sign with the key that was made first")
	}
}

// TestKeysOutsideOfACluster has the provider run on a developer's machine.
func TestKeysOutsideOfACluster(t *testing.T) {
	keys, err := Keys(t.Context(), newCluster(interceptor.Funcs{}), "", "", logging.NewNopLogger())
	if err != nil || keys.Signer != nil || keys.Verifier != nil || keys.Cluster == "" {
		t.Errorf("want no keys, and the cluster for those that configs name, got %+v, %v", keys, err)
	}
}
