package settings

import (
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestCredentialsGoToTheirHostOnly checks that no registry but the config's gets its
// credentials, whatever an Artifact names.
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
		"Own":       {reason: "The config's registry should get the config's credentials.", change: func(*modelv1alpha1.Artifact) {}, want: registry.Options{Pushes: true, Host: host, PlainHTTP: true, DockerConfig: dockerConfig}},
		"Target":    {reason: "A target in another registry must not get the config's credentials.", change: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Registry = other }, want: registry.Options{Pushes: true, Host: other}},
		"Observed":  {reason: "An observed artifact in another registry must not get the config's credentials.", change: observed(other + "/models/x:v1"), want: registry.Options{Host: other}},
		"OtherPort": {reason: "A registry at another port must not get the config's credentials.", change: observed(host + "0/models/x:v1"), want: registry.Options{Host: host + "0"}},
		"UserInfo":  {reason: "An external name with user information should be ignored, since it is no reference.", change: observed(host + "@evil.example.com/models/x:v1"), want: registry.Options{Host: host, PlainHTTP: true, DockerConfig: dockerConfig}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := credentialsArtifact(false)
			a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "shared"}
			tc.change(a)
			s, err := resolver.Resolve(t.Context(), a)
			got := s.Registry
			got.Repository = "" // Not tested here.
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v: -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}

func TestRepositoryPrefix(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*modelv1alpha1.Artifact)
		says   []string
	}{
		"OtherNamespace": {
			reason: "A tenant must not push to repositories of another.",
			change: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Repository = "models/team-b/x" },
			says:   []string{"models/team-b/x", "models/team-a/"},
		},
		"LongerName": {
			reason: "A namespace whose name starts with the tenant's should be another one.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.Repository = "models/team-a0/x"
			},
			says: []string{"models/team-a/"},
		},
		"PrefixWithin": {
			reason: "A prefix should match at the start only.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.Repository = "x/models/team-a/x"
			},
			says: []string{"start with"},
		},
		"OtherRegistry": {
			reason: "A prefix should admit the config's registry only.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.Registry = "registry.invalid:5000"
				a.Spec.ForProvider.Target.Repository = "models/team-a/x"
			},
			says: []string{"registry.invalid:5000", credentialsHost},
		},
		"ObserveOther": {
			reason: "A repository that must not be pushed to must not be observed by its external name either.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
				a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
				a.SetAnnotations(map[string]string{"crossplane.io/external-name": credentialsHost + "/models/team-b/x:v1"})
			},
			says: []string{"models/team-b/x"},
		},
		"ObserveTarget": {
			reason: "An observed Artifact must not have a target outside of the prefix, which deletion could reach.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionDelete}
				a.SetAnnotations(map[string]string{"crossplane.io/external-name": credentialsHost + "/models/team-a/x:v1"})
				a.Spec.ForProvider.Target.Repository = "models/team-b/x"
			},
			says: []string{"models/team-b/x"},
		},
		"ObserveElsewhere": {
			reason: "An artifact of another registry must not be observed.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
				a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{}
				a.SetAnnotations(map[string]string{"crossplane.io/external-name": "registry.invalid/models/team-a/x:v1"})
			},
			says: []string{"registry.invalid"},
		},
		"Within": {
			reason: "A repository that starts with the prefix should be admitted.",
			change: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Repository = "models/team-a/x" },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := credentialsArtifact(false)
			tc.change(a)
			pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
			pc.Spec.Registry.Host, pc.Spec.Registry.RepositoryPrefix = credentialsHost, "models/{namespace}/"
			_, err := resolve(t, newKube(t), pc, a)
			expectRefused(t, tc.reason, err, tc.says)
		})
	}
}

// expectRefused checks that an error has reason NotAllowed and names all parts, or
// that there is no error where there are no parts.
func expectRefused(t *testing.T, reason string, err error, says []string) {
	t.Helper()
	if (err == nil) != (len(says) == 0) || (err != nil && outcome.ReasonOf(err) != outcome.NotAllowed) {
		t.Errorf("\n%s\nResolve(...): %v", reason, err)
	}
	for _, part := range says {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("\n%s\nResolve(...): want %q to be named, got %v", reason, part, err)
		}
	}
}

func TestNamespaceSelector(t *testing.T) {
	cases := map[string]struct {
		reason   string
		selector *metav1.LabelSelector
		says     []string
	}{
		"None":    {reason: "A config without a selector should admit all namespaces."},
		"Selects": {reason: "A namespace with the selector's labels should be admitted.", selector: &metav1.LabelSelector{MatchLabels: map[string]string{"models": "true"}}},
		"Other":   {reason: "A namespace without the selector's labels must not be admitted.", selector: &metav1.LabelSelector{MatchLabels: map[string]string{"models": "false"}}, says: []string{`"team-a"`, "namespaceSelector"}},
		"Invalid": {reason: "A selector that cannot be parsed must admit no namespace.", selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "models", Operator: "Like"}}}, says: []string{"invalid namespaceSelector"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
			pc.Spec.Registry.Host, pc.Spec.NamespaceSelector = credentialsHost, tc.selector
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a", Labels: map[string]string{"models": "true"}}}
			_, err := resolve(t, newKube(t, ns), pc, credentialsArtifact(false))
			expectRefused(t, tc.reason, err, tc.says)
		})
	}
}

func TestConnectionSecret(t *testing.T) {
	a := credentialsArtifact(false)
	a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: "details"}
	theCopy := credentialsSecret("team-a", "details", nil)
	theCopy.Labels = artifact.SelectorLabelsForArtifact("other")
	theCopy.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(a, modelv1alpha1.ArtifactGroupVersionKind)}
	cases := map[string]struct {
		reason string
		there  []client.Object
		says   []string
	}{
		"None":  {reason: "A connection Secret that does not exist yet should be admitted."},
		"Plain": {reason: "A Secret that somebody created should be admitted for connection details.", there: []client.Object{credentialsSecret("team-a", "details", nil)}},
		"Copy":  {reason: "A Secret that the provider created for a run must not get connection details.", there: []client.Object{theCopy}, says: []string{`"details"`, "spec.writeConnectionSecretToRef"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"}}
			pc.Spec.Registry.Host = credentialsHost
			_, err := resolve(t, newKube(t, tc.there...), pc, a.DeepCopy())
			expectRefused(t, tc.reason, err, tc.says)
		})
	}
}
