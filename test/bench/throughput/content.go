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
	"golang.org/x/sys/unix"
)

// organisation of the models on the Hub.
const organisation = "bench"

// A file of a model.
type file struct {
	Path   string
	Size   int64
	SHA256 string
}

// A model on the Hub, or a dataset.
type model struct {
	Name    string
	Dataset bool `json:",omitempty"`
	Files   []file
	Bytes   int64
}

// name on the Hub, with its organisation.
func (m model) name() string { return organisation + "/" + m.Name }

// kind is what the Hub keeps it among, as it stands in paths.
func (m model) kind() string {
	if m.Dataset {
		return "datasets"
	}
	return "models"
}

// A recipe describes a model's content. It has a name of its own for all that
// it makes, since what was made once is used again.
type recipe struct {
	name  string
	files []file // Without their hashes.

	// sparse files are zeros behind their header, and take no room on disk.
	sparse bool

	dataset bool
}

// largeModel is what most models are: few files, nearly all of them weights.
func largeModel(bytes int64, sparse bool) recipe {
	kind := "large"
	if sparse {
		kind = "huge"
	}
	return recipe{name: fmt.Sprintf("%s-%dMiB", kind, bytes>>20), files: shards(4, bytes), sparse: sparse}
}

// shardedModel is a model of so many files of zeros behind their header, of the same size.
func shardedModel(files int, bytes int64) recipe {
	return recipe{name: fmt.Sprintf("sharded-%d-%dMiB", files, bytes>>20), files: shards(files, bytes), sparse: true}
}

// shards returns so many files with the weights of a model.
func shards(files int, bytes int64) []file {
	var out []file
	for i := range files {
		out = append(out, file{Path: fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, files), Size: bytes / int64(files)})
	}
	return out
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

// manyFiles is a dataset of many small files, in folders of a thousand: three of four are
// text of 1 to 4 KiB, which git keeps; each fourth is an array of 2 to 8 KiB, which LFS keeps.
func manyFiles(files int) recipe {
	r := recipe{name: fmt.Sprintf("many-%d", files), dataset: true}
	random := rand.New(rand.NewPCG(2, uint64(files))) //nolint:gosec // The same each time.
	for i := range files {
		folder := fmt.Sprintf("part-%03d", i/1000)
		if i%4 == 3 {
			r.files = append(r.files, file{Path: fmt.Sprintf("%s/%06d.safetensors", folder, i), Size: 2<<10 + random.Int64N(6<<10)})
			continue
		}
		r.files = append(r.files, file{Path: fmt.Sprintf("%s/%06d.json", folder, i), Size: 1<<10 + random.Int64N(3<<10)})
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
	m.Name, m.Dataset = r.name, r.dataset
	folder := filepath.Join(dir, m.kind(), organisation, r.name, "main")
	for _, f := range r.files {
		path := filepath.Join(folder, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return m, errors.Wrap(err, "cannot make the model's folder")
		}
		var err error
		if f.SHA256, err = r.write(path, f); err != nil {
			return m, errors.Wrapf(err, "cannot write %s", f.Path)
		}
		m.Files = append(m.Files, f)
		m.Bytes += f.Size
	}
	b, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	unix.Sync()
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
	return hex.EncodeToString(sum.Sum(nil)), nil
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
