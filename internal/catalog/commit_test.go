package catalog_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

func TestCommit(t *testing.T) {
	type want struct {
		Reason  outcome.Reason
		Written []string
		Tagged  bool // Whether the tag is on what was staged.
		Records int
		Done    catalog.Committed
	}
	whole := []string{aRecord, aTag, aDelete}
	staging := provenance.StagingTag(owner, runHash)
	cases := map[string]struct {
		reason string
		setup  func(*world, *catalog.Commit)
		want   want
	}{
		"Free": {
			reason: "The registry must know the owner before the tag points to the artifact, and the staging tag goes last.",
			setup:  func(*world, *catalog.Commit) {},
			want:   want{Written: whole, Tagged: true, Records: 1},
		},
		"Foreign": {
			reason: "A foreign tag must not be overwritten, and nothing written before that is found.",
			setup:  func(w *world, _ *catalog.Commit) { w.foreign("v1") },
			want:   want{Reason: outcome.TagConflict},
		},
		"OneOfTwoForeign": {
			reason: "No tag may be set if one of them is foreign.",
			setup: func(w *world, c *catalog.Commit) {
				w.foreign("v2")
				c.Tags = []string{"v1", "v2"}
			},
			want: want{Reason: outcome.TagConflict},
		},
		"OtherOwner": {
			reason: "What another Artifact pushed is foreign.",
			setup:  func(w *world, _ *catalog.Commit) { w.record(w.foreign("v1"), other) },
			want:   want{Reason: outcome.TagConflict},
		},
		"Overwrite": {
			reason: "A foreign tag is overwritten if the spec says so.",
			setup: func(w *world, c *catalog.Commit) {
				w.foreign("v1")
				c.Overwrite = true
			},
			want: want{Written: whole, Tagged: true, Records: 1},
		},
		"Known": {
			reason: "What the status knows as pushed may be replaced, also without a record.",
			setup:  func(w *world, c *catalog.Commit) { c.Known = w.foreign("v1").Digest.String() },
			want:   want{Written: whole, Tagged: true, Records: 1},
		},
		"OwnRecord": {
			reason: "What an earlier run pushed may be replaced, also if the status does not know it.",
			setup:  func(w *world, _ *catalog.Commit) { w.record(w.foreign("v1"), owner) },
			want:   want{Written: whole, Tagged: true, Records: 1},
		},
		"SameContentOfAnother": {
			reason: "A tag on the same content belongs to who set it first; the record is withdrawn.",
			setup: func(w *world, _ *catalog.Commit) {
				c := w.commit()
				first := w.catalog
				first.Owner = other
				if _, err := first.Commit(w.Context(), c); err != nil {
					w.Fatal(err)
				}
			},
			want: want{Reason: outcome.TagConflict, Written: []string{aRecord, aDelete}, Tagged: true},
		},
		"Race": {
			reason: "A foreign tag that appears while the record is pushed must not be overwritten.",
			setup:  func(w *world, _ *catalog.Commit) { w.watched.after[aRecord] = func() { w.foreign("v1") } },
			want:   want{Reason: outcome.TagConflict, Written: []string{aRecord, aTag, aDelete}},
		},
		"RaceAlike": {
			reason: "Of two that commit the same content at once, the first to set the tag owns it.",
			setup: func(w *world, _ *catalog.Commit) {
				c, first := w.commit(), w.catalog
				first.Owner = other
				w.watched.after[aRecord] = func() {
					if _, err := first.Commit(w.Context(), c); err != nil {
						w.Error(err)
					}
				}
			},
			want: want{Reason: outcome.TagConflict, Written: []string{aRecord, aTag, aDelete}, Tagged: true},
		},
		"Repeated": {
			reason: "A commit that was interrupted after it set the tag is finished when it is repeated.",
			setup: func(w *world, c *catalog.Commit) {
				if _, err := w.catalog.Commit(w.Context(), *c); err != nil {
					w.Fatal(err)
				}
				w.stage(owner)
			},
			want: want{Written: whole, Tagged: true, Records: 1},
		},
		"RepeatedWithoutRecords": {
			reason: "It is finished too in a registry that takes no records.",
			setup: func(w *world, c *catalog.Commit) {
				w.watched.refuse = refuse(aRecord, http.StatusBadRequest)
				if _, err := w.catalog.Commit(w.Context(), *c); err != nil {
					w.Fatal(err)
				}
				w.stage(owner)
			},
			want: want{Written: whole, Tagged: true, Done: catalog.Committed{Unrecorded: true}},
		},
		"RecordRefused": {
			reason: "A registry that takes no records fails no commit.",
			setup: func(w *world, _ *catalog.Commit) {
				w.watched.refuse = refuse(aRecord, http.StatusMethodNotAllowed)
			},
			want: want{Written: whole, Tagged: true, Done: catalog.Committed{Unrecorded: true}},
		},
		"RecordForbidden": {
			reason: "A registry that wants other credentials may take the record with them.",
			setup: func(w *world, _ *catalog.Commit) {
				w.watched.refuse = refuse(aRecord, http.StatusForbidden)
			},
			want: want{Reason: outcome.Unauthorized, Written: []string{aRecord}},
		},
		"NoDeletion": {
			reason: "A staging tag that cannot be deleted stays, which is reported and fails nothing.",
			setup: func(w *world, _ *catalog.Commit) {
				w.watched.refuse = refuse(aDelete, http.StatusMethodNotAllowed)
			},
			want: want{Written: whole, Tagged: true, Records: 1, Done: catalog.Committed{Left: []string{staging}}},
		},
		"Hidden": {
			reason: "A registry that shows nothing where there is nothing has no tag of the run that stays.",
			setup: func(w *world, _ *catalog.Commit) {
				w.watched.refuse = func(r *http.Request, _ string) int {
					if strings.Contains(r.URL.Path, "/manifests/kitops-checkpoint-") {
						return http.StatusForbidden
					}
					return 0
				}
			},
			want: want{Written: whole, Tagged: true, Records: 1},
		},
		"Gone": {
			reason: "What was staged may have been collected by the registry.",
			setup: func(_ *world, c *catalog.Commit) {
				c.Digest = "sha256:" + "0000000000000000000000000000000000000000000000000000000000000000"
			},
			want: want{Reason: outcome.NotFound},
		},
	}
	for kind, api := range map[string]bool{"API": true, "Fallback": false} {
		for name, tc := range cases {
			t.Run(kind+name, func(t *testing.T) {
				w := newWorld(t, api)
				c := w.commit()
				tc.setup(w, &c)
				w.watched.take()
				done, err := w.catalog.Commit(t.Context(), c)
				got := want{Written: w.watched.take(), Done: done}
				if err != nil {
					got.Reason = outcome.ReasonOf(err)
				}
				got.Tagged = w.tagged("v1") == w.staged.String()
				got.Records = w.records(w.staged, owner)
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\nCommit(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
				}
				if err == nil && len(done.Left) == 0 && w.tagged(staging) != "" {
					t.Errorf("\n%s\nCommit(...): the staging tag is still there", tc.reason)
				}
			})
		}
	}
}

