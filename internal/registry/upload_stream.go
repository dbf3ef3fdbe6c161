package registry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// patch sends all bytes that a session does not have, at once. From the first
// one on it does so as go-containerregistry does, and but for the length docker
// and podman: without a word on which bytes they are, since that is what
// registries are used to. Later ones it sends as the specification has it.
func (s sessions) patch(ctx context.Context, to *session, f *feed) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, to.location.String(), nil)
	if err != nil {
		return s.failed(ctx, err, s.operation())
	}
	if f.offset > 0 || f.last() < f.size {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", f.offset, f.last()-1))
	}
	rsp, err := s.stream(req, to, f, succeeded) //nolint:bodyclose // It is closed already.
	if err != nil {
		return err
	}
	has := f.offset
	if n, ok := uploaded(rsp.Header.Get("Range")); ok && n > 1 {
		has = min(has, n)
	}
	if has < f.last() {
		return outcome.Errorf(outcome.Unavailable, "registry %s ended an upload before its last %d bytes; this may be transient", s.host, f.last()-has)
	}
	return s.follow(ctx, to, rsp)
}

// put sends all of a blob's bytes and ends the session with them.
func (s sessions) put(ctx context.Context, to *session, d digest.Digest, f *feed) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, withDigest(to.location, d), nil)
	if err != nil {
		return s.failed(ctx, err, s.operation())
	}
	_, err = s.stream(req, to, f, committed) //nolint:bodyclose // It is closed already.
	return err
}

// stream makes a request with what f reads as its body. It gives up when the
// registry stalls.
func (s sessions) stream(req *http.Request, to *session, f *feed, accept func(status int) bool) (*http.Response, error) {
	if err := s.throttle.Wait(req.Context(), s.host); err != nil {
		return nil, s.failed(req.Context(), err, s.operation())
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	f.ctx = ctx
	body := newUpload(f, f.last()-f.offset, s.stall, s.commit, cancel)
	req = req.WithContext(ctx)
	req.Body, req.ContentLength = io.NopCloser(body), f.last()-f.offset
	req.Header.Set("Content-Type", octets)
	if to.authorization != "" {
		req.Header.Set("Authorization", to.authorization)
	}
	rsp, err := s.auth.Do(req)
	if err == nil && !accept(rsp.StatusCode) {
		err = responseError(rsp)
	}
	if err != nil && ctx.Err() != nil {
		// Not what the source says of that.
		err = ctx.Err()
	}
	if err != nil {
		err = s.failed(ctx, err, s.operation())
	}
	if rsp != nil {
		_ = rsp.Body.Close()
	}
	// The source may be waited for, and is not wanted any more.
	cancel(nil)
	_ = body.end()
	f.close()
	if f.failure != nil {
		return nil, sourceError{f.failure}
	}
	return rsp, err
}

// A sourceError is what a source said when it could not be read any more.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// A feed reads a blob from its source. Where that breaks, it is opened again.
type feed struct {
	ctx   context.Context //nolint:containedctx // Belongs to one request.
	open  Source
	tries *retry.Tries
	name  string
	size  int64
	end   int64 // Where the request ends, of a chunk; 0 for the blob's end.

	offset  int64 // Of the next byte.
	source  io.ReadCloser
	said    error // The source's, with its last bytes.
	mark    int64 // The offset when failures were last forgotten.
	failure error // The source's last.
}

// Read reads on. The blob's last byte comes only once the source has ended with
// it: no registry gets all bytes from one that finds them wrong.
func (f *feed) Read(p []byte) (int, error) {
	if f.failure != nil {
		return 0, f.failure
	}
	if int64(len(p)) > f.last()-f.offset {
		p = p[:f.last()-f.offset]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := f.read(p)
	if err != nil {
		n, err = f.heal(p, err)
	}
	f.offset += int64(n)
	if err == nil && f.offset == f.size {
		err = f.finish()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return n, err
}

// last returns where the request ends.
func (f *feed) last() int64 { return cmp.Or(f.end, f.size) }

// read reads from the source, and returns an error only without bytes.
func (f *feed) read(p []byte) (int, error) {
	if f.source == nil {
		var err error
		if f.source, err = f.open(f.ctx, f.offset); err != nil {
			f.source = nil
			return 0, err
		}
	}
	n, err := f.readSource(p)
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		return 0, outcome.Errorf(outcome.Unavailable, "the source of %s ended before its last %d bytes; this may be transient", f.name, f.size-f.offset)
	}
	return 0, err
}

// readSource reads from the source. What it says with its bytes comes after them.
func (f *feed) readSource(p []byte) (int, error) {
	if f.said != nil {
		return 0, f.said
	}
	n, err := f.source.Read(p)
	f.said = err
	if n > 0 {
		err = nil
	}
	return n, err
}

// heal reopens the source after an error, until it can be read again.
func (f *feed) heal(p []byte, err error) (n int, _ error) {
	if f.offset-f.mark >= progressStep {
		f.mark = f.offset
		f.tries.Reset()
	}
	for err != nil {
		f.close()
		if err = f.tries.Wait(f.ctx, err); err != nil {
			if f.ctx.Err() == nil {
				f.failure = err
			}
			return 0, err
		}
		n, err = f.read(p)
	}
	return n, nil
}

// finish returns io.EOF if nothing is wrong with the source at its end, where
// one that verifies its bytes says so. That it breaks there matters no more.
func (f *feed) finish() error {
	n, err := f.readSource(make([]byte, 1))
	for n == 0 && err == nil {
		n, err = f.readSource(make([]byte, 1))
	}
	switch {
	case err != nil && f.ctx.Err() != nil:
		return err
	case n > 0:
		f.failure = outcome.Errorf(outcome.Mismatch, "the source of %s has more than its %d bytes", f.name, f.size)
		return f.failure
	case err != nil && !errors.Is(err, io.EOF) && !outcome.ReasonOf(err).Transient():
		f.failure = err
		return err
	}
	f.close()
	return io.EOF
}

func (f *feed) close() {
	if f.source != nil {
		_ = f.source.Close()
		f.source, f.said = nil, nil
	}
}

// forget makes the next request of every scope get a new token.
func (c *freshTokens) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for of := range c.stale {
		c.stale[of] = time.Time{}
	}
}
