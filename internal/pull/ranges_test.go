package pull

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// rangeSize is the size of ranges in tests.
const rangeSize = 100_000

// ranged returns a pull in small ranges, each by a request of its own.
func (f *front) ranged(dir string, d digest.Digest) (*Pull, fmt.Stringer) {
	p, log := f.pulling(dir, d)
	p.segment, p.requestTime = rangeSize, 0
	return p, log
}

// text returns a content of n bytes, whose ranges differ.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:n]
}

// sent counts the bytes of blobs that are sent.
func sent(n *atomic.Int64, next wrapper) wrapper {
	return func(h http.Handler) http.Handler {
		if next != nil {
			h = next(h)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&cutter{ResponseWriter: w, change: func(p []byte) {
				if strings.Contains(r.URL.Path, "/blobs/") {
					n.Add(int64(len(p)))
				}
			}}, r)
		})
	}
}

// nth disturbs the nth request for a range, counted from one, and all after it.
func nth(n int64, f fault) wrapper {
	var asked atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") && asked.Add(1) >= n {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// dropRange behaves like a registry without ranges.
func dropRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Header.Del("Range")
	next.ServeHTTP(w, r)
}

// rangeAt disturbs the request for the range that begins at an offset.
func rangeAt(offset int, f fault) wrapper {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Range"), fmt.Sprintf("bytes=%d-", offset)) {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func TestRanges(t *testing.T) {
	const size = 12*rangeSize + 1
	files := map[string]string{"model.bin": text(size), "small": "s"}
	cases := map[string]struct {
		reason  string
		wrap    func() wrapper
		ranges  int   // Requests for blobs at least.
		most    int64 // Bytes that are sent at most.
		want    outcome.Reason
		message string
	}{
		"Ranges":      {reason: "A large layer should come in ranges, each once.", ranges: 14, most: size + 1},
		"NoRanges":    {reason: "A registry without ranges should send the layer in one stream.", wrap: func() wrapper { return nth(1, dropRange) }, ranges: 2, most: 3 * size},
		"Refused":     {reason: "A registry that refuses ranges should send the layer in one stream.", wrap: func() wrapper { return nth(1, refusesRanges(always)) }, ranges: 2, most: 3 * size},
		"NoMore":      {reason: "If ranges end to be served, the rest should come in one stream.", wrap: func() wrapper { return nth(5, dropRange) }, ranges: 5, most: 3 * size},
		"Elsewhere":   {reason: "A range that was not asked for should not be used.", wrap: func() wrapper { return nth(6, wrongRange) }, want: outcome.Unsupported, ranges: 5, most: 3 * size},
		"Broken":      {reason: "A range whose connection breaks should be resumed.", wrap: func() wrapper { return times(5, cut(30_000)) }, ranges: 18, most: size + 1},
		"Busy":        {reason: "A registry that is busy should be asked again.", wrap: func() wrapper { return times(4, status(http.StatusServiceUnavailable)) }, ranges: 17, most: size + 1},
		"WrongBytes":  {reason: "Wrong bytes in one range should be an error, and leave nothing behind.", wrap: func() wrapper { return rangeAt(3*rangeSize, flip) }, want: outcome.Mismatch, message: "other bytes", ranges: 13, most: size + 1},
		"FailedRange": {reason: "If one range fails permanently, so should the pull.", wrap: func() wrapper { return rangeAt(3*rangeSize, status(http.StatusNotFound)) }, want: outcome.NotFound, ranges: 2, most: size + 1000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, open, false)
			d := f.push(t, modelPack, rawLayers(files)...)
			var n atomic.Int64
			var wrap wrapper
			if tc.wrap != nil {
				wrap = tc.wrap()
			}
			f.breaks(sent(&n, wrap))
			dir := t.TempDir()
			p, log := f.ranged(dir, d)
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
			if tc.want == "" {
				holdsFiles(t, dir, files)
			}
			if got := len(f.requests("/blobs/")); got < tc.ranges || n.Load() > tc.most {
				t.Errorf("\n%s\nRun(...): %d requests for blobs, %d bytes sent\n%s", tc.reason, got, n.Load(), log)
			}
			if _, err := os.Stat(filepath.Join(dir, "model.bin")); tc.want != "" && err == nil {
				t.Errorf("\n%s\nthe file has its name", tc.reason)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, partialDir, "*")); tc.message != "" && len(left) > 1 {
				t.Errorf("\n%s\nleft behind: %v", tc.reason, left)
			}
			if tc.want == "" {
				checkAgain(t, f, dir, d)
			}
		})
	}
}

