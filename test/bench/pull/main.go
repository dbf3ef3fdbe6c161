// Command pull measures how an artifact gets from a registry into a folder: by worker
// pull, by oras pull, and by kit and modctl where they are given. The registry is a process
// on this machine; each contender is timed in turn, over loopback and through a line that
// gives each connection a rate. It prints each figure beside its limit and fails where one
// is missed. Linux only.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
)

// options of the benchmark.
type options struct {
	// runs of each contender over loopback.
	runs int

	// phases that are run.
	phases []string

	// worker, kit and modctl are programs; empty to build the first, and for no others.
	worker, kit, modctl string

	// scale is what the sizes of artifacts are multiplied with.
	scale float64

	// page gets the tables; empty for none.
	page string

	// print does not fail where limits are missed.
	print bool
}

func main() {
	o := options{}
	app := kingpin.New("pull", "Measure how artifacts get from a registry into a folder.")
	run := app.Command("run", "Measure.").Default()
	run.Flag("runs", "How often each contender runs over loopback; the median counts.").Default("5").IntVar(&o.runs)
	run.Flag("phase", "What is measured; all by default. May be repeated.").EnumsVar(&o.phases, phaseNames()...)
	run.Flag("worker", "The worker's program, built before; otherwise it is built here.").StringVar(&o.worker)
	run.Flag("kit", "The program of kit; empty leaves it out.").StringVar(&o.kit)
	run.Flag("modctl", "The program of modctl; empty leaves it out.").StringVar(&o.modctl)
	run.Flag("scale", "What the sizes of artifacts are multiplied with, between 0 and 1, without a table: for developing.").Default("1").Float64Var(&o.scale)
	run.Flag("page", "Markdown file that gets the tables; empty for none.").StringVar(&o.page)
	run.Flag("print", "Do not fail where limits are missed.").BoolVar(&o.print)

	var l line.Args
	lineCommand := app.Command("line", "The process that is the line.").Hidden()
	lineCommand.Arg("hub", "Where to.").Required().StringVar(&l.To.Hub)
	lineCommand.Arg("registry", "Where to.").Required().StringVar(&l.To.Registry)
	lineCommand.Arg("shape", "As JSON.").Required().StringVar(&l.Shape)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch kingpin.MustParse(app.Parse(os.Args[1:])) {
	case run.FullCommand():
		err = measure(ctx, o)
	case lineCommand.FullCommand():
		err = line.Run(l)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pull:", err)
		os.Exit(1)
	}
}
