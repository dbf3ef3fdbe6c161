package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// large is a size that goes in more than one request.
const large = int(wholeUpTo) + 321

// A depot is a registry that takes blobs in its own way.
type depot struct {
	refuse func(*http.Request) int    // The status that it refuses a request with; 0 for none.
	place  func(*http.Request) string // Where it says that an upload goes on; nil for a path.

	mu    sync.Mutex
	asked []string
	has   bytes.Buffer
	blob  []byte
	sent  int64
}

func (d *depot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r.Method+" "+r.URL.RawQuery)
	if d.refuse != nil {
		if status := d.refuse(r); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	n, err := io.Copy(&d.has, r.Body)
	d.sent += n
	if err != nil {
		return
	}
	place := "/v2/" + repository + "/blobs/uploads/1"
	if d.place != nil {
		place = d.place(r)
	}
	switch r.Method {
	case http.MethodPost:
		d.has.Reset()
		w.Header().Set("Location", place)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPatch:
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPut:
		if describe("", d.has.Bytes()).Digest.String() != r.URL.Query().Get("digest") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors": [{"code": "DIGEST_INVALID"}]}`)
			return
		}
		d.blob = bytes.Clone(d.has.Bytes())
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// methods returns the methods of what was asked, in their order.
func (d *depot) methods() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, a := range d.asked {
		method, _, _ := strings.Cut(a, " ")
		out = append(out, method)
	}
	return strings.Join(out, " ")
}

// weight returns how many bytes came.
func (d *depot) weight() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent
}

// client returns a client of the depot.
func (d *depot) client(t *testing.T) *Client {
	t.Helper()
	return serve(t, func(http.Handler) http.Handler { return d })
}

func refusing(status int, method string) func(*http.Request) int {
	return func(r *http.Request) int {
		if r.Method == method {
			return status
		}
		return 0
	}
}

// TestUploadWhole has registries that take a blob in one request only get it so.
func TestUploadWhole(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		depot  *depot
		want   string
	}{
		"405": {reason: "There is no PATCH.", depot: &depot{refuse: refusing(405, "PATCH")}},
		"404": {reason: "There is nothing to PATCH.", depot: &depot{refuse: refusing(404, "PATCH")}},
		"416": {reason: "It is too much for a PATCH.", depot: &depot{refuse: refusing(416, "PATCH")}},
		"501": {reason: "PATCH will come some day.", depot: &depot{refuse: refusing(501, "PATCH")}},
		"400": {reason: "PATCH makes no sense.", depot: &depot{refuse: refusing(400, "PATCH")}},
		"Empty": {reason: "There must be bytes at the end.", depot: &depot{refuse: func(r *http.Request) int {
			if r.Method == http.MethodPut && r.ContentLength == 0 {
				return http.StatusBadRequest
			}
			return 0
		}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, content := contentOf(name, large)
			source := &shelf{content: content}
			if err := tc.depot.client(t).Upload(t.Context(), repository, d, source.open, soon); err != nil {
				t.Fatalf("\n%s\nUpload(...): %v", tc.reason, err)
			}
			if !bytes.Equal(tc.depot.blob, content) {
				t.Errorf("\n%s\nUpload(...): the registry has other bytes", tc.reason)
			}
			if last := tc.depot.asked[len(tc.depot.asked)-1]; !strings.HasPrefix(last, "PUT ") {
				t.Errorf("\n%s\nUpload(...): want the blob to come with PUT, got %v", tc.reason, tc.depot.asked)
			}
		})
	}
}

// TestUploadAlways has a registry that never goes on be given up.
func TestUploadAlways(t *testing.T) {
	t.Parallel()
	d, content := contentOf("always", large)
	for _, status := range []int{400, 404, 405, 416, 418} {
		p := &depot{refuse: func(r *http.Request) int {
			if r.Method == http.MethodPost {
				return 0
			}
			return status
		}}
		source := &shelf{content: content}
		err := p.client(t).Upload(t.Context(), repository, d, source.open, soon)
		if err == nil || len(source.offsets()) > soon.Tries {
			t.Errorf("%d: want the upload to be given up, got %v after %v", status, err, p.asked)
		}
	}
}

