package registry

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A Source opens a blob's bytes from an offset on, which is less than the
// blob's size. What it returns is read to its end, which comes with the blob's,
// and closed. Where the bytes are not wanted any more the context ends before
// that, which both opening and reading must honour. It may be called again, for
// any offset, once what it returned before is closed.
type Source func(ctx context.Context, offset int64) (io.ReadCloser, error)

// chunks are the sizes that a blob goes in where it is too large for one request:
// those that well-known proxies take (Cloudflare 100 MB; nginx 1 MiB unless
// configured otherwise, https://nginx.org/en/docs/http/ngx_http_core_module.html),
// and some between.
var chunks = []int64{64 * mib, 16 * mib, 4 * mib, 1 * mib, mib / 2}

// progressStep is how many more bytes than ever before must have been moved for
// earlier failures not to count, which bounds the failures of one blob.
const progressStep = 1 << 20

// Upload pushes a blob of known digest and size, in one pass and with little
// memory, whatever its size. The registry holds it against the digest.
//
// If the connection breaks, or the registry fails or asks to wait, Upload asks what has
// arrived and resumes there (distribution-spec 1.1, "Pushing a blob in
// chunks"); only for a registry that has forgotten the upload, does not report its
// offset, or takes a blob in one request only, it starts again. If the source
// fails, Upload reopens it at the missing byte within the same request. Both are
// retried as the policy says; progress resets the number of tries. A source's last error is returned as it is; one that is
// retry.Permanent is the last.
//
// An upload that fails is cancelled, so that it takes no room at the registry,
// unless it is Resumable.
func (c *Client) Upload(ctx context.Context, repository string, d ocispec.Descriptor, open Source, retries retry.Policy, o ...UploadOption) error {
	if err := d.Digest.Validate(); err != nil {
		return outcome.Errorf(outcome.Unsupported, "%q is not a blob's digest", d.Digest)
	}
	known := func(context.Context) (digest.Digest, error) { return d.Digest, nil }
	return c.upload(ctx, repository, &transfer{
		name: d.Digest.String(), size: d.Size, digest: known, open: open, retries: retries,
		whole: d.Size <= wholeUpTo || takesWhole(c.host),
	}, o)
}

// UploadUnnamed does what Upload does for a blob whose digest is unknown until all
// of its bytes were read. It calls digest once they were sent, or before, if the
// registry needs the digest first: then the source is read twice, once by digest.
// An error of digest is permanent. The name is for messages.
func (c *Client) UploadUnnamed(ctx context.Context, repository, name string, size int64, digest func(ctx context.Context) (digest.Digest, error), open Source, retries retry.Policy, o ...UploadOption) error {
	return c.upload(ctx, repository, &transfer{
		name: name, size: size, digest: digest, open: open, retries: retries,
		whole: takesWhole(c.host),
	}, o)
}

func (c *Client) upload(ctx context.Context, repository string, t *transfer, options []UploadOption) error {
	if _, err := c.repository(repository); err != nil {
		return err
	}
	if t.size < 0 {
		return outcome.Errorf(outcome.Unsupported, "%d bytes is not the size of a blob", t.size)
	}
	ref := oras.Reference{Registry: c.host, Repository: repository}
	ctx = auth.AppendRepositoryScope(once(noteWaits(ctx)), ref, auth.ActionPull, auth.ActionPush)
	t.sessions = sessions{c, ref}
	for _, o := range options {
		o(t)
	}
	err := t.run(ctx)
	switch {
	case err == nil:
		t.session = nil
		t.note()
	case !t.keeps(ctx, err):
		t.leave(ctx)
	}
	return err
}

// A transfer is a blob on its way to a repository.
type transfer struct {
	sessions

	name    string
	size    int64
	digest  func(ctx context.Context) (digest.Digest, error)
	open    Source
	retries retry.Policy

	chunk   int64    // How many bytes go in one request; 0 for as many as there are.
	whole   bool     // All bytes go in one request, and none is confirmed before all are.
	session *session // Nil if there is none that can go on.
	offset  int64    // How many bytes the session has, as the registry says.
	sent    int64    // How many it may have: those that were read for it.
	resumed bool     // The session has them of more than one request.
	adopted bool     // Another process has begun it.

	noted func(location string) // Nil if no other process may resume the upload.
	kept  bool                  // The session's location was noted.

	best    int64 // How many bytes any session had when tries were last reset.
	asked   bool  // The registry was asked to commit, and may have done so.
	lost    int   // How often a session was forgotten since then.
	doubts  int   // How often one did not go on where it said, since then.
	renewed bool  // Whether tokens were renewed since then.
}

