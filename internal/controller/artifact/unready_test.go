package artifact

import (
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestConfigNotReady has a config lose its Secret and get it back: an Artifact that
// cannot proceed says that its config is not Ready, one that is Ready stays so, and the
// first proceeds once the Secret is there.
func TestConfigNotReady(t *testing.T) {
	w := startControllers(t)
	before := w.artifact("before")
	w.create(before)
	w.succeed(before, 1, "one")
	w.waitReady(before, corev1.ConditionTrue, "Available")

	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "default"}}
	w.change(pc, func() {
		pc.Spec.Registry.Credentials = v1alpha1.RegistryCredentials{
			Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: "late"},
		}
	})
	w.eventually("the config is not Ready", func() string {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(pc), pc); err != nil {
			return err.Error()
		}
		if c := pc.GetCondition(xpv2.TypeReady); c.Reason != "ConfigMissing" {
			return "it is " + string(c.Status) + ": " + string(c.Reason)
		}
		return ""
	})
	a := w.artifact("waiting")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, "ConfigMissing")
	w.eventually("the Artifact names its config", func() string {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		m := a.GetCondition(xpv2.TypeReady).Message
		if !strings.Contains(m, `Secret "late"`) || !strings.HasSuffix(m, `; ProviderConfig "default" is not Ready for the same reason`) {
			return "it says " + m
		}
		return ""
	})
	w.look(before)
	if c := before.GetCondition(xpv2.TypeReady); c.Status != corev1.ConditionTrue {
		t.Errorf("an Artifact that is Ready: got %s: %s, want it to stay so", c.Reason, c.Message)
	}

	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "late"},
		Data: map[string][]byte{corev1.DockerConfigJsonKey: testregistry.DockerConfig(map[string]testregistry.Entry{
			w.host: {Username: "robot", Password: "x"},
		})},
	})
	w.job(a, 1)
	w.eventually("the config is Ready", func() string {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(pc), pc); err != nil {
			return err.Error()
		}
		return map[bool]string{false: "it is not"}[pc.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue]
	})
}
