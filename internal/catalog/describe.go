package catalog

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// maxDescriptionBytes bounds a description: Kyverno reads no larger layers
	// (pkg/imageverification/imagedataloader, 10 MB).
	maxDescriptionBytes = 10_000_000

	// describeTries is how often descriptions are pushed that the registry does not
	// list: where it has no referrers API, two may write the list at once.
	describeTries = 3

	// annotationMaker marks the manifests of bills of materials that the provider
	// pushed, since other programs push some of the same type.
	annotationMaker = "io.crossplane.m.kitops.maker"
	maker           = "provider-kitops"
)

// A Description is the digests of the manifests that describe an artifact and refer to
// it; each is empty if there is none. They hold facts about the content alone, and
// Artifacts of the same content share them.
type Description struct {
	FileList, BOM, ModelSignature string
}

// add adds the digest of a manifest of a type.
func (d *Description) add(artifactType string, of digest.Digest) {
	switch artifactType {
	case filelist.MediaType:
		d.FileList = of.String()
	case attest.BOMType:
		d.BOM = of.String()
	case attest.ModelSignatureType:
		d.ModelSignature = of.String()
	}
}

// describe pushes what describes a manifest, by the list of its files that the run has
// pushed: the bill of materials and, if there is a key, the signature of the model. What
// is there already is not pushed again. It returns why something is missing, which is
// no failure: the list may be gone or damaged, and a registry may take no referrers.
func (c Catalog) describe(ctx context.Context, subject ocispec.Descriptor, o Commit) (Description, string, error) {
	sign := c.signModel
	if c.Keys.Signer == nil {
		sign = nil
	}
	documents, missing, err := c.descriptionsOf(ctx, subject.Digest, o, sign)
	if err != nil {
		return Description{}, "", err
	}
	out, err := c.pushDescriptions(ctx, subject, documents)
	if provenance.IsRefusal(err) {
		return Description{}, err.Error(), nil
	}
	return out, missing, err
}

// A modelSigner returns the signature of the files of a model that a manifest holds.
type modelSigner func(ctx context.Context, subject digest.Digest, list filelist.List) ([]byte, error)

// descriptionsOf returns what describes a manifest, and why something is missing. A nil
// signer signs nothing.
func (c Catalog) descriptionsOf(ctx context.Context, subject digest.Digest, o Commit, sign modelSigner) ([]registry.Referrer, string, error) {
	if o.FileList == "" {
		return nil, "", nil
	}
	b, err := c.Registry.Blob(ctx, c.Repository, o.FileList, filelist.MaxBytes)
	if err != nil {
		if registry.IsNotFound(err) || provenance.IsRefusal(err) {
			return nil, fmt.Sprintf("the list of files cannot be read: %s", err), nil
		}
		return nil, "", err
	}
	list, err := filelist.Decode(b)
	if err != nil {
		return nil, err.Error(), nil //nolint:nilerr // It is told, and fails no commit.
	}
	out := []registry.Referrer{{Type: filelist.MediaType, Content: b}}
	bom, err := attest.BOM(list, attest.Provenance{
		Repository: c.Name, Digest: o.Digest, Source: o.Record.Source, Revision: o.Record.Revision, License: o.Record.License,
	})
	if err != nil {
		return out, err.Error(), nil //nolint:nilerr // As above.
	}
	out = append(out, registry.Referrer{Type: attest.BOMType, Content: bom, Annotations: map[string]string{annotationMaker: maker}})
	if sign != nil {
		signature, err := sign(ctx, subject, list)
		var why *outcome.Error
		if errors.As(err, &why) && why.Reason != outcome.Refused {
			return nil, "", err // What signs may be away for a while.
		}
		if err != nil {
			return out, err.Error(), nil //nolint:nilerr // As above.
		}
		out = append(out, registry.Referrer{Type: attest.ModelSignatureType, Title: attest.SignatureFile, Content: signature})
	}
	return withoutLarge(out)
}

