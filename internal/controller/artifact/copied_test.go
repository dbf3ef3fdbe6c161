package artifact

import (
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestCopiedCredentialsAreRefused has a tenant keep a copy by a run that does not start, and
// name it.
func TestCopiedCredentialsAreRefused(t *testing.T) {
	w := startControllers(t)
	home := apiserver.Namespace(t, w.client)
	secret := w.dockerConfig("registry", "administrator")
	secret.SetNamespace(home)
	w.create(secret)
	keeper := w.shared("keeper", func(s *v1alpha1.ClusterProviderConfigSpec) {
		s.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
			Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Name: "registry", Namespace: home},
		}
	})
	w.create(keeper)
	w.job(keeper, 1)
	copies := w.copies(keeper)
	if len(copies) != 1 || copies[0].Type != artifact.SecretTypeCredentials {
		t.Fatalf("want one copy, got %+v", copies)
	}
	name := copies[0].GetName()

	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "thief", Namespace: w.namespace}}
	pc.Spec.Registry = v1alpha1.RegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: name}},
	}
	w.create(pc)
	thieves := map[string]func(*modelv1alpha1.Artifact){
		"config": func(a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Name = "thief" },
		"source": func(a *modelv1alpha1.Artifact) {
			a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{
				Reference: w.host + "/secret/model:v1", CredentialsSecretRef: &xpv2.LocalSecretReference{Name: name},
			}}
		},
		"connection": func(a *modelv1alpha1.Artifact) {
			a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: name}
		},
	}
	for thief, change := range thieves {
		t.Run(thief, func(t *testing.T) {
			w := *w
			w.t = t
			a := w.artifact("thief-" + thief)
			change(a)
			w.create(a)
			w.waitRefused(a, outcome.NotAllowed, name)
		})
	}
	// So it is where the Artifact that owns the copy names it.
	w.update(keeper, func(a *modelv1alpha1.Artifact) {
		a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: name}
	})
	w.waitReady(keeper, corev1.ConditionFalse, string(outcome.NotAllowed))
	if diff := cmp.Diff(copies, w.copies(keeper)); diff != "" {
		t.Errorf("The copy must stay as it is: -want, +got:\n%s", diff)
	}
}

// TestCopyIsRenewed changes a Secret in mid-run that the run has a copy of, and again
// once the run has failed, and once it has succeeded.
func TestCopyIsRenewed(t *testing.T) {
	w := startControllers(t)
	host, port, _ := strings.Cut(w.host, ":")
	pattern := "*." + strings.SplitN(host, ".", 2)[1] + ":" + port
	secret := w.dockerConfig("registry", "x")
	rotate := func(password string) {
		w.t.Helper()
		w.change(secret, func() {
			secret.Data[corev1.DockerConfigJsonKey] = testregistry.DockerConfig(map[string]testregistry.Entry{pattern: {Username: "ada", Password: password}})
		})
	}
	w.useSecret(secret)
	rotate("first")
	a := w.artifact("renewed")
	w.create(a)
	before := w.job(a, 1)
	w.start(before)
	holds := func(password string) {
		w.t.Helper()
		w.eventually("the copy has the new password", func() string {
			copies := w.copies(a)
			if len(copies) != 1 || copies[0].GetName() != before.GetAnnotations()[artifact.AnnotationCredentials] {
				return fmt.Sprintf("want the run's one Secret, got %d", len(copies))
			}
			c, err := registry.CredentialIn(copies[0].Data[corev1.DockerConfigJsonKey], w.host, "")
			if err != nil || c.Password != password {
				return fmt.Sprintf("it has %q, %v", c.Password, err)
			}
			return ""
		})
		if job := w.job(a, 1); job.GetUID() != before.GetUID() || job.GetResourceVersion() != before.GetResourceVersion() && job.GetGeneration() != before.GetGeneration() {
			t.Errorf("want the Job to stay, got %+v", job.ObjectMeta)
		}
	}
	holds("first")
	rotate("second")
	holds("second")

	// A Secret without the entry leaves the run what it has.
	w.change(secret, func() { secret.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{}}`) })
	w.look(a)
	holds("second")
	rotate("third")
	holds("third")

	w.fail(a, 1, outcome.Unauthorized)
	w.waitNoJob()
	w.deletePods()
	rotate("fourth")
	w.job(a, 2)
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitNoCopies(a)
	rotate("fifth")
	w.look(a)
	if s := a.Status.AtProvider; s.Run != 2 || s.Phase != modelv1alpha1.PhaseSucceeded {
		t.Errorf("want no run of an artifact that is there, got run %d, %s", s.Run, s.Phase)
	}
}

// TestCopiedEntry has a ProviderConfig of a namespace name credentials that kit
// would not find, and a run need them.
func TestCopiedEntry(t *testing.T) {
	w := startControllers(t)
	host, port, _ := strings.Cut(w.host, ":")
	pattern := "*." + strings.SplitN(host, ".", 2)[1] + ":" + port
	secret := w.dockerConfig("registry", "x")
	secret.Data[corev1.DockerConfigJsonKey] = []byte(testregistry.DockerConfigFor(pattern, "other.example.com"))
	w.useSecret(secret)
	a := w.artifact("copied")
	w.create(a)
	job := w.job(a, 1)
	mounted := ""
	for _, v := range job.Spec.Template.Spec.Volumes {
		if v.Projected != nil {
			mounted = v.Projected.Sources[0].Secret.Name
		}
	}
	copies := w.copies(a)
	if len(copies) != 1 || mounted != copies[0].GetName() || job.GetAnnotations()[artifact.AnnotationCredentials] != mounted {
		t.Fatalf("want the run to mount its one Secret, got %q of %d", mounted, len(copies))
	}
	want := map[string]string{corev1.DockerConfigJsonKey: w.host + " " + pattern}
	if diff := cmp.Diff(want, testregistry.Summary(t, copies[0].Data)); diff != "" {
		t.Errorf("The run's Secret: -want, +got:\n%s", diff)
	}
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitNoCopies(a)

	// Where the entry is the host's own, nothing is copied.
	secret.Data[corev1.DockerConfigJsonKey] = []byte(testregistry.DockerConfigFor(w.host))
	if err := w.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	b := w.artifact("plain")
	w.create(b)
	w.job(b, 1)
	if n := len(w.copies(b)); n > 0 {
		t.Errorf("want no Secret for a run that needs none, got %d", n)
	}
}
