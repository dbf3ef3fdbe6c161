package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/test/cluster"
	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/debian"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/supervisor"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// namespaces are those that the cluster has of its own. The supervisor adds
// one of control groups.
const namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// cgroupPrefix is how the names of all clusters' control groups begin.
const cgroupPrefix = "provider-kitops-"

// pauseTar is the pause image in the state directory.
const pauseTar = "pause.tar"

// A program that brings a cluster up is started again as the cluster's process
// 1 and supervisor, and must then be nothing else.
func init() { supervisor.Become() }

// Up builds and installs what is missing and brings a cluster up. When it
// returns without an error, Pods can run. Its error holds the end of the log of
// the program that failed; what had been started by then is gone again. Where a
// cluster is up in the directory already, the error is ErrAlreadyUp.
func Up(ctx context.Context, o Options) (*cluster.Cluster, error) {
	dir, err := cluster.StateDir(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("cannot bring the cluster up: it needs root, for namespaces and containers")
	}
	machine := debian.Machine(o.Log)
	if err := machine.Ensure(ctx, o.Log); err != nil {
		return nil, err
	}
	built, err := programs.Build(ctx, o.Log, modules(o)...)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// One that runs without having become ready lost the program that brought it up:
	// no other program does so under the lock.
	if i, err := cluster.ReadInstance(dir); err == nil && i.Ready && i.Alive() {
		return nil, errors.Wrap(ErrAlreadyUp, dir)
	}
	if err := down(ctx, dir); err != nil {
		return nil, errors.Wrap(err, "cannot remove what an earlier cluster left")
	}
	spec, err := newSpec(machine, dir, built, o)
	if err != nil {
		return nil, err
	}
	c, err := launch(ctx, dir, spec, o.Log)
	if err != nil {
		return nil, errors.Join(err, down(context.WithoutCancel(ctx), dir))
	}
	return c, nil
}

// modules are the modules of programs that a cluster needs.
func modules(o Options) []programs.Name {
	if o.Crossplane != nil {
		return programs.WithCrossplane()
	}
	return programs.All()
}

// newSpec says what process 1 shall run.
func newSpec(machine debian.System, dir, built string, o Options) (supervisor.Spec, error) {
	runc, err := machine.Look("runc")
	if err != nil {
		return supervisor.Spec{}, err
	}
	plugins, err := machine.PluginDir()
	if err != nil {
		return supervisor.Spec{}, err
	}
	spec := supervisor.Spec{
		Dir: dir, Cache: filepath.Dir(built), Programs: built,
		Runc: runc, CNI: plugins,
		Cgroup: cgroupName(dir), Attached: o.Attached, PauseTar: pauseTar,
	}
	if o.Crossplane != nil {
		spec.Crossplane = &supervisor.Crossplane{Activations: o.Crossplane.Activations}
	}
	return spec, nil
}

// launch makes the state directory, starts process 1 and waits for the cluster.
func launch(ctx context.Context, dir string, spec supervisor.Spec, log io.Writer) (*cluster.Cluster, error) {
	// It holds keys and passwords.
	if err := os.MkdirAll(filepath.Join(dir, layout.Logs), 0o700); err != nil {
		return nil, errors.Wrap(err, "cannot make the state directory")
	}
	if err := (cluster.Instance{}).Write(dir); err != nil {
		return nil, err
	}
	if err := images.Write(filepath.Join(dir, pauseTar), images.Options{
		Name: layout.PauseImage, Entrypoint: []string{"/pause"}, User: "65535",
	}, map[string]string{"/pause": filepath.Join(spec.Programs, "pause")}); err != nil {
		return nil, errors.Wrap(err, "cannot make the pause image")
	}
	p, err := startInit(dir)
	if err != nil {
		return nil, err
	}
	defer p.status.Close()
	i, err := cluster.NewInstance(p.pid, spec.Programs)
	if err == nil {
		err = i.Write(dir)
	}
	if err == nil {
		err = json.NewEncoder(p.spec).Encode(spec)
	}
	// Without a spec process 1 ends.
	_ = p.spec.Close()
	if err != nil {
		return nil, errors.Wrap(err, "cannot start the cluster's process")
	}
	if err := p.wait(ctx, dir, log); err != nil {
		return nil, err
	}
	i.Ready = true
	if err := i.Write(dir); err != nil {
		return nil, err
	}
	return cluster.Open(dir)
}

// process1 is the cluster's process 1 as its parent sees it.
type process1 struct {
	pid    int
	spec   *os.File // to write the spec to
	status *os.File // to read messages from
}

// lives are the life pipes of the clusters that this process brought up, by
// their process 1: closing one ends an attached cluster, and so would the
// garbage collector.
var lives sync.Map

// closeLife closes the life pipe of the cluster whose process 1 is pid.
func closeLife(pid int) {
	life, _ := lives.LoadAndDelete(pid)
	if f, ok := life.(*os.File); ok {
		_ = f.Close()
	}
}

// startInit starts this program as process 1 of new namespaces.
func startInit(dir string) (*process1, error) {
	log, err := os.OpenFile(filepath.Join(dir, layout.SupervisorLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, errors.Wrap(err, "cannot make the supervisor's log")
	}
	defer log.Close()
	specR, specW, err1 := os.Pipe()
	statusR, statusW, err2 := os.Pipe()
	lifeR, lifeW, err3 := os.Pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errors.Wrap(err, "cannot make pipes")
	}
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{supervisor.Command, "init"}, Dir: "/",
		// Nothing of the user's environment is the cluster's business.
		Env:    []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"},
		Stdout: log, Stderr: log,
		ExtraFiles:  []*os.File{specR, statusW, lifeR},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: namespaces, Setsid: true},
	}
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		_ = f.Close() // The child has its own.
	}
	if err != nil {
		return nil, errors.Wrap(err, "cannot start a process in namespaces of its own")
	}
	go func() { _ = cmd.Wait() }() // Its end is seen by its pid; this reaps it.
	lives.Store(cmd.Process.Pid, lifeW)
	return &process1{pid: cmd.Process.Pid, spec: specW, status: statusR}, nil
}

// wait waits until the cluster is up, telling log how far it is.
func (p *process1) wait(ctx context.Context, dir string, log io.Writer) error {
	stop := context.AfterFunc(ctx, func() { _ = p.status.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := supervisor.Read(p.status, func(step string) { fmt.Fprintln(log, step) })
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.Wrap(ctx.Err(), "cannot wait for the cluster")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.Errorf("cannot bring the cluster up: its supervisor died; the end of its log:\n%s", cluster.SupervisorLog(dir))
	default:
		return errors.Wrap(err, "cannot bring the cluster up")
	}
}

// cgroupName names the control groups of the cluster in dir.
func cgroupName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return cgroupPrefix + hex.EncodeToString(sum[:])[:12]
}
