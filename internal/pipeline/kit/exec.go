package kit

import (
	"context"
	"os/exec"
	"strings"
	"syscall"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// step runs one command of kit.
func (r *task) step(ctx context.Context, args ...string) error {
	_, err := r.output(ctx, args...)
	return err
}

// output runs one command of kit and returns the last lines of its standard output.
// The error of a failed command is derived from its standard error, which is less
// likely to hold the names of a model's files.
func (r *task) output(ctx context.Context, args ...string) ([]string, error) {
	r.log.printf("$ kit %s", strings.Join(args, " "))
	stdout, stderr := &outputLines{log: r.log}, &outputLines{log: r.log}
	cmd := r.command(ctx, args)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := r.wait(cmd)
	stdout.end()
	stderr.end()
	if cmd.Process != nil {
		// Kills what the command may have left running, which is mostly nothing.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	switch {
	case err == nil:
		return stdout.last, nil
	case ctx.Err() != nil:
		return nil, errors.Wrapf(ctx.Err(), "kit %s was stopped before its end", args[0])
	case cmd.Process == nil:
		return nil, outcome.Errorf(outcome.TooOld,
			"the container's image has no kit that can be run: set the provider's flag --kit-image, or job.kitImage of the ClusterProviderConfig, to KitOps' own image").Because(err)
	}
	return nil, r.failed(args[0], stderr.last).Because(err)
}

// wait starts a command and waits until it ends.
func (r *task) wait(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	r.pid.Store(int64(cmd.Process.Pid))
	defer r.pid.Store(0)
	return cmd.Wait()
}

// command prepares a command in a process group of its own. When the context ends,
// the group gets SIGTERM, and kit itself SIGKILL after the grace period.
func (r *task) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.kit.path, args...)
	cmd.Dir = r.workspace.work
	cmd.Env = r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = r.kit.grace
	return cmd
}
