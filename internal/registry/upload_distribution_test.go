package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// uploads are where blobs are sent to.
const uploads = "/blobs/uploads/"

// soon is a policy that waits for little.
var soon = retry.Policy{Tries: 4, FirstWait: 10 * time.Millisecond, MaxWait: 20 * time.Millisecond, MaxRetryAfter: time.Second}

// A scale counts the bytes that come with uploads to a registry.
type scale struct {
	mu    sync.Mutex
	bytes int64
}

// before returns a fault with the scale before it.
func (s *scale) before(f testregistry.Fault) testregistry.Fault {
	return func(next http.Handler) http.Handler {
		harmed := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = readCloser{io.TeeReader(r.Body, s), r.Body}
			harmed.ServeHTTP(w, r)
		})
	}
}

func (s *scale) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(len(p))
	return len(p), nil
}

func (s *scale) weighed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// A shelf is a source that notes from where on it is opened.
type shelf struct {
	content []byte
	wrap    func(io.Reader) io.Reader // Nil for none.

	mu     sync.Mutex
	opened []int64
}

func (s *shelf) open(_ context.Context, offset int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, offset)
	r := io.Reader(bytes.NewReader(s.content[offset:]))
	if s.wrap != nil {
		r = s.wrap(r)
	}
	return io.NopCloser(r), nil
}

func (s *shelf) offsets() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int64(nil), s.opened...)
}

// contentOf returns so many bytes, by name.
func contentOf(name string, size int) (ocispec.Descriptor, []byte) {
	b := bytes.Repeat([]byte(name+"\n"), size/(len(name)+1)+1)[:size]
	return describe(octets, b), b
}

// methods returns the methods of requests about blobs, in their order.
func methods(r *testregistry.Registry) string {
	var out []string
	for _, q := range r.Requests() {
		if strings.Contains(q.Path, "/blobs/") {
			out = append(out, q.Method)
		}
	}
	return strings.Join(out, ",")
}

func allOf(faults ...testregistry.Fault) testregistry.Fault {
	return func(next http.Handler) http.Handler {
		for _, f := range faults {
			next = f(next)
		}
		return next
	}
}

func onceOn(method string, f testregistry.Fault) testregistry.Fault {
	return testregistry.Times(1, testregistry.On(method, uploads), f)
}

func alwaysOn(method string, f testregistry.Fault) testregistry.Fault {
	return testregistry.Times(testregistry.Always, testregistry.On(method, uploads), f)
}

