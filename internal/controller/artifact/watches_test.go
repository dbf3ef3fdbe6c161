package artifact

import (
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// dockerConfig returns a Secret with credentials for the test's registry.
func (w *world) dockerConfig(name, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"u","password":%q}}}`, w.host, password)},
	}
}

// waitSynced waits until the Synced condition's message has this text.
func (w *world) waitSynced(a *modelv1alpha1.Artifact, text string) {
	w.t.Helper()
	w.eventually("Synced says "+text, func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetCondition(xpv2.TypeSynced).Message; !strings.Contains(got, text) {
			return got
		}
		return ""
	})
}

// useSecret makes a Secret, has the ProviderConfig name it, and returns that.
func (w *world) useSecret(secret *corev1.Secret) *v1alpha1.ProviderConfig {
	w.t.Helper()
	w.create(secret)
	return w.updateConfig(func(s *v1alpha1.ProviderConfigSpec) {
		s.Registry.Credentials = v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: secret.GetName()}}
	})
}

func TestChangedSecretStartsATry(t *testing.T) {
	w := startControllers(t)
	secret := w.dockerConfig("registry", "wrong")
	pc := w.useSecret(secret)
	a := w.artifact("rotated")
	w.create(a)
	w.fail(a, 1, outcome.Unauthorized)

	secret.Data = w.dockerConfig("registry", "right").Data
	if err := w.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.waitNoJob()
	w.deletePods()
	w.fail(a, 2, outcome.Unauthorized)

	// So does a ProviderConfig that has changed.
	w.eventually("update of the ProviderConfig", func() string {
		if err := w.get(pc); err != nil {
			return err.Error()
		}
		pc.Spec.Job = &v1alpha1.JobConfig{JobSettings: v1alpha1.JobSettings{Labels: map[string]string{"team": "research"}}}
		if err := w.client.Update(t.Context(), pc); err != nil {
			return err.Error()
		}
		return ""
	})
	w.waitNoJob()
	w.deletePods()
	if job := w.job(a, 3); job.GetLabels()["team"] != "research" {
		t.Errorf("labels: got %v", job.GetLabels())
	}
	w.succeed(a, 3, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestMissingSecretIsWaitedFor(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("waits")
	a.Spec.ForProvider.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "later"}
	w.create(a)
	w.waitSynced(a, `Secret "later"`)
	w.create(w.dockerConfig("later", "p"))
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestEventsAreToldOnce(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("told")
	w.create(a)
	w.fail(a, 1, outcome.Gated)
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitNoJob()
	w.deletePods()
	digest := w.succeed(a, 2, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	for i := range 3 {
		w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", fmt.Sprint(i)) })
	}

	want := map[string]string{
		"RunStarted/1": "Run 1 started as Job",
		"RunFailed/1":  "Run 1 failed: Gated: that is why",
		"RunStarted/2": "Run 2 started as Job",
		"Pushed/1":     "Run 2 pushed " + w.host + "/models/told:v1 with digest " + digest,
	}
	w.eventually("events", func() string {
		list := &corev1.EventList{}
		if err := w.client.List(t.Context(), list); err != nil {
			return err.Error()
		}
		seen, got := map[string]int32{}, map[string]string{}
		for _, e := range list.Items {
			if e.InvolvedObject.Namespace != w.namespace || e.InvolvedObject.Name != a.GetName() {
				continue
			}
			seen[e.Reason]++
			if e.Count > 1 && (e.Reason == string(reasonRunStarted) || e.Reason == string(reasonRunFailed) || e.Reason == string(reasonPushed)) {
				t.Errorf("event %s %q was told %d times", e.Reason, e.Message, e.Count)
			}
			got[fmt.Sprintf("%s/%d", e.Reason, seen[e.Reason])] = e.Message
		}
		missing := ""
		for key, text := range want {
			found := false
			reason, _, _ := strings.Cut(key, "/")
			for k, m := range got {
				found = found || (strings.HasPrefix(k, reason+"/") && strings.HasPrefix(m, text))
			}
			if !found {
				missing += key + " "
			}
		}
		if missing != "" {
			return "missing " + missing
		}
		if seen[string(reasonRunStarted)] != 2 || seen[string(reasonRunFailed)] != 1 || seen[string(reasonPushed)] != 1 {
			return fmt.Sprintf("told more than once: %v", seen)
		}
		return ""
	})
}
