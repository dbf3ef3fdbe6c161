// Package meter runs the programs that a benchmark measures, and tells what they take.
package meter

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A Usage is what processes took.
type Usage struct {
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

// A Meter gathers what the processes of a contender take.
type Meter struct {
	mu    sync.Mutex
	usage Usage
}

// add counts a process that has ended, whose memory was watched.
func (m *Meter) add(state *os.ProcessState, watched int64) {
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

// Look measures a workspace.
func (m *Meter) Look(dir string) error {
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

// A Command is a program with what it needs.
type Command struct {
	Dir  string
	Env  []string // Beside this process's own.
	Args []string

	// In and Out are the standard ones; by default there is no input, and the
	// output is returned.
	In, Out *os.File
}

// Run runs a command to its end and counts what it took.
func (m *Meter) Run(ctx context.Context, c Command) (string, error) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if c.In != nil {
		cmd.Stdin = c.In
	}
	if c.Out != nil {
		cmd.Stdout = c.Out
	}
	err := cmd.Start()
	if err == nil {
		watched := watch(cmd.Process.Pid)
		err = cmd.Wait()
		m.add(cmd.ProcessState, watched())
	}
	if err != nil {
		return "", errors.Wrapf(err, "%s %s: %s", filepath.Base(c.Args[0]), firstArg(c.Args), Tail(said.String()+out.String()))
	}
	return out.String(), nil
}

func firstArg(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

// Tail returns the end of what a program said.
func Tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// Usage returns what was taken so far.
func (m *Meter) Usage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usage
}

// Median returns the times' median.
func Median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// With returns the larger of each figure.
func (u Usage) With(o Usage) Usage {
	return Usage{
		Memory: max(u.Memory, o.Memory), Written: max(u.Written, o.Written),
		Processor: max(u.Processor, o.Processor), Left: max(u.Left, o.Left),
	}
}
