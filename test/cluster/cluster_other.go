//go:build !linux

package cluster

import (
	"context"
	"net"
	"os/exec"

	"k8s.io/client-go/rest"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// errNotLinux is every function's error where there are no namespaces.
var errNotLinux = errors.New("the local cluster needs Linux")

// Open fails: it needs Linux.
func Open(string) (*Cluster, error) { return nil, errNotLinux }

// Alive is false: no cluster can be up.
func (c *Cluster) Alive() bool { return false }

// RESTConfig fails: it needs Linux.
func (c *Cluster) RESTConfig() (*rest.Config, error) { return nil, errNotLinux }

// DialContext fails: it needs Linux.
func (c *Cluster) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errNotLinux
}

// Listen fails: it needs Linux.
func (c *Cluster) Listen(context.Context, int) (net.Listener, error) { return nil, errNotLinux }

// LoadImage fails: it needs Linux.
func (c *Cluster) LoadImage(context.Context, string) error { return errNotLinux }

// Command is a command that fails: it needs Linux.
func (c *Cluster) Command(context.Context, ...string) *exec.Cmd {
	return &exec.Cmd{Err: errNotLinux}
}

// Kubectl is a command that fails: it needs Linux.
func (c *Cluster) Kubectl(context.Context, ...string) *exec.Cmd {
	return &exec.Cmd{Err: errNotLinux}
}

// CrossplaneCLI is a command that fails: it needs Linux.
func (c *Cluster) CrossplaneCLI(context.Context, ...string) *exec.Cmd {
	return &exec.Cmd{Err: errNotLinux}
}
