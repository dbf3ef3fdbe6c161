package settings

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A memoryWorld is a credential memory with an API server, which serves as the cache
// of metadata, too.
type memoryWorld struct {
	secretReader

	t      *testing.T
	server client.Client
	reads  int // Of Secrets with their data.
}

func newMemoryWorld(t *testing.T, secrets ...client.Object) *memoryWorld {
	t.Helper()
	w := &memoryWorld{t: t}
	w.server = fake.NewClientBuilder().WithObjects(secrets...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Secret); ok {
				w.reads++
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	w.memory = NewCredentialMemory(w.server)
	return w
}

// look returns how to connect to an endpoint in another reconcile.
func (w *memoryWorld) look(e endpoint) (registry.Options, error) {
	w.secretReader = secretReader{kube: w.server, memory: w.memory}
	return w.registryOptions(w.t.Context(), e)
}

// expect checks which credentials and authorities an endpoint has, and how many
// Secrets are read for it.
func (w *memoryWorld) expect(e endpoint, config, ca string, reads int, reason string) {
	w.t.Helper()
	w.reads = 0
	o, err := w.look(e)
	if err != nil {
		w.t.Fatal(err)
	}
	type want struct {
		Host, Repository, Config, CA string
		Reads                        int
	}
	got := want{Host: o.Host, Repository: o.Repository, Config: string(o.DockerConfig), CA: string(o.CA), Reads: w.reads}
	if diff := cmp.Diff(want{Host: e.host, Repository: e.repository, Config: config, CA: ca, Reads: reads}, got); diff != "" {
		w.t.Errorf("\n%s\noptions(...): -want, +got:\n%s", reason, diff)
	}
}

func (w *memoryWorld) change(s *corev1.Secret, key, value string) {
	w.t.Helper()
	s.Data[key] = []byte(value)
	if err := w.server.Update(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

func TestCredentialMemory(t *testing.T) {
	const mine, theirs = `{"auths":{"r.example.com":{"auth":"YTpi"}}}`, `{"auths":{"r.example.com":{"auth":"YTpi"},"x.example.com":{"auth":"YTpj"}}}`
	account := credentialsSecret("team-a", "account", map[string]string{corev1.DockerConfigJsonKey: theirs})
	certs := credentialsSecret("team-a", "certs", map[string]string{artifact.KeyCA: "one"})
	w := newMemoryWorld(t, account, certs)
	for _, s := range []*corev1.Secret{account, certs} {
		if err := w.server.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			t.Fatal(err)
		}
	}
	named := func(name, key string) *secretKey {
		return &secretKey{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: name}, key: key}
	}
	e := endpoint{host: "r.example.com", repository: "models/a", credentials: named("account", corev1.DockerConfigJsonKey), certs: named("certs", "")}

	w.expect(e, theirs, "one", 2, "Secrets should be read at first.")
	w.expect(e, mine, "one", 0, "Only what is for the registry should be remembered.")
	e.repository = "models/b"
	w.expect(e, mine, "one", 0, "Credentials should be remembered for all repositories of the registry.")

	other := e
	other.host = "x.example.com"
	w.expect(other, theirs, "one", 2, "Another registry's credentials should be read.")
	w.expect(endpoint{host: "r.example.com"}, "", "", 0, "An endpoint without Secrets should get no credentials.")

	w.change(certs, artifact.KeyCA, "two")
	w.expect(e, theirs, "two", 2, "Secrets that changed should be read again.")
	w.expect(e, mine, "two", 0, "Secrets that changed should be remembered.")
	w.change(certs, artifact.KeyCA, strings.Repeat("x", maxRememberedBytes))
	w.expect(e, theirs, strings.Repeat("x", maxRememberedBytes), 2, "Large Secrets should be read.")
	w.expect(e, theirs, strings.Repeat("x", maxRememberedBytes), 2, "Large Secrets must not be remembered.")

	w.change(certs, artifact.KeyCA, "three")
	w.expect(e, theirs, "three", 2, "A Secret that is small again should be read again.")
	if err := w.server.Delete(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if _, err := w.look(e); err == nil {
		t.Error("A deleted Secret should be an error at once.")
	}
	if w.memory.known.Len() != 1 {
		t.Errorf("want the deleted Secret to be forgotten and the other one kept, got %d", w.memory.known.Len())
	}
}

// TestConfigHashKnown checks that a run that begins reads no Secret for its registry again
// which its watch shows as it was read, and that it has the hash of what is there.
func TestConfigHashKnown(t *testing.T) {
	account := credentialsSecret("team-a", "account", map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"r.example.com":{"auth":"YTpi"}}}`})
	cases := map[string]struct {
		reason string
		copied bool
		change bool
		reads  int
	}{
		"Known":   {reason: "A Secret that is known should not be read."},
		"Changed": {reason: "A Secret that has changed since should be read.", change: true, reads: 1},
		"Copied":  {reason: "A Secret that is copied should be of the version that is copied.", copied: true, reads: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			secret := account.DeepCopy()
			w := newMemoryWorld(t, secret)
			e := endpoint{host: "r.example.com", credentials: &secretKey{NamespacedName: client.ObjectKeyFromObject(secret), key: corev1.DockerConfigJsonKey, copied: tc.copied}}
			o, err := w.look(e)
			if err != nil {
				t.Fatal(err)
			}
			if tc.change {
				w.change(secret, "other", "1")
			}
			hash := func(m *CredentialMemory) string {
				s := Settings{config: &providerConfig{}, registry: e, Registry: o, secrets: &secretReader{kube: w.server, memory: m}}
				h, err := s.ConfigHash(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				data, err := s.SecretData(t.Context())
				if err != nil || len(data) > 0 != tc.copied {
					t.Errorf("\n%s\nSecretData(...): want data: %t, got %d values, %v", tc.reason, tc.copied, len(data), err)
				}
				return h
			}
			w.reads = 0
			got := hash(w.memory)
			if w.reads != tc.reads {
				t.Errorf("\n%s\nConfigHash(...), SecretData(...): want %d reads, got %d", tc.reason, tc.reads, w.reads)
			}
			if want := hash(nil); got != want {
				t.Errorf("\n%s\nConfigHash(...): want %s, as without a memory, got %s", tc.reason, want, got)
			}
		})
	}
}
