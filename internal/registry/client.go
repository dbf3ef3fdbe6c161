// Package registry speaks to one OCI registry
// (https://github.com/opencontainers/distribution-spec): it resolves, reads
// and pushes manifests and blobs, and removes tags. What it says went wrong is
// an outcome.Error, in words for the artifact's user, without credentials and
// without the whole of what a server answered.
package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// askTimeout is for a try of what moves no blob.
	askTimeout = 90 * time.Second

	// stallTimeout is how long a blob may stand still.
	stallTimeout = 2 * time.Minute

	// commitTimeout is how long a registry may take to say that it has a blob
	// once all its bytes are there. Some copy it within their storage then.
	commitTimeout = 20 * time.Minute
)

// Options of a Client.
type Options struct {
	// Host of the registry, with a port where it needs one.
	Host string

	// PlainHTTP speaks to the registry without TLS.
	PlainHTTP bool

	// DockerConfig is the content of a config.json, as in a Secret of type
	// kubernetes.io/dockerconfigjson. Of its entries the most specific one for
	// Host and Repository is used, and nothing else of it. Nil is anonymous.
	DockerConfig []byte

	// Credential returns the credential as it is now, for one that changes while the
	// client is in use. It is called for each request, and must be quick and safe for
	// concurrent use. A client that retries waits a few minutes for another one if the
	// registry refuses one that it accepted before. Nil for that of DockerConfig, which
	// is ignored otherwise.
	Credential func(ctx context.Context) (Credential, error)

	// Repository that the client is for, with whose name an entry may go on.
	// Empty takes those for Host only.
	Repository string

	// Pushes asks for tokens for Repository that allow to push from the first
	// read on: some registries show nothing of a repository that is not there yet
	// to who may only pull.
	Pushes bool

	// CAFile is a PEM file of certificate authorities to trust beside the
	// system's; empty for none.
	CAFile string

	// CA has more such authorities, in PEM form.
	CA []byte

	// CertificateFile and KeyFile are the PEM files of a client certificate and
	// its key; both empty for none.
	CertificateFile, KeyFile string

	// Certificate and Key are such a pair, in PEM form, that is used before one
	// in files.
	Certificate, Key []byte

	// UserAgent that the client names itself by.
	UserAgent string

	// SingleTry retries no request, for a caller that must not wait and retries
	// itself.
	SingleTry bool

	// Confined has the registry be at public addresses, for a program that is not in the
	// network of who names it.
	Confined bool

	// Hosts limit the requests to the registry, and to hosts that it redirects to, of
	// all clients that share them: their time, their number, and by a circuit breaker
	// once a host does not answer; nil for no limits.
	Hosts *connection.Hosts

	// Retry is how requests that move no blob are retried; retry.Run if zero.
	Retry retry.Policy

	// Throttle that the client shares with others of the same run, so that all
	// wait while a registry asks one of them to; nil for one of its own.
	Throttle *connection.Throttle

	// Memory that the client shares with others; nil for none.
	Memory *Memory

	// Cures that messages name; the zero value is for a ProviderConfig's user.
	Cures Cures

	// Observe is called after each operation with the name of the Client's method
	// and its error, for metrics. Reading what an operation returned, uploads and
	// mounts are not operations. Nil for no observer.
	Observe func(operation string, err error)
}

// A Client speaks to one registry. It is safe for concurrent use. Close it when
// it is not needed any more.
type Client struct {
	host        string
	plainHTTP   bool
	credentials *credentials
	pushes      string // The repository that tokens must allow to push to; empty for none.
	cures       Cures
	observer    func(operation string, err error)
	transport   *ownTransport
	auth        *auth.Client
	singleTry   bool // No request is retried.
	retries     retry.Policy
	throttle    *connection.Throttle // Nil if the client does not retry.
	stall       time.Duration
	commit      time.Duration

	uploadTime time.Duration // How long the registry lets an upload take; 0 where that is not known.
}

// New returns a client. It takes a proxy from the environment. Nothing is
// asked of the registry yet.
func New(o Options) (*Client, error) {
	if err := (oras.Reference{Registry: o.Host}).ValidateRegistry(); err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "%q is not a registry's host: write host or host:port", o.Host)
	}
	if o.Cures == (Cures{}) {
		o.Cures = providerCures
	}
	pool, err := roots(o)
	if err != nil {
		return nil, err
	}
	pairs, err := clientCertificates(o)
	if err != nil {
		return nil, err
	}
	guard := connection.NewGuard(oras.Reference{Registry: o.Host}.Host())
	if o.Confined {
		guard.Confine(false)
	}
	transport := newOwnTransport(oras.Reference{Registry: o.Host}.Host(), guard, pool, pairs)
	var throttle *connection.Throttle
	if !o.SingleTry {
		if o.Retry.Tries == 0 {
			o.Retry = retry.Default()
		}
		throttle = cmp.Or(o.Throttle, &connection.Throttle{Sleep: o.Retry.Sleep})
	}
	own, err := newCredentials(o)
	if err != nil {
		return nil, err
	}
	c := &Client{
		host:        o.Host,
		plainHTTP:   o.PlainHTTP,
		credentials: own,
		cures:       o.Cures,
		observer:    o.Observe,
		transport:   transport,
		singleTry:   o.SingleTry,
		retries:     o.Retry,
		throttle:    throttle,
		stall:       stallTimeout,
		commit:      commitTimeout,
		auth: &auth.Client{
			Client:     &http.Client{Transport: trying(watched(o, own, transport), o, throttle)},
			Credential: own.forHost,
			Cache:      newCache(o.Memory, own),
			// The transport's Guard checks all hosts when they are dialed.
			BlockedRealmPrefixes: []netip.Prefix{},
		},
	}
	c.uploadTime = UploadTime(o.Host)
	if o.Pushes {
		c.pushes = o.Repository
	}
	if o.UserAgent != "" {
		c.auth.SetUserAgent(o.UserAgent)
	}
	return c, nil
}

