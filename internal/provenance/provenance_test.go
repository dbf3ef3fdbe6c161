package provenance

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
)

const (
	testRepository = "models/qwen3"
	testCommit     = "0123456789012345678901234567890123456789"
	testHash       = "20f1edbd2397685f"
	testID         = "11111111-1111-1111-1111-111111111111"
	otherID        = "22222222-2222-2222-2222-222222222222"
)

var testOwner = Owner{ID: testID, Namespace: "team-a", Name: "qwen3"}

// testTime is when the tests' run ended.
var testTime = time.Date(2026, 11, 2, 10, 30, 0, 0, time.UTC)

// testRecord returns the record of a run.
func testRecord(run int64) Record {
	return Record{
		Owner: testOwner, RunHash: testHash, Run: run, Files: 10,
		Source: "https://huggingface.co/Qwen/Qwen3-0.6B", Revision: testCommit, License: "apache-2.0",
		Started: testTime.Add(-time.Minute), Finished: testTime,
		Parameters: map[string]any{"source": map[string]any{"huggingFace": map[string]any{"model": "Qwen/Qwen3-0.6B"}}},
	}
}

// subjectOf returns the descriptor of an artifact that need not be there.
func subjectOf(content string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(content), Size: int64(len(content))}
}

const (
	testName    = "registry.example.com/models/qwen3"
	testCluster = "33333333-3333-3333-3333-333333333333"
)

// newKey returns a new key.
func newKey(t *testing.T) *attest.Key {
	t.Helper()
	b, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivateKey(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// placeOf returns the tests' repository for a provider with this key.
func placeOf(t *testing.T, key *attest.Key) Place {
	t.Helper()
	v, err := attest.NewVerifier(key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return Place{Keys: Keys{Cluster: testCluster, Signer: key, Verifier: v}, Repository: testRepository, Name: testName}
}

func TestManifest(t *testing.T) {
	subject := subjectOf("artifact")
	bundle := []byte(`{"a":"bundle"}`)
	copied := testRecord(3)
	copied.Revision = subject.Digest.String()
	cases := map[string]struct {
		reason string
		record Record
		want   string
	}{
		"Made":   {reason: "Programs that verify signatures must find the bundle of what a run made.", record: testRecord(3), want: attest.BundleType},
		"Copied": {reason: "The record of a copy must not hide the signatures of its source.", record: copied, want: attest.OwnershipType},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, layer, b, err := Place{}.manifest(subject, tc.record, bundle)
			if err != nil {
				t.Fatal(err)
			}
			var got ocispec.Manifest
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			empty := ocispec.DescriptorEmptyJSON
			want := ocispec.Manifest{
				MediaType:    ocispec.MediaTypeImageManifest,
				ArtifactType: tc.want,
				Config:       ocispec.Descriptor{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size},
				Layers:       []ocispec.Descriptor{{MediaType: tc.want, Digest: digest.FromBytes(bundle), Size: int64(len(bundle))}},
				Subject:      &subject,
				Annotations: map[string]string{
					"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1",
					"io.crossplane.m.kitops.owner": testID, "io.crossplane.m.kitops.namespace": "team-a", "io.crossplane.m.kitops.name": "qwen3",
					"io.crossplane.m.kitops.run": "3", "org.opencontainers.image.created": "2026-11-02T10:30:00Z",
				},
			}
			want.SchemaVersion = 2
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("\n%s\nmanifest(...): -want, +got:\n%s", tc.reason, diff)
			}
			if d.Digest != digest.FromBytes(b) || d.Size != int64(len(b)) || layer.Digest != got.Layers[0].Digest {
				t.Errorf("\n%s\nmanifest(...): wrong descriptors %v, %v", tc.reason, d, layer)
			}
		})
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
