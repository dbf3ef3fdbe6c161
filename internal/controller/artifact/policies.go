package artifact

import (
	"slices"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// mayCreate says whether the Artifact's management policies allow to make it.
func mayCreate(a *modelv1alpha1.Artifact) bool { return may(a, xpv2.ManagementActionCreate) }

// mayUpdate says whether the Artifact's management policies allow to make it
// anew, or to tag it anew, once it is there.
func mayUpdate(a *modelv1alpha1.Artifact) bool { return may(a, xpv2.ManagementActionUpdate) }

// observesOnly says whether the Artifact is not to be made, but looked at.
func observesOnly(a *modelv1alpha1.Artifact) bool { return !mayCreate(a) && !mayUpdate(a) }

func may(a *modelv1alpha1.Artifact, action xpv2.ManagementAction) bool {
	return slices.ContainsFunc(a.GetManagementPolicies(), func(p xpv2.ManagementAction) bool {
		return p == xpv2.ManagementActionAll || p == action
	})
}
