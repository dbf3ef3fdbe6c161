package images

import (
	"context"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// PushOptions say how a registry is reached.
type PushOptions struct {
	// PlainHTTP says that the registry may be spoken to without TLS. Otherwise
	// not even one on this machine is.
	PlainHTTP bool

	// Keychain has the credentials; the default is the user's, as docker login
	// keeps them.
	Keychain authn.Keychain

	// Transport reaches the registry; the default is the network.
	Transport http.RoundTripper
}

// Push pushes the package to a registry as an index, under its version as tag,
// and returns its reference by digest. The registry is a host, with a port if
// need be, and an organisation: example.com:5000/org.
func (x *Xpkg) Push(ctx context.Context, registry string, o PushOptions) (string, error) {
	var options []name.Option
	if o.PlainHTTP {
		options = append(options, name.Insecure)
	}
	tag, err := name.NewTag(registry+"/"+xpkgName+":"+x.version, append(options, name.StrictValidation)...)
	if err != nil {
		return "", errors.Wrap(err, "cannot use the registry's name and the version as a tag")
	}
	digest, err := x.Digest()
	if err != nil {
		return "", err
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Transport == nil {
		o.Transport = remote.DefaultTransport
	}
	if !o.PlainHTTP {
		o.Transport = &tlsOnly{next: o.Transport}
	}
	err = remote.WriteIndex(tag, x.index, remote.WithContext(ctx), remote.WithAuthFromKeychain(o.Keychain), remote.WithTransport(o.Transport))
	return tag.Context().Digest(digest).String(), errors.Wrapf(err, "cannot push to %s", tag)
}

// A tlsOnly transport sends nothing in the clear. go-containerregistry would,
// to hosts that look local.
type tlsOnly struct{ next http.RoundTripper }

// RoundTrip sends a request if it goes by TLS.
func (t *tlsOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errors.Errorf("%s is not spoken to without TLS unless you say so", r.URL.Host)
	}
	return t.next.RoundTrip(r)
}
