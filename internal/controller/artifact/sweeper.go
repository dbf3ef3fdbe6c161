package artifact

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// sweepInterval is how often all objects of runs are looked at.
	sweepInterval = time.Hour

	// sweepGap is the least time from one sweep to the next, however many Artifacts
	// are deleted.
	sweepGap = 10 * time.Second

	// sweepTimeout bounds one sweep.
	sweepTimeout = 10 * time.Minute

	// sweepPage is how many objects are listed by one request.
	sweepPage = 500

	// sweepMost is after how many objects and requests for lists a sweep ends. The next
	// one goes on from there, after sweepGap: tenants can create objects that have to be
	// looked at.
	sweepMost = 2000
)

// sweptKinds are those of the objects that runs leave in another namespace than their
// Artifact's. Pods go with their Jobs.
var sweptKinds = []schema.GroupVersionKind{
	batchv1.SchemeGroupVersion.WithKind("Job"),
	corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
	corev1.SchemeGroupVersion.WithKind("Secret"),
}

// A sweeper deletes objects of runs whose Artifact is gone, in other namespaces than the
// Artifact's, from where the garbage collector does not reach them: a tenant may have
// removed the Artifact's finalizer. It sweeps at the start, every hour, and soon after
// such an Artifact was deleted. Only the leader sweeps.
type sweeper struct {
	// cached has the Artifacts that are there. Whether another one is gone is asked
	// of the API server itself, by direct.
	cached client.Reader
	direct client.Client
	scope  scope
	log    logging.Logger

	// ready is closed when the provider has its permissions.
	ready <-chan struct{}

	interval, gap time.Duration
	page          int64
	most          int

	// at is where the next sweep begins.
	at sweepPosition

	// due has a value if a sweep is due before the interval has passed.
	due chan struct{}
}

// A sweepPosition is where a sweep ended: at which of the lists, and where in this one.
type sweepPosition struct {
	list int
	next string
}

func newSweeper(cached client.Reader, direct client.Client, s scope, log logging.Logger, ready <-chan struct{}) *sweeper {
	return &sweeper{
		cached: cached, direct: direct, scope: s, log: log, ready: ready,
		interval: sweepInterval, gap: sweepGap, page: sweepPage, most: sweepMost, due: make(chan struct{}, 1),
	}
}

// Start sweeps until the context is done.
func (s *sweeper) Start(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		more, err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Info("Cannot delete all objects of runs whose Artifacts are gone", "error", err)
		}
		// Only a context that ended returns an error.
		_ = retry.Sleep(ctx, s.gap)
		if !more {
			s.waitForSweep(ctx)
		}
	}
	return nil
}

// waitForSweep returns when the next sweep is due.
func (s *sweeper) waitForSweep(ctx context.Context) {
	t := time.NewTimer(wait.Jitter(s.interval, 0.1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.due:
	case <-ctx.Done():
	}
}

// onDeleted returns a handler that has a sweep done once an Artifact is gone whose runs
// may have left objects in another namespace.
func (s *sweeper) onDeleted() (handler.EventHandler, predicate.Predicate) {
	h := handler.Funcs{DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
		a, ok := e.Object.(*modelv1alpha1.Artifact)
		if !ok || len(artifact.RecordedNamespaces(a)) == 1 && artifact.RecordedNamespaces(a)[0] == a.GetNamespace() {
			return
		}
		select {
		case s.due <- struct{}{}:
		default:
		}
	}}
	return h, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
}

// sweep looks at objects of runs in other namespaces than their Artifact's, and deletes
// those whose Artifact is gone. It begins where the last sweep ended, and reports whether
// there are more than it looked at. It goes on after an error.
func (s *sweeper) sweep(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	namespaces := []string(s.scope)
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	// Artifacts that were asked for in this sweep, and whether they are gone.
	gone := map[claim]bool{}
	var errs []error
	for looked := 0; s.at.list < len(namespaces)*len(sweptKinds); {
		if looked >= s.most {
			return true, errors.Join(errs...)
		}
		n, next, err := s.sweepList(ctx, namespaces[s.at.list/len(sweptKinds)], sweptKinds[s.at.list%len(sweptKinds)], gone)
		looked += n + 1
		errs = append(errs, err)
		if s.at.next = next; next == "" {
			s.at.list++
		}
	}
	s.at = sweepPosition{}
	return false, errors.Join(errs...)
}

// sweepList sweeps objects of one kind, from where the last page ended. It returns how many
// it looked at, and where the next page begins; empty if there is none.
func (s *sweeper) sweepList(ctx context.Context, namespace string, kind schema.GroupVersionKind, gone map[claim]bool) (looked int, next string, err error) {
	// Only the metadata, since Secrets are among them.
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := s.direct.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels(artifact.CommonLabels()),
		client.HasLabels{artifact.LabelArtifactUID}, client.Limit(s.page), client.Continue(s.at.next)); err != nil {
		var status kerrors.APIStatus
		if kerrors.IsResourceExpired(err) && errors.As(err, &status) && status.Status().Continue != "" {
			// The API server goes on with the objects as they are now
			// (k8s.io/apimachinery/pkg/apis/meta/v1, ListMeta.Continue).
			return 0, status.Status().Continue, nil
		}
		return 0, "", errors.Wrapf(err, "cannot list objects of kind %s", kind.Kind)
	}
	var errs []error
	for i := range list.Items {
		o := &list.Items[i]
		o.SetGroupVersionKind(kind)
		errs = append(errs, s.sweepObject(ctx, o, gone))
	}
	return len(list.Items), list.GetContinue(), errors.Join(errs...)
}

// A claim is which Artifact an object says that it is of. Who makes objects with the
// UID of another's Artifact must not have that taken for gone.
type claim struct {
	name types.NamespacedName
	uid  types.UID
}

// sweepObject deletes an object whose Artifact is gone.
func (s *sweeper) sweepObject(ctx context.Context, o *metav1.PartialObjectMetadata, gone map[claim]bool) error {
	name, ok := artifact.ArtifactOf(o)
	uid := types.UID(o.GetLabels()[artifact.LabelArtifactUID])
	if !ok || uid == "" || name.Namespace == o.GetNamespace() || o.GetDeletionTimestamp() != nil {
		return nil
	}
	of := claim{name, uid}
	isGone, asked := gone[of]
	if !asked {
		var err error
		if isGone, err = s.isGone(ctx, name, uid); err != nil {
			return err
		}
		gone[of] = isGone
	}
	if !isGone {
		return nil
	}
	was := o.GetUID()
	err := s.direct.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &was})
	if client.IgnoreNotFound(err) != nil && !kerrors.IsConflict(err) {
		return errors.Wrapf(err, "cannot delete %s %q", o.GroupVersionKind().Kind, o.GetName())
	}
	s.log.Info("Deleted an object of a run whose Artifact is gone", "kind", o.GroupVersionKind().Kind, "namespace", o.GetNamespace(), "name", o.GetName(), "artifact", name.String())
	return nil
}

// isGone reports whether there is no Artifact of this name and UID any more.
func (s *sweeper) isGone(ctx context.Context, name types.NamespacedName, uid types.UID) (bool, error) {
	a := &modelv1alpha1.Artifact{}
	if err := s.cached.Get(ctx, name, a); err == nil && a.GetUID() == uid {
		return false, nil
	}
	err := s.direct.Get(ctx, name, a)
	if client.IgnoreNotFound(err) != nil {
		return false, errors.Wrap(err, "cannot get the Artifact of an object of a run")
	}
	return kerrors.IsNotFound(err) || a.GetUID() != uid, nil
}
