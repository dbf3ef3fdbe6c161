// Package cluster brings up a real Kubernetes cluster of one node, with an OCI
// registry and a Hugging Face Hub beside it, and takes it down again without a
// trace: all of it lives in namespaces and control groups of its own, below one
// process, and in one directory.
//
// It needs root and Linux. Elsewhere Up says so.
package cluster

import (
	"io"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/layout"
)

// The errors that callers tell apart.
var (
	// ErrAlreadyUp is Up's when a cluster runs in the directory.
	ErrAlreadyUp = errors.New("a cluster is up already in this directory")
	// ErrNotUp is Open's when none does.
	ErrNotUp = errors.New("no cluster is up in this directory")
)

// Options say how to bring a cluster up.
type Options struct {
	// Dir is the state directory. Up makes it, Down removes it. The default is
	// DefaultDir's. Clusters in different directories do not know each other.
	Dir string
	// Log is told what is built, installed and started; nil is nobody.
	Log io.Writer
	// Attached ties the cluster's life to this process: it ends with it,
	// however it ends. What it leaves in the state directory and in control
	// groups, Down or the next Up removes. Otherwise it runs until Down.
	Attached bool
	// Crossplane, if it is not nil, runs Crossplane on the cluster.
	Crossplane *Crossplane
}

// Crossplane says how to run Crossplane: its core and its RBAC manager, beside
// the cluster's other programs, each with the rights that its Helm chart gives
// it. Packages run as Pods in CrossplaneNamespace. There are no webhooks.
type Crossplane struct {
	// Activations are what the ManagedResourceActivationPolicy named default
	// activates: names of ManagedResourceDefinitions, or * before a suffix of
	// them. Without any there is no policy, and no managed resource is active.
	Activations []string
}

// A Cluster is a cluster that is up.
type Cluster struct {
	dir      string
	instance instance
}

// DefaultDir is the state directory used where none is named: below the user's
// cache directory.
func DefaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "provider-kitops", "local"), errors.Wrap(err, "cannot find the user's cache directory")
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
