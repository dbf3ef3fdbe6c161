// Package hub is a Hugging Face Hub over a folder, for tests and for a local
// cluster. It serves what clients need to download a model, with the API of
// https://huggingface.co: model and revision information, the tree with its
// pages, files with their hashes, LFS files by a redirect to a CDN, gated
// models, whose hashes are masked for a caller without access, private models,
// and the errors that go with them.
//
// The folder holds models/<organisation>/<name>/<revision>/<files>, and the same
// under datasets. Each revision folder is a branch or a tag; a name with a slash is written with
// %2F, as in refs%2Fpr%2F1. A revision's commit follows from its files: change
// one of them, and it is another commit. [Move] moves a branch to a commit of
// another folder. Symbolic links that leave the folder
// are not followed. An optional models/<organisation>/<name>/hub.json says who
// may read the model; see [Settings].
package hub

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Kinds of repositories, as they stand in paths.
const (
	models   = "models"
	datasets = "datasets"
)

// A Handler serves a Hugging Face Hub. It is safe for concurrent use.
type Handler struct {
	dir      string
	pageSize int
	key      []byte
	onAsked  func(Request)
	hashes   hashCache
	frozen   *frozen
	links    links
	sent     atomic.Int64

	mu          sync.Mutex
	cdn         string
	fault       Fault
	header      http.Header
	noETags     bool
	requests    []Request
	notModified int
	publishers  []Publisher
	tokens      map[string]exchanged
	exchanges   int
}

// An Option of a Handler.
type Option func(*Handler)

// WithPageSize sets how many entries a page of a tree holds; 1000 by default,
// as on huggingface.co.
func WithPageSize(n int) Option {
	return func(h *Handler) { h.pageSize = n }
}

// WithCDN makes LFS files come from another host, for example localhost where
// the Hub is asked as 127.0.0.1; without a port, the port of the request is
// kept. The host must lead to the same handler. It refuses a request that
// brings an Authorization header along, as a token must never reach a CDN.
func WithCDN(host string) Option {
	return func(h *Handler) { h.cdn = host }
}

// WithFault puts a fault in front of everything that the handler serves.
func WithFault(f Fault) Option {
	return func(h *Handler) { h.fault = f }
}

// WithRequestLog calls f for each request, before it is served.
func WithRequestLog(f func(Request)) Option {
	return func(h *Handler) { h.onAsked = f }
}

// NewHandler returns a Hub over the folder dir, which is read again for each
// request.
func NewHandler(dir string, o ...Option) *Handler {
	h := &Handler{dir: dir, pageSize: 1000, key: []byte(rand.Text())}
	for _, fn := range o {
		fn(h)
	}
	return h
}

// SetCDN does what WithCDN does, for a handler that is already in use. An
// empty host serves LFS files from the Hub's own.
func (h *Handler) SetCDN(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cdn = host
}

// SetFault does what WithFault does, for a handler that is already in use. Nil
// takes the fault away.
func (h *Handler) SetFault(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// SetHeader has these headers sent with every answer, for example RateLimit
// and RateLimit-Policy. Nil sends none again.
func (h *Handler) SetHeader(header http.Header) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.header = header.Clone()
}

// SetETags reports whether answers about a revision have an ETag and are made only
// for who does not know them; they are by default, as on huggingface.co.
func (h *Handler) SetETags(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noETags = !on
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.record(r)

	var next http.Handler = http.HandlerFunc(h.route)
	if r.Method == http.MethodPost && r.URL.Path == exchangePath {
		next = http.HandlerFunc(h.serveExchange)
	}
	h.mu.Lock()
	fault := h.fault
	for k, v := range h.header {
		w.Header()[k] = slices.Clone(v)
	}
	h.mu.Unlock()
	if fault != nil {
		next = fault(next)
	}
	next.ServeHTTP(&countedWriter{ResponseWriter: w, sent: &h.sent}, r)
}

// route serves a request by its path. The path is split before its parts are
// unescaped, since a revision may hold an escaped slash.
func (h *Handler) route(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeError(w, http.StatusMethodNotAllowed, "", "Method not allowed")
		return
	}
	segments, err := split(r.URL)
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Bad path")
		return
	}
	switch {
	case len(segments) > 1 && segments[0] == "cdn":
		h.serveCDN(w, r)
	case len(segments) >= 4 && segments[0] == "api" && (segments[1] == models || segments[1] == datasets):
		h.serveAPI(w, r, segments[1], segments[2]+"/"+segments[3], segments[4:])
	case len(segments) >= 6 && segments[0] == datasets && segments[3] == "resolve":
		h.serveFile(w, r, datasets, segments[1]+"/"+segments[2], segments[4:])
	case len(segments) >= 5 && segments[2] == "resolve":
		h.serveFile(w, r, models, segments[0]+"/"+segments[1], segments[3:])
	default:
		writeError(w, http.StatusNotFound, codeRepo, "Repository not found")
	}
}

func (h *Handler) serveAPI(w http.ResponseWriter, r *http.Request, kind, model string, rest []string) {
	repo, ok := h.repository(w, r, kind, model)
	if !ok {
		return
	}
	action, rest := "revision", rest
	if len(rest) > 0 {
		action, rest = rest[0], rest[1:]
	}
	name, rest := cutRevision(rest)
	rev, ok := h.revision(w, repo, name)
	if !ok {
		return
	}
	switch action {
	case "revision":
		h.serveInfo(w, r, repo, rev)
	case "commits":
		writeJSON(w, h.commits(repo, name, rev))
	case "tree":
		h.serveTree(w, r, repo, rev, strings.Join(rest, "/"))
	default:
		writeError(w, http.StatusNotFound, codeEntry, "Not found")
	}
}

// split returns the unescaped parts of a URL's path.
func split(u *url.URL) ([]string, error) {
	segments := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i := range segments {
		s, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, err
		}
		segments[i] = s
	}
	return segments, nil
}

// cutRevision takes the revision off the front of a path: one part, or three
// as in refs/pr/1, which the Hub takes unescaped too. It is main by default.
func cutRevision(segments []string) (string, []string) {
	if len(segments) == 0 {
		return "main", nil
	}
	if len(segments) >= 3 && segments[0] == "refs" {
		return strings.Join(segments[:3], "/"), segments[3:]
	}
	return segments[0], segments[1:]
}

// Values of the X-Error-Code header.
const (
	codeRepo     = "RepoNotFound"
	codeRevision = "RevisionNotFound"
	codeEntry    = "EntryNotFound"
	codeGated    = "GatedRepo"
)

func writeError(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}
