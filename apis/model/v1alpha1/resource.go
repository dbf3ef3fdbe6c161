package v1alpha1

import xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

// GetCondition of this Artifact.
func (a *Artifact) GetCondition(ct xpv2.ConditionType) xpv2.Condition {
	return a.Status.GetCondition(ct)
}

// SetConditions of this Artifact.
func (a *Artifact) SetConditions(c ...xpv2.Condition) { a.Status.SetConditions(c...) }

// GetManagementPolicies of this Artifact.
func (a *Artifact) GetManagementPolicies() xpv2.ManagementPolicies {
	return a.Spec.ManagementPolicies
}

// SetManagementPolicies of this Artifact.
func (a *Artifact) SetManagementPolicies(p xpv2.ManagementPolicies) {
	a.Spec.ManagementPolicies = p
}

// GetProviderConfigReference of this Artifact.
func (a *Artifact) GetProviderConfigReference() *xpv2.ProviderConfigReference {
	return a.Spec.ProviderConfigReference
}

// SetProviderConfigReference of this Artifact.
func (a *Artifact) SetProviderConfigReference(r *xpv2.ProviderConfigReference) {
	a.Spec.ProviderConfigReference = r
}

// GetWriteConnectionSecretToReference of this Artifact.
func (a *Artifact) GetWriteConnectionSecretToReference() *xpv2.LocalSecretReference {
	return a.Spec.WriteConnectionSecretToReference
}

// SetWriteConnectionSecretToReference of this Artifact.
func (a *Artifact) SetWriteConnectionSecretToReference(r *xpv2.LocalSecretReference) {
	a.Spec.WriteConnectionSecretToReference = r
}

// GetLastHandledReconcileAt returns the value of the annotation
// crossplane.io/reconcile-requested-at that was handled last.
func (a *Artifact) GetLastHandledReconcileAt() string {
	return a.Status.LastHandledReconcileAt
}

// SetLastHandledReconcileAt records the value of the annotation
// crossplane.io/reconcile-requested-at that has been handled.
func (a *Artifact) SetLastHandledReconcileAt(token string) {
	a.Status.LastHandledReconcileAt = token
}
