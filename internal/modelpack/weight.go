package modelpack

import (
	"path"
	"regexp"
	"strings"
)

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
