package main

import (
	"fmt"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestRestricted checks that the roles for a provider that is restricted to a namespace
// for runs are enough for the life of an Artifact, and that it says which are missing.
func TestRestricted(t *testing.T) {
	cases := map[string]struct {
		reason     string
		file       string
		crossplane bool
	}{
		"UnderCrossplane":   {reason: "Crossplane's part and that of examples/install should be enough together.", file: "rbac-run-namespace.yaml", crossplane: true},
		"WithoutCrossplane": {reason: "The roles for a cluster without Crossplane should be enough.", file: "without-crossplane-run-namespace.yaml"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			p := newProvider(t)
			runs := apiserver.Namespace(t, p.kube)
			roles := accesstest.InstalledRoles(t, tc.file)
			p.account.Grant(t, "installed", roles.Everywhere)
			if tc.crossplane {
				p.account.Grant(t, "crossplane", accesstest.Crossplane(t))
			}
			p.start(nil, "--run-namespace="+runs, "--worker-image=worker:test")
			p.waitLog(fmt.Sprintf(`get, list, watch pods in namespace \"%s\"`, runs))
			p.waitLog("examples/install/rbac-run-namespace.yaml")
			p.account.GrantIn(t, runs, "installed", roles.Runs)
			p.waitLog("The provider has all permissions now")

			refused := p.artifact("refused")
			p.eventually("refusal", func() string {
				if err := p.kube.Get(t.Context(), client.ObjectKeyFromObject(refused), refused); err != nil {
					return err.Error()
				}
				if c := refused.GetCondition(xpv2.TypeReady); string(c.Reason) != string(outcome.NotAllowed) {
					return fmt.Sprintf("Ready: %s %s", c.Reason, c.Message)
				}
				return ""
			})
			p.livesIn(refused, runs)
		})
	}
}

// livesIn has an Artifact that was refused use a config whose runs execute in a namespace,
// waits for its Job, and deletes it.
func (p *provider) livesIn(a *modelv1alpha1.Artifact, runs string) {
	p.t.Helper()
	own := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: a.GetName(), Namespace: a.GetNamespace()}}
	if err := p.kube.Get(p.t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
		p.t.Fatal(err)
	}
	if err := p.kube.Create(p.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: a.GetNamespace()}, StringData: map[string]string{"token": "t"},
	}); err != nil {
		p.t.Fatal(err)
	}
	shared := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: a.GetNamespace()}}
	shared.Spec.Registry = v1alpha1.ClusterRegistryConfig{
		Host: own.Spec.Registry.Host, PlainHTTP: true,
		Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	shared.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{TokenSecretRef: &xpv2.SecretKeySelector{
		SecretReference: xpv2.SecretReference{Namespace: a.GetNamespace(), Name: "hub"}, Key: "token",
	}}
	shared.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: runs}}
	if err := p.kube.Create(p.t.Context(), shared); err != nil {
		p.t.Fatal(err)
	}
	p.eventually("another config", func() string {
		if err := p.kube.Get(p.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: shared.GetName()}
		// Its runs have a workspace.
		a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
		if err := p.kube.Update(p.t.Context(), a); err != nil {
			return err.Error()
		}
		return ""
	})
	p.eventually("Job", func() string {
		jobs, secrets := &batchv1.JobList{}, &corev1.SecretList{}
		if err := p.kube.List(p.t.Context(), jobs, client.InNamespace(runs)); err != nil || len(jobs.Items) != 1 {
			_ = p.kube.Get(p.t.Context(), client.ObjectKeyFromObject(a), a)
			return fmt.Sprintf("%d Jobs, %v: %v", len(jobs.Items), err, a.Status.Conditions)
		}
		if err := p.kube.List(p.t.Context(), secrets, client.InNamespace(runs), client.HasLabels{artifact.LabelArtifactUID}); err != nil || len(secrets.Items) != 1 || !metav1.IsControlledBy(&secrets.Items[0], &jobs.Items[0]) {
			return fmt.Sprintf("%d Secrets, %v", len(secrets.Items), err)
		}
		return ""
	})
	if err := p.kube.Delete(p.t.Context(), a); err != nil {
		p.t.Fatal(err)
	}
	p.eventually("Artifact gone", func() string {
		claims := &corev1.PersistentVolumeClaimList{}
		if err := p.kube.List(p.t.Context(), claims, client.InNamespace(runs)); err != nil {
			return err.Error()
		}
		for i := range claims.Items {
			// Nobody plays the controller that protects claims in use.
			claims.Items[i].SetFinalizers(nil)
			if err := client.IgnoreNotFound(p.kube.Update(p.t.Context(), &claims.Items[i])); err != nil {
				return err.Error()
			}
		}
		if err := p.kube.Get(p.t.Context(), client.ObjectKeyFromObject(a), a); err == nil {
			return fmt.Sprint("it is there: ", a.Status.Conditions)
		}
		return ""
	})
}
