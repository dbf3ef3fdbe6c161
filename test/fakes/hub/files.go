package hub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
)

// serveFile serves /[datasets/]{name}/resolve/{revision}/{path}.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, kind, model string, rest []string) {
	repo, ok := h.repository(w, r, kind, model)
	if !ok {
		return
	}
	name, rest := cutRevision(rest)
	rev, ok := h.revision(w, repo, name)
	if !ok {
		return
	}
	w.Header().Set("X-Repo-Commit", rev.commit)
	if !repo.admit(w, r) {
		return
	}
	f, ok := rev.at(strings.Join(rest, "/"))
	if !ok {
		writeError(w, http.StatusNotFound, codeEntry, "Entry not found")
		return
	}
	if !f.lfs() {
		w.Header().Set("ETag", strconv.Quote(f.gitSHA1))
		h.serveContent(w, r, path.Join(rev.folder, f.path), f)
		return
	}
	w.Header().Set("ETag", strconv.Quote(f.sha256))
	w.Header().Set("X-Linked-Etag", strconv.Quote(f.sha256))
	w.Header().Set("X-Linked-Size", strconv.FormatInt(f.size, 10))
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Location", h.link(r, path.Join(rev.folder, f.path), f))
	w.WriteHeader(http.StatusFound)
}

// link returns a signed URL of a file on the CDN.
func (h *Handler) link(r *http.Request, name string, f file) string {
	id, end := h.links.issue()
	expires := strconv.FormatInt(end.Unix(), 10)
	u := url.URL{Scheme: scheme(r), Host: h.cdnHost(r.Host), Path: "/cdn/" + f.sha256}
	u.RawQuery = url.Values{
		"Path":      {name},
		"Expires":   {expires},
		"Id":        {id},
		"Signature": {h.sign(f.sha256, name, expires, id)},
	}.Encode()
	return u.String()
}

// cdnHost returns the CDN's host, with the asked host's port unless it has one
// of its own.
func (h *Handler) cdnHost(asked string) string {
	h.mu.Lock()
	cdn := h.cdn
	h.mu.Unlock()
	if cdn == "" {
		return asked
	}
	if _, _, err := net.SplitHostPort(cdn); err == nil {
		return cdn
	}
	if _, port, err := net.SplitHostPort(asked); err == nil {
		return net.JoinHostPort(cdn, port)
	}
	return cdn
}

func (h *Handler) sign(parts ...string) string {
	mac := hmac.New(sha256.New, h.key)
	_, _ = mac.Write([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(mac.Sum(nil))
}

// serveCDN serves a link that this handler signed, as long as the file is
// still the one that it was signed for.
func (h *Handler) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	apart := h.cdn != ""
	h.mu.Unlock()
	if apart && r.Header.Get("Authorization") != "" {
		writeError(w, http.StatusBadRequest, "", "Only one auth mechanism allowed")
		return
	}
	q := r.URL.Query()
	sum := strings.TrimPrefix(r.URL.Path, "/cdn/")
	signature := h.sign(sum, q.Get("Path"), q.Get("Expires"), q.Get("Id"))
	if !hmac.Equal([]byte(signature), []byte(q.Get("Signature"))) || !h.links.use(q.Get("Id")) {
		writeError(w, http.StatusForbidden, "", "Access denied")
		return
	}
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "", "Cannot read the folder")
		return
	}
	defer root.Close() //nolint:errcheck // Read only.
	f, err := h.hashes.file(root, q.Get("Path"))
	if err != nil || f.sha256 != sum {
		writeError(w, http.StatusNotFound, "", "No such key")
		return
	}
	w.Header().Set("ETag", strconv.Quote(f.sha256))
	h.serveContent(w, r, q.Get("Path"), f)
}

// serveContent serves a file's bytes, or a range of them.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, name string, f file) {
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "", "Cannot read the folder")
		return
	}
	defer root.Close() //nolint:errcheck // Read only.
	in, err := root.Open(name)
	if err != nil {
		status := http.StatusInternalServerError
		if os.IsNotExist(err) || os.IsPermission(err) || !fs.ValidPath(name) {
			status = http.StatusNotFound
		}
		writeError(w, status, codeEntry, "Entry not found")
		return
	}
	defer in.Close()
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, "", f.modTime, in)
}