// refuse answers requests that write something with a status.
func refuse(what string, status int) func(*http.Request, string) int {
	return func(_ *http.Request, is string) int {
		if is == what {
			return status
		}
		return 0
	}
}

func TestConflict(t *testing.T) {
	cases := map[string]struct {
		reason string
		tag    string
		change string
	}{
		"Own": {
			reason: "The conflict of the Artifact's own tag names the field that has it.",
			tag:    "v1", change: "write another in spec.forProvider.target.tag",
		},
		"Further": {
			reason: "The conflict of a tag beside it names the fields that may ask for that.",
			tag:    "stable", change: "change spec.forProvider.target.additionalTags or keepVersions, which asks for it",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			d := w.foreign(tc.tag).Digest
			c := w.commit()
			c.Tags = []string{"v1", "stable"}
			_, err := w.catalog.Commit(t.Context(), c)
			want := `Tag "` + tc.tag + `" points to ` + d.String() + ", which this Artifact did not push: " +
				"remove that tag, " + tc.change + ", or set spec.forProvider.target.conflictPolicy: Overwrite"
			if err == nil || err.Error() != want {
				t.Errorf("\n%s\nCommit(...): want %q, got %v", tc.reason, want, err)
			}
		})
	}
}

// A staging tag is no name of the content: it keeps nobody from deleting it.
func TestDeleteByDigestBesideStagingTag(t *testing.T) {
	w := newWorld(t, true)
	if _, err := w.catalog.Commit(t.Context(), w.commit()); err != nil {
		t.Fatal(err)
	}
	w.stage(other)
	w.watched.refuse = func(r *http.Request, what string) int {
		if what == aDelete && !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return http.StatusMethodNotAllowed
		}
		return 0
	}
	out, err := w.catalog.Delete(t.Context(), catalog.Holding{Tag: "v1", Digest: w.staged.String(), RunHashes: []string{runHash}})
	if err != nil || !out.ByDigest || out.Left != "" {
		t.Errorf("Delete(...): want the manifest to be deleted, got %+v, %v", out, err)
	}
}