// TestUploadSource has sources break. The registry does not notice where they
// can be opened again.
func TestUploadSource(t *testing.T) {
	t.Parallel()
	passing := outcome.Errorf(outcome.Unavailable, "the source broke")
	lasting := outcome.Errorf(outcome.Gated, "the source is closed")
	// breaking returns a wrap that reads some bytes and then fails, as often as
	// there are errors.
	breaking := func(after int64, errs ...error) func(io.Reader) io.Reader {
		return func(r io.Reader) io.Reader {
			if len(errs) == 0 {
				return r
			}
			err := errs[0]
			errs = errs[1:]
			return io.MultiReader(io.LimitReader(r, after), failing{err})
		}
	}
	ending := func(err error) func(io.Reader) io.Reader {
		return func(r io.Reader) io.Reader { return io.MultiReader(r, failing{err}) }
	}
	type want struct {
		Err    string
		Asked  string
		Opened []int64
	}
	const step = progressStep
	cases := map[string]struct {
		reason string
		wrap   func(io.Reader) io.Reader
		want   want
	}{
		"Fine":    {reason: "Nothing breaks.", want: want{Asked: "POST PATCH PUT", Opened: []int64{0}}},
		"Once":    {reason: "It goes on in the same request.", wrap: breaking(1000, passing), want: want{Asked: "POST PATCH PUT", Opened: []int64{0, 1000}}},
		"Early":   {reason: "An end that comes too early is a break.", wrap: breaking(1000, io.EOF), want: want{Asked: "POST PATCH PUT", Opened: []int64{0, 1000}}},
		"Often":   {reason: "Tries are counted anew after progress.", wrap: breaking(step, passing, passing, passing, passing), want: want{Asked: "POST PATCH PUT", Opened: []int64{0, step, 2 * step, 3 * step, 4 * step}}},
		"Crawl":   {reason: "But not after next to nothing.", wrap: breaking(10, passing, passing, passing, passing, passing), want: want{Err: "the source broke", Asked: "POST DELETE", Opened: []int64{0, 10, 20, 30}}},
		"Lasting": {reason: "What does not pass is not tried again.", wrap: breaking(10, lasting), want: want{Err: "the source is closed", Asked: "POST DELETE", Opened: []int64{0}}},
		"Settled": {reason: "Nor what the source has tried enough.", wrap: breaking(10, retry.Permanent(passing)), want: want{Err: "the source broke", Asked: "POST DELETE", Opened: []int64{0}}},
		"Wrong":   {reason: "A source that finds its bytes wrong at its end ends the upload.", wrap: ending(lasting), want: want{Err: "the source is closed", Asked: "POST DELETE", Opened: []int64{0}}},
		"Verdict": {reason: "Also one that says so with its last bytes.", wrap: func(r io.Reader) io.Reader { return &abrupt{r, large, lasting} }, want: want{Err: "the source is closed", Asked: "POST DELETE", Opened: []int64{0}}},
		"Late":    {reason: "One that breaks after its last byte does not.", wrap: ending(passing), want: want{Asked: "POST PATCH PUT", Opened: []int64{0}}},
		"More":    {reason: "No bytes may be left.", wrap: func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("x")) }, want: want{Err: "the source of %s has more than its 4194625 bytes", Asked: "POST DELETE", Opened: []int64{0}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, content := contentOf(name, large)
			source := &shelf{content: content, wrap: tc.wrap}
			p := &depot{}
			err := p.client(t).Upload(t.Context(), repository, d, source.open, soon)
			got := want{Opened: source.offsets()}
			if err != nil {
				got.Err = strings.ReplaceAll(err.Error(), d.Digest.String(), "%s")
			}
			got.Asked = p.methods()
			if err != nil {
				// Whether the registry has heard of what was broken off, and
				// when, is not known.
				got.Asked = strings.Replace(got.Asked, " PATCH", "", 1)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nUpload(...): -want, +got:\n%s", tc.reason, diff)
			}
			if err != nil && p.weight() >= d.Size {
				t.Errorf("\n%s\nUpload(...): want the registry never to have all bytes", tc.reason)
			}
		})
	}
}

