package artifact

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// fewestPoints is how many points to be killed at the lives have at least.
const fewestPoints = 100

// livesAtOnce bounds how many lives there are at a time in one test. More would only
// leave less of the processors to the tests beside it.
const livesAtOnce = 4

// A story is what happens to an Artifact while its provider is killed.
type story struct {
	reason string
	goes   func(*batchv1.Job) string
	before func(*life) // Nobody is killed yet.
	life   func(*life)
	runs   int // How many there are, whoever is killed.
}

var lives = map[string]story{
	"FirstRun": {
		reason: "A new Artifact has one run.",
		life:   func(l *life) { l.create(l.a); l.reachReady() },
		runs:   1,
	},
	"ChangedAfterSuccess": {
		reason: "Another revision has another run.",
		before: func(l *life) { l.create(l.a); l.reachReady() },
		life:   func(l *life) { l.update(l.a, revision("v2")); l.reachReady() },
		runs:   2,
	},
	"ChangedInMidRun": {
		reason: "The run of the old revision is over before that of the new one begins.",
		goes:   runningOn("main"),
		before: func(l *life) { l.create(l.a); l.reachRunning() },
		life:   func(l *life) { l.update(l.a, revision("v2")); l.reachReady() },
		runs:   2,
	},
	"TriedAgain": {
		reason: "A failure that passes is followed by one other run.",
		goes: func(j *batchv1.Job) string {
			if artifact.RunOf(j).Number == 1 {
				return string(outcome.Unavailable)
			}
			return succeeds
		},
		life: func(l *life) { l.create(l.a); l.reachReady() },
		runs: 2,
	},
	"NeverStarted": {
		reason: "A run that does not start is stopped, and keeps no credentials; the next one is another.",
		goes: func(j *batchv1.Job) string {
			if artifact.RunOf(j).Number == 1 {
				return waits
			}
			return succeeds
		},
		before: func(l *life) { l.startPatience = time.Nanosecond; l.provider = l.newProvider() },
		life:   func(l *life) { l.create(l.a); l.reachReady() },
		runs:   2,
	},
	"ChangedTag": {
		reason: "Another tag has no run.",
		before: func(l *life) { l.create(l.a); l.reachReady() },
		life: func(l *life) {
			l.update(l.a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Tag = "v2" })
			l.reachReady()
		},
		runs: 1,
	},
	"DeletedInMidRun": {
		reason: "A run is stopped and leaves nothing.",
		goes:   runningOn("main"),
		before: func(l *life) { l.create(l.a); l.reachRunning() },
		life:   func(l *life) { l.remove(l.a); l.leavesNothing = true; l.reachGone(); l.checkUntagged() },
		runs:   1,
	},
	"DeletedAfterSuccess": {
		reason: "What was pushed goes, too.",
		before: func(l *life) { l.create(l.a); l.reachReady() },
		life:   func(l *life) { l.remove(l.a); l.leavesNothing = true; l.reachGone(); l.checkUntagged() },
		runs:   1,
	},
	"LostTag": {
		reason: "A tag is put back without a run.",
		before: func(l *life) { l.create(l.a); l.reachReady() },
		life: func(l *life) {
			if err := l.registry.Untag(l.t.Context(), l.a.Spec.ForProvider.Target.Repository, "v1"); err != nil {
				l.t.Fatal(err)
			}
			l.reachReady()
		},
		runs: 1,
	},
	"FurtherTags": {
		reason: "Tags beside the Artifact's own are set with it, move and go with it.",
		before: func(l *life) {
			l.a.Spec.ForProvider.Target.AdditionalTags = []string{"stable", "gone"}
			l.a.Spec.ForProvider.Target.KeepVersions = 1
		},
		life: func(l *life) {
			l.create(l.a)
			l.reachReady()
			l.update(l.a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.AdditionalTags = []string{"stable"} })
			l.reachReady()
			l.remove(l.a)
			l.leavesNothing = true
			l.reachGone()
			l.checkUntagged()
			for _, tag := range []string{"stable", "gone", "v1-" + testCommit[:shortCommit]} {
				if _, err := l.registry.Resolve(l.t.Context(), l.a.Spec.ForProvider.Target.Repository, tag); !registry.IsNotFound(err) {
					l.t.Errorf("tag %s is still in the registry: %v", tag, err)
				}
			}
		},
		runs: 1,
	},
	"LegacyTags": {
		reason: "Signatures under legacy tags are there before the tag is, and go with it.",
		before: func(l *life) { l.signWith(&v1alpha1.AttestationSpec{LegacyTags: true}) },
		life: func(l *life) {
			l.create(l.a)
			l.reachReady()
			l.checkLegacy(1)
			l.remove(l.a)
			l.leavesNothing = true
			l.reachGone()
			l.checkUntagged()
			l.checkLegacy(0)
		},
		runs: 1,
	},
	"RolledBack": {
		reason: "What was pushed before and is still in the registry is tagged without a run.",
		before: func(l *life) {
			l.create(l.a)
			l.reachReady()
			l.update(l.a, revision("v2"))
			l.reachReady()
		},
		life: func(l *life) { l.update(l.a, revision("main")); l.reachReady() },
		runs: 2,
	},
	"LostStatus": {
		reason: "What the registry has is found without a run.",
		before: func(l *life) { l.create(l.a); l.reachReady() },
		life:   func(l *life) { l.loseStatus(); l.reachReady() },
		runs:   1,
	},
	"AppliedAgain": {
		reason: "So it is by an Artifact that has nothing but the name, which owns it from then on.",
		before: func(l *life) {
			again := l.a.DeepCopy()
			l.a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate}
			l.create(l.a)
			l.reachReady()
			l.remove(l.a)
			l.reachGone()
			l.a = again
		},
		life: func(l *life) {
			l.create(l.a)
			l.reachReady()
			l.reach("identity", func() string {
				if err := l.get(l.a); err != nil || ownerOf(l.a).ID != string(l.a.GetUID()) {
					return fmt.Sprintf("owner %q, %v", ownerOf(l.a).ID, err)
				}
				return ""
			})
			l.remove(l.a)
			l.reachGone()
			l.checkUntagged()
		},
		runs: 1,
	},
}

