package queue

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// offerTimeout is how long room is kept for an Artifact that was told of it, until
	// its reconcile takes it. Then the next one is told.
	offerTimeout = 30 * time.Second

	// uncertainTimeout is how long room is kept for a Job of which it is not known
	// whether the API server has created it. A watch shows it within seconds.
	uncertainTimeout = 30 * time.Second

	// latestTimeout is how long it is remembered when a namespace's last run was admitted:
	// longer than runs take.
	latestTimeout = 30 * 24 * time.Hour

	// unseenTimeout is how long room is kept for a Job that was created and that no
	// watch has shown: it was deleted before.
	unseenTimeout = 10 * time.Minute

	// handover is how long after the start Jobs are believed that this queue has not
	// admitted: those of the leader before, whose lease ends within a minute. It is also
	// how long a Job is believed that may be another's, until it must be recorded.
	handover = 2 * time.Minute
)

// A Run is a Job of an Artifact that has not ended.
type Run struct {
	// Artifact, Namespace and Name are those of the Artifact.
	Artifact        types.UID
	Namespace, Name string

	// Config is as in an Entry.
	Config string

	// GoesOn reports whether the run goes on with another Job once this one, which has ended,
	// is gone. Room of one Pod is kept for that.
	GoesOn bool

	// Pods of the Job; 0 if it is suspended by an administrator, and counts for nothing.
	Pods int

	// MaxPods is for how many Pods the Job counts at most, by its Artifact's config; 0 for any
	// number.
	MaxPods int

	// IsRecorded reports whether the Artifact's status says that its run is this Job. It is
	// called where the queue does not know that; nil if only the provider makes such Jobs.
	IsRecorded func() bool
}

// pods returns for how many Pods a run counts.
func (r Run) pods() int { return min(r.Pods, cmp.Or(r.MaxPods, r.Pods)) }

// A Count is how many runs of one namespace wait and run.
type Count struct {
	// Queued is how many runs wait, and OldestSince since when the one waits that has
	// waited longest; zero if none waits.
	Queued      int
	OldestSince time.Time

	// Running is how many Pods the runs have that were admitted.
	Running int
}

// A Queue limits how many Pods runs have at a time: those of each config, and all
// together. It counts Jobs that are there, those that are being created, and those that
// were created and not seen yet. It is in memory, and safe for concurrent use.
//
// Each reconcile of an Artifact is between Enter and Leave. Within, Ask asks for room.
// An Artifact that waits stays in the queue as long as each of its reconciles asks
// again, with Ask or StillWaits. When there is room, the Artifact is told, and keeps the
// room until the end of its next reconcile, or longer if that creates a Job.
type Queue struct {
	mu sync.Mutex

	// max is how many Pods there may be in all; 0 for any number. limits are those of
	// configs.
	max    int
	limits map[string]int

	// entries wait, or were admitted and have no Job yet that was seen.
	entries map[types.NamespacedName]*entry

	// entered are the Artifacts that are being reconciled.
	entered map[types.NamespacedName]bool

	// jobs are those that were seen and have not ended, by their UID.
	jobs map[types.UID]Run

	// doubted are those of them that somebody else may have made, and until when they
	// count without being recorded.
	doubted map[types.UID]time.Time

	// latest is when the last run of each namespace was admitted.
	latest map[string]time.Time

	// tell tells an Artifact that there is room for its run.
	tell func(types.NamespacedName)

	// strict is when the queue begins to believe only in Jobs that it has admitted;
	// zero before Begin.
	strict time.Time

	now func() time.Time
}

// A state is how far an entry is.
type state int

const (
	// waiting: there is no room.
	waiting state = iota

	// offered: there is room, and the Artifact was told.
	offered

	// taken: the reconcile that is in progress was told.
	taken

	// started: the Job was created, and not seen yet.
	started
)

