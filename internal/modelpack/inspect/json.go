package inspect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// Limits of reading JSON files and model cards. The longest published ones have some
// hundred KiB, for the names of 21,000 classes.
const (
	maxJSONBytes = 4 << 20
	maxCardBytes = 64 << 10
	indexHead    = 64 << 10
)

// Files in a model's folder with facts about it.
const (
	fileConfig   = "config.json"
	fileAdapter  = "adapter_config.json"
	fileMistral  = "params.json"
	filePipeline = "model_index.json"
	fileModules  = "modules.json"
	fileGPTQ     = "quantize_config.json"
	fileModelOpt = "hf_quant_config.json"
	fileCard     = "README.md"
)

// heads maps the paths of files to the functions that read them.
var heads = map[string]func(io.Reader, modelpack.File) (any, bool){
	fileConfig:   readJSON[configFile],
	fileAdapter:  readJSON[adapterFile],
	fileMistral:  readJSON[mistralFile],
	filePipeline: readJSON[pipelineFile],
	fileModules:  readJSON[[]moduleEntry],
	fileGPTQ:     readJSON[quantConfig],
	fileModelOpt: readJSON[modelOptFile],
	fileCard:     readCard,
}

// A configFile is transformers' config.json, and a component's of diffusers
// (https://huggingface.co/docs/transformers/main_classes/configuration).
type configFile struct {
	Architectures       []string        `json:"architectures"`
	ModelType           string          `json:"model_type"`
	TransformersVersion string          `json:"transformers_version"`
	DType               string          `json:"dtype"`
	TorchDType          string          `json:"torch_dtype"` // The former name of dtype.
	Quantization        *quantConfig    `json:"quantization_config"`
	ExpertDType         string          `json:"expert_dtype"`
	VisionConfig        json.RawMessage `json:"vision_config"`
	AudioConfig         json.RawMessage `json:"audio_config"`
	TextConfig          *struct {
		DType        string       `json:"dtype"`
		TorchDType   string       `json:"torch_dtype"`
		Quantization *quantConfig `json:"quantization_config"`
		ExpertDType  string       `json:"expert_dtype"`
	} `json:"text_config"`
}

// A quantConfig describes how weights are quantized
// (https://huggingface.co/docs/transformers/quantization/overview).
type quantConfig struct {
	Method     string `json:"quant_method"`
	Algorithm  string `json:"quant_algo"` // ModelOpt's.
	Bits       int64  `json:"bits"`
	LoadIn4Bit bool   `json:"load_in_4bit"`
	LoadIn8Bit bool   `json:"load_in_8bit"`
	Format     string `json:"format"` // Of compressed-tensors, as are the groups.
	Groups     map[string]struct {
		Format  string `json:"format"`
		Weights struct {
			Bits int64 `json:"num_bits"`
		} `json:"weights"`
	} `json:"config_groups"`
}

// An adapterFile is PEFT's adapter_config.json.
type adapterFile struct {
	Type     string `json:"peft_type"`
	TaskType string `json:"task_type"`
}

// A mistralFile is the params.json of Mistral's and Meta's own format.
type mistralFile struct {
	Dim    int64 `json:"dim"`
	Layers int64 `json:"n_layers"`
	Heads  int64 `json:"n_heads"`
}

// A pipelineFile is diffusers' model_index.json. A component is a library and a class.
type pipelineFile struct {
	Class       string   `json:"_class_name"`
	Transformer []string `json:"transformer"`
	UNet        []string `json:"unet"`
}

// A moduleEntry is an entry of sentence-transformers' modules.json.
type moduleEntry struct {
	Type string `json:"type"`
}

// A modelOptFile is NVIDIA ModelOpt's hf_quant_config.json.
type modelOptFile struct {
	Quantization quantConfig `json:"quantization"`
}

