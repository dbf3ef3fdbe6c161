package progress

import (
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// shares are what is known of a run that several Pods transfer, each its share of the bytes.
type shares struct {
	// number of the shares, and how many of them are done.
	number, done int

	// ended are the Pods that have succeeded: all of their share is done.
	ended map[types.UID]bool

	// answers are the last of each Pod, also of those that have ended.
	answers map[types.UID]outcome.Progress
}

// mostBytes bounds what a Pod's word adds to a sum, which must not overflow.
const mostBytes = int64(1) << 56

// isShare reports whether a Pod transfers a share of its run.
func isShare(pod *corev1.Pod) bool {
	_, ok := pod.GetLabels()[batchv1.JobCompletionIndexAnnotation]
	return ok
}

// of returns what is known of the shares of an Artifact's run with these Pods, beside what was
// before; nil for a run of one Pod.
func (s *shares) of(a *modelv1alpha1.Artifact, pods []corev1.Pod) *shares {
	if len(pods) == 0 || !isShare(&pods[0]) {
		return nil
	}
	out := &shares{number: len(pods), ended: map[types.UID]bool{}, answers: map[types.UID]outcome.Progress{}}
	if o := a.Status.AtProvider.Shares; o != nil {
		out.number, out.done = max(int(o.Of), 1), len(o.Done)
	}
	for i := range pods {
		uid := pods[i].GetUID()
		if s != nil {
			if answer, ok := s.answers[uid]; ok {
				out.answers[uid] = answer
			}
		}
		if pods[i].Status.Phase != corev1.PodSucceeded {
			continue
		}
		out.ended[uid] = true
		if r, _, ok := outcome.FromPods(pods[i : i+1]); ok && r.Share != nil && r.Share.Bytes > 0 {
			// Also where the Pod was never asked, as before the provider started.
			out.answers[uid] = outcome.Progress{BytesTotal: r.Share.Bytes}
		}
	}
	return out
}

// observed returns the status of the run, with what Pods have answered just now. Bytes add
// up, and the run takes as long as its slowest Pod. Where the size of a share is not known,
// each share counts the same for the percentage.
func (s *shares) observed(got map[types.UID]outcome.Progress) *modelv1alpha1.ProgressObservation {
	maps.Copy(s.answers, got)
	out := &modelv1alpha1.ProgressObservation{}
	var left time.Duration
	percents, sized := int64(100*max(s.done-len(s.ended), 0)), 0
	for uid, p := range s.answers {
		if s.ended[uid] {
			p = outcome.Progress{Percent: 100, BytesDone: p.BytesTotal, BytesTotal: p.BytesTotal}
		} else if p.Step > out.Step {
			out.Step = p.Step
		}
		out.BytesDone += min(p.BytesDone, mostBytes)
		out.BytesTotal += min(p.BytesTotal, mostBytes)
		out.BytesPerSecond += min(p.BytesPerSecond, mostBytes)
		percents += int64(p.Percent)
		if p.BytesTotal > 0 {
			sized++
		}
		if l, ok := p.TimeLeft(); ok {
			left = max(left, l)
		}
	}
	if sized < s.number || out.BytesTotal <= 0 {
		out.BytesTotal = 0
		out.Percent = int32(min(percents/int64(s.number), 100)) //nolint:gosec // At most 100.
		return out
	}
	out.Percent = int32(min(100*(float64(out.BytesDone)/float64(out.BytesTotal)), 100))
	if left > 0 {
		out.TimeLeft = &metav1.Duration{Duration: left}
	}
	return out
}
