package artifact

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// reconcileDoc holds the table of TestDecide for people.
const reconcileDoc = "../../../docs/internals/reconcile.md"

var (
	ours    = digest.FromString("ours")
	staged  = digest.FromString("staged")
	foreign = digest.FromString("foreign")
)

// A decision is a row of the table: what is observed, and what follows.
type decision struct {
	// Observed, in words.
	observed string

	a []func(*modelv1alpha1.Artifact)
	o observation

	want want
}

type want struct {
	action action
	by     string // Create, Update, or empty.
	ready  corev1.ConditionStatus
	reason string
}

// row returns the decision as a row of the documentation.
func (d decision) row() string {
	act := string(d.want.action)
	if d.want.by != "" {
		act += " by " + d.want.by
	}
	ready, reason := string(d.want.ready), d.want.reason
	if ready == "" {
		ready, reason = "as it was", ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s |", d.observed, act, ready, reason)
}

// pushed has the Artifact's status know what was pushed for the present spec.
func pushed(a *modelv1alpha1.Artifact) {
	s := &a.Status.AtProvider
	s.Phase, s.Run, s.RunHash = modelv1alpha1.PhaseSucceeded, 1, artifact.RunHash(a)
	s.Digest, s.Reference, s.PinnedReference = ours.String(), "registry.example.com/models/m:v1", "registry.example.com/models/m@"+ours.String()
	a.SetConditions(xpv2.Available().WithObservedGeneration(a.GetGeneration() - 1))
}

// otherSpec has what was pushed be of another spec.
func otherSpec(a *modelv1alpha1.Artifact) { a.Status.AtProvider.RunHash = "0123456789abcdef" }

// hasStaged has the status know what a run staged.
func hasStaged(a *modelv1alpha1.Artifact) {
	a.Status.AtProvider.Phase = modelv1alpha1.PhaseSucceeded
	a.Status.AtProvider.Staged = &modelv1alpha1.StagedArtifact{Digest: staged.String(), Run: 2, RunHash: artifact.RunHash(a)}
}

// isQueued has its run wait for room.
func isQueued(a *modelv1alpha1.Artifact) {
	a.SetConditions(queued("full").WithObservedGeneration(a.GetGeneration()))
}

// failed has the latest run have failed.
func failed(a *modelv1alpha1.Artifact) {
	a.Status.AtProvider.Phase = modelv1alpha1.PhaseFailed
	a.Status.AtProvider.Failure = &modelv1alpha1.FailureObservation{Reason: string(outcome.Unavailable), Message: "The Hub does not answer"}
}

// mismatched has the latest run have staged another digest than the spec expects.
func mismatched(a *modelv1alpha1.Artifact) {
	failed(a)
	expects(ours)(a)
	a.Status.AtProvider.Failure.Reason = string(outcome.Mismatch)
}

func expects(d digest.Digest) func(*modelv1alpha1.Artifact) {
	return func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.ExpectedDigest = d.String() }
}

func policies(p ...xpv2.ManagementAction) func(*modelv1alpha1.Artifact) {
	return func(a *modelv1alpha1.Artifact) { a.Spec.ManagementPolicies = p }
}

func overwrite(a *modelv1alpha1.Artifact) {
	a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
}

func deleted(a *modelv1alpha1.Artifact) {
	a.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
}

func on(d digest.Digest) catalog.Tag {
	return catalog.Tag{Name: "v1", Descriptor: ocispec.Descriptor{Digest: d}}
}

func recordedOn(d digest.Digest) catalog.Tag {
	t := on(d)
	t.Records = []provenance.Found{{}}
	return t
}

func runIn(phase modelv1alpha1.ArtifactPhase, ready metav1.ConditionStatus, reason string) *artifact.ObservationResult {
	return &artifact.ObservationResult{Phase: phase, Ready: ready, Reason: reason, Message: "A message"}
}