// An entry is an Entry in the queue.
type entry struct {
	Entry

	state state

	// given is for how many Pods there is room, unless the entry waits: at most as many as
	// it asks for.
	given int

	// asked reports whether the reconcile that is in progress, or was last, has asked.
	asked bool

	// before reports whether room was offered before the reconcile in progress.
	before bool

	// until is when the room is given to others, unless it is taken or a Job is seen.
	until time.Time

	// job is the one that was created; empty if that is uncertain. seen is the latest
	// that was seen while the entry was not waiting.
	job, seen types.UID
}

// New returns a queue for so many Pods in all; 0 for any number.
func New(most int) *Queue {
	return &Queue{
		max: max(most, 0), limits: map[string]int{}, entries: map[types.NamespacedName]*entry{},
		entered: map[types.NamespacedName]bool{}, jobs: map[types.UID]Run{}, doubted: map[types.UID]time.Time{}, latest: map[string]time.Time{},
		tell: func(types.NamespacedName) {}, now: time.Now,
	}
}

// Begin has the queue admit runs, and tell Artifacts when there is room for theirs. The
// Jobs that are there must have been seen, and the entries are Artifacts that most likely
// wait: their next reconcile says so.
func (q *Queue) Begin(tell func(types.NamespacedName), presumed []Entry) {
	defer q.update()()
	q.tell, q.strict = tell, q.now().Add(handover)
	running := map[types.UID]bool{}
	for _, r := range q.jobs {
		running[r.Artifact] = true
	}
	for _, e := range presumed {
		if q.isLimited(e.Config) && !running[e.UID] && q.entries[e.key()] == nil {
			q.entries[e.key()] = &entry{Entry: e}
		}
	}
}

// update locks the queue. What it returns admits those for whom there is room by then,
// unlocks the queue and tells them.
func (q *Queue) update() func() {
	q.mu.Lock()
	return func() {
		admitted := q.admit()
		tell := q.tell
		q.mu.Unlock()
		for _, name := range admitted {
			tell(name)
		}
	}
}

// SetLimit sets how many Pods the runs of a config may have at a time; 0 for any number.
// If more are running, none starts until enough of them have ended.
func (q *Queue) SetLimit(config string, most int) {
	defer q.update()()
	if most <= 0 {
		delete(q.limits, config)
		return
	}
	q.limits[config] = most
}

// Limits returns the limit of a config and that of all; 0 for none.
func (q *Queue) Limits(config string) (ofConfig, ofAll int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limits[config], q.max
}

// Enter begins a reconcile of an Artifact.
func (q *Queue) Enter(name types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entered[name] = true
	if e := q.entries[name]; e != nil {
		e.asked, e.before = false, e.state == offered
	}
}

// Leave ends a reconcile of an Artifact. Unless it has asked for room it waits no longer,
// and room that it has not used is others'.
func (q *Queue) Leave(name types.NamespacedName) {
	if q.leave(name) {
		q.update()()
	}
}

// leave does so, and reports whether that leaves room to others.
func (q *Queue) leave(name types.NamespacedName) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.entered, name)
	e := q.entries[name]
	if e == nil {
		return false
	}
	unused := e.state == taken || e.state == offered && e.before
	if unused || e.state == waiting && !e.asked {
		// One that cannot start may have held up those after it.
		delete(q.entries, name)
		return true
	}
	return false
}

// Ask reports whether a run may start now, and with how many Pods: those that it asks for,
// or as many as there is room for. If it may, its Job must be created before Leave. Else it
// waits. One that waits already keeps its place, whatever Since says now.
func (q *Queue) Ask(wanted Entry) (pods int, may bool) {
	q.mu.Lock()
	name := wanted.key()
	e := q.entries[name]
	if e == nil || e.UID != wanted.UID {
		e = &entry{Entry: wanted}
		q.entries[name] = e
	}
	if e.Since.Before(wanted.Since) {
		wanted.Since = e.Since
	}
	e.Entry, e.asked = wanted, true
	if e.state != waiting {
		q.adjust(e)
	}
	var admitted []types.NamespacedName
	switch {
	case e.state != waiting:
	case !q.isLimited(e.Config):
		// Nothing need be counted.
		q.offer(e, e.Pods)
	case q.mayFit(e.Entry):
		admitted = q.admit()
	}
	pods, may = e.given, e.state != waiting
	if may && e.state != started {
		e.state = taken
	}
	tell := q.tell
	q.mu.Unlock()
	for _, other := range admitted {
		if other != name {
			tell(other)
		}
	}
	return pods, may
}