// signModel returns the signature of a model. It returns one that the registry has already
// if the signer would make another.
func (c Catalog) signModel(ctx context.Context, subject digest.Digest, list filelist.List) ([]byte, error) {
	if c.Keys.Signer.IsDeterministic() {
		return attest.SignModel(ctx, c.Keys.Signer, list, path.Base(c.Repository))
	}
	return c.reuseSignature(ctx, subject, list, c.Keys.Signer)
}

// signedModel returns the signature of a model that the registry has, by any trusted key.
func (c Catalog) signedModel(ctx context.Context, subject digest.Digest, list filelist.List) ([]byte, error) {
	return c.reuseSignature(ctx, subject, list, nobody{})
}

// reuseSignature returns the signature of a model that the registry has by a signer, or a
// new one.
func (c Catalog) reuseSignature(ctx context.Context, subject digest.Digest, list filelist.List, s attest.Signer) ([]byte, error) {
	listed, err := c.Registry.Referrers(ctx, c.Repository, subject, attest.ModelSignatureType)
	if err != nil {
		return nil, err
	}
	// One at a time: anybody who may push can have made them, as large as may be.
	earlier := func(yield func([]byte) bool) {
		for _, d := range listed[:min(len(listed), maxEnvelopes)] {
			// One that cannot be read is none.
			if b, err := c.referrerContent(ctx, d.Digest); err == nil && !yield(b) {
				return
			}
		}
	}
	return attest.SignModel(ctx, reusing{Signer: s, verifier: c.Keys.Verifier, earlier: earlier}, list, path.Base(c.Repository))
}

// nobody signs nothing, and has the ID of no key.
type nobody struct{}

// Sign implements attest.Signer.
func (nobody) Sign(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("no trusted key has signed the model")
}

// KeyID implements attest.Signer.
func (nobody) KeyID() string { return "" }

// IsDeterministic implements attest.Signer.
func (nobody) IsDeterministic() bool { return true }

// referrerContent returns the one layer of a referrer.
func (c Catalog) referrerContent(ctx context.Context, d digest.Digest) ([]byte, error) {
	_, b, err := c.Registry.Manifest(ctx, c.Repository, d.String())
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := decode.JSON(b, &m); err != nil || len(m.Layers) != 1 {
		return nil, errors.New("the manifest does not name one layer")
	}
	return c.Registry.Blob(ctx, c.Repository, m.Layers[0].Digest, maxDescriptionBytes)
}

// A reusing signer returns an earlier bundle of the same signer, or of any trusted one if
// that has no ID, and of the same payload.
type reusing struct {
	attest.Signer
	verifier *attest.Verifier
	earlier  iter.Seq[[]byte]
}

// Sign implements attest.Signer.
func (r reusing) Sign(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	for b := range r.earlier {
		if got, id, err := r.verifier.OpenPayload(b); err == nil && (r.KeyID() == "" || id == r.KeyID()) && bytes.Equal(got, payload) {
			return b, nil
		}
	}
	return r.Signer.Sign(ctx, payloadType, payload)
}

// withoutLarge returns the documents that are not too large for those who read them,
// and which ones are.
func withoutLarge(all []registry.Referrer) ([]registry.Referrer, string, error) {
	var large []string
	out := slices.DeleteFunc(all, func(r registry.Referrer) bool {
		tooLarge := r.Type != filelist.MediaType && len(r.Content) > maxDescriptionBytes
		if tooLarge {
			large = append(large, fmt.Sprintf("%s would have %d bytes, more than programs read (%d)", r.Type, len(r.Content), maxDescriptionBytes))
		}
		return tooLarge
	})
	return out, strings.Join(large, ", "), nil
}

// pushDescriptions pushes the documents that the registry does not list, and returns
// the manifests of all of them.
func (c Catalog) pushDescriptions(ctx context.Context, subject ocispec.Descriptor, documents []registry.Referrer) (Description, error) {
	for try := 1; ; try++ {
		listed, err := c.Registry.Referrers(ctx, c.Repository, subject.Digest, "")
		if err != nil {
			return Description{}, err
		}
		var out Description
		complete := true
		for _, r := range documents {
			d, _, err := r.Manifest(subject)
			if err != nil {
				return out, err
			}
			out.add(r.Type, d.Digest)
			if isListed(listed, d.Digest) {
				continue
			}
			complete = false
			if _, err := c.Registry.PushReferrer(ctx, c.Repository, subject, r); err != nil {
				return out, err
			}
		}
		if complete {
			return out, nil
		}
		if try > describeTries {
			return out, outcome.Errorf(outcome.Unsupported, "the registry takes manifests that refer to others, and does not list them in %s", c.Repository)
		}
	}
}

