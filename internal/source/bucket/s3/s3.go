// Package s3 reads files from buckets of S3, and of servers that speak its protocol.
package s3

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// field of the spec that describes the source, for messages.
const field = "spec.forProvider.source.s3"

// What File.Version begins with: an ID of a version, or an ETag without its quotation
// marks.
const (
	pinVersion = "version:"
	pinETag    = "etag:"
)

// A Folder is the objects below a prefix of a bucket.
type Folder struct {
	bucket   string
	name     string
	prefix   string
	address  address
	client   *bucket.Client
	server   *download.Server
	download download.Options
	signs    bool // Requests are signed.
	pays     bool // Requests say that who signs them pays for them.

	// plain is set once the server turned out not to know X-Amz-Checksum-Mode.
	plain atomic.Bool
}

var _ source.Folder = &Folder{}

// New returns the folder of a run's source, whose S3 must be set. It downloads files as
// the options say, and retries other requests by a policy.
func New(s pipeline.Source, retries retry.Policy, options download.Options) (*Folder, error) {
	at, err := addressOf(s.S3)
	if err == nil {
		err = bucket.CheckPrefix(field, s.S3.Prefix)
	}
	if err != nil {
		return nil, err
	}
	f := &Folder{
		bucket: s.S3.Bucket, prefix: strings.Trim(s.S3.Prefix, "/"), address: at, download: options, pays: s.S3.RequesterPays,
		name: strings.TrimSuffix("s3://"+s.S3.Bucket+"/"+strings.Trim(s.S3.Prefix, "/"), "/"),
	}
	o := bucket.Options{Service: "S3", Field: field, Endpoint: at.endpoint, Source: s, Redirects: true, Retry: retries}
	keys, err := f.keys(s)
	if err != nil {
		return nil, err
	}
	if keys != nil {
		f.signs, o.Authorizer = true, newSigner(keys, at.region, f.pays)
	}
	if f.client, err = bucket.NewClient(o); err != nil {
		return nil, err
	}
	follow := f.client.HTTP.CheckRedirect
	f.client.HTTP.CheckRedirect = func(req *http.Request, via []*http.Request) error { return f.redirect(follow, req, via) }
	f.server = f.client.Server(retries)
	return f, nil
}

// keys returns the keys that requests are signed with; nil for anonymous requests.
func (f *Folder) keys(s pipeline.Source) (keysFunc, error) {
	switch secret := bucket.NewSecret(s); {
	case secret != nil:
		keys := secretKeys(secret)
		// What is wrong with them is reported before anything is asked.
		_, err := keys(context.Background())
		return keys, err
	case s.S3.Identity && !f.address.isAWS:
		return nil, outcome.Errorf(outcome.Unsupported,
			"the identity of a run is one of AWS, and %s.endpoint is none of AWS's hosts: leave the endpoint out, or name a Secret in %s.credentialsSecretRef", field, field)
	case s.S3.Identity && s.S3.Keys == nil:
		return nil, outcome.Errorf(outcome.Internal, "this run has no identity for bucket %s", s.S3.Bucket)
	case s.S3.Identity:
		return s.S3.Keys.Credentials, nil
	case f.pays:
		return nil, outcome.Errorf(outcome.Unsupported, "nobody pays for anonymous requests: name a Secret in %s.credentialsSecretRef, or leave requesterPays out", field)
	}
	return nil, nil //nolint:nilnil // None are needed.
}

// redirected is the key of a context's *atomic.Bool, which is set if a request is
// redirected.
type redirected struct{}

// redirect decides about a redirect. Another host than the bucket's gets nothing that is
// for the bucket.
func (f *Folder) redirect(follow func(*http.Request, []*http.Request) error, req *http.Request, via []*http.Request) error {
	if req.Response != nil && req.Response.Header.Get(headerRegion) != "" {
		// To where the bucket is. It has to be asked with another signature.
		return http.ErrUseLastResponse
	}
	if req.URL.Host != f.client.Host() {
		req.Header.Del("If-Match")
		for name := range req.Header {
			if strings.HasPrefix(name, "X-Amz-") {
				req.Header.Del(name)
			}
		}
	}
	if seen, ok := req.Context().Value(redirected{}).(*atomic.Bool); ok {
		seen.Store(true)
	}
	return follow(req, via)
}

// Name implements source.Folder.
func (f *Folder) Name() string { return f.name }

// Close implements source.Folder.
func (f *Folder) Close() { f.client.Close() }

// Open implements source.Folder.
func (f *Folder) Open(ctx context.Context, one file.File, from, to int64) (io.ReadCloser, error) {
	unpinned := &atomic.Bool{}
	ctx = context.WithValue(ctx, redirected{}, unpinned)
	u, header := f.pinned(one)
	rc, err := f.server.Open(ctx, download.Object{
		Name: f.subject(one), URL: u.String(), Header: header, Size: one.Size,
		Accept: func(rsp *http.Response) error { return f.accept(one, rsp, unpinned) },
		Refused: func(rsp *http.Response) error {
			b, _ := io.ReadAll(io.LimitReader(rsp.Body, maxErrorBytes))
			return f.refused(bucket.Answer{Status: rsp.StatusCode, Header: rsp.Header, Body: b}, &one)
		},
	}, from, to, f.download)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(one.Version, pinVersion) {
		return rc, nil
	}
	return &checked{ReadCloser: rc, left: to - from, check: func() error {
		if !unpinned.Load() {
			return nil
		}
		_, err := f.head(ctx, one)
		return err
	}}, nil
}

// pinned returns the URL and the header of requests for the pinned version of a file.
func (f *Folder) pinned(one file.File) (*url.URL, http.Header) {
	header, query := http.Header{}, url.Values{}
	if id, ok := strings.CutPrefix(one.Version, pinVersion); ok {
		query.Set("versionId", id)
	}
	if tag, ok := strings.CutPrefix(one.Version, pinETag); ok && !isWeak(tag) {
		header.Set("If-Match", `"`+tag+`"`)
	}
	return f.urlOf(bucket.KeyPrefix(f.prefix)+one.Path, query), header
}

// accept returns an error unless an answer is of a file's pinned version. If the answer
// does not tell, it sets unpinned.
func (f *Folder) accept(one file.File, rsp *http.Response, unpinned *atomic.Bool) error {
	is, want := tagOf(rsp.Header.Get("ETag")), strings.TrimPrefix(one.Version, pinETag)
	if id, ok := strings.CutPrefix(one.Version, pinVersion); ok {
		is, want = rsp.Header.Get(headerVersion), id
	}
	switch is {
	case "":
		unpinned.Store(true)
	case want:
	default:
		return f.changed(one)
	}
	return nil
}

// tagOf returns an ETag without its quotation marks. A weak one stays as it is.
func tagOf(etag string) string {
	if isWeak(etag) {
		return etag
	}
	return strings.Trim(strings.TrimSpace(etag), `"`)
}

// isWeak reports whether an ETag does not stand for an object's very bytes (RFC 9110,
// section 8.8.1).
func isWeak(etag string) bool { return strings.HasPrefix(etag, "W/") }

// A checked reader makes a check before it returns the last bytes of those that it should
// have.
type checked struct {
	io.ReadCloser

	left  int64
	check func() error
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if n == 0 || c.left <= 0 {
		return n, err
	}
	if c.left -= int64(n); c.left <= 0 {
		if changed := c.check(); changed != nil {
			return 0, retry.Permanent(changed)
		}
	}
	return n, err
}
