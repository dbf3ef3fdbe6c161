package s3

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// DefaultRegion is the region of buckets that name none
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucketConfiguration.html).
const DefaultRegion = "us-east-1"

var (
	// bucketName is wider than what S3 allows today
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html): old
	// buckets and other servers have capitals and underscores.
	bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$`)

	// hostLabel matches the names of buckets that a wildcard certificate is for as a part
	// of a host: one label (RFC 1035, section 2.3.1).
	hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$`)

	// regionName matches regions of AWS, and those that other servers call theirs.
	regionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

	// awsHost matches hosts of AWS's own services.
	awsHost = regexp.MustCompile(`(?i)(^|\.)amazonaws\.com(\.cn)?$`)
)

// An address is how a bucket is named in URLs.
type address struct {
	region   string
	endpoint string // With the bucket in its host, unless the path names it.
	inPath   string // What is before a key in the path.
	isAWS    bool
}

// addressOf returns the address of a bucket. Its name is a part of the host at AWS, and
// of the path elsewhere, unless the source says otherwise or the host's certificate could
// not be for it.
func addressOf(s *pipeline.S3Source) (address, error) {
	a := address{region: cmp.Or(s.Region, DefaultRegion), inPath: "/"}
	switch {
	case !bucketName.MatchString(s.Bucket):
		return a, outcome.Errorf(outcome.Unsupported, "%s.bucket is no name of a bucket: write its name alone, such as example-models", field)
	case !regionName.MatchString(a.region):
		return a, outcome.Errorf(outcome.Unsupported, "%s.region is no name of a region: write one such as eu-central-1", field)
	}
	endpoint := strings.TrimRight(connection.Trimmed(s.Endpoint), "/")
	byPath := endpoint != ""
	if endpoint == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(a.region, "cn-") {
			domain += ".cn"
		}
		endpoint = "https://s3." + a.region + "." + domain
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return a, outcome.Errorf(outcome.Unsupported, "%s.endpoint is no URL of the form https://host[:port][/path]", field)
	}
	a.isAWS = awsHost.MatchString(u.Hostname())
	byPath = byPath || !hostLabel.MatchString(s.Bucket)
	if s.PathStyle != nil {
		byPath = *s.PathStyle
	}
	if byPath {
		a.inPath += connection.Escape(s.Bucket) + "/"
	} else {
		u.Host = s.Bucket + "." + u.Host
	}
	a.endpoint = u.String()
	return a, nil
}

// Endpoint returns the URL of the server that has a bucket, with the bucket in its host
// unless the path names it; empty for what is no bucket.
func Endpoint(s pipeline.S3Source) string {
	a, err := addressOf(&s)
	if err != nil {
		return ""
	}
	return a.endpoint
}

// urlOf returns the URL of the object with a key, or with an empty key that of the bucket
// itself.
func (f *Folder) urlOf(key string, query url.Values) *url.URL {
	u := f.client.Endpoint()
	raw := u.EscapedPath() + f.address.inPath + escapePath(key)
	if key == "" && f.address.inPath != "/" {
		raw = strings.TrimSuffix(raw, "/")
	}
	// What escape makes can be parsed.
	u.Path, _ = url.PathUnescape(raw)
	u.RawPath = raw
	// S3 takes a plus for itself in a signature.
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u
}

// escapePath escapes a key as requests are signed: all but what RFC 3986 calls unreserved,
// and slashes (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func escapePath(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = connection.Escape(p)
	}
	return strings.Join(parts, "/")
}
