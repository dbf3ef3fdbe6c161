package provenance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	testRepository = "models/qwen3"
	testCommit     = "0123456789012345678901234567890123456789"
	testDigest     = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	testHash       = "20f1edbd2397685f"
	testID         = "11111111-1111-1111-1111-111111111111"
	otherID        = "22222222-2222-2222-2222-222222222222"
)

var testOwner = Owner{ID: testID, Namespace: "team-a", Name: "qwen3"}

// testRecord returns the record of a run.
func testRecord(run int64) Record {
	return Record{
		Owner: testOwner, RunHash: testHash, Run: run, Files: 10,
		Source: "https://huggingface.co/Qwen/Qwen3-0.6B", Revision: testCommit, License: "apache-2.0",
	}
}

// subjectOf returns the descriptor of an artifact that need not be there.
func subjectOf(content string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(content), Size: int64(len(content))}
}

// The digest of a record's manifest is given out: an upgrade that changes it
// has each artifact recorded twice.
const goldenManifest = "sha256:903cd611d393116bb4fdda5b9051c25d0a0b2461171ea8df9706d3d13dae06ec"

func TestManifest(t *testing.T) {
	subject := subjectOf("artifact")
	d, b, err := testRecord(3).Manifest(subject)
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != goldenManifest || d.Digest != digest.FromBytes(b) || d.Size != int64(len(b)) {
		t.Errorf("The same record should have the same digest on any day.\nManifest(...): want %s, got %s:\n%s", goldenManifest, d.Digest, b)
	}
	var got ocispec.Manifest
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	empty := ocispec.DescriptorEmptyJSON
	want := ocispec.Manifest{
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       ocispec.Descriptor{MediaType: ArtifactType, Digest: empty.Digest, Size: empty.Size},
		Layers:       []ocispec.Descriptor{{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size}},
		Subject:      &subject,
		Annotations: map[string]string{
			"io.crossplane.m.kitops.owner": testID, "io.crossplane.m.kitops.namespace": "team-a", "io.crossplane.m.kitops.name": "qwen3",
			"io.crossplane.m.kitops.run-hash": testHash, "io.crossplane.m.kitops.run": "3", "io.crossplane.m.kitops.files": "10",
			"org.opencontainers.image.source":   "https://huggingface.co/Qwen/Qwen3-0.6B",
			"org.opencontainers.image.revision": testCommit, "org.opencontainers.image.licenses": "apache-2.0",
		},
	}
	want.SchemaVersion = 2
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Manifest(...): -want, +got:\n%s", diff)
	}
	subject.Annotations, subject.ArtifactType = map[string]string{"a": "b"}, "c"
	if again, _, err := testRecord(3).Manifest(subject); err != nil || again.Digest != d.Digest {
		t.Errorf("What is said of the artifact should change nothing.\nManifest(...): want %s, got %s, %v", d.Digest, again.Digest, err)
	}
}

