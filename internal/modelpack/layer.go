// Package modelpack lays out models as OCI artifacts, and reads such artifacts: as
// CNCF's ModelPack (https://github.com/modelpack/model-spec/blob/main/docs/spec.md),
// with one raw layer per file that is not empty, which runtimes can mount; as a
// KitOps ModelKit; and as an OCI image.
//
// Packing is deterministic: the same commit of a model always gives the same digest.
package modelpack

import (
	"path"
	"regexp"
	"slices"
	"strings"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	codeSuffixes   = []string{".py", ".ipynb", ".sh", ".js", ".ts", ".go", ".rs", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".java", ".jinja"}
	docSuffixes    = []string{".md", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"}
	configSuffixes = []string{".json", ".yaml", ".yml", ".toml", ".model"}
	docNames       = []string{"readme", "license", "licence", "notice", "copying"}
)

// LayerFor returns the descriptor of a raw layer, which is a file as it is. The
// file's name decides its media type. The annotations have the file's path:
// org.opencontainers.image.title, which runtimes use to name what they mount, and
// org.cncf.model.filepath.
func LayerFor(name string, size int64, d digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: mediaType(name),
		Digest:    d,
		Size:      size,
		Annotations: map[string]string{
			ocispec.AnnotationTitle:   name,
			specv1.AnnotationFilepath: name,
		},
	}
}

// mediaType returns the media type of a file with this name. It defaults to a
// configuration of the weights, which every consumer unpacks.
func mediaType(name string) string {
	base := strings.ToLower(path.Base(name))
	suffix := path.Ext(base)
	switch {
	case isWeight(name):
		return specv1.MediaTypeModelWeightRaw
	case slices.Contains(docSuffixes, suffix):
		return specv1.MediaTypeModelDocRaw
	case slices.Contains(codeSuffixes, suffix):
		return specv1.MediaTypeModelCodeRaw
	case slices.Contains(datasetSuffixes, suffix):
		return specv1.MediaTypeModelDatasetRaw
	case slices.Contains(configSuffixes, suffix):
		return specv1.MediaTypeModelWeightConfigRaw
	case slices.ContainsFunc(docNames, func(n string) bool { return strings.HasPrefix(base, n) }):
		return specv1.MediaTypeModelDocRaw
	}
	return specv1.MediaTypeModelWeightConfigRaw
}

// formatOf returns the format of most bytes of the weights, or "" if there is none.
func formatOf(layers []ocispec.Descriptor) string {
	sizes := map[string]int64{}
	best := ""
	for _, l := range layers {
		f, _ := weightFormat(l.Annotations[specv1.AnnotationFilepath])
		if f == "" {
			continue
		}
		sizes[f] += l.Size
		if best == "" || sizes[f] > sizes[best] || (sizes[f] == sizes[best] && f < best) {
			best = f
		}
	}
	return best
}

// weightFormats maps suffixes of files' names to formats of weights, for all formats
// of artifacts. It has the suffixes that modctl
// (https://github.com/modelpack/modctl/blob/main/pkg/modelfile/constants.go) and kit
// (kitops, pkg/lib/kitfile/generate/generate.go) know as weights, and others. A
// format is empty if the suffix does not tell it.
var weightFormats = map[string]string{
	".safetensors": "safetensors",
	".gguf":        "gguf",
	".ggml":        "ggml",
	".ggmf":        "ggml",
	".onnx":        "onnx",
	".onnx_data":   "onnx",
	".onnx.data":   "onnx",
	".bin":         "pytorch",
	".pt":          "pytorch",
	".pt2":         "pytorch",
	".pth":         "pytorch",
	".ptl":         "pytorch",
	".ckpt":        "pytorch",
	".mar":         "pytorch",
	".ot":          "pytorch",
	".pte":         "executorch",
	".h5":          "tensorflow",
	".hdf5":        "tensorflow",
	".pb":          "tensorflow",
	".keras":       "keras",
	".msgpack":     "flax",
	".tflite":      "tflite",
	".mlmodel":     "coreml",
	".caffemodel":  "caffe",
	".pmml":        "pmml",
	".nemo":        "nemo",
	".engine":      "tensorrt",
	".trt":         "tensorrt",
	".joblib":      "sklearn",
	".llamafile":   "llamafile",
	".npy":         "",
	".npz":         "",
	".weights":     "",
	".pkl":         "",
	".pickle":      "",
}

// datasetSuffixes are the suffixes of datasets' files, for all formats of artifacts.
var datasetSuffixes = []string{".parquet", ".arrow", ".csv", ".tsv", ".jsonl", ".tar", ".zip"}

// weightPart matches what follows the suffix in the name of a part of a weights
// file: onnx_data_1, bin.1 and gguf.part1of2.
var weightPart = regexp.MustCompile(`(?:[._][0-9]{1,5}|\.part[0-9]{1,5}of[0-9]{1,5})$`)

// checkpointPart matches the suffix of the files with the variables of a checkpoint
// of TensorFlow.
var checkpointPart = regexp.MustCompile(`\.data-[0-9]{5}-of-[0-9]{5}$`)

// weightFormat reports whether a file's name is one of weights, and returns their
// format, if the name tells that.
func weightFormat(name string) (format string, ok bool) {
	base := strings.ToLower(path.Base(name))
	if checkpointPart.MatchString(base) {
		return "tensorflow", true
	}
	for _, n := range []string{base, weightPart.ReplaceAllString(base, "")} {
		suffix := path.Ext(n)
		if longer := path.Ext(strings.TrimSuffix(n, suffix)) + suffix; longer != suffix {
			if format, ok = weightFormats[longer]; ok {
				return format, true
			}
		}
		if format, ok = weightFormats[suffix]; ok {
			return format, true
		}
	}
	return "", false
}

// isWeight reports whether a file's name is one of weights.
func isWeight(name string) bool {
	_, ok := weightFormat(name)
	return ok
}
