package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Bounds of a listing. The Hub itself wants fewer than 100,000 files in a
// model (https://huggingface.co/docs/hub/storage-limits), and a page of a
// thousand files has some 300 KiB.
const (
	maxPages        = 1_000
	maxFiles        = 200_000
	maxEntries      = 2 * maxFiles // Files and folders.
	maxPageBytes    = 32 << 20
	maxListingBytes = 64 << 20
)

// A treeEntry is one entry of the Hub's tree
// (https://huggingface.co/docs/hub/api).
type treeEntry struct {
	Type    string    `json:"type"`
	OID     string    `json:"oid"`
	Size    *int64    `json:"size"`
	Path    string    `json:"path"`
	XetHash string    `json:"xetHash"`
	LFS     *lfsEntry `json:"lfs"`
}

// An lfsEntry says what LFS knows of a file.
type lfsEntry struct {
	OID  string `json:"oid"`
	Size *int64 `json:"size"`
}

// List returns all files of a model at a commit, in all folders, sorted by
// path, each with its size and a hash. It refuses a listing with a path
// that leaves the model's folder, or that is there twice. It requests hashes that
// the Hub does not list file by file; if the Hub hides them from a caller without
// access, the error has reason Gated.
func (c *Client) List(ctx context.Context, model, commit string) ([]file.File, error) {
	if err := c.kind.check(model); err != nil {
		return nil, err
	}
	l, err := c.tree(ctx, model, commit)
	if errors.Is(err, errNoRoute) || err == nil && l.lacksFiles() {
		// A mirror may have no such route, or list the top folder alone.
		l, err = c.siblings(ctx, model, commit)
	}
	if err != nil {
		return nil, err
	}
	return c.reveal(ctx, model, commit, l)
}

// tree returns the listing of a model's tree.
func (c *Client) tree(ctx context.Context, model, commit string) (*listing, error) {
	l := &listing{subject: c.subject(model, commit)}
	base, query := c.api(model, "tree", commit), "recursive=true"
	for range maxPages {
		header, err := c.page(ctx, base+"?"+query, l)
		if err != nil {
			return nil, err
		}
		next, more := nextPage(header)
		if !more {
			return l, l.finish()
		}
		query = next
	}
	return nil, outcome.Errorf(outcome.Unsupported, "%s has more than %d pages of files, more than this program reads", l.subject, maxPages)
}

// page adds a page of the tree to a listing.
func (c *Client) page(ctx context.Context, u string, l *listing) (http.Header, error) {
	return c.decode(ctx, u, l.subject, min(maxPageBytes, maxListingBytes-l.bytes), func(r *boundedReader) error {
		page := &listing{subject: l.subject, entries: l.entries}
		if err := page.read(r); err != nil {
			return err
		}
		l.files, l.folders = append(l.files, page.files...), append(l.folders, page.folders...)
		l.entries, l.bytes = page.entries, l.bytes+r.n
		return nil
	})
}

// A listing is what is read of a tree so far. Each of its files has a path; its
// size and hash may be missing.
type listing struct {
	subject subject
	files   []listed
	folders []string
	entries int   // Files and folders.
	bytes   int64 // Of the answers.
}

// A listed file is an entry of a listing.
type listed struct {
	file.File

	masked bool // The Hub hides a hash of it.
	hidden bool // Its size or hash must be requested by itself.
}

// read reads an array of entries one at a time, so that only what is kept of them
// takes memory.
func (l *listing) read(r io.Reader) error { return readArray(json.NewDecoder(r), l.add) }

// noTree returns the error of an answer that is not an array of entries.
func noTree(err error) error {
	if err == nil {
		err = errors.New("no array")
	}
	return err
}

// add adds an entry. It refuses what is neither file nor folder: without it the
// artifact would be incomplete, and nothing would show that.
func (l *listing) add(e treeEntry) error {
	if l.entries++; l.entries > maxEntries {
		return outcome.Errorf(outcome.Unsupported, "%s has more than %d files and folders, more than this program reads", l.subject, maxEntries)
	}
	switch {
	case e.Type == "directory":
		l.folders = append(l.folders, e.Path)
		return nil
	case !file.SafePath(e.Path):
		return outcome.Errorf(outcome.Unsupported, "%s has a file whose path is not safe to write: %q", l.subject, clip(e.Path))
	case e.Type != "file":
		return outcome.Errorf(outcome.Unsupported, "%s has an entry %q that is neither a file nor a folder", l.subject, clip(e.Path))
	case len(l.files) >= maxFiles:
		return outcome.Errorf(outcome.Unsupported, "%s has more than %d files, more than this program reads", l.subject, maxFiles)
	}
	f, err := e.file(l.subject)
	if err != nil {
		return err
	}
	l.files = append(l.files, f)
	return nil
}

var sha256Pattern = regexp.MustCompile(`^[a-f0-9]{64}$`)

// file returns the file that an entry announces.
func (e treeEntry) file(s subject) (listed, error) {
	a, masked := announcementIn(e.OID, e.Size), isMask(e.OID) || isMask(e.XetHash)
	if e.LFS != nil {
		// The entry's own hash is that of LFS's pointer.
		a, masked = announcementIn(e.LFS.OID, cmp.Or(e.LFS.Size, e.Size)), masked || isMask(e.LFS.OID)
		a.gitSHA1 = ""
	}
	if a.size < 0 && a.size != unknownSize || e.Size != nil && *e.Size < 0 {
		return listed{}, outcome.Errorf(outcome.Unsupported, "the Hub tells no usable size of file %q of %s", clip(e.Path), s)
	}
	return listed{
		File:   file.File{Path: e.Path, Size: a.size, SHA256: a.sha256, GitSHA1: a.gitSHA1},
		masked: masked, hidden: !a.usable(),
	}, nil
}

// lacksFiles reports whether a folder is listed without any file in it, which
// git has not: the server did not look into it. The listing is sorted.
func (l *listing) lacksFiles() bool {
	return slices.ContainsFunc(l.folders, func(folder string) bool {
		i, _ := slices.BinarySearchFunc(l.files, folder+"/", func(f listed, prefix string) int { return strings.Compare(f.Path, prefix) })
		return i == len(l.files) || !strings.HasPrefix(l.files[i].Path, folder+"/")
	})
}

// clip shortens what a server sent before it goes into a message.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// finish sorts a listing by path.
func (l *listing) finish() error {
	slices.SortFunc(l.files, func(a, b listed) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(l.files); i++ {
		if l.files[i].Path == l.files[i-1].Path {
			return outcome.Errorf(outcome.Unavailable, "the Hub lists file %q of %s twice; this may be transient", clip(l.files[i].Path), l.subject)
		}
	}
	return nil
}

// WithoutGit returns the files without those that only serve git.
func WithoutGit(all []file.File) []file.File {
	files := make([]file.File, 0, len(all))
	for _, f := range all {
		if base := path.Base(f.Path); base != ".gitattributes" && base != ".gitignore" {
			files = append(files, f)
		}
	}
	return files
}