// Further tags go with the Artifact's, also where only manifests are deleted: what is
// not on what the owner pushed stays.
func TestDeleteFurtherTags(t *testing.T) {
	for name, tags := range map[string]bool{"ByTag": true, "ByDigest": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			c := w.commit()
			c.Tags = []string{"v1", "stable", "moved"}
			if _, err := w.catalog.Commit(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			foreign := w.foreign("moved")
			earlier := w.variant(foreign, "kept")
			if !tags {
				w.watched.refuse = func(r *http.Request, what string) int {
					if what == aDelete && !strings.Contains(r.URL.Path, "/manifests/sha256:") {
						return http.StatusMethodNotAllowed
					}
					return 0
				}
			}
			h := catalog.Holding{
				Tag: "v1", Digest: w.staged.String(), Earlier: []string{earlier.Digest.String()},
				Further: []string{"stable", "moved", "kept", "none"},
			}
			if has, err := w.catalog.HasAny(t.Context(), h); err != nil || !has {
				t.Errorf("HasAny(...): want true, got %t, %v", has, err)
			}
			if out, err := w.catalog.Delete(t.Context(), h); err != nil || out.Left != "" || len(out.LeftTags) > 0 {
				t.Errorf("Delete(...): want nothing to be left, got %+v, %v", out, err)
			}
			for tag, want := range map[string]string{"v1": "", "stable": "", "kept": "", "moved": foreign.Digest.String()} {
				if got := w.tagged(tag); got != want {
					t.Errorf("tag %s: want %q, got %q", tag, want, got)
				}
			}
		})
	}
}

// A registry without a referrers API has a list of records under a tag, which must
// not name what was deleted.
func TestDeleteUpdatesTheListOfRecords(t *testing.T) {
	w := newWorld(t, false)
	if _, err := w.catalog.Commit(t.Context(), w.commit()); err != nil {
		t.Fatal(err)
	}
	list := strings.Replace(w.staged.String(), ":", "-", 1)
	if w.tagged(list) == "" {
		t.Fatal("there is no list")
	}
	c := w.catalog
	c.Registry = w.client() // It knows nothing of the registry yet, as in another reconcile.
	if _, err := c.Delete(t.Context(), catalog.Holding{Tag: "v1", Digest: w.staged.String()}); err != nil {
		t.Fatal(err)
	}
	if d := w.tagged(list); d != "" {
		_, b, err := w.catalog.Registry.Manifest(t.Context(), repository, list)
		t.Errorf("the list is still there: %s, %v", b, err)
	}
}

