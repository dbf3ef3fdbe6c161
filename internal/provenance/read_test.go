package provenance

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A fakeReader is a registry with these manifests and this list of referrers.
type fakeReader struct {
	manifests map[string][]byte
	list      []ocispec.Descriptor
	errList   error
	errRead   error
	reads     int
}

func (f *fakeReader) Referrers(context.Context, string, digest.Digest, string) ([]ocispec.Descriptor, error) {
	return f.list, f.errList
}

func (f *fakeReader) Manifest(_ context.Context, _, reference string) (ocispec.Descriptor, []byte, error) {
	f.reads++
	if f.errRead != nil {
		return ocispec.Descriptor{}, nil, f.errRead
	}
	b, ok := f.manifests[reference]
	if !ok {
		return ocispec.Descriptor{}, nil, outcome.Errorf(outcome.NotFound, "no %s", reference)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}, b, nil
}

// add adds a manifest, and lists it with these annotations.
func (f *fakeReader) add(manifest []byte, annotations map[string]string) {
	if f.manifests == nil {
		f.manifests = map[string][]byte{}
	}
	d := digest.FromBytes(manifest)
	f.manifests[d.String()] = manifest
	f.list = append(f.list, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: int64(len(manifest)), ArtifactType: ArtifactType, Annotations: annotations,
	})
}

// manifestOf returns the manifest of a record about the tests' artifact, changed.
func manifestOf(t *testing.T, r Record, change func(*ocispec.Manifest)) []byte {
	t.Helper()
	_, b, err := r.Manifest(subjectOf("artifact"))
	if err != nil {
		t.Fatal(err)
	}
	if change == nil {
		return b
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOf(t *testing.T) {
	other := func(run int64) Record {
		r := testRecord(run)
		r.Owner = Owner{ID: otherID, Namespace: "team-b", Name: "qwen3"}
		return r
	}
	type want struct {
		runs   []int64
		reads  int
		reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		reader func(*testing.T, *fakeReader)
		owner  Owner
		want   want
	}{
		"Nothing": {reason: "An artifact may have no records.", reader: func(*testing.T, *fakeReader) {}},
		"Annotated": {
			reason: "The list says which records to read; the latest run comes first.",
			reader: func(t *testing.T, f *fakeReader) {
				for _, r := range []Record{testRecord(1), other(9), testRecord(3), testRecord(2)} {
					f.add(manifestOf(t, r, nil), r.annotations())
				}
			},
			want: want{runs: []int64{3, 2, 1}, reads: 3},
		},
		"Bare": {
			reason: "Where the list says nothing, all records are read.",
			reader: func(t *testing.T, f *fakeReader) {
				for _, r := range []Record{testRecord(1), other(9), testRecord(3)} {
					f.add(manifestOf(t, r, nil), nil)
				}
			},
			want: want{runs: []int64{3, 1}, reads: 3},
		},
		"OwnAnnotations": {
			reason: "A registry may add annotations of its own to its list.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, testRecord(1), nil), map[string]string{"example.com/pushed": "today"})
			},
			want: want{runs: []int64{1}, reads: 1},
		},
		"ByName": {
			reason: "An Artifact without an ID goes by its name.",
			owner:  Owner{Namespace: "team-b", Name: "qwen3"},
			reader: func(t *testing.T, f *fakeReader) {
				for _, r := range []Record{testRecord(1), other(9)} {
					f.add(manifestOf(t, r, nil), r.annotations())
				}
			},
			want: want{runs: []int64{9}, reads: 1},
		},
		"LyingList": {
			reason: "Where whoever pushes writes the list, it does not make a manifest a record.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, other(1), nil), testRecord(1).annotations())
				f.add([]byte(`{"schemaVersion":2,"layers":[]}`), testRecord(2).annotations())
				f.add([]byte(`not JSON`), testRecord(3).annotations())
			},
			want: want{reads: 3},
		},
		"OtherSubject": {
			reason: "A record of another artifact is none of this.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, testRecord(1), func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("other") }), nil)
				f.add(manifestOf(t, testRecord(2), func(m *ocispec.Manifest) { m.Subject = nil }), nil)
			},
			want: want{reads: 2},
		},
		"OtherType": {
			reason: "A manifest of another type is no record.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, testRecord(1), func(m *ocispec.Manifest) { m.ArtifactType = "application/vnd.example" }), testRecord(1).annotations())
			},
			want: want{reads: 1},
		},
		"Gone": {
			reason: "A list may name what was deleted.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, testRecord(1), nil), nil)
				f.add(manifestOf(t, testRecord(2), nil), nil)
				delete(f.manifests, f.list[1].Digest.String())
			},
			want: want{runs: []int64{1}, reads: 2},
		},
		"Twice": {
			reason: "A list may name a record twice.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, testRecord(1), nil), nil)
				f.list = append(f.list, f.list[0])
			},
			want: want{runs: []int64{1}, reads: 2},
		},
		"NoDigest": {
			reason: "What has no digest is no record, and is not asked for.",
			reader: func(_ *testing.T, f *fakeReader) {
				f.list = []ocispec.Descriptor{{Digest: "v1"}, {Digest: "sha256:../../x"}, {}}
			},
		},
		"Many": {
			reason: "Not more are read than anybody needs, the latest ones first.",
			reader: func(t *testing.T, f *fakeReader) {
				for run := range int64(maxFetched + 20) {
					f.add(manifestOf(t, testRecord(run), nil), testRecord(run).annotations())
				}
			},
			want: want{runs: latest(maxFetched+19, maxFetched), reads: maxFetched},
		},
		"ListFails": {
			reason: "What cannot be asked is not nothing.",
			reader: func(_ *testing.T, f *fakeReader) { f.errList = outcome.Errorf(outcome.Unauthorized, "no") },
			want:   want{reason: outcome.Unauthorized},
		},
		"ReadFails": {
			reason: "What cannot be read is not nothing.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(manifestOf(t, testRecord(1), nil), nil)
				f.errRead = outcome.Errorf(outcome.Unavailable, "down")
			},
			want: want{reads: 1, reason: outcome.Unavailable},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &fakeReader{}
			tc.reader(t, f)
			owner := tc.owner
			if owner == (Owner{}) {
				owner = testOwner
			}
			found, err := Of(t.Context(), f, testRepository, subjectOf("artifact").Digest, owner)
			got := want{reads: f.reads}
			for _, r := range found {
				got.runs = append(got.runs, r.Run)
				if r.Descriptor.Digest.Validate() != nil || r.Descriptor.Size == 0 || r.Descriptor.MediaType == "" {
					t.Errorf("\n%s\nOf(...): cannot be deleted by %+v", tc.reason, r.Descriptor)
				}
			}
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			}
			if diff := cmp.Diff(fmt.Sprintf("%+v", tc.want), fmt.Sprintf("%+v", got)); diff != "" {
				t.Errorf("\n%s\nOf(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// latest returns n numbers from the first one down.
func latest(first int64, n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = first - int64(i)
	}
	return out
}