// TestUploadFaults has an upload meet faults at each of its requests, and sees
// that it sends nothing twice but what the registry does not confirm.
func TestUploadFaults(t *testing.T) {
	t.Parallel()
	const (
		size  = 5<<20 + 321
		half  = 2<<20 + 5
		small = 100_000
	)
	status := func(code int, header ...string) testregistry.Fault {
		return testregistry.Status(code, "UNKNOWN", secretWord, header...)
	}
	reset, stall := testregistry.Reset(0), testregistry.Stall(0)
	part := testregistry.Part
	type want struct {
		Methods string
		Opened  []int64 // From where on the source was opened.
		Sent    int64   // How many bytes came to the registry, or before it.
		Reason  outcome.Reason
	}
	resumed := want{Methods: "POST,PATCH,GET,PATCH,PUT", Opened: []int64{0, half}, Sent: size}
	cases := map[string]struct {
		reason string
		size   int // Zero for one that does not go in one request.
		fault  testregistry.Fault
		want   want
		stalls bool
	}{
		"None":      {reason: "Without a fault there are three requests.", fault: allOf(), want: want{Methods: "POST,PATCH,PUT", Opened: []int64{0}, Sent: size}},
		"PostError": {reason: "What has no body is asked again.", fault: onceOn("POST", status(500)), want: want{Methods: "POST,POST,PATCH,PUT", Opened: []int64{0}, Sent: size}},
		"PostReset": {reason: "Also over another connection.", fault: onceOn("POST", reset), want: want{Methods: "POST,POST,PATCH,PUT", Opened: []int64{0}, Sent: size}},
		"PostBusy":  {reason: "And when it is too early three times.", fault: testregistry.Times(3, testregistry.On("POST", uploads), status(429, "Retry-After", "0")), want: want{Methods: "POST,POST,POST,POST,PATCH,PUT", Opened: []int64{0}, Sent: size}},
		"PostStall": {reason: "A registry may stand still before it begins.", fault: onceOn("POST", stall), want: want{Methods: "POST,POST,PATCH,PUT", Opened: []int64{0}, Sent: size}, stalls: true},
		"PostNever": {reason: "Somebody who may not push learns it at once.", fault: alwaysOn("POST", status(403)), want: want{Methods: "POST", Reason: outcome.Unauthorized}},
		"PostDown":  {reason: "A registry that is down stays so after as many tries as there are.", fault: alwaysOn("POST", status(503)), want: want{Methods: "POST" + strings.Repeat(",POST", soon.Tries-1), Reason: outcome.Unavailable}},

		"FirstByte":   {reason: "Nothing has arrived.", fault: onceOn("PATCH", reset), want: want{Methods: "POST,PATCH,GET,DELETE,POST,PATCH,PUT", Opened: []int64{0, 0}, Sent: size}},
		"SecondByte":  {reason: "One byte cannot be told from none.", fault: onceOn("PATCH", part(1, reset)), want: want{Methods: "POST,PATCH,GET,DELETE,POST,PATCH,PUT", Opened: []int64{0, 0}, Sent: size + 1}},
		"ThirdByte":   {reason: "Two can.", fault: onceOn("PATCH", part(2, reset)), want: want{Methods: "POST,PATCH,GET,PATCH,PUT", Opened: []int64{0, 2}, Sent: size}},
		"MiddleReset": {reason: "It goes on in the middle.", fault: onceOn("PATCH", part(half, reset)), want: resumed},
		"MiddleError": {reason: "The same after an error.", fault: onceOn("PATCH", part(half, status(500))), want: resumed},
		"MiddleBusy":  {reason: "And when it is to wait.", fault: onceOn("PATCH", part(half, status(429, "Retry-After", "0"))), want: resumed},
		"MiddleToken": {reason: "And when the account's token has ended.", fault: onceOn("PATCH", part(half, status(401))), want: resumed},
		"MiddleStall": {reason: "And when the registry stands still.", fault: onceOn("PATCH", part(half, stall)), want: resumed, stalls: true},
		"MiddleShort": {reason: "And when the registry took less, and says so.", fault: onceOn("PATCH", part(half, status(202, "Range", fmt.Sprintf("0-%d", half-1)))), want: resumed},
		"Often": {
			reason: "Each break costs one more request, and tries are counted anew after progress.",
			fault:  testregistry.Times(5, testregistry.On("PATCH", uploads), part(1<<20, reset)),
			want:   want{Methods: "POST" + strings.Repeat(",PATCH,GET", 5) + ",PATCH,PUT", Opened: []int64{0, 1 << 20, 2 << 20, 3 << 20, 4 << 20, 5 << 20}, Sent: size},
		},
		"Crawl": {
			reason: "A registry that takes next to nothing each time is given up.",
			fault:  alwaysOn("PATCH", part(100, reset)),
			want:   want{Methods: "POST,PATCH,GET,PATCH,GET,PATCH,GET,PATCH,DELETE", Opened: []int64{0, 100, 200, 300}, Sent: 400, Reason: outcome.Unavailable},
		},
		"LastByte":  {reason: "All but one byte has arrived.", fault: onceOn("PATCH", part(size-1, reset)), want: want{Methods: "POST,PATCH,GET,PATCH,PUT", Opened: []int64{0, size - 1}, Sent: size}},
		"LastReset": {reason: "All has, and only the answer has not.", fault: onceOn("PATCH", part(size, reset)), want: want{Methods: "POST,PATCH,GET,PUT", Opened: []int64{0}, Sent: size}},
		"LastStall": {reason: "The answer may be long in coming.", fault: onceOn("PATCH", part(size, stall)), want: want{Methods: "POST,PATCH,GET,PUT", Opened: []int64{0}, Sent: size}, stalls: true},
		"Denied":    {reason: "Who may begin may not be allowed to go on.", fault: alwaysOn("PATCH", part(half, status(403))), want: want{Methods: "POST,PATCH,DELETE", Opened: []int64{0}, Sent: half, Reason: outcome.Unauthorized}},
		"NoToken":   {reason: "A token that is not taken a second time is no token that ended.", fault: alwaysOn("PATCH", part(100, status(401))), want: want{Methods: "POST,PATCH,GET,PATCH,DELETE", Opened: []int64{0, 100}, Sent: 200, Reason: outcome.Unauthorized}},
		"Full":      {reason: "A full disk stays full.", fault: alwaysOn("PATCH", part(half, status(507))), want: want{Methods: "POST,PATCH,DELETE", Opened: []int64{0}, Sent: half, Reason: outcome.NoSpace}},

		"StatusError":  {reason: "It is asked again how far it is.", fault: allOf(onceOn("PATCH", part(half, reset)), onceOn("GET", status(500))), want: want{Methods: "POST,PATCH,GET,GET,PATCH,PUT", Opened: []int64{0, half}, Sent: size}},
		"StatusReset":  {reason: "Also over another connection.", fault: allOf(onceOn("PATCH", part(half, reset)), onceOn("GET", reset)), want: want{Methods: "POST,PATCH,GET,GET,PATCH,PUT", Opened: []int64{0, half}, Sent: size}},
		"StatusStall":  {reason: "And when the registry stands still.", fault: allOf(onceOn("PATCH", part(half, reset)), onceOn("GET", stall)), want: want{Methods: "POST,PATCH,GET,GET,PATCH,PUT", Opened: []int64{0, half}, Sent: size}, stalls: true},
		"Forgotten":    {reason: "A registry that forgot the upload gets it anew.", fault: allOf(onceOn("PATCH", part(half, reset)), onceOn("GET", testregistry.Status(404, "BLOB_UPLOAD_UNKNOWN", ""))), want: want{Methods: "POST,PATCH,GET,POST,PATCH,PUT", Opened: []int64{0, 0}, Sent: size + half}},
		"Forgets":      {reason: "One that always does gets it in one request.", fault: allOf(testregistry.Times(2, testregistry.On("PATCH", uploads), part(half, reset)), alwaysOn("GET", status(404))), want: want{Methods: "POST,PATCH,GET,POST,PATCH,GET,POST,PUT", Opened: []int64{0, 0, 0}, Sent: size + 2*half}},
		"NoStatus":     {reason: "One that does not tell, too.", fault: allOf(onceOn("PATCH", part(half, reset)), alwaysOn("GET", status(405))), want: want{Methods: "POST,PATCH,GET,POST,PUT", Opened: []int64{0, 0}, Sent: size + half}},
		"StatusDenied": {reason: "Also one that does not tell this account.", fault: allOf(onceOn("PATCH", part(half, reset)), alwaysOn("GET", status(403))), want: want{Methods: "POST,PATCH,GET,POST,PUT", Opened: []int64{0, 0}, Sent: size + half}},
		"Moved":        {reason: "Where it stood has moved on: it is asked again.", fault: allOf(onceOn("PATCH", part(half, reset)), testregistry.Times(1, second("PATCH"), status(416))), want: want{Methods: "POST,PATCH,GET,PATCH,GET,PATCH,PUT", Opened: []int64{0, half, half}, Sent: size}},
		"NoResume":     {reason: "A registry that takes nothing more gets it in one request.", fault: allOf(onceOn("PATCH", part(half, reset)), testregistry.Times(1, second("PATCH"), status(400))), want: want{Methods: "POST,PATCH,GET,PATCH,DELETE,POST,PUT", Opened: []int64{0, half, 0}, Sent: size + half}},

		"PutError":   {reason: "The end is asked for again.", fault: onceOn("PUT", status(500)), want: want{Methods: "POST,PATCH,PUT,GET,PUT", Opened: []int64{0}, Sent: size}},
		"PutReset":   {reason: "Also over another connection.", fault: onceOn("PUT", reset), want: want{Methods: "POST,PATCH,PUT,GET,PUT", Opened: []int64{0}, Sent: size}},
		"PutStall":   {reason: "And when the registry stands still.", fault: onceOn("PUT", stall), want: want{Methods: "POST,PATCH,PUT,GET,PUT", Opened: []int64{0}, Sent: size}, stalls: true},
		"PutLost":    {reason: "It ended, and its answer was lost.", fault: onceOn("PUT", part(0, reset)), want: want{Methods: "POST,PATCH,PUT,GET,HEAD", Opened: []int64{0}, Sent: size}},
		"PutSwallow": {reason: "Or did not come.", fault: onceOn("PUT", part(0, stall)), want: want{Methods: "POST,PATCH,PUT,GET,HEAD", Opened: []int64{0}, Sent: size}, stalls: true},
		"PutToken":   {reason: "The token has ended before the end.", fault: onceOn("PUT", status(401)), want: want{Methods: "POST,PATCH,PUT,GET,PUT", Opened: []int64{0}, Sent: size}},
		"PutOther":   {reason: "The registry's word on the digest is the last.", fault: onceOn("PUT", testregistry.Status(400, "DIGEST_INVALID", "")), want: want{Methods: "POST,PATCH,PUT,DELETE", Opened: []int64{0}, Sent: size, Reason: outcome.Mismatch}},
		"PutMixed": {
			reason: "But if the bytes came in parts, it may have put them together wrongly.",
			fault:  allOf(onceOn("PATCH", part(half, reset)), onceOn("PUT", testregistry.Status(400, "DIGEST_INVALID", ""))),
			want:   want{Methods: "POST,PATCH,GET,PATCH,PUT,DELETE,HEAD,POST,PUT", Opened: []int64{0, half, 0}, Sent: 2 * size},
		},

		"Small":       {reason: "A small blob goes in one request.", size: small, fault: allOf(), want: want{Methods: "POST,PUT", Opened: []int64{0}, Sent: small}},
		"SmallReset":  {reason: "And goes anew if it does not arrive.", size: small, fault: onceOn("PUT", testregistry.Reset(small/2)), want: want{Methods: "POST,PUT,DELETE,HEAD,POST,PUT", Opened: []int64{0, 0}, Sent: small + small/2}},
		"SmallLost":   {reason: "It is not sent again for an answer.", size: small, fault: onceOn("PUT", part(small, reset)), want: want{Methods: "POST,PUT,DELETE,HEAD", Opened: []int64{0}, Sent: small}},
		"SmallDenied": {reason: "What is refused is not sent again.", size: small, fault: alwaysOn("PUT", status(405)), want: want{Methods: "POST,PUT,DELETE", Opened: []int64{0}, Reason: outcome.Unsupported}},
	}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.size == 0 {
				tc.size = size
			}
			d, content := contentOf(name, tc.size)
			front, sent, source := r.Front(t), &scale{}, &shelf{content: content}
			c := newClient(t, optionsFor(front))
			if tc.stalls {
				// Longer than the registry takes for anything by itself.
				c.stall, c.commit = time.Second, time.Second
			}
			// It asks once to learn which credentials are wanted.
			if has, err := c.HasBlob(t.Context(), repository, d); has || err != nil {
				t.Fatalf("HasBlob(...): got %t, %v", has, err)
			}
			front.ResetRequests()
			front.SetFault(sent.before(tc.fault))
			err := c.Upload(t.Context(), repository+"/"+strings.ToLower(name), d, source.open, soon)
			got := want{Methods: methods(front), Opened: source.offsets(), Sent: sent.weighed(), Reason: reasonOf(err)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nUpload(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			checkRefusal(t, tc.reason, err, tc.want.Reason, "")
			c = newClient(t, optionsFor(r))
			if has, err := c.HasBlob(t.Context(), repository+"/"+strings.ToLower(name), d); has != (tc.want.Reason == "") || err != nil {
				t.Errorf("\n%s\nHasBlob(...): got %t, %v", tc.reason, has, err)
			}
		})
	}
}

