package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// organisation of the models on the Hub.
const organisation = "bench"

// A file of a model.
type file struct {
	Path   string
	Size   int64
	SHA256 string
}

// A model on the Hub.
type model struct {
	Name  string
	Files []file
	Bytes int64
}

// name on the Hub, with its organisation.
func (m model) name() string { return organisation + "/" + m.Name }

// A recipe describes a model's content. It has a name of its own for all that
// it makes, since what was made once is used again.
type recipe struct {
	name  string
	files []file // Without their hashes.

	// sparse files are zeros behind their header, and take no room on disk.
	sparse bool
}

// largeModel is what most models are: few files, nearly all of them weights.
func largeModel(bytes int64, sparse bool) recipe {
	const files = 4
	kind := "large"
	if sparse {
		kind = "huge"
	}
	r := recipe{name: fmt.Sprintf("%s-%dMiB", kind, bytes>>20), sparse: sparse}
	for i := range files {
		r.files = append(r.files, file{Path: fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, files), Size: bytes / files})
	}
	return r
}

// smallModel has many small files: three of four are text of 1 to 16 KiB, which
// git keeps, and whose SHA-256 the Hub does not name; each fourth is a tensor
// of 16 to 64 KiB, which LFS keeps, as in collections of adapters. They lie in
// one folder, as shards do.
func smallModel(files int) recipe {
	r := recipe{name: fmt.Sprintf("small-%d", files)}
	random := rand.New(rand.NewPCG(1, uint64(files))) //nolint:gosec // The same each time.
	for i := range files {
		if i%4 == 3 {
			r.files = append(r.files, file{Path: fmt.Sprintf("adapter-%04d.safetensors", i), Size: 16<<10 + random.Int64N(48<<10)})
			continue
		}
		r.files = append(r.files, file{Path: fmt.Sprintf("config-%04d.json", i), Size: 1<<10 + random.Int64N(15<<10)})
	}
	return r
}

// prepare makes the model below dir, where a Hub serves it, unless it is there
// already.
func (r recipe) prepare(dir string) (model, error) {
	index := filepath.Join(dir, r.name+".json")
	var m model
	if b, err := os.ReadFile(index); err == nil {
		return m, errors.Wrap(json.Unmarshal(b, &m), "cannot read what was prepared: remove "+dir)
	}
	fmt.Fprintf(os.Stderr, "preparing %s below %s\n", r.name, dir)
	folder := filepath.Join(dir, "models", organisation, r.name, "main")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return m, errors.Wrap(err, "cannot make the model's folder")
	}
	m.Name = r.name
	for _, f := range r.files {
		var err error
		if f.SHA256, err = r.write(filepath.Join(folder, f.Path), f); err != nil {
			return m, errors.Wrapf(err, "cannot write %s", f.Path)
		}
		m.Files = append(m.Files, f)
		m.Bytes += f.Size
	}
	b, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	return m, errors.Wrap(os.WriteFile(index, b, 0o600), "cannot write what was prepared")
}

// write writes a file and returns its SHA-256.
func (r recipe) write(path string, f file) (string, error) {
	out, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer out.Close()
	buffered := bufio.NewWriterSize(out, 1<<20)
	if err := r.fill(buffered, f); err != nil {
		return "", err
	}
	if err := errors.Join(buffered.Flush(), out.Truncate(f.Size)); err != nil {
		return "", err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, out); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), out.Sync()
}

// fill writes what a file of this name begins with, and bytes that are another
// file's nowhere.
func (r recipe) fill(w io.Writer, f file) error {
	seed := fnv.New64a()
	_, _ = io.WriteString(seed, r.name+"/"+f.Path)
	key := [32]byte{}
	binary.LittleEndian.PutUint64(key[:], seed.Sum64())
	random := rand.NewChaCha8(key)
	if filepath.Ext(f.Path) == ".json" {
		return fillJSON(w, random, f.Size)
	}
	if err := header(w, f.Path, f.Size); err != nil || r.sparse {
		return err
	}
	// The header is not long, and what is too much is cut off.
	_, err := io.CopyN(w, random, f.Size)
	return err
}

// headerSize of the safetensors that are made, with the eight bytes that tell it.
const headerSize = 512

// header writes that of a safetensors file of one tensor
// (https://github.com/huggingface/safetensors#format).
func header(w io.Writer, name string, size int64) error {
	data := size - headerSize
	text := fmt.Sprintf(`{%q:{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, name, data, data)
	if err := binary.Write(w, binary.LittleEndian, uint64(headerSize-8)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%-*s", headerSize-8, text)
	return err
}

// fillJSON writes a JSON text of this size.
func fillJSON(w io.Writer, random io.Reader, size int64) error {
	const before, after = `{"text":"`, `"}`
	b := make([]byte, (size-int64(len(before)+len(after)))/2+1)
	if _, err := io.ReadFull(random, b); err != nil {
		return err
	}
	text := hex.EncodeToString(b)[:size-int64(len(before)+len(after))]
	_, err := io.WriteString(w, before+text+after)
	return err
}
