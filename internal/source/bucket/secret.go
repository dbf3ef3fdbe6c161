package bucket

import (
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Secret is mounted credentials, a file a key. It is safe for concurrent use.
type Secret struct {
	folder string

	mu    sync.Mutex
	files map[string]*connection.MountedFile
}

// NewSecret returns the Secret that is mounted at a folder.
func NewSecret(folder string) *Secret {
	return &Secret{folder: folder, files: map[string]*connection.MountedFile{}}
}

// File returns a key's file, which may not be there.
func (s *Secret) File(key string) *connection.MountedFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[key] == nil {
		s.files[key] = connection.NewMountedFile(filepath.Join(s.folder, key))
	}
	return s.files[key]
}

// Text returns a key's value as it is now, without white space around it; empty if the
// Secret does not have the key. The error is an outcome.Error.
func (s *Secret) Text(key string) (string, error) {
	v, err := s.File(key).Text()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", outcome.Errorf(outcome.ConfigInvalid, "key %s of the source's Secret cannot be read", key).Because(err)
	case !connection.InHeader(v):
		return "", outcome.Errorf(outcome.ConfigInvalid, "key %s of the source's Secret has a line break or another character that no credential has: write the value alone", key)
	}
	return v, nil
}

// CheckHost returns an outcome.Error unless the Secret, that a field of the spec names, may
// be sent to a host. It must be called after the credentials were read: a Secret that is
// replaced meanwhile is then held against its own hosts.
func (s *Secret) CheckHost(field, host string) error {
	listed, err := s.File(identity.KeyHost).Text()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return outcome.Errorf(outcome.ConfigInvalid, "key %s of the source's Secret cannot be read", identity.KeyHost).Because(err)
	}
	return identity.CheckHost("the Secret that "+field+".credentialsSecretRef names", listed, host)
}
