// Package node brings up a real Kubernetes cluster of one node, with an OCI
// registry and a Hugging Face Hub beside it, and takes it down again without a
// trace: all of it lives in namespaces and control groups of its own, below one
// process, and in one directory.
//
// It needs root and Linux. Elsewhere Up returns an error.
package node

import (
	"io"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// ErrAlreadyUp is returned by Up if a cluster runs in the directory.
var ErrAlreadyUp = errors.New("a cluster is up already in this directory")

// Options say how to bring a cluster up.
type Options struct {
	// Dir is the state directory. Up makes it, Down removes it. It defaults to
	// cluster.StateDir's. Clusters in different directories do not know each
	// other.
	Dir string
	// Log receives what is built, installed and started. It may be nil.
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
// it. Packages run as Pods in layout.CrossplaneNamespace. There are no webhooks.
type Crossplane struct {
	// Activations are what the ManagedResourceActivationPolicy named default
	// activates: names of ManagedResourceDefinitions, or * before a suffix of
	// them. Without any there is no policy, and no managed resource is active.
	Activations []string
}
