// Package follow asks Hubs whether the revisions that Artifacts follow have
// moved, within a budget for each Hub.
package follow

import (
	"context"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
)

const (
	// followSoon bounds when a question is asked that was not asked before. Some
	// random time is let go by, since Artifacts are changed by the hundred too.
	followSoon = time.Minute

	// followStart is how long a provider is taken to have just started. What it
	// sees first in that time was there before, and is asked for within its
	// interval.
	followStart = 10 * time.Minute

	// followBusy is how long to wait where others are asking just now.
	followBusy = 5 * time.Second

	// followAskers bounds how many requests are under way at a time, and so how
	// many reconciles a Hub holds up that does not answer.
	followAskers = 4

	// followKept is how long an Artifact is remembered at least that is not
	// reconciled.
	followKept = 24 * time.Hour

	// followSweep is how often is looked for Artifacts to forget.
	followSweep = 10 * time.Minute
)

// fullCommit matches a revision that cannot move.
var fullCommit = regexp.MustCompile(`^[a-f0-9]{40}$`)

// A Question is what an Artifact wants to know of a Hub.
type Question struct {
	Options hub.Options

	// Kind of what Model names; "" for hub.Model.
	Kind            hub.Kind
	Model, Revision string

	// Interval at which to ask; more than zero.
	Interval time.Duration

	// Now asks at once, since a person wants to know. It is for one call: where
	// the Hub cannot be asked just then, it will be as soon as it can.
	Now bool
}

// A Follower asks Hubs whether revisions have moved, for all Artifacts of a
// provider. What it knows is in memory alone. It is safe for concurrent use.
//
// An Artifact's question is asked at its interval, give or take a tenth. The
// first time is at random within the interval where the provider has just
// started, and otherwise, also where an Artifact asks something else than
// before, within a minute. Artifacts with the same question share the answer.
// How many questions there are in all is bounded for each Hub, which may make
// intervals longer; see budgetQuestions.
type Follower struct {
	now    func() time.Time
	random func() float64 // From 0 to 1.

	mu             sync.Mutex // Not held while a Hub is asked.
	started, swept time.Time
	asking         int
	followings     map[types.UID]*following
	answers        map[fingerprint]*answer
	doors          map[fingerprint]*door
	budgets        map[string]*budget
}

// New returns a follower that knows nothing.
func New(now func() time.Time) *Follower {
	return &Follower{
		now:        now,
		random:     rand.Float64,
		followings: map[types.UID]*following{},
		answers:    map[fingerprint]*answer{},
		doors:      map[fingerprint]*door{},
		budgets:    map[string]*budget{},
	}
}

// A following is an Artifact that asks a question.
type following struct {
	id     fingerprint
	answer *answer

	// interval as asked for, and with its jitter.
	interval, period time.Duration

	// have is the commit that the Artifact has, and since when that is known.
	// An answer from before may be older than the commit, and does not count.
	have  string
	since time.Time

	// first is when to ask where no answer counts yet.
	first time.Time

	// notBefore is until when asking was put off.
	notBefore time.Time

	seen   time.Time
	urgent bool
}

// Moved returns the commit that the revision stands for, if that is known to be
// another than have, and nothing otherwise. It asks the Hub if it is time to,
// which takes 20 seconds at most, and never waits for that time to come: then
// it says what it knows. An error is that of the Hub asked in this call, once;
// trouble has it until the Hub answers. Besides, the commit may be known.
func (f *Follower) Moved(ctx context.Context, key types.UID, q Question, have string) (string, error) {
	if fullCommit.MatchString(q.Revision) {
		f.Forget(key)
		return "", nil
	}
	w, etag, known, ask := f.enter(key, q, have)
	if !ask {
		return known, nil
	}
	return f.ask(ctx, w, q, etag)
}

// Forget forgets an Artifact.
func (f *Follower) Forget(key types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(key)
}

// Next returns how long until this Artifact's Hub is asked next, some seconds
// at least. There is no such time for an Artifact that nothing was asked for,
// or not any more.
func (f *Follower) Next(key types.UID) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.followings[key]
	if !ok {
		return 0, false
	}
	wait := w.due().Sub(f.now())
	if wait < -followSoon {
		// It would have been asked, were there still somebody to ask for.
		return 0, false
	}
	return max(wait, followBusy), true
}

