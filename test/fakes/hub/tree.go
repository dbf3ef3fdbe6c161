package hub

import (
	"crypto/sha1" //nolint:gosec // What git names its objects by.
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// A file of a revision.
type file struct {
	path    string
	size    int64
	modTime time.Time
	hashes
}

// lfs reports whether the Hub would keep this file in LFS: a weight, or a large
// file.
func (f file) lfs() bool {
	return f.size > 10<<20 || (f.size > 1<<10 && slices.Contains(weights, path.Ext(f.path)))
}

// weights are suffixes of files that the Hub's .gitattributes keep in LFS.
var weights = []string{
	".safetensors", ".bin", ".gguf", ".onnx", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".tflite", ".pb",
}

// A revision is a branch or tag at one commit.
type revision struct {
	name   string
	folder string
	commit string
	files  []file
}

// at returns the file with this path.
func (r revision) at(name string) (file, bool) {
	i, ok := slices.BinarySearchFunc(r.files, name, func(f file, n string) int { return strings.Compare(f.path, n) })
	if !ok {
		return file{}, false
	}
	return r.files[i], true
}

// date of the commit. It must follow from the content as the commit does, so
// it is made up from the commit, and not from the files' times.
func (r revision) date() time.Time {
	b, _ := hex.DecodeString(r.commit)
	return time.Unix(1_600_000_000+int64(binary.BigEndian.Uint32(b)%100_000_000), 0).UTC()
}

// lastModified is when the newest file was written.
func (r revision) lastModified() time.Time {
	var t time.Time
	for _, f := range r.files {
		if f.modTime.After(t) {
			t = f.modTime
		}
	}
	return t.UTC()
}

// revision finds a revision by branch, tag or commit, or answers that there is
// none.
func (h *Handler) revision(w http.ResponseWriter, repo repository, name string) (revision, bool) {
	rev, err := h.snapshot(repo, name)
	switch {
	case err == nil:
		return rev, true
	case os.IsNotExist(err):
		writeError(w, http.StatusNotFound, codeRevision, "Invalid rev id: "+name)
	default:
		writeError(w, http.StatusInternalServerError, "", "Cannot read the revision's folder")
	}
	return revision{}, false
}

func (h *Handler) snapshot(repo repository, name string) (revision, error) {
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		return revision{}, err
	}
	defer root.Close() //nolint:errcheck // Read only.

	folders, err := fs.ReadDir(root.FS(), repo.folder)
	if err != nil {
		return revision{}, err
	}
	byName, wanted := "", name
	if to, ok := repo.settings.Branches[name]; ok {
		wanted = to
	}
	for _, e := range folders {
		if n, err := url.PathUnescape(e.Name()); err == nil && e.IsDir() && n == wanted {
			byName = e.Name()
		}
	}
	if byName != "" {
		return h.readOnce(root, repo, byName)
	}
	for _, e := range folders {
		if len(name) != 40 || !e.IsDir() {
			continue
		}
		if rev, err := h.readOnce(root, repo, e.Name()); err == nil && rev.commit == name {
			return rev, nil
		}
	}
	return revision{}, fs.ErrNotExist
}

// read takes a revision's files and hashes, and its commit from these.
func (h *Handler) read(root *os.Root, repo repository, name string) (revision, error) {
	rev := revision{name: name, folder: path.Join(repo.folder, name)}
	err := fs.WalkDir(root.FS(), rev.folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		f, err := h.hashes.file(root, p)
		if err != nil || f.path == "" {
			return err
		}
		f.path = strings.TrimPrefix(p, rev.folder+"/")
		rev.files = append(rev.files, f)
		return nil
	})
	// Walking goes folder by folder, which is not the order of whole paths.
	slices.SortFunc(rev.files, func(a, b file) int { return strings.Compare(a.path, b.path) })

	commit := sha1.New() //nolint:gosec // As above.
	for _, f := range rev.files {
		_, _ = fmt.Fprintf(commit, "%q %d %s\n", f.path, f.size, f.sha256)
	}
	rev.commit = hex.EncodeToString(commit.Sum(nil))
	return rev, err
}

// hashes of a file's content, in hex.
type hashes struct {
	sha256  string
	gitSHA1 string
}

// A hashCache keeps the hashes of files that have not changed since.
type hashCache struct {
	mu    sync.Mutex
	known map[string]file
}

// file returns a regular file with its hashes, or an empty one for what is no
// regular file. A file that changes while it is read is read again.
func (c *hashCache) file(root *os.Root, name string) (file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 5 {
		before, err := root.Stat(name)
		if err != nil || !before.Mode().IsRegular() {
			return file{}, err
		}
		if f, ok := c.known[name]; ok && f.size == before.Size() && f.modTime.Equal(before.ModTime()) {
			return f, nil
		}
		f := file{path: name, size: before.Size(), modTime: before.ModTime()}
		if f.hashes, err = hashFile(root, name, f.size); err != nil {
			return file{}, err
		}
		after, err := root.Stat(name)
		if err != nil {
			return file{}, err
		}
		if after.Size() == before.Size() && after.ModTime().Equal(before.ModTime()) {
			if c.known == nil {
				c.known = map[string]file{}
			}
			c.known[name] = f
			return f, nil
		}
	}
	return file{}, fmt.Errorf("%s keeps changing", name)
}

func hashFile(root *os.Root, name string, size int64) (hashes, error) {
	in, err := root.Open(name)
	if err != nil {
		return hashes{}, err
	}
	defer in.Close()

	s256, s1 := sha256.New(), sha1.New() //nolint:gosec // As above.
	_, _ = fmt.Fprintf(s1, "blob %d\x00", size)
	if _, err := io.Copy(io.MultiWriter(s256, s1), in); err != nil {
		return hashes{}, err
	}
	return hashes{sha256: hex.EncodeToString(s256.Sum(nil)), gitSHA1: hex.EncodeToString(s1.Sum(nil))}, nil
}
