package registry

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// IsNotFound reports whether err means that the registry has no such thing.
func IsNotFound(err error) bool { return is(err, outcome.NotFound) }

// IsUnauthorized reports whether err means that the registry wants other
// credentials, or more permissions.
func IsUnauthorized(err error) bool { return is(err, outcome.Unauthorized) }

// IsUnsupported reports whether err means that the registry cannot do what was
// asked, as some cannot delete.
func IsUnsupported(err error) bool { return is(err, outcome.Unsupported) }

func is(err error, r outcome.Reason) bool {
	var e *outcome.Error
	return errors.As(err, &e) && e.Reason == r
}

// An operation is what a request is for, in its error's message.
type operation struct {
	verb   string // For example: push to.
	object string // For example: models/qwen3.
}

func (d operation) String() string { return d.verb + " " + d.object }

var errStalled = errors.New("the registry stalled")

// failed returns the error of a request, classified.
func (c *Client) failed(ctx context.Context, err error, d operation) error {
	var (
		known    *outcome.Error
		response *errcode.ErrorResponse
		resting  *connection.UnavailableError
	)
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(context.Cause(ctx), errStalled), errors.Is(err, errStalled):
		return outcome.Errorf(outcome.Unavailable, "registry %s stalled when asked to %s; this may be transient", c.host, d).Because(err)
	case ctx.Err() != nil:
		return errors.Wrapf(ctx.Err(), "cannot %s at registry %s", d, c.host)
	case errors.As(err, &resting):
		return resting.Failure()
	case errors.As(err, &response):
		return c.refused(ctx, response, d)
	case errors.Is(err, errdef.ErrNotFound):
		return outcome.Errorf(outcome.NotFound, "registry %s has no %s", c.host, d.object).Because(err)
	case errors.Is(err, auth.ErrBasicCredentialNotFound), wantsCredentials(err):
		return c.unauthorized(http.StatusUnauthorized, d).Because(err)
	}
	if why := connection.CauseOf(err); why != connection.None {
		return outcome.Errorf(outcome.Untrusted, "cannot reach registry %s: %s: %s", c.host, connection.Explain(err), c.cures.of(why)).Because(err)
	}
	if outcome.IsNetwork(err) || strings.HasSuffix(err.Error(), "EOF") {
		return outcome.Errorf(outcome.Unavailable, "cannot %s at registry %s: %s; this may be transient", d, c.host, connection.Symptom(err)).Because(err)
	}
	if strings.Contains(err.Error(), "digest mismatch") {
		return outcome.Errorf(outcome.Mismatch, "registry %s answered with another digest than what it was asked to %s has", c.host, d).Because(err)
	}
	return outcome.Errorf(outcome.Unsupported,
		"cannot %s at registry %s: its answer%s is none of the OCI distribution specification: %s, or ask who runs it, or a proxy before it",
		d, c.host, oddPart(err), cmp.Or(c.cures.Host, "correct its host")).Because(err)
}

// wantsCredentials recognizes errors of oras-go that have no type: a credential
// of another kind than requested, and a challenge to a request whose body cannot
// be sent again.
func wantsCredentials(err error) bool {
	return strings.Contains(err.Error(), "missing username or password") || strings.Contains(err.Error(), "not rewindable")
}

// refused returns the error of an answer other than a success.
func (c *Client) refused(ctx context.Context, rsp *errcode.ErrorResponse, d operation) error {
	status := rsp.StatusCode
	switch {
	case full(rsp):
		return outcome.Errorf(outcome.NoSpace,
			"registry %s has no room to %s, or a proxy before it allows no blob this large: raise the quota or the limit, or free space", c.host, d).Because(rsp)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return c.unauthorized(status, d).Because(rsp)
	case has(rsp, errcode.ErrorCodeBlobUploadUnknown):
		return outcome.Errorf(outcome.Unavailable, "registry %s forgot an upload that was under way; this may be transient", c.host).Because(rsp)
	case has(rsp, errcode.ErrorCodeManifestBlobUnknown):
		return outcome.Errorf(outcome.Unavailable,
			"registry %s has lost a blob that was just pushed, as where its garbage collector does not wait for a push to end; this may be transient", c.host).Because(rsp)
	case status == http.StatusNotFound:
		return outcome.Errorf(outcome.NotFound,
			"registry %s found nothing to %s: some registries want the repository to be created first", c.host, d).Because(rsp)
	case status == http.StatusTooManyRequests:
		return outcome.Errorf(outcome.RateLimited, "registry %s limits the rate of requests; this is transient and is retried", c.host).
			After(notedWait(ctx)).Because(rsp)
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented, has(rsp, errcode.ErrorCodeUnsupported):
		return outcome.Errorf(outcome.Unsupported, "registry %s cannot %s", c.host, d).Because(rsp)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return outcome.Errorf(outcome.Unavailable, "registry %s failed to %s (status %d); this may be transient", c.host, d, status).
			After(notedWait(ctx)).Because(rsp)
	}
	return c.refusedContent(rsp, d)
}

