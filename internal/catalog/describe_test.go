package catalog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// list pushes a list of files beside the staged manifest, as a run does, and returns
// its digest.
func (w *world) list(content []byte) digest.Digest {
	w.Helper()
	r := registry.Referrer{Type: filelist.MediaType, Content: content}
	subject, err := w.catalog.Registry.Resolve(w.Context(), repository, w.staged.String())
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.catalog.Registry.PushReferrer(w.Context(), repository, subject, r); err != nil {
		w.Fatal(err)
	}
	return r.Layer().Digest
}

// files is an encoded list of a model's files.
func (w *world) files() []byte {
	w.Helper()
	l := filelist.List{Files: []filelist.File{{Path: "model.safetensors", Size: 7, SHA256: strings.Repeat("a", 64), Format: "safetensors"}}, Model: filelist.Model{Task: "text-generation"}}
	b, err := l.Encode()
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// described returns how many descriptions of each kind are listed about the staged
// manifest.
func (w *world) described() map[string]int {
	w.Helper()
	all, err := w.catalog.Registry.Referrers(w.Context(), repository, w.staged, "")
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]int{}
	for _, d := range all {
		switch d.ArtifactType {
		case filelist.MediaType, attest.BOMType, attest.ModelSignatureType:
			out[d.ArtifactType]++
		}
	}
	return out
}

// whole is what describes an artifact.
var whole = map[string]int{filelist.MediaType: 1, attest.BOMType: 1, attest.ModelSignatureType: 1}

// commitDescribed commits what was staged with its list of files.
func (w *world) commitDescribed(c catalog.Catalog, list digest.Digest) catalog.Committed {
	w.Helper()
	o := w.commit()
	o.FileList = list
	done, err := c.Commit(w.Context(), o)
	if err != nil {
		w.Fatal(err)
	}
	return done
}

func TestDescribe(t *testing.T) {
	for name, api := range map[string]bool{"API": true, "FallbackTag": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, api)

			list := w.list(w.files())
			done := w.commitDescribed(w.catalog, list)
			if diff := cmp.Diff(whole, w.described()); diff != "" || done.Undescribed != "" {
				t.Errorf("A commit should describe the artifact: -want, +got:\n%s\n%s", diff, done.Undescribed)
			}
			if d := done.Description; d.FileList == "" || d.BOM == "" || d.ModelSignature == "" {
				t.Errorf("A commit should name the descriptions, got %+v", d)
			}
			again := w.commitDescribed(w.catalog, list)
			if diff := cmp.Diff(done.Description, again.Description); diff != "" || cmp.Diff(whole, w.described()) != "" {
				t.Errorf("A commit that is repeated should describe nothing again: -want, +got:\n%s\n%v", diff, w.described())
			}
			record := w.commit().Record
			record.FileList = list
			found, err := w.catalog.Described(t.Context(), w.subject(), record)
			if diff := cmp.Diff(done.Description, found); diff != "" || err != nil {
				t.Errorf("Described(...): -want, +got:\n%s\n%v", diff, err)
			}

			second := w.catalog
			second.Owner = other
			o := w.commit()
			o.FileList, o.Tags = list, []string{"v2"}
			shared, err := second.Commit(t.Context(), o)
			if diff := cmp.Diff(done.Description, shared.Description); diff != "" || err != nil {
				t.Fatalf("Artifacts of the same content should share descriptions: -want, +got:\n%s\n%v", diff, err)
			}
			if _, err := w.catalog.Delete(t.Context(), catalog.Holding{Tag: "v1", Digest: w.staged.String()}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(whole, w.described()); diff != "" {
				t.Errorf("Descriptions should stay while somebody owns the artifact: -want, +got:\n%s", diff)
			}
			if _, err := second.Delete(t.Context(), catalog.Holding{Tag: "v2", Digest: w.staged.String()}); err != nil {
				t.Fatal(err)
			}
			if got := w.described(); len(got) != 0 {
				t.Errorf("Descriptions should go with the last owner, got %v", got)
			}
		})
	}
}

