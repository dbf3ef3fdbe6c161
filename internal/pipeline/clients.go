package pipeline

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// NewHub returns a client of a source's Hub.
func NewHub(s Source) (*hub.Client, error) {
	o := hub.Options{Endpoint: s.Endpoint, CAFile: s.CAFile, UserAgent: version.UserAgent()}
	var err error
	switch {
	case s.TokenFile != "":
		token := s.token()
		// A token that is for another Hub is reported before anything is asked.
		if _, err := token(); err != nil {
			return nil, err
		}
		o.TokenFrom = func(context.Context) (string, error) { return token() }
	case s.Identity != nil:
		if o.TokenFrom, err = s.Identity.tokenFrom(o); err != nil {
			return nil, errors.Wrap(err, "cannot prepare to exchange the run's identity")
		}
	}
	c, err := hub.New(o)
	if err != nil {
		return nil, errors.Wrap(err, "cannot prepare to ask the Hub")
	}
	return c.Of(cmp.Or(s.Kind, hub.Model)), nil
}

// tokenFrom returns the tokens that a Hub issues to the identity.
func (i *Identity) tokenFrom(o hub.Options) (hub.TokenFunc, error) {
	subject := connection.NewMountedFile(i.File)
	return hub.Identity{Resource: i.Resource, Subject: subject.Text, Issued: i.Issued}.TokenFrom(o)
}

// Token returns the token of the source's file as it is now; empty for none. It is for
// programs that take a token once.
func (s Source) Token() (string, error) {
	if s.TokenFile == "" {
		return "", nil
	}
	return s.token()()
}

// token returns what reads the token of the source's file, which must be for the source's
// Hub.
func (s Source) token() func() (string, error) {
	file := connection.NewMountedFile(s.TokenFile)
	if s.TokenHostsFile == "" {
		return file.Text
	}
	hosts := connection.NewMountedFile(s.TokenHostsFile)
	return func() (string, error) {
		token, err := file.Text()
		if err != nil {
			return "", err
		}
		// A Secret that is replaced meanwhile is held against its own hosts.
		listed, err := hosts.Text()
		if err == nil {
			err = identity.CheckHost("the Secret with the Hub's token", listed, identity.HostOf(s.Endpoint))
		}
		if err != nil {
			return "", err
		}
		return token, nil
	}
}

// NewRegistry returns a client of a target's registry. Clients that share a throttle
// all wait if a registry asks one of them to.
func NewRegistry(t Target, retries retry.Policy, throttle *connection.Throttle) (*registry.Client, error) {
	return NewRegistryClient(t.DockerConfig, t.Identity, registry.Options{
		Retry: retries, Throttle: throttle,
		Host: t.Registry, PlainHTTP: t.PlainHTTP, Repository: t.Repository, Pushes: true,
		CAFile: t.CAFile, CertificateFile: t.CertificateFile, KeyFile: t.KeyFile,
	})
}

// NewRegistryClient returns a client of a registry, with the account of an identity, or if
// that is nil with the credentials of the config.json in a folder. Both are asked again for
// each request, since they change.
func NewRegistryClient(credentials string, own identity.Source, o registry.Options) (*registry.Client, error) {
	config, err := dockerConfig(credentials, os.ReadFile)
	if err != nil {
		return nil, err
	}
	o.UserAgent = version.UserAgent()
	switch {
	case own != nil:
		o.Cures = o.Cures.ForIdentity()
		o.Credential = func(ctx context.Context) (registry.Credential, error) {
			user, password, _, err := own.Token(ctx)
			return registry.Credential{Username: user, Password: password}, err
		}
	case config != nil:
		// What is wrong with it is reported before anything is asked.
		if _, err := registry.CredentialIn(config, o.Host, o.Repository); err != nil {
			return nil, errors.Wrap(err, "cannot prepare to ask the registry")
		}
		file := connection.NewMountedFile(filepath.Join(credentials, dockerConfigName))
		o.Credential = func(context.Context) (registry.Credential, error) {
			config, err := file.Read()
			if err != nil {
				return registry.Credential{}, err
			}
			return registry.CredentialIn(config, o.Host, o.Repository)
		}
	}
	c, err := registry.New(o)
	return c, errors.Wrap(err, "cannot prepare to ask the registry")
}

// dockerConfigName is the name of the file in a folder of docker's configuration.
const dockerConfigName = "config.json"

// dockerConfig reads the config.json in a folder; nil if there is none.
func dockerConfig(dir string, read fileReader) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	b, err := read(filepath.Join(dir, dockerConfigName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, errors.Wrap(err, "cannot read the registry's credentials")
}
