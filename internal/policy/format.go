package policy

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"
	"strings"
)

// Formats of files, as policies name them.
const (
	// FormatData is configuration, tokenizers, text, tables and media: nothing in it
	// is executed when it is loaded. No policy refuses it.
	FormatData = "data"

	// FormatSafetensors and FormatGGUF are weights without code.
	FormatSafetensors = "safetensors"
	FormatGGUF        = "gguf"

	// FormatPickle is all that Python's pickle reads, which executes code:
	// PyTorch's own formats, joblib, dill, and arrays of objects.
	FormatPickle = "pickle"

	FormatGGML       = "ggml"
	FormatNumPy      = "numpy"
	FormatONNX       = "onnx"
	FormatKeras      = "keras"
	FormatTensorFlow = "tensorflow"
	FormatFlax       = "flax"

	// FormatCode is source code, scripts, notebooks, and programs.
	FormatCode = "code"

	// FormatArchive is an archive or a compressed file, whose content is not known.
	FormatArchive = "archive"

	// FormatOther is everything else.
	FormatOther = "other"
)

// byExtension has the format of files by the ends of their names, in small letters.
var byExtension = extensions(map[string]string{
	FormatSafetensors: ".safetensors",
	FormatGGUF:        ".gguf",
	FormatGGML:        ".ggml",
	FormatPickle:      ".pt .pth .ckpt .pkl .pickle .joblib .dill .pdparams .ot .ptl .pt2 .t7 .mar",
	FormatNumPy:       ".npy .npz",
	FormatONNX:        ".onnx .onnx_data",
	FormatKeras:       ".h5 .hdf5 .keras",
	FormatTensorFlow:  ".pb .tflite .meta",
	FormatFlax:        ".msgpack",
	FormatCode: ".py .pyc .pyi .pyx .ipynb .sh .bash .zsh .bat .cmd .ps1 .rb .pl .lua .php .r .jl .js .mjs .cjs .ts .java .jar .class .go .rs " +
		".c .cc .cpp .h .hpp .cu .so .dll .dylib .exe .wasm .llamafile .whl",
	FormatArchive: ".zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .nemo",
	FormatData: ".json .jsonl .ndjson .txt .md .markdown .rst .yaml .yml .toml .ini .cfg .conf .csv .tsv .parquet .arrow .xml .html .htm .css .log .lock .cff .bib " +
		".model .spm .tiktoken .vocab .bpe .merges .codes .jinja .jinja2 .tmpl .template .gbnf .proto .pbtxt .modelfile " +
		".gitattributes .gitignore .gitkeep .imatrix .index .pdf .png .jpg .jpeg .gif .webp .svg .bmp .ico .tif .tiff .wav .mp3 .flac .ogg .m4a .mp4 .webm .mov .avi .srt .vtt .ttf",
})

// extensions returns the formats by extension.
func extensions(of map[string]string) map[string]string {
	out := map[string]string{}
	for format, all := range of {
		for _, e := range strings.Fields(all) {
			out[e] = format
		}
	}
	return out
}

// dataNames are files without an extension that are data.
var dataNames = []string{"readme", "license", "licence", "notice", "copying", "copyright", "authors", "changelog", "citation", "version", "use_policy", "kitfile", "modelfile", "vocab", "merges"}

// pickleNames are the beginnings of names that end with .bin in which transformers and
// diffusers save pickles (https://huggingface.co/docs/hub/security-pickle).
var pickleNames = []string{"pytorch_model", "diffusion_pytorch_model", "adapter_model", "training_args", "optimizer", "scheduler", "rng_state"}

// FormatByName returns the format of a file as its name tells, and reports whether it
// does: a name that ends with .bin may be of any format. Another that is not known is
// of FormatOther.
func FormatByName(name string) (string, bool) {
	base := strings.ToLower(path.Base(name))
	ext := path.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	if ext == ".bin" {
		if slices.ContainsFunc(pickleNames, func(p string) bool { return strings.HasPrefix(stem, p) }) {
			return FormatPickle, true
		}
		return FormatOther, false
	}
	if format, ok := byExtension[ext]; ok {
		return format, true
	}
	if slices.Contains(dataNames, base) || slices.Contains(dataNames, stem) {
		return FormatData, true
	}
	return FormatOther, true
}

