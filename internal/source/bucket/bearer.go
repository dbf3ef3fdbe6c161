package bucket

import (
	"context"
	"net/http"

	"github.com/crossplane-contrib/provider-kitops/internal/identity"
)

// A Bearer authorizes requests by the tokens of an identity.
type Bearer struct {
	// Tokens returns the identity as it is now. It must be quick.
	Tokens func() (identity.Source, error)

	// Issued is called with each token before it is used, so that no log shows it; nil for
	// none.
	Issued func(token string)
}

var _ Authorizer = &Bearer{}

// Credentials implements Authorizer.
func (b *Bearer) Credentials(ctx context.Context) (string, error) {
	own, err := b.Tokens()
	if err != nil {
		return "", err
	}
	_, token, _, err := own.Token(ctx)
	if err == nil && b.Issued != nil {
		b.Issued(token)
	}
	return token, err
}

// Authorize implements Authorizer.
func (b *Bearer) Authorize(req *http.Request) error {
	token, err := b.Credentials(req.Context())
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return err
}