// refusedContent returns the error of a refusal that is about what was sent.
func (c *Client) refusedContent(rsp *errcode.ErrorResponse, d operation) error {
	status, manifest := rsp.StatusCode, rsp.Method == http.MethodPut && strings.Contains(rsp.URL.Path, "/manifests/")
	switch {
	case rsp.Method != http.MethodDelete && (has(rsp, errcode.ErrorCodeDigestInvalid) || has(rsp, errcode.ErrorCodeSizeInvalid)):
		return outcome.Errorf(outcome.Mismatch, "registry %s got other bytes than were announced when asked to %s", c.host, d).Because(rsp)
	case manifest && (status == http.StatusConflict || status == http.StatusPreconditionFailed):
		// Quay and Harbor, of tags that are immutable.
		return outcome.Errorf(outcome.Unsupported, "registry %s does not let the tag be moved: make it mutable there, or write another in spec.forProvider.target.tag", c.host).Because(rsp)
	case manifest:
		// GitLab and others, of media types that they do not know.
		return outcome.Errorf(outcome.Unsupported,
			"registry %s does not take the artifact's manifest (status %d%s): have it allow the media types of models, or choose a spec.forProvider.format that it takes, such as Image",
			c.host, status, codes(rsp)).Because(rsp)
	}
	return outcome.Errorf(outcome.Unsupported,
		"registry %s refused to %s (status %d%s): it cannot, or a proxy before it does not let it; ask who runs it", c.host, d, status, codes(rsp)).Because(rsp)
}

func (c *Client) unauthorized(status int, d operation) *outcome.Error {
	switch {
	case c.credentials.account() == anonymous:
		return outcome.Errorf(outcome.Unauthorized,
			"registry %s wants credentials to %s: %s", c.host, d, c.cures.NoCredentials)
	case c.credentials.account() == otherRegistry:
		return outcome.Errorf(outcome.Unauthorized,
			"registry %s wants credentials to %s, and the credentials Secret has no entry for %s: add one to it", c.host, d, c.host)
	case status == http.StatusForbidden:
		return outcome.Errorf(outcome.Unauthorized,
			"the account at registry %s has no permission to %s: grant it, or %s", c.host, d, c.cures.Credentials)
	}
	return outcome.Errorf(outcome.Unauthorized,
		"registry %s refused the credentials, or they have no permission to %s: %s", c.host, d, c.cures.Credentials)
}

// diskPhrases are what registries say of a disk without space, whatever the
// status: distribution has a code for no such thing.
var diskPhrases = []string{"no space left on device", "disk quota exceeded"}

// quotaPhrases are what registries say of a quota or a limit, in answers that
// blame the request: Harbor ("will exceed the configured upper limit"), Quay
// ("quota has been exceeded on namespace"), Nexus and Artifactory, and others. A
// word alone, such as exceeded, is in what is said of timeouts and rates as well.
var quotaPhrases = []string{
	"will exceed the configured upper limit", "quota has been exceeded", "storage quota", "quota exceeded for storage", "storage limit",
	"insufficient storage", "blob too large", "blob is too large", "layer is too large", "layer too large", "exceeds the maximum layer size",
	"exceeds the maximum size", "toobig", "too big",
}

// full reports whether an answer says that there is no space: by its status,
// else by its codes, which rule it out, and only then by phrases that stand for
// nothing else.
func full(rsp *errcode.ErrorResponse) bool {
	switch status := rsp.StatusCode; {
	case status == http.StatusRequestEntityTooLarge, status == http.StatusInsufficientStorage:
		return true
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, has(rsp, "TOOMANYREQUESTS"), has(rsp, "UNAVAILABLE"):
		return false
	case status >= http.StatusInternalServerError:
		return contains(rsp, diskPhrases)
	}
	return contains(rsp, diskPhrases) || contains(rsp, quotaPhrases)
}

// SaysFull reports whether a text holds what registries say of a quota or of a
// disk without space.
func SaysFull(text string) bool {
	text = strings.ToLower(text)
	holds := func(phrase string) bool { return strings.Contains(text, phrase) }
	return slices.ContainsFunc(diskPhrases, holds) || slices.ContainsFunc(quotaPhrases, holds)
}