// TestForgery has accounts that may push to the repository try to have a tag count as
// the owner's.
func TestForgery(t *testing.T) {
	record := provenance.Record{Owner: owner, RunHash: runHash, Run: 1}
	cases := map[string]struct {
		reason string
		forge  func(*world) ocispec.Descriptor // Returns what the tag points to.
		want   string                          // In the message; empty if the tag counts as the owner's.
	}{
		"Genuine": {
			reason: "What the provider signed for the owner is the owner's.",
			forge: func(w *world) ocispec.Descriptor {
				d := w.foreign("v1")
				w.push(w.place(), d, record)
				return d
			},
		},
		"AnotherKey": {
			reason: "Anyone can write the owner's ID into a statement, and sign it with a key of their own.",
			forge: func(w *world) ocispec.Descriptor {
				d, p := w.foreign("v1"), w.place()
				p.Keys = newKeys(w.T)
				w.push(p, d, record)
				return d
			},
			want: "(it has an attestation that does not count: the bundle is signed by none of the trusted keys",
		},
		"AnotherDigest": {
			reason: "A bundle that the provider signed for one manifest must not count for another one.",
			forge: func(w *world) ocispec.Descriptor {
				d := w.foreign("v1")
				w.replay(d, w.bundle(w.place(), digest.FromString("another"), record))
				return d
			},
			want: "the statement is about sha256:",
		},
		"AnotherRepository": {
			reason: "A bundle that is copied from another repository of the owner must not count in this one.",
			forge: func(w *world) ocispec.Descriptor {
				d, p := w.foreign("v1"), w.place()
				p.Name = w.host + "/models/another"
				w.push(p, d, record)
				return d
			},
			want: "/models/another, and not about ",
		},
		"AnotherCluster": {
			reason: "The same key may be in two clusters, whose Artifacts are different owners.",
			forge: func(w *world) ocispec.Descriptor {
				d, p := w.foreign("v1"), w.place()
				p.Cluster = "another"
				w.push(p, d, record)
				return d
			},
			want: "the statement names an Artifact of cluster another",
		},
		"AnotherOwner": {
			reason: "What the provider signed for another Artifact is that one's, and its name stays unsaid.",
			forge: func(w *world) ocispec.Descriptor {
				d := w.foreign("v1")
				w.push(w.place(), d, provenance.Record{Owner: other, RunHash: runHash, Run: 1})
				return d
			},
			want: "which this Artifact did not push: remove",
		},
		"MovedTag": {
			reason: "A tag that is moved to foreign content is foreign, whatever was signed for its former content.",
			forge: func(w *world) ocispec.Descriptor {
				w.push(w.place(), w.foreign("v1"), record)
				w.stage(other)
				d, b, err := w.catalog.Registry.Manifest(w.Context(), repository, w.staged.String())
				if err == nil {
					err = w.catalog.Registry.PushManifest(w.Context(), repository, d, b, "v1")
				}
				if err != nil {
					w.Fatal(err)
				}
				return d
			},
			want: "which this Artifact did not push: remove",
		},
		"Stripped": {
			reason: "Without its attestation an artifact counts as foreign, unless the status knows it.",
			forge: func(w *world) ocispec.Descriptor {
				d := w.foreign("v1")
				w.push(w.place(), d, record)
				found, _, err := w.place().Of(w.Context(), w.catalog.Registry, d.Digest, owner)
				if err == nil {
					err = w.catalog.Registry.DeleteManifest(w.Context(), repository, found[0].Descriptor)
				}
				if err != nil {
					w.Fatal(err)
				}
				return d
			},
			want: "which this Artifact did not push: remove",
		},
	}
	for name, tc := range cases {
		for api, registry := range map[bool]string{true: "API", false: "FallbackTag"} {
			t.Run(name+"/"+registry, func(t *testing.T) {
				w := newWorld(t, api)
				d := tc.forge(w)
				tag, err := w.catalog.Look(t.Context(), "v1", "")
				if err != nil || tag.Descriptor.Digest != d.Digest {
					t.Fatalf("Look(...): want %s, got %s, %v", d.Digest, tag.Descriptor.Digest, err)
				}
				switch message := tag.Conflict().Error(); {
				case tag.MayChange("") != (tc.want == ""):
					t.Errorf("\n%s\nMayChange(...): want %t, got %t", tc.reason, tc.want == "", tag.MayChange(""))
				case !strings.Contains(message, tc.want):
					t.Errorf("\n%s\nConflict(...): want %q in %q", tc.reason, tc.want, message)
				}
			})
		}
	}
}

