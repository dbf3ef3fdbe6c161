package supervisor

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/cgroup"
)

// The two roles of this program when it is called Command.
const (
	roleInit      = "init"
	roleSupervise = "supervise"
)

// Become makes this process the cluster's process 1 or its supervisor, if it
// was started as such, and then does not return. Programs that bring a cluster
// up call it before they do anything else.
func Become() {
	if len(os.Args) < 2 || os.Args[0] != Command {
		return
	}
	var err error
	switch os.Args[1] {
	case roleInit:
		err = beInit()
	case roleSupervise:
		err = beSupervisor(os.Args[2])
	default:
		err = errors.Errorf("there is no role %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// beInit is process 1: it enters the cluster's control groups, starts the
// supervisor and reaps, until the supervisor ends.
func beInit() error {
	// Whoever started this may have died before it could note down that it did.
	spec, err := io.ReadAll(os.NewFile(specFD, "spec"))
	if err != nil || len(spec) == 0 {
		return errors.New("nobody said what to run")
	}
	var s Spec
	if err := json.Unmarshal(spec, &s); err != nil {
		return errors.Wrap(err, "cannot read what to run")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return errors.Wrap(err, "cannot make the mounts private")
	}
	if err := cgroup.Enter(s.Cgroup); err != nil {
		return fail(err)
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{Command, roleSupervise, string(spec)}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2, specFD, statusFD, lifeFD},
		Sys:   &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWCGROUP},
	})
	if err != nil {
		return fail(errors.Wrap(err, "cannot start the supervisor"))
	}
	// The supervisor alone keeps the pipe open, so that its reader sees it die.
	_ = unix.Close(statusFD) // Nothing was written to it here.
	return reap(pid)
}

// reap waits for all children, which the kernel hands to process 1 when their
// parents end, until the supervisor ends.
func reap(supervisor int) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return errors.Wrap(err, "cannot wait for processes")
		case pid == supervisor && status.Exited() && status.ExitStatus() == 0:
			return nil
		case pid == supervisor && status.Signaled():
			return errors.Errorf("the supervisor ended: signal: %s", status.Signal())
		case pid == supervisor:
			return errors.Errorf("the supervisor ended: exit status %d", status.ExitStatus())
		}
	}
}

// fail reports err to the program that waits for the cluster, and returns it.
func fail(err error) error {
	say(Message{Error: err.Error()})
	return err
}

// say writes a message. Nobody need be reading.
func say(m Message) {
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	_, _ = unix.Write(statusFD, append(data, '\n')) // See above.
}
