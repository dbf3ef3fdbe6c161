package registry

import (
	"context"
	"net/http"
	"net/url"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Mount has a repository take a blob from another one of the same registry,
// without its bytes being moved (distribution-spec 1.1, "Mounting a blob from
// another repository"), and reports whether it did. That the other one has no such
// blob, that the account may not read it, or that the registry cannot, is no
// error.
func (c *Client) Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error) {
	for _, name := range []string{repository, from} {
		if _, err := c.repository(name); err != nil {
			return false, err
		}
	}
	if err := d.Digest.Validate(); err != nil {
		return false, outcome.Errorf(outcome.Unsupported, "%q is not a digest", d.Digest)
	}
	s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
	ctx = auth.AppendRepositoryScope(noteWaits(ctx), s.ref, auth.ActionPull, auth.ActionPush)
	both := auth.AppendRepositoryScope(ctx, oras.Reference{Registry: c.host, Repository: from}, auth.ActionPull)
	query := url.Values{"mount": {d.Digest.String()}, "from": {from}}
	rsp, err := s.ask(both, askTimeout, http.MethodPost, s.endpoint()+"?"+query.Encode(), func(status int) bool { //nolint:bodyclose // It is closed already.
		return status == http.StatusCreated || status == http.StatusAccepted
	})
	switch {
	case err != nil && refusal(err):
		return false, nil
	case err != nil:
		return false, err
	case rsp.StatusCode == http.StatusCreated:
		return true, nil
	}
	begun := &session{}
	if s.follow(ctx, begun, rsp) == nil {
		s.cancel(ctx, begun)
	}
	return false, nil
}

// refusal reports whether a registry, or who gives out its tokens, has heard a
// request and will not do it.
func refusal(err error) bool {
	var rsp *errcode.ErrorResponse
	return errors.As(err, &rsp) && rsp.StatusCode/100 == 4 && !outcome.ReasonOf(err).Transient()
}
