package pull

import (
	"encoding/json"
	"io/fs"
	"os"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// stateVersion is of the state file's form. Another one is not read.
const stateVersion = 2

// A state is what a folder's state file says of it. It is written before a file
// gets a name that it did not have: what it does not name is not ours.
type state struct {
	Version int `json:"version"`

	// Generation counts the states that were written. A journal is of one.
	Generation int64 `json:"generation,omitempty"`

	// Digest of the manifest that the files are of.
	Digest digest.Digest `json:"digest,omitempty"`

	// Complete says that all of its files are there.
	Complete bool `json:"complete,omitempty"`

	// Files that were written, or may have been, by their path.
	Files map[string]*file `json:"files,omitempty"`

	// Archives are the tar layers that were verified, by their keys, and the
	// paths of the files in them.
	Archives map[string][]string `json:"archives,omitempty"`
}

// A file is what a file is to be.
type file struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`

	// ModTime, in nanoseconds since 1970, that the file had when it was seen
	// to have that digest; zero before. A file of another one is read again.
	ModTime int64 `json:"modTime,omitempty"`
}

// result returns what a complete state is to be told of.
func (s *state) result() Result {
	r := Result{Digest: s.Digest, Files: len(s.Files)}
	for _, f := range s.Files {
		r.Bytes += f.Size
	}
	return r
}

// loadState reads the folder's state. One that cannot be read is none: the
// files are then others', until they turn out to be the artifact's.
func (f *folder) loadState(logf func(string, ...any)) *state {
	none := &state{Version: stateVersion, Files: map[string]*file{}, Archives: map[string][]string{}}
	b, err := f.ReadFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	s, ok := parseState(b)
	if err == nil && ok {
		ok = f.replay(s)
	}
	if err != nil || !ok {
		logf("the state in %s cannot be read, and is made anew", stateFile)
		return none
	}
	return s
}

// parseState reads a state, and says whether it is one.
func parseState(b []byte) (*state, bool) {
	s := &state{}
	if err := json.Unmarshal(b, s); err != nil || s.Version != stateVersion {
		return nil, false
	}
	if s.Files == nil {
		s.Files = map[string]*file{}
	}
	if s.Archives == nil {
		s.Archives = map[string][]string{}
	}
	return s, s.valid()
}

// valid reports whether a state names what can be in the folder, and nothing else.
func (s *state) valid() bool {
	for name, f := range s.Files {
		if clean, err := filePath(name); err != nil || clean != name || f == nil || f.Digest.Validate() != nil {
			return false
		}
	}
	for _, names := range s.Archives {
		for _, name := range names {
			if s.Files[name] == nil {
				return false
			}
		}
	}
	return true
}

// saveState writes the state, with a new, empty journal. After a crash there is
// either this one or the one before.
func (f *folder) saveState(s *state) error {
	const temp = stateFile + ".new"
	if err := f.closeJournal(); err != nil {
		return err
	}
	old := s.Generation
	s.Generation++
	b, err := json.Marshal(s)
	if err != nil {
		return errors.Wrap(err, "cannot encode the state")
	}
	out, err := f.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return f.failed(temp, err)
	}
	_, err = out.Write(b)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return f.failed(temp, err)
	}
	// One of this generation is of a state that was lost.
	if err := f.removeJournal(s.Generation); err != nil {
		return err
	}
	if err := f.Rename(temp, stateFile); err != nil {
		return f.failed(stateFile, err)
	}
	return f.removeJournal(old)
}

// holds says whether the folder holds all of the artifact of this digest, as
// far as can be seen without reading the files.
func (f *folder) holds(s *state, d digest.Digest) bool {
	if d == "" || !s.Complete || s.Digest != d {
		return false
	}
	for name, want := range s.Files {
		if !f.unchanged(name, want) {
			return false
		}
	}
	return true
}

// unchanged says whether a file is as it was when it was verified.
func (f *folder) unchanged(name string, want *file) bool {
	fi, err := f.Lstat(name)
	return err == nil && fi.Mode().IsRegular() && want.ModTime != 0 && fi.Size() == want.Size && fi.ModTime().UnixNano() == want.ModTime
}

// check says whether a file has the content that it is to have, and when it was
// modified. It reads the file where it may have changed.
func (f *folder) check(name string, want file) (modTime int64, ok bool, err error) {
	if f.unchanged(name, &want) {
		return want.ModTime, true, nil
	}
	fi, err := f.Lstat(name)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != want.Size {
		return 0, false, nil //nolint:nilerr // What cannot be seen is not there.
	}
	d, err := f.hash(name, want.Digest)
	return fi.ModTime().UnixNano(), d == want.Digest, err
}

// filePath returns the clean form of a path that an artifact's file may have.
func filePath(name string) (string, error) {
	clean, err := modelpack.FilePath(name)
	if err != nil {
		return "", err
	}
	return clean, notState(clean)
}

// notState returns an error if a clean path is reserved for the state.
func notState(clean string) error {
	if first, _, _ := strings.Cut(clean, "/"); strings.EqualFold(first, stateDir) {
		return outcome.Errorf(outcome.Unsupported, "the artifact holds a file in %s, which is reserved for the state of a pull", stateDir)
	}
	return nil
}
