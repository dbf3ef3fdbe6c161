package artifact

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestPipelineOfConfig has a ProviderConfig choose the pipeline of Artifacts that
// name none, and changes its mind.
func TestPipelineOfConfig(t *testing.T) {
	const kit, stream = modelv1alpha1.PipelineKit, modelv1alpha1.PipelineStream
	w := startControllers(t)
	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "streams", Namespace: w.namespace}}
	pc.Spec.Registry = v1alpha1.RegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	pc.Spec.Job = &v1alpha1.JobConfig{Pipeline: stream}
	w.create(pc)
	unset := func(name string) *modelv1alpha1.Artifact {
		a := w.artifact(name)
		a.Spec.ForProvider.Pipeline = ""
		a.Spec.ProviderConfigReference.Name = pc.GetName()
		w.create(a)
		// For artifact.RunHash: the test does not resolve the ProviderConfig.
		a.Effective.Pipeline = pc.Spec.Job.Pipeline
		return a
	}
	made := func(a *modelv1alpha1.Artifact, want modelv1alpha1.PipelineType, container string) {
		t.Helper()
		if got := w.job(a, 1).Spec.Template.Spec.Containers[0].Name; got != container {
			t.Errorf("%s: want its run in container %q, got %q", a.GetName(), container, got)
		}
		w.succeed(a, 1, a.GetName())
		w.waitReady(a, corev1.ConditionTrue, "Available")
		if got := a.Status.AtProvider.Pipeline; got != want {
			t.Errorf("%s: want pipeline %s in the status, got %q", a.GetName(), want, got)
		}
		w.remove(w.job(a, 1))
		w.deletePods()
	}

	first := unset("first")
	made(first, stream, "worker")

	w.eventually("another default", func() string {
		if err := w.get(pc); err != nil {
			return err.Error()
		}
		pc.Spec.Job.Pipeline = kit
		if err := w.client.Update(t.Context(), pc); err != nil {
			return err.Error()
		}
		return ""
	})
	second := unset("second")
	made(second, kit, "kit")
	w.stays(first, "Another default should not rebuild an artifact that exists")
	w.waitReady(first, corev1.ConditionTrue, "Available")
	if got := first.Status.AtProvider.Pipeline; got != stream {
		t.Errorf("want the artifact that exists to keep its pipeline, got %q", got)
	}
}
