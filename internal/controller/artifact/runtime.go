package artifact

import (
	"context"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/kstatus"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// A statusManager gives the runtime a client that writes an Artifact's status
// as it should be. The runtime makes its client of the manager's.
type statusManager struct {
	ctrl.Manager

	memory *memory
}

// GetClient returns the client that the runtime writes with.
func (m statusManager) GetClient() client.Client {
	return &statusClient{Client: m.Manager.GetClient(), memory: m.memory}
}

// A statusClient is a client with another status writer.
type statusClient struct {
	client.Client

	memory *memory
}

// Status returns a writer for statuses.
func (c *statusClient) Status() client.SubResourceWriter {
	return &statusWriter{SubResourceWriter: c.Client.Status(), cached: c.Client, memory: c.memory}
}

// A statusWriter writes no status that is there already: the runtime does at
// the end of each reconcile, which would be a request an Artifact and poll. Nor
// does it write one after a Create or Update that made a Job, which requeues the
// Artifact: the next reconcile writes how far its run is. Each write is a watch event to who
// composes the Artifact. Where Create was refused it has Ready say why: there the runtime
// puts Creating in its place. And it is the one place that sees the Ready that is written,
// with whatever the runtime made of it: what tools read beside Ready is derived here.
type statusWriter struct {
	client.SubResourceWriter

	cached client.Reader
	memory *memory
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
	_, started := w.memory.started.take(a.GetUID())
	if why, ok := w.memory.refusals.take(a.GetUID()); ok && a.GetCondition(xpv2.TypeSynced).Status == corev1.ConditionFalse {
		if said := there.GetCondition(xpv2.TypeReady); said.Equal(why) {
			// The runtime's Creating was never written.
			why.LastTransitionTime = said.LastTransitionTime
		}
		a.SetConditions(why)
	}
	kstatus.Derive(&a.Status.ConditionedStatus, &a.Status.ObservedGeneration, isStalled(a))
	if err == nil && there.GetResourceVersion() == a.GetResourceVersion() && equality.Semantic.DeepEqual(there.Status, a.Status) {
		return nil
	}
	// A handled request for a reconcile is written, else it would be handled again.
	if started && err == nil && a.GetCondition(xpv2.TypeSynced).Status == corev1.ConditionTrue && a.GetLastHandledReconcileAt() == there.GetLastHandledReconcileAt() && knowsAsMuch(there, a) {
		return nil
	}
	return w.SubResourceWriter.Update(ctx, o, opts...)
}

// Update updates an object. Of an Artifact it leaves out since when a Create is pending: the
// runtime writes that so that it finds a Create which it does not know the result of, and
// then another write for its success. A run that was begun is found by the annotations that
// this write has, and by its Job's name. It leaves out the status, too, which the API server
// would read and drop: this write is not that of the subresource.
func (c *statusClient) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	a, ok := o.(*modelv1alpha1.Artifact)
	if !ok {
		return c.Client.Update(ctx, o, opts...)
	}
	meta.RemoveAnnotations(a, meta.AnnotationKeyExternalCreatePending)
	status := a.Status
	a.Status = modelv1alpha1.ArtifactStatus{}
	defer func() { a.Status = status }() // What was observed is newer than what was answered.
	return c.Client.Update(ctx, a, opts...)
}

// A creationUpdater leaves out the write that a Create succeeded, for which nobody looks:
// each is a watch event, too, to who composes the Artifact. What Create annotates, it writes
// itself. That one failed is written.
type creationUpdater struct {
	managed.CriticalAnnotationUpdater
}

// UpdateCriticalAnnotations writes annotations after a Create that failed.
func (u creationUpdater) UpdateCriticalAnnotations(ctx context.Context, o client.Object) error {
	if meta.GetExternalCreateSucceeded(o).After(meta.GetExternalCreateFailed(o)) {
		meta.RemoveAnnotations(o, meta.AnnotationKeyExternalCreateSucceeded)
		return nil
	}
	return u.CriticalAnnotationUpdater.UpdateCriticalAnnotations(ctx, o)
}

// isStalled reports whether an Artifact that is not ready waits for a person.
func isStalled(a *modelv1alpha1.Artifact) bool {
	reason, s := outcome.Reason(a.GetCondition(xpv2.TypeReady).Reason), a.Status.AtProvider
	switch {
	case reason == outcome.NotFound && settings.OnlyObserves(a):
		// Somebody else is to push it, possibly by the same commit as the Artifact.
		return false
	case s.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil && s.Failure.Reason == string(reason):
		// Retries of a transient error may be used up.
		return s.Failure.NextTryTime == nil
	}
	return reason.Stalls()
}

