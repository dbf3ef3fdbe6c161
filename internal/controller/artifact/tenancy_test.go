package artifact

import (
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// shared makes a ClusterProviderConfig for the world's registry, and an Artifact
// that uses it.
func (w *world) shared(name string, change func(*v1alpha1.ClusterProviderConfigSpec)) *modelv1alpha1.Artifact {
	w.t.Helper()
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-" + name}}
	pc.Spec.Registry = v1alpha1.ClusterRegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	change(&pc.Spec)
	w.create(pc)
	a := w.artifact(name)
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: pc.GetName()}
	return a
}

// waitRefused waits until the Artifact is refused with these words, and checks
// that nothing was made.
func (w *world) waitRefused(a *modelv1alpha1.Artifact, reason outcome.Reason, says ...string) {
	w.t.Helper()
	w.waitReady(a, corev1.ConditionFalse, string(reason))
	for _, part := range says {
		if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, part) {
			w.t.Errorf("message %q does not name %q", got, part)
		}
	}
	w.stays(a, "Refused.")
}

func TestNamespaceSelector(t *testing.T) {
	w := startControllers(t)
	a := w.shared("selected", func(s *v1alpha1.ClusterProviderConfigSpec) {
		s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"models": "true"}}
	})
	w.create(a)
	w.waitRefused(a, outcome.NotAllowed, w.namespace, "namespaceSelector")

	ns := &corev1.Namespace{}
	if err := w.client.Get(t.Context(), client.ObjectKey{Name: w.namespace}, ns); err != nil {
		t.Fatal(err)
	}
	ns.Labels["models"] = "true"
	if err := w.client.Update(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w.succeed(a, 1, "one") // By itself, and soon.
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestRepositoryPrefix(t *testing.T) {
	w := startControllers(t)
	const own = "models/{namespace}/"
	t.Run("Other", func(t *testing.T) {
		w := *w
		w.t = t
		a := w.shared("other", func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.RepositoryPrefix = own })
		a.Spec.ForProvider.Target.Repository = "models/team-b/x"
		w.create(a)
		w.waitRefused(a, outcome.NotAllowed, "models/team-b/x", "models/"+w.namespace+"/")
		w.remove(a)
		w.waitGone(a)
	})
	t.Run("Own", func(t *testing.T) {
		w := *w
		w.t = t
		a := w.shared("own", func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.RepositoryPrefix = own })
		a.Spec.ForProvider.Target.Repository = "models/" + w.namespace + "/x"
		w.create(a)
		w.succeed(a, 1, "one")
		w.waitReady(a, corev1.ConditionTrue, "Available")
	})
}

func TestTightenedPrefixDeletesNothing(t *testing.T) {
	w := startControllers(t)
	a := w.shared("tightened", func(*v1alpha1.ClusterProviderConfigSpec) {})
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: a.Spec.ProviderConfigReference.Name}}
	w.change(pc, func() { pc.Spec.Registry.RepositoryPrefix = "others/" })
	w.poke(a, "after")
	w.remove(a)
	w.eventually("Synced says why", func() string {
		w.deletePods()
		if err := w.get(a); err != nil {
			t.Fatalf("The Artifact went, and what it pushed with it or not: %v", err)
		}
		if got := a.GetCondition(xpv2.TypeSynced).Message; !strings.Contains(got, "others/") || !strings.Contains(got, "take Delete from spec.managementPolicies") {
			return got
		}
		return ""
	})
	w.update(a, withPolicies(xpv2.ManagementPolicies{xpv2.ManagementActionObserve}))
	w.waitGone(a)
	if _, err := w.registry.Resolve(t.Context(), "models/tightened", "v1"); err != nil {
		t.Errorf("The artifact must stay: %v", err)
	}
}