// TestDescribeLess checks commits that cannot describe an artifact, or not wholly: they
// should give it its tag all the same.
func TestDescribeLess(t *testing.T) {
	onBlob := func(r *http.Request, _ string) int {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			return http.StatusNotFound
		}
		return 0
	}
	cases := map[string]struct {
		reason string
		list   func(w *world) digest.Digest
		refuse func(*http.Request, string) int
		says   string
		want   map[string]int
	}{
		"NoList":  {reason: "An artifact without a list of files should get no descriptions.", list: func(*world) digest.Digest { return "" }, want: map[string]int{}},
		"Lost":    {reason: "A list that is gone should be told.", list: func(w *world) digest.Digest { return w.list(w.files()) }, refuse: onBlob, says: "the list of files cannot be read", want: map[string]int{filelist.MediaType: 1}},
		"Damaged": {reason: "A list that is none should be told.", list: func(w *world) digest.Digest { return w.list([]byte(`{"files":[{"path":"../x"}]}`)) }, says: "the list of files has a path", want: map[string]int{filelist.MediaType: 1}},
		"Refused": {
			reason: "A registry that takes no manifests that refer to others should get none.",
			list:   func(w *world) digest.Digest { return w.list(w.files()) },
			refuse: func(_ *http.Request, what string) int {
				if what == aRecord {
					return http.StatusBadRequest
				}
				return 0
			},
			says: "does not take", want: map[string]int{filelist.MediaType: 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			list := tc.list(w)
			w.watched.refuse = tc.refuse
			done := w.commitDescribed(w.catalog, list)
			w.watched.refuse = nil
			if (done.Undescribed == "") != (tc.says == "") || !strings.Contains(done.Undescribed, tc.says) {
				t.Errorf("\n%s\nCommit(...): want %q to be said, got %q", tc.reason, tc.says, done.Undescribed)
			}
			if diff := cmp.Diff(tc.want, w.described()); diff != "" {
				t.Errorf("\n%s\nCommit(...): -want, +got:\n%s", tc.reason, diff)
			}
			if w.tagged("v1") != w.staged.String() {
				t.Errorf("\n%s\nCommit(...): want the tag to be set", tc.reason)
			}
		})
	}
}

// A refusing signer signs no model, as one does that would have to sign too much.
type refusing struct{ attest.Signer }

func (s refusing) Sign(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	if bytes.Contains(payload, []byte(attest.ModelSigningType)) {
		return nil, outcome.Errorf(outcome.Refused, "the signed bundle would be too large")
	}
	return s.Signer.Sign(ctx, payloadType, payload)
}

