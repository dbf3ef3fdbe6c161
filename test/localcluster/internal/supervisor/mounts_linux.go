package supervisor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/cgroup"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/names"
)

// scratch are the directories that the cluster gets empty, in memory: programs
// write there without being told to.
var scratch = []string{"/run", "/tmp", "/var/tmp", "/var/lib", "/var/log"}

// tunables are settings of the kernel as the kubelet wants them. They are the
// whole machine's, so it is shown these values instead of being let to set them.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// makeHome mounts what the cluster sees in place of the machine's own: a proc
// and a sysfs of its namespaces, empty scratch directories, the state directory
// at its place, and a root that is read-only, so that nothing of the cluster
// lands outside the state directory.
func makeHome(s Spec) error {
	state, err := os.Open(s.Dir)
	if err != nil {
		return errors.Wrap(err, "cannot open the state directory")
	}
	defer state.Close()
	cache, err := os.Open(s.Cache)
	if err != nil {
		return errors.Wrap(err, "cannot open the cache of programs")
	}
	defer cache.Close()
	for _, dir := range scratch {
		if err := mountFresh("tmpfs", dir, "mode=1777"); err != nil {
			return err
		}
	}
	if err := mountInstead("proc", "/proc"); err != nil {
		return err
	}
	if err := bind(fdPath(state), layout.State); err != nil {
		return err
	}
	if err := bind(fdPath(cache), layout.Programs); err != nil {
		return err
	}
	if err := bindKubelet(); err != nil {
		return err
	}
	if err := bindNames(); err != nil {
		return err
	}
	if err := showTunables(); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return errors.Wrap(err, "cannot make the root read-only")
	}
	// Among the cluster's own processes mounts are shared, as on a node.
	return errors.Wrap(unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""), "cannot share the mounts")
}

// bindKubelet puts the kubelet's directory, which other programs know by its
// usual place, on the state directory's disk; likewise the Pods' logs.
func bindKubelet() error {
	for from, to := range map[string]string{"kubelet": layout.Kubelet, "pod-logs": "/var/log/pods"} {
		source := filepath.Join(layout.State, from)
		if err := os.MkdirAll(source, 0o755); err != nil {
			return errors.Wrap(err, "cannot make a directory of the kubelet")
		}
		if err := bind(source, to); err != nil {
			return err
		}
	}
	return nil
}

// bindNames gives the cluster's programs names of their own: those in a file of
// the state directory, and no DNS, since the machine's is out of reach.
func bindNames() error {
	for path, file := range map[string]string{"/etc/hosts": state(layout.Hosts), "/etc/resolv.conf": "/run/resolv.conf"} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return errors.Wrapf(err, "cannot write the cluster's %s", path)
		}
		if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
			return errors.Wrapf(err, "cannot cover %s", path)
		}
	}
	return names.Write(state(layout.Hosts), nil)
}

// showTunables covers the files of the tunables.
func showTunables() error {
	for name, value := range tunables {
		source := filepath.Join("/run/tunables", strings.ReplaceAll(name, "/", "."))
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			return errors.Wrap(err, "cannot make the directory of tunables")
		}
		if err := os.WriteFile(source, []byte(value+"\n"), 0o644); err != nil {
			return errors.Wrap(err, "cannot write a tunable")
		}
		target := filepath.Join("/proc/sys", name)
		// A kernel may lack a setting; then there is nothing to cover.
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return errors.Wrapf(err, "cannot cover %s", target)
		}
	}
	return nil
}

// mountCgroups mounts a sysfs of the network namespace, and the hierarchies so
// that the cluster's own group is their root.
func mountCgroups() error {
	all, err := cgroup.Mounted()
	if err != nil {
		return err
	}
	if err := mountInstead("sysfs", "/sys"); err != nil {
		return err
	}
	if len(all) == 1 && all[0].Unified {
		if err := mountFresh("cgroup2", cgroup.Root, ""); err != nil {
			return err
		}
		return cgroup.Delegate(cgroup.Root, "1", strconv.Itoa(os.Getpid()))
	}
	if err := mountFresh("tmpfs", cgroup.Root, "mode=755"); err != nil {
		return err
	}
	for _, h := range all {
		kind := "cgroup"
		if h.Unified {
			kind = "cgroup2"
		}
		if err := os.MkdirAll(h.Mount, 0o755); err != nil {
			return errors.Wrap(err, "cannot make a mount point for control groups")
		}
		if err := mountFresh(kind, h.Mount, h.Options); err != nil {
			return err
		}
	}
	return nil
}

func mountFresh(kind, target, options string) error {
	return errors.Wrapf(unix.Mount(kind, target, kind, 0, options), "cannot mount %s on %s", kind, target)
}

// mountInstead mounts a filesystem in place of what is mounted at target: a
// program that reads the list of mounts would take the machine's for ours.
func mountInstead(kind, target string) error {
	// A file system that cannot be unmounted stays below.
	_ = unix.Unmount(target, unix.MNT_DETACH) // See above.
	return mountFresh(kind, target, "")
}

// bind shows source at target too, which it makes.
func bind(source, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return errors.Wrap(err, "cannot make a mount point")
	}
	return errors.Wrapf(unix.Mount(source, target, "", unix.MS_BIND, ""), "cannot mount %s", target)
}

// fdPath names an open file whatever is mounted over its path meanwhile.
func fdPath(f *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
}
