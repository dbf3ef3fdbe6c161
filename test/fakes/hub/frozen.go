package hub

import (
	"os"
	"sync"
)

// A frozen keeps revisions as they were when they were read first.
type frozen struct {
	mu    sync.Mutex
	known map[string]revision
	trees map[treeKey][]treeEntry
}

// A treeKey is what the entries of a tree depend on.
type treeKey struct {
	revision, folder  string // The revision's own folder, and the one of its tree.
	recursive, masked bool
}

// WithFrozenFiles has each revision's folder read once, and not again for each
// request: for benchmarks, which are not about this. Nothing in the folder may
// change then, but for hub.json.
func WithFrozenFiles() Option {
	return func(h *Handler) { h.frozen = &frozen{known: map[string]revision{}, trees: map[treeKey][]treeEntry{}} }
}

// readOnce reads a revision, or returns it as it was.
func (h *Handler) readOnce(root *os.Root, repo repository, name string) (revision, error) {
	if h.frozen == nil {
		return h.read(root, repo, name)
	}
	h.frozen.mu.Lock()
	defer h.frozen.mu.Unlock()
	key := repo.folder + "/" + name
	if rev, ok := h.frozen.known[key]; ok {
		return rev, nil
	}
	rev, err := h.read(root, repo, name)
	if err == nil {
		h.frozen.known[key] = rev
	}
	return rev, err
}

// tree returns the entries of a folder's tree, as they are or were. The caller must not
// change them.
func (h *Handler) tree(rev revision, folder string, recursive, masked bool) []treeEntry {
	if h.frozen == nil {
		return rev.tree(folder, recursive, masked)
	}
	h.frozen.mu.Lock()
	defer h.frozen.mu.Unlock()
	key := treeKey{revision: rev.folder, folder: folder, recursive: recursive, masked: masked}
	entries, ok := h.frozen.trees[key]
	if !ok {
		entries = rev.tree(folder, recursive, masked)
		h.frozen.trees[key] = entries
	}
	return entries
}
