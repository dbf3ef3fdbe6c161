package pull

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
)

// A change is one line of a state's journal: what was added to the state since
// it was written. So what a pull writes grows with the number of its files, and
// not with its square.
type change struct {
	Files    map[string]*file    `json:"files,omitempty"`
	Archives map[string][]string `json:"archives,omitempty"`
}

// maxChangeBytes bounds a line of a journal: an archive's files, by path.
const maxChangeBytes = 256 << 20

// journalFile is the journal of the state of a generation. That of another
// generation, which a crash may leave, is not read.
func journalFile(generation int64) string {
	return fmt.Sprintf("%s/journal-%d", stateDir, generation)
}

// record adds a change to the journal of a state, which has it already. With sync
// it is on disk afterwards.
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

// closeJournal ends writing to the journal, if one is open.
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

// replay applies the journal to the state that it is of, and reports whether the
// result is valid. A last line that a crash cut short counts as not written, and
// is cut off, so that what is added next is a line of its own.
func (f *folder) replay(s *state) bool {
	in, err := f.OpenFile(journalFile(s.Generation), os.O_RDWR, fileMode)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer func() { _ = in.Close() }()
	r := bufio.NewReader(in)
	for whole := int64(0); ; {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			return in.Truncate(whole) == nil && s.valid()
		}
		var c change
		if err != nil || json.Unmarshal(line, &c) != nil {
			return false
		}
		whole += int64(len(line))
		maps.Copy(s.Files, c.Files)
		maps.Copy(s.Archives, c.Archives)
	}
}

// readLine reads one line with its end, or io.EOF where there is no whole one.
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
