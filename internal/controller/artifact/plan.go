package artifact

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// An action is what a reconcile does after it has observed.
type action string

// Actions of a plan. docs/internals/reconcile.md says when each is taken.
const (
	// actionNone: the Artifact is as its spec asks, as far as it may be.
	actionNone action = "none"

	// actionWait: something outside must change or end first.
	actionWait action = "wait"

	// actionStartRun takes a step towards the next run: clears what an earlier one
	// left or, if nothing is left, makes the Job.
	actionStartRun action = "startRun"

	// actionRenew copies credentials again that a run has a copy of.
	actionRenew action = "renew"

	// actionStopRun deletes what runs have in the cluster.
	actionStopRun action = "stopRun"

	// actionCommit gives what a run staged its tag.
	actionCommit action = "commit"

	// actionRetag gives what is in the registry its tag.
	actionRetag action = "retag"

	// actionAdopt writes down who owns what was found in the registry.
	actionAdopt action = "adopt"

	// actionUntag removes from the registry what goes with the Artifact.
	actionUntag action = "untag"

	// actionRelease lets the Artifact go: nothing of it is left.
	actionRelease action = "release"
)

// isTold reports whether an action has events of its own, or none is due.
func (a action) isTold() bool {
	return a == actionStartRun || a == actionCommit || a == actionRetag
}

// A plan is what Observe decided. It is all that Create, Update and Delete know.
type plan struct {
	action action

	// create takes the action in Create and not in Update.
	create bool

	// ready is the Artifact's Ready condition.
	ready xpv2.Condition

	// run to start, and the run hash of the one before it.
	run     artifact.Run
	earlier string

	// why there is a run although there was an artifact; empty if the spec asks
	// for it.
	why string

	// current means that the runtime has just written the Artifact, so that it is what the
	// API server has: Create is called after such a write, which fails where another
	// version is there.
	current bool

	// secret is the one with a run's copied credentials that must be renewed.
	secret types.NamespacedName

	// replace means that the run's Job cannot start as it is.
	replace bool

	// last means that the run's Job has transferred all shares, and makes way for the one
	// that completes the run.
	last bool

	// refused is what the policies refuse; nil for nothing.
	refused error

	// conflict is the foreign tag that ready is about; nil for none.
	conflict error

	// unsigned is why nothing can be signed, which the action would need; nil if it
	// can, or need not.
	unsigned error

	// from is the digest that the tag is taken from; empty for none.
	from string

	// setTags are set, and removeTags removed, beside the Artifact's tag, which
	// stays then.
	setTags    []wantedTag
	removeTags []string

	// adopted is what is adopted.
	adopted *adoption
}

// isFirst reports whether the planned run is the Artifact's first, of which nothing was begun
// before: neither its annotations nor its status know of one, and the API server has these
// annotations.
func (p plan) isFirst(a *modelv1alpha1.Artifact) bool {
	return p.current && p.action == actionStartRun && p.earlier == "" && a.Status.AtProvider.JobRef == nil
}

// keeps reports whether a live Job of the planned run stays: it is the one that the run needs
// next. A cache may not know yet that a reconcile has made it.
func (p plan) keeps(job *batchv1.Job) bool {
	return !p.replace && (!p.last || artifact.IsLast(job))
}

// An adoption is an artifact in the registry that is the Artifact's by a record or
// by its status.
type adoption struct {
	subject ocispec.Descriptor
	record  provenance.Record

	// replaced is a record that no trusted key has signed and that the Artifact's
	// replaces; zero for none.
	replaced ocispec.Descriptor
}

// An observation is what Observe has read of the cluster, the registry and the
// Hub. What is not needed to decide is not read, and is zero.
type observation struct {
	// obstacle prevents any run; nil for none.
	obstacle *xpv2.Condition

	// forbidden is why the policies refuse what the spec asks for, and refused why
	// they refuse what a run staged; nil if they do not.
	forbidden, refused error

	// unsigned is why nothing can be signed for the Artifact; nil if it can.
	unsigned error

	// run is how far the run is that the spec asks for; nil if it has not begun.
	run *artifact.ObservationResult

	// noRoom is why the run that is to start has to wait for others to end; empty if it
	// need not. stillWaits means that it does as it did before, and nothing else was
	// read.
	noRoom     string
	stillWaits bool

	// last means that all shares of the run are done, so that the Job that completes it is
	// next.
	last bool

	// stuck means that the run does not start, and may with the Job that the spec
	// asks for now.
	stuck bool

	// outdated names the Secret with the run's copied credentials, if they are not those
	// that there are now; zero if they are.
	outdated types.NamespacedName

	// news means that the status has learned something that must be written before
	// anything is done: the end of a run, or what is in the registry.
	news bool

	// leftOver names what of an earlier run is still in the cluster; empty for
	// nothing.
	leftOver string

	// retryDue means that a failed run is due for another try.
	retryDue bool

	// tag is what the Artifact's tag points to. It is free where the registry does
	// not show it.
	tag catalog.Tag

	// contested means that a commit of what is staged has found a foreign tag: one on what
	// is staged, by no record the owner's, is not what an interrupted commit has set.
	contested bool

	// manifest means that the registry has what was pushed last.
	manifest bool

	// lostBlob names a blob of it that the registry lost; empty for none.
	lostBlob string

	// moved says how the source's revision has moved; empty if it has not.
	moved string

	// trouble says why it is not known whether it has; nil if it is. answered reports
	// whether the source has answered since it is known what the artifact was made from.
	trouble  *outcome.Error
	answered bool

	// adopted is what must be written down as the Artifact's; nil for nothing.
	adopted *adoption

	// needsRetag means that the spec asks for another tag than the artifact has.
	needsRetag bool

	// setTags and removeTags are tags beside the Artifact's own that the spec asks
	// for, or no longer asks for; foreignTag is one that must not be set, nil for
	// none.
	setTags    []wantedTag
	removeTags []string
	foreignTag *catalog.Tag

	// restored means that the Artifact claims another owner's UID, as after it was
	// restored.
	restored bool

	// reference is registry/repository:tag as the spec asks for it.
	reference string

	// found means that there is what an Artifact names that is only observed.
	found bool

	// runsLeft and namesLeft say what deletion has yet to remove, in the cluster
	// and in the registry.
	runsLeft, namesLeft bool
}

// observationOf returns what the runtime needs to know of a plan: whether to call
// Create, Update, Delete or none of them.
func observationOf(p plan) managed.ExternalObservation {
	switch p.action {
	case actionNone, actionWait:
		return managed.ExternalObservation{ResourceExists: !p.create, ResourceUpToDate: true}
	case actionRelease:
		return managed.ExternalObservation{}
	case actionStopRun, actionUntag:
		return managed.ExternalObservation{ResourceExists: true}
	case actionStartRun, actionRenew, actionCommit, actionRetag, actionAdopt:
	}
	return managed.ExternalObservation{ResourceExists: !p.create}
}
