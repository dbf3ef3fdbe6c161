package supervisor

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/internal/logtail"
)

// A program is one of the cluster's running programs.
type program struct {
	name string
	log  string        // path of its log
	done chan struct{} // closed when it has ended
	err  error         // how it ended, then
}

// start starts a program of the programs' directory, with a log of its own.
func (s *supervisor) start(name string, args ...string) (*program, error) {
	return s.startAs(name, name, args...)
}

// startAs starts a program that is known by another name than its file's.
func (s *supervisor) startAs(name, file string, args ...string) (*program, error) {
	return s.startCommand(name, exec.Command(filepath.Join(s.programs, file), args...))
}

// startCommand starts a program that has been said how to run.
func (s *supervisor) startCommand(name string, cmd *exec.Cmd) (*program, error) {
	p := &program{name: name, log: logFile(name), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot make a log for %s", name)
	}
	defer log.Close()
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cmd.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		return nil, errors.Wrapf(err, "cannot start %s", name)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
		select {
		case s.ended <- p:
		default: // One is enough to end the cluster.
		}
	}()
	return p, nil
}

// logFile is the path of a program's log.
func logFile(name string) string {
	return filepath.Join(layout.State, layout.Logs, name+".log")
}

// failure says how a program ended, with the end of its log.
func (p *program) failure() error {
	reason := "exit status 0"
	if p.err != nil {
		reason = p.err.Error()
	}
	return errors.Errorf("%s ended: %s; the end of its log:\n%s", p.name, reason, logtail.File(p.log, logtail.Lines))
}

// waitFor calls check until it succeeds. It gives up when the program that is
// waited for ends, or after three minutes: a machine that builds at the same time is slow.
func waitFor(ctx context.Context, what string, p *program, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.failure()
		case <-ctx.Done():
			return errors.Wrapf(err, "waited in vain for %s; the end of the log of %s:\n%s\nlast", what, p.name, logtail.File(p.log, logtail.Lines))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
