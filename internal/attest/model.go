package attest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

// SignatureFile is the name of a model's signature in its folder (OpenSSF Model Signing
// v1.0, section 4).
const SignatureFile = "model.sig"

// ignoredPaths are the files and folders at a model's root that its signature does not
// cover. The first four verifiers ignore in any case (OpenSSF Model Signing v1.0, section
// 6.2); the others are what worker pull and kit unpack write beside the files.
var ignoredPaths = []string{".git", ".gitattributes", ".github", ".gitignore", SignatureFile, "Kitfile", ".provider-kitops"}

// The OpenSSF Model Signing v1.0 predicate (section 5.2).
type (
	modelPredicate struct {
		Resources     []modelResource    `json:"resources"`
		Serialization modelSerialization `json:"serialization"`
	}

	modelResource struct {
		Name      string `json:"name"`
		Algorithm string `json:"algorithm"`
		Digest    string `json:"digest"`
	}

	modelSerialization struct {
		Method        string   `json:"method"`
		HashType      string   `json:"hash_type"`
		AllowSymlinks bool     `json:"allow_symlinks"`
		IgnorePaths   []string `json:"ignore_paths"`
	}
)

// SignModel returns an OpenSSF Model Signing v1.0 bundle over the files of a model, whose
// name is informational. It reads no file: the list has their hashes. The same key signs
// the same list with the same bytes.
func SignModel(ctx context.Context, s Signer, l filelist.List, name string) ([]byte, error) {
	bundle, err := describe(len(l.Files), func() ([]byte, error) {
		statement, err := modelStatement(l, name)
		if err != nil {
			return nil, err
		}
		return s.Sign(ctx, PayloadType, statement)
	})
	return bundle, errors.Wrap(err, "cannot sign the model")
}

// modelStatement returns the statement that SignModel signs.
func modelStatement(l filelist.List, name string) ([]byte, error) {
	root, resources := sha256.New(), []modelResource{}
	for _, f := range l.Files {
		if !isIgnored(f.Path) {
			resources = append(resources, modelResource{Name: f.Path, Algorithm: "sha256", Digest: f.SHA256})
		}
	}
	if len(resources) == 0 {
		return nil, errors.New("there is no file that a signature of a model covers")
	}
	// By code point, which is the order of UTF-8's bytes (section 6.4).
	slices.SortFunc(resources, func(a, b modelResource) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range resources {
		sum, err := hex.DecodeString(r.Digest)
		if err != nil || len(sum) != sha256.Size {
			return nil, errors.Errorf("file %q has no SHA-256 digest", r.Name)
		}
		root.Write(sum)
	}
	return encodeStatement(name, hex.EncodeToString(root.Sum(nil)), ModelSigningType, modelPredicate{
		Resources:     resources,
		Serialization: modelSerialization{Method: "files", HashType: "sha256", IgnorePaths: ignoredPaths},
	})
}

// isIgnored reports whether a model's signature does not cover the file at a path.
func isIgnored(path string) bool {
	root, _, _ := strings.Cut(path, "/")
	return slices.Contains(ignoredPaths, root)
}
