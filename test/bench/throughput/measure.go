package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A usage is what processes took.
type usage struct {
	// Memory is the largest resident set of any process, in bytes.
	Memory int64

	// Written is how many bytes went to a disk.
	Written int64

	// Processor time of all.
	Processor time.Duration

	// Left is how many bytes lay in the workspace at most, as seen between
	// commands.
	Left int64
}

// A meter gathers what the processes of a contender take.
type meter struct {
	mu    sync.Mutex
	usage usage
}

// add counts a process that has ended, whose memory was watched.
func (m *meter) add(state *os.ProcessState, watched int64) {
	if state == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.usage.Processor += state.UserTime() + state.SystemTime()
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		// getrusage(2): KiB, and blocks of 512 bytes.
		memory := r.Maxrss << 10
		if memory <= peak("self") {
			memory = watched
		}
		m.usage.Memory = max(m.usage.Memory, memory)
		m.usage.Written += r.Oublock << 9
	}
}

// look measures a workspace.
func (m *meter) look(dir string) error {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.usage.Left = max(m.usage.Left, n)
	return err
}

// A command is a program with what it needs.
type command struct {
	dir  string
	env  []string // Beside this process's own.
	args []string

	// in and out are the standard ones; by default there is no input, and the
	// output is returned.
	in, out *os.File
}

// run runs a command to its end and counts what it took.
func (m *meter) run(ctx context.Context, c command) (string, error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if c.in != nil {
		cmd.Stdin = c.in
	}
	if c.out != nil {
		cmd.Stdout = c.out
	}
	err := cmd.Start()
	if err == nil {
		watched := watch(cmd.Process.Pid)
		err = cmd.Wait()
		m.add(cmd.ProcessState, watched())
	}
	if err != nil {
		return "", errors.Wrapf(err, "%s %s: %s", filepath.Base(c.args[0]), firstArg(c.args), tail(said.String()+out.String()))
	}
	return out.String(), nil
}

func firstArg(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

// tail returns the end of what a program said.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
