package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A kit is what a person types to make a ModelKit: import, then push.
type kit struct {
	program string
}

// name implements contender.
func (kit) name() string { return "kit import, kit push" }

// run implements contender.
func (k kit) run(ctx context.Context, j job, m *meter.Meter) error {
	home := filepath.Join(j.dir, "kit")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return errors.Wrap(err, "cannot make kit's folder")
	}
	// Without it, kit asks the internet whether there is a newer one.
	if err := os.WriteFile(filepath.Join(home, "disable-update-notifications"), nil, 0o600); err != nil {
		return errors.Wrap(err, "cannot configure kit")
	}
	env := append(j.proxy(), "KITOPS_HOME="+home, "HOME="+j.dir, "TMPDIR="+j.dir, "SSL_CERT_FILE="+j.ca)
	reference := j.place.Registry + "/" + repository + ":" + tag
	for _, args := range [][]string{
		{"import", j.model.name(), "--ref", "main", "--tool", "hf", "--tag", reference},
		{"push", reference, "--plain-http"},
	} {
		args = append([]string{k.program}, append(args, "--progress", "none")...)
		if _, err := m.Run(ctx, meter.Command{Dir: j.dir, Env: env, Args: args}); err != nil {
			return err
		}
		if err := m.Look(home); err != nil {
			return errors.Wrap(err, "cannot measure kit's folder")
		}
	}
	return nil
}

// version returns what a kit says of itself.
func (k kit) version(ctx context.Context) (string, error) {
	out, err := (&meter.Meter{}).Run(ctx, meter.Command{Args: []string{k.program, "version"}})
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version: "); ok && v != "unknown" {
			return v, nil
		}
	}
	return "of no released version", err
}
