package main

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A contender pulls an artifact into a folder.
type contender struct {
	name string

	// args returns the commands that pull, one after the other.
	args func(reference, dir string) [][]string
	env  []string
}

// workerPull returns the worker of this source tree, with more flags.
func (b *bench) workerPull(flags ...string) contender {
	return contender{name: strings.Join(append([]string{"worker pull"}, flagNames(flags)...), " "), args: func(reference, dir string) [][]string {
		return [][]string{append([]string{b.worker, "pull", "--plain-http", reference, dir}, flags...)}
	}}
}

// flagNames returns flags without their values.
func flagNames(flags []string) []string {
	var out []string
	for _, f := range flags {
		name, _, _ := strings.Cut(f, "=")
		out = append(out, name)
	}
	return out
}

func (b *bench) orasPull() contender {
	return contender{name: "oras pull", args: func(reference, dir string) [][]string {
		return [][]string{{b.oras, "pull", "--plain-http", "--no-tty", "--output", dir, reference}}
	}}
}

// kitUnpack is kit's way to files: it unpacks from the registry.
func (b *bench) kitUnpack() contender {
	return contender{name: "kit unpack", env: []string{"KITOPS_HOME=" + filepath.Join(b.dir, "kit")}, args: func(reference, dir string) [][]string {
		return [][]string{{b.options.kit, "unpack", "--plain-http", "--dir", dir, reference}}
	}}
}

func (b *bench) modctlPull() contender {
	return contender{name: "modctl pull", args: func(reference, dir string) [][]string {
		return [][]string{{b.options.modctl, "pull", "--plain-http", "--extract-from-remote", "--extract-dir", dir, "--storage-dir", filepath.Join(b.dir, "modctl"), reference}}
	}}
}

// run pulls once.
func (c contender) run(ctx context.Context, reference, dir, work string, m *meter.Meter) error {
	for _, args := range c.args(reference, dir) {
		if _, err := m.Run(ctx, meter.Command{Dir: work, Env: c.env, Args: args}); err != nil {
			return err
		}
	}
	return nil
}
