package catalog_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// legacy returns the layers under a legacy tag of what was staged; nil for no tag.
func (w *world) legacy(suffix string) []ocispec.Descriptor {
	w.Helper()
	_, b, err := w.catalog.Registry.Manifest(w.Context(), repository, attest.LegacyTag(w.staged, suffix))
	if registry.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.Fatal(err)
	}
	m, err := attest.ReadLegacyManifest(b)
	if err != nil {
		w.Fatal(err)
	}
	return m.Layers
}

// foreignLegacy has another signer, who is no provider, write both legacy tags of what was
// staged, as cosign does.
func (w *world) foreignLegacy() (signature, attestation ocispec.Descriptor) {
	w.Helper()
	p := w.place()
	p.Keys = newKeys(w.T)
	key, _ := p.Signer.(*attest.Key)
	s, err := key.LegacySignature(w.catalog.Name, w.staged)
	if err != nil {
		w.Fatal(err)
	}
	a, err := attest.LegacyAttestation(w.bundle(p, w.staged, provenance.Record{Owner: owner, RunHash: runHash, Run: 7}))
	if err != nil {
		w.Fatal(err)
	}
	w.appendLegacy(attest.LegacySignatureSuffix, s)
	w.appendLegacy(attest.LegacyAttestationSuffix, a)
	return s.Descriptor, a.Descriptor
}

