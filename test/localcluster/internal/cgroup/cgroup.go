//go:build linux

// Package cgroup keeps the cluster in control groups of its own: one directory
// in every hierarchy of version 1, or one in the unified hierarchy of version
// 2, under which all of the cluster's processes and containers live.
package cgroup

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Root is where control groups are mounted.
const Root = "/sys/fs/cgroup"

// leaf is the group of the cluster's own processes in a unified hierarchy,
// where a group that has subgroups may hold none.
const leaf = "programs"

// necessary are the controllers that a Pod's limits need.
var necessary = []string{"cpu", "memory", "pids"}

// A Hierarchy is a mounted hierarchy of control groups.
type Hierarchy struct {
	Mount   string // where it is mounted
	Options string // its controllers or name, as mount takes them; version 1 only
	Unified bool   // version 2
}

// Hierarchies reads the hierarchies mounted below Root from the text of a
// /proc/PID/mountinfo.
func Hierarchies(mountinfo string) []Hierarchy {
	seen := map[string]bool{}
	var all []Hierarchy
	s := bufio.NewScanner(strings.NewReader(mountinfo))
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 3 {
			continue
		}
		h := Hierarchy{Mount: fields[4], Unified: rest[0] == "cgroup2"}
		if !strings.HasPrefix(rest[0], "cgroup") || !strings.HasPrefix(h.Mount, Root) || seen[h.Mount] {
			continue
		}
		if !h.Unified {
			h.Options = superOptions(rest[2])
		}
		seen[h.Mount] = true
		all = append(all, h)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Mount < all[j].Mount })
	return all
}

// superOptions are the options that tell a version 1 hierarchy: no ro or rw,
// and nothing that the kernel takes only at a hierarchy's first mount.
func superOptions(s string) string {
	var keep []string
	for _, o := range strings.Split(s, ",") {
		switch {
		case o == "rw", o == "ro", o == "xattr", o == "clone_children", o == "noprefix", o == "cpuset_v2_mode":
		case strings.HasPrefix(o, "release_agent="):
		default:
			keep = append(keep, o)
		}
	}
	return strings.Join(keep, ",")
}

// Mounted are the hierarchies that this process sees.
func Mounted() ([]Hierarchy, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the mounts")
	}
	all := Hierarchies(string(data))
	if len(all) == 0 {
		return nil, errors.Errorf("no control groups are mounted below %s", Root)
	}
	return all, nil
}

// Enter makes the group called name in every hierarchy and moves this process
// into it.
func Enter(name string) error {
	all, err := Mounted()
	if err != nil {
		return err
	}
	for _, h := range all {
		if h.Unified && len(all) == 1 {
			if err := EnableControllers(h.Mount); err != nil {
				return err
			}
		}
		dir := filepath.Join(h.Mount, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return errors.Wrap(err, "cannot make a control group")
		}
		if err := inheritCPUs(dir); err != nil {
			return err
		}
		if err := write(dir, "cgroup.procs", "0"); err != nil {
			return errors.Wrap(err, "cannot enter a control group")
		}
	}
	return nil
}

// inheritCPUs gives a new group of the version 1 controller cpuset what its
// parent has: an empty one takes no process.
func inheritCPUs(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(own)) != "" {
			continue
		}
		if err != nil {
			return errors.Wrap(err, "cannot read a control group's processors")
		}
		parents, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return errors.Wrap(err, "cannot read the processors of a control group's parent")
		}
		// In version 2 an empty set means the parent's, and may stay empty.
		if set := strings.TrimSpace(string(parents)); set != "" {
			if err := write(dir, file, set); err != nil {
				return errors.Wrap(err, "cannot give a control group its processors")
			}
		}
	}
	return nil
}

// Delegate readies a unified hierarchy, mounted at dir so that its root is our
// group, for subgroups: the processes pids move to a leaf, then the controllers
// can be enabled.
func Delegate(dir string, pids ...string) error {
	inner := filepath.Join(dir, leaf)
	if err := os.Mkdir(inner, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.Wrap(err, "cannot make the programs' control group")
	}
	for _, pid := range pids {
		if err := write(inner, "cgroup.procs", pid); err != nil {
			return errors.Wrap(err, "cannot move the programs to their control group")
		}
	}
	return EnableControllers(dir)
}

// EnableControllers enables the controllers that a unified group has for its
// subgroups. It fails if one of the necessary ones cannot be.
func EnableControllers(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return errors.Wrap(err, "cannot read the controllers of a control group")
	}
	failed := map[string]error{}
	for _, c := range necessary {
		failed[c] = errors.New("it is not offered here")
	}
	for _, c := range strings.Fields(string(data)) {
		if err := write(dir, "cgroup.subtree_control", "+"+c); err != nil {
			failed[c] = err
		}
	}
	data, err = os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return errors.Wrap(err, "cannot read the controllers of a control group's subgroups")
	}
	enabled := strings.Fields(string(data))
	for _, c := range necessary {
		if !slices.Contains(enabled, c) {
			return errors.Errorf("cannot enable the controller %s in %s, without which no container runs (in a container: give it the machine's control groups): %v", c, dir, failed[c])
		}
	}
	return nil
}

// Remove removes the group called name, and all groups in it, from every
// hierarchy. It waits up to ten seconds for their processes to be gone.
func Remove(ctx context.Context, name string) error {
	all, err := Mounted()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, h := range all {
		dir := filepath.Join(h.Mount, name)
		for err := removeTree(dir); err != nil; err = removeTree(dir) {
			select {
			case <-ctx.Done():
				return errors.Wrap(err, "cannot remove a control group")
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// Sweep removes the groups whose names begin with prefix and that hold no
// process: clusters left them whose state directory is not known any more. One
// that is younger than a minute may be about to be entered, and stays.
func Sweep(prefix string) error {
	all, err := Mounted()
	if err != nil {
		return err
	}
	for _, h := range all {
		dirs, err := filepath.Glob(filepath.Join(h.Mount, prefix+"*"))
		if err != nil {
			return errors.Wrap(err, "cannot look for control groups")
		}
		for _, dir := range dirs {
			if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Minute {
				_ = removeTree(dir) // It fails where there are processes, as it should.
			}
		}
	}
	return nil
}

// removeTree removes a group, the deepest first: a group's files are not
// removed, they go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
}
