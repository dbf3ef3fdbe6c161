package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

const registryConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, secret: benchmark}
`

// A registry is CNCF Distribution at one address, which begins empty whenever it
// is asked to.
type registry struct {
	program string
	dir     string // What it holds; empty between runs.
	address string
	config  string
	cmd     *exec.Cmd
	said    bytes.Buffer
}

// newRegistry builds the program, unless that was done before. It keeps its data
// below dir.
func newRegistry(ctx context.Context, dir, config string) (*registry, error) {
	built, err := programs.Build(ctx, os.Stderr, programs.Registry)
	if err != nil {
		return nil, errors.Wrap(err, "cannot build the registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Wrap(err, "cannot find a port")
	}
	_ = l.Close()
	return &registry{
		program: filepath.Join(built, "registry"), dir: filepath.Join(dir, "registry"),
		address: l.Addr().String(), config: config,
	}, nil
}

// move has the registry keep its data below another folder from its next start
// on, and returns the one it had.
func (r *registry) move(dir string) string {
	before := filepath.Dir(r.dir)
	r.dir = filepath.Join(dir, "registry")
	return before
}

// renew starts the registry with nothing in it.
func (r *registry) renew(ctx context.Context) error {
	if err := r.stop(); err != nil {
		return err
	}
	if err := os.WriteFile(r.config, fmt.Appendf(nil, registryConfig, r.dir, r.address), 0o600); err != nil {
		return errors.Wrap(err, "cannot configure the registry")
	}
	r.said.Reset()
	r.cmd = exec.CommandContext(ctx, r.program, "serve", r.config)
	r.cmd.Stdout, r.cmd.Stderr = &r.said, &r.said
	// Without a sampler, it encodes a trace of each request, which takes a fifth of its time.
	r.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_SAMPLER=always_off")
	if err := r.cmd.Start(); err != nil {
		r.cmd = nil
		return errors.Wrap(err, "cannot start the registry")
	}
	return r.await(ctx)
}

// await waits until the registry serves.
func (r *registry) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.Wrap(err, "the registry does not serve"), r.stop(), errors.New(r.said.String()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the registry and takes away what it held.
func (r *registry) stop() error {
	if r == nil {
		return nil
	}
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
	return errors.Wrap(os.RemoveAll(r.dir), "cannot empty the registry")
}
