package hub

import (
	"crypto/sha1" //nolint:gosec // What the Hub makes its ETags with.
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Move lets a branch of a model in a Hub's folder stand for the files of
// another revision, while Hubs serve it: they never see half of it. The commit
// that it stood for before stays, if a folder has its files.
func Move(dir, model, branch, to string) error {
	folder := filepath.Join(dir, "models", filepath.FromSlash(model))
	file := filepath.Join(folder, "hub.json")
	// What stands there and is not known here stays.
	settings := map[string]any{}
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err == nil {
		if err := json.Unmarshal(b, &settings); err != nil {
			return fmt.Errorf("cannot read %s: %w", file, err)
		}
	}
	branches, ok := settings["branches"].(map[string]any)
	if !ok {
		branches = map[string]any{}
	}
	was, ok := branches[branch].(string)
	if !ok {
		was = branch
	}
	branches[branch] = to
	settings["branches"] = branches
	history, ok := settings["history"].(map[string]any)
	if !ok {
		history = map[string]any{}
	}
	earlier, _ := history[branch].([]any)
	history[branch] = append([]any{Past{Revision: was, Until: time.Now()}}, earlier...)
	settings["history"] = history
	if b, err = json.Marshal(settings); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// commits returns the commits of a revision, the latest first: that which it stands for, and
// those that it stood for before, each with the time that it began to.
func (h *Handler) commits(repo repository, name string, rev revision) []commitInfo {
	out := []commitInfo{rev.commitInfo()}
	// A revision of the past is that of its folder, whatever the branch stands for now.
	repo.settings.Branches = nil
	for _, past := range repo.settings.History[name] {
		was, err := h.snapshot(repo, past.Revision)
		if err != nil {
			break
		}
		out[len(out)-1].Date = past.Until.UTC()
		out = append(out, was.commitInfo())
	}
	return out
}

// expanded returns what a client wants to know of a model: all of it, or what
// it names with expand, beside the model's name.
func expanded(info modelInfo, properties []string) any {
	if len(properties) == 0 {
		return info
	}
	b, _ := json.Marshal(info)
	all := map[string]any{}
	_ = json.Unmarshal(b, &all)
	few := map[string]any{"id": info.ID}
	for _, p := range properties {
		if v, ok := all[p]; ok {
			few[p] = v
		}
	}
	return few
}

// writeTagged answers with an ETag, or with 304 to a client that has that answer already
// (RFC 9110, section 13.1.2).
func (h *Handler) writeTagged(w http.ResponseWriter, r *http.Request, v any) {
	h.mu.Lock()
	off := h.noETags
	h.mu.Unlock()
	b, err := json.Marshal(v)
	if off || err != nil {
		writeJSON(w, v)
		return
	}
	sum := sha1.Sum(b) //nolint:gosec // As above.
	etag := fmt.Sprintf(`W/"%x-%s"`, len(b), base64.RawStdEncoding.EncodeToString(sum[:]))
	w.Header().Set("ETag", etag)
	if !matches(r.Header.Get("If-None-Match"), etag) {
		writeJSON(w, v)
		return
	}
	h.mu.Lock()
	h.notModified++
	h.mu.Unlock()
	w.WriteHeader(http.StatusNotModified)
}

// matches compares weakly, as If-None-Match is meant to.
func matches(header, etag string) bool {
	known := strings.Split(header, ",")
	return slices.ContainsFunc(known, func(k string) bool {
		return strings.TrimPrefix(strings.TrimSpace(k), "W/") == strings.TrimPrefix(etag, "W/")
	})
}
