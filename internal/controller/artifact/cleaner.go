package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// A cleaner takes away what a run needs no longer once its end is recorded: the
// workspace after success, the Secret after any end. It is an Initializer, since
// cleaning up is no update of the artifact and no management policy stops it.
type cleaner struct {
	cached client.Client
	direct client.Client
}

// Initialize cleans up after the Artifact's latest run.
func (c *cleaner) Initialize(ctx context.Context, mg resource.Managed) error {
	a, ok := mg.(*modelv1alpha1.Artifact)
	if !ok || !ended(a) {
		return nil
	}
	if a.Status.AtProvider.Phase == modelv1alpha1.PhaseSucceeded {
		if err := artifact.DeletePVC(ctx, c.cached, a); err != nil {
			return err
		}
	}
	ref := a.GetProviderConfigReference()
	if ref == nil || ref.Kind != v1alpha1.ClusterProviderConfigGroupVersionKind.Kind {
		// Only a ClusterProviderConfig's Secrets are copied.
		return nil
	}
	return artifact.DeleteSecret(ctx, c.direct, a)
}
