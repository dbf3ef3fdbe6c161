package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestPodSecurityContext checks who a run's Pod is, that it passes the restricted Pod
// security standard in any case, and that it can read its credentials.
func TestPodSecurityContext(t *testing.T) {
	type want struct {
		User, Group, FSGroup *int64
		CredentialsMode      int32
	}
	id := v1alpha1.DefaultUserID
	cases := map[string]struct {
		reason string
		args   *v1alpha1.PodSecurityContext
		want   want
	}{
		"Default": {
			reason: "A Pod should have a user and groups that are not root's, and its credentials belong to these.",
			want:   want{User: &id, Group: &id, FSGroup: &id, CredentialsMode: 0o440},
		},
		"Assigned": {
			reason: "What the cluster assigns should not be set, and credentials be readable by any user.",
			args:   &v1alpha1.PodSecurityContext{},
			want:   want{CredentialsMode: 0o444},
		},
		"UserOnly": {
			reason: "A user without a group of volumes should be able to read credentials.",
			args:   &v1alpha1.PodSecurityContext{RunAsUser: ptr.To[int64](2000)},
			want:   want{User: ptr.To[int64](2000), CredentialsMode: 0o444},
		},
		"Chosen": {
			reason: "What an administrator chooses should be set, and nothing else.",
			args: &v1alpha1.PodSecurityContext{
				RunAsUser: ptr.To[int64](2000), RunAsGroup: ptr.To[int64](0), FSGroup: ptr.To[int64](2001), SupplementalGroups: []int64{3000},
				SELinuxOptions: &corev1.SELinuxOptions{Type: "container_t", Level: "s0:c1,c2"},
			},
			want: want{User: ptr.To[int64](2000), Group: ptr.To[int64](0), FSGroup: ptr.To[int64](2001), CredentialsMode: 0o440},
		},
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, tc := range cases {
		for pipeline, modify := range map[string]artifactModifier{"Kit": func(*modelv1alpha1.Artifact) {}, "Stream": withStream()} {
			t.Run(name+pipeline, func(t *testing.T) {
				a := newArtifact(modify, withConfigCredentials(), func(a *modelv1alpha1.Artifact) { a.Effective.Pod.PodSecurityContext = tc.args })
				template := BuildJob(a, testKitImage, nil).Spec.Template
				s := template.Spec.SecurityContext
				got := want{User: s.RunAsUser, Group: s.RunAsGroup, FSGroup: s.FSGroup}
				for _, v := range template.Spec.Volumes {
					if v.Name == credentialsVolumeName {
						got.CredentialsMode = ptr.Deref(v.Projected.DefaultMode, 0)
					}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
				}
				for _, c := range containers(template.Spec) {
					if s := c.SecurityContext; s.RunAsUser != nil || s.RunAsGroup != nil {
						t.Errorf("\n%s\ncontainer %q has a user of its own", tc.reason, c.Name)
					}
				}
				if r := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec)); !r.Allowed {
					t.Errorf("\n%s\nThe restricted Pod security standard refuses the Pod: %s", tc.reason, r.ForbiddenDetail())
				}
			})
		}
	}
}

// TestPodSettingsOfWaitingRun checks which of an administrator's settings replace a Job
// that does not start, and that none is content.
func TestPodSettingsOfWaitingRun(t *testing.T) {
	spread := []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule}}
	cases := map[string]struct {
		reason   string
		args     v1alpha1.PodSettings
		replaces bool
	}{
		"RuntimeClass": {reason: "A runtime that exists may be the cure.", args: v1alpha1.PodSettings{RuntimeClassName: "gvisor"}, replaces: true},
		"Scheduler":    {reason: "A scheduler that runs may be the cure.", args: v1alpha1.PodSettings{SchedulerName: "volcano"}, replaces: true},
		"Spread":       {reason: "A constraint may be the cure.", args: v1alpha1.PodSettings{TopologySpreadConstraints: spread}, replaces: true},
		"User":         {reason: "A user that the cluster admits may be the cure.", args: v1alpha1.PodSettings{PodSecurityContext: &v1alpha1.PodSecurityContext{}}, replaces: true},
		"TTL":          {reason: "How long a Job is kept decides nothing of its start.", args: v1alpha1.PodSettings{TTLSecondsAfterFinished: ptr.To[int32](600)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plain, a := newArtifact(), newArtifact()
			a.Effective.Pod = tc.args
			if diff := cmp.Diff(RunHash(plain), RunHash(a)); diff != "" {
				t.Errorf("\n%s\nNo setting of a Pod is content.\nRunHash(): -want, +got:\n%s", tc.reason, diff)
			}
			there, wanted := BuildJob(plain, testKitImage, nil), BuildJob(a, testKitImage, nil)
			if got := !sameBuild(there, wanted, AnnotationBuildHash); got != tc.replaces {
				t.Errorf("\n%s\nreplaces a Job that does not start: want %t, got %t", tc.reason, tc.replaces, got)
			}
		})
	}
}
