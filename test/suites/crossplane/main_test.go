// Package crossplane tests the provider as Crossplane's users have it: a package
// that a real Crossplane installs from a registry, under its own RBAC, with
// Artifacts made by kubectl and in Compositions.
//
// The tests need root on Linux. They run where the environment variable E2E is
// true or required, as hack/test sets it.
package crossplane

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/test/platform"
)

// The versions of the provider's package that are in the registry.
const (
	v1 = "v0.0.1"
	v2 = "v0.0.2"
)

var (
	// local is the cluster that all tests share.
	local *platform.Local

	// packages are the references of the provider's package by version.
	packages = map[string]string{}
)

// TestCrossplane runs its parts in this order on one cluster. Each of them but
// the first works alone, too: it installs what it needs.
func TestCrossplane(t *testing.T) {
	if local == nil {
		t.Skip("needs root and brings up a cluster: set E2E=true")
	}
	for _, part := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"SafeStart", testSafeStart},
		{"Artifact", testArtifact},
		{"Isolated", testIsolated},
		{"Upgrade", testUpgrade},
		{"Permissions", testPermissions},
		{"Composition", testComposition},
		{"Uninstall", testUninstall},
	} {
		if !t.Run(part.name, part.run) {
			t.Log(describe(t.Context()))
		}
	}
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if e2e := os.Getenv("E2E"); e2e != "true" && e2e != "required" {
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "provider-kitops-crossplane-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if local, err = platform.NewCrossplane(ctx, filepath.Join(dir, "state"), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cannot bring Crossplane up:", err)
		return 1
	}
	code := 1
	if err := push(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cannot push the provider's packages:", err)
	} else {
		code = m.Run()
	}
	if err := local.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot take Crossplane down:", err)
		return 1
	}
	return code
}

// push builds and pushes the versions of the provider's package.
func push(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	references := [2]string{}
	for i, version := range []string{v1, v2} {
		g.Go(func() error {
			var err error
			references[i], err = local.PushProvider(gctx, version)
			return err
		})
	}
	err := g.Wait()
	packages[v1], packages[v2] = references[0], references[1]
	return err
}