// second matches all requests of a method to uploads but the first one.
func second(method string) testregistry.Match {
	var mu sync.Mutex
	seen := 0
	return func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if testregistry.On(method, uploads)(r) {
			seen++
		}
		return seen > 1
	}
}

// TestUploadBreaks breaks connections at both ends for real: what the registry
// has then is not what was sent.
func TestUploadBreaks(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}, TLS: true})
	for i, after := range []int64{0, 1, 4095, 70_000, 1 << 20, 5<<20 + 1, size - 1, size} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			d, content := contentOf(fmt.Sprint("breaks", i), size)
			front, sent, source := r.Front(t), &scale{}, &shelf{content: content}
			front.SetFault(sent.before(onceOn("PATCH", testregistry.Break(after))))
			c := newClient(t, optionsFor(front))
			retries := soon
			retries.FirstWait = 200 * time.Millisecond
			if err := c.Upload(t.Context(), repository, d, source.open, retries); err != nil {
				t.Fatal(err)
			}
			// What it has may grow for a moment after it was asked; it then
			// refuses to go on, and is asked again.
			opened, most := source.offsets(), after
			for _, at := range opened[1:] {
				if at > after {
					t.Errorf("want the source to be opened where the registry stood, got %v", opened)
				}
				most += size - at
			}
			if sent.weighed() > max(most, size) || len(opened) > 3 {
				t.Errorf("want at most %d bytes to be sent, got %d, from %v on", max(most, size), sent.weighed(), opened)
			}
			if has, err := c.HasBlob(t.Context(), repository, d); !has || err != nil {
				t.Errorf("HasBlob(...): got %t, %v", has, err)
			}
		})
	}
}

