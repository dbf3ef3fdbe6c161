package pull

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A fault disturbs a request for a blob.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

type wrapper = func(http.Handler) http.Handler

// times disturbs the first n requests for a blob.
func times(n int64, f fault) func(http.Handler) http.Handler {
	var asked atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") && asked.Add(1) <= n {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func status(code int) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(code) }
}

// cut interrupts the connection after some bytes.
func cut(after int) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: after}, r)
	}
}

// truncate ends the body after some bytes without an error.
func truncate(after int) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		b := rec.Body.Bytes()[:min(after, rec.Body.Len())]
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(b)
	}
}

// flip changes all bytes.
func flip(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(&cutter{ResponseWriter: w, change: func(p []byte) {
		for i := range p {
			p[i] ^= 1
		}
	}}, r)
}

// noRanges behaves like a registry without ranges, after a cut.
func noRanges(after int) fault {
	first := atomic.Bool{}
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		if first.CompareAndSwap(false, true) {
			cut(after)(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// refusesRanges answers 416 to any range, after a cut.
func refusesRanges(after int) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		next.ServeHTTP(&cutter{ResponseWriter: w, left: after}, r)
	}
}

// wrongRange sends the bytes from the start for any range.
func wrongRange(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Range", "bytes 0-99/100")
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(make([]byte, 100))
}

const always = 1 << 40

func TestFaults(t *testing.T) {
	files := map[string]string{"model.bin": strings.Repeat("weight", 100_000)}
	raw := rawLayers(files)
	archive := []content{tarLayer(t, "application/vnd.kitops.modelkit.model.v1.tar", files)}
	zipped := []content{tarLayer(t, specv1.MediaTypeModelWeightGzip, files)}
	cases := map[string]struct {
		reason  string
		wrap    func() wrapper
		want    outcome.Reason
		message string
	}{
		"CutOnce":       {reason: "A layer should be resumed with another connection.", wrap: func() wrapper { return times(1, cut(500)) }},
		"CutOften":      {reason: "A layer should be resumed as often as each connection yields some bytes.", wrap: func() wrapper { return times(4, cut(300)) }},
		"CutAlways":     {reason: "An error should be returned after too many interruptions.", wrap: func() wrapper { return times(always, cut(100)) }, want: outcome.Unavailable, message: "cut"},
		"CutAtOnce":     {reason: "An error should be returned if no connection yields any bytes.", wrap: func() wrapper { return times(always, cut(0)) }, want: outcome.Unavailable, message: "cut"},
		"TruncatedOnce": {reason: "The rest of a truncated response should be fetched.", wrap: func() wrapper { return times(1, truncate(500)) }},
		"Truncated":     {reason: "An error should be returned if the registry always ends the layer early.", wrap: func() wrapper { return times(always, truncate(10)) }, want: outcome.Unavailable, message: "before its last"},
		"Empty":         {reason: "An error should be returned if the registry's responses are empty.", wrap: func() wrapper { return times(always, truncate(0)) }, want: outcome.Unavailable, message: "before its last"},
		"NoRanges":      {reason: "Bytes that are already present should be dropped if the registry ignores ranges.", wrap: func() wrapper { return times(2, noRanges(500)) }},
		"RefusesRanges": {reason: "A layer should be fetched again if the registry refuses ranges.", wrap: func() wrapper { return times(2, refusesRanges(500)) }},
		"WrongBytes":    {reason: "An error should be returned for bytes with another digest.", wrap: func() wrapper { return times(always, flip) }, want: outcome.Mismatch, message: "other bytes"},
		"WrongOnce":     {reason: "An error should be returned for bytes with another digest, without a retry.", wrap: func() wrapper { return times(1, flip) }, want: outcome.Mismatch, message: "other bytes"},
		"WrongRange":    {reason: "A response with another range should not be used.", wrap: func() wrapper { return times(always, wrongRange) }, want: outcome.Unsupported, message: "Content-Range"},
		"Unauthorized":  {reason: "The error should name the flag for credentials.", wrap: func() wrapper { return times(always, status(http.StatusUnauthorized)) }, want: outcome.Unauthorized, message: "--docker-config"},
		"Forbidden":     {reason: "The error should name the flag for credentials.", wrap: func() wrapper { return times(always, status(http.StatusForbidden)) }, want: outcome.Unauthorized, message: "--docker-config"},
		"NotFound":      {reason: "An error should be returned for a blob that was deleted.", wrap: func() wrapper { return times(always, status(http.StatusNotFound)) }, want: outcome.NotFound, message: "registry"},
		"Failing":       {reason: "Transient errors should be retried.", wrap: func() wrapper { return times(3, status(http.StatusInternalServerError)) }},
		"Failed":        {reason: "An error should be returned if a failure persists.", wrap: func() wrapper { return times(always, status(http.StatusInternalServerError)) }, want: outcome.Unavailable, message: "status 500"},
		"Busy":          {reason: "An error should be returned if the registry asks for a long wait.", wrap: func() wrapper { return times(3, status(http.StatusTooManyRequests)) }},
	}
	for name, tc := range cases {
		for format, layers := range map[string][]content{"Raw": raw, "Tar": archive, "Gzip": zipped} {
			t.Run(name+format, func(t *testing.T) {
				t.Parallel()
				f := newFront(t, open, false)
				d := f.push(t, modelPack, layers...)
				f.breaks(tc.wrap())
				dir := t.TempDir()
				p, log := f.pulling(dir, d)
				_, err := p.Run(t.Context())
				checkError(t, tc.reason, err, tc.want, tc.message)
				if tc.want != "" {
					holdsFiles(t, dir, map[string]string{})
					// The next pull must be able to resume.
					f.breaks(nil)
					if _, err = p.Run(t.Context()); err != nil {
						t.Errorf("\n%s\nRun(...) afterwards: %v\n%s", tc.reason, err, log)
					}
				}
				holdsFiles(t, dir, files)
			})
		}
	}
}

func TestManifestFaults(t *testing.T) {
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(map[string]string{"a": "a"})...)
	other := f.push(t, modelPack, rawLayers(map[string]string{"b": "b"})...)
	image := f.push(t, imageConfig, tarLayer(t, imageLayer, map[string]string{"bin/sh": "x"}))
	manifests := func(g fault) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g(w, r, next) })
		}
	}
	cases := map[string]struct {
		reason    string
		reference string
		wrap      func(http.Handler) http.Handler
		want      outcome.Reason
		message   string
	}{
		"NoSuchDigest": {reason: "An error should be returned for a digest that does not exist.", reference: "@sha256:" + strings.Repeat("0", 64), want: outcome.NotFound, message: "has no"},
		"NoSuchTag":    {reason: "An error should be returned for a tag that does not exist.", reference: ":v2", want: outcome.NotFound, message: "has no"},
		"AnImage":      {reason: "An error should be returned for an image that is not one of a model.", reference: "@" + image.String(), want: outcome.Unsupported, message: "outside of /models"},
		"NoReference":  {reason: "An error should be returned for a reference without a tag or digest.", reference: "", want: outcome.Unsupported, message: "registry/repository@sha256"},
		"Unauthorized": {reason: "The error should name the flag for credentials.", reference: "@" + d.String(), wrap: manifests(status(401)), want: outcome.Unauthorized, message: "--docker-config"},
		"Failed":       {reason: "An error should be returned if a failure persists.", reference: "@" + d.String(), wrap: manifests(status(503)), want: outcome.Unavailable, message: "503"},
		"OtherManifest": {reason: "An error should be returned for a manifest with another digest.", reference: "@" + d.String(), want: outcome.Mismatch,
			wrap: manifests(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.URL.Path = strings.Replace(r.URL.Path, d.String(), other.String(), 1)
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
				w.Header().Set("Docker-Content-Digest", d.String())
				_, _ = io.Copy(w, rec.Body)
			})},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f.breaks(tc.wrap)
			dir := t.TempDir()
			p, _ := f.pulling(dir, d)
			p.options.Reference = f.host() + "/" + testRepository + tc.reference
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
			holdsFiles(t, dir, map[string]string{})
		})
	}
}

