package artifact

import (
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// withOwnCredentials makes an Artifact that brings a Secret, and makes it ready.
func (w *world) withOwnCredentials(name string) (*modelv1alpha1.Artifact, *corev1.Secret) {
	w.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: w.namespace},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"` + w.host + `":{"username":"u","password":"p"}}}`},
	}
	w.create(secret)
	a := w.artifact(name)
	a.Spec.ForProvider.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "own"}
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	return a, secret
}

// remove deletes an object.
func (w *world) remove(o client.Object) {
	w.t.Helper()
	if err := w.client.Delete(w.t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeletionWithoutCredentialsNamesTheWayOut(t *testing.T) {
	w := startControllers(t)
	a, secret := w.withOwnCredentials("stuck")
	job := w.job(a, 1)
	w.remove(secret)
	w.remove(a)
	w.waitGone(job)
	w.deletePods()
	w.eventually("the way out", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		m := a.GetCondition(xpv2.TypeSynced).Message
		if !strings.Contains(m, `Secret "own"`) || !strings.Contains(m, "take Delete from spec.managementPolicies") {
			return m
		}
		return ""
	})

	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate}
	})
	w.waitGone(a)
	if _, err := w.registry.Resolve(t.Context(), "models/stuck", "v1"); err != nil {
		t.Errorf("the artifact should have been left in its registry: %v", err)
	}
}

func TestTerminatingNamespaceIsLetGo(t *testing.T) {
	w := startControllers(t)
	a, secret := w.withOwnCredentials("terminating")
	job := w.job(a, 1)
	w.remove(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	// What the namespace's deletion does, in an order that is hard.
	w.remove(secret)
	w.remove(a)
	w.waitGone(job)
	w.deletePods()
	w.waitGone(a)
	if _, err := w.registry.Resolve(t.Context(), "models/terminating", "v1"); err != nil {
		t.Errorf("the artifact should have been left in its registry: %v", err)
	}
}

func TestArtifactWithoutDeletePolicyStays(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("kept")
	a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate}
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.remove(a)
	w.waitGone(a)
	if _, err := w.registry.Resolve(t.Context(), "models/kept", "v1"); err != nil {
		t.Errorf("the artifact is gone from its registry: %v", err)
	}
}
