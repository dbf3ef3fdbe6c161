package identity

import (
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Sources are those of one process, one for each host, which all of its clients share. They
// are safe for concurrent use.
type Sources struct {
	environment Environment
	options     Options

	mu    sync.Mutex
	known map[string]Source
}

// NewSources returns the sources of a process with an environment.
func NewSources(e Environment, o Options) *Sources {
	return &Sources{environment: e, options: o, known: map[string]Source{}}
}

// At returns the source for the registry at a host, as New does.
func (s *Sources) At(host string) (Source, error) {
	if s == nil {
		return nil, outcome.Errorf(outcome.Internal, "this program uses no identity of a cloud")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	host = registryAt(host).host
	if known, ok := s.known[host]; ok {
		return known, nil
	}
	made, err := New(host, s.environment, s.options)
	if err == nil {
		s.known[host] = made
	}
	return made, err
}

// GCS returns the source of tokens for Google Cloud Storage, as NewGCS does.
func (s *Sources) GCS() (Source, error) { return NewGCS(s.environment, s.options) }

// Blob returns the source of tokens for Azure Blob Storage, as NewBlob does.
func (s *Sources) Blob() (Source, error) { return NewBlob(s.environment, s.options) }
