package inspect

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/license"
)

// summarize combines what all files say.
func (i *Inspection) summarize() summary {
	config := finding[*configFile](i, fileConfig)
	card := finding[*cardFile](i, fileCard)
	s := summary{family: plainWord(value(config).ModelType), license: license.FromHub(value(card).licenses...)}
	s.config.Architecture = i.architecture(value(config))
	s.config.Capabilities = i.capabilities(value(config), value(card).pipeline)
	switch {
	case len(i.weights.safetensors.files) > 0:
		i.describeSafetensors(&s)
	case i.weights.ggufs > 0:
		i.describeGGUF(&s)
	default:
		i.describePyTorch(&s, value(config))
	}
	return s
}

// value returns *p, or the zero value if p is nil.
func value[T any](p *T) T {
	if p == nil {
		p = new(T)
	}
	return *p
}

// plain matches words that are accepted from files.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// plainWord returns s if it is one plain word, else "".
func plainWord(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return ""
}

// describeSafetensors adds the facts of safetensors files.
func (i *Inspection) describeSafetensors(s *summary) {
	set := i.weights.safetensors
	config := value(finding[*configFile](i, set.config()))
	q := quantizationOf(i.quantConfig(config), cmp.Or(config.ExpertDType, value(config.TextConfig).ExpertDType))
	s.config.Format = "safetensors"
	s.config.Quantization = q.method
	index := value(finding[*indexFile](i, set.index()))
	declared, _ := index.Parameters.Int64()

	var tensors []tensor
	var stored int64
	whole := set.complete
	for _, f := range set.files {
		t := finding[[]tensor](i, f.Path)
		whole = whole && t != nil
		tensors = append(tensors, t...)
	}
	for _, t := range tensors {
		stored = min(stored+t.elements, maxElements)
	}
	c := countTensors(tensors, q)
	s.config.Precision = cmp.Or(c.precision, config.precision(), c.rest)
	switch {
	case whole && c.known:
		s.config.ParamSize = paramSize(c.parameters)
	case whole && declared <= stored:
		// The index counted packed values as they are stored, which is wrong.
	default:
		s.config.ParamSize = paramSize(min(declared, maxElements))
	}
}

// quantConfig returns the quantization that the model's files describe, or nil.
func (i *Inspection) quantConfig(c configFile) *quantConfig {
	gptq := finding[*quantConfig](i, fileGPTQ)
	switch {
	case c.Quantization != nil:
		return c.Quantization
	case value(c.TextConfig).Quantization != nil:
		return c.TextConfig.Quantization
	case gptq != nil && gptq.Bits > 0:
		// AutoGPTQ's file does not name the method.
		q := *gptq
		q.Method = cmp.Or(q.Method, "gptq")
		return &q
	}
	if m := finding[*modelOptFile](i, fileModelOpt); m != nil {
		return &m.Quantization
	}
	return nil
}

// precision returns the precision of most weights, or of what they are unpacked to,
// according to the config.
func (c configFile) precision() string {
	text := value(c.TextConfig)
	for _, d := range []string{c.DType, c.TorchDType, text.DType, text.TorchDType} {
		switch d = strings.TrimPrefix(d, "torch."); d {
		case "float64", "float32", "float16", "bfloat16":
			return d
		case "float8_e4m3fn":
			return "float8_e4m3"
		case "float8_e5m2":
			return d
		}
	}
	return ""
}

// describeGGUF adds the facts of GGUF files. Several sets have no quantization, since
// each has its own.
func (i *Inspection) describeGGUF(s *summary) {
	set := i.weights.gguf
	var first ggufHeader
	var elements int64
	whole := set.complete
	for n, f := range set.files {
		h := finding[*ggufHeader](i, f.Path)
		if n == 0 {
			first = value(h)
		}
		whole = whole && value(h).whole
		elements = min(elements+value(h).elements, maxElements)
	}
	if first.kind != "" && first.kind != "model" {
		return
	}
	s.config.ParamSize = first.paramSize()
	if whole {
		s.config.ParamSize = cmp.Or(paramSize(elements), s.config.ParamSize)
	}
	s.family = cmp.Or(s.family, plainWord(first.architecture))
	if s.config.Architecture == "" && first.architecture != "" {
		s.config.Architecture = architectureOf(first.architecture)
	}
	if i.weights.ggufs == 1 && first.hasFileType {
		s.config.Quantization = ggufQuantizations[first.fileType&^ggufGuessed]
		s.config.Precision = ggufPrecisions[first.fileType&^ggufGuessed]
	}
}

