package artifact

import (
	"context"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// An onlyReader has one Artifact.
type onlyReader struct {
	client.Reader

	artifact *modelv1alpha1.Artifact
}

func (r onlyReader) Get(_ context.Context, _ types.NamespacedName, o client.Object, _ ...client.GetOption) error {
	if a, ok := o.(*modelv1alpha1.Artifact); ok {
		r.artifact.DeepCopyInto(a)
	}
	return nil
}

func TestNewUnlimited(t *testing.T) {
	cases := map[string]struct {
		reason     string
		conditions []xpv2.Condition
		limited    bool
	}{
		"New":      {reason: "Who was never reconciled waits for nobody."},
		"Conflict": {reason: "Who has no run, and gets none, is limited as all are.", conditions: []xpv2.Condition{xpv2.ReconcileSuccess(), xpv2.Unavailable()}, limited: true},
		"Error":    {reason: "Who fails again and again is limited as all are.", conditions: []xpv2.Condition{xpv2.ReconcileError(context.DeadlineExceeded)}, limited: true},
		"Ready":    {reason: "Who is well is limited.", conditions: []xpv2.Condition{xpv2.ReconcileSuccess(), xpv2.Available()}, limited: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{}
			a.SetConditions(tc.conditions...)
			limited := false
			said := func(is bool) reconcile.Reconciler {
				return reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
					limited = is
					return reconcile.Result{}, nil
				})
			}
			n := newUnlimited{cached: onlyReader{artifact: a}, all: said(false), limited: said(true)}
			if _, err := n.Reconcile(t.Context(), reconcile.Request{}); err != nil {
				t.Fatal(err)
			}
			if limited != tc.limited {
				t.Errorf("\n%s\nReconcile(...): want limited %t, got %t", tc.reason, tc.limited, limited)
			}
		})
	}
}

// TestForgotten has an Artifact be gone that was not deleted from its registry.
func TestForgotten(t *testing.T) {
	c := &connector{memory: newMemory(connection.NewHosts(), 1, nil, nil)}
	a := &modelv1alpha1.Artifact{}
	a.SetUID("one")
	c.blobs.of(a, a.GetCreationTimestamp().Time)
	c.forget(a.GetUID())
	if n := len(c.blobs.checks); n != 0 {
		t.Errorf("want nothing to be known of what is gone, got %d checks", n)
	}
}
