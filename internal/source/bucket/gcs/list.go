package gcs

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

const (
	// pageSize is how many objects a page has at most, which is what Google gives at most
	// (https://cloud.google.com/storage/docs/json_api/v1/objects/list).
	pageSize = 1000

	// fields are those of an answer that are used.
	fields = "kind,nextPageToken,items(name,size,generation,crc32c,md5Hash,contentEncoding)"

	// maxPageBytes bounds a page: an object whose key has 1,024 bytes, each escaped in
	// JSON, takes some 6 KiB.
	maxPageBytes = 8 << 20

	// maxToken bounds a page's token.
	maxToken = 4 << 10
)

// pageLimits are the bounds of a page, of which a server may send all fields.
var pageLimits = decode.Limits{Bytes: maxPageBytes, Containers: 20 * pageSize, Values: 100 * pageSize}

// A page is a part of a listing.
type page struct {
	Kind  string `json:"kind"`
	Next  string `json:"nextPageToken"`
	Items []item `json:"items"`
}

// An item is an object of a page.
type item struct {
	Name       string `json:"name"`
	Size       string `json:"size"`
	Generation string `json:"generation"`
	CRC32C     string `json:"crc32c"`
	MD5        string `json:"md5Hash"`
	Encoding   string `json:"contentEncoding"`
}

// List implements source.Folder.
func (f *Folder) List(ctx context.Context) ([]file.File, error) {
	f.stored = map[string]bool{}
	return bucket.Collect(func(take func(file.File) error) error { return f.Each(ctx, take) })
}

// Each implements source.Lister.
func (f *Folder) Each(ctx context.Context, take func(file.File) error) error {
	l := bucket.NewListing(f.name, f.source.Prefix, take)
	token := ""
	for range bucket.Pages {
		p, err := f.page(ctx, l, token)
		if err != nil {
			return err
		}
		for _, i := range p.Items {
			if err := f.add(l, i); err != nil {
				return err
			}
		}
		if p.Next == "" {
			if n := len(f.stored); n > 0 && f.options.Logf != nil {
				f.options.Logf("%s: %d files are stored with gzip, and are packaged so", f.name, n)
			}
			return nil
		}
		token = p.Next
	}
	return l.ErrEndless()
}

// page returns the page that a token names; the first one for none.
func (f *Folder) page(ctx context.Context, l *bucket.Listing, token string) (page, error) {
	query := url.Values{"fields": {fields}, "maxResults": {strconv.Itoa(pageSize)}, "prefix": {l.Prefix()}}
	if token != "" {
		query.Set("pageToken", token)
	}
	u := f.url(query, "o")
	var p page
	err := f.client.Ask(ctx, f.name, maxPageBytes, func(ctx context.Context) (*http.Request, error) { return f.get(ctx, u) }, func(a bucket.Answer) (err error) {
		if a.Status != http.StatusOK {
			return f.refused(a.Status, a.Header, a.Body, f.name)
		}
		if p, err = parsePage(a.Body); err != nil {
			return f.client.Garbled(f.name, err)
		}
		return l.Read(len(a.Body))
	})
	return p, err
}

// parsePage returns the page in an answer, which must be one.
func parsePage(b []byte) (page, error) {
	var p page
	if err := pageLimits.JSON(b, &p); err != nil {
		return page{}, errors.Wrap(err, "cannot read a page of objects")
	}
	if p.Kind != "storage#objects" || len(p.Next) > maxToken {
		return page{}, errors.New("cannot read a page of objects: it is of another kind")
	}
	for _, i := range p.Items {
		if _, err := i.file(); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

// file returns what an item tells of its file, but for its path.
func (i item) file() (file.File, error) {
	wrong := func(what string) (file.File, error) {
		return file.File{}, errors.Errorf("object %q of a page has no %s", i.Name, what)
	}
	size, err := strconv.ParseUint(i.Size, 10, 63)
	if err != nil {
		return wrong("size")
	}
	if n, err := strconv.ParseInt(i.Generation, 10, 64); err != nil || n <= 0 {
		return wrong("generation")
	}
	crc, ok := digest(i.CRC32C, 4)
	if !ok {
		return wrong("CRC32C of four bytes")
	}
	// Composite objects have none
	// (https://cloud.google.com/storage/docs/composite-objects).
	sum, ok := digest(i.MD5, 16)
	if !ok {
		return wrong("MD5 of 16 bytes")
	}
	return file.File{Size: int64(size), CRC32C: crc, MD5: sum, Version: generation + i.Generation}, nil
}

// digest returns a hash in base64 as hex, and reports whether it has a number of bytes. It
// is empty if the other is.
func digest(v string, size int) (string, bool) {
	if v == "" {
		return "", true
	}
	b, err := base64.StdEncoding.DecodeString(v)
	return hex.EncodeToString(b), err == nil && len(b) == size
}

// add adds an item to a listing.
func (f *Folder) add(l *bucket.Listing, i item) error {
	one, err := i.file()
	if err != nil {
		return err
	}
	if i.Encoding == gzip && f.stored != nil {
		f.stored[strings.TrimPrefix(i.Name, l.Prefix())] = true
	}
	return l.Add(i.Name, one)
}
