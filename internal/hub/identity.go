package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// exchangePath is where a Hub exchanges tokens
	// (https://huggingface.co/docs/hub/trusted-publishers).
	exchangePath = "/oauth/token"

	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
	tokenTypeOfOID = "urn:ietf:params:oauth:token-type:id_token" //nolint:gosec // The name of a type (RFC 8693, section 3).

	// exchangeTimeout bounds one exchange.
	exchangeTimeout = 30 * time.Second

	// exchangeReserve is how long before its end a token is exchanged anew, as the Hub's
	// own client does, or at half of its life if that is later.
	exchangeReserve = 5 * time.Minute

	// exchangeAgain is how soon an exchange is tried again that failed while the earlier
	// token still lives.
	exchangeAgain = 30 * time.Second

	// longestToken bounds how long a token is used, whatever the Hub says.
	longestToken = 24 * time.Hour

	// maxTokenBytes bounds a token.
	maxTokenBytes = 16 << 10
)

// An Identity is who a workload is by a token of its OIDC issuer, such as that of a
// Kubernetes service account, which a Hub exchanges for a token of its own.
type Identity struct {
	// Resource that the token is for: the name of a user, whose account reads gated
	// models, or a repository.
	Resource string

	// Subject returns the issuer's token as it is now.
	Subject func() (string, error)

	// Issued is called with each token that the Hub issues, before it is used, so that
	// no log shows it; nil for none.
	Issued func(token string)
}

// Audience returns the audience that an issuer's token must have for the Hub at an
// endpoint: its URL.
func Audience(endpoint string) string {
	return strings.TrimRight(cmp.Or(connection.Trimmed(endpoint), DefaultEndpoint), "/")
}

// TokenFrom returns a TokenFunc of the tokens that the Hub of these options issues to the
// identity. It exchanges at the first call, and again before a token ends. Where that
// fails while the earlier token lives, the earlier one is returned.
func (i Identity) TokenFrom(o Options) (TokenFunc, error) {
	e, err := i.exchange(o)
	if err != nil {
		return nil, err
	}
	return e.token, nil
}

