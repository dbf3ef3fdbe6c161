package artifact

import (
	"context"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/config"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestPermissionsMissing is a provider's life under Crossplane's own RBAC: it
// starts without what examples/install grants, says so, goes on by itself once
// that is granted, reports so again when it is revoked, and goes on again.
func TestPermissionsMissing(t *testing.T) {
	w := newWorld(t)
	account := accesstest.NewAccount(w.client, w.namespace)
	account.Grant(t, "crossplane", accesstest.Crossplane(t))
	w.startAs(account)

	a := w.artifact("model")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.PermissionMissing))
	const lacks = "The provider may not delete providerconfigusages.kitops.m.crossplane.io; " +
		"get, list, watch, create, delete jobs.batch; get, list, watch, create, delete persistentvolumeclaims; " +
		"get, list, watch pods; get, list, watch namespaces: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount "
	says := lacks + w.namespace + "/provider-kitops"
	if got := a.GetCondition(xpv2.TypeReady).Message; got != says {
		t.Errorf("Ready says %q, want %q", got, says)
	}
	if got := a.GetCondition(xpv2.TypeSynced).Message; !strings.Contains(got, says) {
		t.Errorf("Synced says %q, want %q", got, says)
	}

	// One of which nothing was made needs no permission to go.
	gone := w.artifact("gone")
	w.create(gone)
	w.waitReady(gone, corev1.ConditionFalse, string(outcome.PermissionMissing))
	if err := w.client.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	w.waitGone(gone)

	rules, _ := accesstest.Installed(t, "rbac.yaml")
	account.Grant(t, "installed", rules)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))

	// What is ready stays so when a permission is revoked.
	account.Revoke(t, "installed")
	next := w.artifact("next")
	w.create(next)
	w.waitReady(next, corev1.ConditionFalse, string(outcome.PermissionMissing))
	w.eventually("Synced says so", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		ready, synced := a.GetCondition(xpv2.TypeReady), a.GetCondition(xpv2.TypeSynced)
		if ready.Status != corev1.ConditionTrue || synced.Status != corev1.ConditionFalse || !strings.Contains(synced.Message, "may not") {
			return "Ready=" + string(ready.Status) + ", Synced: " + synced.Message
		}
		return ""
	})

	account.Grant(t, "installed", rules)
	w.job(next, 1)
	w.eventually("Synced again", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		return a.GetCondition(xpv2.TypeSynced).Message
	})
}

// TestPermissionsSuffice is the life of an Artifact of the Kit pipeline, to its
// end, with what is granted and no more.
func TestPermissionsSuffice(t *testing.T) {
	cases := map[string]struct {
		reason string
		grant  func(*testing.T, *accesstest.Account)
	}{
		"UnderCrossplane": {
			reason: "Crossplane's part and that of examples/install are enough together.",
			grant: func(t *testing.T, account *accesstest.Account) {
				t.Helper()
				rules, _ := accesstest.Installed(t, "rbac.yaml")
				account.Grant(t, "crossplane", accesstest.Crossplane(t))
				account.Grant(t, "installed", rules)
			},
		},
		"WithoutCrossplane": {
			reason: "So are the roles for a cluster without Crossplane.",
			grant: func(t *testing.T, account *accesstest.Account) {
				t.Helper()
				rules, _ := accesstest.Installed(t, "without-crossplane.yaml")
				account.Grant(t, "installed", rules)
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			account := accesstest.NewAccount(w.client, w.namespace)
			t.Log(tc.reason)
			tc.grant(t, account)
			w.startAs(account)
			w.live()
		})
	}
}

// live is an Artifact's life: it is made, rebuilt and deleted.
func (w *world) live() {
	w.t.Helper()
	a := w.artifact("model")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.eventually("second run", func() string {
		// Nobody else takes the Pod of the first run away.
		w.deletePods()
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue {
			return "the Artifact is Ready still"
		}
		return ""
	})
	if err := w.client.Delete(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("Artifact gone", func() string {
		w.deletePods()
		w.removeClaimFinalizers()
		if err := w.get(a); err == nil {
			return "Synced: " + a.GetCondition(xpv2.TypeSynced).Message
		}
		return ""
	})
}

// removeClaimFinalizers plays the controller that protects claims in use.
func (w *world) removeClaimFinalizers() {
	w.t.Helper()
	claims := &corev1.PersistentVolumeClaimList{}
	if err := w.client.List(w.t.Context(), claims, client.InNamespace(w.runNamespace())); err != nil {
		w.t.Fatal(err)
	}
	for i := range claims.Items {
		claims.Items[i].SetFinalizers(nil)
		if err := client.IgnoreNotFound(w.client.Update(w.t.Context(), &claims.Items[i])); err != nil {
			w.t.Log(err)
		}
	}
}

// startAs starts the controllers as an account.
func (w *world) startAs(account *accesstest.Account) {
	w.t.Helper()
	cfg := account.Config(apiserver.Config(w.t))
	kube, err := client.New(cfg, client.Options{Scheme: apiserver.Scheme(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	checker := access.NewChecker(kube, logging.NewNopLogger(), "")
	startManagerAs(w.t, cfg, []string{w.namespace}, Options{
		Images:      settings.Images{Kit: "kit:test"},
		WorkerImage: func(context.Context) string { return "worker:test" },
		Access:      checker,
	}, func(mgr ctrl.Manager, o controller.Options) error {
		return errors.Join(mgr.Add(checker), config.Setup(mgr, config.Options{Options: o, Access: checker}))
	})
}
