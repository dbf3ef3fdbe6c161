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
