// Package file describes the files of a model as their source lists them, selects some
// of them, and verifies their bytes.
package file

import (
	"io/fs"
	"slices"
	"strings"
	"unicode"
)

// A path that no Linux filesystem could hold is not safe: NAME_MAX, and well below
// PATH_MAX.
const (
	maxPathBytes = 1024
	maxNameBytes = 255
)

// A File is a file at its source, at one version. Two Files are equal if all that the
// source says about them is.
type File struct {
	// Path inside the model, with slashes. It is a SafePath.
	Path string

	// Size in bytes.
	Size int64

	// SHA256, MD5, CRC32C and CRC64NVME are of the whole content, in hex: 64, 32, 8 and 16
	// small digits, of a CRC in big endian. One that the source does not tell is empty.
	SHA256, MD5, CRC32C, CRC64NVME string

	// GitSHA1 is git's name of the content, in hex; empty if the source does not tell it.
	GitSHA1 string

	// Version pins the content at its source where no hash does. It is a kind and a value:
	// version:ID, generation:N, etag:X or mtime:NS. It says nothing about any other path
	// or source.
	Version string
}

// HasIdentity reports whether the source announced a hash that no other content has.
// Without one, it is unknown whether two files of one size are the same, or whether what
// a registry stores is the file. A CRC is no identity, and MD5 is one that can be forged.
func (f File) HasIdentity() bool { return f.SHA256 != "" || f.GitSHA1 != "" }

// IsPinned reports whether the source told something by which another content of the
// same size is noticed.
func (f File) IsPinned() bool {
	return f.HasIdentity() || f.MD5 != "" || f.CRC32C != "" || f.CRC64NVME != "" || f.Version != ""
}

// HasForm reports whether each hash that the source announced has the form of one.
func (f File) HasForm() bool {
	for _, h := range []struct {
		hex    string
		digits int
	}{{f.SHA256, 64}, {f.GitSHA1, 40}, {f.MD5, 32}, {f.CRC32C, 8}, {f.CRC64NVME, 16}} {
		if h.hex != "" && (len(h.hex) != h.digits || strings.Trim(h.hex, "0123456789abcdef") != "") {
			return false
		}
	}
	return true
}

// SafePath reports whether a path names something inside of a folder, on any system,
// and is one line that a filesystem can hold.
func SafePath(p string) bool {
	if len(p) > maxPathBytes || !fs.ValidPath(p) || p == "." || strings.Contains(p, `\`) || strings.IndexFunc(p, unicode.IsControl) >= 0 {
		return false
	}
	return !slices.ContainsFunc(strings.Split(p, "/"), func(name string) bool { return len(name) > maxNameBytes })
}
