package pull

import (
	"fmt"
	"io"
	"log"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// TestRetainedMemory checks that a pull of 100,000 files retains no more memory than the
// worker's soft limit in a container without a limit (defaultLimit in
// internal/memory).
func TestRetainedMemory(t *testing.T) {
	const count, archives, most = 100_000, 4, 40 << 20
	dir := t.TempDir()
	layers := fillState(t, dir, count, archives)

	before := heap()
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	j, err := newJob(&Pull{log: log.New(io.Discard, "", 0)}, nil, f, f.loadState(t.Logf), digest.FromString("d"), layers)
	if err != nil {
		t.Fatal(err)
	}
	retained := heap() - before
	if got := len(j.state.Files); got != count {
		t.Errorf("want the state of %d files, got %d", count, got)
	}
	if t.Logf("%d bytes a file", retained/count); retained > most {
		t.Errorf("want %d files to retain at most %d MiB, got %d", count, most>>20, retained>>20)
	}
	runtime.KeepAlive(j)
}

// fillState writes a state with that many files in archives into a folder, and returns
// the archives' layers.
func fillState(t *testing.T, dir string, count, archives int) []modelpack.Layer {
	t.Helper()
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var layers []modelpack.Layer
	s := f.loadState(t.Logf)
	for i := range archives {
		l := modelpack.Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint(i)), Size: 1 << 30}, Encoding: modelpack.Tar}
		layers = append(layers, l)
		for n := i; n < count; n += archives {
			name := fmt.Sprintf("data/train/part-%03d/sample-%09d.json", n/1000, n)
			s.Files[name] = &file{Digest: digest.FromString(name), Size: int64(n), ModTime: int64(n)}
			s.Archives[l.Key()] = append(s.Archives[l.Key()], name)
		}
	}
	if err := f.saveState(s); err != nil {
		t.Fatal(err)
	}
	return layers
}

// heap returns the size of the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
