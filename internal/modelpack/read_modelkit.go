package modelpack

import (
	"path"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// placeKitLayers sets the folder of each of a ModelKit's layers, by the rules of
// kit (kitops, pkg/cmd/unpack/unpack.go, runUnpackRecursive). A layer whose
// digest the config names holds its files by their paths in the model. Before
// kit wrote digests, a layer held the files of one entry of the Kitfile without
// the folders above it, and the n-th layer of a type is the n-th entry of that
// type. A layer for which neither holds is an error with reason Unsupported: kit
// could not unpack it either.
func placeKitLayers(layers []Layer, config []byte) error {
	var k Kitfile
	if err := decode.JSON(config, &k); err != nil {
		return outcome.Errorf(outcome.Unsupported, "the ModelKit's config, which says where its files belong, cannot be read").Because(err)
	}
	// The types of layers that there were before digests, without compression.
	entries := map[string][]*KitEntry{mediaTypeKitModel: nil, mediaTypeKitPart: nil, mediaTypeKitCode: nil, mediaTypeKitDataset: nil, mediaTypeKitDocs: nil}
	known := map[digest.Digest]bool{}
	for mediaType, e := range k.entries() {
		entries[mediaType] = append(entries[mediaType], e)
		known[e.Digest] = true
	}
	next := map[string]int{}
	for i := range layers {
		l := &layers[i]
		kind := mediaTypeKitPrefix + l.kitType + ".v1.tar"
		n := next[kind]
		next[kind]++
		ofKind, old := entries[kind]
		if known[l.Digest] || !old {
			continue
		}
		if n >= len(ofKind) || ofKind[n].hasDigest() {
			return outcome.Errorf(outcome.Unsupported, "layer %d of the ModelKit is none that its config names", i+1)
		}
		var err error
		if l.folder, err = ofKind[n].folder(); err != nil {
			return err
		}
	}
	return nil
}

// hasDigest reports whether a kit wrote the entry that wrote digests.
func (e KitEntry) hasDigest() bool { return e.Digest != "" || e.DiffID != "" }

// folder returns the folder that the entry's file or folder lies in; empty for
// the model's own. An entry outside of the model is an error.
func (e KitEntry) folder() (string, error) {
	clean := path.Clean(e.Path)
	if clean == "." {
		return "", nil
	}
	clean, err := FilePath(clean)
	if err != nil {
		return "", err
	}
	if dir := path.Dir(clean); dir != "." {
		return dir, nil
	}
	return "", nil
}
