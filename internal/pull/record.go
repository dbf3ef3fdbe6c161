package pull

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A record of segments says which parts of a partial file are written, if these are not
// just a prefix: a line with the sizes of a segment and of the layer, then a line for each
// segment that is whole, or that a pull left behind, with the number of its bytes. It is
// a hint: the digest of the whole decides. It has about 20 bytes for each segment.
const (
	recordHead = "segments of %d of %d bytes\n"
	recordLine = "%d %d\n"
)

// maxRecordLine bounds a line of a record: two numbers of 19 digits.
const maxRecordLine = 64

// segmentsOf returns the path of the record of a raw layer's partial file.
func segmentsOf(partial string) string { return partial + ".segments" }

// read applies a record to parts of which nothing is known yet, and whose file has so
// many bytes. It reports whether the record is one of this layer in segments of this
// size. It ignores an incomplete last line, which a crash may leave behind, and all lines
// behind one that is none.
func (p *parts) read(record io.Reader, has int64) bool {
	// Each segment has a line when it is whole, and one for each pull that left it behind
	// before: the record begins anew with each pull.
	r := bufio.NewReaderSize(io.LimitReader(record, maxRecordLine*int64(2*len(p.done)+1)), maxRecordLine)
	head, err := r.ReadSlice('\n')
	if err != nil || string(head) != fmt.Sprintf(recordHead, p.size, p.layer.Size) {
		return false
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return true
		}
		var i int
		var n int64
		if _, err := fmt.Sscanf(string(line), recordLine, &i, &n); err != nil || i < 0 || i >= len(p.done) || n <= 0 || n > p.length(i) {
			return true
		}
		if int64(i)*p.size+n <= has {
			p.done[i] = max(p.done[i], n)
		}
	}
}

// assume takes a partial file without a record for the beginning of the layer.
func (p *parts) assume(has int64) {
	for i := range p.done {
		p.done[i] = max(0, min(p.length(i), has-int64(i)*p.size))
	}
}

// find finds out what is in a partial file, by its record if there is one.
func (j *job) find(p *parts, name string) error {
	fi, err := p.out.Stat()
	if err != nil {
		return err
	}
	record, err := j.folder.Open(segmentsOf(name))
	if errors.Is(err, fs.ErrNotExist) {
		p.assume(fi.Size())
		return p.out.Truncate(min(fi.Size(), p.layer.Size))
	}
	if err != nil {
		return err
	}
	known := p.read(record, fi.Size())
	_ = record.Close()
	if !known {
		return p.out.Truncate(0)
	}
	// The record begins anew, so that it does not grow with the number of pulls.
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startRecord()
}

// createRecord creates the record of a partial file with a content, or replaces it, at
// once, and returns it for more lines.
func (j *job) createRecord(name, content string) (*os.File, error) {
	temp := segmentsOf(name) + ".new"
	out, err := j.folder.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, err
	}
	if _, err = out.WriteString(content); err == nil {
		err = j.folder.Rename(temp, segmentsOf(name))
	}
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	return out, nil
}

// removeRecord removes the record of a partial file, if there is one.
func (j *job) removeRecord(name string) error {
	if err := j.folder.Remove(segmentsOf(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