// run tries until the blob is there, or has failed too often without progress.
func (t *transfer) run(ctx context.Context) error {
	tries := t.retries.Start(t.name)
	for {
		moved, err := t.try(ctx)
		if err == nil {
			return nil
		}
		if moved {
			tries.Reset()
		}
		if err := tries.Wait(ctx, err); err != nil {
			return err
		}
	}
}

// try continues with the blob, and reports whether the registry had more of it than
// at the try before.
func (t *transfer) try(ctx context.Context) (moved bool, err error) {
	if t.session != nil {
		if moved, err = t.resume(ctx); err != nil {
			return moved, err
		}
	}
	if t.session == nil {
		if done, err := t.begin(ctx); done || err != nil {
			return moved, err
		}
	}
	for t.offset < t.size {
		if err := t.send(ctx); err != nil || t.whole {
			return moved, t.judge(ctx, err)
		}
	}
	d, err := t.digest(ctx)
	if err != nil {
		return moved, retry.Permanent(err)
	}
	t.asked = true
	err = t.judge(ctx, t.complete(ctx, t.session, d))
	if err == nil && t.adopted {
		err = t.checked(ctx)
	}
	return moved, err
}

// resume finds out at which offset the session continues, or that it is gone.
func (t *transfer) resume(ctx context.Context) (moved bool, err error) {
	if t.whole {
		t.leave(ctx)
		return false, nil
	}
	at, err := t.status(ctx, t.session)
	switch {
	case errors.Is(err, errNoStatus):
		t.lose(errors.Is(err, errForgotten))
		return false, nil
	case err != nil:
		return false, err
	case at <= 1 || at > t.sent:
		// Registries say of no byte what they would say of one. And no upload
		// that has more than was sent is this one.
		t.leave(ctx)
		return false, nil
	}
	t.note()
	t.offset, t.resumed = at, true
	if at-t.best < progressStep && at < t.size || at == t.best {
		return false, nil
	}
	t.best, t.lost, t.doubts, t.renewed = at, 0, 0, false
	return true, nil
}

// begin begins a session, unless an earlier one has brought the blob.
func (t *transfer) begin(ctx context.Context) (done bool, err error) {
	if t.asked {
		has, err := t.has(ctx)
		if has || err != nil {
			return has, err
		}
		t.asked = false
	}
	t.offset, t.sent, t.resumed = 0, 0, false
	if t.session, err = t.start(ctx); err == nil {
		t.note()
	}
	return false, err
}

// has reports whether the repository has the blob.
func (t *transfer) has(ctx context.Context) (bool, error) {
	d, err := t.digest(ctx)
	if err != nil {
		return false, retry.Permanent(err)
	}
	return t.HasBlob(ctx, t.ref.Repository, ocispec.Descriptor{MediaType: octets, Digest: d, Size: t.size})
}

// send sends the bytes that the session does not have.
func (t *transfer) send(ctx context.Context) error {
	f := &feed{open: t.open, tries: t.retries.Start(t.name), name: t.name, size: t.size, offset: t.offset, mark: t.offset}
	defer func() { t.sent = max(t.sent, f.offset) }()
	if !t.whole {
		if t.chunk > 0 {
			f.end = min(t.size, t.offset+max(t.chunk, t.session.least))
		}
		err := t.patch(ctx, t.session, f)
		if err == nil {
			t.offset = f.last()
		}
		return err
	}
	d, err := t.digest(ctx)
	if err != nil {
		return sourceError{err}
	}
	t.asked = true
	began := time.Now()
	return t.inTime(t.put(ctx, t.session, d, f), time.Since(began))
}