// TestUploadShortTokens has an upload take three times as long as tokens live,
// with a break in it.
func TestUploadShortTokens(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	for name, entry := range map[string]testregistry.Entry{"Password": testregistry.EntryFor(ada), "Identity": testregistry.IdentityOf(ada)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}, TokenLife: 2 * time.Second})
			o := optionsFor(r)
			o.DockerConfig = testregistry.DockerConfig(map[string]testregistry.Entry{r.Host(): entry})
			d, content := contentOf(name, size)
			source := &shelf{content: content, wrap: func(from io.Reader) io.Reader {
				return &pacer{from: from, piece: size / 6, wait: time.Second}
			}}
			r.SetFault(onceOn("PATCH", testregistry.Part(size/2, testregistry.Reset(0))))
			start := time.Now()
			if err := newClient(t, o).Upload(t.Context(), repository, d, source.open, soon); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < 6*time.Second {
				t.Errorf("want the upload to take 6 s, took %s", took)
			}
			if diff := cmp.Diff([]int64{0, size / 2}, source.offsets()); diff != "" {
				t.Errorf("want it to go on where it broke: -want, +got:\n%s", diff)
			}
			if got := r.Count("", tokenPath); got < 3 {
				t.Errorf("want a token for the start, one after the break and one for the end, got %d", got)
			}
		})
	}
}

// A pacer waits before each piece.
type pacer struct {
	from        io.Reader
	piece, left int
	wait        time.Duration
}

func (p *pacer) Read(b []byte) (int, error) {
	if p.left == 0 {
		<-time.After(p.wait)
		p.left = p.piece
	}
	n, err := p.from.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}
