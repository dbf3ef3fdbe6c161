package artifact

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Reasons of the runtime's events after a Create and an Update
// (crossplane-runtime 2.4, pkg/reconciler/managed/reconciler.go).
const (
	reasonCreated event.Reason = "CreatedExternalResource"
	reasonUpdated event.Reason = "UpdatedExternalResource"
)

// cleared are the Artifacts whose Create or Update only cleared away what an
// earlier run left, until the runtime's event about it.
type cleared = once[types.UID, struct{}]

// A quietRecorder leaves out the runtime's event that something was created or
// updated where nothing was.
type quietRecorder struct {
	event.Recorder

	cleared *cleared
}

// Event records an event, unless it is of a step that only cleared away.
func (r quietRecorder) Event(o runtime.Object, e event.Event) {
	m, ok := o.(metav1.Object)
	if ok && (e.Reason == reasonCreated || e.Reason == reasonUpdated) {
		if _, only := r.cleared.take(m.GetUID()); only {
			return
		}
	}
	r.Recorder.Event(o, e)
}

// WithAnnotations returns a recorder like this one that annotates its events.
func (r quietRecorder) WithAnnotations(keysAndValues ...string) event.Recorder {
	return quietRecorder{Recorder: r.Recorder.WithAnnotations(keysAndValues...), cleared: r.cleared}
}
