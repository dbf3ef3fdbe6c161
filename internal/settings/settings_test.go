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
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

const credentialsHost = "registry.example.com"

// credentialsArtifact returns an Artifact that is pushed to models/qwen3, with own
// credentials or without.
func credentialsArtifact(own bool) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "qwen3"},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{ManagementPolicies: xpv2.ManagementPolicies{xpv2.ManagementActionAll}},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Target: &modelv1alpha1.Target{Repository: "models/qwen3"},
			},
		},
	}
	if own {
		a.Spec.ForProvider.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "own"}
	}
	return a
}

func credentialsSecret(namespace, name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}

// namespacedConfig and clusterConfig name the Secrets registry and certs.
func namespacedConfig() *v1alpha1.ProviderConfig {
	return &v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"},
		Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
			Host:          credentialsHost,
			Credentials:   v1alpha1.RegistryCredentials{SecretRef: &xpv2.LocalSecretReference{Name: "registry"}},
			CertSecretRef: &xpv2.LocalSecretReference{Name: "certs"},
		}},
	}
}

func clusterConfig() *v1alpha1.ClusterProviderConfig {
	return &v1alpha1.ClusterProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.ClusterProviderConfigSpec{Registry: v1alpha1.ClusterRegistryConfig{
			Host:          credentialsHost,
			Credentials:   v1alpha1.ClusterRegistryCredentials{SecretRef: &xpv2.SecretReference{Namespace: "system", Name: "registry"}},
			CertSecretRef: &xpv2.SecretReference{Namespace: "system", Name: "certs"},
		}},
	}
}

// resolve creates a ProviderConfig of either kind and resolves the settings of an
// Artifact that uses it.
func resolve(t *testing.T, kube client.Client, config client.Object, a *modelv1alpha1.Artifact) (Settings, error) {
	t.Helper()
	kind := v1alpha1.ProviderConfigGroupVersionKind.Kind
	if _, ok := config.(*v1alpha1.ClusterProviderConfig); ok {
		kind = v1alpha1.ClusterProviderConfigGroupVersionKind.Kind
	}
	config.SetResourceVersion("") // An earlier case may have created it elsewhere.
	if err := kube.Create(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: kind, Name: config.GetName()}
	images := Images{Kit: "kit:default", Worker: "worker:default"}
	return (&Resolver{Cached: kube, Direct: kube, Metadata: kube, Images: images}).Resolve(t.Context(), a)
}

// newKube returns an API server with objects.
func newKube(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).WithObjects(objects...).Build()
}

