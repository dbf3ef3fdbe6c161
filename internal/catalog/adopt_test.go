package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// TestAdoptable has a tag point to what a record names, by a key that is trusted or not.
func TestAdoptable(t *testing.T) {
	type want struct {
		Records  int
		Trusted  bool
		Rejected bool
	}
	record := provenance.Record{Owner: owner, RunHash: runHash, Run: 1}
	lost := func(w *world, change func(*provenance.Place)) provenance.Place {
		p := w.place()
		p.Keys = newKeys(w.T)
		p.Cluster = w.catalog.Keys.Cluster
		if change != nil {
			change(&p)
		}
		return p
	}
	cases := map[string]struct {
		reason string
		anyKey bool
		setup  func(*world, ocispec.Descriptor)
		want   want
	}{
		"Trusted": {
			reason: "A record by a trusted key should count.",
			setup:  func(w *world, d ocispec.Descriptor) { w.push(w.place(), d, record) },
			want:   want{Records: 1, Trusted: true},
		},
		"Unknown": {
			reason: "A record by another key should not.",
			setup:  func(w *world, d ocispec.Descriptor) { w.push(lost(w, nil), d, record) },
			want:   want{Rejected: true},
		},
		"AnyKey": {
			reason: "Unless any key is allowed.",
			anyKey: true,
			setup:  func(w *world, d ocispec.Descriptor) { w.push(lost(w, nil), d, record) },
			want:   want{Records: 1},
		},
		"TrustedFirst": {
			reason: "A record by a trusted key should be preferred to a later one that is not.",
			anyKey: true,
			setup: func(w *world, d ocispec.Descriptor) {
				w.push(w.place(), d, record)
				later := record
				later.Run = 9
				w.push(lost(w, nil), d, later)
			},
			want: want{Records: 1, Trusted: true},
		},
		"OtherOwner": {
			reason: "Any key should not make another owner's record count.",
			anyKey: true,
			setup: func(w *world, d ocispec.Descriptor) {
				w.push(lost(w, nil), d, provenance.Record{Owner: other, RunHash: runHash, Run: 1})
			},
		},
		"OtherRepository": {
			reason: "Nor one about another repository.",
			anyKey: true,
			setup: func(w *world, d ocispec.Descriptor) {
				w.push(lost(w, func(p *provenance.Place) { p.Name += "-other" }), d, record)
			},
			want: want{Rejected: true},
		},
		"OtherCluster": {
			reason: "Nor one of another cluster.",
			anyKey: true,
			setup: func(w *world, d ocispec.Descriptor) {
				w.push(lost(w, func(p *provenance.Place) { p.Cluster = "other" }), d, record)
			},
			want: want{Rejected: true},
		},
		"OtherDigest": {
			reason: "Nor one about another manifest.",
			anyKey: true,
			setup: func(w *world, d ocispec.Descriptor) {
				p := lost(w, nil)
				w.replay(d, w.bundle(p, w.staged, record))
			},
			want: want{Rejected: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			tc.setup(w, w.foreign("v1"))
			tag, err := w.catalog.Adoptable(t.Context(), "v1", tc.anyKey)
			if err != nil {
				t.Fatal(err)
			}
			got := want{Records: len(tag.Records), Rejected: tag.Rejected != ""}
			if got.Records > 0 {
				got.Trusted = tag.Records[0].KeyID != ""
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nAdoptable(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestAdoptReplaces adopts by a record that no trusted key has signed.
func TestAdoptReplaces(t *testing.T) {
	w := newWorld(t, true)
	subject := w.foreign("v1")
	p := w.place()
	p.Keys = newKeys(t)
	p.Cluster = w.catalog.Keys.Cluster
	w.push(p, subject, provenance.Record{Owner: owner, RunHash: runHash, Run: 1})
	adopt := func(c catalog.Catalog) {
		t.Helper()
		tag, err := c.Adoptable(t.Context(), "v1", true)
		if err != nil || len(tag.Records) != 1 {
			t.Fatalf("Adoptable(...): got %+v, %v", tag, err)
		}
		if err := c.Adopt(t.Context(), subject, tag.Records[0].Record, tag.Records[0].Descriptor); err != nil {
			t.Fatal(err)
		}
	}
	adopt(w.catalog)
	adopt(w.catalog) // As after a crash.
	if n := w.records(subject.Digest, owner); n != 1 {
		t.Errorf("want one record that counts, got %d", n)
	}
	if found, _, err := p.Of(t.Context(), w.catalog.Registry, subject.Digest, owner); err != nil || len(found) > 0 {
		t.Errorf("want the record of the other key to be deleted, got %+v, %v", found, err)
	}
}
