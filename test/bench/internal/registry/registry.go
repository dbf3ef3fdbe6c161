// Package registry starts the registry that a benchmark moves blobs to and from.
package registry

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

// A Server is CNCF Distribution at one address, which begins empty whenever it
// is asked to.
type Server struct {
	program string
	dir     string // What it holds; empty between runs.
	Address string
	config  string
	cmd     *exec.Cmd
	said    bytes.Buffer
}

// New builds the program, unless that was done before. It keeps its data
// below dir.
func New(ctx context.Context, dir, config string) (*Server, error) {
	built, err := programs.Build(ctx, os.Stderr, programs.Registry)
	if err != nil {
		return nil, errors.Wrap(err, "cannot build the registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Wrap(err, "cannot find a port")
	}
	_ = l.Close()
	return &Server{
		program: filepath.Join(built, "registry"), dir: filepath.Join(dir, "registry"),
		Address: l.Addr().String(), config: config,
	}, nil
}

// environment returns the variables by which the registry, which is not what is measured, takes
// less of the processors that it shares with contenders: it encodes a trace of each request
// otherwise, and collects the 4 MiB that it allocates to read a blob, however small, after
// each few requests.
func environment() []string {
	return []string{"OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_SAMPLER=always_off", "GOGC=2000"}
}

// Move has the registry keep its data below another folder from its next start
// on, and returns the one it had.
func (r *Server) Move(dir string) string {
	before := filepath.Dir(r.dir)
	r.dir = filepath.Join(dir, "registry")
	return before
}

// Renew starts the registry with nothing in it.
func (r *Server) Renew(ctx context.Context) error {
	if err := r.Stop(); err != nil {
		return err
	}
	if err := os.WriteFile(r.config, fmt.Appendf(nil, registryConfig, r.dir, r.Address), 0o600); err != nil {
		return errors.Wrap(err, "cannot configure the registry")
	}
	r.said.Reset()
	r.cmd = exec.CommandContext(ctx, r.program, "serve", r.config)
	r.cmd.Stdout, r.cmd.Stderr = &r.said, &r.said
	r.cmd.Env = append(os.Environ(), environment()...)
	if err := r.cmd.Start(); err != nil {
		r.cmd = nil
		return errors.Wrap(err, "cannot start the registry")
	}
	return r.await(ctx)
}

// await waits until the registry serves.
func (r *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.Wrap(err, "the registry does not serve"), r.Stop(), errors.New(r.said.String()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the registry and takes away what it held.
func (r *Server) Stop() error {
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
