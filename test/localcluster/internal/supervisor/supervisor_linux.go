package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
)

// A supervisor starts the cluster's programs and watches them.
type supervisor struct {
	spec     Spec
	programs string // directory of the programs
	began    time.Time
	ended    chan *program // a program that ended
}

// beSupervisor runs the cluster until one of its programs ends, or, if the
// cluster is attached, the program that brought it up does. The kernel does the rest.
func beSupervisor(text string) error {
	var spec Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return fail(errors.Wrap(err, "cannot read what to run"))
	}
	s := &supervisor{
		spec:     spec,
		programs: filepath.Join(layout.Programs, filepath.Base(spec.Programs)),
		began:    time.Now(),
		ended:    make(chan *program, 1),
	}
	for _, fd := range []int{specFD, statusFD, lifeFD} {
		unix.CloseOnExec(fd)
	}
	if spec.Attached {
		go endWithLife()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.bringUp(ctx); err != nil {
		return fail(err)
	}
	say(Message{Ready: true})
	_ = unix.Close(statusFD) // All is said.
	return (<-s.ended).failure()
}

// endWithLife ends the cluster when the other end of the life pipe is closed,
// as the kernel does when the process that holds it dies.
func endWithLife() {
	_, _ = io.Copy(io.Discard, os.NewFile(lifeFD, "life")) // Its end is what counts.
	fmt.Fprintln(os.Stderr, "whoever brought the cluster up has ended")
	os.Exit(0)
}

// bringUp makes the home and starts everything in it. What does not need each
// other starts at the same time.
func (s *supervisor) bringUp(ctx context.Context) error {
	for _, step := range []func() error{
		func() error { return makeHome(s.spec) },
		mountCgroups,
		func() error { return makeNetwork(ctx) },
		s.writeFiles,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	s.step("namespaces are set up")
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.runControlPlane(gctx) })
	g.Go(func() error { return s.runContainerd(gctx) })
	g.Go(func() error { return s.runRegistries(gctx) })
	g.Go(func() error { return s.runHub(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() error { return s.runNode(ctx) })
	if s.spec.Crossplane != nil {
		g.Go(func() error { return s.runCrossplane(ctx, gctx) })
	}
	return g.Wait()
}

// step tells that something was reached, and when.
func (s *supervisor) step(what string) {
	say(Message{Step: fmt.Sprintf("%5.1fs  %s", time.Since(s.began).Seconds(), what)})
}
