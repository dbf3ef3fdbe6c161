package e2e

import (
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestNamespaceTerminates deletes a namespace with Artifacts in every state,
// whose ProviderConfig and Secrets go with it.
func TestNamespaceTerminates(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		t.Fatal(err)
	}
	host, user := local.Cluster.AuthRegistryHost(), local.Cluster.RegistryUser()
	n.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "registry", Namespace: n.namespace},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"` + host + `":{"username":"` + user + `","password":"` + password + `"}}}`},
	})
	n.create(&v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: n.namespace},
		Spec: v1alpha1.ProviderConfigSpec{
			Registry: v1alpha1.RegistryConfig{
				Host: v1alpha1.RegistryHost(host), PlainHTTP: true,
				Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: "registry"}},
			},
			HuggingFace: &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(local.Cluster.HubURL())},
		},
	})
	own := &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "own"}
	states := map[string]struct {
		reason string
		change func(*modelv1alpha1.Artifact)
		ready  corev1.ConditionStatus
		want   string
	}{
		"ready": {reason: "It is there.", change: func(*modelv1alpha1.Artifact) {}, ready: corev1.ConditionTrue, want: "Available"},
		"failed": {
			reason: "It failed for good.",
			change: func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Model = "nobody/nothing" },
			ready:  corev1.ConditionFalse, want: string(outcome.NotFound),
		},
		"begun": {
			reason: "Its run does not start.",
			change: func(a *modelv1alpha1.Artifact) { withJob(a, v1alpha1.JobSettings{NodeSelector: nowhere(n)}) },
			ready:  corev1.ConditionFalse, want: string(outcome.Unschedulable),
		},
		"refused": {
			reason: "It cannot even be begun.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = tokenRef("nowhere")
			},
			ready: corev1.ConditionFalse, want: string(outcome.ConfigMissing),
		},
		"unconfigured": {
			reason: "Its config does not exist.",
			change: func(a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Name = "nowhere" },
			ready:  corev1.ConditionFalse, want: string(outcome.ConfigMissing),
		},
		"observed": {
			reason: "It is looked at only, and not there.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
			},
			ready: corev1.ConditionFalse, want: string(outcome.NotFound),
		},
	}
	artifacts := map[string]*modelv1alpha1.Artifact{}
	for name, s := range states {
		a := n.artifact(name, modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
		a.Spec.ProviderConfigReference = own.DeepCopy()
		s.change(a)
		n.create(a)
		artifacts[name] = a
	}
	for name, s := range states {
		n.waitReady(artifacts[name], s.ready, s.want)
	}

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.namespace}}
	if err := local.Client.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	n.eventually("namespace gone", func() string {
		if err := local.Client.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); client.IgnoreNotFound(err) != nil {
			return err.Error()
		} else if err != nil {
			return ""
		}
		left := ""
		for name, a := range artifacts {
			if local.Client.Get(t.Context(), client.ObjectKeyFromObject(a), a) == nil {
				left += states[name].reason + " " + a.GetCondition(xpv2.TypeSynced).Message + "\n"
			}
		}
		return "it is still there: " + left
	})
}