// Known returns what Moved does where it is not time to ask an Artifact's
// question; ok is false where it is, or where something else is asked.
func (f *Follower) Known(key types.UID, interval time.Duration, have string) (commit string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, known := f.followings[key]
	if !known || w.have != have || w.interval != interval || !f.now().Before(w.due()) {
		return "", false
	}
	return w.moved(), true
}

// Trouble returns why the last try to ask this Artifact's question failed, or
// nothing. It has no secrets.
func (f *Follower) Trouble(key types.UID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w, ok := f.followings[key]; ok {
		return w.answer.trouble
	}
	return ""
}

// enter notes what an Artifact wants to know. It says whether that is to be
// asked now, with which ETag; if not, it returns what moved does.
func (f *Follower) enter(key types.UID, q Question, have string) (w *following, etag, known string, ask bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.started.IsZero() {
		f.started = now
	}
	w = f.follow(key, q, have, now)
	f.sweep(now)
	if wait := f.wait(w, now); wait > 0 {
		w.notBefore = now.Add(wait)
	}
	if now.Before(w.due()) {
		return w, "", w.moved(), false
	}
	w.answer.asking, w.answer.door.budget.asking = true, true
	f.asking++
	return w, w.answer.etag, "", true
}

// follow returns what is known of an Artifact, brought up to date.
func (f *Follower) follow(key types.UID, q Question, have string, now time.Time) *following {
	id, within := q.id(), min(q.Interval, followSoon)
	w, ok := f.followings[key]
	if !ok && now.Sub(f.started) < followStart {
		within = q.Interval
	}
	if !ok || w.id != id {
		f.drop(key)
		w = &following{id: id, answer: f.answerTo(id, q)}
		w.answer.users++
		f.followings[key] = w
	}
	if w.since.IsZero() || w.have != have {
		w.have, w.since, w.first = have, now, now.Add(f.between(0, within))
	}
	if w.interval != q.Interval {
		w.interval, w.period = q.Interval, f.jitter(q.Interval)
	}
	w.seen = now
	if q.Now && now.Sub(w.answer.at) >= followBusy {
		w.urgent, w.notBefore = true, time.Time{}
	}
	return w
}

// drop forgets an Artifact, and its question if nobody else asks it.
func (f *Follower) drop(key types.UID) {
	w, ok := f.followings[key]
	if !ok {
		return
	}
	delete(f.followings, key)
	a := w.answer
	if a.users--; a.users > 0 {
		return
	}
	a.slot.giveBack(f.now())
	a.door.users--
	delete(f.answers, w.id)
}

// sweep forgets what was not asked for in a long time.
func (f *Follower) sweep(now time.Time) {
	if now.Sub(f.swept) < followSweep {
		return
	}
	f.swept = now
	for key, w := range f.followings {
		if now.Sub(w.seen) > max(2*w.interval, followKept) {
			f.drop(key)
		}
	}
	f.sweepDoors(now)
}

// due returns when the Artifact's question is to be asked.
func (w *following) due() time.Time {
	due, a := w.answer.at.Add(w.period), w.answer
	switch {
	case w.urgent:
		due = time.Time{}
	case a.failures > 0:
		due = a.retry
	case a.at.IsZero(), a.at.Before(w.since) && a.commit != w.have:
		due = w.first
	}
	if due.Before(w.notBefore) {
		return w.notBefore
	}
	return due
}

// moved returns the commit that the Artifact should have, if it is another than
// the one that it has.
func (w *following) moved() string {
	if a := w.answer; a.commit != w.have && !a.at.Before(w.since) {
		return a.commit
	}
	return ""
}

// wait returns how long a question that is due has to be put off.
func (f *Follower) wait(w *following, now time.Time) time.Duration {
	a, until := w.answer, w.answer.door.opens(w.urgent)
	switch {
	case now.Before(w.due()):
		return 0
	case a.asking || a.door.budget.asking || f.asking >= followAskers:
		return f.between(followBusy, 2*followBusy)
	case now.Before(until):
		// Not all who wait shall come back at once.
		a.slot.giveBack(now)
		return until.Sub(now) + f.between(0, followSoon)
	}
	return a.slot.wait(a.door.budget, w.urgent, now)
}
