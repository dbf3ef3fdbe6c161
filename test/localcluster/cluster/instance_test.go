//go:build linux

package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInstanceAlive(t *testing.T) {
	self, err := newInstance(os.Getpid(), "")
	if err != nil {
		t.Fatalf("newInstance(...): %v", err)
	}
	zombie := exec.Command("true")
	stdout, err := zombie.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	dead, err := newInstance(zombie.Process.Pid, "")
	if err != nil {
		t.Fatalf("newInstance(...): %v", err)
	}
	_, _ = stdout.Read(make([]byte, 1)) // It returns when the process is about to be a zombie.
	_ = zombie.Wait()                   // It did nothing.

	cases := map[string]struct {
		reason string
		change func(*instance)
		want   bool
	}{
		"Same":     {reason: "This process is alive.", change: func(*instance) {}, want: true},
		"Reused":   {reason: "A process that began at another time is another.", change: func(i *instance) { i.StartTime = "1" }},
		"Rebooted": {reason: "So is one of another boot.", change: func(i *instance) { i.BootID = "x" }},
		"Ended":    {reason: "A process that has ended is not.", change: func(i *instance) { *i = dead }},
		"None":     {reason: "Nor is one that never was.", change: func(i *instance) { *i = instance{} }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			i := self
			tc.change(&i)
			if got := i.alive(); got != tc.want {
				t.Errorf("\n%s\nalive(): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestInstanceNote(t *testing.T) {
	dir := t.TempDir()
	if _, err := readInstance(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("readInstance(...): want %v, got %v", os.ErrNotExist, err)
	}
	want := instance{PID: 1, StartTime: "2", BootID: "3", Programs: "4", Ready: true}
	if err := want.write(dir); err != nil {
		t.Fatalf("write(...): %v", err)
	}
	got, err := readInstance(dir)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("readInstance(...): error %v, -want, +got:\n%s", err, diff)
	}
}

func TestDownRefusesForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.tex")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "not a cluster's") {
		t.Errorf("Down(...): want it to refuse, got %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("Down(...): it removed a foreign file: %v", err)
	}
}

func TestOpenWithoutCluster(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotUp) {
		t.Errorf("Open(...): want %v, got %v", ErrNotUp, err)
	}
}
