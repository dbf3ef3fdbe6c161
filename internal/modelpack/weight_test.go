package modelpack

import (
	"testing"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
)

// TestWeightNames checks that weights are told by their names in every format:
// consumers leave weights out, or want nothing else.
func TestWeightNames(t *testing.T) {
	cases := map[string]bool{
		"model.safetensors": true, "a/B.GGUF": true, "model.onnx_data": true, "model.onnx_data_1": true, "model_q4.onnx.data": true, "model.gguf.part1of2": true,
		"pytorch_model.bin.1": true, "model.pt2": true, "model.pte": true, "weights.npy": true, "model.llamafile": true, "model.ot": true, "model.trt": true,
		"model.nemo": true, "variables.data-00000-of-00001": true, "model.hdf5": true, "model.pickle": true,
		"model.mlpackage/Data/com.apple.CoreML/weights/weight.bin": true, "variables.index": false, "config.json": false, "libc.so.6": false, "bin": false, "README.1": false, "": false,
	}
	for name, want := range cases {
		if got := LayerFor(name, 5<<30, "").MediaType == specv1.MediaTypeModelWeightRaw; got != want {
			t.Errorf("LayerFor(%q): want a weight %t, got %t", name, want, got)
		}
		// The last file of a kit that is a weight is its model.
		if k := NewKitfile([]File{{Path: name, Size: 5 << 30}}); (k.Model != nil) != want {
			t.Errorf("NewKitfile(%q): want a model %t, got %+v", name, want, k)
		}
	}
}

// TestDatasetLayout checks that a dataset's files are data, whatever their names
// say.
func TestDatasetLayout(t *testing.T) {
	files := []File{{Path: "README.md", Size: 1}, {Path: "a.npy", Size: 1}, {Path: "b.json", Size: 1}, {Path: "c.parquet", Size: 1}, {Path: "load.py", Size: 1}}
	pack, err := NewDatasetLayout(FormatModelPack, files)
	if err != nil {
		t.Fatal(err)
	}
	const doc, data, code = specv1.MediaTypeModelDocRaw, specv1.MediaTypeModelDatasetRaw, specv1.MediaTypeModelCodeRaw
	for i, want := range []string{doc, data, data, data, code} {
		if got := pack.Layers[i].mediaType; got != want {
			t.Errorf("%s: want %s, got %s", files[i].Path, want, got)
		}
	}
	kit, err := NewDatasetLayout(FormatModelKit, files)
	if err != nil {
		t.Fatal(err)
	}
	if kit.kitfile.Model != nil || len(kit.kitfile.DataSets) != 3 {
		t.Errorf("want a Kitfile without a model, got %+v", kit.kitfile)
	}
}
