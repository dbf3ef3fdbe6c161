package azure

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

const (
	// pageSize is how many blobs a page has at most, which is what the service gives at
	// most (https://learn.microsoft.com/rest/api/storageservices/list-blobs).
	pageSize = 5000

	// maxPageBytes bounds a page: an entry takes some 1,000 bytes, and one with a key of
	// 1,024 bytes, each escaped in XML, up to 6 KiB.
	maxPageBytes = 32 << 20

	// maxMarker bounds the name of the next page.
	maxMarker = 8 << 10
)

// pin matches version IDs, which are times, and ETags.
var pin = regexp.MustCompile(`^[A-Za-z0-9:.+_-]{1,128}$`)

// A page is a part of a listing.
type page struct {
	Next  string
	Blobs []entry
}

// An entry is a blob of a page, at one of its versions.
type entry struct {
	Name struct {
		Text    string `xml:",chardata"`
		Encoded bool   `xml:"Encoded,attr"`
	} `xml:"Name"`
	Deleted    bool   `xml:"Deleted"`
	Snapshot   string `xml:"Snapshot"`
	Version    string `xml:"VersionId"`
	Current    bool   `xml:"IsCurrentVersion"`
	Properties struct {
		Size     string `xml:"Content-Length"`
		MD5      string `xml:"Content-MD5"`
		ETag     string `xml:"Etag"`
		Encoding string `xml:"Content-Encoding"`
		Type     string `xml:"ResourceType"`
	} `xml:"Properties"`
}

// List implements source.Folder.
func (f *Folder) List(ctx context.Context) ([]file.File, error) {
	f.encoded = map[string]bool{}
	return bucket.Collect(func(take func(file.File) error) error { return f.Each(ctx, take) })
}

// Each implements source.Lister.
func (f *Folder) Each(ctx context.Context, take func(file.File) error) error {
	l := bucket.NewListing(f.name, f.source.Prefix, take)
	versions, marker := true, ""
	for range bucket.Pages {
		p, err := f.page(ctx, l, marker, &versions)
		if err != nil {
			return err
		}
		for _, e := range p.Blobs {
			if err := f.add(l, e); err != nil {
				return err
			}
		}
		if p.Next == "" {
			return nil
		}
		marker = p.Next
	}
	return l.ErrEndless()
}

// page returns the page that a marker names; the first one for none. If the account knows
// no versions, it sets these to false and lists without them.
func (f *Folder) page(ctx context.Context, l *bucket.Listing, marker string, versions *bool) (page, error) {
	var p page
	err := f.client.Ask(ctx, f.name, maxPageBytes, func(ctx context.Context) (*http.Request, error) {
		query := url.Values{"restype": {"container"}, "comp": {"list"}, "maxresults": {strconv.Itoa(pageSize)}, "prefix": {l.Prefix()}}
		if *versions {
			query.Set("include", "versions")
		}
		if marker != "" {
			query.Set("marker", marker)
		}
		req, err := f.client.Request(ctx, http.MethodGet, f.url(query, ""))
		if err == nil {
			req.Header.Set(headerAPI, apiVersion)
		}
		return req, err
	}, func(a bucket.Answer) (err error) {
		if *versions && marker == "" && (a.Status == http.StatusBadRequest || a.Status == http.StatusConflict) {
			// Accounts with a hierarchical namespace have none
			// (https://learn.microsoft.com/azure/storage/blobs/versioning-overview).
			*versions = false
			return errNoVersions
		}
		if a.Status != http.StatusOK {
			return f.refused(a.Status, a.Header, f.name)
		}
		if p, err = parsePage(a.Body); err != nil {
			return f.client.Garbled(f.name, err)
		}
		return l.Read(len(a.Body))
	})
	if errors.Is(err, errNoVersions) {
		return f.page(ctx, l, marker, versions)
	}
	return p, err
}

// errNoVersions is returned for a listing that must be asked for without versions.
var errNoVersions = errors.New("the account has no versions")

// parsePage returns the page in an answer, which must be whole.
func parsePage(b []byte) (page, error) {
	var answer struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Blobs   *struct {
			All []entry `xml:"Blob"`
		} `xml:"Blobs"`
		Next *string `xml:"NextMarker"`
	}
	if bytes.Count(b, []byte("<Blob")) > pageSize+1 {
		// <Blobs> is one of them.
		return page{}, errors.New("cannot read a page of blobs: it has too many")
	}
	// The service begins answers with a byte order mark.
	if err := xml.Unmarshal(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), &answer); err != nil {
		return page{}, errors.Wrap(err, "cannot read a page of blobs")
	}
	if answer.Blobs == nil || answer.Next == nil || len(*answer.Next) > maxMarker || len(answer.Blobs.All) > pageSize {
		return page{}, errors.New("cannot read a page of blobs: it has no blobs or no marker, or too many")
	}
	p := page{Next: *answer.Next, Blobs: answer.Blobs.All}
	for _, e := range p.Blobs {
		if !e.wanted() {
			continue
		}
		if _, _, err := e.file(); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

// wanted reports whether an entry is of a blob as it is now.
func (e entry) wanted() bool {
	isNow := e.Version == "" || e.Current
	return isNow && !e.Deleted && e.Snapshot == "" && e.Properties.Type != "directory"
}

// file returns an entry's key and what it tells of its file, but for the path.
func (e entry) file() (key string, f file.File, err error) {
	key = e.Name.Text
	if e.Name.Encoded {
		if key, err = url.PathUnescape(key); err != nil {
			return "", file.File{}, errors.New("a page of blobs has a name that is badly encoded")
		}
	}
	size, err := strconv.ParseUint(e.Properties.Size, 10, 63)
	if err != nil {
		return "", file.File{}, errors.Errorf("blob %q of a page has no size", key)
	}
	f = file.File{Size: int64(size), Version: pinVersion + e.Version}
	if e.Version == "" {
		f.Version = pinETag + e.Properties.ETag
	}
	if (e.Version != "" && !pin.MatchString(e.Version)) || (e.Version == "" && !pin.MatchString(e.Properties.ETag)) {
		return "", file.File{}, errors.Errorf("blob %q of a page has no version and no ETag", key)
	}
	// It is the uploader's word unless the blob was uploaded at once.
	if sum, err := base64.StdEncoding.DecodeString(e.Properties.MD5); err == nil && len(sum) == 16 {
		f.MD5 = hex.EncodeToString(sum)
	}
	return key, f, nil
}

// add adds an entry to a listing.
func (f *Folder) add(l *bucket.Listing, e entry) error {
	if !e.wanted() {
		return nil
	}
	key, one, err := e.file()
	if err != nil {
		return err
	}
	if e.Properties.Encoding != "" && f.encoded != nil {
		f.encoded[strings.TrimPrefix(key, l.Prefix())] = true
	}
	return l.Add(key, one)
}
