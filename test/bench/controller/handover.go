package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

const (
	// leaseDuration is how long a leader's Lease holds once it is not renewed, and
	// retryPeriod how often another replica looks at it, up to 1.2 times that (cmd/provider,
	// and k8s.io/client-go/tools/leaderelection).
	leaseDuration = 60 * time.Second
	retryPeriod   = 2 * time.Second

	// startOfLeader is how long a new leader may take until it makes a Job: its caches of
	// Artifacts are there, those of the objects of runs are not.
	startOfLeader = 5 * time.Second

	// maxRuns is how many runs execute at a time while leaders change, so that others wait.
	maxRuns = 8
)

// handover ends the leader of two providers while runs are in progress and others wait: once
// as a node does that dies, and once as a rollout does.
func (b *bench) handover(ctx context.Context) error {
	if b.options.handover == 0 {
		return nil
	}
	if err := b.provider.stop(); err != nil {
		return err
	}
	b.provider = nil
	for _, h := range []struct {
		name   string
		signal syscall.Signal
		limit  time.Duration
		why    string
	}{
		{name: "killed", signal: syscall.SIGKILL, limit: leaseDuration + 2*retryPeriod + startOfLeader, why: "the lease, and its start"},
		{name: "stopped", signal: syscall.SIGTERM, limit: 2*retryPeriod + startOfLeader, why: "the lease is released"},
	} {
		if err := b.handoverBy(ctx, h.name, h.signal, h.limit, h.why); err != nil {
			return errors.Wrapf(err, "leader %s", h.name)
		}
	}
	return nil
}

// handoverBy does so once, by a signal.
func (b *bench) handoverBy(ctx context.Context, name string, signal syscall.Signal, limit time.Duration, why string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n := b.options.handover
	flags := []string{electionFlag, fmt.Sprintf("--max-runs=%d", maxRuns)}
	leader, err := b.startOne(ctx, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leader.stop()) }()
	// It leads once it makes a Job.
	if _, err := b.applyOne(ctx, name+"-first"); err != nil {
		return err
	}
	next, err := b.startOne(ctx, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, next.stop()) }()
	if err := next.waitServing(ctx); err != nil {
		return err
	}
	all := names(name, n)
	if err := inParallel(ctx, b.options.workers, all, b.apply); err != nil {
		return err
	}
	b.artifacts += n
	// Until some have ended, and others have begun in their place.
	if err := b.cluster.waitMade(ctx, all, n/3); err != nil {
		return err
	}
	before := b.cluster.count(all)
	ended := time.Now()
	if err := leader.end(signal); err != nil {
		return err
	}
	if err := b.waitReady(ctx, b.artifacts); err != nil {
		return err
	}
	times := b.cluster.times(all)
	after, _ := slices.BinarySearchFunc(times, ended.Add(inFlight), time.Time.Compare)
	if after == len(times) {
		return errors.New("no Job was made after the leader had ended: write more for --handover")
	}
	gap := times[after].Sub(ended)
	b.report.phase("%d Artifacts, %d runs at a time, whose leader is %s after %d of their Jobs", n, maxRuns, name, before)
	b.report.hold(gap <= limit, "from its end until the next Job", seconds(gap), fmt.Sprintf("at most %s, %s", seconds(limit), why))
	twice, lost := 0, 0
	for _, a := range all {
		switch made := b.cluster.count([]string{a}); {
		case made > 1:
			twice++
		case made == 0:
			lost++
		}
	}
	b.report.hold(twice == 0, "Artifacts with two Jobs", fmt.Sprint(twice), "none")
	b.report.hold(lost == 0, "Artifacts without a Job", fmt.Sprint(lost), "none")
	return nil
}

// inFlight is how long after the end of a leader a Job may still appear that it asked for.
const inFlight = 100 * time.Millisecond
