package inspect

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// weights are the files that a model's parameters are in. A repository may hold
// them several times: in other precisions, for other programs.
type weights struct {
	// safetensors is the set that programs load by default; none where that
	// cannot be told.
	safetensors weightSet

	// gguf is a set of GGUF files; the first of several, which differ in how
	// they are quantized and in little else.
	gguf weightSet

	// ggufs is how many sets of GGUF files there are.
	ggufs int

	// pytorch says that there is an index of files in PyTorch's own format, and
	// no safetensors.
	pytorch bool
}

// A weightSet is one file, or several that are parts of one.
type weightSet struct {
	stem     string // The files' path, without number and suffix.
	total    int    // How many parts there are; none where it is one file.
	files    []modelpack.File
	complete bool
}

// index is the file that lists which of the set's files a tensor is in.
func (s weightSet) index() string { return s.stem + ".safetensors.index.json" }

// config is the file that describes the model whose weights these are.
func (s weightSet) config() string { return path.Join(path.Dir(s.stem), fileConfig) }

// pytorchIndex lists which of several files a tensor is in, as transformers
// writes it.
const pytorchIndex = "pytorch_model.bin.index.json"

// mainStems are the files that programs load by default, the first before the
// others: transformers, the denoiser of a diffusers pipeline, whose size is
// what people call the pipeline's, a single component of one, Mistral's own
// format, and adapters. The Hub counts parameters so, too.
var mainStems = []string{
	"model", "transformer/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "diffusion_pytorch_model",
	"consolidated", "adapter_model",
}

// shardName is how the parts of a set are named.
var shardName = regexp.MustCompile(`^(.*?)[-_.](\d{5,6})-of-(\d{5,6})$`)

// findWeights finds a model's weights by the files' names.
func findWeights(files []modelpack.File) weights {
	w := weights{safetensors: mainSafetensors(weightSets(files, "safetensors"))}
	gguf := slices.DeleteFunc(weightSets(files, "gguf"), func(s weightSet) bool {
		// A projector of images, which goes with a model and is none.
		return strings.Contains(strings.ToLower(path.Base(s.stem)), "mmproj")
	})
	if w.ggufs = len(gguf); w.ggufs > 0 && len(w.safetensors.files) == 0 {
		w.gguf = gguf[0]
	}
	w.pytorch = len(w.safetensors.files) == 0 && slices.ContainsFunc(files, func(f modelpack.File) bool { return f.Path == pytorchIndex })
	return w
}

// mainSafetensors returns the set that programs load by default.
func mainSafetensors(sets []weightSet) weightSet {
	for _, stem := range mainStems {
		var first weightSet
		for _, s := range sets {
			switch {
			case s.stem != stem:
			case s.complete:
				return s
			case len(first.files) == 0:
				first = s
			}
		}
		if len(first.files) > 0 {
			return first
		}
	}
	if len(sets) == 1 && path.Dir(sets[0].stem) == "." {
		return sets[0]
	}
	return weightSet{}
}

// weightSets returns the sets of files of weights in this format, by their stems.
func weightSets(files []modelpack.File, format string) []weightSet {
	type key struct {
		stem  string
		total int
	}
	sets := map[key]*weightSet{}
	for _, f := range files {
		suffix := path.Ext(f.Path)
		if !strings.EqualFold(suffix, "."+format) {
			continue
		}
		stem := strings.TrimSuffix(f.Path, suffix)
		k := key{stem: stem}
		if m := shardName.FindStringSubmatch(stem); m != nil {
			// Six digits are always a number.
			k.stem = m[1]
			k.total, _ = strconv.Atoi(m[3])
		}
		if sets[k] == nil {
			sets[k] = &weightSet{stem: k.stem, total: k.total}
		}
		sets[k].files = append(sets[k].files, f)
	}
	out := make([]weightSet, 0, len(sets))
	for _, s := range sets {
		slices.SortFunc(s.files, func(a, b modelpack.File) int { return strings.Compare(a.Path, b.Path) })
		s.complete = len(s.files) == max(s.total, 1)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b weightSet) int {
		if c := strings.Compare(a.stem, b.stem); c != 0 {
			return c
		}
		return a.total - b.total
	})
	return out
}