// readJSON reads a JSON file, and returns a *T.
func readJSON[T any](r io.Reader, f modelpack.File) (any, bool) {
	b, err := io.ReadAll(io.LimitReader(r, maxJSONBytes+1))
	if err != nil || int64(len(b)) < f.Size || len(b) > maxJSONBytes {
		return nil, false
	}
	v := new(T)
	var wrongType *json.UnmarshalTypeError
	// A field of the wrong type is ignored.
	if err := json.Unmarshal(withoutNaN(b), v); err != nil && !errors.As(err, &wrongType) {
		return nil, true
	}
	return v, true
}

// withoutNaN returns Python's JSON with null in place of NaN and Infinity, which JSON
// does not have.
func withoutNaN(b []byte) []byte {
	if !bytes.Contains(b, []byte("NaN")) && !bytes.Contains(b, []byte("Infinity")) {
		return b
	}
	out := make([]byte, 0, len(b))
	for quoted := false; len(b) > 0; {
		n, word := 1, b[:1]
		switch {
		case quoted && b[0] == '\\' && len(b) > 1:
			n, word = 2, b[:2]
		case b[0] == '"':
			quoted = !quoted
		case quoted:
		case bytes.HasPrefix(b, []byte("NaN")):
			n, word = 3, []byte("null")
		case bytes.HasPrefix(b, []byte("Infinity")):
			n, word = 8, []byte("null")
		case bytes.HasPrefix(b, []byte("-Infinity")):
			n, word = 9, []byte("null")
		}
		out, b = append(out, word...), b[n:]
	}
	return out
}

// An indexFile is the metadata of an index of weights.
type indexFile struct {
	TotalSize  json.Number `json:"total_size"`
	Parameters json.Number `json:"total_parameters"`
}

// readIndex reads the index of weights up to its metadata, which transformers writes
// first, and returns an *indexFile.
func readIndex(r io.Reader, _ modelpack.File) (any, bool) {
	s := &supply{Reader: io.LimitReader(r, maxSafetensorsHeader)}
	dec := json.NewDecoder(s)
	s.refill()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for s.refill(); dec.More(); s.refill() {
		key, err := dec.Token()
		if err != nil {
			return nil, false
		}
		s.refill()
		if key == "metadata" {
			v := &indexFile{}
			err := dec.Decode(v)
			return v, err == nil
		}
		if err := skipValue(dec, s); err != nil {
			return nil, false
		}
	}
	_, err := dec.Token()
	return nil, err == nil
}

// skipValue skips a value, with one token at a time in memory.
func skipValue(dec *json.Decoder, s *supply) error {
	for depth := 0; ; {
		s.refill()
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// A cardFile is the metadata of a model card.
type cardFile struct {
	pipeline string
	licenses []string // As the Hub's words.
}

// addLicense adds a word of the field license, which is one word or a list.
func (c *cardFile) addLicense(item string) {
	if word := plainWord(strings.Trim(strings.TrimSpace(item), `"'`)); word != "" {
		c.licenses = append(c.licenses, word)
	}
}

// readCard reads the metadata of a model card
// (https://huggingface.co/docs/hub/model-cards#model-card-metadata), and returns a
// *cardFile. It reads only lines of the YAML with a key and a word, and the list of
// licences.
func readCard(r io.Reader, f modelpack.File) (any, bool) {
	b, err := io.ReadAll(io.LimitReader(r, maxCardBytes))
	if err != nil || int64(len(b)) < min(f.Size, maxCardBytes) {
		return nil, false
	}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	if !lines.Scan() || strings.TrimRight(lines.Text(), " \r") != "---" {
		return nil, true
	}
	c, listed := &cardFile{}, false
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \r")
		if line == "---" {
			return c, true
		}
		if item, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "- "); ok && listed {
			c.addLicense(item)
			continue
		}
		listed = line == "license:"
		key, value, _ := strings.Cut(line, ":")
		word := strings.Trim(strings.TrimSpace(value), `"'`)
		switch key {
		case "pipeline_tag":
			c.pipeline = plainWord(word)
		case "license":
			for item := range strings.SplitSeq(strings.Trim(strings.TrimSpace(value), "[]"), ",") {
				c.addLicense(item)
			}
		}
	}
	// Metadata that does not end is invalid.
	return nil, true
}
