package s3

import (
	"bytes"
	"encoding/xml"
	"net/url"
	"regexp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

const (
	// maxPageBytes bounds a page of a listing: 1,000 keys of 1,024 bytes, each escaped to
	// three, with some 500 bytes beside each.
	maxPageBytes = 4 << 20

	// maxErrorBytes bounds what is read of an error.
	maxErrorBytes = 64 << 10

	// maxPinBytes bounds a version's ID
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html) or
	// an ETag.
	maxPinBytes = 1024
)

// Codes of errors
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList).
const (
	codeDenied         = "AccessDenied"
	codeArchived       = "InvalidObjectState"
	codeExpired        = "ExpiredToken"
	codeInvalidKey     = "InvalidAccessKeyId"
	codeInvalidToken   = "InvalidToken"
	codeMalformed      = "AuthorizationHeaderMalformed"
	codeNoBucket       = "NoSuchBucket"
	codeNoKey          = "NoSuchKey"
	codeNoVersion      = "NoSuchVersion"
	codeNotImplemented = "NotImplemented"
	codeRefresh        = "TokenRefreshRequired"
	codeSignature      = "SignatureDoesNotMatch"
	codeSkewed         = "RequestTimeTooSkewed"
	codeSlowDown       = "SlowDown"
)

// A page of a listing, as ListObjectsV2 and ListObjectVersions answer it
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html,
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html).
type page struct {
	EncodingType string
	IsTruncated  bool

	Contents []object
	Next     string `xml:"NextContinuationToken"`

	Versions    []object `xml:"Version"`
	NextKey     string   `xml:"NextKeyMarker"`
	NextVersion string   `xml:"NextVersionIdMarker"`
}

// An object in a listing.
type object struct {
	Key       string
	Size      int64
	ETag      string
	VersionID string `xml:"VersionId"`
	IsLatest  bool
}

// parsePage returns a page whose root element has a name. Its keys are as they are in the
// bucket.
func parsePage(b []byte, root string) (page, error) {
	var p page
	if err := unmarshal(b, root, &p); err != nil {
		return page{}, err
	}
	if p.EncodingType != "url" {
		return p, nil
	}
	for _, s := range [][]object{p.Contents, p.Versions} {
		for i := range s {
			var err error
			if s[i].Key, err = url.QueryUnescape(s[i].Key); err != nil {
				return page{}, errors.Wrap(err, "cannot decode a key")
			}
		}
	}
	var err error
	p.NextKey, err = url.QueryUnescape(p.NextKey)
	return p, errors.Wrap(err, "cannot decode a marker")
}

// unmarshal decodes a document whose root element has a name, whatever its namespace.
func unmarshal(b []byte, root string, v any) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		t, err := d.Token()
		if err != nil {
			return errors.Wrap(err, "cannot read XML")
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != root {
			return errors.Errorf("the document is no %s", root)
		}
		return errors.Wrap(d.DecodeElement(v, &start), "cannot decode XML")
	}
}

// parseVersioning reports whether objects of a bucket have versions, by an answer of
// GetBucketVersioning: some may even if it is suspended
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html).
func parseVersioning(b []byte) (bool, error) {
	var v struct{ Status string }
	if err := unmarshal(b, "VersioningConfiguration", &v); err != nil {
		return false, err
	}
	return v.Status == "Enabled" || v.Status == "Suspended", nil
}

// A fault is what an answer says went wrong.
type fault struct {
	Code   string
	Region string
}

// code matches the code of an error, which is no secret.
var code = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.]{0,63}$`)

// parseError returns the error in an answer; the zero fault if it has none.
func parseError(b []byte) fault {
	var f fault
	if unmarshal(b, "Error", &f) != nil || !code.MatchString(f.Code) {
		return fault{}
	}
	if !regionName.MatchString(f.Region) {
		f.Region = ""
	}
	return f
}
