package settings

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// management returns the runtime's reading of an Artifact's management policies.
// Where the feature is off, the runtime refuses all policies but the default, so
// that they can be read as if it were on.
func management(a *modelv1alpha1.Artifact) managed.ManagementPoliciesChecker {
	return managed.NewManagementPoliciesResolver(true, a.GetManagementPolicies())
}

// MayCreate reports whether the Artifact's management policies allow to make its
// artifact where there is none.
func MayCreate(a *modelv1alpha1.Artifact) bool { return management(a).ShouldCreate() }

// MayUpdate reports whether the Artifact's management policies allow to rebuild or
// to retag its artifact once it is there.
func MayUpdate(a *modelv1alpha1.Artifact) bool { return management(a).ShouldUpdate() }

// OnlyObserves reports whether the Artifact is observed and never made. The
// runtime's ShouldOnlyObserve is false where policies have Delete or LateInitialize
// beside Observe, which do not make it either.
func OnlyObserves(a *modelv1alpha1.Artifact) bool { return !MayCreate(a) && !MayUpdate(a) }
