package artifact

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

func TestArtifactIsMadeAndDeleted(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("qwen")
	w.create(a)

	w.waitReady(a, corev1.ConditionFalse, "Creating")
	job := w.job(a, 1)
	if got, want := job.GetAnnotations()[artifact.AnnotationReference], w.host+"/models/qwen:v1"; got != want {
		t.Errorf("reference: got %q, want %q", got, want)
	}
	digest := w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	want := modelv1alpha1.ArtifactObservation{
		Phase:           modelv1alpha1.PhaseSucceeded,
		Digest:          digest,
		Reference:       w.host + "/models/qwen:v1",
		PinnedReference: w.host + "/models/qwen@" + digest,
		Size:            42,
		Files:           3,
		Format:          "ModelPack",
		Pipeline:        modelv1alpha1.PipelineStream,
		Source: &modelv1alpha1.SourceObservation{
			URL: artifact.HubOf(job) + "/org/model", Revision: "0123456789012345678901234567890123456789", License: "mit",
		},
		RunHash: artifact.RunHash(a),
		Run:     1,
		JobRef:  &modelv1alpha1.JobReference{Namespace: job.GetNamespace(), Name: job.GetName()},
	}
	if found := w.records(a, digest); len(found) == 1 {
		want.Attestation = &modelv1alpha1.Attestation{Digest: found[0].Descriptor.Digest.String(), KeyID: testKeys.Signer.KeyID()}
	}
	want.CommitRunHash = artifact.CommitRunHash(a, want.Source.Revision)
	if diff := cmp.Diff(want, a.Status.AtProvider, cmpopts.IgnoreTypes(&metav1.Time{})); diff != "" || want.Attestation == nil {
		t.Errorf("status: -want, +got:\n%s", diff)
	}
	if got, want := a.GetAnnotations()["crossplane.io/external-name"], w.host+"/models/qwen"; got != want {
		t.Errorf("external-name: got %q, want %q", got, want)
	}
	if a.GetCondition(xpv2.TypeSynced).Status != corev1.ConditionTrue {
		t.Errorf("Synced: got %+v", a.GetCondition(xpv2.TypeSynced))
	}

	if err := w.client.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.waitGone(job)
	w.deletePods()
	w.waitGone(a)
	if _, err := w.registry.Resolve(t.Context(), "models/qwen", "v1"); !registry.IsNotFound(err) {
		t.Errorf("the artifact is still in its registry: %v", err)
	}
}

func TestIdleArtifactIsNotWritten(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("idle")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	// A label that nobody knows has the Artifact reconciled.
	for i := range 3 {
		w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", fmt.Sprint(i)) })
		before := a.GetResourceVersion()
		time.Sleep(300 * time.Millisecond) // That nothing happens can only be waited for.
		if err := w.get(a); err != nil {
			t.Fatal(err)
		}
		if a.GetResourceVersion() != before {
			t.Errorf("resourceVersion went from %s to %s", before, a.GetResourceVersion())
		}
	}
}

func TestFailedRunSaysWhyAndIsNotTriedAgain(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("failed")
	w.create(a)
	job := w.job(a, 1)
	w.finish(job, outcome.Result{Failure: &outcome.Failure{}}, `{"failure":{"reason":"Gated","message":"accept its terms"}}`)
	w.waitReady(a, corev1.ConditionFalse, "Gated")
	if got := a.GetCondition(xpv2.TypeReady).Message; got != "accept its terms" {
		t.Errorf("message: got %q", got)
	}

	// The Job goes with its TTL; what it said stays.
	if err := w.client.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.deletePods()
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "1") })
	time.Sleep(300 * time.Millisecond) // That nothing happens can only be waited for.
	w.waitReady(a, corev1.ConditionFalse, "Gated")
	jobs := &batchv1.JobList{}
	if err := w.client.List(t.Context(), jobs, client.InNamespace(w.namespace)); err != nil || len(jobs.Items) != 0 {
		t.Errorf("Jobs: got %d, %v", len(jobs.Items), err)
	}

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.succeed(a, 2, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestChangedRevisionRunsAgain(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("changed")
	w.create(a)
	first := w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitReady(a, corev1.ConditionFalse, "Creating")
	if a.Status.AtProvider.RunHash == artifact.RunHash(a) {
		t.Errorf("the old digest is shown as the answer to the new spec")
	}
	if a.Status.AtProvider.Digest != first {
		t.Errorf("digest: got %q, want the old one %q", a.Status.AtProvider.Digest, first)
	}
	w.waitNoJob()
	w.deletePods()

	second := w.succeed(a, 2, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if a.Status.AtProvider.Digest != second || a.Status.AtProvider.RunHash != artifact.RunHash(a) || second == first {
		t.Errorf("digest: got %q, want %q", a.Status.AtProvider.Digest, second)
	}
}

func TestRevisionChangedInMidRun(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("midrun")
	w.create(a)
	job := w.job(a, 1)
	w.podFor(job)

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitGone(job)
	w.deletePods()
	digest := w.succeed(a, 1, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if a.Status.AtProvider.Digest != digest {
		t.Errorf("digest: got %q, want %q", a.Status.AtProvider.Digest, digest)
	}
}

func TestChangedTagMovesNoBytes(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("tagged")
	w.create(a)
	digest := w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Tag = "v2" })
	w.eventually("new tag", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.Status.AtProvider.Reference; got != w.host+"/models/tagged:v2" {
			return got
		}
		return ""
	})
	for _, tag := range []string{"v1", "v2"} {
		if d, err := w.registry.Resolve(t.Context(), "models/tagged", tag); err != nil || d.Digest.String() != digest {
			t.Errorf("tag %s: got %s, %v", tag, d.Digest, err)
		}
	}
	w.job(a, 1)
}

