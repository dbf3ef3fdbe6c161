package artifact

import (
	"context"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// A statusManager gives the runtime a client that writes an Artifact's status
// as it should be. The runtime makes its client of the manager's.
type statusManager struct {
	ctrl.Manager

	refusals *refusals
}

// GetClient returns the client that the runtime writes with.
func (m statusManager) GetClient() client.Client {
	return &statusClient{Client: m.Manager.GetClient(), refusals: m.refusals}
}

// A statusClient is a client with another status writer.
type statusClient struct {
	client.Client

	refusals *refusals
}

// Status returns a writer for statuses.
func (c *statusClient) Status() client.SubResourceWriter {
	return &statusWriter{SubResourceWriter: c.Client.Status(), cached: c.Client, refusals: c.refusals}
}

// A statusWriter writes no status that is there already: the runtime does at
// the end of each reconcile, which would be a request an Artifact and poll. And
// where Create was refused it has Ready say why: there the runtime puts Creating
// in its place.
type statusWriter struct {
	client.SubResourceWriter

	cached   client.Reader
	refusals *refusals
}

// Update updates an object's status. It does nothing where the cache holds the
// very version that the object is of, with the same status: a cache that lags
// behind or is ahead holds another version.
func (w *statusWriter) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	a, ok := o.(*modelv1alpha1.Artifact)
	if !ok {
		return w.SubResourceWriter.Update(ctx, o, opts...)
	}
	there := &modelv1alpha1.Artifact{}
	err := w.cached.Get(ctx, client.ObjectKeyFromObject(a), there)
	if why, ok := w.refusals.take(a.GetUID()); ok && a.GetCondition(xpv2.TypeSynced).Status == corev1.ConditionFalse {
		if said := there.GetCondition(xpv2.TypeReady); said.Equal(why) {
			// The runtime's Creating was never written.
			why.LastTransitionTime = said.LastTransitionTime
		}
		a.SetConditions(why)
	}
	if err == nil && there.GetResourceVersion() == a.GetResourceVersion() && equality.Semantic.DeepEqual(there.Status, a.Status) {
		return nil
	}
	return w.SubResourceWriter.Update(ctx, o, opts...)
}

// refusals are the Ready conditions of Artifacts whose Create was refused just
// now, until their status is written.
type refusals = once[types.UID, xpv2.Condition]
