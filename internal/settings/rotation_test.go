package settings

import (
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// A rotation is a Resolver for one Artifact whose registry, and the Secrets for it,
// change.
type rotation struct {
	t             *testing.T
	kube          client.Client
	resolver      *Resolver
	artifact      *modelv1alpha1.Artifact
	config        *v1alpha1.ProviderConfig
	docker, certs *corev1.Secret
}

func newRotation(t *testing.T, at *testregistry.Registry) *rotation {
	t.Helper()
	r := &rotation{
		t: t, artifact: credentialsArtifact(false),
		docker: credentialsSecret("team-a", "registry", nil), certs: credentialsSecret("team-a", "certs", nil),
		config: &v1alpha1.ProviderConfig{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"},
			Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
				Host:          v1alpha1.RegistryHost(at.Host()),
				Credentials:   v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: "registry"}},
				CertSecretRef: &xpv2.LocalSecretReference{Name: "certs"},
			}},
		},
	}
	r.artifact.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "default"}
	r.kube = fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).WithObjects(r.docker, r.certs, r.config).Build()
	r.resolver = &Resolver{Cached: r.kube, Direct: r.kube, Metadata: r.kube, Credentials: NewCredentialMemory(r.kube)}
	return r
}

func (r *rotation) update(o client.Object) {
	r.t.Helper()
	if err := r.kube.Update(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
}

// moveTo changes the registry's host.
func (r *rotation) moveTo(at *testregistry.Registry) {
	r.t.Helper()
	r.config.Spec.Registry.Host = v1alpha1.RegistryHost(at.Host())
	r.update(r.config)
}

// setAccount writes an account of a registry to its Secret.
func (r *rotation) setAccount(at *testregistry.Registry, u testregistry.User) {
	r.t.Helper()
	r.docker.Data = map[string][]byte{
		corev1.DockerConfigJsonKey: testregistry.DockerConfig(map[string]testregistry.Entry{at.Host(): testregistry.EntryFor(u)}),
	}
	r.update(r.docker)
}

// setCerts writes the authority of a registry, and a client certificate for one,
// to their Secret.
func (r *rotation) setCerts(ca, client *testregistry.Registry) {
	r.t.Helper()
	certificate, key := client.ClientCertificate()
	r.certs.Data = map[string][]byte{"ca.crt": ca.CA(), corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}
	r.update(r.certs)
}

// look resolves a tag in the registry and returns the reason of the error. It is
// NotFound if the credentials are right, since there is no tag.
func (r *rotation) look() outcome.Reason {
	r.t.Helper()
	got, err := r.resolver.Resolve(r.t.Context(), r.artifact)
	if err != nil {
		return outcome.ReasonOf(err)
	}
	o := got.Registry
	o.SingleTry = true
	c, err := registry.New(o)
	if err != nil {
		return outcome.ReasonOf(err)
	}
	defer c.Close()
	_, err = c.Resolve(r.t.Context(), "models/qwen3", "v1")
	return outcome.ReasonOf(err)
}

// TestRotation checks that each reconcile uses the credentials of the moment: a
// registry changes its account, its authority and its client certificates one after
// the other, and the Secrets follow.
func TestRotation(t *testing.T) {
	old, renewed := testregistry.User{Name: "ada", Password: "correct horse"}, testregistry.User{Name: "ada", Password: "battery staple"}
	first := testregistry.Start(t, testregistry.Options{TLS: true, ClientCertificates: true, Users: []testregistry.User{old}})
	second := testregistry.Start(t, testregistry.Options{TLS: true, ClientCertificates: true, Users: []testregistry.User{renewed}})
	r := newRotation(t, first)
	steps := []struct {
		what   string
		change func()
		want   outcome.Reason
	}{
		{"No Secret has a value.", func() {}, outcome.ConfigMissing},
		{"The account is set.", func() { r.setAccount(first, old) }, outcome.ConfigMissing},
		{"The certificates are set.", func() { r.setCerts(first, first) }, outcome.NotFound},
		{"The registry changes its account.", func() {
			if err := first.SetUsers(renewed); err != nil {
				t.Fatal(err)
			}
		}, outcome.Unauthorized},
		{"The Secret follows.", func() { r.setAccount(first, renewed) }, outcome.NotFound},
		{"The registry changes its certificates.", func() { r.moveTo(second); r.setAccount(second, renewed) }, outcome.Untrusted},
		{"The authority follows.", func() { r.setCerts(second, first) }, outcome.Untrusted},
		{"The client's certificate follows.", func() { r.setCerts(second, second) }, outcome.NotFound},
	}
	for _, s := range steps {
		s.change()
		if got := r.look(); got != s.want {
			t.Fatalf("%s: want %s, got %s", s.what, s.want, got)
		}
	}
}
