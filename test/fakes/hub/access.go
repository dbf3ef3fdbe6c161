package hub

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Settings of a model or dataset, from its hub.json. All are optional.
type Settings struct {
	// Gated is "auto" or "manual" where the model's owner grants access, and
	// false where it may be downloaded without a token.
	Gated any `json:"gated,omitempty"`

	// Private hides the model from all who are not let in.
	Private bool `json:"private,omitempty"`

	// Tokens of those who are let in to a gated or private model.
	Tokens []string `json:"tokens,omitempty"`

	// Resources whose tokens, by an exchange, are let in; see [Publisher].
	Resources []string `json:"resources,omitempty"`

	// License of the model; by default that in README.md's front matter.
	License string `json:"license,omitempty"`

	// Scan is the security scan of all revisions; nil for a Hub that tells of none.
	Scan *Scan `json:"scan,omitempty"`

	// RenamedTo is the name that the Hub answers with, of a model that was renamed.
	RenamedTo string `json:"renamedTo,omitempty"`

	// Branches maps a branch to the revision whose folder it serves, where that is
	// not the folder of its own name. See [Move].
	Branches map[string]string `json:"branches,omitempty"`

	// History has what a branch stood for before, the latest first.
	History map[string][]Past `json:"history,omitempty"`
}

// A Past is a revision that a branch stood for, and when it moved on.
type Past struct {
	Revision string    `json:"revision"`
	Until    time.Time `json:"until"`
}

// A Scan is a security scan as the Hub tells of it.
type Scan struct {
	Done   bool        `json:"scansDone"`
	Issues []ScanIssue `json:"filesWithIssues"`
}

// A ScanIssue is a file that a scan did not find safe.
type ScanIssue struct {
	Path  string `json:"path"`
	Level string `json:"level"`
}

// A repository is a model or a dataset for one request.
type repository struct {
	kind     string
	model    string
	folder   string
	settings Settings
	resource string // That the request's token is for, of one by an exchange.
}

// gated reports whether the model's owner must grant access.
func (r repository) gated() bool {
	kind, ok := r.settings.Gated.(string)
	return ok && kind != ""
}

// bearer returns the token that a request brings, if any.
func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// letsIn reports whether the request brings a token that the model's owner let in.
func (r repository) letsIn(req *http.Request) bool {
	return slices.Contains(r.settings.Tokens, bearer(req)) || r.resource != "" && slices.Contains(r.settings.Resources, r.resource)
}

// repository finds a model or dataset, or answers as the Hub does where there is
// none for this caller: 401 to a caller without a token, since it may exist.
func (h *Handler) repository(w http.ResponseWriter, r *http.Request, kind, model string) (repository, bool) {
	if a := r.Header.Get("Authorization"); a != "" && !strings.HasPrefix(bearer(r), "hf_") {
		writeError(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return repository{}, false
	}
	resource, exchanged := h.isIssued(bearer(r))
	if exchanged && resource == "" {
		writeError(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return repository{}, false
	}
	repo, err := h.find(kind, model)
	repo.resource = resource
	if err == nil && (!repo.settings.Private || repo.letsIn(r)) {
		return repo, true
	}
	if err != nil && !os.IsNotExist(err) {
		writeError(w, http.StatusInternalServerError, "", "Cannot read the repository's folder")
		return repository{}, false
	}
	if bearer(r) == "" {
		writeError(w, http.StatusUnauthorized, codeRepo, "Invalid username or password.")
		return repository{}, false
	}
	writeError(w, http.StatusNotFound, codeRepo, "Repository not found")
	return repository{}, false
}

// find reads a model's settings.
func (h *Handler) find(kind, model string) (repository, error) {
	repo := repository{kind: kind, model: model, folder: path.Join(kind, model)}
	if strings.Count(model, "/") != 1 || !fs.ValidPath(model) {
		return repo, fs.ErrNotExist
	}
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		return repo, err
	}
	defer root.Close() //nolint:errcheck // Read only.

	if _, err := root.Stat(repo.folder); err != nil {
		return repo, err
	}
	b, err := root.ReadFile(path.Join(repo.folder, "hub.json"))
	if os.IsNotExist(err) {
		return repo, nil
	}
	if err != nil {
		return repo, err
	}
	return repo, json.Unmarshal(b, &repo.settings)
}

// open reports whether the caller may read the repository's files.
func (r repository) open(req *http.Request) bool { return !r.gated() || r.letsIn(req) }

// admit answers a caller whom the owner of a gated model has not let in.
func (r repository) admit(w http.ResponseWriter, req *http.Request) bool {
	if r.open(req) {
		return true
	}
	status := http.StatusForbidden
	if bearer(req) == "" {
		status = http.StatusUnauthorized
	}
	writeError(w, status, codeGated, "Access to "+strings.TrimSuffix(r.kind, "s")+" "+r.model+" is restricted. You must have access to it and be authenticated to access it. Please log in.")
	return false
}
