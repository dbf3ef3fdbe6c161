package artifact

import (
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestIsolatedCopyIsRenewed changes a tenant's Secret in mid-run, of which a run in another
// namespace has a copy.
func TestIsolatedCopyIsRenewed(t *testing.T) {
	w, pc := isolate(t, Options{})
	w.change(pc, func() {
		pc.Spec.HuggingFace = nil
		pc.Spec.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone}
	})
	mine := credentialsSecret(w.namespace, "mine", map[string]string{"token": "hf_first"})
	w.create(mine)
	a := w.isolated("model")
	a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "mine", Key: "token"}
	w.create(a)
	job := w.job(a, 1)
	w.start(job)
	holds := func(token string) {
		w.t.Helper()
		w.eventually("the copy has the token", func() string {
			copies := w.copies(a)
			if len(copies) != 1 || copies[0].GetNamespace() != w.runs {
				return "want one copy in the namespace of runs"
			}
			for _, value := range copies[0].Data {
				if string(value) == token {
					return ""
				}
			}
			return "not yet"
		})
	}
	holds("hf_first")
	w.change(mine, func() { mine.Data["token"] = []byte("hf_second") })
	holds("hf_second")
	if now := w.job(a, 1); now.GetUID() != job.GetUID() || now.GetDeletionTimestamp() != nil {
		t.Errorf("want the Job to stay, got %+v", now.ObjectMeta)
	}
	w.checkNothing(w.namespace)
}

// TestHubIdentity has runs be known to the Hub by their service account.
func TestHubIdentity(t *testing.T) {
	w, pc := isolate(t, Options{})
	w.change(pc, func() {
		pc.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Identity: &v1alpha1.HubIdentity{Resource: "models-bot"}}
	})
	a := w.isolated("gated")
	a.Spec.ForProvider.Pipeline = ""
	w.create(a)
	var job *batchv1.Job
	w.eventually("Job", func() string {
		jobs := &batchv1.JobList{}
		if err := w.client.List(t.Context(), jobs, client.InNamespace(w.runs)); err != nil {
			return err.Error()
		}
		if len(jobs.Items) != 1 {
			return "there is no Job"
		}
		job = &jobs.Items[0]
		return ""
	})
	audiences := []string{}
	for _, v := range job.Spec.Template.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				audiences = append(audiences, s.ServiceAccountToken.Audience)
			}
		}
	}
	if len(audiences) != 1 || audiences[0] != v1alpha1.DefaultHubEndpoint {
		t.Errorf("want one token of the service account for the Hub, got %q", audiences)
	}
	for _, s := range w.copies(a) {
		if _, ok := s.Data["hub-token"]; ok {
			t.Error("want no token of the Hub in the run's Secret")
		}
	}

	kit := w.isolated("kit")
	kit.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(kit)
	w.waitReady(kit, corev1.ConditionFalse, string(outcome.Unsupported))
	if c := kit.GetCondition(xpv2.TypeReady); c.Message == "" {
		t.Error("want the condition to say what to do")
	}
}
