package attest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

// bomList returns the list of a model with a model card.
func bomList() filelist.List {
	l := listOf(map[string]string{"config.json": "{}", "model.safetensors": "weights", "sub/tokenizer model.json": "{ }"})
	l.Files[1].Format = "safetensors"
	l.Model = filelist.Model{
		Task: "text-generation", Library: "transformers", ModelType: "qwen3", Architectures: []string{"Qwen3ForCausalLM"}, Parameters: 751632384,
		BaseModels: []string{"Qwen/Qwen3-0.6B-Base", "our own <model>"}, BaseModelRelation: "finetune",
		Datasets: []string{"openai/gsm8k", "private data"}, Licenses: []string{"apache-2.0", "llama3.1", "other"},
		LicenseName: "acme-1", LicenseLink: "https://example.com/LICENSE", Scan: "safe",
	}
	return l
}

func TestBOM(t *testing.T) {
	dataset := testProvenance()
	dataset.Source = "https://hub.example.com/datasets/openai/gsm8k"
	mirror := testProvenance()
	mirror.Source, mirror.Revision, mirror.License = "ghcr.io/o/qwen3", otherDigest.String(), "MIT AND LicenseRef-x"
	own := testProvenance()
	own.Source = "https://hub.example.com/qwen3"
	below := testProvenance()
	below.Source = "https://mirror.example.com/hub/datasets/openai/gsm8k"
	bare := filelist.List{Files: bomList().Files}
	cases := map[string]struct {
		reason string
		list   filelist.List
		p      Provenance
	}{
		"model":   {reason: "A model should be described by its card.", list: bomList(), p: testProvenance()},
		"dataset": {reason: "A dataset is data, and has no model card.", list: bare, p: dataset},
		"mirror":  {reason: "An artifact of a registry should be named by its repository.", list: bare, p: mirror},
		"own-hub": {reason: "A model of another Hub, without an organisation, should be named with the Hub.", list: bare, p: own},
		"below":   {reason: "A dataset of a Hub below a path should be named with the path.", list: bare, p: below},
		"least":   {reason: "A model of which nothing is known should be described, too.", list: bare, p: Provenance{Repository: "r.example.com/models/qwen3", Digest: testDigest}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := BOM(tc.list, tc.p)
			if err != nil {
				t.Fatalf("\n%s\nBOM(...): %v", tc.reason, err)
			}
			golden(t, "bom-"+name+".json", b)
			checkBOM(t, b)

			other := tc.p
			other.Owner, other.Run, other.RunID, other.Finished, other.Version = Owner{Cluster: "other"}, 9, "other", other.Finished.AddDate(1, 0, 0), "v2"
			again, err := BOM(tc.list, other)
			if err != nil || string(again) != string(b) {
				t.Errorf("Another owner and run of the same content should yield the same bytes, which Artifacts share.\nBOM(...): %v: %s", err, cmp.Diff(string(b), string(again)))
			}
		})
	}
}

var (
	serialNumber = regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	sha256Hex    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	purlPattern  = regexp.MustCompile(`^pkg:(huggingface|oci)/[^\s]+$`)
)

// checkBOM checks what CycloneDX 1.6's schema asks for and its library does not: that the
// document has only known members, and identifiers, hashes and references that fit.
func checkBOM(t *testing.T, b []byte) {
	t.Helper()
	var bom cdx.BOM
	if err := strictJSON(b, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.SpecVersion != cdx.SpecVersion1_6 || bom.Version != 1 || !serialNumber.MatchString(bom.SerialNumber) {
		t.Errorf("BOM(...): want CycloneDX 1.6, version 1, got %s %s, %d, %s", bom.BOMFormat, bom.SpecVersion, bom.Version, bom.SerialNumber)
	}
	model := bom.Metadata.Component
	if model.Name == "" || model.PackageURL != "" && !purlPattern.MatchString(model.PackageURL) {
		t.Errorf("BOM(...): name %q, purl %q", model.Name, model.PackageURL)
	}
	refs := []string{model.BOMRef}
	for _, c := range *bom.Components {
		refs = append(refs, c.BOMRef)
		if c.Type != cdx.ComponentTypeFile || c.Name == "" || len(*c.Hashes) != 1 || !sha256Hex.MatchString((*c.Hashes)[0].Value) {
			t.Errorf("BOM(...): no file: %+v", c)
		}
	}
	if slices.Sort(refs); len(slices.Compact(slices.Clone(refs))) != len(refs) {
		t.Errorf("BOM(...): references are not unique: %v", refs)
	}
	dependsOn := append([]string{model.BOMRef}, *(*bom.Dependencies)[0].Dependencies...)
	if slices.Sort(dependsOn); !slices.Equal(refs, dependsOn) {
		t.Errorf("BOM(...): want the model to depend on each file, got %v", dependsOn)
	}
	if model.Licenses != nil {
		for _, l := range *model.Licenses {
			if (l.License.ID == "") == (l.License.Name == "") || strings.HasPrefix(l.License.ID, "LicenseRef-") {
				t.Errorf("BOM(...): want an SPDX identifier or a name, got %+v", l.License)
			}
		}
	}
}

// FuzzBOM checks that no model card makes a bill of materials that is not one.
func FuzzBOM(f *testing.F) {
	f.Add("text-generation", "Qwen/Qwen3", "openai/gsm8k", "apache-2.0", "acme", "https://example.com", "https://huggingface.co/Qwen/Qwen3-0.6B", testCommit)
	f.Add("\xff", "a/b/c", "datasets/x", "other", "", "javascript:x", "https://%zz/datasets/a?b#c", otherDigest.String())
	f.Add("", "", "", "OTHER", "n", "", "r.example.com/a/b", otherDigest.String())
	f.Fuzz(func(t *testing.T, task, base, dataset, license, name, link, source, revision string) {
		l := listOf(map[string]string{"a": "b"})
		l.Model = filelist.Model{Task: task, BaseModels: []string{base}, Datasets: []string{dataset}, Licenses: []string{license}, LicenseName: name, LicenseLink: link}
		p := testProvenance()
		p.Source, p.Revision, p.License = source, revision, license
		b, err := BOM(l, p)
		if err != nil || !json.Valid(b) {
			t.Fatalf("BOM(...): %v: %s", err, b)
		}
		checkBOM(t, b)
	})
}