// TestOneAttestation commits the same content in several runs: consumers refuse a
// manifest with many referrers, so only the last run's attestation may stay.
func TestOneAttestation(t *testing.T) {
	for api, registry := range map[bool]string{true: "API", false: "FallbackTag"} {
		t.Run(registry, func(t *testing.T) {
			w := newWorld(t, api)
			for run := int64(1); run <= 3; run++ {
				c := w.commit()
				c.Record.Run = run
				for range 2 {
					w.stage(owner)
					if _, err := w.catalog.Commit(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
			}
			found, err := w.catalog.Records(t.Context(), w.staged)
			if err != nil || len(found) != 1 || found[0].Run != 3 {
				t.Errorf("want the attestation of run 3 alone, got %+v, %v", found, err)
			}
		})
	}
}

// TestBrokenReferrers has somebody who may push make referrers that the registry cannot
// serve as they are declared. They keep no artifact from being committed or deleted.
func TestBrokenReferrers(t *testing.T) {
	bundle := func(w *world) ocispec.Descriptor {
		b := []byte(`{"broken":true}`)
		d := ocispec.Descriptor{MediaType: attest.BundleType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if err := w.catalog.Registry.PushBlob(t.Context(), repository, d, bytes.NewReader(b)); err != nil {
			w.Fatal(err)
		}
		return d
	}
	cases := map[string]struct {
		reason string
		layer  func(*world) ocispec.Descriptor
		refuse func(layer digest.Digest) func(*http.Request, string) int
	}{
		"Larger":  {reason: "A size beyond the blob's should not be asked for.", layer: func(w *world) ocispec.Descriptor { d := bundle(w); d.Size = 1 << 20; return d }},
		"Smaller": {reason: "A size below the blob's should not end it.", layer: func(w *world) ocispec.Descriptor { d := bundle(w); d.Size = 1; return d }},
		"Fails": {
			reason: "A blob at which the registry fails should be no record.", layer: bundle,
			refuse: func(layer digest.Digest) func(*http.Request, string) int {
				return func(r *http.Request, _ string) int {
					if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+layer.String()) {
						return http.StatusInternalServerError
					}
					return 0
				}
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			layer := tc.layer(w)
			config := ocispec.DescriptorEmptyJSON
			b, err := json.Marshal(ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: attest.BundleType,
				Config: config, Layers: []ocispec.Descriptor{layer}, Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: w.staged, Size: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
			if err := w.catalog.Registry.PushManifest(t.Context(), repository, d, b, d.Digest.String()); err != nil {
				t.Fatal(err)
			}
			if tc.refuse != nil {
				w.watched.refuse = tc.refuse(layer.Digest)
			}
			if _, err := w.catalog.Commit(t.Context(), w.commit()); err != nil || w.tagged("v1") != w.staged.String() {
				t.Fatalf("\n%s\nCommit(...): tag on %s, %v", tc.reason, w.tagged("v1"), err)
			}
			h := catalog.Holding{Tag: "v1", Digest: w.staged.String(), RunHashes: []string{runHash}}
			for range 2 {
				if _, err := w.catalog.Delete(t.Context(), h); err != nil {
					t.Errorf("\n%s\nDelete(...): %v", tc.reason, err)
				}
			}
			if has, err := w.catalog.HasAny(t.Context(), h); has || err != nil {
				t.Errorf("\n%s\nHasAny(...): %t, %v", tc.reason, has, err)
			}
		})
	}
}