func TestLostArtifactIsRebuilt(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("lost")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.lose("models/lost", "v1")
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "1") })
	w.waitNoJob()
	w.deletePods()
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestForeignTagIsNotOverwritten(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("conflict")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	foreign := w.push("models/conflict", "v1", "somebody else's")
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "1") })
	w.waitReady(a, corev1.ConditionFalse, "TagConflict")

	if err := w.client.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.waitNoJob()
	w.deletePods()
	w.waitGone(a)
	if d, err := w.registry.Resolve(t.Context(), "models/conflict", "v1"); err != nil || d.Digest.String() != foreign {
		t.Errorf("the foreign tag was touched: %s, %v", d.Digest, err)
	}
}

func TestSecondClaimOfAReferenceWaits(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("first")
	w.create(a)
	digest := w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	b := w.artifact("second")
	b.Spec.ForProvider.Target.Repository = a.Spec.ForProvider.Target.Repository
	// Of two that were made in the same second the one with the lower UID is
	// older, which would leave it to chance here.
	time.Sleep(time.Until(a.GetCreationTimestamp().Add(time.Second)))
	w.create(b)
	w.waitReady(b, corev1.ConditionFalse, "TagConflict")
	w.remove(b)
	w.waitGone(b)
	if d, err := w.registry.Resolve(t.Context(), "models/first", "v1"); err != nil || d.Digest.String() != digest {
		t.Errorf("the first one's tag was touched: %s, %v", d.Digest, err)
	}
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "1") })
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestChangedRegistryIsNoNewImport(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("moved")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.updateConfig(func(s *v1alpha1.ProviderConfigSpec) { s.Registry.Host = "other.example.com" })
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "1") })
	w.waitReady(a, corev1.ConditionFalse, "RegistryChanged")
}

func TestWorkspaceOfKit(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("kit")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(a)
	job := w.job(a, 1)
	if got := job.Spec.Template.Spec.Containers[0].Image; got != "kit:test" {
		t.Errorf("image: got %q", got)
	}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "kit-workspace", Namespace: w.namespace}}
	if err := w.get(pvc); err != nil {
		t.Fatal(err)
	}
	if !metav1.IsControlledBy(pvc, a) {
		t.Errorf("the workspace is not the Artifact's")
	}
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.releaseClaims()
	w.waitGone(pvc)
}

func TestForeignWorkspaceIsLeftAlone(t *testing.T) {
	w := startControllers(t)
	foreign := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign-workspace", Namespace: w.namespace},
		Spec:       artifact.BuildPVC(w.artifact("foreign"), nil).Spec,
	}
	w.create(foreign)
	a := w.artifact("foreign")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(a)
	w.eventually("conflict", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if c := a.GetCondition(xpv2.TypeSynced); !strings.Contains(c.Message, "is not this Artifact's") {
			return c.Message
		}
		return ""
	})
	if err := w.client.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.waitGone(a)
	if err := w.get(foreign); err != nil || foreign.GetDeletionTimestamp() != nil {
		t.Errorf("the foreign claim was touched: %v", err)
	}
}

// releaseClaims plays the controller that holds claims while Pods use them.
func (w *world) releaseClaims() {
	w.t.Helper()
	w.eventually("claims", func() string {
		list := &corev1.PersistentVolumeClaimList{}
		if err := w.client.List(w.t.Context(), list, client.InNamespace(w.runNamespace())); err != nil {
			return err.Error()
		}
		for i := range list.Items {
			if list.Items[i].GetDeletionTimestamp() == nil {
				return "a claim is not being deleted"
			}
			list.Items[i].SetFinalizers(nil)
			if err := w.client.Update(w.t.Context(), &list.Items[i]); err != nil {
				return err.Error()
			}
		}
		return ""
	})
}

