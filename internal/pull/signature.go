package pull

import (
	"context"
	"path"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// putSignature writes the signature of the model's files beside them. It returns an
// error with reason NotFound if the artifact has none. Who signed it is for model_signing
// to verify.
func (s *source) putSignature(ctx context.Context, f *folder, st *state, d digest.Digest) error {
	if _, taken := st.Files[attest.SignatureFile]; taken {
		return outcome.Errorf(outcome.Unsupported, "%s has a file %q of its own: pull it without --with-signature", s.ref, attest.SignatureFile)
	}
	var b []byte
	err := s.retries.Do(ctx, s.ref.String(), func() error {
		var err error
		b, err = s.signature(ctx, d)
		return err
	})
	if err != nil {
		return err
	}
	partial := path.Join(partialDir, attest.SignatureFile)
	if err := f.WriteFile(partial, b, fileMode); err != nil {
		return f.failed(partial, err)
	}
	return f.failed(attest.SignatureFile, f.Rename(partial, attest.SignatureFile))
}

// signature returns the signature of an artifact's files.
func (s *source) signature(ctx context.Context, d digest.Digest) ([]byte, error) {
	all, err := s.Referrers(ctx, s.ref.Repository, d, attest.ModelSignatureType)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, outcome.Errorf(outcome.NotFound,
			"%s has no signature of its files: have a provider with a key push it, or pull it without --with-signature", s.ref)
	}
	_, manifest, err := s.Manifest(ctx, s.ref.Repository, all[0].Digest.String())
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil || len(m.Layers) != 1 || m.Layers[0].MediaType != attest.ModelSignatureType {
		return nil, outcome.Errorf(outcome.Unsupported, "the signature of the files of %s is not of a form that is known: pull it without --with-signature", s.ref).Because(err)
	}
	return s.Blob(ctx, s.ref.Repository, m.Layers[0].Digest, maxSignatureBytes)
}

// maxSignatureBytes bounds a signature that is read: that of 100,000 files has some 20
// MB.
const maxSignatureBytes = 32 << 20
