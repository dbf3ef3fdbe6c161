package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// buildWorker builds the worker of this source tree as the image has it.
func buildWorker(ctx context.Context, dir string) (string, error) {
	root, err := programs.SourceTree(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "worker")
	return path, goBuild(ctx, root, path)
}

// goBuild builds the worker of a source tree.
func goBuild(ctx context.Context, root, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/worker")
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	return errors.Wrapf(err, "cannot build the worker: %s", out)
}

// A stream is the pipeline Stream, as a Pod runs it.
type stream struct {
	worker, format string

	// before is the contract of an older commit's worker; zero for this one's.
	before int

	bucket *bucket // Where files are from; nil for the Hub.
}

// name implements contender.
func (s stream) name() string {
	if s.before > 0 {
		return "before, " + s.format
	}
	return "Stream, " + s.format
}

// run implements contender.
func (s stream) run(ctx context.Context, j job, m *meter.Meter) error {
	_, err := m.Run(ctx, meter.Command{Dir: j.dir, Env: j.proxy(), Args: append(s.args(j), "--result-file="+filepath.Join(j.dir, "result"))})
	return err
}

// args returns the worker's arguments for a job, without a file for the result. An older
// worker gets those that it knows.
func (s stream) args(j job) []string {
	name := "--model=" + j.model.name()
	if j.model.Dataset {
		name = "--dataset=" + j.model.name()
	}
	source := []string{"--hub-endpoint=" + hubURL, "--hub-ca-file=" + j.ca, name, "--revision=main"}
	if s.bucket != nil {
		source = s.bucket.flags(j.model)
	}
	contract := outcome.Contract
	if s.before > 0 {
		contract = s.before
	}
	if j.verified != "" && s.before == 0 {
		source = append(source, "--verified-files="+j.verified)
	}
	return append([]string{
		s.worker, "run", "--pipeline=Stream", "--format=" + s.format,
		"--registry=" + j.place.Registry, "--repository=" + repository, "--plain-http",
		"--contract=" + strconv.Itoa(contract), "--staging-tag=" + tag, "--checkpoint-tag=checkpoint",
	}, source...)
}
