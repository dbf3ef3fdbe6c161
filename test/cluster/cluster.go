// Package cluster starts the local cluster for a test and reaches it: its API
// server, its registries, its Hub and its node. The cluster itself is the
// program in test/localcluster, a Go module of its own that only this package
// runs, so that its dependencies are not the provider's.
//
// It needs root and Linux. Elsewhere Start and Open return an error.
package cluster

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/internal/logtail"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// ErrNotUp is returned by Open if no cluster is up in the directory.
var ErrNotUp = errors.New("no cluster is up in this directory")

// supervisorLines is how much of the supervisor's log errors show: it ends with
// the end of the log of the program that failed.
const supervisorLines = logtail.Lines + 10

// Options say how to start a cluster.
type Options struct {
	// Dir is the state directory, which must be empty or not exist.
	Dir string
	// Log receives what is built, installed and started.
	Log io.Writer
	// Crossplane runs Crossplane on the cluster, without any managed resource
	// activated.
	Crossplane bool
}

// A Cluster is a cluster that is up.
type Cluster struct {
	dir      string
	instance Instance
	stop     func() error
}

// Start starts a cluster and returns when Pods can run. The cluster ends when
// Stop is called, or when this process ends, however it does: the program that
// runs it ends at the end of its standard input. The context bounds the start
// alone.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	root, err := programs.SourceTree(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"run", "-C", filepath.Join(root, "test", "localcluster"), ".", "--dir=" + o.Dir, "up", "--attached"}
	if o.Crossplane {
		args = append(args, "--crossplane")
	}
	cmd := exec.Command("go", args...)
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Wrap(err, "cannot make pipes to the cluster's program")
	}
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(o.Log, &said)
	if err := cmd.Start(); err != nil {
		return nil, errors.Wrap(err, "cannot start the cluster's program")
	}
	stop := func() error {
		_ = stdin.Close() // It reads nothing else.
		return errors.Wrap(cmd.Wait(), "cannot take the cluster down")
	}
	// The program prints one line once the cluster is up.
	defer context.AfterFunc(ctx, func() { _ = stdin.Close() })()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = stop() // What it printed says why.
		return nil, errors.Errorf("cannot bring the cluster up: %s", bytes.TrimSpace(said.Bytes()))
	}
	c, err := Open(o.Dir)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	c.stop = stop
	return c, nil
}

// Stop takes down a cluster that Start started, without leaving a trace.
func (c *Cluster) Stop() error { return c.stop() }

// StateDir returns the absolute path of the state directory dir. It defaults to
// one below the user's cache directory.
func StateDir(dir string) (string, error) {
	if dir == "" {
		dir, err := os.UserCacheDir()
		return filepath.Join(dir, "provider-kitops", "local"), errors.Wrap(err, "cannot find the user's cache directory")
	}
	dir, err := filepath.Abs(dir)
	return dir, errors.Wrap(err, "cannot find the state directory")
}

// SupervisorLog returns the end of the log of the supervisor of the cluster in
// dir, for an error message.
func SupervisorLog(dir string) string {
	return logtail.File(filepath.Join(dir, layout.SupervisorLog), supervisorLines)
}

// Dir is the cluster's state directory.
func (c *Cluster) Dir() string { return c.dir }

// Kubeconfig is the path of a kubeconfig with all rights. Its server's address
// is inside the cluster's network namespace: see RESTConfig and Kubectl.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, layout.Kubeconfig) }

// NodeName is the name of the cluster's one node.
func (c *Cluster) NodeName() string { return layout.NodeName }

// CrossplaneNamespace is where Crossplane runs packages.
func (c *Cluster) CrossplaneNamespace() string { return layout.CrossplaneNamespace }

// RegistryHost is the registry that is open to all, as HOST:PORT. It speaks
// plain HTTP and can delete.
func (c *Cluster) RegistryHost() string { return layout.Registry }

// AuthRegistryHost is the registry that wants RegistryUser and
// RegistryPassword (HTTP basic), as HOST:PORT. It speaks plain HTTP and can
// delete.
func (c *Cluster) AuthRegistryHost() string { return layout.AuthRegistry }

// RegistryUser is the user of AuthRegistryHost.
func (c *Cluster) RegistryUser() string { return layout.User }

// RegistryPassword is the password of AuthRegistryHost.
func (c *Cluster) RegistryPassword() (string, error) {
	data, err := os.ReadFile(filepath.Join(c.dir, layout.Password))
	return string(data), errors.Wrap(err, "cannot read the registry's password")
}

// HubURL is the Hub by plain HTTP.
func (c *Cluster) HubURL() string { return "http://" + layout.HubHTTP }

// HubIP is the address that HubHost must resolve to (hostAliases) for clients
// that insist on https://huggingface.co.
func (c *Cluster) HubIP() string { return layout.NodeIP }

// HubHost is the name that the Hub's certificate is for.
func (c *Cluster) HubHost() string { return layout.HubHost }

// HubCAFile is the path of the certificate (PEM) that signed the Hub's.
func (c *Cluster) HubCAFile() string { return filepath.Join(c.dir, layout.PKI, "ca.crt") }

// HubDir is the folder that the Hub serves. What is written there is on the
// Hub at once.
func (c *Cluster) HubDir() string { return filepath.Join(c.dir, layout.Hub) }

// LogDir is the folder of the programs' logs, NAME.log each.
func (c *Cluster) LogDir() string { return filepath.Join(c.dir, layout.Logs) }
