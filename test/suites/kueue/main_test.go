// Package kueue tests that runs wait in queues of the real Kueue: on the local cluster,
// with a real kubelet and real model files.
//
// The tests need root on Linux, and run where the environment variable E2E is true or
// required, as hack/test sets it, and where Kueue is built already: `make test.kueue`
// builds it.
package kueue

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/test/platform"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// patience is how long an Artifact may take to get somewhere.
const patience = 3 * time.Minute

// local is the cluster that all tests share, and kueue is Kueue beside it.
var (
	local *platform.Local
	kueue *server
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if e2e := os.Getenv("E2E"); e2e != "true" && e2e != "required" {
		fmt.Println("kueue: NOT RUN: E2E is not set; make test.kueue sets it")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, built, err := programs.Built(ctx, programs.Kueue)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !built {
		fmt.Println("kueue: NOT RUN: Kueue is not built; make test.kueue builds it, in about 12 minutes, and runs these tests")
		return 0
	}
	return runWith(ctx, m, dir)
}

// runWith runs the tests with the Kueue in this directory.
func runWith(ctx context.Context, m *testing.M, program string) int {
	state, err := os.MkdirTemp("", "provider-kitops-kueue-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(state) }()
	if local, err = platform.NewLocal(ctx, state+"/cluster", os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cannot bring the platform up:", err)
		return 1
	}
	code := 1
	if kueue, err = install(ctx, program, state+"/kueue"); err != nil {
		fmt.Fprintln(os.Stderr, "cannot install Kueue:", err)
	} else if code = m.Run(); code != 0 {
		fmt.Fprintln(os.Stderr, local.Describe(ctx))
		fmt.Fprintln(os.Stderr, kueue.describe(ctx))
	}
	// No Kueue must outlive the cluster.
	kueue.stop()
	if err := local.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot take the platform down:", err)
		return 1
	}
	return code
}
