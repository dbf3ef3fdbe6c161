package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

const (
	// sharePods is how many Pods share a run.
	sharePods = 4

	// shareRate of the line that each of them has to itself, in bytes a second: 200 Mbit/s.
	shareRate = 200e6 / 8

	// shareGain is how many times as fast they must be as one Pod behind one such line.
	shareGain = 3.6

	// leastShare is the least size of a file in MiB: the last run takes as long for any.
	leastShare = 32
)

// measureShares is about several large files that several Pods transfer, each behind a line
// of its own, and one Pod completes.
func (b *bench) measureShares(ctx context.Context) error {
	m, err := shardedModel(shareFiles, shareFiles*max(b.scaled(256), leastShare)<<20).prepare(b.content)
	if err != nil {
		return err
	}
	where, back, err := b.roomFor(m.Bytes)
	if err != nil {
		return err
	}
	defer back()
	several := &shared{stream: b.stream()}
	for range sharePods {
		l, err := line.Start(ctx, b.ends.place, line.Even(shareRate, 0))
		if err != nil {
			return err
		}
		defer l.Stop()
		several.at = append(several.at, l.Place)
	}
	r := round{model: m, results: []*result{{contender: b.stream()}, {contender: several}}}
	if err := b.inTurn(ctx, r, several.at[0], 1); err != nil {
		return err
	}
	what := fmt.Sprintf("%s in %d files, a line of 200 Mbit/s a Pod, registry %s", size(m.Bytes), len(m.Files), where)
	one, all := r.results[0].median(), r.results[1].median()
	b.rows(what, r, line.OwnTime(m.Bytes, shareRate, 0))
	b.report.hold(one.Seconds() >= shareGain*all.Seconds(), fmt.Sprintf("%d Pods, a line each: at least %.1f times one Pod's rate", sharePods, shareGain),
		"%.2f times, of which the run that completes the shares takes %.2f s", one.Seconds()/all.Seconds(), several.last.Seconds())
	return nil
}

// A shared is the pipeline Stream as several Pods run it, each behind a line of its own, and
// as one Pod then completes it.
type shared struct {
	stream

	at   []line.Place
	last time.Duration // What completing it took.
}

// name implements contender.
func (s *shared) name() string { return fmt.Sprintf("%s, %d Pods", s.stream.name(), len(s.at)) }

// run implements contender.
func (s *shared) run(ctx context.Context, j job, m *meter.Meter) error {
	parts := make([]string, len(s.at))
	group, gctx := errgroup.WithContext(ctx)
	for i := range s.at {
		group.Go(func() (err error) {
			var r outcome.Result
			if r, err = s.runPod(gctx, j, m, i, outcome.EnvCompletionIndex+"="+strconv.Itoa(i)); err == nil && r.Share == nil {
				err = errors.Errorf("the run of share %d reports none", i)
			}
			if err == nil && r.Share.Part != "" {
				parts[i] = "--share-part=" + r.Share.Part
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	told := []string{}
	for _, p := range parts {
		if p != "" {
			told = append(told, p)
		}
	}
	start := time.Now()
	_, err := s.runPod(ctx, j, m, 0, outcome.EnvCompletionIndex+"=", told...)
	s.last = time.Since(start)
	return err
}

// runPod runs one Pod's worker behind its line, and returns its result.
func (s *shared) runPod(ctx context.Context, j job, m *meter.Meter, pod int, env string, more ...string) (outcome.Result, error) {
	j.place = s.at[pod]
	file := filepath.Join(j.dir, "result-"+strconv.Itoa(pod))
	args := append(s.args(j), "--shares="+strconv.Itoa(len(s.at)), "--result-file="+file)
	if _, err := m.Run(ctx, meter.Command{Dir: j.dir, Env: append(j.proxy(), env), Args: append(args, more...)}); err != nil {
		return outcome.Result{}, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return outcome.Result{}, errors.Wrap(err, "cannot read the worker's result")
	}
	r, ok := outcome.Parse(string(b))
	if !ok {
		return outcome.Result{}, errors.New("the worker has written no result")
	}
	return r, nil
}
