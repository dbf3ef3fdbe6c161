package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pull"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// pullVerifyFlagsOf adds the flags that say who must have signed what is pulled.
func pullVerifyFlagsOf(c *kingpin.CmdClause) *verifyFlags {
	f := verifyFlagsOf(c, "", "--verify-key or --verify-identity")
	c.Flag("verify-key", "File with public keys in PEM; one of them must have signed the artifact. May be repeated.").StringsVar(&f.options.KeyFiles)
	c.Validate(func(*kingpin.CmdClause) error { return f.validate() })
	return f
}

// pullAndReport pulls an artifact until it is complete or the container is told to
// end, logs the result and returns the exit code. On a terminal it shows bars below the
// log.
func pullAndReport(o pull.Options) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	o.Parallel = max(0, min(o.Parallel, pull.MaxParallel))
	if screen := terminal.NewScreen(o.Log); screen != nil {
		bars := &barScreen{Live: terminal.NewLive(screen), now: time.Now}
		defer func() { _ = bars.Close() }()
		o.Log, o.Progress = bars, bars.show
	}
	result, err := pull.New(o).Run(ctx)
	if err != nil {
		f := outcome.Failed(err).Failure
		_, _ = fmt.Fprintf(o.Log, "failed: %s: %s\n", f.Reason, f.Message)
		return 1
	}
	_, _ = fmt.Fprintf(o.Log, "done: %s\n", result)
	return 0
}