// exchange returns what gets tokens of the Hub of these options.
func (i Identity) exchange(o Options) (*exchange, error) {
	base, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	pool, err := connection.Roots(o.CA, o.CAFile)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the Hub's certificate authorities")
	}
	return &exchange{
		identity: i, base: base, userAgent: o.UserAgent, retries: retry.Default(), now: time.Now, busy: make(chan struct{}, 1),
		http: &http.Client{
			Timeout:   exchangeTimeout,
			Transport: connection.Draining(connection.NewTransport(pool, connection.NewGuard(base.Host))),
			// No other host gets the issuer's token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// An exchange gets tokens of a Hub.
type exchange struct {
	identity  Identity
	base      *url.URL
	http      *http.Client
	userAgent string
	retries   retry.Policy
	now       func() time.Time

	busy    chan struct{} // Has a value while one caller has what is below.
	current string
	renewAt time.Time // When to exchange anew.
	endsAt  time.Time
}

// token implements TokenFunc.
func (e *exchange) token(ctx context.Context) (string, error) {
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if e.current != "" && e.now().Before(e.renewAt) {
		return e.current, nil
	}
	asked := e.now()
	token, life, err := e.renew(ctx)
	switch {
	case err != nil && e.current != "" && e.now().Before(e.endsAt):
		e.renewAt = e.now().Add(exchangeAgain)
		return e.current, nil
	case err != nil:
		return "", err
	}
	e.current, e.endsAt = token, asked.Add(life)
	e.renewAt = asked.Add(max(life-exchangeReserve, life/2))
	return token, nil
}

// renew exchanges the issuer's token. While the earlier one still lives, it tries once.
func (e *exchange) renew(ctx context.Context) (token string, life time.Duration, err error) {
	retries := e.retries
	if e.current != "" && e.now().Before(e.endsAt) {
		retries.Tries = 1
	}
	err = retries.Do(ctx, "the exchange of the run's identity at the Hub", func() error {
		token, life, err = e.ask(ctx)
		return err
	})
	return token, life, err
}

// ask exchanges the issuer's token, once.
func (e *exchange) ask(ctx context.Context) (string, time.Duration, error) {
	subject, err := e.identity.Subject()
	if err != nil {
		return "", 0, err
	}
	// Strings can always be encoded.
	body, _ := json.Marshal(map[string]string{ //nolint:errchkjson // See above.
		"grant_type": grantExchange, "subject_token_type": tokenTypeOfOID, "subject_token": subject, "resource": e.identity.Resource,
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base.String()+exchangePath, bytes.NewReader(body))
	if err != nil {
		return "", 0, outcome.Errorf(outcome.Internal, "cannot make a request for a token of the Hub at %s", e.base.Host).Because(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if e.userAgent != "" {
		req.Header.Set("User-Agent", e.userAgent)
	}
	rsp, err := e.http.Do(req)
	if err != nil {
		return "", 0, (&Client{base: e.base}).unreachable(ctx, err)
	}
	defer func() { _ = rsp.Body.Close() }()
	if rsp.StatusCode != http.StatusOK {
		return "", 0, e.refused(rsp)
	}
	return e.issued(rsp)
}

// issued returns the token that an answer holds, and how long it lives.
func (e *exchange) issued(rsp *http.Response) (string, time.Duration, error) {
	var answer struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	b, err := io.ReadAll(io.LimitReader(rsp.Body, 2*maxTokenBytes+1))
	switch {
	case err != nil:
		return "", 0, outcome.Errorf(outcome.Unavailable, "the answer of the Hub at %s to the exchange of the run's identity broke off; this may be transient", e.base.Host).Because(err)
	case len(b) > 2*maxTokenBytes, decode.JSON(b, &answer) != nil, answer.AccessToken == "", len(answer.AccessToken) > maxTokenBytes,
		!connection.InHeader(answer.AccessToken), answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"),
		answer.ExpiresIn <= 0:
		return "", 0, outcome.Errorf(outcome.Unsupported,
			"what answers at %s%s issues no token that can be used: check huggingFace.endpoint, or name a Secret with a token in tokenSecretRef in place of huggingFace.identity", e.base, exchangePath)
	}
	if e.identity.Issued != nil {
		e.identity.Issued(answer.AccessToken)
	}
	return answer.AccessToken, time.Duration(min(answer.ExpiresIn, longestToken.Seconds()) * float64(time.Second)), nil
}

// requestID matches what the Hub calls a request, for its support.
var requestID = regexp.MustCompile(`^[A-Za-z0-9=_.;-]{1,128}$`)

// refused returns the error of an exchange that the Hub refuses. Its answer does not say
// which of several things is wrong.
func (e *exchange) refused(rsp *http.Response) error {
	id := rsp.Header.Get("X-Request-Id")
	if id = " (request " + id + ")"; !requestID.MatchString(rsp.Header.Get("X-Request-Id")) {
		id = ""
	}
	after, _ := connection.RetryAfter(rsp.Header.Get("Retry-After"), e.now())
	switch status := rsp.StatusCode; {
	case status == http.StatusTooManyRequests:
		return outcome.Errorf(outcome.RateLimited, "the Hub at %s limits the rate of requests; this is transient and is retried", e.base.Host).After(after)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return outcome.Errorf(outcome.Unavailable, "the Hub at %s failed to exchange the run's identity (status %d)%s; this may be transient", e.base.Host, status, id).After(after)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status/100 == 3:
		return outcome.Errorf(outcome.Unsupported,
			"the Hub at %s does not exchange identities (status %d): check huggingFace.endpoint, or name a Secret with a token in tokenSecretRef in place of huggingFace.identity", e.base.Host, status)
	}
	return outcome.Errorf(outcome.Unauthorized,
		"the Hub at %s refuses the run's identity for %q (status %d)%s: check that huggingFace.identity.resource has a publisher with this cluster's issuer, the audience %s and the subject of the run's service account, and that the issuer's keys can be read from the internet",
		e.base.Host, outcome.Shorten(e.identity.Resource), rsp.StatusCode, id, Audience(e.base.String()))
}
