// Package modelpack makes manifests and configs of CNCF's ModelPack
// (https://github.com/modelpack/model-spec/blob/main/docs/spec.md), with one
// raw layer a file that is not empty, which runtimes can mount as they are, and of a model as a
// KitOps ModelKit and as an OCI image. It finds out what goes into a config from
// the model's own files, and reads artifacts, too.
//
// All that goes into them follows from the model's content: packing the same
// commit again, on any day, gives the same digest.
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

// LayerFor returns the descriptor of the layer that a file is: its bytes as
// they are, with a media type by the file's name, and the file's path in the
// annotations org.opencontainers.image.title, by which runtimes name what they
// mount, and org.cncf.model.filepath.
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

// mediaType sorts a file by its name. What is not known otherwise is taken for
// a configuration of the weights, which every consumer unpacks.
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

// formatOf returns the format that most of the weights' bytes are in, or none.
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

// weightFormats are the formats of weights by the suffixes of their files' names,
// for every format of artifact: what modctl
// (https://github.com/modelpack/modctl/blob/main/pkg/modelfile/constants.go) and
// kit (kitops, pkg/lib/kitfile/generate/generate.go) take for weights, and what
// neither knows. The empty format is one that the name does not tell.
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

// datasetSuffixes are those of a dataset's files, for every format of artifact.
var datasetSuffixes = []string{".parquet", ".arrow", ".csv", ".tsv", ".jsonl", ".tar", ".zip"}

// weightPart is how the names of the parts of a file of weights end, after its
// suffix: onnx_data_1, bin.1 and gguf.part1of2.
var weightPart = regexp.MustCompile(`(?:[._][0-9]{1,5}|\.part[0-9]{1,5}of[0-9]{1,5})$`)

// checkpointPart is how TensorFlow names the files of a checkpoint that hold its
// variables.
var checkpointPart = regexp.MustCompile(`\.data-[0-9]{5}-of-[0-9]{5}$`)

// weightFormat reports whether a file holds weights, as far as its name tells,
// and in which format, if the name tells that.
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

// isWeight reports whether a file holds weights, as far as its name tells.
func isWeight(name string) bool {
	_, ok := weightFormat(name)
	return ok
}