// TestForeignArtifactIsNeverDeleted has deletion find something of a run's left,
// so that it begins anew with what Observe did not look at.
func TestForeignArtifactIsNeverDeleted(t *testing.T) {
	w := startControllers(t)
	w.push("models/theirs", "v1", "theirs")
	a := w.artifact("thief")
	a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionDelete}
	a.Spec.ForProvider.Target.Repository = "models/theirs"
	w.create(a)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	secret := w.copyFor(a)
	w.create(secret)
	w.remove(a)
	w.waitGone(a)
	w.waitGone(secret)
	if _, err := w.registry.Resolve(t.Context(), "models/theirs", "v1"); err != nil {
		t.Errorf("What this Artifact did not push must stay: %v", err)
	}
}

// TestAnnotationsClaimNothing has another namespace's Artifact say that it is
// pushed to this one's reference.
func TestAnnotationsClaimNothing(t *testing.T) {
	w := startControllers(t)
	claimant := w.shared("claimant", func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.RepositoryPrefix = "others/" })
	meta.AddAnnotations(claimant, artifact.Run{Hash: "x", Number: 1}.Annotations())
	meta.SetExternalName(claimant, w.host+"/models/victim")
	claimant.Spec.ForProvider.Target.Repository = "models/victim"
	w.create(claimant)
	w.waitReady(claimant, corev1.ConditionFalse, string(outcome.NotAllowed))

	for name, config := range map[string]*xpv2.ProviderConfigReference{
		"other-config": {Kind: "ProviderConfig", Name: "default"},
		"same-config":  claimant.Spec.ProviderConfigReference,
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			a := w.artifact("victim-" + name)
			a.Spec.ProviderConfigReference = config.DeepCopy()
			a.Spec.ForProvider.Target.Repository = "models/victim"
			w.create(a)
			if config.Kind == "ProviderConfig" {
				w.job(a, 1)
				return
			}
			w.waitReady(a, corev1.ConditionFalse, string(outcome.NotAllowed)) // Its own config refuses it, not the claim.
		})
	}
}

func TestCredentialsGoWithTheRunOfWhoIsNotAdmitted(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("revoked")
	w.create(a)
	job := w.job(a, 1)
	secret := w.copyFor(a)
	w.create(secret)
	if err := w.get(a); err != nil {
		t.Fatal(err)
	}
	c := &cleaner{cache: w.client, direct: w.client, age: 1}
	if err := c.Initialize(t.Context(), a); err != nil || w.get(secret) != nil {
		t.Fatalf("The Secret of a run at work must stay: %v", err)
	}
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, artifact.AnnotationCredentials, secret.GetName())
	if err := w.client.Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if err := c.Initialize(t.Context(), a); err != nil || w.get(job) != nil || job.GetDeletionTimestamp() != nil {
		t.Fatalf("The Job of a run that may still start must stay: %v", err)
	}
	unrecorded := a.DeepCopy()
	w.finish(job, outcome.Result{}, `{}`)
	if err := c.Initialize(t.Context(), unrecorded); err != nil || w.get(secret) == nil {
		t.Errorf("The Secret of a run that has ended must go: %v", err)
	}
}

func TestRunOfWhoIsNotAdmittedIsStopped(t *testing.T) {
	w := newWorld(t)
	a := w.artifact("waiting")
	w.create(a)
	job := artifact.BuildJob(a, "kit:test", artifact.SelectorLabelsForArtifact(a.GetName()))
	job.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(a, modelv1alpha1.ArtifactGroupVersionKind)})
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, artifact.AnnotationCredentials, "x")
	w.create(job)
	secret := w.copyFor(a)
	w.create(secret)
	c := &cleaner{cache: w.client, direct: w.client, age: 1, patience: 1}
	w.eventually("stopped", func() string { // Times of creation are whole seconds.
		if err := c.Initialize(t.Context(), a); err != nil {
			return err.Error()
		}
		if w.get(secret) == nil {
			return "The credentials of a run that nobody looks at and that does not start must go"
		}
		return ""
	})
	w.waitGone(job)
}

