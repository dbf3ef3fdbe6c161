package provenance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A fakeReader is a registry with these manifests and this list of referrers.
type fakeReader struct {
	manifests map[string][]byte
	blobs     map[digest.Digest][]byte
	list      []ocispec.Descriptor
	errBlobs  map[digest.Digest]error
	errList   error
	errAgain  error // Of all lists but the first.
	errRead   error
	reads     int
	lists     int
}

func (f *fakeReader) Referrers(context.Context, string, digest.Digest, string) ([]ocispec.Descriptor, error) {
	if f.lists++; f.lists > 1 {
		return f.list, f.errAgain
	}
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

func (f *fakeReader) Blob(_ context.Context, _ string, d digest.Digest, most int64) ([]byte, error) {
	b, ok := f.blobs[d]
	switch {
	case f.errBlobs[d] != nil:
		return nil, f.errBlobs[d]
	case !ok:
		return nil, outcome.Errorf(outcome.NotFound, "no %s", d)
	case int64(len(b)) > most:
		return nil, outcome.Errorf(outcome.Unsupported, "%s is too large", d)
	}
	return b, nil
}

// breakBlob has a bundle of a manifest be read with an error.
func (f *fakeReader) breakBlob(t *testing.T, manifest []byte, why outcome.Reason) []byte {
	t.Helper()
	return changed(t, manifest, func(m *ocispec.Manifest) {
		if f.errBlobs == nil {
			f.errBlobs = map[digest.Digest]error{}
		}
		f.errBlobs[m.Layers[0].Digest] = outcome.Errorf(why, "no content")
	})
}

// add adds a manifest, and lists it with these annotations.
func (f *fakeReader) add(manifest []byte, annotations map[string]string) {
	if f.manifests == nil {
		f.manifests = map[string][]byte{}
	}
	d := digest.FromBytes(manifest)
	f.manifests[d.String()] = manifest
	f.list = append(f.list, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: int64(len(manifest)), ArtifactType: attest.BundleType, Annotations: annotations,
	})
}

