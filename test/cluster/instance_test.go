//go:build linux

package cluster

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInstanceAlive(t *testing.T) {
	self, err := NewInstance(os.Getpid(), "")
	if err != nil {
		t.Fatalf("NewInstance(...): %v", err)
	}
	zombie := exec.Command("true")
	stdout, err := zombie.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	dead, err := NewInstance(zombie.Process.Pid, "")
	if err != nil {
		t.Fatalf("NewInstance(...): %v", err)
	}
	_, _ = stdout.Read(make([]byte, 1)) // It returns when the process is about to be a zombie.
	_ = zombie.Wait()                   // It did nothing.

	cases := map[string]struct {
		reason string
		change func(*Instance)
		want   bool
	}{
		"Same":     {reason: "This process is alive.", change: func(*Instance) {}, want: true},
		"Reused":   {reason: "A process that began at another time is another.", change: func(i *Instance) { i.StartTime = "1" }},
		"Rebooted": {reason: "So is one of another boot.", change: func(i *Instance) { i.BootID = "x" }},
		"Ended":    {reason: "A process that has ended is not.", change: func(i *Instance) { *i = dead }},
		"None":     {reason: "Nor is one that never was.", change: func(i *Instance) { *i = Instance{} }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			i := self
			tc.change(&i)
			if got := i.Alive(); got != tc.want {
				t.Errorf("\n%s\nAlive(): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestInstanceNote(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadInstance(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadInstance(...): want %v, got %v", os.ErrNotExist, err)
	}
	want := Instance{PID: 1, StartTime: "2", BootID: "3", Programs: "4", Ready: true}
	if err := want.Write(dir); err != nil {
		t.Fatalf("Write(...): %v", err)
	}
	got, err := ReadInstance(dir)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("ReadInstance(...): error %v, -want, +got:\n%s", err, diff)
	}
}

func TestOpenWithoutCluster(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotUp) {
		t.Errorf("Open(...): want %v, got %v", ErrNotUp, err)
	}
}
