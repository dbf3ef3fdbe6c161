package http

import (
	"context"
	"net/http"
	"net/url"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// size returns the size that a server tells of a file, or the one that the item has if it
// tells none. Another one than the item has is an error.
func (f *Folder) size(ctx context.Context, i pipeline.HTTPItem) (int64, error) {
	u, size := f.urls[i.Path], int64(-1)
	err := f.retries.Do(ctx, u.String(), func() error {
		var err error
		if size, err = f.told(ctx, http.MethodHead, u); err == nil && size >= 0 {
			return nil
		}
		if err != nil && outcome.ReasonOf(err).Transient() {
			return err
		}
		// A server may not answer HEAD, or may answer it without a size.
		size, err = f.told(ctx, http.MethodGet, u)
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case size < 0 && i.Size == nil:
		return 0, outcome.Errorf(outcome.Unsupported, "%s tells no size of %s: write it into %s.items.size", u.Host, u, field)
	case size < 0:
		return *i.Size, nil
	case i.Size != nil && *i.Size != size:
		return 0, outcome.Errorf(outcome.Mismatch, "%s has %d bytes, and not the %d of %s.items.size: correct url, size and sha256", u, size, *i.Size, field)
	}
	return size, nil
}

// told returns the size by the header of an answer, or -1 if it has none. The error is an
// outcome.Error.
func (f *Folder) told(ctx context.Context, method string, u *url.URL) (int64, error) {
	// Closing the body of a GET is not enough to end it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := f.client.Request(ctx, method, u)
	if err != nil {
		return -1, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	rsp, err := f.client.HTTP.Do(req)
	if err != nil {
		return -1, f.client.Unreachable(ctx, err)
	}
	defer func() { _ = rsp.Body.Close() }()
	switch {
	case rsp.StatusCode != http.StatusOK:
		return -1, f.refused(rsp, u)
	case rsp.Header.Get("Content-Encoding") != "":
		return -1, outcome.Errorf(outcome.Unsupported, "%s sends %s encoded, where the bytes as they are were asked for: have it send the file itself, or write another url into %s.items", u.Host, u, field)
	}
	return rsp.ContentLength, nil
}

// refused returns the error of an answer that is not a success.
func (f *Folder) refused(rsp *http.Response, u *url.URL) error {
	if err := f.client.Failed(rsp.StatusCode, rsp.Header, u.String()); err != nil {
		return err
	}
	switch status := rsp.StatusCode; {
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && f.signs:
		return outcome.Errorf(outcome.Unauthorized, "%s refused the credentials for %s (status %d): put valid ones that may read it into the Secret that %s.credentialsSecretRef names", u.Host, u, status, field)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return outcome.Errorf(outcome.Unauthorized, "%s does not let everybody read %s (status %d): name a Secret with credentials in %s.credentialsSecretRef", u.Host, u, status, field)
	case status == http.StatusNotFound, status == http.StatusGone:
		return outcome.Errorf(outcome.NotFound, "%s has no file %s: correct %s.items.url", u.Host, u, field)
	}
	return f.client.Unexpected(rsp.StatusCode, u.String())
}