func TestOwns(t *testing.T) {
	cases := map[string]struct {
		reason string
		owner  Owner
		record Owner
		want   bool
	}{
		"Same":         {reason: "An Artifact owns what it pushed.", owner: testOwner, record: testOwner, want: true},
		"Restored":     {reason: "It goes by its ID where it is restored elsewhere.", owner: testOwner, record: Owner{ID: testID, Namespace: "b", Name: "c"}, want: true},
		"Recreated":    {reason: "Another Artifact of the same name is another.", owner: testOwner, record: Owner{ID: otherID, Namespace: "team-a", Name: "qwen3"}},
		"NoRecordedID": {reason: "One with an ID did not push what has none.", owner: testOwner, record: Owner{Namespace: "team-a", Name: "qwen3"}},
		"ByName":       {reason: "Without an ID, the name counts.", owner: Owner{Namespace: "team-a", Name: "qwen3"}, record: testOwner, want: true},
		"OtherName":    {reason: "Another name is another Artifact.", owner: Owner{Namespace: "team-a", Name: "qwen2"}, record: testOwner},
		"OtherSpace":   {reason: "So is one in another namespace.", owner: Owner{Namespace: "team-b", Name: "qwen3"}, record: testOwner},
		"Nobody":       {reason: "Nobody owns nothing.", owner: Owner{}, record: Owner{}},
		"NoID":         {reason: "What is no ID counts as none.", owner: Owner{ID: "$(TOKEN)", Namespace: "team-a", Name: "qwen3"}, record: testOwner, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.owner.Owns(Record{Owner: tc.record}); got != tc.want {
				t.Errorf("\n%s\nOwns(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestRead(t *testing.T) {
	with := func(key, value string) map[string]string {
		a := testRecord(1).annotations()
		a[key] = value
		return a
	}
	without := func(change func(*Record)) Record {
		r := testRecord(1)
		change(&r)
		return r
	}
	cases := map[string]struct {
		reason string
		args   map[string]string
		want   Record
	}{
		"RoundTrip": {reason: "What is written is read.", args: testRecord(1).annotations(), want: testRecord(1)},
		"Nothing":   {reason: "Nothing says nothing.", want: Record{}},
		"LongID":    {reason: "An ID has an end.", args: with(annotationOwner, strings.Repeat("a", 65)), want: without(func(r *Record) { r.Owner.ID = "" })},
		"OddID":     {reason: "An ID is one word.", args: with(annotationOwner, "a b"), want: without(func(r *Record) { r.Owner.ID = "" })},
		"Namespace": {reason: "A namespace is a DNS name.", args: with(annotationNamespace, "../x"), want: without(func(r *Record) { r.Owner.Namespace = "" })},
		"Name":      {reason: "So is a name.", args: with(annotationName, "Qwen\n"), want: without(func(r *Record) { r.Owner.Name = "" })},
		"LongName":  {reason: "It has an end, too.", args: with(annotationName, strings.Repeat("a", 254)), want: without(func(r *Record) { r.Owner.Name = "" })},
		"RunHash":   {reason: "A run hash has 16 hex digits.", args: with(annotationRunHash, "20f1edbd2397685F"), want: without(func(r *Record) { r.RunHash = "" })},
		"NoRun":     {reason: "A run is a number.", args: with(annotationRun, "x"), want: without(func(r *Record) { r.Run = 0 })},
		"Negative":  {reason: "None is negative.", args: with(annotationRun, "-1"), want: without(func(r *Record) { r.Run = 0 })},
		"TooLarge":  {reason: "None is without end.", args: with(annotationFiles, "99999999999999999999"), want: without(func(r *Record) { r.Files = 0 })},
		"Revision":  {reason: "A commit has 40 hex digits.", args: with(ocispec.AnnotationRevision, "main"), want: without(func(r *Record) { r.Revision = "" })},
		"Digest":    {reason: "What was read from a registry has a digest.", args: with(ocispec.AnnotationRevision, testDigest), want: without(func(r *Record) { r.Revision = testDigest })},
		"MD5":       {reason: "A digest is one that all know.", args: with(ocispec.AnnotationRevision, "md5:0123456789abcdef0123456789abcdef"), want: without(func(r *Record) { r.Revision = "" })},
		"Mirror":    {reason: "A registry's repository is a source.", args: with(ocispec.AnnotationSource, "registry.example.com:5000/models/qwen3"), want: without(func(r *Record) { r.Source = "registry.example.com:5000/models/qwen3" })},
		"License":   {reason: "A license is one line.", args: with(ocispec.AnnotationLicenses, "mit\nREADY"), want: without(func(r *Record) { r.License = "" })},
		"Source":    {reason: "A source is short.", args: with(ocispec.AnnotationSource, strings.Repeat("a", 257)), want: without(func(r *Record) { r.Source = "" })},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, read(tc.args)); diff != "" {
				t.Errorf("\n%s\nread(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzRead checks that whatever a registry says of a record fits what is shown
// of it, and that what is read is written so again.
func FuzzRead(f *testing.F) {
	f.Add(testID, "team-a", "qwen3", testHash, "3", "10", "https://huggingface.co/o/m", testCommit, "apache-2.0")
	f.Add("", "", "", "", "", "", "", "", "")
	f.Add("a b", "A", "-", "20F1", "-1", "1e3", "\x1b[31m", "main", "mit\n")
	f.Add("", "", "", "", "", "", "registry.example.com/models/qwen3", testDigest, "")
	f.Add("\xff", "a..b", "a.", testHash+"\n", "99999999999999999999", "0x10", "\u202e", testCommit+"0", "\u00a0")
	f.Fuzz(func(t *testing.T, id, namespace, name, hash, run, files, source, revision, license string) {
		r := read(map[string]string{
			annotationOwner: id, annotationNamespace: namespace, annotationName: name, annotationRunHash: hash, annotationRun: run,
			annotationFiles: files, ocispec.AnnotationSource: source, ocispec.AnnotationRevision: revision, ocispec.AnnotationLicenses: license,
		})
		for _, s := range []struct {
			text string
			most int
		}{
			{r.Owner.ID, 64}, {r.Owner.Namespace, 253}, {r.Owner.Name, 253}, {r.RunHash, 16}, {r.Source, 256}, {r.Revision, 71}, {r.License, 256},
		} {
			if len(s.text) > s.most || printable(s.text) != s.text {
				t.Errorf("read(...): %q is shown of at most %d bytes", s.text, s.most)
			}
		}
		if r.Run < 0 || r.Files < 0 {
			t.Errorf("read(...): negative numbers in %+v", r)
		}
		if diff := cmp.Diff(r, read(r.annotations())); diff != "" {
			t.Errorf("read(...): -first, +again:\n%s", diff)
		}
		if r.Owner.ID != "" && !(Owner{ID: id}).Owns(r) {
			t.Errorf("%q does not own %+v", id, r)
		}
		if (Owner{}).Owns(r) {
			t.Errorf("nobody owns %+v", r)
		}
	})
}