// TestRangesSideBySide checks that several ranges of a layer are fetched concurrently, but
// not before all layers have begun.
func TestRangesSideBySide(t *testing.T) {
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(map[string]string{"model.bin": text(4 * rangeSize)})...)
	var at, most atomic.Int64
	all := make(chan struct{})
	f.breaks(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				if n := at.Add(1); n == 4 {
					most.Store(n)
					close(all)
				}
				select {
				case <-all:
				case <-time.After(10 * time.Second):
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	p, log := f.ranged(t.TempDir(), d)
	if _, err := p.Run(t.Context()); err != nil || most.Load() != 4 {
		t.Errorf("want four requests at the same time, got %d, %v\n%s", most.Load(), err, log)
	}
}

// TestLongRequests checks that a stream that is fast asks for several segments at once.
func TestLongRequests(t *testing.T) {
	files := map[string]string{"model.bin": text(12 * rangeSize)}
	f := newFront(t, open, false)
	d := f.push(t, modelPack, rawLayers(files)...)
	dir := t.TempDir()
	p, log := f.ranged(dir, d)
	p.requestTime, p.options.Parallel = time.Hour, 1
	_, err := p.Run(t.Context())
	checkError(t, "A pull in long requests should succeed.", err, "", "")
	holdsFiles(t, dir, files)
	// Each asks for twice as many as the one before, and half of what is left: 1, 2, 4, 2, 1,
	// 1 and 1 segments.
	if got := len(f.requests("/blobs/")); got != 7 {
		t.Errorf("want 7 requests for blobs, got %d\n%s", got, log)
	}
}

// TestResumeRanges checks that a pull uses the ranges that an earlier one has fetched.
func TestResumeRanges(t *testing.T) {
	const size = 12 * rangeSize
	files := map[string]string{"model.bin": text(size)}
	f := newFront(t, open, false)
	raw := rawLayers(files)
	d := f.push(t, modelPack, raw...)
	name := partial(raw[0].Digest)
	cases := map[string]struct {
		reason string
		change func(t *testing.T, dir string)
		most   int64
	}{
		"Nothing":   {reason: "What was fetched should not be fetched again.", change: func(*testing.T, string) {}, most: size - 4*rangeSize},
		"Torn":      {reason: "A line that is not complete should be ignored.", change: func(t *testing.T, dir string) { appendTo(t, filepath.Join(dir, segmentsOf(name)), "11 100") }, most: size - 4*rangeSize},
		"Nonsense":  {reason: "A line that is none should be ignored.", change: func(t *testing.T, dir string) { appendTo(t, filepath.Join(dir, segmentsOf(name)), "900 5\n-1 7\n") }, most: size - 4*rangeSize},
		"Lie":       {reason: "If the record is wrong, the layer should be fetched again.", change: func(t *testing.T, dir string) { appendTo(t, filepath.Join(dir, segmentsOf(name)), "11 100000\n") }, most: 2 * size},
		"Gone":      {reason: "Without its record, what is no prefix should be fetched again.", change: func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, segmentsOf(name))) }, most: 2 * size},
		"Other":     {reason: "The record of other sizes should not be used.", change: func(t *testing.T, dir string) { write(t, dir, segmentsOf(name), "segments of 5 of 10 bytes\n0 5\n") }, most: size},
		"Shortened": {reason: "What a record has and the file does not should be fetched.", change: func(_ *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, name), 0) }, most: size},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			// The first range does not come to its end.
			var fetched atomic.Int64
			f.breaks(sent(&fetched, func(next http.Handler) http.Handler {
				return rangeAt(0, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
					for deadline := time.Now().Add(10 * time.Second); fetched.Load() < 5*rangeSize && time.Now().Before(deadline); {
						time.Sleep(time.Millisecond)
					}
					cancel()
					<-r.Context().Done()
				})(next)
			}))
			p, _ := f.ranged(dir, d)
			_, err := p.Run(ctx)
			checkError(t, tc.reason, err, outcome.Evicted, "it resumes")
			tc.change(t, dir)
			var n atomic.Int64
			f.breaks(sent(&n, nil))
			p, log := f.ranged(dir, d)
			if _, err := p.Run(t.Context()); err != nil || n.Load() > tc.most {
				t.Errorf("\n%s\nRun(...): %d bytes, %v\n%s", tc.reason, n.Load(), err, log)
			}
			holdsFiles(t, dir, files)
			checkAgain(t, f, dir, d)
		})
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	out, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.WriteString(text)
	if err != nil || out.Close() != nil {
		t.Fatal(err)
	}
}

