package settings

import (
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestCredentialsGoToTheirHostOnly has Artifacts name another registry than that
// whose credentials the ClusterProviderConfig has.
func TestCredentialsGoToTheirHostOnly(t *testing.T) {
	const host, other = credentialsHost + ":5000", "other.example.com:5000"
	dockerConfig := []byte(`{"auths":{"` + host + `":{"username":"u","password":"p"}}}`)
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
	pc.Spec.Registry = v1alpha1.ClusterRegistryConfig{Host: host, PlainHTTP: true, Credentials: v1alpha1.ClusterRegistryCredentials{
		Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Name: "ours", Namespace: "system"},
	}}
	kube := fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).
		WithObjects(pc, credentialsSecret("system", "ours", map[string]string{corev1.DockerConfigJsonKey: string(dockerConfig)})).Build()
	resolver := &Resolver{Cached: kube, Direct: kube, Metadata: kube}
	observed := func(name string) func(*modelv1alpha1.Artifact) {
		return func(a *modelv1alpha1.Artifact) {
			a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
			a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
			a.SetAnnotations(map[string]string{"crossplane.io/external-name": name})
		}
	}
	cases := map[string]struct {
		reason string
		change func(*modelv1alpha1.Artifact)
		want   registry.Options
	}{
		"Own":       {reason: "Its own registry gets them.", change: func(*modelv1alpha1.Artifact) {}, want: registry.Options{Pushes: true, Host: host, PlainHTTP: true, DockerConfig: dockerConfig}},
		"Target":    {reason: "Another target does not.", change: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Registry = other }, want: registry.Options{Pushes: true, Host: other}},
		"Observed":  {reason: "Nor does what is only observed.", change: observed(other + "/models/x:v1"), want: registry.Options{Host: other}},
		"OtherPort": {reason: "Another port is another registry.", change: observed(host + "0/models/x:v1"), want: registry.Options{Host: host + "0"}},
		"UserInfo":  {reason: "What only looks like the registry names none: the config's is asked for nothing.", change: observed(host + "@evil.example.com/models/x:v1"), want: registry.Options{Host: host, PlainHTTP: true, DockerConfig: dockerConfig}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := credentialsArtifact(false)
			a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "shared"}
			tc.change(a)
			s, err := resolver.Resolve(t.Context(), a)
			got := s.Registry
			got.Repository = "" // It is another matter.
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v: -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}
