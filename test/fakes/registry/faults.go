package registry

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A Fault is a handler before a registry that injects faults. It may answer itself,
// pass the request on to next, or change what next answers.
type Fault func(next http.Handler) http.Handler

// A Match says which requests a fault is for.
type Match func(*http.Request) bool

// On matches requests by their method, any if it is empty, whose path contains
// part.
func On(method, part string) Match {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && strings.Contains(r.URL.Path, part)
	}
}

// Always is more often than any test asks.
const Always = 1 << 30

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

// Status answers with this status and, as a registry does, with an error of
// this code and message (distribution-spec 1.1, "Error Codes"), and with pairs
// of headers, for example Retry-After.
func Status(status int, code, message string, header ...string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"errors": [{"code": `+strconv.Quote(code)+`, "message": `+strconv.Quote(message)+`}]}`)
		})
	}
}

// Reset resets the connection once it has taken the request's header and some
// bytes of its body.
func Reset(after int64) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, after)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer conn.Close()
			raw := conn
			if secure, ok := conn.(*tls.Conn); ok {
				raw = secure.NetConn()
			}
			if tcp, ok := raw.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		})
	}
}

// Stall takes the request's header and some bytes of its body, and then does
// nothing any more until the connection or the registry ends.
func Stall(after int64) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, after)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
	}
}

// StallBody sends some bytes of an answer's body, and then nothing any more
// until the connection or the registry ends.
func StallBody(after int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&cutter{ResponseWriter: w, left: after, then: func() {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}}, r)
		})
	}
}

// Cut breaks the connection after some bytes of an answer's body, where more
// were announced.
func Cut(after int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&cutter{ResponseWriter: w, left: after, then: func() { panic(http.ErrAbortHandler) }}, r)
		})
	}
}

// Truncate ends an answer's body after some bytes, as though it were complete.
func Truncate(after int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			b := rec.Body.Bytes()[:min(after, rec.Body.Len())]
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			w.WriteHeader(rec.Code)
			_, _ = w.Write(b)
		})
	}
}

// Part passes a request on as though it ended after some bytes of its body, keeps
// the answer to itself, and does then to the rest what f does. What the registry
// has of the body is these bytes, to the last one.
func Part(n int64, f Fault) Fault {
	return func(next http.Handler) http.Handler {
		rest := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part := r.Clone(r.Context())
			part.Body, part.ContentLength = io.NopCloser(io.LimitReader(r.Body, n)), n
			part.Header.Set("Content-Length", strconv.FormatInt(n, 10))
			if first, _, ok := strings.Cut(r.Header.Get("Content-Range"), "-"); ok {
				at, _ := strconv.ParseInt(first, 10, 64)
				part.Header.Set("Content-Range", first+"-"+strconv.FormatInt(at+n-1, 10))
			}
			next.ServeHTTP(httptest.NewRecorder(), part)
			rest.ServeHTTP(w, r)
		})
	}
}

// Break breaks the connections of both sides after some bytes of a request's
// body. How many of them the registry has is its own affair.
func Break(after int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, after), broken{}))
			next.ServeHTTP(w, r)
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Delay passes a request on once some time has passed.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(d):
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		})
	}
}

// A cutter lets some bytes of a body pass, and then does something that does
// not return.
type cutter struct {
	http.ResponseWriter

	left int
	then func()
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		c.then()
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
