package access

import (
	"context"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// askAgain is how often the API server is asked while something is missing;
	// up to half as long again, by chance.
	askAgain = 10 * time.Second

	// breath is the least time between two times of asking.
	breath = 3 * time.Second
)

// A Gate knows whether the provider is allowed all that it has to be. It asks at
// the start, again and again while something is missing, and when it is told to.
// A nil Gate is open.
type Gate struct {
	kube      client.Client
	log       logging.Logger
	namespace string
	interval  time.Duration
	again     chan struct{}

	mu sync.Mutex
	// known says that the API server has answered.
	known   bool
	missing *outcome.Error
	// changed is closed when known or missing change, and made anew.
	changed chan struct{}
}

// NewGate returns a Gate that asks with this client. The namespace is the one in
// which the provider elects which of its replicas works, "" where it does not.
func NewGate(kube client.Client, log logging.Logger, namespace string) *Gate {
	return &Gate{kube: kube, log: log, namespace: namespace, interval: askAgain, again: make(chan struct{}, 1), changed: make(chan struct{})}
}

// NeedLeaderElection is false: a replica that may not even elect says so.
func (g *Gate) NeedLeaderElection() bool { return false }

// Start asks until the context ends.
func (g *Gate) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := g.ask(ctx); err != nil && ctx.Err() == nil {
			g.log.Info("Cannot find out what the provider may do", "error", err)
		}
		// With nothing missing, it asks again when it is told to.
		var later <-chan time.Time
		if err, known := g.state(); err != nil || !known {
			later = time.After(wait.Jitter(g.interval, 0.5))
		}
		select {
		case <-later:
		case <-g.again:
			pause(ctx, breath)
		case <-ctx.Done():
		}
	}
	return nil
}

// Recheck has the Gate ask again soon: something was denied.
func (g *Gate) Recheck() {
	if g == nil {
		return
	}
	select {
	case g.again <- struct{}{}:
	default:
	}
}

// Missing returns an error that names what the provider may not do and how that
// is granted, nil where it may do all. It waits for the first answer.
func (g *Gate) Missing(ctx context.Context) error {
	if g == nil {
		return nil
	}
	if err := g.waitFor(ctx, func(_ *outcome.Error, known bool) bool { return known }); err != nil {
		return err
	}
	if missing, _ := g.state(); missing != nil {
		return missing
	}
	return nil
}

// WaitGranted waits until the provider may do all.
func (g *Gate) WaitGranted(ctx context.Context) error {
	return g.waitFor(ctx, func(missing *outcome.Error, known bool) bool { return known && missing == nil })
}

// WaitDenied waits until something is missing.
func (g *Gate) WaitDenied(ctx context.Context) error {
	if g == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return g.waitFor(ctx, func(missing *outcome.Error, _ bool) bool { return missing != nil })
}

// Explain returns err, and where it says that the provider lacks a permission,
// an error that says how that is granted. The Gate looks then what else is
// missing.
func (g *Gate) Explain(err error) error {
	if why := Denied(err); why != nil {
		g.Recheck()
		return why
	}
	return err
}

// ask asks about all needs.
func (g *Gate) ask(ctx context.Context) error {
	var needs []Need
	for _, n := range Needs() {
		if !n.Optional && (!n.Own || g.namespace != "") {
			needs = append(needs, n)
		}
	}
	lacking, err := lacking(ctx, g.kube, needs, g.namespace)
	if err != nil {
		return err
	}
	if len(lacking) == 0 {
		g.set(nil)
		return nil
	}
	g.set(missing(whoAmI(ctx, g.kube), lacking...))
	return nil
}

// set keeps what is missing, and logs it if it is news.
func (g *Gate) set(missing *outcome.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	had, known := g.missing, g.known
	g.missing, g.known = missing, true
	if known && (had == nil) == (missing == nil) && (had == nil || had.Message == missing.Message) {
		return
	}
	switch {
	case missing != nil:
		g.log.Info(missing.Message)
	case had != nil:
		g.log.Info("The provider has all permissions now")
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// state returns what is missing, and whether that is known.
func (g *Gate) state() (*outcome.Error, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.missing, g.known
}

// waitFor waits until the Gate is in a state.
func (g *Gate) waitFor(ctx context.Context, is func(missing *outcome.Error, known bool) bool) error {
	for g != nil {
		g.mu.Lock()
		missing, known, changed := g.missing, g.known, g.changed
		g.mu.Unlock()
		if is(missing, known) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Wrap(ctx.Err(), "cannot find out what the provider may do")
		}
	}
	return nil
}

// pause waits a while, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
