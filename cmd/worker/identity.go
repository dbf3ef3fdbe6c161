package main

import (
	"cmp"
	"os"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket/s3"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// identityRetries is how an exchange is retried; the request that it is for is retried for
// longer.
var identityRetries = retry.Policy{Tries: 4, MaxElapsed: 20 * time.Second, FirstWait: 500 * time.Millisecond, MaxWait: 5 * time.Second, MaxRetryAfter: 20 * time.Second}

// addIdentities has a run use the Pod's identity of a cloud for its target, unless that is
// empty, and for its source if the flags say so.
func (f *sourceFlags) addIdentities(r *pipeline.Run, cloud string) error {
	sources := identity.NewSources(identity.ReadEnvironment(os.Getenv), identity.Options{UserAgent: version.UserAgent(), Retry: identityRetries})
	var err error
	if cloud != "" {
		if found := identity.CloudOf(r.Target.Registry); found != cloud {
			return outcome.Errorf(outcome.Internal, "the run was started with an identity of %s for the registry %s, which is not one of its registries", cloud, r.Target.Registry)
		}
		if r.Target.Identity, err = sources.At(r.Target.Registry); err != nil {
			return err
		}
	}
	switch {
	case !f.cloudIdentity:
		return nil
	case r.Source.S3 != nil:
		b := r.Source.S3
		b.Keys, err = sources.Bucket(identity.Bucket{Region: cmp.Or(b.Region, s3.DefaultRegion), Name: b.Bucket, Prefix: bucket.KeyPrefix(b.Prefix)})
		return err
	case r.Source.GCS != nil:
		r.Source.GCS.Tokens, err = sources.GCS()
		return err
	case r.Source.AzureBlob != nil:
		r.Source.AzureBlob.Tokens, err = sources.Blob()
		return err
	case r.Source.Artifact == nil:
		return nil
	}
	ref, err := registry.ParseReference(r.Source.Artifact.Reference)
	if err != nil {
		return err
	}
	r.Source.Artifact.Identity, err = sources.At(ref.Registry)
	return err
}