// judge decides what the error of a request of the session means for the next
// one. A broken connection leaves the session as it is.
func (t *transfer) judge(ctx context.Context, err error) error {
	var (
		source sourceError
		rsp    *errcode.ErrorResponse
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &source):
		return retry.Permanent(source.error)
	case errors.As(err, &rsp):
		return t.judgeRefusal(ctx, err, rsp)
	case outcome.ReasonOf(err) == outcome.Unauthorized:
		// It wants a token that it did not want before, and that is there now.
		return t.renew(err)
	}
	return err
}

func (t *transfer) judgeRefusal(ctx context.Context, err error, rsp *errcode.ErrorResponse) error {
	reason := outcome.ReasonOf(err)
	outOfRange := rsp.StatusCode == http.StatusRequestedRangeNotSatisfiable
	switch {
	case rsp.StatusCode == http.StatusUnauthorized:
		return t.renewAll(err)
	case rsp.StatusCode == http.StatusNotFound && (!t.whole || has(rsp, errcode.ErrorCodeBlobUploadUnknown)):
		t.lose(true)
		return outcome.Errorf(outcome.Unavailable, "registry %s forgot an upload that was under way; this may be transient", t.host).Because(rsp)
	case rsp.StatusCode == http.StatusRequestEntityTooLarge && t.shrink():
		t.leave(ctx)
	case t.whole, reason.Transient(), reason == outcome.Unauthorized:
		return err
	case reason == outcome.Mismatch && (!t.resumed || t.adopted), reason == outcome.NoSpace && !outOfRange:
		return err
	case outOfRange && t.resumed && t.doubts == 0:
		// What it had taken before may have arrived since it was asked.
		t.doubts++
	default:
		adopted := t.adopted
		t.leave(ctx)
		t.whole = !adopted
	}
	return outcome.Errorf(outcome.Unavailable, "registry %s did not go on with an upload (status %d%s)", t.host, rsp.StatusCode, codes(rsp)).Because(rsp)
}

// shrink has the rest of a blob go in smaller requests than the one that was too
// large for the registry or a proxy before it. It reports whether there are any.
func (t *transfer) shrink() bool {
	refused := t.size - t.offset
	if t.chunk > 0 {
		refused = min(refused, t.chunk)
	}
	for _, chunk := range chunks {
		if chunk < refused && !takesWhole(t.host) {
			t.chunk, t.whole = chunk, false
			return true
		}
	}
	return false
}

// inTime returns the error of a request with all of a blob's bytes; a permanent
// one if it took as long as the registry lets an upload take.
func (t *transfer) inTime(err error, took time.Duration) error {
	if err == nil || t.uploadTime == 0 || took < t.uploadTime*9/10 || !outcome.ReasonOf(err).Transient() || errors.As(err, new(sourceError)) {
		return err
	}
	return outcome.Errorf(outcome.Unsupported,
		"registry %s ends an upload after %s, and the %d bytes of %s did not arrive in that time: give the run a faster connection to it, choose a model with smaller files, or push to another registry",
		t.host, t.uploadTime, t.size, t.name)
}

// renewAll is renew for a token that was refused, which is not used again.
func (t *transfer) renewAll(err error) error {
	if tokens, ok := t.auth.Cache.(interface{ forget() }); ok {
		tokens.forget()
	}
	return t.renew(err)
}

// renew has a request with a refused or missing token retried once with a new one:
// not every token says when it expires.
func (t *transfer) renew(err error) error {
	if t.renewed {
		return err
	}
	t.renewed = true
	return outcome.Errorf(outcome.Unavailable, "registry %s did not take a token any more", t.host).Because(err)
}

// lose gives up a session that the registry no longer knows, or does not report on.
// If that happens again, or without a reason, the blob is sent in one request.
func (t *transfer) lose(forgotten bool) {
	adopted := t.adopted
	t.session, t.adopted = nil, false
	if !adopted {
		t.lost++
		t.whole = t.whole || !forgotten || t.lost > 1
	}
	t.note()
}

// leave gives up a session that the registry may still have.
func (t *transfer) leave(ctx context.Context) {
	if t.session != nil {
		t.cancel(ctx, t.session)
		t.session, t.adopted = nil, false
		t.note()
	}
}