func TestUnreachable(t *testing.T) {
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(map[string]string{"a": "a"})...)
	f.Close()
	p, _ := f.pulling(t.TempDir(), d)
	_, err := p.Run(t.Context())
	checkError(t, "An error should be returned if the registry cannot be reached.", err, outcome.Unavailable, "refused")
}

// TestResume checks that a pull resumes one that was stopped.
func TestResume(t *testing.T) {
	files := map[string]string{"small": "s", "model.bin": strings.Repeat("weight", 1_000_000)}
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(files)...)
	dir := t.TempDir()
	half := len(files["model.bin"]) / 2
	ctx, cancel := context.WithCancel(t.Context())
	f.breaks(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&stopper{ResponseWriter: w, left: half, stop: cancel}, r)
		})
	})
	p, log := f.pulling(dir, d)
	p.options.Parallel = 1
	_, err := p.Run(ctx)
	checkError(t, "An error should be returned if the pull is stopped.", err, outcome.Evicted, "it resumes")
	holdsFiles(t, dir, map[string]string{})

	f.breaks(nil)
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	holdsFiles(t, dir, files)
	asked := f.requests("/blobs/")
	ranged := slices.DeleteFunc(asked, func(s string) bool { return !strings.Contains(s, "bytes=") || strings.Contains(s, "bytes=0-") })
	if len(ranged) != 1 {
		t.Fatalf("want one request for a range, got %v", f.requests("/blobs/"))
	}
	from, _, _ := strings.Cut(strings.TrimPrefix(ranged[0], "GET bytes="), "-")
	if n, err := strconv.Atoi(from); err != nil || n == 0 || n > half {
		t.Errorf("want what came to be used again, got %v", ranged)
	}
}

