//go:build !kubectl

// What only controllers need, and what links controller-runtime's client. The plugin of
// kubectl is built without it, by the tag kubectl.

package v1alpha1

import "github.com/crossplane/crossplane-runtime/v2/pkg/resource"

var (
	_ resource.ModernManaged = &Artifact{}
	_ resource.ManagedList   = &ArtifactList{}
)

// GetItems of this ArtifactList.
func (l *ArtifactList) GetItems() []resource.Managed {
	items := make([]resource.Managed, len(l.Items))
	for i := range l.Items {
		items[i] = &l.Items[i]
	}
	return items
}
