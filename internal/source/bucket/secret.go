package bucket

import (
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A Secret is the credentials of a source, by key: a folder where they are mounted, with a
// file a key, or values in memory. It is safe for concurrent use.
type Secret struct {
	folder string
	values map[string][]byte // Nil if they are mounted.

	mu    sync.Mutex
	files map[string]*connection.MountedFile
}

// NewSecret returns the credentials of a source; nil for none.
func NewSecret(s pipeline.Source) *Secret {
	if s.CredentialsFolder == "" && s.Credentials == nil {
		return nil
	}
	return &Secret{folder: s.CredentialsFolder, values: s.Credentials, files: map[string]*connection.MountedFile{}}
}

// Read returns a key's value as it is now, which must not be changed. The error is
// fs.ErrNotExist if the Secret does not have the key.
func (s *Secret) Read(key string) ([]byte, error) {
	if s.values == nil {
		return s.file(key).Read()
	}
	value, ok := s.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return value, nil
}

// file returns a key's file, which may not be there.
func (s *Secret) file(key string) *connection.MountedFile {
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
	b, err := s.Read(key)
	v := connection.Trimmed(string(b))
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
	listed, err := s.Read(identity.KeyHost)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return outcome.Errorf(outcome.ConfigInvalid, "key %s of the source's Secret cannot be read", identity.KeyHost).Because(err)
	}
	return identity.CheckHost("the Secret that "+field+".credentialsSecretRef names", string(listed), host)
}
