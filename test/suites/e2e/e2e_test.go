package e2e

import (
	"fmt"
	"slices"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

func TestArtifactIsMadeVerifiedAndDeleted(t *testing.T) {
	cases := map[string]struct {
		reason   string
		pipeline modelv1alpha1.PipelineType
		format   modelv1alpha1.PackFormat
	}{
		"stream-modelpack": {
			reason:   "Stream makes a ModelPack without a volume.",
			pipeline: modelv1alpha1.PipelineStream,
			format:   modelv1alpha1.PackFormatModelPack,
		},
		"stream-modelkit": {
			reason:   "Stream makes a ModelKit, too.",
			pipeline: modelv1alpha1.PipelineStream,
			format:   modelv1alpha1.PackFormatModelKit,
		},
		"kit-modelpack": {
			reason:   "Kit makes a ModelPack on a workspace.",
			pipeline: modelv1alpha1.PipelineKit,
			format:   modelv1alpha1.PackFormatModelPack,
		},
		"kit-modelkit": {
			reason:   "Kit makes a ModelKit on a workspace.",
			pipeline: modelv1alpha1.PipelineKit,
			format:   modelv1alpha1.PackFormatModelKit,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newTenant(t)
			a := n.artifact(name, tc.pipeline, tc.format)
			n.create(a)
			n.waitReady(a, corev1.ConditionTrue, "Available")

			s := a.Status.AtProvider
			if s.Phase != modelv1alpha1.PhaseSucceeded || s.Run != 1 || s.RunHash != artifact.RunHash(a) {
				t.Errorf("%s\nstatus: got %+v", tc.reason, s)
			}
			if s.Source == nil || len(s.Source.Revision) != 40 || s.Source.License != "MIT" || s.Files != 4 || s.Size < 2_000_000 {
				t.Errorf("%s\nstatus: got source %+v, %d files, %d bytes", tc.reason, s.Source, s.Files, s.Size)
			}
			n.checkFiles(a, auth.EmptyCredential, n.files)
			n.checkClean()
			n.deleteAndCheck(a)
			if exists(t, a, s.Digest) {
				t.Errorf("%s\nthe tag is still in the registry", tc.reason)
			}
		})
	}
}

// checkClean waits until what a run needs no longer is going: the workspace
// after success (the finished Pod holds it until its Job's TTL) and the Secret.
func (n *tenant) checkClean() {
	n.t.Helper()
	n.eventually("clean", func() string {
		pvcs := &corev1.PersistentVolumeClaimList{}
		if err := local.Client.List(n.t.Context(), pvcs, client.InNamespace(n.namespace)); err != nil {
			return err.Error()
		}
		for i := range pvcs.Items {
			if pvcs.Items[i].GetDeletionTimestamp() == nil {
				return "the workspace is not being deleted"
			}
		}
		if left := n.names(&corev1.SecretList{}); len(left) > 0 {
			return "the Secret is still there"
		}
		return ""
	})
}

// exists reports whether the Artifact's tag still points to this digest.
func exists(t *testing.T, a *modelv1alpha1.Artifact, digest string) bool {
	t.Helper()
	repository, err := local.Repository(local.RegistryHost, a.Spec.ForProvider.Target.Repository, auth.EmptyCredential)
	if err != nil {
		t.Fatal(err)
	}
	d, err := repository.Resolve(t.Context(), a.Spec.ForProvider.Target.Tag)
	return err == nil && d.Digest.String() == digest
}

