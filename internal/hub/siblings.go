package hub

import (
	"context"
	"encoding/json"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A sibling is a file in the Hub's information about a revision, which has its
// size and hashes if the request had blobs=true
// (https://huggingface.co/docs/hub/api).
type sibling struct {
	Path   string `json:"rfilename"`
	Size   *int64 `json:"size"`
	BlobID string `json:"blobId"`
	LFS    *struct {
		SHA256 string `json:"sha256"`
		Size   *int64 `json:"size"`
	} `json:"lfs"`
}

// entry returns the entry of a tree that says the same.
func (s sibling) entry() treeEntry {
	e := treeEntry{Type: "file", OID: s.BlobID, Size: s.Size, Path: s.Path}
	if s.LFS != nil {
		e.LFS = &lfsEntry{OID: s.LFS.SHA256, Size: s.LFS.Size}
	}
	return e
}

// siblings returns the listing that the information about a revision has, in
// place of the tree of a mirror that has none.
func (c *Client) siblings(ctx context.Context, model, commit string) (*listing, error) {
	u, s := c.api(model, "revision", commit), c.subject(model, commit)
	var l *listing
	read := func(r *boundedReader) error {
		l = &listing{subject: s}
		return l.readSiblings(json.NewDecoder(r))
	}
	_, err := c.decode(ctx, u+"?blobs=true", s, maxListingBytes, read)
	if errors.Is(err, errNoRoute) {
		_, err = c.decode(ctx, u, s, maxListingBytes, read)
	}
	if err != nil {
		return nil, err
	}
	if len(l.files) == 0 {
		return nil, outcome.Errorf(outcome.Unsupported, "%s lists no files of %s: use another huggingFace.endpoint", c.base.Host, s)
	}
	return l, l.finish()
}

// readSiblings reads the files of an answer, one at a time.
func (l *listing) readSiblings(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return noTree(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return noTree(err)
		}
		if key != "siblings" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return noTree(err)
			}
			continue
		}
		if err := readArray(d, func(f sibling) error { return l.add(f.entry()) }); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// readArray calls add for each element of an array.
func readArray[T any](d *json.Decoder, add func(T) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return noTree(err)
	}
	for d.More() {
		var element T
		if err := d.Decode(&element); err != nil {
			return noTree(err)
		}
		if err := add(element); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}