func TestClusterProviderConfig(t *testing.T) {
	w := startControllersAlone(t) // Others' controllers do not see what uses it.
	const password, token = "pass-w0rd", "hf_t0ken"
	home := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "home-"}}
	w.create(home)
	auth := base64.StdEncoding.EncodeToString([]byte("user:" + password))
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "registry", Namespace: home.GetName()},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil,
			`{"auths":{%q:{"auth":%q},"other.example.com":{"auth":"b3RoZXI6b3RoZXI="}}}`, w.host, auth)},
	})
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: home.GetName()},
		Data:       map[string][]byte{"token": []byte(token)},
	})
	cpc := &v1alpha1.ClusterProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: v1alpha1.ClusterProviderConfigSpec{
			Registry: v1alpha1.ClusterRegistryConfig{
				Host:      v1alpha1.RegistryHost(w.host),
				PlainHTTP: true,
				Credentials: v1alpha1.ClusterRegistryCredentials{
					Source:    xpv2.CredentialsSourceSecret,
					SecretRef: &xpv2.SecretReference{Name: "registry", Namespace: home.GetName()},
				},
			},
			HuggingFace: &v1alpha1.ClusterHuggingFaceConfig{TokenSecretRef: &xpv2.SecretKeySelector{
				SecretReference: xpv2.SecretReference{Name: "hub", Namespace: home.GetName()}, Key: "token",
			}},
			Job: &v1alpha1.ClusterJobConfig{WorkerImage: "worker:cluster"},
		},
	}
	w.create(cpc)

	a := w.artifact("cluster")
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: cpc.GetName()}
	w.create(a)
	job := w.job(a, 1)
	if got := job.Spec.Template.Spec.Containers[0].Image; got != "worker:cluster" {
		t.Errorf("image: got %q", got)
	}
	for _, secret := range []string{password, auth, token} {
		if strings.Contains(job.String(), secret) {
			t.Errorf("the Job holds the secret %q", secret)
		}
	}

	copies := w.copies(a)
	if len(copies) != 1 {
		t.Fatalf("there are %d copies", len(copies))
	}
	copied := &copies[0]
	if got := string(copied.Data[corev1.DockerConfigJsonKey]); !strings.Contains(got, w.host) || strings.Contains(got, "other.example.com") {
		t.Errorf("the copy holds more or less than the one entry: %s", got)
	}
	if got := string(copied.Data["hub-token"]); got != token {
		t.Errorf("token: got %q", got)
	}

	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitNoCopies(a)

	// It is in use as long as the Artifact is there.
	if err := w.client.Delete(t.Context(), cpc); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.waitGone(job)
	if err := w.get(cpc); err != nil {
		t.Errorf("the ClusterProviderConfig is gone before its Artifact: %v", err)
	}
	w.deletePods()
	w.waitGone(a)
}

func TestMissingIsSaid(t *testing.T) {
	w := startControllers(t)
	cases := map[string]struct {
		reason string
		change func(*modelv1alpha1.Artifact)
		want   string
	}{
		"ProviderConfig": {
			reason: "A ProviderConfig that is not there is named.",
			change: func(a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Name = "nowhere" },
			want:   `ProviderConfig "nowhere" does not exist`,
		},
		"Kind": {
			reason: "Another kind of ProviderConfig cannot be.",
			change: func(a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Kind = "ConfigMap" },
			want:   "write ProviderConfig or ClusterProviderConfig",
		},
		"RegistrySecret": {
			reason: "A Secret that is not there is named before a Job waits for it.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "nowhere"}
			},
			want: `Secret "nowhere" in namespace`,
		},
		"HubToken": {
			reason: "A token that is not there is named before a Job waits for it.",
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "no-token", Key: "token"}
			},
			want: `Secret "no-token" in namespace`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := w.artifact(strings.ToLower(name))
			tc.change(a)
			w.create(a)
			w.eventually(tc.reason, func() string {
				if err := w.get(a); err != nil {
					return err.Error()
				}
				if c := a.GetCondition(xpv2.TypeSynced); !strings.Contains(c.Message, tc.want) {
					return fmt.Sprintf("Synced says %q", c.Message)
				}
				return ""
			})
			// Nothing was made, so nothing holds it.
			if err := w.client.Delete(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			w.waitGone(a)
		})
	}
	jobs := &batchv1.JobList{}
	if err := w.client.List(t.Context(), jobs, client.InNamespace(w.namespace)); err != nil || len(jobs.Items) != 0 {
		t.Errorf("Jobs: got %d, %v", len(jobs.Items), err)
	}
}