var (
	noUpdate = policies(xpv2.ManagementActionObserve, xpv2.ManagementActionCreate)
	noCreate = policies(xpv2.ManagementActionObserve, xpv2.ManagementActionUpdate)

	pending   = runIn(modelv1alpha1.PhasePending, metav1.ConditionFalse, string(outcome.ImagePull))
	inQueue   = runIn(modelv1alpha1.PhasePending, metav1.ConditionFalse, string(outcome.Queued))
	running   = runIn(modelv1alpha1.PhaseRunning, metav1.ConditionUnknown, string(xpv2.ReasonCreating))
	succeeded = runIn(modelv1alpha1.PhaseSucceeded, metav1.ConditionTrue, string(xpv2.ReasonAvailable))
	runFailed = runIn(modelv1alpha1.PhaseFailed, metav1.ConditionFalse, string(outcome.Unavailable))

	runMismatched = runIn(modelv1alpha1.PhaseFailed, metav1.ConditionFalse, string(outcome.Mismatch))

	obstacle = unavailable(outcome.RegistryChanged, "The artifact was made for another registry")

	violation = outcome.Errorf(outcome.PolicyViolation, "ClusterProviderConfig \"default\" denies model a/m")
	errNoKey  = outcome.Errorf(outcome.ConfigMissing, "Secret \"cosign\" in namespace \"keys\" does not exist: create it")
)

func to(actions ...func(*modelv1alpha1.Artifact)) []func(*modelv1alpha1.Artifact) { return actions }

// decisions are in the order in which decide looks at what they are about.
var decisions = []decision{
	{"Deleted; something of a run is in the cluster", to(deleted), observation{runsLeft: true, namesLeft: true}, want{action: actionStopRun}},
	{"Deleted; the end of a run was just recorded", to(deleted), observation{news: true, namesLeft: true}, want{action: actionWait}},
	{"Deleted; something of it is in the registry", to(deleted), observation{namesLeft: true}, want{action: actionUntag}},
	{"Deleted; nothing is left", to(deleted), observation{}, want{action: actionRelease}},

	{"Observed only; the registry has it", to(policies(xpv2.ManagementActionObserve)), observation{found: true}, want{actionNone, "", "True", "Available"}},
	{"Observed only; the registry does not have it", to(policies(xpv2.ManagementActionObserve)), observation{}, want{actionNone, "", "False", "NotFound"}},
	{"Observed only; what it names cannot be observed", to(policies(xpv2.ManagementActionObserve)), observation{obstacle: &obstacle}, want{actionWait, "", "False", "RegistryChanged"}},

	{"No source, another registry than before, or an older Artifact of the same reference", to(pushed), observation{obstacle: &obstacle}, want{actionWait, "", "False", "RegistryChanged"}},

	{"The run does not start", nil, observation{run: pending}, want{actionWait, "", "False", "ImagePull"}},
	{"The run does not start, and spec or config have changed", nil, observation{run: pending, stuck: true}, want{actionStartRun, "Create", "False", "Creating"}},
	{"The run waits in a queue of Kueue", nil, observation{run: inQueue}, want{actionWait, "", "False", "Queued"}},
	{"The run waits in a queue of Kueue, and spec or config have changed", nil, observation{run: inQueue, stuck: true}, want{actionStartRun, "Create", "False", "Creating"}},
	{"The run waits in a queue of Kueue; the artifact of the spec is Ready from before", to(pushed), observation{run: inQueue}, want{actionWait, "", "True", "Available"}},
	{"The run is running", nil, observation{run: running}, want{actionWait, "", "False", "Creating"}},
	{"The run is running; the artifact of the spec is Ready from before", to(pushed), observation{run: running}, want{actionWait, "", "True", "Available"}},

	{"The run is running, and credentials that it has a copy of have changed", nil, observation{run: running, outdated: types.NamespacedName{Namespace: "team", Name: "copy"}}, want{actionRenew, "Update", "False", "Creating"}},
	{"The run is running, and credentials that it has a copy of have changed; no policy Update", to(noUpdate), observation{run: running, outdated: types.NamespacedName{Namespace: "team", Name: "copy"}}, want{actionRenew, "Create", "False", "Creating"}},
	{"The run is running, and credentials that it has a copy of have changed; the artifact of the spec is Ready from before", to(pushed), observation{run: running, outdated: types.NamespacedName{Namespace: "team", Name: "copy"}}, want{actionRenew, "Update", "True", "Available"}},

	{"All Pods of a divided run have finished, which was just recorded", nil, observation{run: running, last: true, news: true}, want{actionWait, "", "False", "Creating"}},
	{"All Pods of a divided run have finished", nil, observation{run: running, last: true}, want{actionStartRun, "Create", "False", "Creating"}},
	{"All Pods of a divided run have finished; the artifact of the spec is Ready from before", to(pushed), observation{run: running, last: true}, want{actionStartRun, "Update", "True", "Available"}},
	{"All Pods of a divided run have finished; there is no room for the Job that completes it", nil, observation{run: running, last: true, noRoom: "full"}, want{actionWait, "", "False", "Queued"}},
	{"All Pods of a divided run have finished; a policy refuses the model by now", nil, observation{run: running, last: true, forbidden: violation}, want{actionWait, "", "False", "PolicyViolation"}},

	{"The run has just staged", to(hasStaged), observation{run: succeeded, news: true}, want{actionWait, "", "False", "Creating"}},
	{"A run has staged; the tag is free", to(hasStaged), observation{run: succeeded}, want{actionCommit, "Update", "False", "Creating"}},
	{"A run has staged; the tag is on what was pushed before", to(pushed, hasStaged), observation{run: succeeded, tag: on(ours)}, want{actionCommit, "Update", "True", "Available"}},
	{"A run has staged; the tag is ours by a record", to(hasStaged), observation{run: succeeded, tag: recordedOn(foreign)}, want{actionCommit, "Update", "False", "Creating"}},
	{"A run has staged; the tag is on it, and nothing says who set it", to(hasStaged), observation{run: succeeded, tag: on(staged)}, want{actionCommit, "Update", "False", "Creating"}},
	{"A run has staged; the tag is on it, and a commit found that another has set it", to(hasStaged), observation{run: succeeded, tag: on(staged), contested: true}, want{actionWait, "", "False", "TagConflict"}},
	{"A run has staged; the tag is foreign", to(hasStaged), observation{run: succeeded, tag: on(foreign)}, want{actionWait, "", "False", "TagConflict"}},
	{"A run has staged; the tag is foreign, with conflictPolicy Overwrite", to(hasStaged, overwrite), observation{run: succeeded, tag: on(foreign)}, want{actionCommit, "Update", "False", "Creating"}},
	{"A run has staged; the key that is to sign cannot be used", to(hasStaged), observation{run: succeeded, unsigned: errNoKey}, want{actionWait, "", "False", "ConfigMissing"}},
	{"A run has staged; the key that is to sign cannot be used; the tag is on what was pushed before", to(pushed, hasStaged), observation{run: succeeded, tag: on(ours), unsigned: errNoKey}, want{actionWait, "", "True", "Available"}},
	{"A run has staged; no policy Update", to(hasStaged, noUpdate), observation{run: succeeded}, want{actionCommit, "Create", "False", "Creating"}},
	{"A run has staged; there is an artifact, and no policy Update", to(pushed, hasStaged, noUpdate), observation{run: succeeded, tag: on(ours)}, want{actionCommit, "Create", "True", "Available"}},
	{"A run has staged; there is no artifact, and no policy Create", to(hasStaged, noCreate), observation{run: succeeded}, want{actionWait, "", "False", "NotFound"}},

	{"A run has staged; an additional tag is foreign", to(hasStaged), observation{run: succeeded, foreignTag: &catalog.Tag{Name: "stable"}}, want{actionWait, "", "False", "TagConflict"}},
	{"A run has staged; a policy refuses it", to(hasStaged), observation{run: succeeded, refused: violation, tag: on(foreign)}, want{actionWait, "", "False", "PolicyViolation"}},
	{"A run has staged; a policy refuses it; the artifact of the spec is Ready from before", to(pushed, hasStaged), observation{run: succeeded, refused: violation, tag: on(ours)}, want{actionWait, "", "True", "Available"}},

	{"What the spec asks for was pushed before and is still in the registry, which was just found", to(pushed, otherSpec, hasStaged), observation{news: true}, want{actionWait, "", "False", "Creating"}},
	{"What the spec asks for was pushed before and is still in the registry", to(pushed, otherSpec, hasStaged), observation{tag: on(ours)}, want{actionCommit, "Update", "False", "Creating"}},
	{"A run has staged another digest than expectedDigest, which was just found", to(mismatched), observation{run: runMismatched, news: true}, want{actionWait, "", "False", "Mismatch"}},
	{"A run has staged another digest than expectedDigest", to(mismatched), observation{run: runMismatched}, want{actionWait, "", "False", "Mismatch"}},
	{"A run has staged another digest than expectedDigest, and the spec has changed since", to(mismatched), observation{run: runMismatched, retryDue: true}, want{actionStartRun, "Create", "False", "Creating"}},

	{"The run has just failed", to(failed), observation{run: runFailed, news: true}, want{actionWait, "", "False", "Unavailable"}},
	{"The run failed and is not due for a retry", to(failed), observation{run: runFailed}, want{actionWait, "", "False", "Unavailable"}},
	{"The run failed and is due for a retry", to(failed), observation{run: runFailed, retryDue: true}, want{actionStartRun, "Create", "False", "Creating"}},
	{"The run failed and is due for a retry; there is no room for the next", to(failed), observation{run: runFailed, retryDue: true, noRoom: "full"}, want{actionWait, "", "False", "Queued"}},
	{"The run failed and is due for a retry; the tag is foreign", to(failed), observation{run: runFailed, retryDue: true, tag: on(foreign)}, want{actionWait, "", "False", "TagConflict"}},
	{"The run of a changed spec failed and is due for a retry", to(pushed, otherSpec, failed), observation{run: runFailed, retryDue: true, tag: on(ours)}, want{actionStartRun, "Update", "False", "Creating"}},

	{"New; the tag is free", nil, observation{}, want{actionStartRun, "Create", "False", "Creating"}},
	{"New; the tag is ours by a record, and the config does not allow adoption", nil, observation{tag: recordedOn(foreign)}, want{actionStartRun, "Create", "False", "Creating"}},
	{"New; the tag is foreign", nil, observation{tag: on(foreign)}, want{actionWait, "", "False", "TagConflict"}},
	{"New; an additional tag is foreign", nil, observation{foreignTag: &catalog.Tag{Name: "stable"}}, want{actionWait, "", "False", "TagConflict"}},
	{"New; the tag is foreign, with conflictPolicy Overwrite", to(overwrite), observation{tag: on(foreign)}, want{actionStartRun, "Create", "False", "Creating"}},
	{"New; a policy refuses the model", nil, observation{forbidden: violation, tag: on(foreign)}, want{actionWait, "", "False", "PolicyViolation"}},
	{"New; the tag is free; there is no room for its run", to(), observation{noRoom: "full"}, want{actionWait, "", "False", "Queued"}},
	{"New; the tag is foreign; there is no room for its run", to(), observation{tag: on(foreign), noRoom: "full"}, want{actionWait, "", "False", "TagConflict"}},
	{"New; its run waits for room as it did before", to(isQueued), observation{stillWaits: true}, want{actionWait, "", "False", "Queued"}},
	{"New; the key that is to sign cannot be used", nil, observation{unsigned: errNoKey}, want{actionWait, "", "False", "ConfigMissing"}},
	{"New; no policy Create", to(noCreate), observation{}, want{actionWait, "", "False", "NotFound"}},
	{"New; something of an earlier run is in the cluster", nil, observation{leftOver: "Pod \"p\" of an earlier run is still there"}, want{actionWait, "", "False", "Creating"}},
	{"Adopted by a record that does not name this Artifact by its UID", to(pushed), observation{tag: recordedOn(ours), adopted: &adoption{}}, want{actionAdopt, "Update", "True", "Available"}},

	{"Adopted by a record that no trusted key has signed", to(pushed), observation{tag: recordedOn(ours), adopted: &adoption{replaced: ocispec.Descriptor{Digest: foreign}}}, want{actionAdopt, "Update", "True", "Available"}},
	{"The spec has changed", to(pushed, otherSpec), observation{tag: on(ours)}, want{actionStartRun, "Update", "False", "Creating"}},
	{"The spec has changed, also to a free tag", to(pushed, otherSpec), observation{needsRetag: true}, want{actionStartRun, "Update", "False", "Creating"}},
	{"The spec has changed; there is no room for its run", to(pushed, otherSpec), observation{tag: on(ours), manifest: true, noRoom: "full"}, want{actionWait, "", "False", "Queued"}},
	{"The spec has changed to a model that a policy refuses", to(pushed, otherSpec), observation{tag: on(ours), forbidden: violation}, want{actionWait, "", "False", "PolicyViolation"}},
	{"The spec has changed; no policy Update", to(pushed, otherSpec, noUpdate), observation{tag: on(ours)}, want{actionNone, "", "True", "Available"}},
	{"Another tag is asked for; no policy Update", to(pushed, noUpdate), observation{needsRetag: true, manifest: true}, want{actionNone, "", "True", "Available"}},
	{"Another tag is asked for; no policy Update; the manifest is gone", to(pushed, noUpdate), observation{needsRetag: true}, want{actionStartRun, "Create", "False", "Creating"}},

	{"The tag is on what was pushed", to(pushed), observation{tag: on(ours), manifest: true}, want{actionNone, "", "True", "Available"}},
	{"The tag is on what was pushed; the key that is to sign cannot be used", to(pushed), observation{tag: on(ours), manifest: true, unsigned: errNoKey}, want{actionNone, "", "True", "Available"}},
	{"The tag is on what was pushed; the Artifact is not annotated with its identity", to(pushed), observation{tag: on(ours), manifest: true, adopted: &adoption{}}, want{actionAdopt, "Update", "True", "Available"}},
	{"The source has moved", to(pushed), observation{tag: on(ours), manifest: true, moved: "main is another commit"}, want{actionStartRun, "Update", "True", "Available"}},
	{"The source has moved; there is no room for its run", to(pushed), observation{tag: on(ours), manifest: true, moved: "main is another commit", noRoom: "full"}, want{actionWait, "", "True", "Available"}},
	{"The source has moved; no policy Update", to(pushed, noUpdate), observation{tag: on(ours), manifest: true, moved: "main is another commit"}, want{actionNone, "", "True", "Available"}},
	{"Whether the source has moved is not known", to(pushed), observation{tag: on(ours), manifest: true, trouble: outcome.Errorf(outcome.Unavailable, "the Hub does not answer")}, want{actionNone, "", "True", "Available"}},
	{"Rebuilding failed", to(pushed, failed), observation{run: runFailed, tag: on(ours), manifest: true}, want{actionNone, "", "True", "Available"}},
	{"Rebuilding failed and is due for a retry; a policy refuses the model by now", to(pushed, failed), observation{tag: on(ours), manifest: true, retryDue: true, forbidden: violation}, want{actionWait, "", "True", "Available"}},
	{"Rebuilding failed and is due for a retry", to(pushed, failed), observation{run: runFailed, tag: on(ours), manifest: true, retryDue: true}, want{actionStartRun, "Update", "True", "Available"}},

	{"An additional tag is missing, or on something else that is ours", to(pushed), observation{tag: on(ours), manifest: true, setTags: []wantedTag{{"stable", ours.String()}}}, want{actionRetag, "Update", "False", "Creating"}},
	{"The artifact is of another spec; an additional tag is foreign", to(pushed, otherSpec), observation{tag: on(ours), manifest: true, foreignTag: &catalog.Tag{Name: "stable"}}, want{actionWait, "", "False", "TagConflict"}},
	{"An additional tag is foreign", to(pushed), observation{tag: on(ours), manifest: true, foreignTag: &catalog.Tag{Name: "stable"}}, want{actionWait, "", "False", "TagConflict"}},
	{"An additional tag is asked for no more, or a version is kept no more", to(pushed), observation{tag: on(ours), manifest: true, removeTags: []string{"stable"}}, want{actionRetag, "Update", "True", "Available"}},
	{"Another digest is expected, which is in the registry no more", to(pushed, expects(staged)), observation{tag: on(ours), manifest: true}, want{actionStartRun, "Update", "False", "Creating"}},
	{"The tag is on the expected digest; the source has moved", to(pushed, expects(ours)), observation{tag: on(ours), manifest: true, moved: "main is another commit"}, want{actionNone, "", "True", "Available"}},
	{"The tag is on the expected digest; a run failed and is due for a retry", to(pushed, expects(ours), failed), observation{run: runFailed, tag: on(ours), manifest: true, retryDue: true}, want{actionNone, "", "True", "Available"}},

	{"The tag is foreign", to(pushed), observation{tag: on(foreign)}, want{actionWait, "", "False", "TagConflict"}},
	{"The tag is gone", to(pushed), observation{manifest: true}, want{actionRetag, "Update", "False", "Creating"}},
	{"The tag is gone; no policy Update", to(pushed, noUpdate), observation{manifest: true}, want{actionRetag, "Create", "False", "Creating"}},
	{"The tag is on something else that is ours by a record", to(pushed), observation{tag: recordedOn(foreign), manifest: true}, want{actionRetag, "Update", "False", "Creating"}},
	{"The tag is foreign, with conflictPolicy Overwrite", to(pushed, overwrite), observation{tag: on(foreign), manifest: true}, want{actionRetag, "Update", "False", "Creating"}},
	{"The tag is gone; the key that is to sign cannot be used", to(pushed), observation{manifest: true, unsigned: errNoKey}, want{actionRetag, "Update", "False", "Creating"}},
	{"Another tag is asked for, which is free", to(pushed), observation{needsRetag: true, manifest: true}, want{actionRetag, "Update", "False", "Creating"}},
	{"The manifest is gone", to(pushed), observation{}, want{actionStartRun, "Create", "False", "Creating"}},
	{"The manifest is gone; there is no room for its run", to(pushed), observation{noRoom: "full"}, want{actionWait, "", "False", "Queued"}},
	{"The manifest is gone; no policy Create", to(pushed, noCreate), observation{}, want{actionWait, "", "False", "NotFound"}},
	{"A blob is gone", to(pushed), observation{tag: on(ours), manifest: true, lostBlob: "sha256:…"}, want{actionStartRun, "Create", "False", "Creating"}},
	{"Something is gone; rebuilding it failed", to(pushed, failed), observation{run: runFailed}, want{actionWait, "", "False", "Unavailable"}},
	{"Something is gone; rebuilding it failed and is due for a retry", to(pushed, failed), observation{run: runFailed, retryDue: true}, want{actionStartRun, "Create", "False", "Creating"}},
}

// TestDecide holds decide, and the documentation of it, to the table.
func TestDecide(t *testing.T) {
	doc, err := os.ReadFile(reconcileDoc)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, d := range decisions {
		t.Run(d.observed, func(t *testing.T) {
			if seen[d.observed] {
				t.Error("two rows are about the same")
			}
			seen[d.observed] = true
			a := decided(d.a...)
			before := a.DeepCopy()
			p := decide(a, d.o)
			if diff := cmp.Diff(before, a); diff != "" {
				t.Errorf("decide changed the Artifact: -before, +after:\n%s", diff)
			}
			got := want{action: p.action, ready: p.ready.Status, reason: string(p.ready.Reason)}
			if verb := observationOf(p); !verb.ResourceExists && p.action != actionNone && p.action != actionRelease {
				got.by = "Create"
			} else if verb.ResourceExists && !verb.ResourceUpToDate && !meta.WasDeleted(a) {
				got.by = "Update"
			}
			if meta.WasDeleted(a) {
				got.ready, got.reason = "", ""
			}
			if diff := cmp.Diff(d.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("decide(...): -want, +got:\n%s", diff)
			}
			if p.action == actionStartRun && (p.run.Hash != artifact.RunHash(a) || p.run.Number < 1) {
				t.Errorf("the run to start is %+v", p.run)
			}
			if !strings.Contains(string(doc), d.row()+"\n") {
				t.Errorf("%s lacks this row, or has it otherwise:\n%s", reconcileDoc, d.row())
			}
		})
	}
	rows := 0
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Observed |") {
			rows++
		}
	}
	if rows != len(decisions) {
		t.Errorf("%s has %d rows, want %d: one for each decision", reconcileDoc, rows, len(decisions))
	}
}

// decided returns an Artifact to decide about.
func decided(changes ...func(*modelv1alpha1.Artifact)) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "team", UID: "u", Generation: 3},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{ManagementPolicies: xpv2.ManagementPolicies{xpv2.ManagementActionAll}},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model", Revision: "main"}},
				Target: &modelv1alpha1.Target{Repository: "models/m", Tag: "v1"},
			},
		},
	}
	for _, change := range changes {
		change(a)
	}
	return a
}
