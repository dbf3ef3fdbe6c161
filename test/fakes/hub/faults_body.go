package hub

import (
	"fmt"
	"net"
	"net/http"
	"strings"
)

// OnRange matches requests for a file's bytes from this one on.
func OnRange(first int64) Match {
	prefix := fmt.Sprintf("bytes=%d-", first)
	return func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Range"), prefix) }
}

// Both matches what both match.
func Both(a, b Match) Match {
	return func(r *http.Request) bool { return a(r) && b(r) }
}

// Stall sends nothing more after n bytes of a body, until the client goes.
func Stall(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&harmedWriter{ResponseWriter: w, at: n, harm: func([]byte) {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}}, r)
		})
	}
}

// Reset resets the connection after n bytes of a body: what is on its way may
// be lost.
func Reset(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&harmedWriter{ResponseWriter: w, at: n, harm: func([]byte) {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(http.ErrAbortHandler)
				}
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = c.Close()
				panic(http.ErrAbortHandler)
			}}, r)
		})
	}
}

// WithoutRanges answers with the whole file whatever range was asked for, as a
// server does that knows no ranges.
func WithoutRanges() Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.Header.Del("Range")
			next.ServeHTTP(w, r)
		})
	}
}

// Header puts a header into each answer in place of its own, for example
// Content-Range or ETag; an empty value takes it away.
func Header(name, value string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&headerWriter{ResponseWriter: w, name: name, value: value}, r)
		})
	}
}

type headerWriter struct {
	http.ResponseWriter

	name, value string
}

func (w *headerWriter) WriteHeader(status int) {
	w.Header().Set(w.name, w.value)
	if w.value == "" {
		w.Header().Del(w.name)
	}
	w.ResponseWriter.WriteHeader(status)
}