// knowsAsMuch reports whether the status of an Artifact that is stored says the same as
// another one of what was pushed: once a run has started, that is not found out again.
func knowsAsMuch(stored, a *modelv1alpha1.Artifact) bool {
	pushed := func(s modelv1alpha1.ArtifactObservation) modelv1alpha1.ArtifactObservation {
		return modelv1alpha1.ArtifactObservation{
			Digest: s.Digest, Reference: s.Reference, RunHash: s.RunHash, CommitRunHash: s.CommitRunHash,
			Attestation: s.Attestation, Description: s.Description, Tags: s.Tags, History: s.History, Staged: s.Staged,
		}
	}
	return equality.Semantic.DeepEqual(pushed(stored.Status.AtProvider), pushed(a.Status.AtProvider))
}

// started are the Artifacts whose Create or Update has made a Job just now, until their
// status would be written.
type started = once[types.UID, struct{}]

// refusals are the Ready conditions of Artifacts whose Create was refused just
// now, until their status is written.
type refusals = once[types.UID, xpv2.Condition]

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

// Reasons of the runtime's events after a Create and an Update
// (crossplane-runtime 2.4, pkg/reconciler/managed/reconciler.go).
const (
	// reasonCreated: the runtime has called Create, which did what has no event of its own.
	reasonCreated event.Reason = "CreatedExternalResource"

	// reasonUpdated: the runtime has called Update, which did what has no event of its own.
	reasonUpdated event.Reason = "UpdatedExternalResource"
)

// told are the Artifacts whose Create or Update took a step that has events of its own, or
// only cleared away what an earlier run left, until the runtime's event about it.
type told = once[types.UID, struct{}]

// A quietRecorder leaves out the runtime's event that something was created or updated where
// another event says what, or nothing was. Each event is a write to the API server.
type quietRecorder struct {
	event.Recorder

	told *told
}

// Event records an event, unless it is the runtime's of a step that has its own.
func (r quietRecorder) Event(o runtime.Object, e event.Event) {
	m, ok := o.(metav1.Object)
	if ok && (e.Reason == reasonCreated || e.Reason == reasonUpdated) {
		if _, known := r.told.take(m.GetUID()); known {
			return
		}
	}
	r.Recorder.Event(o, e)
}

// WithAnnotations returns a recorder like this one that annotates its events.
func (r quietRecorder) WithAnnotations(keysAndValues ...string) event.Recorder {
	return quietRecorder{Recorder: r.Recorder.WithAnnotations(keysAndValues...), told: r.told}
}

// A once keeps values for keys, each until it is taken. Its zero value is empty.
// It is safe for concurrent use.
type once[K comparable, V any] struct {
	mu     sync.Mutex
	values map[K]V
}

// put keeps the value of a key.
func (o *once[K, V]) put(key K, value V) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.values == nil {
		o.values = map[K]V{}
	}
	o.values[key] = value
}

// take returns the value of a key once.
func (o *once[K, V]) take(key K) (V, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	value, ok := o.values[key]
	delete(o.values, key)
	return value, ok
}

// get returns the value of a key, which stays.
func (o *once[K, V]) get(key K) V {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.values[key]
}

// When an Artifact is reconciled again. The runtime would treat a deletion that goes
// on like one that fails: its wait grows with each step.
const (
	// requeueNow is for the next step of what was just done.
	requeueNow = 10 * time.Millisecond

	// requeueDeleted is for what was deleted, to see that it is gone.
	requeueDeleted = time.Second

	// requeueStopped is for runs that were stopped. Mostly the end of their Pods
	// requeues the Artifact before.
	requeueStopped = 10 * time.Second
)

// soon are the Artifacts that are reconciled again after a fixed time.
type soon = once[types.NamespacedName, time.Duration]

// A stagedMemory remembers for each Artifact something that a run staged. It is safe for
// concurrent use.
type stagedMemory struct {
	once[types.UID, modelv1alpha1.StagedArtifact]
}

// has reports whether what an Artifact's run staged is remembered.
func (m *stagedMemory) has(uid types.UID, s modelv1alpha1.StagedArtifact) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[uid] == s
}
