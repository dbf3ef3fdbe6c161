package settings

import (
	"context"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestCheckConfig(t *testing.T) {
	const (
		account  = `{"auths":{"` + credentialsHost + `":{"auth":"YTpi"}}}`
		accounts = `{"auths":{"` + credentialsHost + `":{"auth":"YTpi"},"` + credentialsHost + `/models/a":{"auth":"YTpj"},"` + credentialsHost + `/images":{"auth":"YTpk"}}}`
		other    = `{"auths":{"other.example.com":{"auth":"YTpi"}}}`
	)
	private, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	registrySecret := func(config string) client.Object {
		return credentialsSecret("system", "registry", map[string]string{corev1.DockerConfigJsonKey: config})
	}
	certs := credentialsSecret("system", "certs", map[string]string{"ca.crt": "one"})
	withKey := func(pc *v1alpha1.ClusterProviderConfig) {
		pc.Spec.Attestation = &v1alpha1.AttestationSpec{KeySecretRef: &v1alpha1.SigningKeySelector{SecretReference: xpv2.SecretReference{Namespace: "system", Name: "key"}}}
	}
	withHub := func(pc *v1alpha1.ClusterProviderConfig) {
		pc.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{TokenSecretRef: &xpv2.SecretKeySelector{
			SecretReference: xpv2.SecretReference{Namespace: "system", Name: "hub"}, Key: "token",
		}}
	}
	type want struct {
		Repositories []string
		Reason       outcome.Reason
	}
	cases := map[string]struct {
		reason  string
		change  func(*v1alpha1.ClusterProviderConfig)
		allowed []string
		secrets []client.Object
		want    want
	}{
		"OneAccount": {
			reason:  "A config with one account should have it checked",
			secrets: []client.Object{registrySecret(account), certs},
			want:    want{Repositories: []string{""}},
		},
		"Accounts": {
			reason: "Each account of the registry that the config's repositories may need should be checked",
			change: func(pc *v1alpha1.ClusterProviderConfig) {
				pc.Spec.Registry.RepositoryPrefix = "models/{namespace}/"
			},
			secrets: []client.Object{registrySecret(accounts), certs},
			want:    want{Repositories: []string{"", "models/a"}},
		},
		"OtherRegistry": {
			reason:  "Credentials for another registry only are of no use",
			secrets: []client.Object{registrySecret(other), certs},
			want:    want{Reason: outcome.Unauthorized},
		},
		"NoSecret": {
			reason:  "A missing Secret should be reported",
			secrets: []client.Object{certs},
			want:    want{Reason: outcome.ConfigMissing},
		},
		"NoToken": {
			reason:  "A missing key of the Hub's token should be reported",
			change:  withHub,
			secrets: []client.Object{registrySecret(account), certs, credentialsSecret("system", "hub", map[string]string{"other": "x"})},
			want:    want{Reason: outcome.ConfigMissing},
		},
		"NoSigningKey": {
			reason:  "A missing signing key should be reported",
			change:  withKey,
			secrets: []client.Object{registrySecret(account), certs},
			want:    want{Reason: outcome.ConfigMissing},
		},
		"BadSigningKey": {
			reason:  "A signing key that is none should be reported",
			change:  withKey,
			secrets: []client.Object{registrySecret(account), certs, credentialsSecret("system", "key", map[string]string{"cosign.key": "none"})},
			want:    want{Reason: outcome.ConfigInvalid},
		},
		"SigningKey": {
			reason:  "A config with a signing key should have its account checked",
			change:  withKey,
			secrets: []client.Object{registrySecret(account), certs, credentialsSecret("system", "key", map[string]string{"cosign.key": string(private)})},
			want:    want{Repositories: []string{""}},
		},
		"RunNamespace": {
			reason:  "A config whose runs execute where the provider allows them should have its account checked",
			allowed: []string{"runs", "more-runs"},
			change: func(pc *v1alpha1.ClusterProviderConfig) {
				pc.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "runs"}}
			},
			secrets: []client.Object{registrySecret(account), certs, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "runs"}}},
			want:    want{Repositories: []string{""}},
		},
		"MissingRunNamespace": {
			reason: "A config whose runs would execute in a namespace that does not exist should be reported",
			change: func(pc *v1alpha1.ClusterProviderConfig) {
				pc.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "runs"}}
			},
			secrets: []client.Object{registrySecret(account), certs},
			want:    want{Reason: outcome.ConfigMissing},
		},
		"TerminatingRunNamespace": {
			reason: "A config whose runs would execute in a namespace that is being deleted should be reported",
			change: func(pc *v1alpha1.ClusterProviderConfig) {
				pc.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "runs"}}
			},
			secrets: []client.Object{registrySecret(account), certs, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: "runs", DeletionTimestamp: ptr.To(metav1.Now()), Finalizers: []string{"kubernetes"},
			}}},
			want: want{Reason: outcome.ConfigMissing},
		},
		"OtherRunNamespace": {
			reason:  "A config whose runs would execute where the provider allows none should be reported",
			allowed: []string{"more-runs"},
			change: func(pc *v1alpha1.ClusterProviderConfig) {
				pc.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "runs"}}
			},
			secrets: []client.Object{registrySecret(account), certs},
			want:    want{Reason: outcome.NotAllowed},
		},
		"NoRunNamespace": {
			reason:  "A config that names no namespace where the provider allows runs in some only should be reported",
			allowed: []string{"runs"},
			secrets: []client.Object{registrySecret(account), certs},
			want:    want{Reason: outcome.NotAllowed},
		},
		"BadSelector": {
			reason: "A namespaceSelector that selects nothing by mistake should be reported",
			change: func(pc *v1alpha1.ClusterProviderConfig) {
				pc.Spec.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Contains"}}}
			},
			secrets: []client.Object{registrySecret(account), certs},
			want:    want{Reason: outcome.NotAllowed},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kube := newKube(t, tc.secrets...)
			reads := 0
			direct := interceptor.NewClient(kube, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				reads++
				return c.Get(ctx, key, o, opts...)
			}})
			pc := clusterConfig()
			if tc.change != nil {
				tc.change(pc)
			}
			r := &Resolver{Cached: kube, Direct: direct, Metadata: kube, Credentials: NewCredentialMemory(kube), RunNamespaces: tc.allowed}
			state, err := r.CheckConfig(t.Context(), pc, "")
			got := want{}
			for _, o := range state.Registries {
				got.Repositories = append(got.Repositories, o.Repository)
			}
			if err != nil {
				got.Reason = outcome.ReasonOf(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nCheckConfig: -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil {
				return
			}
			reads = 0
			if _, err := r.CheckConfig(t.Context(), pc, state.Version); err != nil || reads > 0 {
				t.Errorf("\n%s\nCheckConfig again: got %d reads of Secrets, %v, want none", tc.reason, reads, err)
			}
		})
	}
}

