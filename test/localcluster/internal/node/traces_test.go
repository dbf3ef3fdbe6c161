//go:build linux

package node

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/test/cluster"
)

// kinds are the namespaces that a cluster has of its own.
var kinds = []string{"pid", "mnt", "net", "uts", "ipc"}

// places are where programs of a cluster would leave something if they were
// let to: what is directly in them is compared.
var places = []string{"/run", "/run/netns", "/var/lib", "/var/lib/cni", "/var/lib/kubelet", "/var/log", "/etc/cni", "/opt", "/usr/libexec", "/sys/class/net"}

// settings are what the kubelet would set for the whole machine.
var settings = []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "net/ipv4/ip_forward"}

// surroundings are what the machine is like.
type surroundings map[string]string

// lookAround notes down mounts, files and settings.
func lookAround(t *testing.T) surroundings {
	t.Helper()
	s := surroundings{}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s["mounts"] = string(mounts)
	for _, dir := range places {
		s[dir] = list(dir)
	}
	for _, name := range settings {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			t.Fatal(err)
		}
		s[name] = string(value)
	}
	return s
}

// same checks that all is as it was before a cluster was in dir.
func (s surroundings) same(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the cluster left its state directory %s: error %v", dir, err)
	}
	// Other clusters may come and go meanwhile.
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		if groups, err := filepath.Glob(pattern + cgroupName(dir)); err != nil || len(groups) > 0 {
			t.Errorf("the cluster left control groups: %v, error %v", groups, err)
		}
	}
	if diff := cmp.Diff(s, lookAround(t)); diff != "" {
		t.Errorf("the cluster left a trace: -before, +after:\n%s", diff)
	}
}

func list(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "not there"
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return strings.Join(names, "\n")
}

// insides are the namespaces of a cluster, by the names that the kernel gives
// them.
type insides map[string]bool

func namespacesOf(t *testing.T, c *cluster.Cluster) insides {
	t.Helper()
	i := insides{}
	for _, kind := range kinds {
		name, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pidOf(t, c)), "ns", kind))
		if err != nil {
			t.Fatal(err)
		}
		if own, err := os.Readlink("/proc/self/ns/" + kind); err != nil || own == name {
			t.Errorf("the cluster has no %s namespace of its own: %s, error %v", kind, name, err)
		}
		i[name] = true
	}
	return i
}

// gone checks that no process is in the namespaces, in at most ten seconds.
func (i insides) gone(t *testing.T) {
	t.Helper()
	var left []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if left = i.processes(); len(left) == 0 {
			return
		}
	}
	t.Errorf("processes are left in the cluster's namespaces:\n%s", strings.Join(left, "\n"))
}

func (i insides) processes() []string {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	var left []string
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && i[name] {
			left = append(left, link)
		}
	}
	return left
}

// pidOf returns the number of the cluster's process 1.
func pidOf(t *testing.T, c *cluster.Cluster) int {
	t.Helper()
	i, err := cluster.ReadInstance(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	return i.PID
}

// childOf is the one child of a process.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(pid), "children"))
	if err != nil {
		t.Fatal(err)
	}
	// Shims that lost their parent are its children too; the supervisor is first.
	child, err := strconv.Atoi(strings.Fields(string(data))[0])
	if err != nil {
		t.Fatal(err)
	}
	return child
}

func sigkill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
