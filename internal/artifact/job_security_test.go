package artifact

import (
	"testing"

	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
)

// TestBuildJobIsAdmitted checks each Job's Pod by the code that a cluster
// admits Pods by.
func TestBuildJobIsAdmitted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			template := BuildJob(tc.args, testKitImage, LabelsForArtifact(testName, "v1")).Spec.Template
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
			if !result.Allowed {
				t.Errorf("\n%s\nThe restricted Pod security standard refuses the Pod: %s", tc.reason, result.ForbiddenDetail())
			}
		})
	}
}

// TestBuildJobIsConfined checks what we ask beyond the restricted standard.
func TestBuildJobIsConfined(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			if ptr.Deref(pod.AutomountServiceAccountToken, true) {
				t.Errorf("\n%s\nThe Pod gets a service account's token", tc.reason)
			}
			s := pod.SecurityContext
			for what, id := range map[string]*int64{"user": s.RunAsUser, "group": s.RunAsGroup, "volumes' group": s.FSGroup} {
				if ptr.Deref(id, 0) == 0 {
					t.Errorf("\n%s\nThe %s has no number, or root's", tc.reason, what)
				}
			}
			if pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Errorf("\n%s\nThe Pod uses its node's namespaces", tc.reason)
			}
			for _, c := range containers(pod) {
				if !ptr.Deref(c.SecurityContext.ReadOnlyRootFilesystem, false) {
					t.Errorf("\n%s\nContainer %q can write its root", tc.reason, c.Name)
				}
				if len(c.Resources.Requests) == 0 {
					t.Errorf("\n%s\nContainer %q asks for nothing", tc.reason, c.Name)
				}
			}
		})
	}
}