func TestChangedRevisionShowsTheNewDigest(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	changed := with(n.files, "config.json", `{"sampling_rate": 8000}`)
	n.publish("v2", changed)
	a := n.artifact("changed", modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
	n.create(a)
	n.waitReady(a, corev1.ConditionTrue, "Available")
	first := a.DeepCopy().Status.AtProvider

	a.Spec.ForProvider.Source.HuggingFace.Revision = "v2"
	if err := local.Client.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	n.eventually("new digest", func() string {
		if err := local.Client.Get(t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		c, s := a.GetCondition(xpv2.TypeReady), a.Status.AtProvider
		if c.Status == corev1.ConditionTrue && c.ObservedGeneration == a.GetGeneration() {
			if s.Digest == first.Digest || s.RunHash != artifact.RunHash(a) {
				t.Fatalf("Ready with the old digest for the new spec: %+v", s)
			}
			return ""
		}
		return fmt.Sprintf("Ready=%s %s %q for generation %d of %d", c.Status, c.Reason, c.Message, c.ObservedGeneration, a.GetGeneration())
	})
	if s := a.Status.AtProvider; s.Run != 2 || s.Source.Revision == first.Source.Revision {
		t.Errorf("status: got run %d of commit %s", s.Run, s.Source.Revision)
	}
	if first.FileList == "" || !n.hasArgument("--verified-files="+first.FileList) {
		t.Errorf("the second run does not know the files of the first: list %q", first.FileList)
	}
	n.checkFiles(a, auth.EmptyCredential, changed)
	n.deleteAndCheck(a)
}

// hasArgument reports whether the worker of one of the tenant's Jobs has an argument.
func (n *tenant) hasArgument(argument string) bool {
	n.t.Helper()
	jobs := &batchv1.JobList{}
	if err := local.Client.List(n.t.Context(), jobs, client.InNamespace(n.namespace)); err != nil {
		n.t.Fatal(err)
	}
	return slices.ContainsFunc(jobs.Items, func(j batchv1.Job) bool {
		return slices.Contains(j.Spec.Template.Spec.Containers[0].Args, argument)
	})
}

func TestCredentialsOfANamespace(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		t.Fatal(err)
	}
	host := local.Cluster.AuthRegistryHost()
	n.dockerConfig("registry", host, local.Cluster.RegistryUser(), password)
	ca := &corev1.Secret{}
	if err := local.Client.Get(t.Context(), client.ObjectKey{Namespace: local.Config.HuggingFace.CertSecretRef.Namespace, Name: local.Config.HuggingFace.CertSecretRef.Name}, ca); err != nil {
		t.Fatal(err)
	}
	pc := &v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: n.namespace},
		Spec: v1alpha1.ProviderConfigSpec{
			Registry: v1alpha1.RegistryConfig{
				Host:      v1alpha1.RegistryHost(host),
				PlainHTTP: true,
				Credentials: v1alpha1.RegistryCredentials{
					Source:    xpv2.CredentialsSourceSecret,
					SecretRef: &xpv2.LocalSecretReference{Name: "registry"},
				},
			},
			HuggingFace: &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(local.Cluster.HubURL())},
		},
	}
	n.create(pc)
	a := n.artifact("private", modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "default"}
	n.create(a)
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.checkFiles(a, auth.Credential{Username: local.Cluster.RegistryUser(), Password: password}, n.files)

	// With Secrets of their own, the others of the namespace stay.
	if err := local.Client.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	n.eventually("Artifact gone", func() string {
		if err := local.Client.Get(t.Context(), client.ObjectKeyFromObject(a), a); err == nil {
			return "it is still there"
		}
		return ""
	})
	if left := n.names(&corev1.SecretList{}); len(left) != 1 || left[0] != "registry" {
		t.Errorf("Secrets: got %v, want the namespace's own alone", left)
	}
}

func TestFailuresNameCauseAndCure(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*tenant, *modelv1alpha1.Artifact)
		want   string
	}{
		"unknown-revision": {
			reason: "A revision that the Hub does not have is named.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source.HuggingFace.Revision = "nowhere"
			},
			want: "NotFound",
		},
		"kit-unknown-revision": {
			reason: "So it is where kit does the work.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
				a.Spec.ForProvider.Source.HuggingFace.Revision = "nowhere"
			},
			want: "NotFound",
		},
		"wrong-password": {
			reason: "A registry that refuses is named.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				host := local.Cluster.AuthRegistryHost()
				n.dockerConfig("wrong", host, local.Cluster.RegistryUser(), "wrong")
				config := local.Config.DeepCopy()
				config.Registry.Host = v1alpha1.RegistryHost(host)
				config.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
					Source:    xpv2.CredentialsSourceSecret,
					SecretRef: &xpv2.SecretReference{Namespace: n.namespace, Name: "wrong"},
				}
				n.create(&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: n.namespace + "-wrong"}, Spec: *config})
				a.Spec.ProviderConfigReference.Name = n.namespace + "-wrong"
			},
			want: "Unauthorized",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newTenant(t)
			a := n.artifact(name, modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
			tc.change(n, a)
			n.create(a)
			n.waitReady(a, corev1.ConditionFalse, tc.want)
			t.Logf("%s: %s", tc.want, a.GetCondition(xpv2.TypeReady).Message)
			if a.GetCondition(xpv2.TypeSynced).Status != corev1.ConditionTrue {
				t.Errorf("%s\nSynced: got %+v", tc.reason, a.GetCondition(xpv2.TypeSynced))
			}
		})
	}
}

// dockerConfig makes a Secret as kubectl create secret docker-registry does.
func (n *tenant) dockerConfig(name, host, user, password string) {
	n.t.Helper()
	n.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.namespace},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{
			corev1.DockerConfigJsonKey: `{"auths":{"` + host + `":{"username":"` + user + `","password":"` + password + `"}}}`,
		},
	})
}

func TestArtifactDeletedInMidRun(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.artifact("stopped", modelv1alpha1.PipelineKit, modelv1alpha1.PackFormatModelPack)
	n.create(a)
	n.eventually("Job", func() string {
		if len(n.names(&batchv1.JobList{})) == 0 {
			return "no Job yet"
		}
		return ""
	})
	n.deleteAndCheck(a)
}

func TestLogsOfARunAreRead(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.artifact("logs", modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
	n.create(a)
	n.waitReady(a, corev1.ConditionTrue, "Available")
	pods := n.names(&corev1.PodList{})
	if len(pods) != 1 {
		t.Fatalf("Pods: got %v", pods)
	}
	clientset, err := kubernetes.NewForConfig(local.REST)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := clientset.CoreV1().Pods(n.namespace).GetLogs(pods[0], &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs: got %q, %v", logs, err)
	}
	t.Logf("%s", logs)
	n.deleteAndCheck(a)
}
