package inspect

import (
	"bufio"
	"encoding/binary"
	"io"
	"regexp"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// Limits of reading a GGUF file. The heads of the largest ones have about ten MiB,
// nearly all of it the vocabulary, which is skipped.
const (
	ggufHead       = 12 << 20
	maxGGUFHead    = 64 << 20
	maxGGUFKeys    = 1 << 16
	maxGGUFTensors = 1 << 20
	maxGGUFKey     = 1<<16 - 1 // The format's limit.
	maxGGUFString  = 256       // Of a value that is kept.
	maxGGUFDepth   = 4         // Of arrays in arrays.
	maxGGUFDims    = 8         // Twice as many as programs support.
)

// Types of values in GGUF's metadata
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
const (
	ggufUint32 = 4
	ggufString = 8
	ggufArray  = 9
)

// ggufWidths maps types to the sizes of their values in bytes, except for strings and
// arrays.
var ggufWidths = map[uint32]uint64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// A ggufHeader is the content of a GGUF file's head.
type ggufHeader struct {
	architecture string // general.architecture
	kind         string // general.type
	sizeLabel    string // general.size_label
	fileType     uint32 // general.file_type, if hasFileType.
	hasFileType  bool
	elements     int64 // Of all tensors.
	whole        bool  // The whole head was read.
}

// readGGUF reads the head of a GGUF file, and returns a *ggufHeader with the part that
// could be read.
func readGGUF(r io.Reader, _ modelpack.File) (any, bool) {
	g := &ggufReader{r: bufio.NewReaderSize(io.LimitReader(r, maxGGUFHead), 64<<10)}
	magic, version := g.u32(), g.u32()
	// No models were published in version 1.
	if magic != 0x46554747 || version < 2 || version > 3 {
		return nil, false
	}
	tensors, keys := g.u64(), g.u64()
	if g.failed || tensors > maxGGUFTensors || keys > maxGGUFKeys {
		return nil, false
	}
	h := &ggufHeader{}
	for range keys {
		if g.pair(h); g.failed {
			return h, false
		}
	}
	for range tensors {
		if h.elements += g.tensor(); g.failed || h.elements > maxElements {
			return h, false
		}
	}
	h.whole = true
	return h, true
}

// A ggufReader reads a GGUF file's head. After a failure it returns zeros.
type ggufReader struct {
	r      *bufio.Reader
	failed bool
}

func (g *ggufReader) bytes(b []byte) {
	if g.failed {
		return
	}
	if _, err := io.ReadFull(g.r, b); err != nil {
		g.failed = true
		clear(b)
	}
}

func (g *ggufReader) u32() uint32 {
	var b [4]byte
	g.bytes(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (g *ggufReader) u64() uint64 {
	var b [8]byte
	g.bytes(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// skip skips n bytes.
func (g *ggufReader) skip(n uint64) {
	if g.failed || n > maxGGUFHead {
		g.failed = true
		return
	}
	if _, err := g.r.Discard(int(n)); err != nil {
		g.failed = true
	}
}

// str reads a string of at most that many bytes. It skips a longer one, and returns "".
func (g *ggufReader) str(most uint64) string {
	n := g.u64()
	if n > most {
		g.skip(n)
		return ""
	}
	b := make([]byte, n)
	g.bytes(b)
	return string(b)
}

// pair reads a key and its value, and stores the value if it is used.
func (g *ggufReader) pair(h *ggufHeader) {
	key, kind := g.str(maxGGUFKey), g.u32()
	switch {
	case kind == ggufString && key == "general.architecture":
		h.architecture = g.str(maxGGUFString)
	case kind == ggufString && key == "general.type":
		h.kind = g.str(maxGGUFString)
	case kind == ggufString && key == "general.size_label":
		h.sizeLabel = g.str(maxGGUFString)
	case kind == ggufUint32 && key == "general.file_type":
		h.fileType, h.hasFileType = g.u32(), !g.failed
	default:
		g.value(kind, maxGGUFDepth)
	}
}

// value skips a value.
func (g *ggufReader) value(kind uint32, depth int) {
	switch kind {
	case ggufString:
		g.skip(g.u64())
	case ggufArray:
		g.array(depth)
	default:
		width, ok := ggufWidths[kind]
		g.failed = g.failed || !ok
		g.skip(width)
	}
}

func (g *ggufReader) array(depth int) {
	kind, n := g.u32(), g.u64()
	if depth == 0 || n > maxGGUFHead {
		g.failed = true
		return
	}
	if width, ok := ggufWidths[kind]; ok {
		g.skip(n * width)
		return
	}
	for range n {
		if g.value(kind, depth-1); g.failed {
			return
		}
	}
}

// tensor reads the description of a tensor, and returns the number of its elements.
func (g *ggufReader) tensor() int64 {
	g.skip(g.u64()) // Its name.
	dims := g.u32()
	if dims > maxGGUFDims {
		g.failed = true
		return 0
	}
	shape := make([]uint64, dims)
	for i := range shape {
		shape[i] = g.u64()
	}
	g.u32() // Its type.
	g.u64() // Its offset.
	n, ok := product(shape)
	g.failed = g.failed || !ok
	return n
}

// ggufQuantizations maps the file types of llama.cpp
// (https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h, enum
// llama_ftype) to their common names.
var ggufQuantizations = map[uint32]string{
	2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
	14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S",
	22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
	30: "IQ4_XS", 31: "IQ1_M", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
}

// ggufPrecisions maps the file types that are not quantized to precisions.
var ggufPrecisions = map[uint32]string{0: "float32", 1: "float16", 32: "bfloat16"}

// ggufGuessed is set in a file type that llama.cpp guessed.
const ggufGuessed = 1024

var sizeLabel = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9])?[QTBMKqtbmk]$`)

// paramSize returns the size label if it has the form of ModelPack, else "".
func (h *ggufHeader) paramSize() string {
	if !sizeLabel.MatchString(h.sizeLabel) {
		return ""
	}
	return strings.ToLower(h.sizeLabel)
}
