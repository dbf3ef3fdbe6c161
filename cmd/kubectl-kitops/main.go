// Command kubectl-kitops is a plugin of kubectl for people who look after Artifacts:
// kubectl kitops.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	// Ways to authenticate that a kubeconfig may name.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/plugin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := plugin.Run(ctx, os.Args, plugin.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
