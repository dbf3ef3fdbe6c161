package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// setPolicy sets the policy of the namespace's ProviderConfig; nil for none.
func (w *world) setPolicy(p *v1alpha1.ContentPolicy) {
	w.t.Helper()
	pc := &v1alpha1.ProviderConfig{}
	pc.SetName("default")
	pc.SetNamespace(w.namespace)
	w.eventually("policy", func() string {
		if err := w.get(pc); err != nil {
			return err.Error()
		}
		pc.Spec.Policy = p
		if err := w.client.Update(w.t.Context(), pc); err != nil {
			return err.Error()
		}
		return ""
	})
}

func denyModels(patterns ...v1alpha1.ModelPattern) *v1alpha1.ContentPolicy {
	return &v1alpha1.ContentPolicy{Models: &v1alpha1.ModelRules{Deny: patterns}}
}

func denyLicenses(names ...v1alpha1.LicenseName) *v1alpha1.ContentPolicy {
	return &v1alpha1.ContentPolicy{Licenses: &v1alpha1.LicenseRules{Deny: names}}
}

// waitViolation waits until an Artifact is not ready because of a policy, and says so.
func (w *world) waitViolation(a *modelv1alpha1.Artifact, says string) {
	w.t.Helper()
	w.waitReady(a, corev1.ConditionFalse, string(outcome.PolicyViolation))
	if c := a.GetCondition(xpv2.TypeReady); !strings.Contains(c.Message, says) {
		w.t.Errorf("Ready: want a message that says %q, got %q", says, c.Message)
	}
}

// TestPolicyBeforeRun checks that no run begins of a model that a policy refuses, and
// that one does when the policy changes.
func TestPolicyBeforeRun(t *testing.T) {
	w := startControllers(t)
	w.setPolicy(denyModels("org/*"))
	a := w.artifact("denied")
	w.create(a)
	w.waitViolation(a, "org/model")
	w.waitNoJob()
	w.setPolicy(denyModels("another/*"))
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// TestPolicyOfAdministrator checks that the policy of a ClusterProviderConfig for the
// registry applies to the Artifacts of a ProviderConfig, which wait for its change.
func TestPolicyOfAdministrator(t *testing.T) {
	w := startControllers(t)
	over := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{GenerateName: "over-"}}
	over.Spec.Registry = v1alpha1.ClusterRegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	over.Spec.Policy = &v1alpha1.ClusterPolicy{ContentPolicy: *denyModels("org/*")}
	w.create(over)
	t.Cleanup(func() { _ = w.client.Delete(context.WithoutCancel(t.Context()), over) })
	a := w.artifact("denied")
	w.create(a)
	w.waitViolation(a, "ClusterProviderConfig \""+over.GetName()+"\"")
	w.waitNoJob()
	w.eventually("policy", func() string {
		if err := w.get(over); err != nil {
			return err.Error()
		}
		over.Spec.Policy = nil
		if err := w.client.Update(t.Context(), over); err != nil {
			return err.Error()
		}
		return ""
	})
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// TestPolicyOfAttestedSources checks that a source must be verified if a policy requires
// that.
func TestPolicyOfAttestedSources(t *testing.T) {
	w := startControllers(t)
	w.setPolicy(&v1alpha1.ContentPolicy{RequireAttestedSource: true})
	fromHub := w.artifact("hub")
	w.create(fromHub)
	w.waitViolation(fromHub, "requires an attested source")
	copied := func(name string, v *modelv1alpha1.Verification) *modelv1alpha1.Artifact {
		a := w.artifact(name)
		a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: w.host + "/models/from:v1", PlainHTTP: true, Verify: v}}
		w.create(a)
		return a
	}
	w.waitViolation(copied("unverified", nil), "requires an attested source")
	w.job(copied("verified", &modelv1alpha1.Verification{ConfigMapRef: &modelv1alpha1.PublicKeySelector{Name: "keys"}}), 1)
}

