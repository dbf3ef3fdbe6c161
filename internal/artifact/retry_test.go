package artifact

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestRetryWait(t *testing.T) {
	policy := func(limit int32, interval time.Duration) *modelv1alpha1.RetryPolicy {
		return &modelv1alpha1.RetryPolicy{Limit: &limit, Interval: &metav1.Duration{Duration: interval}}
	}
	type args struct {
		policy   *modelv1alpha1.RetryPolicy
		failures int64
		failure  outcome.Failure
	}
	// The wait is the shortest, to which up to half is added.
	type want struct {
		wait  time.Duration
		again bool
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"First": {
			reason: "What passes is tried again after the interval.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: 30 * time.Second, again: true},
		},
		"Third": {
			reason: "The wait doubles with each failure.",
			args:   args{failures: 3, failure: outcome.Failure{Reason: outcome.Evicted}},
			want:   want{wait: 2 * time.Minute, again: true},
		},
		"Last": {
			reason: "Five tries more is the default.",
			args:   args{failures: 5, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: 8 * time.Minute, again: true},
		},
		"Limit": {
			reason: "Past the limit nothing is tried again.",
			args:   args{failures: 6, failure: outcome.Failure{Reason: outcome.Unavailable}},
		},
		"Never": {
			reason: "A limit of 0 is never.",
			args:   args{policy: policy(0, time.Second), failures: 1, failure: outcome.Failure{Reason: outcome.Unavailable}},
		},
		"Longest": {
			reason: "No wait of our own making is longer than an hour.",
			args:   args{policy: policy(100, time.Minute), failures: 90, failure: outcome.Failure{Reason: outcome.Unavailable}},
			want:   want{wait: time.Hour, again: true},
		},
		"Asked": {
			reason: "A server that asks for a longer wait gets it.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.RateLimited, RetryAfterSeconds: 300}},
			want:   want{wait: 5 * time.Minute, again: true},
		},
		"AskedForEver": {
			reason: "No server makes us wait for ever.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.RateLimited, RetryAfterSeconds: 1 << 40}},
			want:   want{wait: time.Hour, again: true},
		},
		"NotStarted": {
			reason: "A run that did not start has tried nothing, and waits no longer than an hour for as long as it takes.",
			args:   args{policy: policy(0, time.Minute), failures: 90, failure: outcome.Failure{Reason: outcome.NotStarted}},
			want:   want{wait: time.Hour, again: true},
		},
		"DoesNotPass": {
			reason: "What does not pass by itself waits for a change.",
			args:   args{failures: 1, failure: outcome.Failure{Reason: outcome.Unauthorized}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{Spec: modelv1alpha1.ArtifactSpec{ForProvider: modelv1alpha1.ArtifactParameters{Retry: tc.args.policy}}}
			seen := map[time.Duration]bool{}
			for run := range int64(20) {
				wait, again := RetryWait(a, tc.args.failures, run, tc.args.failure)
				if again != tc.want.again || wait < tc.want.wait || wait > tc.want.wait*3/2 {
					t.Errorf("\n%s\nRetryWait(...): got %s, %t, want %s to %s, %t", tc.reason, wait, again, tc.want.wait, tc.want.wait*3/2, tc.want.again)
				}
				if same, _ := RetryWait(a, tc.args.failures, run, tc.args.failure); same != wait {
					t.Errorf("\n%s\nRetryWait(...): got %s, then %s", tc.reason, wait, same)
				}
				seen[wait] = true
			}
			if tc.want.again && len(seen) < 10 {
				t.Errorf("\n%s\nthe waits of 20 runs do not spread: %v", tc.reason, seen)
			}
		})
	}
}

func TestFitsWorkspace(t *testing.T) {
	with := func(change func(*modelv1alpha1.Artifact)) *modelv1alpha1.Artifact {
		a := &modelv1alpha1.Artifact{}
		a.Spec.ForProvider.Storage = &v1alpha1.StorageSettings{Size: ptr.To(resource.MustParse("10Gi")), StorageClassName: ptr.To("fast")}
		change(a)
		return a
	}
	same := func(*modelv1alpha1.Artifact) {}
	cases := map[string]struct {
		reason string
		made   *modelv1alpha1.Artifact
		now    *modelv1alpha1.Artifact
		change func(*corev1.PersistentVolumeClaim)
		want   bool
	}{
		"Same": {reason: "Nothing has changed.", made: with(same), now: with(same), want: true},
		"Default": {
			reason: "The API server fills in the default class.",
			made:   &modelv1alpha1.Artifact{},
			now:    &modelv1alpha1.Artifact{},
			change: func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = ptr.To("standard") },
			want:   true,
		},
		"Admission": {
			reason: "A class that an admission policy sets is the cluster's choice.",
			made:   with(same),
			now:    with(same),
			change: func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = ptr.To("encrypted") },
			want:   true,
		},
		"Expanded": {
			reason: "A claim that was expanded by hand is kept.",
			made:   with(same),
			now:    with(same),
			change: func(p *corev1.PersistentVolumeClaim) {
				p.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("40Gi")
			},
			want: true,
		},
		"Size": {
			reason: "Another size is another volume.",
			made:   with(same),
			now: with(func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Storage.Size = ptr.To(resource.MustParse("20Gi"))
			}),
		},
		"Class": {
			reason: "Another class is another volume.",
			made:   with(same),
			now:    with(func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Storage.StorageClassName = ptr.To("slow") }),
		},
		"Source": {
			reason: "What another source left is of no use.",
			made:   with(same),
			now: with(func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source = &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/other"}}
			}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pvc := BuildPVC(tc.made, nil)
			if tc.change != nil {
				tc.change(pvc)
			}
			if diff := cmp.Diff(tc.want, FitsWorkspace(tc.now, pvc)); diff != "" {
				t.Errorf("\n%s\nFitsWorkspace(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