func TestSameAsConfig(t *testing.T) {
	const generation = 3
	refused := "registry " + credentialsHost + " refused the credentials, or they have no permission to read models/qwen3:v1: check them"
	missing := `Secret "registry" in namespace "system" does not exist: create it`
	unready := func(reason outcome.Reason, message string) xpv2.Condition {
		return xpv2.Condition{
			Type: xpv2.TypeReady, Status: corev1.ConditionFalse, Reason: xpv2.ConditionReason(reason), Message: message, ObservedGeneration: generation,
		}
	}
	says := `ClusterProviderConfig "default" is not Ready for the same reason`
	cases := map[string]struct {
		reason  string
		ready   xpv2.Condition
		own     bool
		failure outcome.Reason
		message string
		want    string
	}{
		"Account": {
			reason: "An account that the registry refuses both should be the config's matter",
			ready:  unready(outcome.Unauthorized, "registry "+credentialsHost+" refused the credentials"), failure: outcome.Unauthorized, message: refused, want: says,
		},
		"OwnAccount": {
			reason: "An account that the Artifact itself names should not be the config's matter",
			ready:  unready(outcome.Unauthorized, "registry "+credentialsHost+" refused the credentials"), own: true, failure: outcome.Unauthorized, message: refused,
		},
		"Secret": {
			reason: "A Secret that is missing for both should be the config's matter",
			ready:  unready(outcome.ConfigMissing, missing), own: true, failure: outcome.ConfigMissing, message: missing, want: says,
		},
		"OtherSecret": {
			reason: "Another Secret should not be the config's matter",
			ready:  unready(outcome.ConfigMissing, missing), failure: outcome.ConfigMissing, message: `Secret "own" in namespace "team-a" does not exist: create it`,
		},
		"Hub": {
			reason: "A Hub that is down should not be the registry's matter",
			ready:  unready(outcome.Unavailable, "cannot read /v2/ at registry "+credentialsHost), failure: outcome.Unavailable, message: "cannot reach the Hub",
		},
		"OtherReason": {
			reason: "Another reason should not be the config's matter",
			ready:  unready(outcome.Unavailable, "cannot read /v2/ at registry "+credentialsHost), failure: outcome.Unauthorized, message: refused,
		},
		"Ready": {
			reason: "Of a config that is Ready nothing should be said",
			ready:  xpv2.Available().WithObservedGeneration(generation), failure: outcome.Unauthorized, message: refused,
		},
		"Changed": {
			reason: "Of a config that has changed since nothing should be said",
			ready:  unready(outcome.Unauthorized, refused).WithObservedGeneration(generation - 1), failure: outcome.Unauthorized, message: refused,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pc := clusterConfig()
			pc.SetGeneration(generation)
			pc.SetConditions(tc.ready)
			s, err := resolve(t, newKube(t, credentialsSecret("system", "registry", map[string]string{corev1.DockerConfigJsonKey: "{}"}),
				credentialsSecret("team-a", "own", map[string]string{corev1.DockerConfigJsonKey: "{}"}),
				credentialsSecret("system", "certs", map[string]string{"ca.crt": "one"})), pc, credentialsArtifact(tc.own))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.SameAsConfig(tc.failure, tc.message); got != tc.want {
				t.Errorf("\n%s\nSameAsConfig: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
	if got := (Settings{}).SameAsConfig(outcome.ConfigMissing, missing); got != "" {
		t.Errorf("without a config: got %q, want nothing", got)
	}
}