// TestPolicyOfRun checks that a run gets the policies, that one which fails because of
// them is not retried, and that the next begins when they change.
func TestPolicyOfRun(t *testing.T) {
	w := startControllers(t)
	w.setPolicy(denyLicenses("mit"))
	a := w.artifact("refused")
	w.create(a)
	job := w.job(a, 1)
	if args := strings.Join(job.Spec.Template.Spec.Containers[0].Args, " "); !strings.Contains(args, `--policy=[{"of":"ProviderConfig \"default\"","licenses":{"deny":["mit"]}}]`) {
		t.Errorf("A run should get the policies, got %s", args)
	}
	failure := outcome.Failed(outcome.Errorf(outcome.PolicyViolation, "ProviderConfig \"default\" does not allow licence MIT"))
	message, err := json.Marshal(failure)
	if err != nil {
		t.Fatal(err)
	}
	w.finish(job, failure, string(message))
	w.waitViolation(a, "licence MIT")
	if f := a.Status.AtProvider.Failure; f == nil || f.NextTryTime != nil {
		t.Errorf("A violation should not be retried by itself: %+v", f)
	}
	w.setPolicy(nil)
	w.deletePods()
	w.eventually("another run", func() string {
		w.deletePods()
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if c := a.GetCondition(xpv2.TypeReady); c.Reason != xpv2.ReasonCreating {
			return string(c.Reason)
		}
		return ""
	})
	if args := strings.Join(w.job(a, 2).Spec.Template.Spec.Containers[0].Args, " "); strings.Contains(args, "--policy") {
		t.Errorf("A run without policies should get none, got %s", args)
	}
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// TestPolicyBeforeCommit checks that what a run staged gets no tag if a policy refuses
// it by then, and gets it when the policy changes again, without another run.
func TestPolicyBeforeCommit(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("staged")
	w.create(a)
	w.job(a, 1)
	w.setPolicy(denyLicenses("mit"))
	d := w.succeed(a, 1, "one")
	w.waitViolation(a, "licence mit")
	if w.isTagged(a, "v1") {
		t.Error("What a policy refuses should have no tag.")
	}
	w.setPolicy(&v1alpha1.ContentPolicy{Licenses: &v1alpha1.LicenseRules{Allow: []v1alpha1.LicenseName{"MIT"}}})
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if got := a.Status.AtProvider; got.Digest != d || got.Run != 1 {
		t.Errorf("What was staged should be committed without another run, got %s of run %d", got.Digest, got.Run)
	}
}

// TestPolicyBeforeCommitRunsAgain checks that a run which is requested replaces what a
// policy refuses, so that a source which was corrected can be committed.
func TestPolicyBeforeCommitRunsAgain(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("staged")
	w.create(a)
	w.job(a, 1)
	w.setPolicy(&v1alpha1.ContentPolicy{HubScan: v1alpha1.HubScanRequire})
	w.succeed(a, 1, "one")
	w.waitViolation(a, "request another run")
	w.look(a)
	w.waitNoJob()
	w.deletePods()
	job := w.job(a, 2)
	d := w.stageFor(job.Spec.Template.Spec, a.Spec.ForProvider.Target.Repository, "two")
	w.finish(job, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q,"license":"mit","scan":"clean"}`, d, testCommit))
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if got := a.Status.AtProvider; got.Digest != d || got.Source.Scan != "clean" {
		t.Errorf("What the second run staged should be committed, got %s with scan %q", got.Digest, got.Source.Scan)
	}
}

// TestPolicyOfFileList checks that the list of files that a run pushed is checked before
// a commit, and when a policy changes later.
func TestPolicyOfFileList(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("listed")
	w.create(a)
	job := w.job(a, 1)
	noPickle := &v1alpha1.ContentPolicy{Files: &v1alpha1.FileRules{Deny: []v1alpha1.FileFormat{"pickle"}}}
	w.setPolicy(noPickle)
	repository := a.Spec.ForProvider.Target.Repository
	list, err := filelist.List{Files: []filelist.File{
		{Path: "config.json", Size: 2, SHA256: digest.FromString("{}").Encoded(), Format: "data"},
		{Path: "weights.bin", Size: 2, SHA256: digest.FromString("PK").Encoded(), Format: "pickle"},
	}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	listed := digest.FromBytes(list)
	if err := w.registry.PushBlob(t.Context(), repository, ocispec.Descriptor{Digest: listed, Size: int64(len(list))}, bytes.NewReader(list)); err != nil {
		t.Fatal(err)
	}
	d := w.stageFor(job.Spec.Template.Spec, repository, "one")
	w.finish(job, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":2,"revision":%q,"license":"mit","fileList":%q}`, d, testCommit, listed))
	w.waitViolation(a, "weights.bin (pickle)")
	if w.isTagged(a, "v1") {
		t.Error("What a policy refuses should have no tag.")
	}
	w.setPolicy(nil)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.setPolicy(noPickle)
	w.eventually("not compliant", func() string {
		w.look(a)
		if c := a.GetCondition(modelv1alpha1.TypePolicyCompliant); c.Status != corev1.ConditionFalse || !strings.Contains(c.Message, "weights.bin (pickle)") {
			return fmt.Sprintf("%s %q", c.Status, c.Message)
		}
		return ""
	})
	if !w.isTagged(a, "v1") || a.GetCondition(xpv2.TypeReady).Status != corev1.ConditionTrue {
		t.Error("What is Ready should stay.")
	}
}

