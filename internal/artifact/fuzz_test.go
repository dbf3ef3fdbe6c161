package artifact

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// conditionReason is what the API server takes as a condition's reason
// (k8s.io/apimachinery/pkg/apis/meta/v1, Condition).
var conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// FuzzObserve checks that what a Pod left behind, whoever wrote it, becomes a
// condition that the API server takes and a person can read.
func FuzzObserve(f *testing.F) {
	digest := "sha256:" + strings.Repeat("0", 64)
	f.Add(digest, "", "", true)
	f.Add(`{"digest":"`+digest+`","size":-1,"revision":"\u0000"}`, "", "", true)
	f.Add(`{"failure":{"reason":"two words","message":"\u001b[31m"}}`, "BackoffLimitExceeded", "Job has reached the specified backoff limit", false)
	f.Add(`{"failure":{"reason":"RateLimited","message":"x","retryAfterSeconds":-9223372036854775808}}`, "", "", false)
	f.Add("panic: x\n\ngoroutine 1", "DeadlineExceeded", "", false)
	f.Add("", "", "", false)
	f.Fuzz(func(t *testing.T, left, reason, message string, success bool) {
		if len(message) > 1024 || strings.ContainsFunc(message, unicode.IsControl) {
			// The Job controller's own words are short and one line.
			return
		}
		job := jobFailedBy(batchv1.JobFailed, reason, message)
		if success {
			job = jobDone()
		}
		pods := []corev1.Pod{podWith("p", corev1.PodFailed, ended(1, left))}
		o := ObserveJobStatus(job, pods, "", "")
		if !conditionReason.MatchString(o.Reason) {
			t.Errorf("reason: got %q", o.Reason)
		}
		if len(o.Message) > 1024 || strings.ContainsFunc(o.Message, unicode.IsControl) {
			t.Errorf("message: got %q", o.Message)
		}
		if (o.Ready == metav1.ConditionTrue) != (o.Phase == modelv1alpha1.PhaseSucceeded) || success != (o.Phase == modelv1alpha1.PhaseSucceeded) {
			t.Errorf("got phase %s with Ready=%s for a Job that succeeded: %t", o.Phase, o.Ready, success)
		}
		if again := ObserveJobStatus(job, pods, "", ""); again != o {
			t.Errorf("the same input gives %+v, then %+v", o, again)
		}
	})
}

// FuzzObjectNames checks that each name that the API server takes for an
// Artifact makes names and labels that it takes for what belongs to it.
func FuzzObjectNames(f *testing.F) {
	f.Add("qwen3", "v0.1.0")
	f.Add(strings.Repeat("a.", 126)+"a", "v1+dirty~$")
	f.Add("a-0123456789", "")
	f.Add(strings.Repeat("a", 52)+"."+strings.Repeat("b", 11), strings.Repeat("x", 70))
	f.Fuzz(func(t *testing.T, name, version string) {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			return
		}
		a := newArtifact(withName(name))
		for _, object := range []string{PVCName(name), secretName(name), JobName(a), generateName(name) + "x2b4c"} {
			if errs := validation.IsDNS1123Subdomain(object); len(errs) > 0 {
				t.Errorf("%q: %v", object, errs)
			}
		}
		if errs := validation.IsValidLabelValue(JobName(a)); len(errs) > 0 {
			t.Errorf("the Job's name is no label: %v", errs)
		}
		for _, value := range LabelsForArtifact(name, version) {
			if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
				t.Errorf("label %q: %v", value, errs)
			}
		}
	})
}
