package settings

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	fakeidentity "github.com/crossplane-contrib/provider-kitops/test/fakes/identity"
)

// TestInjectedIdentity resolves Artifacts of a config whose registry is accessed by an
// identity of its cloud.
func TestInjectedIdentity(t *testing.T) {
	clouds := fakeidentity.New(fakeidentity.NewIssuer("https://oidc.example.com"), "system:serviceaccount:crossplane-system:provider-kitops", time.Now)
	_, environment := fakeidentity.Workloads["IRSA"](t, clouds)
	identities := identity.NewSources(identity.ReadEnvironment(func(n string) string { return environment[n] }), identity.Options{Transport: clouds})

	type want struct {
		Reason  outcome.Reason
		Account bool   // The registry would accept the account.
		Run     string // What a run uses for its registry.
		Source  bool   // A run uses it for its source, too.
	}
	oci := func(reference string) func(*modelv1alpha1.Artifact) {
		return func(a *modelv1alpha1.Artifact) {
			a.Spec.ForProvider.Source = nil
			a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: reference}}
		}
	}
	digest := "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	cases := map[string]struct {
		reason   string
		config   func(*v1alpha1.ClusterProviderConfigSpec)
		artifact func(*modelv1alpha1.Artifact)
		want     want
	}{
		"Isolated": {reason: "The provider and the run have identities of their own.", want: want{Account: true, Run: "aws"}},
		"NoNamespace": {
			reason: "No run in a tenant's namespace has an identity of the administrator's, whatever the API server let pass.",
			config: func(s *v1alpha1.ClusterProviderConfigSpec) { s.Job.Namespace = "" },
			want:   want{Reason: outcome.NotAllowed},
		},
		"OtherCloud": {
			reason: "The provider may have no identity of the registry's cloud.",
			config: func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.Host = fakeidentity.ContainerRegistry },
			want:   want{Reason: outcome.ConfigInvalid},
		},
		"OtherHost": {
			reason: "A registry may be none of a cloud's.",
			config: func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.Host = "registry.example.com" },
			want:   want{Reason: outcome.ConfigInvalid},
		},
		"OtherTarget": {
			reason:   "A registry that the Artifact names gets no identity of the config's.",
			artifact: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Registry = "registry.example.com" },
		},
		"OwnSource": {
			reason: "A source below the namespace's prefix is read with the identity.", artifact: oci(fakeidentity.PrivateECR + "/models/team-a/base" + digest),
			want: want{Account: true, Run: "aws", Source: true},
		},
		"OthersSource": {
			reason: "A source of another tenant is not.", artifact: oci(fakeidentity.PrivateECR + "/models/team-b/base" + digest),
			want: want{Account: true, Run: "aws"},
		},
		"ForeignSource": {
			reason: "Nor is one of another registry.", artifact: oci("registry.example.com/models/team-a/base" + digest),
			want: want{Account: true, Run: "aws"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.ClusterProviderConfig{Spec: v1alpha1.ClusterProviderConfigSpec{
				Registry: v1alpha1.ClusterRegistryConfig{
					Host:        fakeidentity.PrivateECR,
					Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceInjectedIdentity},
				},
				Job: &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "kitops-runs"}},
			}}
			c.Name = "shared"
			a := credentialsArtifact(false)
			a.Spec.ForProvider.Target.Repository = "models/team-a/qwen3"
			a.Spec.ProviderConfigReference = (&xpv2.ProviderConfigReference{Kind: v1alpha1.ClusterProviderConfigGroupVersionKind.Kind, Name: "shared"})
			if tc.artifact != nil {
				tc.artifact(a)
			}
			if name != "OtherTarget" {
				c.Spec.Registry.RepositoryPrefix = "models/{namespace}/"
			}
			if tc.config != nil {
				tc.config(&c.Spec)
			}
			kube := fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).WithObjects(c, a).Build()
			s, err := (&Resolver{Cached: kube, Direct: kube, Metadata: kube, Identities: identities}).Resolve(t.Context(), a)
			if err != nil {
				if got := outcome.ReasonOf(err); got != tc.want.Reason {
					t.Errorf("\n%s\nResolve(...): want reason %q, got %v", tc.reason, tc.want.Reason, err)
				}
				return
			}
			got := want{Run: s.Effective.RegistryIdentity, Source: s.Effective.Source != nil && s.Effective.Source.Identity}
			if s.Registry.Credential != nil {
				account, err := s.Registry.Credential(t.Context())
				got.Account = err == nil && account.Username == "AWS" && clouds.Accepts(account.Password)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s", tc.reason, diff)
			}
			data, err := s.SecretData(t.Context())
			if err != nil || len(data) > 0 {
				t.Errorf("\n%s\nSecretData(...): want no secret for a run, got %d values, %v", tc.reason, len(data), err)
			}
		})
	}
}