// appendLegacy appends a layer under a legacy tag.
func (w *world) appendLegacy(suffix string, l attest.LegacyLayer) {
	w.Helper()
	manifest, config, err := attest.LegacyManifest(ocispec.Manifest{Annotations: map[string]string{"by": "another"}}, append(w.legacy(suffix), l.Descriptor))
	if err != nil {
		w.Fatal(err)
	}
	for _, b := range [][]byte{l.Content, config} {
		d := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
		if err := w.catalog.Registry.PushBlob(w.Context(), repository, d, strings.NewReader(string(b))); err != nil {
			w.Fatal(err)
		}
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if err := w.catalog.Registry.PushManifest(w.Context(), repository, d, manifest, attest.LegacyTag(w.staged, suffix)); err != nil {
		w.Fatal(err)
	}
}

// mustCommit commits what was staged.
func (w *world) mustCommit(c catalog.Catalog, o catalog.Commit) catalog.Committed {
	w.Helper()
	done, err := c.Commit(w.Context(), o)
	if err != nil {
		w.Fatal(err)
	}
	return done
}

// mustDelete deletes what was staged and committed under a tag.
func (w *world) mustDelete(c catalog.Catalog, tag string) {
	w.Helper()
	h := catalog.Holding{Tag: tag, Digest: w.staged.String(), RunHashes: []string{runHash}}
	if _, err := c.Delete(w.Context(), h); err != nil {
		w.Fatal(err)
	}
	if has, err := c.HasAny(w.Context(), h); has || err != nil {
		w.Errorf("HasAny(...) after deletion: got %t, %v", has, err)
	}
}

func TestLegacyTags(t *testing.T) {
	type want struct {
		Signatures, Attestations int
		Writes                   int // Of legacy tags, in the last step.
		Why                      string
	}
	withTag := func(c catalog.Commit, tag string) catalog.Commit {
		c.Tags = []string{tag}
		return c
	}
	cases := map[string]struct {
		reason string
		steps  func(*world) catalog.Committed
		want   want
	}{
		"Commit": {
			reason: "A commit should write both tags.",
			steps:  func(w *world) catalog.Committed { return w.mustCommit(w.catalog, w.commit()) },
			want:   want{Signatures: 1, Attestations: 1, Writes: 2},
		},
		"Off": {
			reason: "Nothing should be written unless that is asked for.",
			steps: func(w *world) catalog.Committed {
				w.catalog.LegacyTags = false
				return w.mustCommit(w.catalog, w.commit())
			},
		},
		"Repeated": {
			reason: "A commit that is repeated should write nothing again.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				w.stage(owner)
				w.watched.take()
				return w.mustCommit(w.catalog, w.commit())
			},
			want: want{Signatures: 1, Attestations: 1},
		},
		"Interrupted": {
			reason: "A commit that was interrupted between the tags should write the other one.",
			steps: func(w *world) catalog.Committed {
				w.watched.refuse = func(r *http.Request, what string) int {
					if what == aLegacy && strings.HasSuffix(r.URL.Path, attest.LegacySignatureSuffix) {
						return http.StatusServiceUnavailable
					}
					return 0
				}
				if _, err := w.catalog.Commit(w.Context(), w.commit()); err == nil {
					w.Error("want a commit to fail that cannot write a legacy tag for a while")
				}
				w.watched.refuse = nil
				w.watched.take()
				return w.mustCommit(w.catalog, w.commit())
			},
			want: want{Signatures: 1, Attestations: 1, Writes: 1},
		},
		"Superseded": {
			reason: "A later run's attestation should replace the one of an earlier run.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				w.stage(owner)
				w.watched.take()
				c := w.commit()
				c.Known, c.Record.Run = w.staged.String(), 3
				return w.mustCommit(w.catalog, c)
			},
			want: want{Signatures: 1, Attestations: 1, Writes: 1},
		},
		"SwitchedOff": {
			reason: "What was superseded should go, also if it is written no more.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				w.stage(owner)
				w.catalog.LegacyTags = false
				c := w.commit()
				c.Known, c.Record.Run = w.staged.String(), 3
				w.mustCommit(w.catalog, c)
				w.watched.take()
				return catalog.Committed{}
			},
		},
		"Foreign": {
			reason: "What others have signed should stay beside it.",
			steps: func(w *world) catalog.Committed {
				w.foreignLegacy()
				w.watched.take()
				return w.mustCommit(w.catalog, w.commit())
			},
			want: want{Signatures: 2, Attestations: 2, Writes: 2},
		},
		"Raced": {
			reason: "If another signer writes the tag at the same time, both should be there in the end.",
			steps: func(w *world) catalog.Committed {
				w.watched.after[aLegacy] = func() {
					tag := attest.LegacyTag(w.staged, attest.LegacyAttestationSuffix)
					if err := w.catalog.Registry.Untag(w.Context(), repository, tag); err != nil {
						w.Error(err)
					}
					w.foreignLegacy()
				}
				done := w.mustCommit(w.catalog, w.commit())
				w.watched.take()
				return done
			},
			want: want{Signatures: 2, Attestations: 2},
		},
		"Deleted": {
			reason: "They should go with the artifact.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				w.mustDelete(w.catalog, "v1")
				w.watched.take()
				return catalog.Committed{}
			},
		},
		"DeletedForeign": {
			reason: "What others have signed should stay.",
			steps: func(w *world) catalog.Committed {
				w.foreignLegacy()
				w.mustCommit(w.catalog, w.commit())
				w.mustDelete(w.catalog, "v1")
				w.watched.take()
				return catalog.Committed{}
			},
			want: want{Signatures: 1, Attestations: 1},
		},
		"DeletedByOne": {
			reason: "The signature should stay while another Artifact has the same content.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				second := w.catalog
				second.Owner = other
				w.mustCommit(second, withTag(w.commit(), "v2"))
				w.mustDelete(w.catalog, "v1")
				w.watched.take()
				return catalog.Committed{}
			},
			want: want{Signatures: 1, Attestations: 1},
		},
		"DeletedByBoth": {
			reason: "It should go with the last one.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				second := w.catalog
				second.Owner = other
				w.mustCommit(second, withTag(w.commit(), "v2"))
				w.mustDelete(w.catalog, "v1")
				w.mustDelete(second, "v2")
				w.watched.take()
				return catalog.Committed{}
			},
		},
		"Unrecorded": {
			reason: "A registry that takes no referrers has legacy tags, which go with the artifact.",
			steps: func(w *world) catalog.Committed {
				w.watched.refuse = refuse(aRecord, http.StatusMethodNotAllowed)
				if done := w.mustCommit(w.catalog, w.commit()); !done.Unrecorded || len(w.legacy(attest.LegacyAttestationSuffix)) != 1 {
					w.Errorf("Commit(...): got %+v", done)
				}
				w.mustDelete(w.catalog, "v1")
				w.watched.take()
				return catalog.Committed{}
			},
		},
		"Refused": {
			reason: "A registry that does not take the tags should fail no commit.",
			steps: func(w *world) catalog.Committed {
				w.watched.refuse = refuse(aLegacy, http.StatusMethodNotAllowed)
				done := w.mustCommit(w.catalog, w.commit())
				w.watched.take()
				return done
			},
			want: want{Why: "sha256-"},
		},
		"Copy": {
			reason: "A copy with the digest of its source should not be attested to verifiers.",
			steps: func(w *world) catalog.Committed {
				c := w.commit()
				c.Record.Revision = w.staged.String()
				return w.mustCommit(w.catalog, c)
			},
		},
		"AttestedCopy": {
			reason: "Unless that is asked for.",
			steps: func(w *world) catalog.Committed {
				w.catalog.AttestCopies = true
				c := w.commit()
				c.Record.Revision = w.staged.String()
				return w.mustCommit(w.catalog, c)
			},
			want: want{Signatures: 1, Attestations: 1, Writes: 2},
		},
		"Withdrawn": {
			reason: "A commit that ends in a conflict should leave nothing under the tags, also of an earlier try.",
			steps: func(w *world) catalog.Committed {
				w.watched.refuse = refuse(aTag, http.StatusServiceUnavailable)
				if _, err := w.catalog.Commit(w.Context(), w.commit()); err == nil {
					w.Error("want a commit to fail that cannot set its tag for a while")
				}
				w.watched.refuse = nil
				w.watched.after[aRecord] = func() { w.foreign("v1") }
				if _, err := w.catalog.Commit(w.Context(), w.commit()); err == nil {
					w.Error("want a conflict")
				}
				w.watched.take()
				return catalog.Committed{}
			},
		},
		"WithdrawnLater": {
			reason: "What an earlier commit of the same content has there should stay.",
			steps: func(w *world) catalog.Committed {
				w.mustCommit(w.catalog, w.commit())
				w.stage(owner)
				c := w.commit()
				c.Known, c.Record.Run, c.Tags = w.staged.String(), 3, []string{"v1", "stable"}
				w.watched.after[aRecord] = func() { w.foreign("stable") }
				if _, err := w.catalog.Commit(w.Context(), c); outcome.ReasonOf(err) != outcome.TagConflict {
					w.Errorf("want a conflict, got %v", err)
				}
				w.watched.take()
				return catalog.Committed{}
			},
			want: want{Signatures: 1, Attestations: 1},
		},
	}
	for name, tc := range cases {
		for kind, api := range map[string]bool{"API": true, "Tag": false} {
			t.Run(name+kind, func(t *testing.T) {
				w := newWorld(t, api)
				w.catalog.LegacyTags = true
				done := tc.steps(w)
				got := want{Signatures: len(w.legacy(attest.LegacySignatureSuffix)), Attestations: len(w.legacy(attest.LegacyAttestationSuffix)), Why: done.UnsignedLegacy}
				for _, what := range w.watched.takeAll() {
					if what == aLegacy {
						got.Writes++
					}
				}
				if tc.want.Why != "" && strings.Contains(got.Why, tc.want.Why) {
					got.Why = tc.want.Why
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
				}
			})
		}
	}
}