// loseStatus deletes the status and the Job, as where the Artifact is restored
// from a backup.
func (l *life) loseStatus() {
	l.t.Helper()
	jobs, _ := l.runs()
	for i := range jobs {
		l.remove(&jobs[i])
	}
	if err := l.get(l.a); err != nil {
		l.t.Fatal(err)
	}
	l.a.Status = modelv1alpha1.ArtifactStatus{}
	if err := l.base.Status().Update(l.t.Context(), l.a); err != nil {
		l.t.Fatal(err)
	}
}

// revision changes what an Artifact is made from.
func revision(r string) func(*modelv1alpha1.Artifact) {
	return func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = r }
}

// runningOn keeps runs of a revision running and has others succeed.
func runningOn(revision string) func(*batchv1.Job) string {
	return func(j *batchv1.Job) string {
		for _, arg := range j.Spec.Template.Spec.Containers[0].Args {
			if arg == "--revision="+revision {
				return stillRunning
			}
		}
		return succeeds
	}
}

func TestKilledAtAnyCall(t *testing.T) { killAtEachPoint(t, false, lives, newLife) }

func TestAnyCallLost(t *testing.T) { killAtEachPoint(t, true, lives, newLife) }

// isolatedLives are those of Artifacts whose runs execute in another namespace.
var isolatedLives = map[string]story{
	"FirstRun":            lives["FirstRun"],
	"ChangedInMidRun":     lives["ChangedInMidRun"],
	"TriedAgain":          lives["TriedAgain"],
	"NeverStarted":        lives["NeverStarted"],
	"DeletedInMidRun":     lives["DeletedInMidRun"],
	"DeletedAfterSuccess": lives["DeletedAfterSuccess"],
	"MovedBeforeFirstRun": {
		reason: "A run executes in the namespace that the config names when it begins.",
		before: func(l *life) { l.create(l.a) },
		life:   func(l *life) { l.moveRuns(); l.reachReady() },
		runs:   1,
	},
	"MovedInMidRun": {
		reason: "A run ends where it is, and the next one begins in the other namespace when it is over.",
		goes:   runningOn("main"),
		before: func(l *life) { l.create(l.a); l.reachRunning() },
		life:   func(l *life) { l.moveRuns(); l.update(l.a, revision("v2")); l.reachReady() },
		runs:   2,
	},
	"MovedAndDeleted": {
		reason: "What is in the former namespace goes with the Artifact.",
		goes:   runningOn("main"),
		before: func(l *life) { l.create(l.a); l.reachRunning() },
		life:   func(l *life) { l.moveRuns(); l.remove(l.a); l.leavesNothing = true; l.reachGone() },
		runs:   1,
	},
}

func TestIsolatedKilledAtAnyCall(t *testing.T) {
	killAtEachPoint(t, false, isolatedLives, newIsolatedLife)
}

// moveRuns has further runs execute in another namespace.
func (l *life) moveRuns() {
	l.t.Helper()
	next := apiserver.Namespace(l.t, l.base)
	l.runsIn = append(l.runsIn, next)
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: l.namespace}}
	l.change(pc, func() { pc.Spec.Job.Namespace = next })
}

// envReads has points at reads counted, too: three times as many.
const envReads = "KILL_AT_READS"

// killAtEachPoint has each life as often as it takes to kill the provider, or
// to lose a call, at each of its points.
func killAtEachPoint(t *testing.T, once bool, lives map[string]story, newLife func(*testing.T, client.WithWatch, *fuse) *life) {
	t.Parallel() // The tests beside it wait most of their time.
	base := newBase(t)
	reads := os.Getenv(envReads) != ""
	points := 0
	for name, tc := range lives {
		t.Run(name, func(t *testing.T) {
			n := atEachPoint(t, fuse{once: once, reads: reads}, func(t *testing.T, f *fuse) {
				t.Helper()
				tc.live(newLife(t, base, f))
			})
			t.Logf("%d points", n)
			points += n
		})
	}
	if points < fewestPoints {
		t.Errorf("there are %d points only", points)
	}
}

// atEachPoint lives undisturbed once with a fuse like f, which counts the points, and
// then once for each point that it is blown at. It returns how many points there are.
func atEachPoint(t *testing.T, f fuse, live func(*testing.T, *fuse)) int {
	t.Helper()
	whole := f
	t.Run("Undisturbed", func(t *testing.T) { live(t, &whole) })
	var next atomic.Int64
	var wg sync.WaitGroup
	for range livesAtOnce {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(whole.points); n = next.Add(1) {
				blows := f
				blows.at = int(n)
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					live(t, &blows)
					if blows.where == "" {
						t.Errorf("the life came to an end before its point %d of %d", n, whole.points)
					}
				})
			}
		})
	}
	wg.Wait()
	return whole.points
}

// live has the life, with one kill, and checks what came of it.
func (s story) live(l *life) {
	l.t.Helper()
	defer func() {
		if l.t.Failed() {
			l.t.Logf("killed %s", l.fuse.where)
		}
	}()
	if s.goes != nil {
		l.goes = s.goes
	}
	if s.before != nil {
		s.before(l)
	}
	l.fuse.lit = true
	s.life(l)
	l.fuse.lit = false
	l.checkForeign()
	if got := distinct(l.made); got != s.runs {
		l.t.Errorf("%s runs: got %+v, want %d", s.reason, l.made, s.runs)
	}
}

// distinct counts runs. A Job that was made may have gone before its run did
// anything, and is made again.
func distinct(runs []artifact.Run) int {
	seen := map[artifact.Run]bool{}
	for _, r := range runs {
		seen[r] = true
	}
	return len(seen)
}

// reachReady lives until the artifact that the spec asks for is in the registry
// and what its run needed is gone.
func (l *life) reachReady() {
	l.t.Helper()
	l.reach("ready", func() string {
		if err := l.get(l.a); err != nil {
			return err.Error()
		}
		a, hash := l.a, artifact.RunHash(l.a)
		c, s := a.GetCondition(xpv2.TypeReady), a.Status.AtProvider
		switch {
		case c.Status != corev1.ConditionTrue || c.ObservedGeneration != a.GetGeneration():
			return fmt.Sprintf("Ready=%s %s %q; Synced: %q", c.Status, c.Reason, c.Message, a.GetCondition(xpv2.TypeSynced).Message)
		case s.RunHash != hash || s.Digest == "" || s.Digest != l.pushed[hash]:
			return fmt.Sprintf("digest: got %q of run hash %s, want %q of %s", s.Digest, s.RunHash, l.pushed[hash], hash)
		case tagOf(s.Reference) != a.Spec.ForProvider.Target.Tag:
			return "reference: " + s.Reference
		}
		d, err := l.registry.Resolve(l.t.Context(), a.Spec.ForProvider.Target.Repository, a.Spec.ForProvider.Target.Tag)
		if err != nil || d.Digest.String() != s.Digest {
			return fmt.Sprintf("the registry has %s, %v", d.Digest, err)
		}
		pvc, secrets := l.belongings()
		if (pvc != nil && pvc.GetDeletionTimestamp() == nil) || len(secrets) > 0 {
			return "the workspace or the Secret is still there"
		}
		return ""
	})
}

// reachRunning lives until the Artifact's run is running.
func (l *life) reachRunning() {
	l.t.Helper()
	l.reach("running", func() string {
		if _, pods := l.runs(); len(pods) == 0 {
			return "there is no Pod"
		}
		return ""
	})
}

// reachGone lives until the Artifact and what belongs to it are gone.
func (l *life) reachGone() {
	l.t.Helper()
	l.reach("gone", func() string {
		if err := l.get(l.a); !kerrors.IsNotFound(err) {
			return fmt.Sprintf("the Artifact is there: %v; Synced: %q", err, l.a.GetCondition(xpv2.TypeSynced).Message)
		}
		return l.leftOver()
	})
}

// belongings returns the Artifact's workspace, nil where there is none, and the
// Secrets of Artifacts of its name.
func (l *life) belongings() (*corev1.PersistentVolumeClaim, []corev1.Secret) {
	l.t.Helper()
	var pvc *corev1.PersistentVolumeClaim
	var all []corev1.Secret
	for _, ns := range l.runsIn {
		claim := l.claim(ns)
		if err := l.get(claim); err == nil {
			pvc = claim
		} else if !kerrors.IsNotFound(err) {
			l.t.Fatal(err)
		}
		secrets := &corev1.SecretList{}
		if err := l.base.List(l.t.Context(), secrets, client.InNamespace(ns), client.MatchingLabels(artifact.SelectorLabelsForArtifact(l.a.GetName()))); err != nil {
			l.t.Fatal(err)
		}
		all = append(all, without(secrets.Items, func(s corev1.Secret) string { return s.GetName() })...)
	}
	return pvc, all
}

// claim returns the name of the Artifact's workspace in a namespace.
func (l *life) claim(namespace string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: artifact.WorkspaceName(artifact.In(l.a, namespace)), Namespace: namespace}}
}

func (l *life) checkUntagged() {
	l.t.Helper()
	if _, err := l.registry.Resolve(l.t.Context(), l.a.Spec.ForProvider.Target.Repository, "v1"); !registry.IsNotFound(err) {
		l.t.Errorf("the artifact is still in its registry: %v", err)
	}
	for _, d := range l.pushed {
		if left := l.records(l.a, d); len(left) > 0 {
			l.t.Errorf("the registry still has %d records of its runs", len(left))
		}
	}
}

// checkForeign reports whether what belongs to others is as it was.
func (l *life) checkForeign() {
	l.t.Helper()
	for o, version := range l.foreign {
		now, _ := o.DeepCopyObject().(client.Object)
		if err := l.get(now); err != nil || now.GetResourceVersion() != version {
			l.t.Errorf("a foreign %T was touched: %v", o, err)
		}
	}
}
