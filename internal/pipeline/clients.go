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

// newHub returns a client of the Hub that a source is at.
func newHub(s Source) (*hub.Client, error) {
	c, err := hub.New(hub.Options{Endpoint: s.Endpoint, Token: s.Token, CAFile: s.CAFile, UserAgent: version.UserAgent()})
	if err != nil {
		return nil, errors.Wrap(err, "cannot prepare to ask the Hub")
	}
	return c.Of(cmp.Or(s.Kind, hub.Model)), nil
}

// newRegistry returns a client of the registry that a target is in, which waits
// while any of the run's that share the throttle is asked to.
func newRegistry(t Target, again retry.Policy, throttle *connection.Throttle) (*registry.Client, error) {
	return newRegistryClient(t.DockerConfig, registry.Options{
		Retry: again, Throttle: throttle,
		Host: t.Registry, PlainHTTP: t.PlainHTTP, Repository: t.Repository, Pushes: true,
		CAFile: t.CAFile, CertificateFile: t.CertificateFile, KeyFile: t.KeyFile,
	})
}

// newSourceRegistry returns a client of the registry that a run's source is in.
func newSourceRegistry(a ArtifactSource, ref registry.Reference, again retry.Policy, throttle *connection.Throttle) (*registry.Client, error) {
	return newRegistryClient(a.DockerConfig, registry.Options{
		Retry: again, Throttle: throttle,
		Host: ref.Registry, PlainHTTP: a.PlainHTTP, Repository: ref.Repository, Cures: sourceCures,
		CAFile: a.CAFile, CertificateFile: a.CertificateFile, KeyFile: a.KeyFile,
	})
}

// newRegistryClient returns a client with the credentials in a folder.
func newRegistryClient(credentials string, o registry.Options) (*registry.Client, error) {
	config, err := dockerConfig(credentials)
	if err != nil {
		return nil, err
	}
	o.DockerConfig, o.UserAgent = config, version.UserAgent()
	c, err := registry.New(o)
	return c, errors.Wrap(err, "cannot prepare to ask the registry")
}

// dockerConfig reads the config.json in a folder, or nothing where none is
// named.
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
