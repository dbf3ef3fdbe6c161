package modelpack

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// TestKitLayers checks that layers equal those that kit 1.7.0 and 1.11.0 pack of the
// same files.
func TestKitLayers(t *testing.T) {
	want := map[string]digest.Digest{
		"sub/w.bin":         "sha256:b80ebe700d780743a46bb187f86d2df16e409b4009be4d5addd4dd4f3d04e260",
		"model.safetensors": "sha256:cd9f612dde8ecd153a79716580d890f50792b2e505a552fee8b32e7ffcf86264",
		"config.json":       "sha256:549ec6ceb75b46169ad153f459dbfc18deb72df4819127742c3111623e1b7a20",
		"sub/deep/ä ü.json": "sha256:ed9482aac23ee537df5e7f1349f3a3f7c29e8c2fb4adc887877be8d7d2b29ec8",
		"empty.txt":         "sha256:f85b87c7c701de8816c55e9338dd6f81a149e82778b19f6f6bea29a4d42cb9b9",
		longName:            "sha256:59dba58a26d5c23676c8d12e8b22c4b0c48e3c163304a650dc820bbde51b43d8",
		"README.md":         "sha256:6606be491a2d25fc3b6ef8dd4f21fabcdb6061cbc1091e72fa853466e2cabb98",
	}
	l, blobs := pack(t, FormatModelKit, small)
	for i, p := range l.Layers {
		if d, ok := want[p.Files[0].Path]; ok && d != digest.FromBytes(blobs[i]) {
			t.Errorf("%s: want the layer that kit makes, got %s", p.Files[0].Path, digest.FromBytes(blobs[i]))
		}
	}
}

func TestModelKit(t *testing.T) {
	l, blobs := pack(t, FormatModelKit, small)
	facts := full
	facts.Author = "Qwen"
	a, err := l.Artifact(facts, digests(blobs))
	if err != nil {
		t.Fatal(err)
	}
	var k Kitfile
	if err := json.Unmarshal(a.Config, &k); err != nil {
		t.Fatal(err)
	}
	entry := func(path string) KitEntry {
		for i, p := range l.Layers {
			if p.Files[0].Path == path {
				return KitEntry{Path: path, Digest: digest.FromBytes(blobs[i]), DiffID: digest.FromBytes(blobs[i])}
			}
		}
		return KitEntry{}
	}
	want := Kitfile{
		ManifestVersion: "1.0.0",
		Package:         KitPackage{Name: "Qwen3-0.6B", License: "Apache-2.0", Authors: []string{"Qwen"}},
		Model: &KitModel{
			Name: "Qwen3-0.6B", Format: "pytorch", KitEntry: entry("sub/w.bin"),
			Parts: []KitEntry{entry("model.safetensors"), entry("config.json"), entry(longName), entry("empty.txt"), entry("sub/deep/ä ü.json")},
		},
		Code:     []KitEntry{entry("run.py")},
		DataSets: []KitEntry{entry("data/a.csv")},
		Docs:     []KitEntry{entry("README.md")},
	}
	if diff := cmp.Diff(want, k); diff != "" {
		t.Errorf("Kitfile: -want, +got:\n%s", diff)
	}
	// ReadManifest must accept it, and find the layers in kit's order.
	read, err := ReadManifest(a.Manifest, a.Config)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for i, r := range read {
		if r.Digest != digest.FromBytes(blobs[i]) || r.Encoding != Tar {
			t.Errorf("layer %d: got %+v", i, r)
		}
		types = append(types, strings.TrimSuffix(strings.TrimPrefix(r.MediaType, "application/vnd.kitops.modelkit."), ".v1.tar"))
	}
	wantTypes := slices.Concat([]string{"model"}, slices.Repeat([]string{"modelpart"}, 5), []string{"code", "dataset", "docs"})
	if diff := cmp.Diff(wantTypes, types); diff != "" {
		t.Errorf("types: -want, +got:\n%s", diff)
	}
	d, err := Describe(a.Manifest)
	if err != nil || d.Format != FormatModelKit || d.Size != a.Size() {
		t.Errorf("Describe(...): got %+v, %v", d, err)
	}
	if diff := cmp.Diff(Facts{Name: "Qwen3-0.6B", SourceURL: full.SourceURL, Revision: full.Revision, License: "Apache-2.0"}, d.Facts(a.Config)); diff != "" {
		t.Errorf("Facts(...): -want, +got:\n%s", diff)
	}
}

func TestNewKitfile(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  []File
		want   *Kitfile
	}{
		"Reference": {
			reason: "A file whose path looks like a reference should not be the model, since kit might fetch it.",
			files:  []File{{"a:b.safetensors", 9}, {"b.safetensors", 1}},
			want:   &Kitfile{ManifestVersion: "1.0.0", Model: &KitModel{KitEntry: KitEntry{Path: "b.safetensors"}, Parts: []KitEntry{{Path: "a:b.safetensors"}}}},
		},
		"OnlyReferences": {
			reason: "There should be no model if all paths look like references.",
			files:  []File{{"a:b.safetensors", 9}, {"config.json", 1}},
			want:   &Kitfile{ManifestVersion: "1.0.0", DataSets: []KitEntry{{Path: "a:b.safetensors"}, {Path: "config.json"}}},
		},
		"Dataset": {
			reason: "There should be no parts without a model.",
			files:  []File{{"data.parquet", 9}, {"info.json", 1}, {"LICENSE", 1}},
			want:   &Kitfile{ManifestVersion: "1.0.0", DataSets: []KitEntry{{Path: "data.parquet"}, {Path: "info.json"}}, Docs: []KitEntry{{Path: "LICENSE"}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, NewKitfile(tc.files)); diff != "" {
				t.Errorf("\n%s\nNewKitfile(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
