// Package buckets reads folders in buckets, of whichever cloud they are.
package buckets

import (
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket/azure"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket/gcs"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket/s3"
)

// Is reports whether a source is a folder in a bucket.
func Is(s pipeline.Source) bool { return s.S3 != nil || s.GCS != nil || s.AzureBlob != nil }

// New returns the folder of a source that is in a bucket. Files are downloaded as the
// options say, and other requests are retried by a policy. The error is an outcome.Error.
func New(s pipeline.Source, retries retry.Policy, o download.Options) (source.Lister, error) {
	switch {
	case s.S3 != nil:
		return s3.New(s, retries, o)
	case s.GCS != nil:
		return gcs.New(s, retries, o)
	case s.AzureBlob != nil:
		return azure.New(s, retries, o)
	}
	return nil, outcome.Errorf(outcome.Internal, "the source is in no bucket")
}

// Endpoint returns the URL of the server that New's folder asks; empty for a source that New
// returns an error for.
func Endpoint(s pipeline.Source) string {
	switch {
	case s.S3 != nil:
		return s3.Endpoint(*s.S3)
	case s.GCS != nil:
		return gcs.Endpoint(*s.GCS)
	case s.AzureBlob != nil:
		return azure.Endpoint(*s.AzureBlob)
	}
	return ""
}
