package attest

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
)

// update writes the golden files anew.
var update = flag.Bool("update", false, "write the golden files anew")

const testCommit = "0123456789012345678901234567890123456789"

// testProvenance returns the provenance of a run.
func testProvenance() Provenance {
	return Provenance{
		Repository: "registry.example.com/models/qwen3", Digest: testDigest,
		Owner: Owner{Cluster: "7e0d0a1c-0000-4000-8000-000000000001", ID: "11111111-1111-1111-1111-111111111111", Namespace: "team-a", Name: "qwen3"},
		Run:   3, RunHash: "20f1edbd2397685f", RunID: "22222222-2222-2222-2222-222222222222",
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Finished: time.Date(2026, 1, 2, 3, 14, 5, 0, time.UTC),
		Source: "https://huggingface.co/Qwen/Qwen3-0.6B", Revision: testCommit, License: "Apache-2.0",
		Files: 10, FileList: digest.FromString("list"),
		Parameters: map[string]any{
			"source":     map[string]any{"huggingFace": map[string]any{"model": "Qwen/Qwen3-0.6B", "revision": "main"}, "files": map[string]any{"include": []string{"*.json", "*.safetensors"}}},
			"format":     "ModelPack",
			"pipeline":   "Stream",
			"repository": "models/qwen3",
		},
		Dependencies: []Dependency{HubDependency("https://huggingface.co/Qwen/Qwen3-0.6B", testCommit)},
		Images:       map[string]string{"worker": "registry.example.com/provider-kitops@" + otherDigest.String()},
		BuilderID:    "https://platform.example.com/builders/models",
		Version:      "v0.1.0", Scan: "safe",
	}
}

// golden compares a document with the golden file of this name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	got = append(indent(t, got), '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", path, diff)
	}
}

func TestStatement(t *testing.T) {
	p := testProvenance()
	b, err := p.Statement()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "provenance.json", b)
	for range 10 {
		if again, err := p.Statement(); err != nil || string(again) != string(b) {
			t.Fatalf("The same provenance should be stated with the same bytes.\nStatement(): got %s, %v", again, err)
		}
	}
	p.Started = p.Started.In(time.FixedZone("", 3600)).Add(time.Nanosecond)
	if again, err := p.Statement(); err != nil || string(again) != string(b) {
		t.Errorf("The same second in another time zone should be stated with the same bytes.\nStatement(): got %s, %v", again, err)
	}
}

func TestStatementRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*Provenance)
		want   string
	}{
		"Repository":    {reason: "A statement should name the repository.", change: func(p *Provenance) { p.Repository = "" }, want: "no host/repository"},
		"Reference":     {reason: "A tag is not part of a repository.", change: func(p *Provenance) { p.Repository += ":v1 " }, want: "no host/repository"},
		"Digest":        {reason: "A statement should name the artifact.", change: func(p *Provenance) { p.Digest = "sha256:0" }, want: "no SHA-256 digest"},
		"Algorithm":     {reason: "Only SHA-256 is what verifiers compare.", change: func(p *Provenance) { p.Digest = digest.SHA512.FromString("") }, want: "no SHA-256 digest"},
		"Cluster":       {reason: "An owner is one in a cluster.", change: func(p *Provenance) { p.Owner.Cluster = "" }, want: "the owner's cluster"},
		"ID":            {reason: "An owner's ID is a word.", change: func(p *Provenance) { p.Owner.ID = "$(TOKEN)" }, want: "the owner's ID"},
		"Name":          {reason: "An owner has a name.", change: func(p *Provenance) { p.Owner.Name = "" }, want: "no name and namespace"},
		"RunHash":       {reason: "A run hash has 16 digits.", change: func(p *Provenance) { p.RunHash = "1" }, want: "the run hash"},
		"FileList":      {reason: "A file list has a digest.", change: func(p *Provenance) { p.FileList = "x" }, want: "the file list"},
		"Secret":        {reason: "No reference to a credential should get in.", change: parameter("source", map[string]any{"huggingFace": map[string]any{"tokenSecretRef": map[string]any{"name": "x"}}}), want: `parameter "source.huggingFace.tokenSecretRef" is not in the schema`},
		"Unknown":       {reason: "A parameter that is not documented should not get in.", change: parameter("job", map[string]any{}), want: `parameter "job" is not in the schema`},
		"Type":          {reason: "A parameter should have its type.", change: parameter("format", map[string]any{"a": "b"}), want: `parameter "format" is not`},
		"Number":        {reason: "No parameter is a number.", change: parameter("format", 1), want: `parameter "format" is not`},
		"NotAMap":       {reason: "A parameter with members should have them.", change: parameter("source", "x"), want: `parameter "source" is not`},
		"Element":       {reason: "The elements of a list should be texts.", change: parameter("format", []any{"a", 1}), want: `parameter "format" is not`},
		"LongParameter": {reason: "A parameter should not be without end.", change: parameter("format", strings.Repeat("a", maxParameterBytes+1)), want: `parameter "format" is not`},
		"Bytes":         {reason: "A parameter should be text.", change: parameter("format", "\xff"), want: `parameter "format" is not`},
		"Account":       {reason: "An address with an account should not get in.", change: parameter("source", map[string]any{"huggingFace": map[string]any{"endpoint": "https://user:pass@hub.example.com"}}), want: `parameter "source.huggingFace.endpoint" is not`},
		"Dependencies":  {reason: "Dependencies should not be without end.", change: func(p *Provenance) { p.Dependencies = make100(p.Dependencies[0]) }, want: "more than 64 dependencies"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := testProvenance()
			tc.change(&p)
			b, err := p.Statement()
			if err == nil || !strings.Contains(err.Error(), tc.want) || b != nil {
				t.Errorf("\n%s\nStatement(): want an error with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func parameter(key string, value any) func(*Provenance) {
	return func(p *Provenance) {
		p.Parameters = maps.Clone(p.Parameters)
		p.Parameters[key] = value
	}
}

func make100(d Dependency) []Dependency {
	out := make([]Dependency, 100)
	for i := range out {
		out[i] = d
	}
	return out
}

func TestReadProvenance(t *testing.T) {
	mirror := testProvenance()
	mirror.Parameters = map[string]any{"source": map[string]any{"oci": map[string]any{"reference": "ghcr.io/o/m:v1"}}, "annotations": map[string]string{"a/b": "c"}}
	mirror.Source, mirror.Revision = "ghcr.io/o/m", otherDigest.String()
	mirror.Dependencies = []Dependency{OCIDependency("ghcr.io/o/m", otherDigest)}
	read := mirror
	read.Parameters = map[string]any{"source": map[string]any{"oci": map[string]any{"reference": "ghcr.io/o/m:v1"}}, "annotations": map[string]any{"a/b": "c"}}

	least := Provenance{Repository: "r.example.com/m", Digest: testDigest, Owner: Owner{Cluster: "c", Namespace: "n", Name: "m"}}
	leastRead := least
	leastRead.BuilderID = BuilderID("c")

	odd := testProvenance()
	odd.License, odd.Source, odd.Revision, odd.Scan = "mit\nREADY", strings.Repeat("a", maxTextBytes+1), "main", "very bad"
	odd.Dependencies = append(odd.Dependencies, HubDependency("https://user:pass@hub.example.com/m", testCommit))
	odd.RunID, odd.Version, odd.Run, odd.Files = "a b", "\x1b[31m", -1, -1
	odd.Dependencies = append(odd.Dependencies, Dependency{URI: "a\nb"}, Dependency{}, Dependency{URI: "u", Digest: map[string]string{"sha256": "G"}}, Dependency{Name: "image/x", URI: "u"})
	odd.Images = map[string]string{"worker": odd.Images["worker"], "A": "b", "b": "\n"}
	oddRead := testProvenance()
	oddRead.License, oddRead.Source, oddRead.Revision, oddRead.Scan = "", "", "", ""
	oddRead.RunID, oddRead.Version, oddRead.Run, oddRead.Files = "", "", 0, 0

	account := testProvenance()
	account.Source = "https://user:pass@hub.example.com/m"
	accountRead := testProvenance()
	accountRead.Source = ""

	cases := map[string]struct {
		reason string
		p      Provenance
		want   Provenance
	}{
		"Account": {reason: "An address with an account should be left out.", p: account, want: accountRead},
		"Hub":     {reason: "What is stated should be read.", p: testProvenance(), want: testProvenance()},
		"OCI":     {reason: "What is stated of an artifact in a registry should be read.", p: mirror, want: read},
		"Least":   {reason: "An artifact without a run, as one that was adopted, should have provenance.", p: least, want: leastRead},
		"Odd":     {reason: "What cannot be shown in one line should be left out.", p: odd, want: oddRead},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := tc.p.Statement()
			if err != nil {
				t.Fatal(err)
			}
			got, err := ReadProvenance(b)
			if err != nil {
				t.Fatalf("\n%s\nReadProvenance(...): %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nReadProvenance(...): -want, +got:\n%s", tc.reason, diff)
			}
			if again, err := got.Statement(); err != nil || string(again) != string(b) {
				t.Errorf("\nWhat is read should be stated with the same bytes.\nStatement(): want %s, got %s, %v", b, again, err)
			}
		})
	}
}

func TestReadProvenanceRefuses(t *testing.T) {
	change := func(f func(statement, build, in map[string]any)) string {
		b, err := testProvenance().Statement()
		if err != nil {
			t.Fatal(err)
		}
		return string(changed(t, b, func(s map[string]any) {
			build := inner(s, "predicate", "buildDefinition")
			f(s, build, inner(build, "internalParameters"))
		}))
	}
	cases := map[string]struct {
		reason    string
		statement string
		want      string // Part of the error; empty for none.
	}{
		"Later":   {reason: "What a later version of the provider adds should be left out.", statement: change(func(_, b, in map[string]any) { inner(b, "externalParameters")["more"], in["more"] = 1, 1 })},
		"Type":    {reason: "A statement of another type should be refused.", statement: change(func(s, _, _ map[string]any) { s["predicateType"] = ModelSigningType }), want: "the statement is no provenance"},
		"Builder": {reason: "Provenance of another build should be refused.", statement: change(func(_, b, _ map[string]any) { b["buildType"] = "https://kitops.org/import/v1" }), want: "of another builder"},
		"Repository": {reason: "A statement that names no repository should be refused.", statement: change(func(s, _, _ map[string]any) {
			s["subject"] = []any{map[string]any{"digest": map[string]any{"sha256": testDigest.Encoded()}}}
		}), want: "no host/repository"},
		"Owner":     {reason: "A statement that names no owner should be refused.", statement: change(func(_, _, in map[string]any) { delete(in, "owner") }), want: "the owner's cluster"},
		"OwnerType": {reason: "An owner of another form should be refused.", statement: change(func(_, _, in map[string]any) { in["owner"] = "x" }), want: "cannot read the provenance"},
		"Run":       {reason: "A run that is no number should be refused.", statement: change(func(_, _, in map[string]any) { in["run"] = 1.5 }), want: "cannot read the provenance"},
		"Predicate": {reason: "A statement without a predicate should be refused.", statement: change(func(s, _, _ map[string]any) { delete(s, "predicate") }), want: "cannot read the provenance"},
		"Bool":      {reason: "A predicate that is no object should be refused.", statement: change(func(s, _, _ map[string]any) { s["predicate"] = true }), want: "cannot read the provenance"},
		"Nothing":   {reason: "An empty document should be refused.", want: "cannot read the in-toto statement"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ReadProvenance([]byte(tc.statement))
			want := Provenance{}
			if tc.want == "" {
				want = testProvenance()
			} else if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nReadProvenance(...): want an error with %q, got %v", tc.reason, tc.want, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("\n%s\nReadProvenance(...): %v: -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}

// FuzzReadProvenance checks that whatever is read can be shown, and is stated so again.
func FuzzReadProvenance(f *testing.F) {
	b, err := testProvenance().Statement()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(testStatement(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadProvenance(b)
		if err != nil {
			return
		}
		for _, text := range []string{p.Repository, p.Owner.Cluster, p.Owner.ID, p.Owner.Namespace, p.Owner.Name, p.RunHash, p.RunID, p.Source, p.Revision, p.License, p.Scan, p.Version} {
			if printable(text, maxRepositoryBytes) != text {
				t.Errorf("ReadProvenance(...): %q is no short line", text)
			}
		}
		again, err := p.Statement()
		if err != nil {
			t.Fatalf("Statement(): %v of what was read", err)
		}
		second, err := ReadProvenance(again)
		if diff := cmp.Diff(p, second, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("ReadProvenance(...): %v: -first, +again:\n%s", err, diff)
		}
		if !json.Valid(again) {
			t.Errorf("Statement(): %s", again)
		}
	})
}

// TestDocumentedSchema checks that the page of the build type has each parameter, and the
// example that the code makes.
func TestDocumentedSchema(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/import-v1.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(at string, schema map[string]any)
	check = func(at string, schema map[string]any) {
		for key, below := range schema {
			nested, _ := below.(map[string]any)
			if _, open := nested["*"]; nested != nil && !open {
				check(at+key+".", nested)
			} else if !strings.Contains(string(text), "`"+at+key+"`") {
				t.Errorf("The page lacks parameter %s%s", at, key)
			}
		}
	}
	check("", schema)

	_, example, _ := strings.Cut(string(text), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	p := testProvenance()
	p.BuilderID = ""
	b, err := p.Statement()
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(example), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("The example should be what the code makes: -code, +page:\n%s", diff)
	}
}