// A stopper passes some bytes, and then waits until the request is canceled.
type stopper struct {
	http.ResponseWriter

	left int
	stop func()
}

func (s *stopper) Write(p []byte) (int, error) {
	if len(p) <= s.left {
		s.left -= len(p)
		return s.ResponseWriter.Write(p)
	}
	_ = http.NewResponseController(s.ResponseWriter).Flush()
	// The client must have written the bytes before that.
	time.AfterFunc(200*time.Millisecond, s.stop)
	<-time.After(time.Second)
	panic(http.ErrAbortHandler)
}

// TestBrokenPartial checks that partial layers of an earlier pull are verified.
func TestBrokenPartial(t *testing.T) {
	files := map[string]string{"model.bin": strings.Repeat("weight", 100_000)}
	f := newFront(t, open, false)
	raw := rawLayers(files)
	d := f.push(t, modelPack, raw...)
	cases := map[string]struct {
		reason string
		left   string
	}{
		"Wrong":   {reason: "A partial layer with wrong bytes should be fetched again.", left: "what?"},
		"Whole":   {reason: "A complete layer that is not verified should not be fetched again.", left: files["model.bin"]},
		"TooLong": {reason: "A partial layer that is too long should be truncated.", left: files["model.bin"] + "more"},
		"AllBad":  {reason: "A complete layer with wrong bytes should be fetched again.", left: strings.Repeat("WEIGHT", 100_000)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			left := filepath.Join(dir, partial(raw[0].Digest))
			if err := os.MkdirAll(filepath.Dir(left), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(left, []byte(tc.left), 0o600); err != nil {
				t.Fatal(err)
			}
			p, log := f.pulling(dir, d)
			if _, err := p.Run(t.Context()); err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, log)
			}
			holdsFiles(t, dir, files)
		})
	}
}