// TestForgedStatus has a tenant, who may write status and annotations, claim
// what is another's.
func TestForgedStatus(t *testing.T) {
	w := startControllers(t)
	digest := w.push("models/team-b/theirs", "v1", "theirs")
	a := w.artifact("forged")
	w.create(a)
	w.succeed(a, 1, "mine")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.eventually("forged", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		s := &a.Status.AtProvider
		s.Digest, s.Reference, s.PinnedReference = digest, w.host+"/models/team-b/theirs:v1", w.host+"/models/team-b/theirs@"+digest
		if err := w.client.Status().Update(t.Context(), a); err != nil {
			return err.Error()
		}
		return ""
	})
	w.remove(a)
	w.waitGoneWithPods(a)
	if _, err := w.registry.Resolve(t.Context(), "models/team-b/theirs", "v1"); err != nil {
		t.Errorf("What is another's must stay: %v", err)
	}
}

func TestSecretOfAnotherNamespace(t *testing.T) {
	w := startControllers(t)
	elsewhere := apiserver.Namespace(t, w.client)
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "theirs", Namespace: elsewhere},
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"` + w.host + `":{"username":"u","password":"p"}}}`)},
	})
	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "thief", Namespace: w.namespace}}
	pc.Spec.Registry = v1alpha1.RegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: "theirs"}},
	}
	w.create(pc)
	a := w.artifact("thief")
	a.Spec.ProviderConfigReference.Name = "thief"
	w.create(a)
	w.waitRefused(a, outcome.ConfigMissing, `"theirs"`, w.namespace)
}

// TestTenantsPolicy has the API server and the controllers hold a policy.
func TestTenantsPolicy(t *testing.T) {
	w := startControllers(t)
	forArtifact := w.artifact("sidecar")
	forArtifact.Spec.ForProvider.Job = &v1alpha1.JobSettings{Annotations: map[string]string{"sidecar.istio.io/proxyImage": "evil"}}
	w.create(forArtifact)
	w.waitRefused(forArtifact, outcome.NotAllowed, "sidecar.istio.io/proxyImage")

	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: w.namespace}}
	pc.Spec.Registry = v1alpha1.RegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	pc.Spec.Job = &v1alpha1.JobConfig{JobSettings: v1alpha1.JobSettings{PriorityClassName: "high"}}
	w.create(pc)
	byConfig := w.artifact("config")
	byConfig.Spec.ProviderConfigReference.Name = "mine"
	w.create(byConfig)
	w.waitRefused(byConfig, outcome.NotAllowed, "its spec.job.priorityClassName")

	// The administrator's are the administrator's business, and what is allowed
	// reaches the Pod. An empty list stays one although the runtime writes the
	// config.
	a := w.shared("admin", func(s *v1alpha1.ClusterProviderConfigSpec) {
		s.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{JobSettings: v1alpha1.JobSettings{
			Annotations: map[string]string{"sidecar.istio.io/proxyImage": "proxy:1"},
		}}}
		s.Policy = &v1alpha1.ClusterPolicy{Tenants: &v1alpha1.TenantPolicy{Allow: []v1alpha1.TenantField{}, Labels: []v1alpha1.MetadataKey{"example.com/*"}}}
	})
	a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Labels: map[string]string{"example.com/a": "b"}}
	w.create(a)
	template := w.job(a, 1).Spec.Template
	if got := template.Annotations["sidecar.istio.io/proxyImage"] + template.Labels["example.com/a"]; got != "proxy:1b" {
		t.Errorf("metadata: got %q", got)
	}
	selecting := w.artifact("selecting")
	selecting.Spec.ProviderConfigReference = a.Spec.ProviderConfigReference
	selecting.Spec.ForProvider.Job = &v1alpha1.JobSettings{NodeSelector: map[string]string{"disk": "fast"}}
	w.create(selecting)
	w.waitRefused(selecting, outcome.NotAllowed, "spec.forProvider.job.nodeSelector", "spec.policy.tenants.allow")
	w.remove(selecting)
	w.waitGone(selecting)

	// One that is Ready stays so, and goes as it would otherwise.
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
	})
	w.waitSynced(a, "spec.forProvider.target.conflictPolicy")
	if c := a.GetCondition(xpv2.TypeReady); c.Status != corev1.ConditionTrue {
		t.Errorf("Ready: got %+v", c)
	}
	w.remove(a)
	w.waitGoneWithPods(a)
}
