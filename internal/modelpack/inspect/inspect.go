// Package inspect reads what a model's own files say about it: its family and
// architecture, how many parameters it has, in what precision, how they are
// quantized, and what goes in and out.
package inspect

import (
	"cmp"
	"io"
	"sync"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// An Inspection gathers facts about a model from the beginnings of its files.
//
// Stored data takes precedence over descriptions of it: first the headers of the
// weights, then config.json and similar files, then the index of the weights.
// Only for inputs and outputs the model card, written by the author, comes first.
// Facts that no file states plainly are omitted.
//
// The result depends on nothing but the files' bytes: the same files, read in
// any order, give the same facts. An Inspection is safe for concurrent use.
type Inspection struct {
	weights weights
	wanted  map[string]head

	mu      sync.Mutex
	found   map[string]any // What each head's read returned, by path.
	tensors int            // The number of tensors in found.
	tooMany bool           // There are more tensors than maxTensors.
}

// A head is the beginning of a file that holds facts about the model.
type head struct {
	file  modelpack.File
	bytes int64 // The number of first bytes that is nearly always enough.

	// read returns what the head says, and reports whether it read everything
	// that it needs. It has not if the head is malformed or cut short.
	read func(r io.Reader, f modelpack.File) (found any, whole bool)
}

// New returns the inspection of a model that has these files. It reads none.
func New(files []modelpack.File) *Inspection {
	i := &Inspection{weights: findWeights(files), wanted: map[string]head{}, found: map[string]any{}}
	tensors := i.weights.safetensors
	for _, f := range files {
		read, most := heads[f.Path], int64(maxJSONBytes)
		switch {
		case f.Path == fileCard:
			most = maxCardBytes
		case read == nil && f.Path == tensors.config():
			read = readJSON[configFile]
		case f.Path == tensors.index(), i.weights.pytorch && f.Path == pytorchIndex:
			read, most = readIndex, indexHead
		}
		if read != nil {
			i.wanted[f.Path] = head{file: f, bytes: min(f.Size, most), read: read}
		}
	}
	for _, f := range tensors.files {
		i.wanted[f.Path] = head{file: f, bytes: min(f.Size, safetensorsHead), read: readSafetensors}
	}
	for _, f := range i.weights.gguf.files {
		i.wanted[f.Path] = head{file: f, bytes: min(f.Size, ggufHead), read: readGGUF}
	}
	return i
}

// Wants reports whether the file may hold facts about the model, and returns how
// many of its first bytes are nearly always enough. If they are not, Read returns
// io.ErrUnexpectedEOF.
func (i *Inspection) Wants(path string) (int64, bool) {
	h, ok := i.wanted[path]
	return h.bytes, ok
}

// Read reads as much of a file's beginning as it needs, and nothing of a file
// that Wants does not report. It returns the reader's error, or
// io.ErrUnexpectedEOF if the reader ended before both the file and the needed
// part: then more of the file must be read from its start. A malformed file
// yields no facts and no error.
func (i *Inspection) Read(path string, r io.Reader) error {
	h, ok := i.wanted[path]
	if !ok {
		return nil
	}
	noted := &notingReader{Reader: r}
	found, whole := h.read(noted, h.file)
	if !whole && noted.ended && noted.bytes < h.file.Size {
		noted.err = io.ErrUnexpectedEOF
	}
	if noted.err != nil {
		return errors.Wrapf(noted.err, "cannot read the beginning of %q", path)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keep(path, found)
	return nil
}

// keep stores what a file says. If there are too many tensors it drops those of
// all files, so that the result does not depend on the order of the files.
func (i *Inspection) keep(path string, found any) {
	if tensors, ok := found.([]tensor); ok {
		i.tensors += len(tensors) - len(finding[[]tensor](i, path))
		if i.tooMany = i.tooMany || i.tensors > maxTensors; i.tooMany {
			found = nil
		}
	}
	i.found[path] = found
	if !i.tooMany {
		return
	}
	for _, f := range i.weights.safetensors.files {
		delete(i.found, f.Path)
	}
}

// Writer returns a writer that inspects a file while its bytes, from the first
// one on, are written to it. It accepts and discards all of them and never fails.
// The caller must close it, even if the transfer was interrupted; then the file
// must be written again, from its start, to a new Writer.
func (i *Inspection) Writer(path string) io.WriteCloser {
	if _, ok := i.wanted[path]; !ok {
		return discarder{}
	}
	r, w := io.Pipe()
	p := &inspectingWriter{w: w, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		// A pipe's reader fails only if its writer does.
		_ = i.Read(path, r)
		_ = r.Close()
	}()
	return p
}

// Facts returns f with its empty fields filled in from the files read so far.
func (i *Inspection) Facts(f modelpack.Facts) modelpack.Facts {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.summarize()
	f.Family = cmp.Or(f.Family, s.family)
	f.License = cmp.Or(f.License, s.license)
	c := &f.Config
	c.Architecture = cmp.Or(c.Architecture, s.config.Architecture)
	c.Format = cmp.Or(c.Format, s.config.Format)
	c.ParamSize = cmp.Or(c.ParamSize, s.config.ParamSize)
	c.Precision = cmp.Or(c.Precision, s.config.Precision)
	c.Quantization = cmp.Or(c.Quantization, s.config.Quantization)
	if c.Capabilities == nil {
		c.Capabilities = s.config.Capabilities
	}
	return f
}

// finding returns what a file says, or the zero value if it says nothing.
func finding[T any](i *Inspection, path string) T {
	v, _ := i.found[path].(T)
	return v
}

// A summary is what all files say together about the model.
type summary struct {
	family  string
	license string
	config  specv1.ModelConfig
}

// A notingReader records how many bytes were read, and why reading stopped.
type notingReader struct {
	io.Reader

	bytes int64
	ended bool
	err   error
}

func (n *notingReader) Read(p []byte) (int, error) {
	c, err := n.Reader.Read(p)
	n.bytes += int64(c)
	switch {
	case errors.Is(err, io.EOF):
		n.ended = true
	case err != nil:
		n.err = err
	}
	return c, err
}

// An inspectingWriter passes bytes to an inspection until it needs no more.
type inspectingWriter struct {
	w    *io.PipeWriter
	done chan struct{} // Closed when the inspection has ended.
	full bool          // The inspection needs no more bytes.
}

func (p *inspectingWriter) Write(b []byte) (int, error) {
	if !p.full {
		_, err := p.w.Write(b)
		p.full = err != nil
	}
	return len(b), nil
}

func (p *inspectingWriter) Close() error {
	err := p.w.Close()
	<-p.done
	return err
}

// A discarder accepts the bytes of a file that is not inspected.
type discarder struct{}

func (discarder) Write(b []byte) (int, error) { return len(b), nil }
func (discarder) Close() error                { return nil }
