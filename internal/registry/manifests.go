package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Resolve returns the descriptor of the manifest that a tag or digest
// names. If there is none, it returns an error that IsNotFound reports.
func (c *Client) Resolve(ctx context.Context, repository, reference string) (_ ocispec.Descriptor, err error) {
	defer c.observe("Resolve", &err)
	repo, err := c.resolvable(repository, reference)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	d, err := repo.Manifests().Resolve(ctx, reference)
	if err != nil {
		return ocispec.Descriptor{}, c.failed(ctx, err, operation{"read", at(repository, reference)})
	}
	return d, nil
}

// Manifest returns the manifest that a tag or digest names, with its
// descriptor, whose digest it has verified. It refuses one larger
// than decode.MaxBytes.
func (c *Client) Manifest(ctx context.Context, repository, reference string) (_ ocispec.Descriptor, _ []byte, err error) {
	defer c.observe("Manifest", &err)
	repo, err := c.resolvable(repository, reference)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	read := operation{"read", at(repository, reference)}
	d, rc, err := repo.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return ocispec.Descriptor{}, nil, c.failed(ctx, err, read)
	}
	defer rc.Close()
	b, err := content.ReadAll(rc, d)
	if errors.Is(err, content.ErrMismatchedDigest) {
		return ocispec.Descriptor{}, nil, outcome.Errorf(outcome.Mismatch, "registry %s sent another manifest than %s", c.host, read.object).Because(err)
	}
	if err != nil {
		return ocispec.Descriptor{}, nil, c.failed(ctx, err, read)
	}
	return d, b, nil
}

// PushManifest pushes a manifest under a tag. All that it refers to must be in
// the repository.
func (c *Client) PushManifest(ctx context.Context, repository string, d ocispec.Descriptor, manifest []byte, tag string) (err error) {
	defer c.observe("PushManifest", &err)
	repo, err := c.resolvable(repository, tag)
	if err != nil {
		return err
	}
	ctx, cancel := c.askWithin(noteWaits(ctx), manifestTimeout(manifest))
	defer cancel()
	if err := repo.Manifests().PushReference(ctx, d, bytes.NewReader(manifest), tag); err != nil {
		return c.failed(ctx, err, operation{"push to", at(repository, tag)})
	}
	return nil
}

const (
	// layerTimeout is how much longer a registry may take to accept a manifest
	// for each blob that it refers to: registries look for each of them, one
	// after the other, in storages where that takes a tenth of a second.
	layerTimeout = 250 * time.Millisecond

	// longestManifest bounds that.
	longestManifest = 30 * time.Minute
)

// manifestTimeout returns how long the push of a manifest may take.
func manifestTimeout(manifest []byte) time.Duration {
	blobs := time.Duration(bytes.Count(manifest, []byte(`"digest"`)))
	return min(askTimeout+blobs*layerTimeout, longestManifest)
}

// Untag removes a tag, and leaves what it stood for. A tag that is not there is
// success. IsUnsupported tells of its error whether the registry cannot do it:
// the specification leaves that to the registry (distribution-spec 1.1,
// "Deleting tags").
func (c *Client) Untag(ctx context.Context, repository, tag string) (err error) {
	defer c.observe("Untag", &err)
	if _, err := c.resolvable(repository, tag); err != nil {
		return err
	}
	ref := oras.Reference{Registry: c.host, Repository: repository, Reference: tag}
	if err := ref.ValidateReferenceAsTag(); err != nil {
		return outcome.Errorf(outcome.Unsupported, "%q is not a tag", tag)
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	untag := operation{"delete tag", at(repository, tag)}
	u := fmt.Sprintf("%s://%s/v2/%s/manifests/%s", c.scheme(), ref.Host(), repository, tag)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, u, nil)
	if err != nil {
		return c.failed(ctx, err, untag)
	}
	rsp, err := c.client(repository).Do(req)
	if err != nil {
		return c.failed(ctx, err, untag)
	}
	defer rsp.Body.Close()
	switch rsp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent, http.StatusNotFound:
		return nil
	case http.StatusBadRequest:
		// What registries say that delete by digest only.
		return outcome.Errorf(outcome.Unsupported, "registry %s cannot delete a tag", c.host).Because(responseError(rsp))
	}
	return c.failed(ctx, responseError(rsp), untag)
}

func (c *Client) scheme() string {
	if c.plainHTTP {
		return "http"
	}
	return "https"
}

// at joins a repository and a tag or digest.
func at(repository, reference string) string {
	if bytes.ContainsRune([]byte(reference), ':') {
		return repository + "@" + reference
	}
	return repository + ":" + reference
}

// maxRefusal is how much of a refusal is read.
const maxRefusal = 8 << 10

// responseError reads an error answer as oras-go does.
func responseError(rsp *http.Response) *errcode.ErrorResponse {
	out := &errcode.ErrorResponse{Method: rsp.Request.Method, URL: rsp.Request.URL, StatusCode: rsp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(rsp.Body, maxRefusal)).Decode(&body) == nil {
		out.Errors = body.Errors
	}
	return out
}
