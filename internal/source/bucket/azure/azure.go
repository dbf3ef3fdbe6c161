// Package azure reads the blobs of a folder in a container of Azure Blob Storage, each at
// the version that was listed, or else at its ETag
// (https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api).
package azure

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

const (
	service = "Azure Blob Storage"
	field   = "spec.forProvider.source.azureBlob"

	// apiVersion is what requests are made by. It knows versions of blobs, names that XML
	// cannot hold, and bearer tokens
	// (https://learn.microsoft.com/rest/api/storageservices/previous-azure-storage-service-versions).
	apiVersion = "2023-11-03"

	// pinVersion and pinETag are the kinds of a file's Version.
	pinVersion = "version:"
	pinETag    = "etag:"

	headerAPI     = "X-Ms-Version"
	headerVersion = "X-Ms-Version-Id"
)

var (
	// accountName matches names of accounts
	// (https://learn.microsoft.com/azure/storage/common/storage-account-overview).
	accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

	// containerName matches names of containers
	// (https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata).
	containerName = regexp.MustCompile(`^(\$root|\$web|[a-z0-9]+(-[a-z0-9]+)*)$`)
)

// A Folder is the blobs below a prefix of a container.
type Folder struct {
	source  pipeline.AzureBlobSource
	name    string
	client  *bucket.Client
	server  *download.Server
	options download.Options
	own     bool // There are credentials.

	encoded map[string]bool // Paths of blobs with a Content-Encoding, after List; nil for one that is not read.
}

var _ source.Folder = &Folder{}

// New returns the folder of a run's source, whose AzureBlob must be set. It connects to
// nothing yet. Files are downloaded as the options say, and other requests are retried by a
// policy.
func New(s pipeline.Source, retries retry.Policy, o download.Options) (*Folder, error) {
	at := *s.AzureBlob
	if err := check(at); err != nil {
		return nil, err
	}
	endpoint := Endpoint(at)
	authorizer, err := authorizerOf(s, endpoint, retries)
	if err != nil {
		return nil, err
	}
	c, err := bucket.NewClient(bucket.Options{Service: service, Field: field, Endpoint: endpoint, Source: s, Authorizer: authorizer, Retry: retries})
	if err != nil {
		return nil, err
	}
	return &Folder{
		source: at, name: cmp.Or(s.Name, strings.TrimRight(endpoint+"/"+at.Container+"/"+strings.Trim(at.Prefix, "/"), "/")),
		client: c, server: c.Server(retries), options: o, own: authorizer != nil,
	}, nil
}

// Endpoint returns the URL of the account that has a container.
func Endpoint(s pipeline.AzureBlobSource) string {
	return strings.TrimRight(cmp.Or(s.Endpoint, "https://"+s.Account+".blob.core.windows.net"), "/")
}

// check returns an error for a source that names no folder.
func check(s pipeline.AzureBlobSource) error {
	switch {
	case !accountName.MatchString(s.Account):
		return outcome.Errorf(outcome.Unsupported, "%s.account is no name of a storage account: write 3 to 24 small letters and digits", field)
	case !containerName.MatchString(s.Container):
		return outcome.Errorf(outcome.Unsupported, "%s.container is no name of a container", field)
	}
	return bucket.CheckPrefix(field, s.Prefix)
}

// Name implements source.Folder.
func (f *Folder) Name() string { return f.name }

// Close implements source.Folder.
func (f *Folder) Close() { f.client.Close() }

// Complete implements source.Folder. A listing tells all that there is.
func (*Folder) Complete(_ context.Context, files []file.File) ([]file.File, error) { return files, nil }

// Open implements source.Folder.
func (f *Folder) Open(ctx context.Context, one file.File, from, to int64) (io.ReadCloser, error) {
	b := blob{Folder: f, file: one}
	query, header := url.Values{}, http.Header{headerAPI: {apiVersion}}
	if id, ok := strings.CutPrefix(one.Version, pinVersion); ok {
		query.Set("versionid", id)
	} else {
		header.Set("If-Match", `"`+strings.TrimPrefix(one.Version, pinETag)+`"`)
	}
	rc, err := f.server.Open(ctx, download.Object{
		Name: b.String(), URL: f.url(query, bucket.KeyPrefix(f.source.Prefix)+one.Path).String(), Header: header, Size: one.Size,
		Encoded: f.encoded[one.Path], Accept: b.accept, Refused: b.refused, Changed: func(string) error { return b.changed() },
	}, from, to, f.options)
	if err != nil {
		return nil, err
	}
	return rc, nil
}

// url returns the URL of a blob in the container, or of the container itself for an empty
// key.
func (f *Folder) url(query url.Values, key string) *url.URL {
	u := f.client.Endpoint()
	raw := u.EscapedPath() + "/" + url.PathEscape(f.source.Container)
	if key != "" {
		// A slash needs no escape in a blob's name.
		raw += "/" + strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
	}
	u.Path, _ = url.PathUnescape(raw) // It was escaped here, or by net/url.
	u.RawPath, u.RawQuery = raw, query.Encode()
	return u
}

// A blob is what a file of a listing was made of.
type blob struct {
	*Folder

	file file.File
}

// String names the blob in messages.
func (b blob) String() string { return fmt.Sprintf("file %q of %s", b.file.Path, b.name) }

// accept returns an error if a successful answer is not of the blob's version.
func (b blob) accept(rsp *http.Response) error {
	got, kind := rsp.Header.Get(headerVersion), pinVersion
	if !strings.HasPrefix(b.file.Version, kind) {
		got, kind = strings.Trim(rsp.Header.Get("ETag"), `"`), pinETag
	}
	switch {
	case got == "":
		return outcome.Errorf(outcome.Unsupported, "%s does not tell which version of %s it sends, as %s does: check %s.endpoint", b.client.Host(), b, service, field)
	case kind+got != b.file.Version:
		return b.changed()
	}
	return nil
}

// changed returns the error of a blob that has no such version any more.
func (b blob) changed() error {
	return outcome.Errorf(outcome.Changed,
		"%s was replaced, deleted or got other properties while it was read, at %s: keep blobs until a run has ended, or give the account blob versioning; another run takes what is there then", b, b.file.Version)
}

// refused returns the error of an answer that is not a success.
func (b blob) refused(rsp *http.Response) error {
	switch rsp.StatusCode {
	case http.StatusNotFound, http.StatusPreconditionFailed:
		// It was listed: only this version is not there.
		return b.changed()
	}
	return b.Folder.refused(rsp.StatusCode, rsp.Header, b.String())
}