// adjust gives an entry that has room as much as it asks for now if a limit allows that,
// else no more than it has. It has the entry wait if a limit was lowered, or if the entry
// asked for no room before.
func (q *Queue) adjust(e *entry) {
	had := e.given
	e.given = e.Pods
	if had > 0 && q.isExceeded(e.Config) {
		e.given = min(had, e.Pods)
	}
	if (e.state == offered || e.state == started && e.given > had) && q.isExceeded(e.Config) {
		e.state = waiting
	}
}

// StillWaits reports whether an Artifact's run waits and there is no room for it. If so,
// it asks again.
func (q *Queue) StillWaits(name types.NamespacedName) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[name]
	if e == nil || e.state != waiting {
		return false
	}
	e.asked = true
	return true
}

// Has reports whether an Artifact's run waits.
func (q *Queue) Has(name types.NamespacedName) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[name]
	return e != nil && e.state == waiting
}

// Started records that the Job of a run was created; without a UID that it may have been.
func (q *Queue) Started(name types.NamespacedName, job types.UID) {
	defer q.update()()
	e := q.entries[name]
	if e == nil {
		return
	}
	if _, seen := q.jobs[job]; job != "" && (seen || e.seen == job) {
		delete(q.doubted, job)
		delete(q.entries, name)
		return
	}
	e.state, e.job, e.until = started, job, q.now().Add(unseenTimeout)
	if job == "" {
		e.until = q.now().Add(uncertainTimeout)
	}
}

// Seen records how a Job is, and whether it is still there and has not ended. A Job that
// the queue has not admitted counts only soon after the start, and longer only if it is
// recorded: whoever may create Jobs in a namespace must not use up what others may run. A
// Job counts for the config that it was first seen with, and for as many of its Pods as it
// ever might: an Artifact that names another config has its Pods stay as they are.
func (q *Queue) Seen(job types.UID, r Run, active bool) {
	q.mu.Lock()
	known, ok := q.jobs[job]
	admitted, certain := q.seenEntry(job, r, active)
	switch {
	case !active:
		if ok && r.GoesOn {
			q.keep(known)
		}
		delete(q.jobs, job)
		delete(q.doubted, job)
	case ok:
		r.Config, r.MaxPods = known.Config, max(r.MaxPods, known.MaxPods)
		q.jobs[job] = r
	case admitted || q.isHandover():
		q.jobs[job] = r
		if !certain && r.IsRecorded != nil {
			q.doubted[job] = q.now().Add(handover)
		}
	}
	q.mu.Unlock()
	if admitted || !active || r.pods() < known.pods() {
		q.update()()
	}
}

// keep keeps room of one Pod for the next Job of a run, as for one that may have been created.
func (q *Queue) keep(r Run) {
	e := Entry{UID: r.Artifact, Namespace: r.Namespace, Name: r.Name, Config: r.Config, Pods: 1}
	if q.isLimited(r.Config) && q.entries[e.key()] == nil {
		q.entries[e.key()] = &entry{Entry: e, state: started, given: e.Pods, until: q.now().Add(uncertainTimeout)}
	}
}

