// Package child runs parts of a benchmark in processes of their own.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A Process is this program again, in a process of its own: what a contender
// speaks to shares neither memory nor processor time with it in the figures.
// It ends when its standard input does, and so with the parent.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// Start starts a hidden command of this program, and decodes the one JSON
// value that it says when it is ready.
func Start(ctx context.Context, ready any, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Wrap(err, "cannot find this program")
	}
	c := &Process{cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Wrapf(err, "cannot start %s", args[0])
	}
	if err := c.out.Decode(ready); err != nil {
		c.Stop()
		return nil, errors.Wrapf(err, "cannot start %s", args[0])
	}
	return c, nil
}

// Ask sends a line and decodes the answer.
func (c *Process) Ask(question string, answer any) error {
	if _, err := io.WriteString(c.in, question+"\n"); err != nil {
		return err
	}
	return c.out.Decode(answer)
}

// Stop ends the child.
func (c *Process) Stop() {
	if c == nil {
		return
	}
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// Answer is a child's side: it says that it is ready and answers each line with
// a JSON value, until its parent ends that.
func Answer(ready any, reply func(question string) any) error {
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(ready); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := out.Encode(reply(lines.Text())); err != nil {
			return err
		}
	}
	return lines.Err()
}
