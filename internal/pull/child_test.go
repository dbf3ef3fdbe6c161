package pull

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// envPull makes the test's program run a pull with these options, so that the pull
// can be killed.
const envPull = "TEST_PULL"

// childSegment is the size of ranges of a pull that can be killed: small files have many.
const childSegment = 64 << 10

func pullInChild(options string) int {
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	o.Log = os.Stderr
	p := New(o)
	p.segment = childSegment
	if _, err := p.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child returns a process that runs a pull with these options, and that is killed when
// the context is done.
func child(ctx context.Context, t *testing.T, o Options) *exec.Cmd {
	t.Helper()
	o.Log = nil
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), envPull+"="+string(b))
	return cmd
}