func TestResolve(t *testing.T) {
	type args struct {
		config client.Object
		change func(*modelv1alpha1.Artifact)
	}
	type want struct {
		Host, Repository, ConfigHost string
		PlainHTTP, Pushes, Adopts    bool
		AdoptsAnyKey                 bool
		KitImage, WorkerImage        string
		Registry, HubEndpoint        string
		Pipeline                     v1alpha1.PipelineType
	}
	unchanged := func(*modelv1alpha1.Artifact) {}
	observed := func(a *modelv1alpha1.Artifact) {
		a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionDelete}
		a.SetAnnotations(map[string]string{"crossplane.io/external-name": "other.example.com/models/x:v1"})
	}
	shared := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{artifact.AnnotationAdopt: "true"}}}
	shared.Spec.Registry.Host, shared.Spec.Registry.PlainHTTP = credentialsHost, true
	shared.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: "https://hub.example.com"}
	shared.Spec.Job = &v1alpha1.ClusterJobConfig{KitImage: "kit:config", WorkerImage: "worker:config"}
	shared.Spec.Job.Pipeline = v1alpha1.PipelineStream
	mine := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "default"}}
	mine.Spec.Registry.Host = credentialsHost
	lost := mine.DeepCopy()
	lost.SetAnnotations(map[string]string{artifact.AnnotationAdopt: "any-key"})
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"ProviderConfig": {
			reason: "The config's registry and the provider's images should be the defaults.",
			args:   args{config: mine, change: unchanged},
			want:   want{Host: credentialsHost, Repository: "models/qwen3", ConfigHost: credentialsHost, Pushes: true, KitImage: "kit:default", WorkerImage: "worker:default", Registry: credentialsHost},
		},
		"ClusterProviderConfig": {
			reason: "What an administrator sets should replace the provider's defaults.",
			args:   args{config: shared, change: unchanged},
			want: want{
				Host: credentialsHost, Repository: "models/qwen3", ConfigHost: credentialsHost, PlainHTTP: true, Pushes: true, Adopts: true,
				KitImage: "kit:config", WorkerImage: "worker:config", Registry: credentialsHost, HubEndpoint: "https://hub.example.com",
				Pipeline: v1alpha1.PipelineStream,
			},
		},
		"AnyKey": {
			reason: "A tenant's ProviderConfig must not have the provider sign what no trusted key has signed.",
			args:   args{config: lost, change: unchanged},
			want:   want{Host: credentialsHost, Repository: "models/qwen3", ConfigHost: credentialsHost, Pushes: true, KitImage: "kit:default", WorkerImage: "worker:default", Registry: credentialsHost},
		},
		"OtherRegistry": {
			reason: "The Artifact's registry should replace the config's, whose PlainHTTP does not apply to it.",
			args:   args{config: shared, change: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Registry = "other.example.com" }},
			want: want{
				Host: "other.example.com", Repository: "models/qwen3", ConfigHost: credentialsHost, Pushes: true, Adopts: true,
				KitImage: "kit:config", WorkerImage: "worker:config", Registry: "other.example.com", HubEndpoint: "https://hub.example.com",
				Pipeline: v1alpha1.PipelineStream,
			},
		},
		"Observed": {
			reason: "An Artifact that is only observed should be where its external name says, and get no token to push.",
			args:   args{config: mine, change: observed},
			want:   want{Host: "other.example.com", Repository: "models/x", ConfigHost: credentialsHost, KitImage: "kit:default", WorkerImage: "worker:default", Registry: "other.example.com"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := credentialsArtifact(false)
			tc.args.change(a)
			s, err := resolve(t, newKube(t), tc.args.config, a)
			if err != nil {
				t.Fatal(err)
			}
			got := want{
				Host: s.Registry.Host, Repository: s.Registry.Repository, ConfigHost: s.ConfigHost,
				PlainHTTP: s.Registry.PlainHTTP, Pushes: s.Registry.Pushes, Adopts: s.Adopts, AdoptsAnyKey: s.AdoptsAnyKey,
				KitImage: s.KitImage, WorkerImage: s.Effective.WorkerImage,
				Registry: s.Effective.Registry, HubEndpoint: s.Effective.HubEndpoint, Pipeline: s.Effective.Pipeline,
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestResolveWithoutConfig(t *testing.T) {
	cases := map[string]struct {
		reason string
		ref    *xpv2.ProviderConfigReference
		want   string
	}{
		"None":    {reason: "An Artifact must name a ProviderConfig.", want: "write spec.providerConfigRef"},
		"Missing": {reason: "A ProviderConfig that does not exist should be named.", ref: &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "nowhere"}, want: `ProviderConfig "nowhere" does not exist`},
		"Cluster": {reason: "A ClusterProviderConfig that does not exist should be named.", ref: &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "nowhere"}, want: `ClusterProviderConfig "nowhere" does not exist`},
		"Kind":    {reason: "Another kind should be refused with the two that exist.", ref: &xpv2.ProviderConfigReference{Kind: "ConfigMap", Name: "default"}, want: "write ProviderConfig or ClusterProviderConfig"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, kube := credentialsArtifact(false), newKube(t)
			a.Spec.ProviderConfigReference = tc.ref
			_, err := (&Resolver{Cached: kube, Direct: kube, Metadata: kube}).Resolve(t.Context(), a)
			if outcome.ReasonOf(err) != outcome.ConfigMissing || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nResolve(...): want ConfigMissing with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// TestHubTokenIsBound checks that a token is not sent to a Hub of a tenant's choice.
func TestHubTokenIsBound(t *testing.T) {
	const own = "https://hub.example.com:8443"
	token := func(name string) *modelv1alpha1.Artifact {
		a := credentialsArtifact(false)
		a.Spec.ForProvider.Source = &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model"}}
		if name != "" {
			a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: name, Key: "password"}
		}
		return a
	}
	tenants := func(endpoint string, token bool) *v1alpha1.ProviderConfig {
		pc := namespacedConfig()
		pc.Spec.Registry.Credentials, pc.Spec.Registry.CertSecretRef = v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone}, nil
		pc.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(endpoint)}
		if token {
			pc.Spec.HuggingFace.TokenSecretRef = &xpv2.LocalSecretKeySelector{LocalSecretReference: xpv2.LocalSecretReference{Name: "db"}, Key: "password"}
		}
		return pc
	}
	administrators := isolatedConfig()
	administrators.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: own}
	cases := map[string]struct {
		reason string
		config client.Object
		secret string // That the Artifact names; empty for none.
		hosts  string
		kind   corev1.SecretType
		want   outcome.Reason
		mounts bool // The run gets the list of hosts.
	}{
		"Public":        {reason: "The public Hub is for everybody's tokens.", config: tenants("", false), secret: "db"},
		"PublicNamed":   {reason: "The public Hub may be named.", config: tenants("https://huggingface.co/", false), secret: "db"},
		"Tenants":       {reason: "A Secret that lists no host should not be sent to a tenant's Hub.", config: tenants(own, false), secret: "db", want: outcome.NotAllowed, mounts: true},
		"TenantsConfig": {reason: "Nor should one that the tenant's config names.", config: tenants(own, true), want: outcome.NotAllowed, mounts: true},
		"Listed":        {reason: "A Secret that lists the Hub should be sent there.", config: tenants(own, true), hosts: "hub.example.com:8443", mounts: true},
		"Administrator": {reason: "The administrator's Hub is trusted with what Artifacts name.", config: administrators, secret: "db"},
		"ServiceToken":  {reason: "A service account's token is for the API server alone.", config: administrators, secret: "db", kind: corev1.SecretTypeServiceAccountToken, want: outcome.NotAllowed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			secret := credentialsSecret("team-a", "db", map[string]string{"password": "p", "host": tc.hosts})
			secret.Type = tc.kind
			s, err := resolve(t, newKube(t, secret), tc.config, token(tc.secret))
			if err != nil {
				t.Fatal(err)
			}
			_, run := s.ConfigHash(t.Context())
			_, controller := s.Hub(t.Context())
			for what, err := range map[string]error{"ConfigHash()": run, "Hub()": controller} {
				if (err != nil) != (tc.want != "") || err != nil && outcome.ReasonOf(err) != tc.want {
					t.Errorf("\n%s\n%s: want reason %q, got %v", tc.reason, what, tc.want, err)
				}
			}
			if mounts := s.Effective.HubTokenHosts != nil; mounts != tc.mounts {
				t.Errorf("\n%s\nwant the run to get the list of hosts: %t, got %t", tc.reason, tc.mounts, mounts)
			}
		})
	}
}
