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

// An instance is what is noted down of a cluster that was brought up: enough
// to tell its process 1 from another that got its number later.
type instance struct {
	PID       int    `json:"pid"`
	StartTime string `json:"startTime"` // in the kernel's clock ticks since boot
	BootID    string `json:"bootID"`
	Programs  string `json:"programs"` // directory of the cluster's programs
	Ready     bool   `json:"ready"`    // it has come up
}

// newInstance notes down the process pid.
func newInstance(pid int, programs string) (instance, error) {
	start, _, err := procStat(pid)
	if err != nil {
		return instance{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return instance{}, errors.Wrap(err, "cannot read the machine's boot ID")
	}
	return instance{PID: pid, StartTime: start, BootID: strings.TrimSpace(string(boot)), Programs: programs}, nil
}

// alive is whether the process is still there: the same, and not only waiting
// to be reaped.
func (i instance) alive() bool {
	if i.PID <= 0 {
		return false
	}
	now, err := newInstance(i.PID, i.Programs)
	if err != nil || now.StartTime != i.StartTime || now.BootID != i.BootID {
		return false
	}
	_, state, err := procStat(i.PID)
	return err == nil && state != "Z" && state != "X"
}

// readInstance reads the instance of a state directory; without one, the error
// is os.ErrNotExist.
func readInstance(dir string) (instance, error) {
	data, err := os.ReadFile(filepath.Join(dir, instanceFile))
	if err != nil {
		return instance{}, errors.Wrap(err, "cannot read the cluster's note")
	}
	var i instance
	err = json.Unmarshal(data, &i)
	return i, errors.Wrapf(err, "cannot read the cluster's note in %s", dir)
}

// write notes the instance down in a state directory, all or nothing.
func (i instance) write(dir string) error {
	data, err := json.Marshal(i)
	if err != nil {
		return errors.Wrap(err, "cannot encode the cluster's note")
	}
	tmp := filepath.Join(dir, instanceFile+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return errors.Wrap(err, "cannot write the cluster's note")
	}
	return errors.Wrap(os.Rename(tmp, filepath.Join(dir, instanceFile)), "cannot write the cluster's note")
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
		return "", "", errors.Errorf("cannot make sense of /proc/%d/stat", pid)
	}
	return fields[19], fields[0], nil
}
