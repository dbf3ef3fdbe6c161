package hub

import (
	"crypto/sha1" //nolint:gosec // What git names its objects by.
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

type lfsInfo struct {
	OID         string `json:"oid,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	Size        int64  `json:"size"`
	PointerSize int    `json:"pointerSize"`
}

type commitInfo struct {
	ID    string    `json:"id"`
	Title string    `json:"title"`
	Date  time.Time `json:"date"`
}

type sibling struct {
	Name   string   `json:"rfilename"`
	Size   *int64   `json:"size,omitempty"`
	BlobID string   `json:"blobId,omitempty"`
	LFS    *lfsInfo `json:"lfs,omitempty"`
}

type modelInfo struct {
	ID           string         `json:"id"`
	ModelID      string         `json:"modelId,omitempty"`
	Author       string         `json:"author"`
	SHA          string         `json:"sha"`
	LastModified time.Time      `json:"lastModified"`
	Private      bool           `json:"private"`
	Gated        any            `json:"gated"`
	Disabled     bool           `json:"disabled"`
	Tags         []string       `json:"tags"`
	CardData     map[string]any `json:"cardData,omitempty"`
	Siblings     []sibling      `json:"siblings"`
	UsedStorage  int64          `json:"usedStorage"`
	Scan         *Scan          `json:"securityRepoStatus,omitempty"`
}

type treeEntry struct {
	Type       string      `json:"type"`
	OID        string      `json:"oid"`
	Size       int64       `json:"size"`
	Path       string      `json:"path"`
	LFS        *lfsInfo    `json:"lfs,omitempty"`
	XetHash    string      `json:"xetHash,omitempty"`
	LastCommit *commitInfo `json:"lastCommit,omitempty"`
}

func (r revision) commitInfo() commitInfo {
	return commitInfo{ID: r.commit, Title: "Upload files", Date: r.date()}
}

// pointer is the file that git holds in place of an LFS file
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
func (f file) pointer() string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", f.sha256, f.size)
}

// hashMask is what the Hub shows in place of a hash of an LFS file to a caller
// who may list a gated repository, but not read it.
var hashMask = strings.Repeat("*", 64)

// shownHashes are an LFS file's hashes as one caller sees them.
type shownHashes struct{ sha256, xet string }

// shown returns a file's hashes, or masks in their place. Nobody looks at what
// Xet's is of.
func (f file) shown(masked bool) shownHashes {
	if masked {
		return shownHashes{sha256: hashMask, xet: hashMask}
	}
	xet := sha256.Sum256([]byte("xet " + f.sha256))
	return shownHashes{sha256: f.sha256, xet: hex.EncodeToString(xet[:])}
}

// blobID is git's name of what it holds for the file.
func (f file) blobID() string {
	if !f.lfs() {
		return f.gitSHA1
	}
	p := f.pointer()
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(p), p)) //nolint:gosec // As above.
	return hex.EncodeToString(sum[:])
}

func (h *Handler) serveInfo(w http.ResponseWriter, r *http.Request, repo repository, rev revision) {
	author, _, _ := strings.Cut(repo.model, "/")
	info := modelInfo{
		ID: repo.model, Author: author,
		SHA: rev.commit, LastModified: rev.lastModified(),
		Private: repo.settings.Private, Gated: false,
		Tags:     []string{},
		CardData: h.card(repo, rev),
		Siblings: []sibling{},
	}
	if repo.kind == models {
		info.ModelID = repo.model
	}
	if repo.gated() {
		info.Gated = repo.settings.Gated
	}
	if repo.settings.RenamedTo != "" {
		info.ID = repo.settings.RenamedTo
	}
	if r.URL.Query().Get("securityStatus") == "true" {
		info.Scan = repo.settings.Scan
	}
	for _, l := range licenses(info.CardData["license"]) {
		info.Tags = append(info.Tags, "license:"+l)
	}
	for _, f := range rev.files {
		info.UsedStorage += f.size
		s := sibling{Name: f.path}
		if r.URL.Query().Get("blobs") == "true" {
			s.Size, s.BlobID = &f.size, f.blobID()
			if f.lfs() {
				s.LFS = &lfsInfo{SHA256: f.shown(!repo.open(r)).sha256, Size: f.size, PointerSize: len(f.pointer())}
			}
		}
		info.Siblings = append(info.Siblings, s)
	}
	h.writeTagged(w, r, expanded(info, r.URL.Query()["expand"]))
}

// licenses are those of a card, which names one or a list.
func licenses(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, licenses(one)...)
		}
		return all
	}
	return nil
}

// card returns the front matter of a revision's README.md, with the licence of
// the model's settings over it.
func (h *Handler) card(repo repository, rev revision) map[string]any {
	card := map[string]any{}
	if b, err := h.readme(rev); err == nil {
		front, _, ok := strings.Cut(strings.TrimPrefix(b, "---\n"), "\n---")
		if ok && strings.HasPrefix(b, "---\n") {
			_ = yaml.Unmarshal([]byte(front), &card)
		}
	}
	if repo.settings.License != "" {
		card["license"] = repo.settings.License
	}
	return card
}

func (h *Handler) readme(rev revision) (string, error) {
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		return "", err
	}
	defer root.Close() //nolint:errcheck // Read only.
	b, err := root.ReadFile(path.Join(rev.folder, "README.md"))
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}

func (h *Handler) serveTree(w http.ResponseWriter, r *http.Request, repo repository, rev revision, folder string) {
	q := r.URL.Query()
	entries := h.tree(rev, folder, q.Get("recursive") == "true" || q.Get("recursive") == "1", !repo.open(r))
	if len(entries) == 0 && folder != "" {
		writeError(w, http.StatusNotFound, codeEntry, "Entry not found")
		return
	}
	size := h.pageSize
	if q.Get("expand") == "true" {
		// As on huggingface.co, where these cost more.
		size = min(size, 50)
		commit := rev.commitInfo()
		entries = slices.Clone(entries)
		for i := range entries {
			entries[i].LastCommit = &commit
		}
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 {
		size = min(size, n)
	}
	start, _ := strconv.Atoi(q.Get("cursor"))
	start = max(0, min(start, len(entries)))
	end := min(start+size, len(entries))
	if end < len(entries) {
		q.Set("cursor", strconv.Itoa(end))
		next := url.URL{Scheme: scheme(r), Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
		w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	writeJSON(w, entries[start:end])
}

// tree returns a folder's entries, with those of its folders if recursive.
func (r revision) tree(folder string, recursive, masked bool) []treeEntry {
	prefix := ""
	if folder != "" {
		prefix = folder + "/"
	}
	entries := []treeEntry{}
	seen := map[string]bool{}
	for _, f := range r.files {
		rest, ok := strings.CutPrefix(f.path, prefix)
		if !ok {
			continue
		}
		for i := range rest {
			dir := prefix + rest[:i]
			if rest[i] != '/' || seen[dir] || (!recursive && strings.Contains(rest[:i], "/")) {
				continue
			}
			seen[dir] = true
			sum := sha1.Sum([]byte(r.commit + dir)) //nolint:gosec // As above.
			entries = append(entries, treeEntry{Type: "directory", OID: hex.EncodeToString(sum[:]), Path: dir})
		}
		if !recursive && strings.Contains(rest, "/") {
			continue
		}
		e := treeEntry{Type: "file", OID: f.blobID(), Size: f.size, Path: f.path}
		if f.lfs() {
			hashes := f.shown(masked)
			e.LFS = &lfsInfo{OID: hashes.sha256, Size: f.size, PointerSize: len(f.pointer())}
			e.XetHash = hashes.xet
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(a.Path, b.Path) })
	return entries
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
