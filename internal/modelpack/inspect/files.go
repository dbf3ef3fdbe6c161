package inspect

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// weights are the files with a model's parameters. A repository may hold several
// sets of them: in different precisions, or for different programs.
type weights struct {
	// safetensors is the set that programs load by default; empty if that is not
	// known.
	safetensors weightSet

	// gguf is the first set of GGUF files. Others differ in little but their
	// quantization.
	gguf weightSet

	// ggufs is the number of sets of GGUF files.
	ggufs int

	// pytorch reports whether there is an index of files in PyTorch's own format,
	// and no safetensors.
	pytorch bool
}

// A weightSet is one file, or the shards of one.
type weightSet struct {
	stem     string // The path without the shard's number and the suffix.
	total    int    // The number of shards; 0 for one file.
	files    []modelpack.File
	complete bool
}

// index returns the file that lists the tensors of each of the set's files.
func (s weightSet) index() string { return s.stem + ".safetensors.index.json" }

// config returns the file that describes the set's model.
func (s weightSet) config() string { return path.Join(path.Dir(s.stem), fileConfig) }

// pytorchIndex lists the tensors of several files in PyTorch's own format, as
// transformers writes it.
const pytorchIndex = "pytorch_model.bin.index.json"

// mainStems are the sets that programs load by default, in order of preference:
// transformers', the denoiser of a diffusers pipeline, whose size is regarded as the
// pipeline's, a single component of a pipeline, Mistral's own format, and adapters.
// The Hub counts parameters in the same way.
var mainStems = []string{
	"model", "transformer/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "diffusion_pytorch_model",
	"consolidated", "adapter_model",
}

// shardName matches the name of a shard.
var shardName = regexp.MustCompile(`^(.*?)[-_.](\d{5,6})-of-(\d{5,6})$`)

// findWeights finds a model's weights by the names of its files.
func findWeights(files []modelpack.File) weights {
	w := weights{safetensors: mainSafetensors(weightSets(files, "safetensors"))}
	gguf := slices.DeleteFunc(weightSets(files, "gguf"), func(s weightSet) bool {
		// A projector of images belongs to a model, but is none.
		return strings.Contains(strings.ToLower(path.Base(s.stem)), "mmproj")
	})
	if w.ggufs = len(gguf); w.ggufs > 0 && len(w.safetensors.files) == 0 {
		w.gguf = gguf[0]
	}
	w.pytorch = len(w.safetensors.files) == 0 && slices.ContainsFunc(files, func(f modelpack.File) bool { return f.Path == pytorchIndex })
	return w
}

// mainSafetensors returns the set that programs load by default, or an empty one.
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

// weightSets returns the sets of weights in this format, sorted by stem.
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
			// The pattern allows nothing but digits.
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
