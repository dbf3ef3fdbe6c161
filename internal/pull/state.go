package pull

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// stateVersion is the version of the state file's format. Others are not read.
const stateVersion = 2

// A state is the content of a folder's state file. Files are recorded in it before they
// get their names, so a file that it does not contain is foreign.
type state struct {
	Version int `json:"version"`

	// Generation counts the written states. Each journal belongs to one.
	Generation int64 `json:"generation,omitempty"`

	// Digest of the artifact's manifest.
	Digest digest.Digest `json:"digest,omitempty"`

	// Complete reports whether all of the artifact's files are present.
	Complete bool `json:"complete,omitempty"`

	// Files that were written, or may have been, by path.
	Files map[string]*file `json:"files,omitempty"`

	// Archives are the paths of the files in verified tar layers, by the layers'
	// keys.
	Archives map[string][]string `json:"archives,omitempty"`
}

// A file is the expected content of a file.
type file struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`

	// ModTime is the file's modification time, in nanoseconds since 1970, when its
	// digest was verified; zero before. A file with another one is read again.
	ModTime int64 `json:"modTime,omitempty"`
}

// result returns the result of a complete state.
func (s *state) result() Result {
	r := Result{Digest: s.Digest, Files: len(s.Files)}
	for _, f := range s.Files {
		r.Bytes += f.Size
	}
	return r
}

// loadState reads the folder's state. If it cannot be read, all files are foreign until
// they turn out to be the artifact's.
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
		logf("the state in %s cannot be read, and is rebuilt", stateFile)
		return none
	}
	return s
}

// parseState parses a state, and reports whether it is valid.
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

// valid reports whether all files of a state can be in the folder.
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

// saveState writes the state, with a new, empty journal. After a crash there is either
// this state or the previous one.
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
	// A journal of this generation belongs to a state that was lost.
	if err := f.removeJournal(s.Generation); err != nil {
		return err
	}
	if err := f.Rename(temp, stateFile); err != nil {
		return f.failed(stateFile, err)
	}
	return f.removeJournal(old)
}

// holds reports whether the folder contains the whole artifact with this digest, as far
// as that is known without reading the files.
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

// unchanged reports whether a file has the size and time of when it was verified.
func (f *folder) unchanged(name string, want *file) bool {
	fi, err := f.Lstat(name)
	return err == nil && fi.Mode().IsRegular() && want.ModTime != 0 && fi.Size() == want.Size && fi.ModTime().UnixNano() == want.ModTime
}

// check reports whether a file has the expected content, and returns its modification
// time. It reads the file if it may have changed.
func (f *folder) check(name string, want file) (modTime int64, ok bool, err error) {
	if f.unchanged(name, &want) {
		return want.ModTime, true, nil
	}
	fi, err := f.Lstat(name)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != want.Size {
		return 0, false, nil //nolint:nilerr // Such a file is missing.
	}
	d, err := f.hash(name, want.Digest)
	return fi.ModTime().UnixNano(), d == want.Digest, err
}

// filePath returns the clean form of the path of an artifact's file. It returns an
// error for one that no file may have.
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
		return outcome.Errorf(outcome.Unsupported, "the artifact contains a file in %s, which is reserved for the state of a pull", stateDir)
	}
	return nil
}

// A change is one line of a state's journal: what was added to the state since it was
// written. With a journal, the bytes that a pull writes grow with the number of its
// files rather than with its square.
type change struct {
	Files    map[string]*file    `json:"files,omitempty"`
	Archives map[string][]string `json:"archives,omitempty"`
}

// maxChangeBytes bounds a line of a journal, which has all files of an archive.
const maxChangeBytes = 256 << 20

// journalFile returns the path of the journal of a state. A journal of another
// generation, which a crash may leave behind, is not read.
func journalFile(generation int64) string {
	return fmt.Sprintf("%s/journal-%d", stateDir, generation)
}

// record appends a change, which the state already has, to its journal. With sync, the
// change is on disk afterwards.
func (f *folder) record(s *state, c change, sync bool) error {
	name := journalFile(s.Generation)
	if f.journal == nil {
		var err error
		if f.journal, err = f.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, fileMode); err != nil {
			return f.failed(name, err)
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return f.failed(name, err)
	}
	if _, err := f.journal.Write(append(b, '\n')); err != nil {
		return f.failed(name, err)
	}
	if sync {
		return f.failed(name, f.journal.Sync())
	}
	return nil
}

// closeJournal closes the journal if it is open.
func (f *folder) closeJournal() error {
	if f.journal == nil {
		return nil
	}
	err := f.journal.Close()
	f.journal = nil
	return f.failed(stateDir, err)
}

// removeJournal removes the journal of a generation, if there is one.
func (f *folder) removeJournal(generation int64) error {
	name := journalFile(generation)
	if err := f.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return f.failed(name, err)
	}
	return nil
}

// replay applies the journal to its state, and reports whether the result is valid. It
// removes an incomplete last line, which a crash may leave behind, so that the next
// change starts a new line.
func (f *folder) replay(s *state) bool {
	in, err := f.OpenFile(journalFile(s.Generation), os.O_RDWR, fileMode)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer func() { _ = in.Close() }()
	whole, ok := s.apply(bufio.NewReader(in))
	return ok && in.Truncate(whole) == nil && s.valid()
}

// apply applies the lines of a journal. It returns the size of those that are complete, and
// reports whether all of them are changes.
func (s *state) apply(journal *bufio.Reader) (whole int64, ok bool) {
	for {
		line, err := readLine(journal)
		if errors.Is(err, io.EOF) {
			return whole, true
		}
		var c change
		if err != nil || json.Unmarshal(line, &c) != nil {
			return whole, false
		}
		whole += int64(len(line))
		maps.Copy(s.Files, c.Files)
		maps.Copy(s.Archives, c.Archives)
	}
}

// readLine reads one line with its end, or returns io.EOF if no complete one is left.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxChangeBytes {
			return nil, bufio.ErrTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