// TestLegacyTagIsKept has something else be under a legacy tag.
func TestLegacyTagIsKept(t *testing.T) {
	w := newWorld(t, true)
	w.catalog.LegacyTags = true
	tag := attest.LegacyTag(w.staged, attest.LegacyAttestationSuffix)
	there := w.foreign(tag)
	done := w.mustCommit(w.catalog, w.commit())
	if !strings.Contains(done.UnsignedLegacy, tag) || !strings.Contains(done.UnsignedLegacy, "is left as it is") {
		t.Errorf("Commit(...): want it to say which tag is left, got %+v", done)
	}
	w.mustDelete(w.catalog, "v1")
	if got := w.tagged(tag); got != there.Digest.String() {
		t.Errorf("want what is not of cosign's form to be left, got %q", got)
	}
}

// TestLegacyAnnotations keeps what others have written beside the layers.
func TestLegacyAnnotations(t *testing.T) {
	w := newWorld(t, true)
	w.catalog.LegacyTags = true
	signature, attestation := w.foreignLegacy()
	w.mustCommit(w.catalog, w.commit())
	for suffix, want := range map[string]ocispec.Descriptor{attest.LegacySignatureSuffix: signature, attest.LegacyAttestationSuffix: attestation} {
		_, b, err := w.catalog.Registry.Manifest(t.Context(), repository, attest.LegacyTag(w.staged, suffix))
		if err != nil {
			t.Fatal(err)
		}
		m, err := attest.ReadLegacyManifest(b)
		if err != nil || m.Annotations["by"] != "another" {
			t.Errorf("ReadLegacyManifest(...): got annotations %v, %v", m.Annotations, err)
		}
		if diff := cmp.Diff(want, m.Layers[0]); diff != "" {
			t.Errorf("The other's layer: -want, +got:\n%s", diff)
		}
	}
}
