// Command bench measures the provider, run as a program of its own, against a
// real API server: how soon Artifacts have their Jobs, and what thousands that
// are Ready cost. It has fakes of Kubernetes' controllers, the kubelet and the
// registry itself, prints each figure beside its limit and fails where one is
// missed. Linux only: memory is read from /proc.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// options of the benchmark.
type options struct {
	// single, burst and ready are numbers of Artifacts: applied one at a time,
	// applied at once, and Ready when idleness is measured.
	single, burst, ready int

	// handover is how many Artifacts there are while leaders change.
	handover int

	// workers is how many apply a burst at the same time, and how many the bare client has.
	workers int

	// pipeline of the Artifacts.
	pipeline string

	// runTime is how long a Job's Pod runs.
	runTime time.Duration

	// poll is the provider's poll interval, polls how many are watched.
	poll  time.Duration
	polls int

	// provider is the program; empty to build the source tree's.
	provider string

	// flags for the provider beside those that the benchmark needs.
	flags []string

	// log is where the provider's output goes.
	log string
}

func main() {
	o := options{}
	app := kingpin.New("bench", "Measure the provider against a real API server.")
	app.Flag("single", "Artifacts that are applied one at a time; 0 leaves this out.").Default("100").IntVar(&o.single)
	app.Flag("burst", "Artifacts that are applied at once; 0 leaves this out.").Default("2000").IntVar(&o.burst)
	app.Flag("ready", "Artifacts that are Ready when idleness is measured; 0 leaves this out.").Default("10000").IntVar(&o.ready)
	app.Flag("handover", "Artifacts whose runs are in progress, or wait, while the leader changes; 0 leaves this out.").Default("60").IntVar(&o.handover)
	app.Flag("workers", "How many apply the burst's Artifacts at the same time, and how many workers the bare client has.").Default("20").IntVar(&o.workers)
	app.Flag("pipeline", "The Artifacts' pipeline.").Default("Kit").EnumVar(&o.pipeline, "Kit", "Stream")
	app.Flag("run-time", "How long a Job's Pod runs.").Default("5s").DurationVar(&o.runTime)
	app.Flag("poll", "The provider's poll interval.").Default("2m").DurationVar(&o.poll)
	app.Flag("polls", "Polls for which idle Artifacts are watched.").Default("2").IntVar(&o.polls)
	app.Flag("provider", "The provider's program, built before; otherwise it is built here.").StringVar(&o.provider)
	app.Flag("log", "File for the provider's output.").Default(os.DevNull).StringVar(&o.log)
	app.Arg("flags", "Flags for the provider, after --.").StringsVar(&o.flags)
	kingpin.MustParse(app.Parse(os.Args[1:]))
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run runs all phases. Figures that miss their limit are an error once all are
// known.
func run(ctx context.Context, o options) (err error) {
	b, stop, err := newBench(ctx, o)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	for _, phase := range []func(context.Context) error{b.single, b.burst, b.handover, b.idle} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return b.report.verdict()
}