// TestParts fills parts by several streams in random turns, and checks their digest.
func TestParts(t *testing.T) {
	const size = 1 << 20
	content := text(size)
	cases := map[string]struct {
		reason  string
		streams int
		most    int // Segments of a span.
	}{
		"One":       {reason: "One stream's bytes come in order.", streams: 1, most: 1},
		"OneLong":   {reason: "So they do with many segments for each request.", streams: 1, most: 40},
		"Three":     {reason: "What comes before its turn is hashed later.", streams: 3, most: 1},
		"ThreeLong": {reason: "Streams share the segments, however many one asks for.", streams: 3, most: 40},
		"Many":      {reason: "So do many streams.", streams: 16, most: 7},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = out.Close() }()
			l := modelpack.Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromString(content), Size: size}}
			p := newParts(l, 10_000, out)
			p.createRecord = func(string) (*os.File, error) { return os.CreateTemp(t.TempDir(), "") }
			var group sync.WaitGroup
			for range tc.streams {
				group.Go(func() {
					b := p.takeBuffer()
					defer p.giveBack(b)
					for s, err := p.take(tc.most); s.first < s.end && err == nil; s, err = p.take(tc.most) {
						from, to := p.missing(s)
						in := strings.NewReader(content[from:to])
						for i := s.first; i < s.end; i++ {
							if err := p.fill(i, in, b); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			var got digest.Digest
			var hashed error
			done := make(chan struct{})
			go func() { got, hashed = p.hash(); close(done) }()
			group.Wait()
			p.end(false)
			<-done
			if hashed != nil || got != l.Digest {
				t.Errorf("\n%s\nhash(): want %s, got %s, %v", tc.reason, l.Digest, got, hashed)
			}
			if err := p.closeRecord(); err != nil {
				t.Error(err)
			}
			if p.drop(); p.bytes != 0 {
				t.Errorf("want no buffers to be left, got %d bytes", p.bytes)
			}
		})
	}
}

// TestTake checks which segments are given to a stream.
func TestTake(t *testing.T) {
	cases := map[string]struct {
		reason string
		done   map[int]int64 // Bytes of segments that are here.
		most   int
		want   []span
	}{
		"One":      {reason: "A stream gets the next segment.", most: 1, want: []span{{0, 1}, {1, 2}, {2, 3}}},
		"None":     {reason: "It gets one at least.", most: 0, want: []span{{0, 1}}},
		"Half":     {reason: "Half of what no stream was given is left to others.", most: 100, want: []span{{0, 5}, {5, 7}, {7, 8}, {8, 9}, {9, 10}, {10, 10}}},
		"Several":  {reason: "It gets no more than it asks for.", most: 3, want: []span{{0, 3}, {3, 6}}},
		"Whole":    {reason: "What is here is not fetched again.", done: map[int]int64{0: 10, 2: 10}, most: 4, want: []span{{1, 2}, {3, 6}}},
		"Begun":    {reason: "What a segment lacks may come first, but not amid a request.", done: map[int]int64{0: 4, 2: 3}, most: 4, want: []span{{0, 2}, {2, 6}}},
		"Complete": {reason: "Of a complete layer there is nothing to fetch.", done: map[int]int64{0: 10, 1: 10, 2: 10, 3: 10, 4: 10, 5: 10, 6: 10, 7: 10, 8: 10, 9: 10}, most: 4, want: []span{{10, 10}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := newParts(modelpack.Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromString(""), Size: 100}}, 10, nil)
			p.createRecord = func(string) (*os.File, error) { return os.CreateTemp(t.TempDir(), "") }
			for i, n := range tc.done {
				p.done[i] = n
			}
			var got []span
			for range tc.want {
				s, err := p.take(tc.most)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(span{})); diff != "" {
				t.Errorf("\n%s\ntake(): -want, +got:\n%s", tc.reason, diff)
			}
			if err := p.closeRecord(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestManySegments checks that the segments of a layer are bounded, whatever its size.
func TestManySegments(t *testing.T) {
	for _, size := range []int64{0, 1, segmentBytes, segmentBytes + 1, 1 << 40, 1<<63 - 1} {
		p := newParts(modelpack.Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromString(""), Size: size}}, segmentBytes, nil)
		var sum int64
		for i := range p.done {
			sum += p.length(i)
		}
		if len(p.done) > maxSegments || sum != size {
			t.Errorf("%d bytes: got %d segments of %d bytes together", size, len(p.done), sum)
		}
	}
}

// FuzzRecord checks that no record claims more than there is.
func FuzzRecord(f *testing.F) {
	f.Add("segments of 10 of 95 bytes\n0 10\n9 5\n3 2\n", int64(95))
	f.Add("segments of 10 of 95 bytes\n0 11\n10 5\n-1 2\n", int64(95))
	f.Add("segments of 10 of 95 bytes\n0 10", int64(3))
	f.Fuzz(func(t *testing.T, record string, has int64) {
		p := newParts(modelpack.Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromString(""), Size: 95}}, 10, nil)
		known := p.read(strings.NewReader(record), has)
		for i, n := range p.done {
			if n < 0 || n > p.length(i) || n > 0 && (!known || int64(i)*p.size+n > has) {
				t.Errorf("segment %d: %d bytes of %d", i, n, has)
			}
		}
		again := newParts(p.layer, 10, nil)
		text := fmt.Sprintf(recordHead, p.size, p.layer.Size) + p.lines(func(n, _ int64) bool { return n > 0 })
		if !again.read(strings.NewReader(text), p.layer.Size) {
			t.Error("a record that was written should be read")
		}
		if diff := cmp.Diff(p.done, again.done); diff != "" {
			t.Errorf("a record that was written: -want, +got:\n%s", diff)
		}
	})
}
