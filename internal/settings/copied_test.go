package settings

import (
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestCopyIsNoCredential checks that no reference a tenant can write gives access to
// a Secret that the provider created for a run.
func TestCopyIsNoCredential(t *testing.T) {
	ref := &xpv2.LocalSecretReference{Name: "qwen3-copy"}
	key := &xpv2.LocalSecretKeySelector{LocalSecretReference: *ref, Key: "hub-token"}
	config := func(change func(*v1alpha1.ProviderConfigSpec)) client.Object {
		pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"}}
		pc.Spec.Registry.Host = credentialsHost
		pc.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{}
		change(&pc.Spec)
		return pc
	}
	none := config(func(*v1alpha1.ProviderConfigSpec) {})
	plain := func() *modelv1alpha1.Artifact { return credentialsArtifact(false) }
	with := func(a *modelv1alpha1.Artifact, change func(*modelv1alpha1.ArtifactParameters)) *modelv1alpha1.Artifact {
		change(&a.Spec.ForProvider)
		return a
	}
	type args struct {
		config client.Object
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
			copied := credentialsSecret("team-a", ref.Name, map[string]string{corev1.DockerConfigJsonKey: testregistry.DockerConfigFor(credentialsHost), "hub-token": "t", "ca.crt": "c"})
			copied.Type, copied.Labels = artifact.SecretTypeCredentials, artifact.SelectorLabelsForArtifact(tc.a.GetName())
			copied.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(tc.a, modelv1alpha1.ArtifactGroupVersionKind)}
			s, err := resolve(t, newKube(t, copied), tc.config, tc.a)
			if err == nil {
				// Each run starts with it.
				_, err = s.ConfigHash(t.Context())
			}
			if outcome.ReasonOf(err) != outcome.NotAllowed {
				t.Errorf("A run must not get the copy: %v", err)
			}
			if len(s.Registry.DockerConfig)+len(s.Registry.CA) > 0 {
				t.Error("The controller must not use the copy for the registry")
			}
			h, err := s.Hub(t.Context())
			if err == nil && len(h.Token)+len(h.CA) > 0 {
				t.Error("The controller must not use the copy for the Hub")
			}
		})
	}
}
