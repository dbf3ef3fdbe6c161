package hub

import (
	"net/http"
	"slices"
)

// maxRequests bounds how many requests a handler remembers.
const maxRequests = 10_000

// A Request is what a client asked.
type Request struct {
	Method string

	// Host as the client named it.
	Host string

	// Path as it stood in the request, escaped, without the query.
	Path string

	// Query as it stood in the request.
	Query string

	// Range is the header of that name.
	Range string

	// AcceptEncoding is the header of that name.
	AcceptEncoding string

	// IfNoneMatch is the header of that name.
	IfNoneMatch string

	// Authorization reports whether there was such a header.
	Authorization bool
}

func (h *Handler) record(r *http.Request) {
	asked := Request{
		Method:         r.Method,
		Host:           r.Host,
		Path:           r.URL.EscapedPath(),
		Query:          r.URL.RawQuery,
		Range:          r.Header.Get("Range"),
		AcceptEncoding: r.Header.Get("Accept-Encoding"),
		IfNoneMatch:    r.Header.Get("If-None-Match"),
		Authorization:  r.Header.Get("Authorization") != "",
	}
	if h.onAsked != nil {
		h.onAsked(asked)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) == maxRequests {
		h.requests = slices.Delete(h.requests, 0, maxRequests/2)
	}
	h.requests = append(h.requests, asked)
}

// Requests returns what was asked so far, oldest first. Of more than 10,000
// requests, only the newer ones are kept.
func (h *Handler) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// NotModified returns how many requests so far were answered with 304.
func (h *Handler) NotModified() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.notModified
}

// ResetRequests forgets what was asked so far.
func (h *Handler) ResetRequests() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests, h.notModified = nil, 0
}