// seenEntry records that a Job was seen. It reports whether the Job may be that of a run
// which was admitted, and whether it certainly is.
func (q *Queue) seenEntry(job types.UID, r Run, active bool) (admitted, certain bool) {
	e := q.entries[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}]
	if e == nil || e.UID != r.Artifact || e.state == waiting || e.state == offered {
		// Nothing is created before the offer is taken.
		return false, false
	}
	certain = e.state == started && e.job == job
	if certain || e.state == started && e.job == "" && active {
		delete(q.entries, e.key())
	} else if active {
		e.seen = job
	}
	return true, certain
}

// isHandover reports whether Jobs are believed that the queue has not admitted.
func (q *Queue) isHandover() bool { return q.strict.IsZero() || !q.now().After(q.strict) }

// Forget drops an Artifact that is gone.
func (q *Queue) Forget(name types.NamespacedName) {
	defer q.update()()
	delete(q.entries, name)
}

// Expire gives room to others that was kept for long enough. It must be called every few
// seconds.
func (q *Queue) Expire() {
	defer q.update()()
	now := q.now()
	maps.DeleteFunc(q.entries, func(name types.NamespacedName, e *entry) bool {
		return (e.state == offered && !q.entered[name] || e.state == started) && now.After(e.until)
	})
	maps.DeleteFunc(q.latest, func(_ string, at time.Time) bool { return now.Sub(at) > latestTimeout })
	if q.isHandover() {
		return
	}
	maps.DeleteFunc(q.doubted, func(job types.UID, until time.Time) bool {
		if !now.After(until) {
			return false
		}
		if r := q.jobs[job]; !r.IsRecorded() {
			delete(q.jobs, job)
		}
		return true
	})
}

// IsContended reports whether runs wait for the room of a run of this config.
func (q *Queue) IsContended(config string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	ofConfig := q.limits[config] > 0
	ofAll := q.max > 0 && q.use().all.pods >= q.max
	for _, e := range q.entries {
		if e.state == waiting && (ofAll || ofConfig && e.Config == config) {
			return true
		}
	}
	return false
}

// Counts returns how many runs wait and run, by the namespace of their Artifacts.
func (q *Queue) Counts() map[string]Count {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string]Count{}
	for namespace, pods := range q.use().all.byNamespace {
		out[namespace] = Count{Running: pods}
	}
	for _, e := range q.entries {
		if e.state != waiting {
			continue
		}
		c := out[e.Namespace]
		if c.Queued++; c.Queued == 1 || e.Since.Before(c.OldestSince) {
			c.OldestSince = e.Since
		}
		out[e.Namespace] = c
	}
	return out
}

// isLimited reports whether a limit applies to runs of a config.
func (q *Queue) isLimited(config string) bool { return q.max > 0 || q.limits[config] > 0 }

// isExceeded reports whether there are more Pods than a limit allows that applies to runs
// of a config.
func (q *Queue) isExceeded(config string) bool {
	if !q.isLimited(config) {
		return false
	}
	u, limit := q.use(), q.limits[config]
	return limit > 0 && u.of(config).pods > limit || q.max > 0 && u.all.pods > q.max
}

// mayFit reports whether there may be room for an entry, if no other waits.
func (q *Queue) mayFit(e Entry) bool {
	u, limit := q.use(), q.limits[e.Config]
	full := limit > 0 && u.of(e.Config).pods >= limit || q.max > 0 && u.all.pods >= q.max
	return !full || e.Pods == 0 || u.hasOwn(e)
}

// admit offers room to the entries that are next, and returns their Artifacts. First each
// limited config chooses among its own entries, then the provider's limit among those, so
// that both are shared fairly.
func (q *Queue) admit() []types.NamespacedName {
	if !q.anyWaits() {
		return nil
	}
	byConfig := map[string][]Entry{}
	u := q.use()
	for _, e := range q.entries {
		if e.state != waiting {
			continue
		}
		if limit := q.limits[e.Config]; u.hasOwn(e.Entry) || limit == 0 || u.of(e.Config).pods < limit || e.Pods == 0 {
			byConfig[e.Config] = append(byConfig[e.Config], e.Entry)
		}
	}
	var next []Entry
	for config, entries := range byConfig {
		next = append(next, u.fitting(entries, u.of(config), q.limits[config], q.latest)...)
	}
	var out []types.NamespacedName
	for _, e := range u.fitting(next, &u.all, q.max, q.latest) {
		q.offer(q.entries[e.key()], e.Pods)
		out = append(out, e.key())
	}
	return out
}