// subject returns the descriptor of the staged manifest.
func (w *world) subject() ocispec.Descriptor {
	w.Helper()
	d, err := w.catalog.Registry.Resolve(w.Context(), repository, w.staged.String())
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// TestDescribed has somebody who may push add descriptions of their own: only those are
// named that follow from what the provider has signed.
func TestDescribed(t *testing.T) {
	w := newWorld(t, true)
	key := newKeys(t)
	forge := func(r registry.Referrer) {
		w.Helper()
		if _, err := w.catalog.Registry.PushReferrer(t.Context(), repository, w.subject(), r); err != nil {
			t.Fatal(err)
		}
	}
	signature, err := key.Signer.Sign(t.Context(), attest.PayloadType, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	forge(registry.Referrer{Type: filelist.MediaType, Content: []byte(`{"files":[]}`)})
	forge(registry.Referrer{Type: attest.BOMType, Content: []byte(`{"bomFormat":"CycloneDX"}`), Annotations: map[string]string{"io.crossplane.m.kitops.maker": "provider-kitops"}})
	forge(registry.Referrer{Type: attest.ModelSignatureType, Title: attest.SignatureFile, Content: signature})

	record := w.commit().Record
	none, err := w.catalog.Described(t.Context(), w.subject(), record)
	if diff := cmp.Diff(catalog.Description{}, none); diff != "" || err != nil {
		t.Errorf("A record that names no list of files describes nothing.\nDescribed(...): -want, +got:\n%s\n%v", diff, err)
	}
	record.FileList = w.list(w.files())
	found, err := w.catalog.Described(t.Context(), w.subject(), record)
	if err != nil || found.FileList == "" || found.BOM != "" || found.ModelSignature != "" {
		t.Errorf("Only the list that the record names should be found.\nDescribed(...): got %+v, %v", found, err)
	}
	want := w.commitDescribed(w.catalog, record.FileList).Description
	found, err = w.catalog.Described(t.Context(), w.subject(), record)
	if diff := cmp.Diff(want, found); diff != "" || err != nil || found.BOM == "" || found.ModelSignature == "" {
		t.Errorf("What the provider has pushed should be found among others.\nDescribed(...): -want, +got:\n%s\n%v", diff, err)
	}
	w.catalog.Keys = key
	found, err = w.catalog.Described(t.Context(), w.subject(), record)
	if err != nil || found.ModelSignature != "" {
		t.Errorf("A signature by a key that is not trusted should not be found.\nDescribed(...): got %+v, %v", found, err)
	}
}

// An anew signer makes another bundle each time, as far as others can tell.
type anew struct{ attest.Signer }

func (anew) IsDeterministic() bool { return false }

// TestSignaturesAtOnce has somebody who may push add large signatures of a model, which
// are read to find the provider's among them.
func TestSignaturesAtOnce(t *testing.T) {
	const many, size = 20, 2 << 20
	w := newWorld(t, true)
	list := w.list(w.files())
	for i := range many {
		content := bytes.Repeat([]byte{byte('a' + i)}, size)
		if _, err := w.catalog.Registry.PushReferrer(t.Context(), repository, w.subject(), registry.Referrer{Type: attest.ModelSignatureType, Content: content}); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	w.catalog.Keys.Signer = anew{w.catalog.Keys.Signer}
	before := heap()
	var most, reads int64
	w.watched.refuse = func(r *http.Request, _ string) int {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			most, reads = max(most, heap()-before), reads+1
		}
		return 0
	}
	done := w.commitDescribed(w.catalog, list)
	w.watched.refuse = nil
	if done.Description.ModelSignature == "" || reads < many {
		t.Errorf("want all signatures to be looked at, and another one, got %d reads, %+v", reads, done)
	}
	if limit := int64(many * size / 4); most > limit {
		t.Errorf("Signatures should be in memory one at a time: want at most %d bytes, got %d", limit, most)
	}
	if again := w.commitDescribed(w.catalog, list); again.Description != done.Description || w.described()[attest.ModelSignatureType] != many+1 {
		t.Errorf("The signature should be used again, got %+v and before %+v", again.Description, done.Description)
	}
}

// TestDescribeUnsigned checks that a model whose files are not signed is committed with
// all else.
func TestDescribeUnsigned(t *testing.T) {
	w := newWorld(t, true)
	list := w.list(w.files())
	w.catalog.Keys.Signer = refusing{w.catalog.Keys.Signer}
	done := w.commitDescribed(w.catalog, list)
	if diff := cmp.Diff(map[string]int{filelist.MediaType: 1, attest.BOMType: 1}, w.described()); diff != "" || !strings.Contains(done.Undescribed, "too large") {
		t.Errorf("want all but a signature of the model: -want, +got:\n%s\n%s", diff, done.Undescribed)
	}
	if w.records(w.staged, owner) != 1 || w.tagged("v1") != w.staged.String() {
		t.Error("want the artifact to be attested and tagged")
	}
}

// TestDescribeForeign checks that a bill of materials that others have pushed stays.
func TestDescribeForeign(t *testing.T) {
	w := newWorld(t, true)
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: w.staged, Size: 1}
	if _, err := w.catalog.Registry.PushReferrer(t.Context(), repository, subject, registry.Referrer{Type: attest.BOMType, Content: []byte(`{"bomFormat":"CycloneDX"}`)}); err != nil {
		t.Fatal(err)
	}
	w.commitDescribed(w.catalog, w.list(w.files()))
	if got := w.described()[attest.BOMType]; got != 2 {
		t.Errorf("want both bills of materials, got %d", got)
	}
	if _, err := w.catalog.Delete(t.Context(), catalog.Holding{Tag: "v1", Digest: w.staged.String()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{attest.BOMType: 1}, w.described()); diff != "" {
		t.Errorf("want the foreign one to stay: -want, +got:\n%s", diff)
	}
}

// TestListedAsDescription has somebody who may push write into the list of an artifact's
// referrers that another artifact describes it. It is not deleted.
func TestListedAsDescription(t *testing.T) {
	w := newWorld(t, false)
	w.commitDescribed(w.catalog, w.list(w.files()))
	victim := w.foreign("victim")
	tag := registry.FallbackTag(w.staged)
	_, b, err := w.catalog.Registry.Manifest(t.Context(), repository, tag)
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	for i := range index.Manifests {
		index.Manifests[i].Size++
	}
	victim.ArtifactType = filelist.MediaType
	index.Manifests = append([]ocispec.Descriptor{victim}, index.Manifests...)
	if b, err = json.Marshal(index); err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.catalog.Registry.PushManifest(t.Context(), repository, d, b, tag); err != nil {
		t.Fatal(err)
	}
	if _, err := w.catalog.Delete(t.Context(), catalog.Holding{Tag: "v1", Digest: w.staged.String()}); err != nil {
		t.Fatal(err)
	}
	if got := w.tagged("victim"); got != victim.Digest.String() {
		t.Errorf("The other artifact should stay, got %q", got)
	}
	for _, d := range index.Manifests[1:] {
		if w.tagged(d.Digest.String()) != "" {
			t.Errorf("%s %s should be deleted, whatever size the list has", d.ArtifactType, d.Digest)
		}
	}
}
