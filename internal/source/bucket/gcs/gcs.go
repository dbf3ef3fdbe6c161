// Package gcs reads the objects of a folder in a bucket of Google Cloud Storage, each at
// the generation that was listed, by the JSON API
// (https://cloud.google.com/storage/docs/json_api/v1).
package gcs

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

const (
	// DefaultEndpoint is Google's own.
	DefaultEndpoint = "https://storage.googleapis.com"

	service = "Google Cloud Storage"
	field   = "spec.forProvider.source.gcs"

	// generation is the kind of a file's Version.
	generation = "generation:"
)

var (
	// bucketName matches names of buckets, with those of domains
	// (https://cloud.google.com/storage/docs/buckets#naming).
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

	// projectID matches the ID or number of a project, with a domain before it that old
	// ones have (https://cloud.google.com/resource-manager/docs/creating-managing-projects).
	projectID = regexp.MustCompile(`^[a-z0-9.:-]{1,100}$`)
)

// A Folder is the objects below a prefix of a bucket.
type Folder struct {
	source  pipeline.GCSSource
	name    string
	client  *bucket.Client
	server  *download.Server
	options download.Options
	own     bool // There are credentials.

	stored map[string]bool // Paths of files that are stored with gzip, after List; nil for one that is not read.
}

var _ source.Folder = &Folder{}

// New returns the folder of a run's source, whose GCS must be set. It connects to nothing
// yet. Files are downloaded as the options say, and other requests are retried by a policy.
func New(s pipeline.Source, retries retry.Policy, o download.Options) (*Folder, error) {
	at := *s.GCS
	if err := check(at); err != nil {
		return nil, err
	}
	authorizer, err := authorizerOf(s, identity.Options{UserAgent: version.UserAgent(), Retry: retries, Wrap: s.Transport})
	if err != nil {
		return nil, err
	}
	c, err := bucket.NewClient(bucket.Options{
		Service: service, Field: field, Endpoint: Endpoint(at), Source: s, Authorizer: authorizer, Retry: retries,
	})
	if err != nil {
		return nil, err
	}
	f := &Folder{source: at, name: cmp.Or(s.Name, nameOf(at)), client: c, options: o, own: authorizer != nil}
	f.server = c.Server(retries)
	return f, nil
}

// Endpoint returns the URL of the server that has a bucket.
func Endpoint(s pipeline.GCSSource) string { return cmp.Or(s.Endpoint, DefaultEndpoint) }

// check returns an error for a source that names no folder.
func check(s pipeline.GCSSource) error {
	switch {
	case !bucketName.MatchString(s.Bucket):
		return outcome.Errorf(outcome.Unsupported, "%s.bucket is no name of a bucket: write it as in gs://NAME", field)
	case s.UserProject != "" && !projectID.MatchString(s.UserProject):
		return outcome.Errorf(outcome.Unsupported, "%s.userProject is no ID of a project", field)
	}
	return bucket.CheckPrefix(field, s.Prefix)
}

// nameOf returns the name of a folder: gs://bucket/prefix.
func nameOf(s pipeline.GCSSource) string {
	return strings.TrimSuffix("gs://"+s.Bucket+"/"+strings.Trim(s.Prefix, "/"), "/")
}

// Name implements source.Folder.
func (f *Folder) Name() string { return f.name }

// Close implements source.Folder.
func (f *Folder) Close() { f.client.Close() }

// Complete implements source.Folder. A listing tells all that there is.
func (*Folder) Complete(_ context.Context, files []file.File) ([]file.File, error) { return files, nil }

// Open implements source.Folder.
func (f *Folder) Open(ctx context.Context, one file.File, from, to int64) (io.ReadCloser, error) {
	version, ok := strings.CutPrefix(one.Version, generation)
	if !ok {
		return nil, outcome.Errorf(outcome.Internal, "file %q of %s has no generation", one.Path, f.name)
	}
	o := object{Folder: f, file: one, generation: version}
	rc, err := f.server.Open(ctx, download.Object{
		Name: o.String(), URL: o.url().String(), Header: http.Header{"Accept-Encoding": {gzip}}, Size: one.Size, Encoded: f.stored[one.Path],
		Accept: o.accept, Refused: o.refused, Changed: func(string) error { return o.changed() },
	}, from, to, f.options)
	if err != nil {
		return nil, err
	}
	return rc, nil
}

// url returns the URL of the JSON API for names below the bucket, each escaped whole, with
// a query and who pays.
func (f *Folder) url(query url.Values, names ...string) *url.URL {
	u := f.client.Endpoint()
	raw := u.EscapedPath() + "/storage/v1/b/" + url.PathEscape(f.source.Bucket)
	for _, n := range names {
		raw += "/" + url.PathEscape(n)
	}
	u.Path, _ = url.PathUnescape(raw) // It was escaped here, or by net/url.
	u.RawPath = raw
	if f.source.UserProject != "" {
		query.Set("userProject", f.source.UserProject)
	}
	u.RawQuery = query.Encode()
	return u
}

// get returns a request that reads what a URL names.
func (f *Folder) get(ctx context.Context, u *url.URL) (*http.Request, error) {
	return f.client.Request(ctx, http.MethodGet, u)
}
