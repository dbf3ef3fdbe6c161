package artifact

import (
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// oneSecretOrNamespace matches the path of one Secret or one namespace.
var oneSecretOrNamespace = regexp.MustCompile(`^/api/v1/namespaces/[^/]+(/secrets/[^/]+)?$`)

// readCounter counts the reads of single Secrets and namespaces.
type readCounter struct {
	http.RoundTripper

	reads *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c readCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && oneSecretOrNamespace.MatchString(r.URL.Path) {
		c.reads.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// TestPollReadsNothing checks that a poll of an Artifact that is well reads
// neither the registry's credentials nor its namespace from the API server.
func TestPollReadsNothing(t *testing.T) {
	w := newWorld(t)
	reads := &atomic.Int64{}
	cfg := apiserver.Config(t)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return readCounter{RoundTripper: rt, reads: reads} })
	startManagerAs(t, cfg, []string{w.namespace}, Options{Images: testImages})

	account := credentialsSecret(w.namespace, "account", map[string]string{corev1.DockerConfigJsonKey: testregistry.DockerConfigFor(w.host)})
	w.create(account)
	a := w.shared("polled", func(s *v1alpha1.ClusterProviderConfigSpec) {
		s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}}
		s.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
			Source:    xpv2.CredentialsSourceSecret,
			SecretRef: &xpv2.SecretReference{Namespace: w.namespace, Name: account.GetName()},
		}
	})
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	for i := range 2 { // What is left of the run goes.
		w.poll(a, fmt.Sprint("before-", i))
	}
	before := reads.Load()
	if before == 0 {
		t.Fatal("The run's own reads are to be counted.")
	}
	for i := range 3 {
		w.poll(a, fmt.Sprint("after-", i))
	}
	if n := reads.Load() - before; n > 0 {
		t.Errorf("reads of Secrets and namespaces in three polls: want none, got %d", n)
	}

	account.Data[corev1.DockerConfigJsonKey] = []byte(testregistry.DockerConfigFor(w.host, "other.example.com"))
	if err := w.client.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	w.eventually("another version is read", func() string {
		w.poll(a, fmt.Sprint("changed-", w.looks))
		w.looks++
		if reads.Load() == before {
			return "nothing was read"
		}
		return ""
	})
}

// poll has an Artifact looked at, and waits until it was.
func (w *world) poll(a *modelv1alpha1.Artifact, token string) {
	w.t.Helper()
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", token)
	})
	w.eventually("a look", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetLastHandledReconcileAt(); got != token {
			return fmt.Sprintf("the last was for %q", got)
		}
		return ""
	})
}