// TestPolicyCompliant checks that a change of a policy is told of what is Ready, and
// changes nothing else.
func TestPolicyCompliant(t *testing.T) {
	w := startControllers(t)
	a, d := w.made("ready")
	if hasCondition(a, modelv1alpha1.TypePolicyCompliant) {
		t.Error("Without a policy there should be no condition.")
	}
	type want struct {
		Status corev1.ConditionStatus
		Reason xpv2.ConditionReason
	}
	steps := []struct {
		reason string
		policy *v1alpha1.ContentPolicy
		want   want
		says   string
	}{
		{reason: "What is allowed should comply.", policy: denyModels("another/*"), want: want{corev1.ConditionTrue, "Compliant"}},
		{reason: "A model that is denied by now should not comply.", policy: denyModels("org/*"), want: want{corev1.ConditionFalse, "PolicyViolation"}, says: "org/model"},
		{reason: "A licence that is denied by now should not comply.", policy: denyLicenses("mit"), want: want{corev1.ConditionFalse, "PolicyViolation"}, says: "licence mit"},
		{reason: "What was pushed without a scan should not comply if one is required.", policy: &v1alpha1.ContentPolicy{HubScan: v1alpha1.HubScanRequire}, want: want{corev1.ConditionFalse, "PolicyViolation"}, says: "security scan"},
		{reason: "Without a policy everything should comply.", want: want{corev1.ConditionTrue, "NoPolicy"}},
	}
	for _, s := range steps {
		w.setPolicy(s.policy)
		w.eventually(s.reason, func() string {
			w.look(a)
			c := a.GetCondition(modelv1alpha1.TypePolicyCompliant)
			return cmp.Diff(s.want, want{c.Status, c.Reason})
		})
		c := a.GetCondition(modelv1alpha1.TypePolicyCompliant)
		if !strings.Contains(c.Message, s.says) {
			t.Errorf("\n%s\nPolicyCompliant: want a message that says %q, got %q", s.reason, s.says, c.Message)
		}
		w.look(a)
		if again := a.GetCondition(modelv1alpha1.TypePolicyCompliant); !again.LastTransitionTime.Equal(&c.LastTransitionTime) {
			t.Errorf("\n%s\nA condition that stays should not be written again.", s.reason)
		}
		if ready := a.GetCondition(xpv2.TypeReady); ready.Status != corev1.ConditionTrue || a.Status.AtProvider.Digest != d || !w.isTagged(a, "v1") {
			t.Errorf("\n%s\nWhat is Ready should stay: %+v", s.reason, ready)
		}
	}
	if a.Status.AtProvider.Run != 1 {
		t.Errorf("A change of a policy should begin no run, got run %d", a.Status.AtProvider.Run)
	}
}

// hasCondition reports whether an Artifact has a condition of this type.
func hasCondition(a *modelv1alpha1.Artifact, kind xpv2.ConditionType) bool {
	for _, c := range a.Status.Conditions {
		if c.Type == kind {
			return true
		}
	}
	return false
}

// TestDeclares checks whose licences nobody vouches for.
func TestDeclares(t *testing.T) {
	cases := map[string]struct {
		reason string
		source modelv1alpha1.Source
		want   bool
	}{
		"Hub":      {reason: "The Hub's uploader should be taken at their word.", source: modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model"}}},
		"Bucket":   {reason: "Files in a bucket only declare their licence.", source: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models"}}, want: true},
		"Artifact": {reason: "Packing files should make no more of what they declare.", source: modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: "registry.example.com/models/x:v1"}}, want: true},
		"Verified": {reason: "A signer should be taken at their word.", source: modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: "registry.example.com/models/x:v1", Verify: &modelv1alpha1.Verification{}}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{Spec: modelv1alpha1.ArtifactSpec{ForProvider: modelv1alpha1.ArtifactParameters{Source: &tc.source}}}
			if got := declares(a); got != tc.want {
				t.Errorf("\n%s\ndeclares(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}
