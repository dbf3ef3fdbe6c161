// Command throughput measures how a model gets from the Hub, or from a bucket, to a
// registry: by the pipeline Stream, by kit's own commands, and by curl, which is the limit.
// All servers are processes on this machine; each contender is timed in
// turn, over loopback and through a line of a given rate and delay. It prints
// each figure beside its limit and fails where one is missed. Linux only.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
)

// options of the benchmark.
type options struct {
	// quick measures small models, for developing.
	quick bool

	// runs of each contender over loopback, lineRuns through the line.
	runs, lineRuns int

	// phases that are run.
	phases []string

	// kit is the program of kit; empty for none.
	kit string

	// worker is the program; empty to build the source tree's.
	worker string

	// rate of the line in Mbit/s, and delay in each direction.
	rate  int64
	delay time.Duration

	// registryDir is where the registry keeps its data; empty for memory.
	registryDir string

	// page gets the tables, and readme a few figures; without a page, none does.
	page, readme string

	// print does not fail where limits are missed.
	print bool

	// before is the worker of an older commit: its path, or the commit; empty for none.
	before string

	// scale is what the sizes of the models in the phases after s3 are multiplied with.
	scale float64
}

func main() {
	o := options{}
	app := kingpin.New("throughput", "Measure how models get from the Hub to a registry.")
	run := app.Command("run", "Measure.").Default()
	run.Flag("quick", "Measure small models, and write no table: for developing.").BoolVar(&o.quick)
	run.Flag("runs", "How often each contender runs over loopback; the median counts.").Default("5").IntVar(&o.runs)
	run.Flag("line-runs", "How often each contender runs through the line.").Default("3").IntVar(&o.lineRuns)
	run.Flag("phase", "What is measured; all by default. May be repeated.").EnumsVar(&o.phases, phaseNames()...)
	run.Flag("kit", "The program of kit; empty leaves it out.").StringVar(&o.kit)
	run.Flag("worker", "The worker's program, built before; otherwise it is built here.").StringVar(&o.worker)
	run.Flag("before", "The worker of an older commit, which runs in turn with this one's: its program, or the commit that it is built of; empty leaves it out.").Default(defaultBefore).StringVar(&o.before)
	run.Flag("scale", "What the sizes of models are multiplied with that are compared with the older worker's only, between 0 and 1: for developing.").Default("1").Float64Var(&o.scale)
	run.Flag("rate", "Of the line, in Mbit/s.").Default("400").Int64Var(&o.rate)
	run.Flag("delay", "Of the line, in each direction.").Default("20ms").DurationVar(&o.delay)
	run.Flag("registry-dir", "Where the registry keeps its data; by default in memory.").StringVar(&o.registryDir)
	run.Flag("page", "Markdown file that gets the tables; empty for none.").StringVar(&o.page)
	run.Flag("readme", "Markdown file that gets a few figures, if there is a page.").Default("README.md").StringVar(&o.readme)
	run.Flag("print", "Do not fail where limits are missed.").BoolVar(&o.print)

	ends := app.Command("ends", "Leave Hub and registry running, to try things by hand.")
	ends.Flag("quick", "With small models.").BoolVar(&o.quick)
	ends.Flag("registry-dir", "Where the registry keeps its data; by default in memory.").StringVar(&o.registryDir)

	var l line.Args
	lineCommand := app.Command("line", "The process that is the line.").Hidden()
	lineCommand.Arg("hub", "Where to.").Required().StringVar(&l.To.Hub)
	lineCommand.Arg("registry", "Where to.").Required().StringVar(&l.To.Registry)
	lineCommand.Arg("shape", "As JSON.").Required().StringVar(&l.Shape)

	hub := app.Command("hub", "The process that is the Hub.").Hidden()
	dir := hub.Arg("dir", "With the models.").Required().String()
	identity := hub.Arg("identity", "Folder with its certificate.").Required().String()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch kingpin.MustParse(app.Parse(os.Args[1:])) {
	case run.FullCommand():
		err = measure(ctx, o)
	case ends.FullCommand():
		err = hold(ctx, o)
	case lineCommand.FullCommand():
		err = line.Run(l)
	case hub.FullCommand():
		err = runHub(*dir, *identity)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}
