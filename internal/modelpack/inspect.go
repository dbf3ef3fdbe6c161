package modelpack

import (
	"cmp"
	"io"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
)

// An Inspection finds out what a model's own files say of it: its family and
// architecture, how many parameters it has, in what precision, how they are
// quantized, and what goes in and out.
//
// What is stored decides over what is said about it: first the headers of the
// weights, then config.json and its like, then the index of the weights. Only
// for what goes in and out, the model card, which the author wrote, comes
// first. What none of them says plainly is left out.
//
// All of it follows from the files' bytes: the same files, read in any order,
// say the same. It may be used by several goroutines at once.
type Inspection struct {
	weights weights
	wanted  map[string]head

	mu      sync.Mutex
	found   map[string]any // By path; what the head's read returned.
	tensors int            // How many are in found.
	tooMany bool           // There were more than are counted.
}

// A head is the part of a file that says something of the model.
type head struct {
	file  File
	bytes int64 // How many bytes suffice nearly always.

	// read returns what the head says, and whether it read all that it wanted:
	// not so where the head is malformed.
	read func(r io.Reader, f File) (found any, whole bool)
}

// Inspect returns the inspection of a model of these files.
func Inspect(files []File) *Inspection {
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

// Wants says whether the file says something of the model, and how many of its
// first bytes suffice nearly always. Read says when they do not.
func (i *Inspection) Wants(path string) (int64, bool) {
	h, ok := i.wanted[path]
	return h.bytes, ok
}

// Read reads as much of a file's beginning as says something of the model; where
// the file is not wanted, nothing. An error is the reader's, and
// io.ErrUnexpectedEOF if it ended before the file and before what was wanted:
// the file has to be read again. A file that is malformed says nothing.
func (i *Inspection) Read(path string, r io.Reader) error {
	h, ok := i.wanted[path]
	if !ok {
		return nil
	}
	noted := &noter{Reader: r}
	found, whole := h.read(noted, h.file)
	if !whole && noted.ended && noted.bytes < h.file.Size {
		noted.err = io.ErrUnexpectedEOF
	}
	if noted.err != nil {
		return errors.Wrapf(noted.err, "cannot read the beginning of %q", short(path))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keep(path, found)
	return nil
}

// keep keeps what a file says, and of tensors none where they are too many:
// which files were first must not matter.
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

// Writer returns what reads a file as its bytes pass by, from the first one on.
// It takes all of them and keeps none, and never fails. It is to be closed,
// also where the bytes broke off; then the file has to be written anew.
func (i *Inspection) Writer(path string) io.WriteCloser {
	if _, ok := i.wanted[path]; !ok {
		return ignorer{}
	}
	r, w := io.Pipe()
	p := &passer{w: w, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		// What is written has no errors.
		_ = i.Read(path, r)
		_ = r.Close()
	}()
	return p
}

// Facts returns these facts, with what the files say of what they leave empty.
func (i *Inspection) Facts(f Facts) Facts {
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

// finding returns what a file says; the zero value if it says nothing.
func finding[T any](i *Inspection, path string) T {
	v, _ := i.found[path].(T)
	return v
}

// A summary is what all files say together.
type summary struct {
	family  string
	license string
	config  specv1.ModelConfig
}

// A noter notes how much was read, and why no more.
type noter struct {
	io.Reader

	bytes int64
	ended bool
	err   error
}

func (n *noter) Read(p []byte) (int, error) {
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

// A passer hands bytes on for as long as somebody reads them.
type passer struct {
	w    *io.PipeWriter
	done chan struct{}
	deaf bool
}

func (p *passer) Write(b []byte) (int, error) {
	if !p.deaf {
		_, err := p.w.Write(b)
		p.deaf = err != nil
	}
	return len(b), nil
}

func (p *passer) Close() error {
	err := p.w.Close()
	<-p.done
	return err
}

// An ignorer takes bytes that nobody wants.
type ignorer struct{}

func (ignorer) Write(b []byte) (int, error) { return len(b), nil }
func (ignorer) Close() error                { return nil }