// contains reports whether one of an answer's errors has one of the phrases.
func contains(rsp *errcode.ErrorResponse, phrases []string) bool {
	for _, e := range rsp.Errors {
		text := strings.ToLower(fmt.Sprint(e.Code, " ", e.Message, " ", e.Detail))
		if slices.ContainsFunc(phrases, func(phrase string) bool { return strings.Contains(text, phrase) }) {
			return true
		}
	}
	return false
}

func has(rsp *errcode.ErrorResponse, code string) bool {
	for _, e := range rsp.Errors {
		if e.Code == code {
			return true
		}
	}
	return false
}

// knownCodes are those of the specification (distribution-spec 1.1, "Error
// Codes") and of Docker's, which came before it. Any other may be what the
// server was asked with.
var knownCodes = map[string]bool{
	"BLOB_UNKNOWN": true, "BLOB_UPLOAD_INVALID": true, "BLOB_UPLOAD_UNKNOWN": true, "DENIED": true, "DIGEST_INVALID": true,
	"MANIFEST_BLOB_UNKNOWN": true, "MANIFEST_INVALID": true, "MANIFEST_UNKNOWN": true, "MANIFEST_UNVERIFIED": true,
	"NAME_INVALID": true, "NAME_UNKNOWN": true, "RANGE_INVALID": true, "SIZE_INVALID": true, "TAG_INVALID": true,
	"TOOMANYREQUESTS": true, "UNAUTHORIZED": true, "UNAVAILABLE": true, "UNKNOWN": true, "UNSUPPORTED": true,
}

// codes returns the error codes of an answer, which the specification lists,
// and not its words.
func codes(rsp *errcode.ErrorResponse) string {
	out := ""
	for _, e := range rsp.Errors[:min(len(rsp.Errors), 3)] {
		if knownCodes[e.Code] {
			out += ", " + e.Code
		}
	}
	return out
}

// answerParts are the parts of an answer, or what is wrong with it, that oras-go's
// errors name.
var answerParts = []string{"Docker-Content-Digest", "Content-Type", "Content-Length", "Content-Range", "Location", "Link", "realm", "token", "too many pages", "decode response"}

// oddPart names the part of an answer that an error is about, of which nothing
// else is known. Its text repeats what the server sent.
func oddPart(err error) string {
	for _, part := range answerParts {
		if strings.Contains(err.Error(), part) {
			return " (" + part + ")"
		}
	}
	return ""
}

// Cures tell users in messages how to correct the client's settings, in terms of
// where these come from. Each is an imperative without a full stop.
type Cures struct {
	// NoCredentials is for a registry that wants some where there are none.
	NoCredentials string

	// Credentials is for credentials that the registry refuses.
	Credentials string

	// Authority is for a certificate that no trusted authority has signed, and
	// NoAuthority for a file of authorities that holds none, or for a client
	// certificate that is none.
	Authority, NoAuthority string

	// Certificate is for a registry that wants another client certificate, or
	// one at all.
	Certificate string

	// Host is for a certificate of another host.
	Host string

	// PlainHTTP is for a registry that speaks no TLS.
	PlainHTTP string

	// Network is for a registry, or what it leads to, in a network that is not connected
	// to; empty if only the latter can be.
	Network string
}

// providerCures are in terms of a ProviderConfig.
var providerCures = Cures{ //nolint:gosec // It says where credentials are, and holds none.
	NoCredentials: "name a Secret of type kubernetes.io/dockerconfigjson in the ProviderConfig's registry.credentials",
	Credentials:   "check the ProviderConfig's credentials Secret",
	Authority:     "put that authority's ca.crt into the Secret that registry.certSecretRef names",
	NoAuthority:   "correct the Secret that registry.certSecretRef names",
	Certificate:   "put tls.crt and tls.key of one that it takes into the Secret that registry.certSecretRef names",
	Host:          "correct registry.host",
	PlainHTTP:     "set registry.plainHTTP if that is meant",
}

// ForIdentity returns the cures of a client whose account a cloud gives to an identity.
func (c Cures) ForIdentity() Cures {
	if c == (Cures{}) {
		c = providerCures
	}
	c.Credentials = "check that the identity's role or policy allows this at the registry"
	c.NoCredentials = c.Credentials
	return c
}

// of returns the cure of a permanent connection error.
func (c Cures) of(why connection.Cause) string {
	switch why {
	case connection.UnknownAuthority:
		return c.Authority
	case connection.NoCertificate:
		return cmp.Or(c.Certificate, "ask the registry's administrator")
	case connection.WrongHost:
		return c.Host
	case connection.NoTLS:
		return c.PlainHTTP
	case connection.Blocked:
		return cmp.Or(c.Network, "have its token realm, redirects and upload locations name public hosts, or hosts in a network of its own kind")
	default:
		return "renew it, or check this machine's clock"
	}
}
