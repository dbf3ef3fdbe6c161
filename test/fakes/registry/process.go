package registry

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/crypto/bcrypt"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

const (
	buildTimeout = 20 * time.Minute
	startTimeout = time.Minute
	service      = "test"
	issuer       = "test"
)

// program builds the registry, once, and returns its path.
var program = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	dir, err := programs.Build(ctx, os.Stderr, programs.Registry)
	return filepath.Join(dir, "registry"), errors.Wrap(err, "cannot build the registry")
})

// A process of a registry, which serves on a socket.
type process struct {
	dir    string // Of the socket, whose path may not be long.
	socket string
	cmd    *exec.Cmd
	said   bytes.Buffer
	ended  chan struct{}
}

// startProcess starts a registry over a folder.
func startProcess(dir string, o Options, t *tokens) (*process, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	short, err := os.MkdirTemp("", "registry-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: short, socket: filepath.Join(short, "s"), ended: make(chan struct{})}
	if err := p.configure(dir, o, t); err != nil {
		_ = os.RemoveAll(short)
		return nil, errors.Wrap(err, "cannot configure the registry")
	}
	p.cmd = exec.Command(path, "serve", p.config())
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.start(); err != nil {
		_ = os.RemoveAll(short)
		return nil, errors.Wrap(err, "cannot start the registry")
	}
	if err := p.await(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *process) config() string   { return filepath.Join(p.dir, "config.yaml") }
func (p *process) htpasswd() string { return filepath.Join(p.dir, "htpasswd") }

const config = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: %t}}
http: {net: unix, addr: %q, secret: test}
%s`

// configure writes what the registry reads at its start.
func (p *process) configure(dir string, o Options, t *tokens) error {
	access := ""
	switch {
	case t != nil:
		keys := filepath.Join(p.dir, "jwks.json")
		access = fmt.Sprintf("auth: {token: {realm: none, autoredirect: true, autoredirectpath: %s, service: %s, issuer: %s, jwks: %q, signingalgorithms: [ES256]}}\n",
			tokenPath, service, issuer, keys)
		if err := os.WriteFile(keys, t.keySet(), 0o600); err != nil {
			return err
		}
	case o.Users != nil:
		access = fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", p.htpasswd())
		if err := p.writeUsers(o.Users); err != nil {
			return err
		}
	}
	text := fmt.Sprintf(config, filepath.Join(dir, "data"), !o.NoDelete, p.socket, access)
	return os.WriteFile(p.config(), []byte(text), 0o600)
}

// writeUsers writes the accounts, which the registry reads again when they have
// changed.
func (p *process) writeUsers(users []User) error {
	var b strings.Builder
	for _, u := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(u.Password), bcrypt.MinCost)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s:%s\n", u.Name, hash)
	}
	return os.WriteFile(p.htpasswd(), []byte(b.String()), 0o600)
}

// start starts the process from a thread that lives as long as it does: where a
// process ends with its parent, that is the thread that started it.
func (p *process) start() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	return <-started
}

// await waits until the registry serves.
func (p *process) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return errors.Errorf("the registry ended: %s", p.said.String())
		case <-ctx.Done():
			return errors.Wrap(err, "the registry does not serve")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop ends the process, and takes its folder away.
func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = os.RemoveAll(p.dir)
}
