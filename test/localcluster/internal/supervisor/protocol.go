// Package supervisor runs the cluster inside namespaces of its own. The program
// that brings the cluster up starts this very program again, as process 1 of new
// PID, mount, network, UTS and IPC namespaces; that process starts the
// supervisor proper and does nothing but reap. The supervisor makes the
// namespaces a home for the cluster (mounts, network, control groups), starts
// the cluster's programs and watches them. When process 1 dies, however it
// dies, the kernel ends everything in the namespaces, and they go.
package supervisor

import (
	"encoding/json"
	"io"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Command is the name (argv[0]) by which a program that imports this package
// becomes the cluster's process 1 or its supervisor.
const Command = "provider-kitops-local"

// The file descriptors that process 1 and the supervisor are started with.
const (
	specFD   = 3 // process 1 reads a Spec from it, and ends if there is none
	statusFD = 4 // the supervisor writes Messages to it
	lifeFD   = 5 // nothing is written to it; with Spec.Attached its end ends the cluster
)

// A Spec says what to run.
type Spec struct {
	Dir      string `json:"dir"`      // the state directory
	Cache    string `json:"cache"`    // the cache of programs
	Programs string `json:"programs"` // the directory of programs, in Cache
	Runc     string `json:"runc"`     // path of runc
	CNI      string `json:"cni"`      // directory of the CNI plugins
	Cgroup   string `json:"cgroup"`   // name of the control groups
	Attached bool   `json:"attached"` // the cluster ends with the program that brought it up
	PauseTar string `json:"pauseTar"` // image of the pause program, in Dir

	Crossplane *Crossplane `json:"crossplane,omitempty"` // if it shall run
}

// Crossplane says how to run Crossplane.
type Crossplane struct {
	Activations []string `json:"activations"` // of the default ManagedResourceActivationPolicy
}

// A Message tells how far the supervisor is.
type Message struct {
	Step  string `json:"step,omitempty"`  // what was reached
	Error string `json:"error,omitempty"` // why it gave up
	Ready bool   `json:"ready,omitempty"` // the cluster is up
}

// Read reads messages until the cluster is up, passing steps to step. Its
// error is the supervisor's, or io.ErrUnexpectedEOF if it died without one.
func Read(r io.Reader, step func(string)) error {
	d := json.NewDecoder(r)
	for {
		var m Message
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return errors.Wrap(err, "cannot read what the supervisor says")
		case m.Error != "":
			return errors.New(m.Error)
		case m.Ready:
			return nil
		default:
			step(m.Step)
		}
	}
}