// Described returns what describes a manifest: the list of files that a record names,
// the bill of materials that follows from it, and a signature of these files by a trusted
// key, as far as the registry has them. Anybody who may push can have added others.
func (c Catalog) Described(ctx context.Context, subject ocispec.Descriptor, r provenance.Record) (Description, error) {
	sign := c.signedModel
	if c.Keys.Verifier == nil {
		sign = nil
	}
	var out Description
	documents, _, err := c.descriptionsOf(ctx, subject.Digest, Commit{Digest: subject.Digest, Record: r, FileList: r.FileList}, sign)
	if err != nil || len(documents) == 0 {
		return out, err
	}
	listed, err := c.Registry.Referrers(ctx, c.Repository, subject.Digest, "")
	if err != nil {
		return out, err
	}
	for _, r := range documents {
		d, _, err := r.Manifest(subject)
		if err != nil {
			return out, err
		}
		if isListed(listed, d.Digest) {
			out.add(r.Type, d.Digest)
		}
	}
	return out, nil
}

func isListed(listed []ocispec.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(listed, func(l ocispec.Descriptor) bool { return l.Digest == d })
}

// deleteDescriptions deletes what describes a manifest, unless a record may name another
// owner of it: all but these records count. What the registry does not let be deleted
// stays, and does no harm.
func (c Catalog) deleteDescriptions(ctx context.Context, subject digest.Digest, own []provenance.Found) error {
	listed, err := c.Registry.Referrers(ctx, c.Repository, subject, "")
	if err != nil {
		return err
	}
	for _, l := range listed {
		isOwn := slices.ContainsFunc(own, func(f provenance.Found) bool { return f.Descriptor.Digest == l.Digest })
		if provenance.IsRecordType(l.ArtifactType) && !isOwn {
			return nil
		}
	}
	for _, l := range listed {
		d, is := c.ownDescription(ctx, subject, l)
		if !is {
			continue
		}
		if deletes, err := c.deleteIfAllowed(ctx, d); err != nil || !deletes {
			return err
		}
	}
	return nil
}

// deleteIfAllowed deletes a manifest, and reports whether the registry lets this account
// delete.
func (c Catalog) deleteIfAllowed(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	err := c.Registry.DeleteManifest(ctx, c.Repository, plain(d))
	if registry.IsUnsupported(err) || registry.IsUnauthorized(err) {
		return false, nil
	}
	return err == nil, err
}

// isDescriptionType reports whether a manifest of this type may describe another.
func isDescriptionType(artifactType string) bool {
	switch artifactType {
	case filelist.MediaType, attest.ModelSignatureType, attest.BOMType:
		return true
	}
	return false
}

// ownDescription returns the manifest of a listed referrer, if it is a description of a
// subject as the provider pushes it. The manifest says so, not the list, which whoever may
// push can have written: it may name anything in the repository. A manifest that cannot be
// read is none.
func (c Catalog) ownDescription(ctx context.Context, subject digest.Digest, listed ocispec.Descriptor) (ocispec.Descriptor, bool) {
	if !isDescriptionType(listed.ArtifactType) {
		return ocispec.Descriptor{}, false
	}
	d, b, err := c.Registry.Manifest(ctx, c.Repository, listed.Digest.String())
	if err != nil {
		return ocispec.Descriptor{}, false
	}
	var m ocispec.Manifest
	if decode.JSON(b, &m) != nil || !isDescriptionType(m.ArtifactType) || m.Subject == nil || m.Subject.Digest != subject {
		return ocispec.Descriptor{}, false
	}
	return d, m.ArtifactType != attest.BOMType || m.Annotations[annotationMaker] == maker
}
