package cluster

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// instanceFile is the file of the state directory that marks it as one.
const instanceFile = "cluster.json"

// An Instance is the record of a cluster that was brought up. It identifies the
// cluster's process 1 even if its number is reused later.
type Instance struct {
	PID       int    `json:"pid"`
	StartTime string `json:"startTime"` // in the kernel's clock ticks since boot
	BootID    string `json:"bootID"`
	Programs  string `json:"programs"` // directory of the cluster's programs
	Ready     bool   `json:"ready"`    // it has come up
}

// NewInstance returns the record of a cluster whose process 1 is pid.
func NewInstance(pid int, programs string) (Instance, error) {
	start, _, err := procStat(pid)
	if err != nil {
		return Instance{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Instance{}, errors.Wrap(err, "cannot read the machine's boot ID")
	}
	return Instance{PID: pid, StartTime: start, BootID: strings.TrimSpace(string(boot)), Programs: programs}, nil
}

// Alive reports whether that process still runs.
func (i Instance) Alive() bool {
	if i.PID <= 0 {
		return false
	}
	now, err := NewInstance(i.PID, i.Programs)
	if err != nil || now.StartTime != i.StartTime || now.BootID != i.BootID {
		return false
	}
	_, state, err := procStat(i.PID)
	return err == nil && state != "Z" && state != "X"
}

// ReadInstance reads the record in a state directory. The error is
// os.ErrNotExist if there is none.
func ReadInstance(dir string) (Instance, error) {
	data, err := os.ReadFile(filepath.Join(dir, instanceFile))
	if err != nil {
		return Instance{}, errors.Wrap(err, "cannot read the cluster's record")
	}
	var i Instance
	err = json.Unmarshal(data, &i)
	return i, errors.Wrapf(err, "cannot read the cluster's record in %s", dir)
}

// Write writes the record into a state directory, atomically.
func (i Instance) Write(dir string) error {
	data, err := json.Marshal(i)
	if err != nil {
		return errors.Wrap(err, "cannot encode the cluster's record")
	}
	tmp := filepath.Join(dir, instanceFile+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return errors.Wrap(err, "cannot write the cluster's record")
	}
	return errors.Wrap(os.Rename(tmp, filepath.Join(dir, instanceFile)), "cannot write the cluster's record")
}

// procStat is a process's start time and state (proc_pid_stat(5), fields 22
// and 3).
func procStat(pid int) (start, state string, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, syscall.ESRCH) {
		err = os.ErrNotExist
	}
	if err != nil {
		return "", "", errors.Wrap(err, "cannot look at a process")
	}
	// The second field, in parentheses, may hold blanks and parentheses.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return "", "", errors.Errorf("cannot parse /proc/%d/stat", pid)
	}
	return fields[19], fields[0], nil
}