// describePyTorch adds the facts of files whose headers are not read.
func (i *Inspection) describePyTorch(s *summary, c configFile) {
	q := quantizationOf(i.quantConfig(c), "")
	s.config.Quantization, s.config.Precision = q.method, c.precision()
	if !i.weights.pytorch || q.method != "" {
		return
	}
	index := value(finding[*indexFile](i, pytorchIndex))
	n, _ := index.Parameters.Int64()
	if size, _ := index.TotalSize.Int64(); n <= 0 {
		// transformers saves all weights in the same precision.
		width := map[string]int64{"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}[s.config.Precision]
		n = size / max(width, 1)
		if width == 0 {
			n = 0
		}
	}
	s.config.ParamSize = paramSize(min(n, maxElements))
}

// otherArchitectures maps the model types of transformers and llama.cpp that are not
// transformers to their architectures.
var otherArchitectures = map[string]string{
	"resnet": "cnn", "convnext": "cnn", "convnextv2": "cnn", "mobilenet_v1": "cnn", "mobilenet_v2": "cnn", "efficientnet": "cnn",
	"regnet": "cnn", "bit": "cnn", "van": "cnn",
	"mamba": "ssm", "mamba2": "ssm", "falcon_mamba": "ssm",
	"rwkv": "rnn", "rwkv6": "rnn", "rwkv6qwen2": "rnn", "rwkv7": "rnn", "arwkv7": "rnn", "xlstm": "rnn",
	"sd1": "unet", "sdxl": "unet",
	// These are unknown, or have none of the other architectures.
	"timm_wrapper": "", "timm_backbone": "", "encodec": "", "dac": "", "mimi": "", "univnet": "", "vocos": "",
}

// architectureOf returns the architecture of a model type.
func architectureOf(modelType string) string {
	if other, ok := otherArchitectures[strings.ToLower(modelType)]; ok {
		return other
	}
	return "transformer"
}

// architecture returns the model's architecture: a transformer, except for a few model
// types of transformers.
func (i *Inspection) architecture(c configFile) string {
	pipeline, mistral := value(finding[*pipelineFile](i, filePipeline)), value(finding[*mistralFile](i, fileMistral))
	switch {
	case c.ModelType != "" && (c.TransformersVersion != "" || len(c.Architectures) > 0):
		return architectureOf(c.ModelType)
	case isComponent(pipeline.Transformer), mistral.Dim > 0 && mistral.Layers > 0 && mistral.Heads > 0:
		return "transformer"
	case isComponent(pipeline.UNet):
		return "unet"
	}
	return ""
}

// isComponent reports whether a pipeline has a component, which is a library and a
// class; both are null if it has none.
func isComponent(c []string) bool { return len(c) == 2 && c[0] != "" && c[1] != "" }

// A modality is a model's types of input and output.
type modality struct{ in, out []specv1.Modality }

// Modalities of the Hub's tasks (https://huggingface.co/tasks) with known types of
// input and output.
var (
	text  = []specv1.Modality{specv1.TextModality}
	image = []specv1.Modality{specv1.ImageModality}
	audio = []specv1.Modality{specv1.AudioModality}
	video = []specv1.Modality{specv1.VideoModality}
	embed = []specv1.Modality{specv1.EmbeddingModality}

	modalities = map[string]modality{
		"text-generation": {text, text}, "text2text-generation": {text, text}, "translation": {text, text}, "summarization": {text, text},
		"image-text-to-text": {slices.Concat(text, image), text}, "video-text-to-text": {slices.Concat(text, video), text},
		"audio-text-to-text": {slices.Concat(text, audio), text}, "image-to-text": {image, text},
		"automatic-speech-recognition": {audio, text}, "text-to-speech": {text, audio}, "text-to-audio": {text, audio}, "audio-to-audio": {audio, audio},
		"text-to-image": {text, image}, "image-to-image": {image, image}, "text-to-video": {text, video}, "image-to-video": {image, video},
		"sentence-similarity": {text, embed}, "feature-extraction": {nil, embed}, "image-feature-extraction": {image, embed},
	}
)

// capabilities returns the model's types of input and output, or nil if they are not
// known.
func (i *Inspection) capabilities(c configFile, pipeline string) *specv1.ModelCapabilities {
	m, ok := modalities[pipeline]
	if !ok {
		m = i.modality(c)
	}
	out := &specv1.ModelCapabilities{InputTypes: slices.Clone(m.in), OutputTypes: slices.Clone(m.out)}
	if modules := finding[*[]moduleEntry](i, fileModules); slices.Equal(m.out, embed) || isEmbedder(value(modules)) {
		out.OutputTypes, out.Embedding = slices.Clone(embed), new(true)
	}
	if slices.ContainsFunc(c.Architectures, func(a string) bool { return strings.HasSuffix(a, "RewardModel") }) {
		out.OutputTypes, out.Reward = nil, new(true)
	}
	if len(out.InputTypes) == 0 && len(out.OutputTypes) == 0 && out.Reward == nil {
		return nil
	}
	return out
}

// isEmbedder reports whether the modules are those of sentence-transformers, which
// pool a transformer's output into one vector.
func isEmbedder(modules []moduleEntry) bool {
	return slices.ContainsFunc(modules, func(m moduleEntry) bool { return m.Type == "sentence_transformers.models.Pooling" })
}

// modality returns the types of input and output according to the model's classes.
func (i *Inspection) modality(c configFile) modality {
	is := func(suffix string) bool {
		return slices.ContainsFunc(c.Architectures, func(a string) bool { return strings.HasSuffix(a, suffix) })
	}
	causal := is("ForCausalLM")
	sees, hears := isObject(c.VisionConfig), isObject(c.AudioConfig)
	switch {
	case c.ModelType == "whisper" && is("ForConditionalGeneration"):
		return modalities["automatic-speech-recognition"]
	case causal && !sees && !hears, value(finding[*adapterFile](i, fileAdapter)).TaskType == "CAUSAL_LM":
		return modalities["text-generation"]
	case (causal || is("ForConditionalGeneration")) && sees && !hears:
		return modalities["image-text-to-text"]
	}
	return modality{}
}

func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }
