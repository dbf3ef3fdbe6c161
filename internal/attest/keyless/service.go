package keyless

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxAnswerBytes bounds the answer of a service. A log's entry, which repeats the
// certificate, has a few KiB.
const maxAnswerBytes = 1 << 20

// A service is a transport to one service of a Sigstore. It follows no redirect, bounds
// what it reads, and returns what is not a success as an outcome.Error.
type service struct {
	ctx                  context.Context //nolint:containedctx // sigstore-go's requests have none.
	name, field, address string
	next                 *http.Transport
	asked                bool
}

func newService(ctx context.Context, name, field, address string, pool *x509.CertPool) *service {
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	return &service{ctx: ctx, name: name, field: field, address: address, next: connection.NewTransport(pool, connection.NewGuard(host))}
}

// RoundTrip implements http.RoundTripper.
func (s *service) RoundTrip(req *http.Request) (*http.Response, error) {
	s.asked = true
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	rsp, err := s.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, s.unreachable(err)
	}
	b, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswerBytes+1))
	_ = rsp.Body.Close()
	switch {
	case err != nil:
		return nil, s.unreachable(err)
	case len(b) > maxAnswerBytes:
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s at %s answers with more than %d bytes: correct spec.attestation.keyless.%s", s.name, s.address, maxAnswerBytes, s.field)
	case rsp.StatusCode/100 != 2:
		return nil, s.refused(rsp)
	}
	rsp.Body, rsp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return rsp, nil
}

// unreachable returns the error of a request without an answer.
func (s *service) unreachable(err error) error {
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) {
		err = http.ErrSchemeMismatch // As http.Client would have it.
	}
	reason, cure := outcome.Unavailable, "this may be transient and is retried; check spec.attestation.keyless."+s.field+" and the network"
	switch connection.CauseOf(err) {
	case connection.None, connection.Blocked:
	case connection.NoTLS:
		reason, cure = outcome.Untrusted, "have it speak TLS, or write http:// into spec.attestation.keyless."+s.field+", with plainHTTP: true"
	default:
		reason, cure = outcome.Untrusted, "write the authority of its certificate into spec.attestation.keyless.caBundle"
	}
	return outcome.Errorf(reason, "cannot reach %s at %s to sign: %s; %s", s.name, s.address, connection.Explain(err), cure).Because(err)
}

// refused returns the error of an answer that is no success.
func (s *service) refused(rsp *http.Response) error {
	after, _ := connection.RetryAfter(rsp.Header.Get("Retry-After"), time.Now())
	switch status := rsp.StatusCode; {
	case status == http.StatusTooManyRequests:
		return outcome.Errorf(outcome.RateLimited, "%s at %s limits the rate of requests; this is transient and is retried", s.name, s.address).After(after)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return outcome.Errorf(outcome.Unavailable, "%s at %s failed to sign (status %d); this may be transient and is retried", s.name, s.address, status).After(after)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status/100 == 3:
		return outcome.Errorf(outcome.ConfigInvalid, "what answers at %s is not %s (status %d): correct spec.attestation.keyless.%s", s.address, s.name, status, s.field)
	case s.field == "fulcioURL":
		return outcome.Errorf(outcome.Unauthorized,
			"Fulcio at %s refuses the provider's token (status %d): check that Fulcio trusts this cluster's issuer, that the token has the audience that Fulcio expects (sigstore by default), and that it has not expired", s.address, status)
	default:
		return outcome.Errorf(outcome.Refused, "%s at %s refuses what was signed (status %d): ask its administrator for the version and the kinds of entries that it takes", s.name, s.address, status)
	}
}