// anyWaits reports whether an entry waits.
func (q *Queue) anyWaits() bool {
	for _, e := range q.entries {
		if e.state == waiting {
			return true
		}
	}
	return false
}

// offer offers room for so many Pods to an entry.
func (q *Queue) offer(e *entry, pods int) {
	e.given = pods
	e.state, e.until, e.before = offered, q.now().Add(offerTimeout), false
	if e.Pods > 0 {
		q.latest[e.Namespace] = q.now()
	}
}

// A use is how many Pods runs have, with those that were admitted.
type use struct {
	all      tally
	byConfig map[string]*tally
	byRun    map[runKey]int
}

// A runKey identifies the run of an Artifact under a config.
type runKey struct {
	artifact types.UID
	config   string
}

// A tally counts Pods.
type tally struct {
	pods        int
	byNamespace map[string]int
}

// use returns how many Pods there are. An Artifact has one run: its Job of an earlier one
// may still be there when the next is admitted.
func (q *Queue) use() *use {
	u := &use{all: tally{byNamespace: map[string]int{}}, byConfig: map[string]*tally{}, byRun: map[runKey]int{}}
	for _, r := range q.jobs {
		u.add(r.Artifact, r.Config, r.Namespace, r.pods())
	}
	for _, e := range q.entries {
		if e.state != waiting {
			u.add(e.UID, e.Config, e.Namespace, e.given)
		}
	}
	return u
}

// add counts the Pods of an Artifact's run, if they are more than those that were counted.
func (u *use) add(artifact types.UID, config, namespace string, pods int) {
	key := runKey{artifact, config}
	more := pods - u.byRun[key]
	if more <= 0 {
		return
	}
	u.byRun[key] = pods
	for _, t := range []*tally{&u.all, u.of(config)} {
		t.pods += more
		t.byNamespace[namespace] += more
	}
}

// of returns the tally of a config.
func (u *use) of(config string) *tally {
	t := u.byConfig[config]
	if t == nil {
		t = &tally{byNamespace: map[string]int{}}
		u.byConfig[config] = t
	}
	return t
}

// hasOwn reports whether an entry's Artifact has a Job that is counted: the next one takes
// its place.
func (u *use) hasOwn(e Entry) bool { return u.byRun[runKey{e.UID, e.Config}] > 0 }

// more returns how many Pods an entry needs beside those of its Artifact's Job that is
// counted, whose place it takes.
func (u *use) more(e Entry) int { return max(e.Pods-u.byRun[runKey{e.UID, e.Config}], 0) }

// fitting returns those entries for which there is room within a limit; all for no limit.
// The last one may ask for more than the room that is left, and is returned with as many
// Pods as fit. If it waited for all of them, it would have those after it wait, too, for as
// long as the runs take that are running; if it let others go first, it might wait for ever.
func (u *use) fitting(entries []Entry, t *tally, limit int, latest map[string]time.Time) []Entry {
	if limit <= 0 || len(entries) == 0 {
		return entries
	}
	own := func(e Entry) bool { return e.Pods == 0 || u.more(e) == 0 && t.pods <= limit }
	var out []Entry
	for _, e := range entries {
		if own(e) {
			out = append(out, e)
		}
	}
	entries = slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return own(e) || u.more(e) == 0 })
	room := limit - t.pods
	if room <= 0 {
		return out
	}
	for _, e := range Order(entries, t.byNamespace, latest) {
		if room <= 0 {
			break
		}
		e.Pods -= max(u.more(e)-room, 0)
		room -= u.more(e)
		out = append(out, e)
	}
	return out
}
