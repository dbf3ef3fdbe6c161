package follow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/buckets"
)

const (
	// listings is how many buckets are listed at a time: a page of each, and of some all
	// names, are in memory meanwhile.
	listings = 3

	// listingTime bounds one listing.
	listingTime = 2 * time.Minute

	// maxListingBytes bounds the answers of one listing: source.MaxFiles objects of some
	// 600 bytes.
	maxListingBytes = 64 << 20

	// maxRequests bounds the requests of one listing: source.MaxFiles objects are 100 pages
	// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html), and older
	// versions are listed with them.
	maxRequests = 200

	// costGrowth is by how much more is reserved of a budget for a listing that has turned
	// out to need more requests than were reserved.
	costGrowth = 4

	// costShare is which share of a host's budget one question may use in the long run: the
	// time between two of them grows with what each costs.
	costShare = 10
)

// Errors of requests that were not made, or whose answer was not read to its end.
var (
	errOverBudget = errors.New("the budget of the host is used up")
	errTooMany    = errors.New("the listing takes too many requests")
	errTooLong    = errors.New("the listing is too long")
)

// bucketKey returns the key of a question for a bucket.
func (f *Follower) bucketKey(s pipeline.Source) questionKey {
	origin, host := originOf(buckets.Endpoint(s))
	key := hubKey{endpoint: origin, account: hashOf(s.Credentials), ca: string(s.CA)}
	h, ok := f.hubs[key]
	if !ok {
		h = &hubState{key: key, origin: origin, budget: f.budgetOf(host)}
		f.hubs[key] = h
	}
	return questionKey{hub: h, kind: "bucket", model: hashOf([]any{s.S3, s.GCS, s.AzureBlob, s.Files, s.Private})}
}

// originOf returns the scheme and the host of a URL, and the host alone.
func originOf(endpoint string) (origin, host string) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", ""
	}
	host = strings.ToLower(u.Host)
	return strings.ToLower(u.Scheme) + "://" + host, host
}

// hashOf returns a hash that identifies a value.
func hashOf(v any) string {
	// Neither functions nor channels are in it.
	b, _ := json.Marshal(v) //nolint:errchkjson // See above.
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// askBucket lists the folder of a bucket and returns the revision of its files. It makes no
// more requests than are paid for, and returns their number.
func (f *Follower) askBucket(ctx context.Context, q *question) (hub.Head, int, error) {
	ctx, cancel := context.WithTimeout(ctx, listingTime)
	defer cancel()
	m := &meter{paid: q.paid, extra: q.extra}
	s, h := *q.bucket, q.key.hub
	// A tenant names the endpoint, and the provider is not in the tenant's network.
	s.Confined, s.Private = !f.Anywhere, s.Private || isCloud(s)
	s.Transport = func(next http.RoundTripper) http.RoundTripper {
		return &meteredTransport{next: f.hosts.Transport(h.origin, h.key.account, next), meter: m}
	}
	folder, err := buckets.New(s, retry.Policy{}, download.Options{})
	if err != nil {
		return hub.Head{}, 1, err
	}
	defer folder.Close()
	began := f.now()
	revision, err := source.Revision(ctx, s, folder)
	// A second counts as a request, so that a server or patterns that take their time take it
	// rarely.
	cost := min(max(m.requests, int(f.now().Sub(began).Seconds()), 1), maxRequests)
	switch {
	case errors.Is(err, errOverBudget):
		return hub.Head{}, min(costGrowth*cost, maxRequests), errOverBudget
	case errors.Is(err, errTooMany):
		err = outcome.Errorf(outcome.Unsupported, "%s cannot be followed: listing it takes more than %d requests. Name a folder in it as prefix, delete older versions of its objects, or write revisionPolicy: Pinned", folder.Name(), maxRequests)
	case errors.Is(err, errTooLong):
		err = outcome.Errorf(outcome.Unsupported, "%s cannot be followed: its list is longer than %d MiB. Name a folder in it as prefix, or write revisionPolicy: Pinned", folder.Name(), maxListingBytes>>20)
	case err != nil && ctx.Err() != nil:
		err = outcome.Errorf(outcome.Unavailable, "%s was not listed within %s; this may be transient, else name a folder in it as prefix", folder.Name(), listingTime)
	}
	return hub.Head{Commit: revision}, cost, err
}

// isCloud reports whether a bucket is at its cloud's own endpoint, which may have a private
// address in a network of that cloud.
func isCloud(s pipeline.Source) bool {
	switch {
	case s.S3 != nil:
		return s.S3.Endpoint == ""
	case s.GCS != nil:
		return s.GCS.Endpoint == ""
	case s.AzureBlob != nil:
		return s.AzureBlob.Endpoint == ""
	}
	return false
}

// A meter counts the requests of one listing, and of what gets tokens for it, and the bytes
// of their answers. These come one after the other: it is not safe for concurrent use.
type meter struct {
	paid  int         // How many requests are paid for.
	extra func() bool // Pays for one more, and reports whether the budget has it now.

	requests int
	bytes    int64
}

// A meteredTransport makes requests by another transport, as far as they are paid for.
type meteredTransport struct {
	next  http.RoundTripper
	meter *meter
}

// RoundTrip implements http.RoundTripper.
func (t *meteredTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	m := t.meter
	switch {
	case m.requests >= maxRequests:
		return nil, errTooMany
	case m.requests >= m.paid && !m.extra():
		return nil, errOverBudget
	}
	m.requests++
	rsp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	rsp.Body = &meteredBody{ReadCloser: rsp.Body, meter: m}
	return rsp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (t *meteredTransport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// A meteredBody is a part of what a listing may read.
type meteredBody struct {
	io.ReadCloser

	meter *meter
}

// Read implements io.Reader.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.meter.bytes += int64(n); b.meter.bytes > maxListingBytes {
		return n, errTooLong
	}
	return n, err
}

// listingLimit bounds how many buckets are listed at a time, fairly between namespaces.
func listingLimit(namespace string) connection.Limit {
	return connection.Limit{Pool: "listings", Most: listings, Sharer: namespace}
}
