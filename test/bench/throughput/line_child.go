package main

import (
	"context"
	"encoding/json"
	"net"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// counts are bytes that the line carried, all of TCP's payload: headers of
// HTTP and TLS too.
type counts struct {
	// HubIn came from the Hub, HubOut went there.
	HubIn, HubOut int64

	// RegistryIn came from the registry, RegistryOut went there.
	RegistryIn, RegistryOut int64
}

// less returns what was carried since an earlier count.
func (c counts) less(o counts) counts {
	return counts{c.HubIn - o.HubIn, c.HubOut - o.HubOut, c.RegistryIn - o.RegistryIn, c.RegistryOut - o.RegistryOut}
}

// total bytes, in both directions.
func (c counts) total() int64 { return c.HubIn + c.HubOut + c.RegistryIn + c.RegistryOut }

// A place is where a contender finds Hub and registry.
type place struct {
	// Hub is the address of the proxy by which the Hub is reached.
	Hub string

	// Registry is the registry's address.
	Registry string
}

// A line lies between contenders and both ends: what comes from the Hub shares
// one direction with what the registry answers, and what goes to the registry
// shares the other with what the Hub is asked.
type line struct {
	*child

	place place
}

// startLine starts a line of this shape. One that does nothing only counts.
func startLine(ctx context.Context, to place, s shape) (*line, error) {
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	l := &line{}
	l.child, err = startChild(ctx, &l.place, "line", to.Hub, to.Registry, string(encoded))
	return l, err
}

// counts returns what was carried so far, once all connections have ended.
func (l *line) counts() (counts, error) {
	var c counts
	err := l.ask("counts", &c)
	return c, errors.Wrap(err, "cannot ask the line for its counts")
}

// lineArgs are the child's arguments.
type lineArgs struct {
	to    place
	shape string // Encoded as JSON.
}

// runLine is the child's side.
func runLine(o lineArgs) error {
	var s shape
	if err := json.Unmarshal([]byte(o.shape), &s); err != nil {
		return errors.Wrap(err, "cannot read the line's shape")
	}
	up, down := &pace{rate: s.Rate}, &pace{rate: s.Rate}
	hub := &wire{to: o.to.Hub, up: up, down: down, shape: s.Hub}
	registry := &wire{to: o.to.Registry, up: up, down: down, shape: s.Registry}
	var addresses []string
	for _, w := range []*wire{hub, registry} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return errors.Wrap(err, "cannot listen")
		}
		addresses = append(addresses, l.Addr().String())
		go w.serve(l)
	}
	return answer(place{Hub: addresses[0], Registry: addresses[1]}, func(string) any {
		await(hub, registry)
		return counts{
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