// abrupt reads as r does, but fails once, with its last bytes, and then ends.
type abrupt struct {
	r    io.Reader
	left int
	err  error
}

func (a *abrupt) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.left -= n; n > 0 && a.left == 0 {
		return n, a.err
	}
	return n, err
}

// TestUploadContext has the caller give up while the source, or the registry, is
// waited for.
func TestUploadContext(t *testing.T) {
	t.Parallel()
	d, content := contentOf("context", large)
	cases := map[string]struct {
		reason string
		source func(cancel func()) Source
	}{
		"Source": {reason: "The source has nothing for now.", source: func(cancel func()) Source {
			return func(ctx context.Context, _ int64) (io.ReadCloser, error) {
				cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
		"Wait": {reason: "It is waited with another try.", source: func(cancel func()) Source {
			return func(context.Context, int64) (io.ReadCloser, error) {
				cancel()
				return nil, outcome.Errorf(outcome.Unavailable, "down")
			}
		}},
		"Read": {reason: "It is read.", source: func(cancel func()) Source {
			return func(ctx context.Context, _ int64) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(content[:5]), waiting{ctx, cancel})), nil
			}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			p := &depot{}
			err := p.client(t).Upload(ctx, repository, d, tc.source(cancel), retry.Default())
			if !errors.Is(err, context.Canceled) {
				t.Errorf("\n%s\nUpload(...): want the context's error, got %v", tc.reason, err)
			}
			if asked := p.methods(); !strings.Contains(asked, "DELETE") {
				t.Errorf("\n%s\nUpload(...): want the upload to be cancelled, got %s", tc.reason, asked)
			}
		})
	}
}

// waiting reads as nothing until its context ends, which it makes happen.
type waiting struct {
	ctx    context.Context //nolint:containedctx // Belongs to one test.
	cancel func()
}

func (w waiting) Read([]byte) (int, error) {
	w.cancel()
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func TestUploadNames(t *testing.T) {
	c := (&depot{}).client(t)
	d, content := contentOf("names", 10)
	source := &shelf{content: content}
	if err := c.Upload(t.Context(), "Models/X", d, source.open, soon); !IsUnsupported(err) {
		t.Errorf("Upload(...): want a name to be refused, got %v", err)
	}
	d.Digest = "sha256:x"
	if err := c.Upload(t.Context(), repository, d, source.open, soon); !IsUnsupported(err) {
		t.Errorf("Upload(...): want a digest to be refused, got %v", err)
	}
	if _, err := c.Mount(t.Context(), repository, "Models/X", d); !IsUnsupported(err) {
		t.Errorf("Mount(...): want a name to be refused, got %v", err)
	}
	if _, err := c.Mount(t.Context(), repository, "models/x", d); !IsUnsupported(err) {
		t.Errorf("Mount(...): want a digest to be refused, got %v", err)
	}
}

// TestUploadTime has a registry end an upload after the time that it is known to
// give each: what did not arrive in it is not sent again.
func TestUploadTime(t *testing.T) {
	const limit = 100 * time.Millisecond
	cases := map[string]struct {
		reason  string
		takes   time.Duration
		want    outcome.Reason
		message string
	}{
		"Ended": {reason: "Another try would end the same.", takes: limit, want: outcome.Unsupported, message: "faster connection"},
		"Early": {reason: "What breaks before that has another cause.", want: outcome.Unavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, content := contentOf(name, 10)
			puts := 0
			p := &depot{refuse: func(r *http.Request) int {
				if r.Method != http.MethodPut {
					return 0
				}
				puts++
				time.Sleep(tc.takes) // The registry's time, which is what this is about.
				return http.StatusGatewayTimeout
			}}
			c := p.client(t)
			c.uploadTime = limit
			err := c.Upload(t.Context(), repository, d, (&shelf{content: content}).open, soon)
			if reasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.message) || tc.want == outcome.Unsupported && puts != 1 {
				t.Errorf("\n%s\nUpload(...): want %s, got %v after %d tries", tc.reason, tc.want, err, puts)
			}
		})
	}
	if got := UploadTime("ghcr.io"); got != 10*time.Minute || UploadTime("registry.example.com") != 0 {
		t.Errorf("UploadTime(...): got %s", got)
	}
}
