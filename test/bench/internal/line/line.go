package line

import (
	"context"
	"encoding/json"
	"net"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/child"
)

// Counts are bytes that the line carried, all of TCP's payload: headers of
// HTTP and TLS too.
type Counts struct {
	// HubIn came from the Hub, HubOut went there.
	HubIn, HubOut int64

	// RegistryIn came from the registry, RegistryOut went there.
	RegistryIn, RegistryOut int64
}

// Less returns what was carried since an earlier count.
func (c Counts) Less(o Counts) Counts {
	return Counts{c.HubIn - o.HubIn, c.HubOut - o.HubOut, c.RegistryIn - o.RegistryIn, c.RegistryOut - o.RegistryOut}
}

// Total bytes, in both directions.
func (c Counts) Total() int64 { return c.HubIn + c.HubOut + c.RegistryIn + c.RegistryOut }

// A Place is where a contender finds Hub and registry.
type Place struct {
	// Hub is the address of the proxy by which the Hub is reached.
	Hub string

	// Registry is the registry's address.
	Registry string
}

// A Line lies between contenders and both ends: what comes from the Hub shares
// one direction with what the registry answers, and what goes to the registry
// shares the other with what the Hub is asked.
type Line struct {
	*child.Process

	Place Place
}

// Start starts a line of this shape. One that does nothing only counts.
func Start(ctx context.Context, to Place, s Shape) (*Line, error) {
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	l := &Line{}
	l.Process, err = child.Start(ctx, &l.Place, "line", to.Hub, to.Registry, string(encoded))
	return l, err
}

// Counts returns what was carried so far, once all connections have ended.
func (l *Line) Counts() (Counts, error) {
	var c Counts
	err := l.Ask("counts", &c)
	return c, errors.Wrap(err, "cannot ask the line for its counts")
}

// Args are the child's arguments.
type Args struct {
	To    Place
	Shape string // Encoded as JSON.
}

// Run is the child's side.
func Run(o Args) error {
	var s Shape
	if err := json.Unmarshal([]byte(o.Shape), &s); err != nil {
		return errors.Wrap(err, "cannot read the line's shape")
	}
	up, down := &pace{rate: s.Rate}, &pace{rate: s.Rate}
	hub := &wire{to: o.To.Hub, up: up, down: down, shape: s.Hub}
	registry := &wire{to: o.To.Registry, up: up, down: down, shape: s.Registry}
	var addresses []string
	for _, w := range []*wire{hub, registry} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return errors.Wrap(err, "cannot listen")
		}
		addresses = append(addresses, l.Addr().String())
		go w.serve(l)
	}
	return child.Answer(Place{Hub: addresses[0], Registry: addresses[1]}, func(string) any {
		await(hub, registry)
		return Counts{
			HubIn: hub.received.Load(), HubOut: hub.sent.Load(),
			RegistryIn: registry.received.Load(), RegistryOut: registry.sent.Load(),
		}
	})
}

// await waits until all connections have ended, for a while.
func await(wires ...*wire) {
	end := time.Now().Add(5 * time.Second)
	for _, w := range wires {
		for w.open.Load() > 0 && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
	}
}
