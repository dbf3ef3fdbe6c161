package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A failureCase is an Artifact that fails, and how.
type failureCase struct {
	reason string

	// change the Artifact, which is of the Stream pipeline, and what it needs.
	change func(*tenant, *modelv1alpha1.Artifact)

	// want is the reason of Ready.
	want outcome.Reason

	// says is what the message names of cause and cure.
	says []string
}

// TestEveryFailureNamesCauseAndCure makes all Artifacts first and looks at them
// afterwards, since some fail slowly: those that are retried before they are
// reported.
func TestEveryFailureNamesCauseAndCure(t *testing.T) {
	t.Parallel()
	for name, cases := range map[string]map[string]failureCase{"cluster": clusterFailures(), "servers": serverFailures(), "volumes": volumeFailures()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			artifacts, tenants := map[string]*modelv1alpha1.Artifact{}, map[string]*tenant{}
			for name, tc := range cases {
				n := newTenant(t)
				a := n.artifact(name, modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
				tc.change(n, a)
				n.create(a)
				artifacts[name], tenants[name] = a, n
			}
			for name, tc := range cases {
				t.Run(name, func(t *testing.T) {
					n, a := tenants[name], artifacts[name]
					n.t = t
					n.checkFailure(a, tc)
					n.checkStays(a)
					n.deleteArtifact(a)
				})
			}
		})
	}
}

// checkFailure waits for the condition that says what went wrong.
func (n *tenant) checkFailure(a *modelv1alpha1.Artifact, tc failureCase) {
	n.t.Helper()
	n.eventually("failure", func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		ready, synced := a.GetCondition(xpv2.TypeReady), a.GetCondition(xpv2.TypeSynced)
		seen := fmt.Sprintf("%s\nReady=%s %s %q, Synced=%s %s %q", tc.reason, ready.Status, ready.Reason, ready.Message, synced.Status, synced.Reason, synced.Message)
		if ready.Status != corev1.ConditionFalse || string(ready.Reason) != string(tc.want) {
			return seen
		}
		for _, part := range tc.says {
			if !strings.Contains(ready.Message, part) {
				return fmt.Sprintf("%s\nnot named: %s", seen, part)
			}
		}
		n.t.Log(seen)
		return ""
	})
}

// checkStays looks for a while whether conditions stay as they are. What is
// tried again is omitted, since it must change.
func (n *tenant) checkStays(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	if f := a.Status.AtProvider.Failure; f != nil && f.NextTryTime != nil {
		return
	}
	first := a.DeepCopy()
	err := wait.PollUntilContextTimeout(n.t.Context(), 200*time.Millisecond, 2*time.Second, true, func(context.Context) (bool, error) {
		// Not with the poll's context, whose end would be an error of Get's.
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return false, err
		}
		for _, c := range []xpv2.ConditionType{xpv2.TypeReady, xpv2.TypeSynced} {
			was, is := first.GetCondition(c), a.GetCondition(c)
			if !was.Equal(is) || !was.LastTransitionTime.Equal(&is.LastTransitionTime) {
				return false, fmt.Errorf("%s changed: %+v, then %+v", c, was, is)
			}
		}
		return false, nil
	})
	if !wait.Interrupted(err) {
		n.t.Error(err)
	}
}

// deleteArtifact deletes an Artifact that failed and waits until it is gone.
func (n *tenant) deleteArtifact(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	if err := local.Client.Delete(n.t.Context(), a); client.IgnoreNotFound(err) != nil {
		n.t.Fatal(err)
	}
	n.eventually("Artifact gone", func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err == nil {
			return fmt.Sprintf("it is still there: %+v", a.Status.Conditions)
		}
		return ""
	})
}
