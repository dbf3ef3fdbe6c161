package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// A finalizer adds the runtime's finalizer. Where a run is about to be created
// it leaves the write to the runtime, which writes the whole Artifact before it
// creates: one request less before each first Job. It removes it as the runtime
// does, and has the Artifact forgotten.
type finalizer struct {
	resource.Finalizer

	cached client.Reader
	forget func(types.UID)
}

// newFinalizer returns what adds and removes the finalizer.
func newFinalizer(cached client.Client, forget func(types.UID)) *finalizer {
	return &finalizer{Finalizer: resource.NewAPIFinalizer(cached, managed.FinalizerName), cached: cached, forget: forget}
}

// RemoveFinalizer removes the finalizer. Where the management policies do not
// delete, nothing was observed before.
func (f *finalizer) RemoveFinalizer(ctx context.Context, o resource.Object) error {
	f.forget(o.GetUID())
	return f.Finalizer.RemoveFinalizer(ctx, o)
}

// AddFinalizer adds the finalizer, if it is not there yet. Observe has annotated
// an Artifact with its run, in memory alone, where Create follows.
func (f *finalizer) AddFinalizer(ctx context.Context, o resource.Object) error {
	if meta.FinalizerExists(o, managed.FinalizerName) {
		return nil
	}
	there := &modelv1alpha1.Artifact{}
	if err := f.cached.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil {
		return errors.Wrap(err, "cannot get the Artifact")
	}
	if there.GetResourceVersion() == o.GetResourceVersion() && artifact.RunOf(there) != artifact.RunOf(o) {
		meta.AddFinalizer(o, managed.FinalizerName)
		return nil
	}
	return f.Finalizer.AddFinalizer(ctx, o)
}
