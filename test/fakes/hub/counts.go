package hub

import (
	"io"
	"net/http"
	"sync/atomic"
)

// contentType is that of all files.
const contentType = "application/octet-stream"

// Sent returns how many bytes of files were sent so far, from the Hub and from
// its CDN: what the handler wrote, which may be more than what arrived where a
// connection broke. A [Line] counts all bytes.
func (h *Handler) Sent() int64 { return h.sent.Load() }

// A countedWriter counts what is written of a file.
type countedWriter struct {
	http.ResponseWriter

	sent *atomic.Int64
}

func (w *countedWriter) count(n int64) {
	if w.Header().Get("Content-Type") == contentType {
		w.sent.Add(n)
	}
}

func (w *countedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.count(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom, by which a file goes to a connection
// without passing through this program.
func (w *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.count(n)
	return n, err
}

// Unwrap is what http.ResponseController looks for.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *countedWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }
