package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// buildWorker builds the worker of this source tree as the image has it.
func buildWorker(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "worker")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./cmd/worker")
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", errors.Wrap(err, "cannot find the module")
	}
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Wrapf(err, "cannot build the worker: %s", out)
	}
	return path, nil
}

// A stream is the pipeline Stream, as a Pod runs it.
type stream struct {
	worker, format string

	bucket *bucket // Where files are from; nil for the Hub.
}

// name implements contender.
func (s stream) name() string { return "Stream, " + s.format }

// run implements contender.
func (s stream) run(ctx context.Context, j job, m *meter) error {
	source := []string{"--hub-endpoint=" + hubURL, "--hub-ca-file=" + j.ca, "--model=" + j.model.name(), "--revision=main"}
	if s.bucket != nil {
		source = s.bucket.flags(j.model)
	}
	_, err := m.run(ctx, command{dir: j.dir, env: j.proxy(), args: append([]string{
		s.worker, "run", "--pipeline=Stream", "--format=" + s.format,
		"--registry=" + j.place.Registry, "--repository=" + repository, "--plain-http",
		"--contract=" + strconv.Itoa(outcome.Contract), "--staging-tag=" + tag, "--checkpoint-tag=checkpoint",
		"--result-file=" + filepath.Join(j.dir, "result"),
	}, source...)})
	return err
}
