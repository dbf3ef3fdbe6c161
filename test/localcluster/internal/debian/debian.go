// Package debian makes sure of the programs that the cluster takes from the
// machine instead of building them: those of a few Debian packages.
package debian

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// pluginDirs are where distributions keep the CNI plugins.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// A need is a package and the programs wanted from it.
type need struct {
	name     string
	programs []string // looked up in PATH
	plugins  []string // looked up in pluginDirs
}

// needs are what the node needs, besides what is built.
func needs() []need {
	return []need{
		{name: "runc", programs: []string{"runc"}},
		{name: "containernetworking-plugins", plugins: []string{"bridge", "host-local", "loopback"}},
		{name: "iptables", programs: []string{"iptables"}},
		{name: "iproute2", programs: []string{"ip"}},
		{name: "util-linux", programs: []string{"nsenter"}},
	}
}

// A System finds and installs what is needed. The zero value is this machine.
type System struct {
	Look func(program string) (string, error)            // finds a program; exec.LookPath
	Run  func(ctx context.Context, args ...string) error // runs a command as root
	Root bool                                            // whether this is root
	Dirs []string                                        // where CNI plugins may be
}

// Machine is this machine, whose installations write to log.
func Machine(log io.Writer) System {
	return System{
		Look: lookPath,
		Run: func(ctx context.Context, args ...string) error {
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			cmd.Stdout, cmd.Stderr = log, log
			return cmd.Run()
		},
		Root: os.Geteuid() == 0,
		Dirs: pluginDirs,
	}
}

// Missing are the packages that lack a program here.
func (s System) Missing() []string {
	var missing []string
	for _, n := range needs() {
		if !s.has(n) {
			missing = append(missing, n.name)
		}
	}
	return missing
}

func (s System) has(n need) bool {
	for _, p := range n.programs {
		if _, err := s.Look(p); err != nil {
			return false
		}
	}
	if len(n.plugins) == 0 {
		return true
	}
	_, err := s.PluginDir()
	return err == nil
}

// PluginDir is the directory that holds the CNI plugins that are needed.
func (s System) PluginDir() (string, error) {
	for _, dir := range s.Dirs {
		if holds(dir, "bridge", "host-local", "loopback") {
			return dir, nil
		}
	}
	return "", errors.Errorf("cannot find the CNI plugins in any of %s", strings.Join(s.Dirs, ", "))
}

// Ensure installs what is missing, after it has said so. Where it cannot, its
// error names the packages.
func (s System) Ensure(ctx context.Context, log io.Writer) error {
	missing := s.Missing()
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if !s.Root {
		return errors.Errorf("programs are missing; install these packages as root: apt-get install %s", list)
	}
	if _, err := s.Look("apt-get"); err != nil {
		return errors.Errorf("programs are missing and there is no apt-get here; install what your distribution has for Debian's packages %s", list)
	}
	fmt.Fprintf(log, "installing Debian packages: %s\n", list)
	if err := s.Run(ctx, "apt-get", "update", "-q", "-o", "Acquire::Retries=3"); err != nil {
		return errors.Wrapf(err, "cannot update the package lists to install %s", list)
	}
	args := append([]string{
		"apt-get", "install", "-q", "-y", "--no-install-recommends",
		"-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0",
	}, missing...)
	if err := s.Run(ctx, args...); err != nil {
		return errors.Wrapf(err, "cannot install Debian packages %s", list)
	}
	if still := s.Missing(); len(still) > 0 {
		return errors.Errorf("installed, but their programs are still not to be found: %s", strings.Join(still, " "))
	}
	return nil
}

// lookPath is exec.LookPath, also where root's PATH lacks the sbin directories.
func lookPath(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"} {
		if holds(dir, program) {
			return filepath.Join(dir, program), nil
		}
	}
	return "", errors.Errorf("cannot find the program %s", program)
}

func holds(dir string, files ...string) bool {
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, f))
		if err != nil || info.IsDir() {
			return false
		}
	}
	return true
}
