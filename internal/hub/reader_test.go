package hub

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("want %s", what)
		}
	}
}

// running returns the stacks of goroutines in this package's code.
func running() []string {
	buf := make([]byte, 1<<20)
	var ours []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "hub.(*ahead)") || strings.Contains(stack, "hub.(*source)") || strings.Contains(stack, "net/http.(*persistConn)") {
			ours = append(ours, stack)
		}
	}
	return ours
}

func TestReaderClose(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		read   int64
	}{
		"Unread":   {reason: "What is read ahead ends."},
		"Midway":   {reason: "In the middle too.", read: 3*rangeSize + 10},
		"Stalled":  {reason: "What stands still is not waited for.", fault: cdn(100, notFirst(), testhub.Stall(10)), read: rangeSize},
		"Mute":     {reason: "Nor is what does not answer.", fault: cdn(100, notFirst(), mute), read: rangeSize},
		"Finished": {reason: "At the end there is nothing to end.", read: int64(len(large))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, large)
			w.client.Close()
			w.hub.SetFault(tc.fault)
			r, err := w.download(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, r, tc.read); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for range 2 {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("\n%s\nClose(): took %s", tc.reason, d)
			}
			w.client.Close()
			until(t, "no request to be left", func() bool { return len(running()) == 0 })
			if w.budget.Used() != 0 {
				t.Errorf("\n%s\nwant no memory to be left, got %d", tc.reason, w.budget.Used())
			}
			if _, err := r.Read(make([]byte, 1)); tc.read < w.file.Size && !errors.Is(err, os.ErrClosed) {
				t.Errorf("\n%s\nRead(...) after Close(): got %v", tc.reason, err)
			}
		})
	}
}

// A request's body may be closed while it is being read.
func TestReaderCloseWhileReading(t *testing.T) {
	w := newWorld(t, large)
	w.hub.SetFault(cdn(100, notFirst(), mute))
	r, err := w.download(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, r)
		done <- err
	}()
	until(t, "the first range to be read", func() bool { return w.asked("/cdn/") > 3 })
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("want an error of who was reading")
	}
}

func TestDownloadHonoursContext(t *testing.T) {
	w := newWorld(t, large)
	w.hub.SetFault(cdn(100, notFirst(), testhub.Status(500, nil)))
	w.client.streams = download.RetryPolicy()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := w.read(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("want the context to end all waits, got %v after %s", err, time.Since(start))
	}
	until(t, "no request to be left", func() bool { return w.budget.Used() == 0 })

	if _, err := w.download(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want nothing to be begun, got %v", err)
	}
}

// More files than the budget has blocks, of which most stand still, do not keep
// each other from being read.
func TestDownloadsShareBudget(t *testing.T) {
	w := newWorld(t, large)
	w.budget = download.NewBudget(3 * (256 << 10))
	readers := make([]*download.Reader, 6)
	for i := range readers {
		r, err := w.download(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		readers[i] = r
	}
	until(t, "all memory to be in use", func() bool { return w.budget.Used() == 3*(256<<10) })
	for i, r := range readers {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, large) {
			t.Errorf("reader %d: want the file, got %d bytes, %v", i, len(got), err)
		}
	}
	if w.budget.Peak() != 3*(256<<10) || w.budget.Used() != 0 {
		t.Errorf("want all of the memory and no more, got %d, and %d at the end", w.budget.Peak(), w.budget.Used())
	}
}

func TestDownloadsSideBySide(t *testing.T) {
	w := newWorld(t, large)
	w.hub.SetFault(cdn(20, all, testhub.Truncate(50_000)))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := w.read(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if sent := w.sent(); sent != 8*w.file.Size {
		t.Errorf("want each byte once for each, got %d for %d", sent, 8*w.file.Size)
	}
}

// TestDownloadResumed checks that a download resumes at an offset.
func TestDownloadResumed(t *testing.T) {
	w := newWorld(t, large)
	v := w.file.NewVerifier()
	for _, part := range []struct{ from, n int64 }{{0, 1_000_000}, {1_000_000, 2_084_345}} {
		r, err := w.download(t.Context(), part.from)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(v, r, part.n); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	if err := v.Verify(); err != nil {
		t.Error(err)
	}
}

// The file is many times larger than what a slow reader's downloads may hold.
func TestDownloadBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes hundreds of mebibytes")
	}
	const size, limit, most = 512 << 20, 16 << 20, 32 << 20
	_, c, f := serveSparse(t, &testhub.Line{}, size)
	b := download.NewBudget(limit)
	runtime.GC()
	before, highest := inUse(), uint64(0)
	r, err := c.Download(t.Context(), "org/large", "main", f, 0, f.Size, download.Options{Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	until(t, "all memory to be in use", func() bool { return b.Used() == limit })
	for read := int64(0); read < size; read += size / 16 {
		if _, err := io.CopyN(io.Discard, r, size/16); err != nil {
			t.Fatal(err)
		}
		highest = max(highest, inUse())
	}
	if b.Peak() > limit || highest > before+most {
		t.Errorf("want at most %d MiB for %d MiB, got %d in blocks and %d in all", limit>>20, size>>20, b.Peak()>>20, (highest-before)>>20)
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A range takes over the connection of another.
func TestConnectionsAreReused(t *testing.T) {
	w := newWorld(t, large)
	var connections sync.Map
	w.hub.SetFault(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			connections.Store(r.RemoteAddr, true)
			next.ServeHTTP(rw, r)
		})
	})
	if _, err := w.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range connections.Range {
		n++
	}
	// One to the Hub, and to its CDN as many as there are ranges at a time.
	if n > 6 {
		t.Errorf("want eleven ranges to need few connections, got %d", n)
	}
}
