package artifact

import (
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestCopyIsNoCredential has each reference that a tenant may write name a Secret
// that the provider made for a run.
func TestCopyIsNoCredential(t *testing.T) {
	ref := &xpv2.LocalSecretReference{Name: "qwen3-copy"}
	key := &xpv2.LocalSecretKeySelector{LocalSecretReference: *ref, Key: "hub-token"}
	config := func(change func(*v1alpha1.ProviderConfigSpec)) *providerConfig {
		pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"}}
		pc.Spec.Registry.Host = credentialsHost
		pc.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{}
		change(&pc.Spec)
		return fromProviderConfig(pc)
	}
	none := config(func(*v1alpha1.ProviderConfigSpec) {})
	plain := func() *modelv1alpha1.Artifact { return credentialsArtifact(false) }
	with := func(a *modelv1alpha1.Artifact, change func(*modelv1alpha1.ArtifactParameters)) *modelv1alpha1.Artifact {
		change(&a.Spec.ForProvider)
		return a
	}
	type args struct {
		config *providerConfig
		a      *modelv1alpha1.Artifact
	}
	cases := map[string]args{
		"Target": {none, with(plain(), func(p *modelv1alpha1.ArtifactParameters) { p.Target.CredentialsSecretRef = ref })},
		"Token": {none, with(plain(), func(p *modelv1alpha1.ArtifactParameters) {
			p.Source = &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{TokenSecretRef: &modelv1alpha1.SecretKeySelector{Name: ref.Name, Key: "hub-token"}}}
		})},
		"Source":            {none, sourceArtifact("other.example.com/a:v1", func(s *modelv1alpha1.OCISource) { s.CredentialsSecretRef = ref })},
		"SourceCA":          {none, sourceArtifact("other.example.com/a:v1", func(s *modelv1alpha1.OCISource) { s.CertSecretRef = ref })},
		"ConfigCredentials": {config(func(s *v1alpha1.ProviderConfigSpec) { s.Registry.Credentials.SecretRef = ref }), plain()},
		"ConfigCA":          {config(func(s *v1alpha1.ProviderConfigSpec) { s.Registry.CertSecretRef = ref }), plain()},
		"ConfigToken":       {config(func(s *v1alpha1.ProviderConfigSpec) { s.HuggingFace.TokenSecretRef = key }), plain()},
		"ConfigHubCA":       {config(func(s *v1alpha1.ProviderConfigSpec) { s.HuggingFace.CertSecretRef = ref }), plain()},
		"ConfigForSource":   {config(func(s *v1alpha1.ProviderConfigSpec) { s.Registry.Credentials.SecretRef = ref }), sourceArtifact(credentialsHost + "/models/a:v1")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			copied := (&world{t: t, namespace: "team-a"}).copyFor(tc.a)
			kube := fake.NewClientBuilder().WithObjects(copied).Build()
			// Each run begins with it, whoever reads the Secrets themselves.
			if _, err := tc.config.hash(t.Context(), kube, tc.a); outcome.ReasonOf(err) != outcome.NotAllowed {
				t.Errorf("A run must not get the copy: hash(...): %v", err)
			}
			o, err := tc.config.registryOptions(t.Context(), kube, tc.a)
			if err == nil && len(o.DockerConfig)+len(o.CA) > 0 {
				t.Error("The controller must not use the copy for the registry")
			}
			h, err := tc.config.hubOptions(t.Context(), kube, tc.a)
			if err == nil && len(h.Token)+len(h.CA) > 0 {
				t.Error("The controller must not use the copy for the Hub")
			}
		})
	}
}

// TestCopyIsNobodys has a tenant keep a copy by a run that does not start, and
// name it.
func TestCopyIsNobodys(t *testing.T) {
	w := startControllers(t)
	home := apiserver.Namespace(t, w.client)
	secret := w.dockerConfig("registry", "administrator")
	secret.SetNamespace(home)
	w.create(secret)
	keeper := w.shared("keeper", func(s *v1alpha1.ClusterProviderConfigSpec) {
		s.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
			Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Name: "registry", Namespace: home},
		}
	})
	w.create(keeper)
	w.job(keeper, 1)
	copies := w.copies(keeper)
	if len(copies) != 1 || copies[0].Type != artifact.SecretTypeCredentials {
		t.Fatalf("want one copy, got %+v", copies)
	}
	name := copies[0].GetName()

	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "thief", Namespace: w.namespace}}
	pc.Spec.Registry = v1alpha1.RegistryConfig{
		Host: v1alpha1.RegistryHost(registryHost), PlainHTTP: true,
		Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: name}},
	}
	w.create(pc)
	thieves := map[string]func(*modelv1alpha1.Artifact){
		"config": func(a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Name = "thief" },
		"source": func(a *modelv1alpha1.Artifact) {
			a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{
				Reference: registryHost + "/secret/model:v1", CredentialsSecretRef: &xpv2.LocalSecretReference{Name: name},
			}}
		},
		"connection": func(a *modelv1alpha1.Artifact) {
			a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: name}
		},
	}
	for thief, change := range thieves {
		t.Run(thief, func(t *testing.T) {
			w := *w
			w.t = t
			a := w.artifact("thief-" + thief)
			change(a)
			w.create(a)
			w.waitRefused(a, outcome.NotAllowed, name)
		})
	}
	// So it is where the Artifact that owns the copy names it.
	w.update(keeper, func(a *modelv1alpha1.Artifact) {
		a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: name}
	})
	w.waitReady(keeper, corev1.ConditionFalse, string(outcome.NotAllowed))
	if diff := cmp.Diff(copies, w.copies(keeper)); diff != "" {
		t.Errorf("The copy must stay as it is: -want, +got:\n%s", diff)
	}
}
