package cluster

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
)

// Open finds the cluster that is up in dir ("" for the default one). If none
// is, the error is ErrNotUp.
func Open(dir string) (*Cluster, error) {
	dir, err := StateDir(dir)
	if err != nil {
		return nil, err
	}
	i, err := ReadInstance(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Wrap(ErrNotUp, dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, instance: i}
	return c, c.check()
}

// check is ErrNotUp, with what the supervisor said last, if the cluster does
// not run.
func (c *Cluster) check() error {
	if c.instance.Ready && c.Alive() {
		return nil
	}
	return errors.Errorf("%s: %w; the end of its supervisor's log:\n%s", c.dir, ErrNotUp, SupervisorLog(c.dir))
}

// Alive is whether the cluster still runs. One of its programs that ends takes
// the cluster with it; the log supervisor.log then says which.
func (c *Cluster) Alive() bool { return c.instance.Alive() }

// RESTConfig is how to speak to the API server with all rights, from outside
// the cluster's network namespace.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the kubeconfig")
	}
	config.Dial = c.DialContext
	// No proxy of the user's leads there.
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } //nolint:nilnil // As http.Transport wants it.
	return config, nil
}

// DialContext connects to an address inside the cluster's network namespace:
// an IP address and a port, or HubHost, which is the Hub's, and a port. It goes
// into an http.Transport.
func (c *Cluster) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read an address")
	}
	if host == layout.HubHost {
		host = layout.NodeIP
	}
	if net.ParseIP(host) == nil {
		return nil, errors.Errorf("cannot dial %s in the cluster: no names are known there", host)
	}
	var conn net.Conn
	err = c.inside(func() error {
		// A socket stays in the namespace that it was made in.
		conn, err = (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(host, port))
		return err
	})
	return conn, err
}

// Listen listens inside the cluster's network namespace, where Pods reach it:
// on a port of HubIP's. This process serves what is accepted.
func (c *Cluster) Listen(ctx context.Context, port int) (net.Listener, error) {
	var l net.Listener
	err := c.inside(func() error {
		var err error
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort(layout.NodeIP, strconv.Itoa(port)))
		return err
	})
	return l, errors.Wrap(err, "cannot listen in the cluster")
}

// inside calls f on a thread in the cluster's network namespace.
func (c *Cluster) inside(f func() error) error {
	if err := c.check(); err != nil {
		return err
	}
	there, err := os.Open(c.proc("ns", "net"))
	if err != nil {
		return errors.Wrap(err, "cannot find the cluster's network namespace")
	}
	defer func() { _ = there.Close() }()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return errors.Wrap(err, "cannot find the network namespace")
	}
	defer func() { _ = here.Close() }()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return errors.Wrap(err, "cannot enter the cluster's network namespace")
	}
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that it ends with the goroutine.
		return errors.Join(err, errors.Wrap(back, "cannot leave the cluster's network namespace"))
	}
	runtime.UnlockOSThread()
	return err
}

// Kubectl is the cluster's own kubectl, run in its network namespace as admin.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	return c.command(ctx, "kubectl", args)
}

// CrossplaneCLI is Crossplane's command line, run in the cluster's network
// namespace as admin: it reaches the registries as Crossplane does. The cluster
// must have been brought up with Crossplane.
func (c *Cluster) CrossplaneCLI(ctx context.Context, args ...string) *exec.Cmd {
	return c.command(ctx, "crossplane", args)
}

// command runs one of the cluster's programs as Command does. What it caches
// stays out of the user's home, and the user's settings stay out of it.
func (c *Cluster) command(ctx context.Context, program string, args []string) *exec.Cmd {
	cmd := c.Command(ctx, append([]string{filepath.Join(c.instance.Programs, program)}, args...)...)
	cmd.Env = append(cmd.Env, "HOME="+c.dir)
	return cmd
}

// Command runs a command in the cluster's network namespace, as admin, with the
// cluster's programs first in PATH.
func (c *Cluster) Command(ctx context.Context, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + c.proc("ns", "net"), "--"}, command...)...)
	cmd.Env = append(os.Environ(),
		"PATH="+c.instance.Programs+":"+os.Getenv("PATH"),
		"KUBECONFIG="+c.Kubeconfig(), "KUBERC=off", "KUBECACHEDIR="+filepath.Join(c.dir, "kubectl-cache"),
		"NO_PROXY=*", "no_proxy=*")
	return cmd
}

// LoadImage gives the node the images of a tarball (docker save's format or an
// OCI layout), as though they had been pulled. Pods use them with imagePullPolicy
// IfNotPresent or Never.
func (c *Cluster) LoadImage(ctx context.Context, tarball string) error {
	if err := c.check(); err != nil {
		return err
	}
	socket := c.proc("root", layout.ContainerdSocket)
	cmd := exec.CommandContext(ctx, filepath.Join(c.instance.Programs, "ctr"),
		"--address", socket, "--namespace", "k8s.io", "images", "import", tarball)
	out, err := cmd.CombinedOutput()
	return errors.Wrapf(err, "cannot load the image %s: %s", tarball, strings.TrimSpace(string(out)))
}

// proc is a path below the process directory of the cluster's process 1.
func (c *Cluster) proc(path ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(c.instance.PID)}, path...)...)
}
