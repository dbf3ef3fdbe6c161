package pipeline

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// NewHub returns a client of a source's Hub.
func NewHub(s Source) (*hub.Client, error) {
	c, err := hub.New(hub.Options{Endpoint: s.Endpoint, Token: s.Token, CAFile: s.CAFile, UserAgent: version.UserAgent()})
	if err != nil {
		return nil, errors.Wrap(err, "cannot prepare to ask the Hub")
	}
	return c.Of(cmp.Or(s.Kind, hub.Model)), nil
}

// NewRegistry returns a client of a target's registry. Clients that share a throttle
// all wait if a registry asks one of them to.
func NewRegistry(t Target, retries retry.Policy, throttle *connection.Throttle) (*registry.Client, error) {
	return NewRegistryClient(t.DockerConfig, registry.Options{
		Retry: retries, Throttle: throttle,
		Host: t.Registry, PlainHTTP: t.PlainHTTP, Repository: t.Repository, Pushes: true,
		CAFile: t.CAFile, CertificateFile: t.CertificateFile, KeyFile: t.KeyFile,
	})
}

// NewRegistryClient returns a client of a registry, with the credentials of the
// config.json in a folder.
func NewRegistryClient(credentials string, o registry.Options) (*registry.Client, error) {
	config, err := dockerConfig(credentials)
	if err != nil {
		return nil, err
	}
	o.DockerConfig, o.UserAgent = config, version.UserAgent()
	c, err := registry.New(o)
	return c, errors.Wrap(err, "cannot prepare to ask the registry")
}

// dockerConfig reads the config.json in a folder; nil if there is none.
func dockerConfig(dir string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, errors.Wrap(err, "cannot read the registry's credentials")
}
