package hub

import (
	"context"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Bounds of a listing. The Hub itself wants fewer than 100,000 files in a
// model (https://huggingface.co/docs/hub/storage-limits).
const (
	maxPages = 1_000
	maxFiles = 200_000
)

// A File is a file of a model at one commit.
type File struct {
	// Path inside the model, with slashes. It never leaves the model's folder.
	Path string

	// Size in bytes.
	Size int64

	// SHA256 of the content, in hex, for a file that the Hub keeps in LFS or
	// Xet; empty for others, of which the Hub knows no SHA-256.
	SHA256 string

	// GitSHA1 is git's name of the blob, in hex, for a file that SHA256 is
	// empty for.
	GitSHA1 string
}

// A treeEntry is one entry of the Hub's tree
// (https://huggingface.co/docs/hub/api).
type treeEntry struct {
	Type string `json:"type"`
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	Path string `json:"path"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// List returns all files of a model at a commit, in all folders, sorted by
// path. A listing with a path that leaves the model's folder, or that is there
// twice, is refused whole.
func (c *Client) List(ctx context.Context, model, commit string) ([]File, error) {
	if err := c.kind.check(model); err != nil {
		return nil, err
	}
	s := c.subject(model, commit)
	base := c.api(model, "tree", commit)
	query := "recursive=true&expand=false"
	var files []File
	for range maxPages {
		var page []treeEntry
		header, err := c.json(ctx, base+"?"+query, s, &page)
		if err != nil {
			return nil, err
		}
		if files, err = appendFiles(files, page, s); err != nil {
			return nil, err
		}
		next, more := nextPage(header)
		if !more {
			return sorted(files, s)
		}
		query = next
	}
	return nil, outcome.Errorf(outcome.Unsupported, "%s has more than %d pages of files, more than this program reads", s, maxPages)
}

func appendFiles(files []File, page []treeEntry, s subject) ([]File, error) {
	for _, e := range page {
		if e.Type == "directory" {
			continue
		}
		f, err := e.file(s)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if len(files) > maxFiles {
		return nil, outcome.Errorf(outcome.Unsupported, "%s has more than %d files, more than this program reads", s, maxFiles)
	}
	return files, nil
}

var sha256Pattern = regexp.MustCompile(`^[a-f0-9]{64}$`)

// file returns the file that an entry stands for. What is neither file nor
// folder is refused: left out, it would be missing from what is made of the
// model, and nobody would notice.
func (e treeEntry) file(s subject) (File, error) {
	f := File{Path: e.Path, Size: e.Size, GitSHA1: e.OID}
	if e.LFS != nil {
		f = File{Path: e.Path, Size: e.LFS.Size, SHA256: e.LFS.OID}
	}
	switch {
	case !safePath(e.Path):
		return File{}, outcome.Errorf(outcome.Unsupported, "%s has a file whose path is not safe to write: %q", s, clip(e.Path))
	case e.Type != "file":
		return File{}, outcome.Errorf(outcome.Unsupported, "%s has an entry %q that is neither a file nor a folder", s, clip(e.Path))
	case f.Size < 0, f.SHA256 == "" && !commitPattern.MatchString(f.GitSHA1), f.SHA256 != "" && !sha256Pattern.MatchString(f.SHA256),
		e.LFS != nil && f.SHA256 == "":
		return File{}, outcome.Errorf(outcome.Unsupported, "the Hub tells no usable size or hash of file %q of %s", clip(e.Path), s)
	}
	return f, nil
}

// safePath says whether a path names something inside of a folder, on any
// system, and is one line.
func safePath(p string) bool {
	return fs.ValidPath(p) && p != "." && !strings.Contains(p, `\`) && strings.IndexFunc(p, unicode.IsControl) < 0
}

// clip shortens what a server sent before it goes into a message.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func sorted(files []File, s subject) ([]File, error) {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(files); i++ {
		if files[i].Path == files[i-1].Path {
			return nil, outcome.Errorf(outcome.Unavailable, "the Hub lists file %q of %s twice; this may pass by itself", clip(files[i].Path), s)
		}
	}
	return files, nil
}