// HeadBytes is how many first bytes of a file tell its format: the magic of a tar
// archive is at 257 (POSIX.1-2017, pax, ustar Interchange Format).
const HeadBytes = 264

// FormatOf returns the one format that a file is recorded with: that of its first
// bytes if they contradict its name, else that of its name.
func FormatOf(f File, head []byte) string {
	all := FormatsOf(f, head)
	return all[len(all)-1]
}

// FormatsOf returns the formats that a file is checked as: that of its name, if it
// tells, and that of its first bytes, if they do. One that neither tells is of
// FormatOther.
func FormatsOf(f File, head []byte) []string {
	var out []string
	name, told := FormatByName(f.Path)
	if told {
		out = append(out, name)
	}
	if content := formatByContent(f, name, head); content != "" && content != name {
		out = append(out, content)
	}
	if len(out) == 0 {
		out = append(out, FormatOther)
	}
	return out
}

// magics are the first bytes of formats.
var magics = []struct {
	magic, format string
}{
	{"GGUF", FormatGGUF},
	{"lmgg", FormatGGML},
	{"tjgg", FormatGGML},
	{"fmgg", FormatGGML},
	{"\x93NUMPY", FormatNumPy},
	{"\x89HDF\r\n\x1a\n", FormatKeras},
	{"\x7fELF", FormatCode},
	{"MZ\x90\x00", FormatCode},
	{"#!/", FormatCode},
	{"\xcf\xfa\xed\xfe", FormatCode},
	{"\xce\xfa\xed\xfe", FormatCode},
	{"\xca\xfe\xba\xbe", FormatCode},
	{"\x1f\x8b", FormatArchive},
	{"BZh", FormatArchive},
	{"\xfd7zXZ\x00", FormatArchive},
	{"\x28\xb5\x2f\xfd", FormatArchive},
	{"7z\xbc\xaf\x27\x1c", FormatArchive},
}

// formatByContent returns the format that the first bytes of a file tell; "" if they
// tell none. The name decides only what the bytes leave open.
func formatByContent(f File, name string, head []byte) string {
	switch {
	case name == FormatSafetensors && isSafetensors(f, head):
		// The length of its header may begin as a pickle does.
		return FormatSafetensors
	case isPickle(head):
		return FormatPickle
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipped(f, name)
	case isSafetensors(f, head):
		return FormatSafetensors
	case bytes.HasPrefix(head, []byte("\x93NUMPY")) && bytes.Contains(head, []byte("|O")):
		// An array of objects, which are pickled
		// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
		return FormatPickle
	case len(head) >= 262 && bytes.HasPrefix(head[257:], []byte("ustar")):
		return FormatArchive
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format
		}
	}
	return ""
}

// isPickle reports whether bytes begin as a pickle of protocol 2 or later does: with
// PROTO and its number (https://docs.python.org/3/library/pickletools.html). Those of
// protocols 0 and 1 have no bytes of their own.
func isPickle(head []byte) bool {
	return len(head) >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5
}

// zipped returns the format of a zip archive. PyTorch saves pickles in one, whatever
// the file's name is, unless that is of another format which is a zip archive, too.
func zipped(f File, name string) string {
	ext := strings.ToLower(path.Ext(f.Path))
	switch {
	case name == FormatArchive, name == FormatNumPy && ext == ".npz", name == FormatKeras && ext == ".keras",
		ext == ".jar", ext == ".whl":
		return name
	}
	return FormatPickle
}

// maxSafetensorsHeader bounds the header of a safetensors file
// (https://huggingface.co/docs/safetensors, Format).
const maxSafetensorsHeader = 100_000_000

// isSafetensors reports whether bytes begin as a safetensors file does: with the
// length of a header, which is JSON.
func isSafetensors(f File, head []byte) bool {
	if len(head) < 9 || head[8] != '{' {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return n <= maxSafetensorsHeader && int64(n)+8 <= f.Size
}