// Close closes connections that no request uses. A client that is thrown away
// without it keeps them open until they were idle for a while.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// observe tells the observer of an operation that ends with an error, or with nil.
func (c *Client) observe(operation string, err *error) {
	if c.observer != nil {
		c.observer(operation, *err)
	}
}

func roots(o Options) (*x509.CertPool, error) {
	pool, err := connection.Roots(o.CA, o.CAFile)
	if errors.Is(err, connection.ErrNoCertificate) {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the registry's ca.crt holds no certificate in PEM form: %s", o.Cures.NoAuthority)
	}
	return pool, errors.Wrap(err, "cannot read the registry's certificate authorities")
}

// clientCertificates returns the certificate that the client shows, if any.
func clientCertificates(o Options) ([]tls.Certificate, error) {
	certificate, err := orFile(o.Certificate, o.CertificateFile)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the registry's client certificate")
	}
	key, err := orFile(o.Key, o.KeyFile)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the key of the registry's client certificate")
	}
	if len(certificate) == 0 && len(key) == 0 {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the registry's tls.crt and tls.key are not a certificate and its key in PEM form: %s", o.Cures.NoAuthority).Because(err)
	}
	return []tls.Certificate{pair}, nil
}

// Origin returns what Options.Hosts know a registry by: its scheme and host.
func Origin(host string, plainHTTP bool) string {
	scheme := "https"
	if plainHTTP {
		scheme = "http"
	}
	return scheme + "://" + strings.ToLower(oras.Reference{Registry: host}.Host())
}

// watched returns a transport that the Hosts watch over, if there are any.
func watched(o Options, of *credentials, next http.RoundTripper) http.RoundTripper {
	if o.Hosts == nil {
		return next
	}
	c := of.last
	account := sha256.Sum256([]byte(strings.Join([]string{c.Username, c.Password, c.IdentityToken, c.RegistryToken}, "\x00")))
	return o.Hosts.Transport(Origin(o.Host, o.PlainHTTP), string(account[:]), next)
}

// orFile returns the content, or a file's where there is none.
func orFile(content []byte, file string) ([]byte, error) {
	if len(content) > 0 || file == "" {
		return content, nil
	}
	return os.ReadFile(file)
}

// trying returns a transport that notes how long the registry asks to wait, and
// retries what moves no blob where that is wanted.
func trying(next http.RoundTripper, o Options, throttle *connection.Throttle) http.RoundTripper {
	next = waitNoter{next: connection.Draining(next), host: o.Host, throttle: throttle}
	if o.SingleTry {
		return next
	}
	return &retryTransport{next: next, host: o.Host, retries: o.Retry, throttle: throttle}
}

// repository returns a client for one repository.
func (c *Client) repository(name string) (*remote.Repository, error) {
	ref := oras.Reference{Registry: c.host, Repository: name}
	if err := ref.ValidateRepository(); err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "%q is not a repository's name: write it in lower case, as in models/qwen3", name)
	}
	return &remote.Repository{
		Reference: ref, Client: c.client(name), PlainHTTP: c.plainHTTP, MaxMetadataBytes: decode.MaxBytes,
		TagListMaxPages: maxPages, ReferrerListMaxPages: maxPages,
		// Who pushes need not be allowed to delete.
		SkipReferrersGC: true,
	}, nil
}

// client returns what makes requests for one repository.
func (c *Client) client(name string) remote.Client {
	scoped := challenged{Client: c.auth, credentials: c.credentials, name: name}
	if c.pushes == name {
		scoped.pushes = name
	}
	return lenient{next: scoped, host: c.host, name: name, listed: new(int)}
}

// resolvable returns a repository's client for a reference: a tag or a digest.
func (c *Client) resolvable(name, reference string) (*remote.Repository, error) {
	repo, err := c.repository(name)
	if err != nil {
		return nil, err
	}
	ref := oras.Reference{Registry: c.host, Repository: name, Reference: reference}
	if err := ref.ValidateReference(); err != nil || reference == "" || strings.ContainsAny(reference, "/@") {
		return nil, outcome.Errorf(outcome.Unsupported, "%q is neither a tag nor a digest", reference)
	}
	return repo, nil
}
