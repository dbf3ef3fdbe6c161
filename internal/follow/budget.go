package follow

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// budgetQuestions are asked of one Hub in budgetWindow at most, however many
	// Artifacts follow a revision of it: a fifth of what the Hub grants whoever
	// brings no token (https://huggingface.co/docs/hub/rate-limits), so that the
	// most of it is there for runs.
	budgetQuestions = 100
	budgetWindow    = 5 * time.Minute

	// budgetBurst of these may be asked at once.
	budgetBurst = 10

	// slotLife is how long a question's place in the queue is kept after its
	// time came.
	slotLife = 5 * time.Minute

	// A Hub that failed is asked again after a wait from the one to the other.
	doorFirstRetry   = 30 * time.Second
	doorLongestRetry = 10 * time.Minute
)

// A fingerprint names a question, or a Hub, without holding its token.
type fingerprint [sha256.Size]byte

func fingerprintOf(parts ...string) fingerprint {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return fingerprint(h.Sum(nil))
}

// id names the question. All that may change its answer, or whether there is
// one, belongs to it.
func (q Question) id() fingerprint {
	o, revision := q.Options, q.Revision
	if revision == "" {
		revision = "main"
	}
	return fingerprintOf(endpointOf(o), o.Token, string(o.CA), o.CAFile, string(q.kindOf()), q.Model, revision)
}

// kindOf returns the kind of what the question is about.
func (q Question) kindOf() hub.Kind { return cmp.Or(q.Kind, hub.Model) }

func endpointOf(o hub.Options) string {
	if o.Endpoint == "" {
		return hub.DefaultEndpoint
	}
	return strings.TrimRight(o.Endpoint, "/")
}

// hostOf returns an endpoint's host, whatever path leads to its Hub.
func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return strings.ToLower(u.Host)
}

// A door is a Hub for those who come with one token, as it counts requests.
type door struct {
	budget *budget
	users  int

	asked    time.Time // Until when the Hub asked to be left alone.
	retry    time.Time // Until when it is left alone since it failed.
	failures int       // In a row.
}

// doorOf returns what is known of a Hub.
func (f *Follower) doorOf(o hub.Options) *door {
	endpoint := endpointOf(o)
	id := fingerprintOf(endpoint, o.Token)
	d, ok := f.doors[id]
	if !ok {
		d = &door{budget: f.budgetOf(hostOf(endpoint))}
		f.doors[id] = d
	}
	return d
}

// opens returns when the Hub may be asked. A person need not wait for more than
// the Hub itself asks for.
func (d *door) opens(urgent bool) time.Time {
	if urgent || d.asked.After(d.retry) {
		return d.asked
	}
	return d.retry
}

// rest leaves the Hub alone as long as it asks for.
func (d *door) rest(until time.Time) {
	if until.After(d.asked) {
		d.asked = until
	}
}

// fail leaves the Hub alone since it failed.
func (d *door) fail(until time.Time, reason outcome.Reason) {
	d.failures++
	d.retry = until
	if reason == outcome.RateLimited {
		d.rest(until)
	}
}

// sweepDoors forgets Hubs that nobody asks any more.
func (f *Follower) sweepDoors(now time.Time) {
	used := map[*budget]bool{}
	for id, d := range f.doors {
		if d.users == 0 && d.opens(false).Before(now) {
			delete(f.doors, id)
			continue
		}
		used[d.budget] = true
	}
	for host, b := range f.budgets {
		if !used[b] {
			delete(f.budgets, host)
		}
	}
}

// A budget is how many questions a Hub is asked, whatever the tokens. A second
// one of the same size is for people, who are not to wait behind all Artifacts.
type budget struct {
	queue, people *rate.Limiter

	asking bool // One question at a time: a Hub that does not answer holds up one reconcile.
}

func newBudget() *budget {
	every := rate.Every(budgetWindow / budgetQuestions)
	return &budget{queue: rate.NewLimiter(every, budgetBurst), people: rate.NewLimiter(every, budgetBurst)}
}

func (f *Follower) budgetOf(host string) *budget {
	b, ok := f.budgets[host]
	if !ok {
		b = newBudget()
		f.budgets[host] = b
	}
	return b
}

// A slot is a question's place in the queue for a budget. Those who come first
// are asked first, and nobody has to come back before its time.
type slot struct {
	reserved *rate.Reservation
	at       time.Time
}

// wait returns how long until the question may be asked.
func (s *slot) wait(b *budget, urgent bool, now time.Time) time.Duration {
	if s.reserved == nil || now.Sub(s.at) > slotLife {
		s.reserved = b.queue.ReserveN(now, 1)
		s.at = now.Add(s.reserved.DelayFrom(now))
	}
	if urgent && s.at.After(now) && b.people.AllowN(now, 1) {
		s.giveBack(now)
		return 0
	}
	return max(s.at.Sub(now), 0)
}

// giveBack leaves the queue.
func (s *slot) giveBack(now time.Time) {
	if s.reserved != nil {
		s.reserved.CancelAt(now)
	}
	*s = slot{}
}