// sign returns the manifest of a record about an artifact, which a place's provider
// signs, and keeps its bundle.
func (f *fakeReader) sign(t *testing.T, p Place, content string, r Record) []byte {
	t.Helper()
	statement, err := p.provenance(digest.FromString(content), r).Statement()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := p.Signer.Sign(t.Context(), attest.PayloadType, statement)
	if err != nil {
		t.Fatal(err)
	}
	if f.blobs == nil {
		f.blobs = map[digest.Digest][]byte{}
	}
	f.blobs[digest.FromBytes(bundle)] = bundle
	_, _, b, err := Place{}.manifest(subjectOf("artifact"), r, bundle)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// changed returns another form of a manifest.
func changed(t *testing.T, b []byte, change func(*ocispec.Manifest)) []byte {
	t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOf(t *testing.T) {
	place := placeOf(t, newKey(t))
	foreign := placeOf(t, newKey(t))
	other := func(run int64) Record {
		r := testRecord(run)
		r.Owner = Owner{ID: otherID, Namespace: "team-b", Name: "qwen3"}
		return r
	}
	type want struct {
		runs   []int64
		reads  int
		reason outcome.Reason

		rejected string
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
					f.add(f.sign(t, place, "artifact", r), r.annotations())
				}
			},
			want: want{runs: []int64{3, 2, 1}, reads: 3},
		},
		"Bare": {
			reason: "Where the list says nothing, all records are read.",
			reader: func(t *testing.T, f *fakeReader) {
				for _, r := range []Record{testRecord(1), other(9), testRecord(3)} {
					f.add(f.sign(t, place, "artifact", r), nil)
				}
			},
			want: want{runs: []int64{3, 1}, reads: 3},
		},
		"OwnAnnotations": {
			reason: "A registry may add annotations of its own to its list.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", testRecord(1)), map[string]string{"example.com/pushed": "today"})
			},
			want: want{runs: []int64{1}, reads: 1},
		},
		"ByName": {
			reason: "An Artifact without an ID goes by its name.",
			owner:  Owner{Namespace: "team-b", Name: "qwen3"},
			reader: func(t *testing.T, f *fakeReader) {
				for _, r := range []Record{testRecord(1), other(9)} {
					f.add(f.sign(t, place, "artifact", r), r.annotations())
				}
			},
			want: want{runs: []int64{9}, reads: 1},
		},
		"LyingList": {
			reason: "Where whoever pushes writes the list, it does not make a manifest a record.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", other(1)), testRecord(1).annotations())
				f.add([]byte(`{"schemaVersion":2,"layers":[]}`), testRecord(2).annotations())
				f.add([]byte(`not JSON`), testRecord(3).annotations())
			},
			want: want{reads: 3},
		},
		"OtherSubject": {
			reason: "A record of another artifact is none of this.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(changed(t, f.sign(t, place, "artifact", testRecord(1)), func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("other") }), nil)
				f.add(changed(t, f.sign(t, place, "artifact", testRecord(2)), func(m *ocispec.Manifest) { m.Subject = nil }), nil)
			},
			want: want{reads: 2, rejected: "refers to another artifact"},
		},
		"OtherType": {
			reason: "A manifest of another type is no record.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(changed(t, f.sign(t, place, "artifact", testRecord(1)), func(m *ocispec.Manifest) { m.ArtifactType = "application/vnd.example" }), testRecord(1).annotations())
			},
			want: want{reads: 1},
		},
		"AnotherKey": {
			reason: "A record that another key signed is forged, whatever it says.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, foreign, "artifact", testRecord(1)), testRecord(1).annotations())
			},
			want: want{reads: 1, rejected: "signed by none of the trusted keys"},
		},
		"AnotherDigest": {
			reason: "A bundle that was copied from another artifact says nothing about this one.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "another", testRecord(1)), testRecord(1).annotations())
			},
			want: want{reads: 1, rejected: "the statement is about sha256:"},
		},
		"AnotherRepository": {
			reason: "A bundle that was copied from another repository does not count here.",
			reader: func(t *testing.T, f *fakeReader) {
				p := place
				p.Name = "registry.example.com/models/other"
				f.add(f.sign(t, p, "artifact", testRecord(1)), testRecord(1).annotations())
			},
			want: want{reads: 1, rejected: "the statement is about repository registry.example.com/models/other"},
		},
		"AnotherCluster": {
			reason: "An Artifact of another cluster is another Artifact, even with the same key.",
			reader: func(t *testing.T, f *fakeReader) {
				p := place
				p.Cluster = otherID
				f.add(f.sign(t, p, "artifact", testRecord(1)), testRecord(1).annotations())
			},
			want: want{reads: 1, rejected: "set --cluster-id if it was restored from there"},
		},
		"Altered": {
			reason: "A statement that was altered is not signed any more.",
			reader: func(t *testing.T, f *fakeReader) {
				b := f.sign(t, place, "artifact", testRecord(1))
				f.add(changed(t, b, func(m *ocispec.Manifest) {
					altered := bytes.Replace(f.blobs[m.Layers[0].Digest], []byte(`"payload":"`), []byte(`"payload":"AAAA`), 1)
					m.Layers[0].Digest, m.Layers[0].Size = digest.FromBytes(altered), int64(len(altered))
					f.blobs[m.Layers[0].Digest] = altered
				}), nil)
			},
			want: want{reads: 1, rejected: "altered"},
		},
		"Unsigned": {
			reason: "Annotations alone make no record.",
			reader: func(t *testing.T, f *fakeReader) {
				_, _, b, err := Place{}.manifest(subjectOf("artifact"), testRecord(1), []byte("{}"))
				if err != nil {
					t.Fatal(err)
				}
				f.blobs = map[digest.Digest][]byte{digest.FromString("{}"): []byte("{}")}
				f.add(b, testRecord(1).annotations())
			},
			want: want{reads: 1, rejected: "bundle"},
		},
		"LostBundle": {
			reason: "A record whose bundle is gone does not count, and does not fail the others.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", testRecord(1)), nil)
				clear(f.blobs)
				f.add(f.sign(t, place, "artifact", testRecord(2)), nil)
			},
			want: want{runs: []int64{2}, reads: 2},
		},
		"Gone": {
			reason: "A list may name what was deleted.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", testRecord(1)), nil)
				f.add(f.sign(t, place, "artifact", testRecord(2)), nil)
				delete(f.manifests, f.list[1].Digest.String())
			},
			want: want{runs: []int64{1}, reads: 2},
		},
		"Twice": {
			reason: "A list may name a record twice.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", testRecord(1)), nil)
				f.list = append(f.list, f.list[0])
			},
			want: want{runs: []int64{1}, reads: 1},
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
					f.add(f.sign(t, place, "artifact", testRecord(run)), testRecord(run).annotations())
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
			reason: "What cannot be read is not nothing, where the registry is down.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", testRecord(1)), nil)
				f.errRead = outcome.Errorf(outcome.Unavailable, "down")
				f.errAgain = f.errRead
			},
			want: want{reads: 1, reason: outcome.Unavailable},
		},
		"ReadRefused": {
			reason: "A registry that limits the rate of requests has not said what a record is.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.breakBlob(t, f.sign(t, place, "artifact", testRecord(1)), outcome.RateLimited), nil)
			},
			want: want{reads: 1, reason: outcome.RateLimited},
		},
		"Broken": {
			reason: "A referrer that the registry cannot serve keeps no record of others from being read.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.breakBlob(t, f.sign(t, place, "artifact", testRecord(3)), outcome.Unavailable), testRecord(3).annotations())
				f.add(f.sign(t, place, "artifact", testRecord(1)), testRecord(1).annotations())
			},
			want: want{runs: []int64{1}, reads: 2},
		},
		"BrokenAlone": {
			reason: "A referrer that the registry cannot serve is no record, since anybody who may push can make it.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.breakBlob(t, f.sign(t, place, "artifact", testRecord(3)), outcome.Unavailable), nil)
			},
			want: want{reads: 1, rejected: "it cannot be read: no content"},
		},
		"BrokenManifest": {
			reason: "A manifest that is not what its digest says, or that is too large, is no record.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.sign(t, place, "artifact", testRecord(3)), nil)
				f.errRead = outcome.Errorf(outcome.Mismatch, "other bytes")
			},
			want: want{reads: 1, rejected: "its manifest cannot be read"},
		},
		"OtherContent": {
			reason: "A bundle that is not what its digest says is none.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(f.breakBlob(t, f.sign(t, place, "artifact", testRecord(3)), outcome.Mismatch), nil)
				f.add(f.sign(t, place, "artifact", testRecord(1)), nil)
			},
			want: want{runs: []int64{1}, reads: 2},
		},
		"TooLarge": {
			reason: "No bundle is read beyond what one may have.",
			reader: func(t *testing.T, f *fakeReader) {
				f.add(changed(t, f.sign(t, place, "artifact", testRecord(1)), func(m *ocispec.Manifest) {
					large := bytes.Repeat([]byte(" "), attest.MaxBundleBytes+1)
					m.Layers[0].Digest = digest.FromBytes(large)
					f.blobs[m.Layers[0].Digest] = large
				}), nil)
			},
			want: want{reads: 1, rejected: "its content is lost"},
		},
		"DeclaredSize": {
			reason: "A bundle is read by its digest, whatever size its manifest declares.",
			reader: func(t *testing.T, f *fakeReader) {
				for run, size := range []int64{0, 1, 1 << 40} {
					f.add(changed(t, f.sign(t, place, "artifact", testRecord(int64(run+1))), func(m *ocispec.Manifest) { m.Layers[0].Size = size }), testRecord(int64(run+1)).annotations())
				}
			},
			want: want{runs: []int64{3, 2, 1}, reads: 3},
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
			found, rejected, err := place.Of(t.Context(), f, subjectOf("artifact").Digest, owner)
			got := want{reads: f.reads, rejected: tc.want.rejected}
			if (rejected == "") != (tc.want.rejected == "") || !strings.Contains(rejected, tc.want.rejected) {
				t.Errorf("\n%s\nOf(...): want rejected because of %q, got %q", tc.reason, tc.want.rejected, rejected)
			}
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
