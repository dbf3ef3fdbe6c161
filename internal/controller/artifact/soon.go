package artifact

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// deletedSoon is when is looked whether what was deleted is gone.
	deletedSoon = time.Second

	// stoppedSoon is when is looked for runs that were stopped. Mostly the end
	// of their Pods wakes the Artifact before.
	stoppedSoon = 10 * time.Second
)

// soon has Artifacts looked at again after a fixed time. The runtime would take
// the same for a deletion that goes on as for one that fails: a wait that grows
// with each step.
type soon = once[types.NamespacedName, time.Duration]
