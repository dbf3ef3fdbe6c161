package artifact

import (
	"sync"
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
type soon struct {
	mu    sync.Mutex
	waits map[types.NamespacedName]time.Duration
}

// put asks for another look at an Artifact.
func (s *soon) put(name types.NamespacedName, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits == nil {
		s.waits = map[types.NamespacedName]time.Duration{}
	}
	s.waits[name] = wait
}

// take returns once what was asked for.
func (s *soon) take(name types.NamespacedName) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait, ok := s.waits[name]
	delete(s.waits, name)
	return wait, ok
}
