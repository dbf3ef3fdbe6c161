package hub

import (
	"net/http"
	"strings"
	"sync/atomic"
)

// A Fault is a handler before a Hub that injects faults. It may answer itself,
// pass the request on to next, or change what next answers.
type Fault func(next http.Handler) http.Handler

// A Match says which requests a fault is for.
type Match func(*http.Request) bool

// On matches requests whose path contains part.
func On(part string) Match {
	return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
}

// Times lets f happen to the first n requests that match, and to no other.
func Times(n int, match Match, f Fault) Fault {
	var seen atomic.Int64
	return func(next http.Handler) http.Handler {
		harmed := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) && seen.Add(1) <= int64(n) {
				harmed.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Status answers with this status and these headers, for example 429 with
// Retry-After.
func Status(status int, header http.Header) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range header {
				w.Header()[k] = v
			}
			writeError(w, status, "", http.StatusText(status))
		})
	}
}

// Truncate breaks the connection after n bytes of a body.
func Truncate(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&harmedWriter{ResponseWriter: w, at: n, harm: func([]byte) {
				// Leaves the client with less than Content-Length promised.
				panic(http.ErrAbortHandler)
			}}, r)
		})
	}
}

// Corrupt changes the byte at offset n of a body.
func Corrupt(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&harmedWriter{ResponseWriter: w, at: n, harm: func(b []byte) { b[0] ^= 0xff }}, r)
		})
	}
}

// A harmedWriter does harm to the byte at one offset of a successful body.
type harmedWriter struct {
	http.ResponseWriter

	at      int64
	harm    func([]byte)
	written int64
	status  int
}

func (w *harmedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *harmedWriter) Write(b []byte) (int, error) {
	offset := w.at - w.written
	if w.status < http.StatusMultipleChoices && 0 <= offset && offset < int64(len(b)) {
		n, err := w.ResponseWriter.Write(b[:offset])
		w.written += int64(n)
		if err != nil {
			return n, err
		}
		if f, ok := w.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		rest := append([]byte(nil), b[offset:]...)
		w.harm(rest)
		m, err := w.ResponseWriter.Write(rest)
		w.written += int64(m)
		return n + m, err
	}
	n, err := w.ResponseWriter.Write(b)
	w.written += int64(n)
	return n, err
}
