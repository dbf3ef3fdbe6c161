package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// defaultBefore is the commit that this one is compared with: the last one that moved a
// fixed number of layers side by side.
const defaultBefore = "db58bebca073f82d926b8a6588915259e67fd494"

// An olderWorker is a worker of an earlier commit, which runs in turn with this one's.
type olderWorker struct {
	program  string
	contract int

	// version says which one it is; missing says why there is none.
	version, missing string
}

// findBefore returns the worker that a flag names: by the path of a program, or by a
// commit, which it is built of. That the source tree's history does not have the commit
// is no error.
func findBefore(ctx context.Context, named, cache string) (olderWorker, error) {
	if named == "" {
		return olderWorker{missing: "there is no --before"}, nil
	}
	w := olderWorker{program: named, version: named}
	if info, err := os.Stat(named); err != nil || !info.Mode().IsRegular() {
		root, err := programs.SourceTree(ctx)
		if err != nil {
			return w, err
		}
		commit, found := resolveCommit(ctx, root, named)
		if !found {
			return olderWorker{missing: fmt.Sprintf("this clone does not have the commit %.12s", named)}, nil
		}
		w.version = fmt.Sprintf("%.12s", commit)
		if w.program, err = buildCommit(ctx, root, commit, cache); err != nil {
			return w, err
		}
	}
	var err error
	w.contract, err = contractOf(ctx, w.program)
	return w, err
}

// resolveCommit returns the full name of a commit, and whether the history has it.
func resolveCommit(ctx context.Context, root, name string) (string, bool) {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}").Output()
	return strings.TrimSpace(string(out)), err == nil
}

// buildCommit builds the worker of a commit into the folder cache, unless it is there,
// and returns its path.
func buildCommit(ctx context.Context, root, commit, cache string) (string, error) {
	final := filepath.Join(cache, "workers", commit+"-"+runtime.Version())
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	fmt.Fprintf(os.Stderr, "building the worker of %.12s (once)\n", commit)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return "", errors.Wrap(err, "cannot make a folder for the worker of an older commit")
	}
	tmp, err := os.MkdirTemp(filepath.Dir(final), ".building-")
	if err != nil {
		return "", errors.Wrap(err, "cannot make a folder to build in")
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	archive, source := filepath.Join(tmp, "source.tar"), filepath.Join(tmp, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return "", errors.Wrap(err, "cannot make a folder to build in")
	}
	for _, args := range [][]string{
		{"git", "-C", root, "archive", "--format=tar", "--output=" + archive, commit},
		{"tar", "-xf", archive, "-C", source},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", errors.Wrapf(err, "cannot read the source tree of %s: %s", commit, out)
		}
	}
	built := filepath.Join(tmp, "worker")
	if err := goBuild(ctx, source, built); err != nil {
		return "", err
	}
	// What was built is renamed, so that it is whole or not there.
	return final, errors.Wrap(os.Rename(built, final), "cannot keep the worker of an older commit")
}

// needsContract is in what a worker says to a provider of an older contract.
var needsContract = regexp.MustCompile(`needs contract (\d+)`)

// contractOf asks a worker which contract it knows, by one that is older than all.
func contractOf(ctx context.Context, program string) (int, error) {
	dir, err := os.MkdirTemp("", "throughput-")
	if err != nil {
		return 0, errors.Wrap(err, "cannot make a folder for a worker's result")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.CommandContext(ctx, program, "run", "--contract=0", "--result-file="+filepath.Join(dir, "result"))
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	found := needsContract.FindStringSubmatch(said.String())
	if found == nil {
		return 0, errors.Errorf("%s does not say which contract it needs: %s (%v)", program, meter.Tail(said.String()), err)
	}
	return strconv.Atoi(found[1])
}

// beforeName is the older worker's in the tables.
const beforeName = "before, ModelPack"

// ownAndBefore returns the results of Stream with a format and, if there is one, of the
// older worker with it.
func (b *bench) ownAndBefore(format string) []*result {
	results := []*result{{contender: b.streamOf(format)}}
	if b.hasBefore() {
		results = append(results, &result{contender: b.beforeStream(format)})
	}
	return results
}

const (
	// notSlower is how much of the older worker's time Stream may take on loopback: both
	// are limited by the processor, and single runs differ by more than the rest.
	notSlower = 1.05

	// memorySlack is how much more memory Stream may take than the older worker: by so
	// much runs of the same worker differ, with when the garbage collector runs.
	memorySlack = 8 << 20
)

// holdNotSlower holds Stream on loopback against the older worker.
func (b *bench) holdNotSlower(r round, what string) {
	b.holdBefore(r, what, notSlower, "1.05 times the time before")
	b.holdMemory(r, what)
}

// holdBefore holds Stream against the older worker in the same round.
func (b *bench) holdBefore(r round, what string, most float64, words string) {
	what += ": at most " + words
	own, before := r.of(b.stream().name()), r.of(beforeName)
	if before == nil {
		b.report.hold(false, what, "not measured: %s", b.before.missing)
		return
	}
	b.holdRatio(own, before, what, most)
}

// holdRatio holds a result against another one in turn with it. What counts is the median
// of the ratios of their runs, which says how much they differ.
func (b *bench) holdRatio(own, other *result, what string, most float64) {
	ratios := ratiosOf(own.took, other.took)
	middle, differ := middleOf(ratios), ""
	if n := len(ratios); n > 1 {
		differ = fmt.Sprintf(" (single runs %.2f to %.2f)", ratios[0], ratios[n-1])
	}
	b.report.hold(middle <= most, what, "%.3f times %.2f s%s", middle, other.median().Seconds(), differ)
}

// settle has contenders run in turn further, up to three times as often in all, where one
// misses its limit to the first one's time by less than their runs differ.
func (b *bench) settle(ctx context.Context, r round, at line.Place, most float64) error {
	first := r.results[0]
	unsettled := func(o *result) bool {
		ratios := ratiosOf(o.took, first.took)
		return middleOf(ratios) > most && ratios[0] <= most
	}
	for n := 3 * len(first.took); len(first.took) < n && slices.ContainsFunc(r.results[1:], unsettled); {
		if err := b.inTurn(ctx, r, at, 1); err != nil {
			return err
		}
	}
	return nil
}

// ratiosOf returns the ratios of times to the others in turn with them, the least first.
func ratiosOf(took, others []time.Duration) []float64 {
	var ratios []float64
	for i := range min(len(took), len(others)) {
		ratios = append(ratios, took[i].Seconds()/others[i].Seconds())
	}
	slices.Sort(ratios)
	return ratios
}

// middleOf returns the median of sorted values.
func middleOf(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// holdMemory holds Stream's memory against the older worker's in the same round.
func (b *bench) holdMemory(r round, what string) {
	what += fmt.Sprintf(": at most %s more memory than before", megabytes(memorySlack))
	own, before := r.of(b.stream().name()), r.of(beforeName)
	if before == nil {
		b.report.hold(false, what, "not measured: %s", b.before.missing)
		return
	}
	b.report.hold(own.usage.Memory <= before.usage.Memory+memorySlack, what, "%s, before %s", megabytes(own.usage.Memory), megabytes(before.usage.Memory))
}
