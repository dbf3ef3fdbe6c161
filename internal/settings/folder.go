package settings

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// folderSecrets are references to the Secrets of an Artifact's bucket or HTTP server; the
// zero value for a source that has none.
type folderSecrets struct {
	credentials, ca *secretKey

	source *artifact.FolderSource
}

// folderSecretsOf returns those that the Artifact names. No ProviderConfig has any.
func folderSecretsOf(a *modelv1alpha1.Artifact) folderSecrets {
	f := artifact.FolderOf(a)
	if f == nil {
		return folderSecrets{}
	}
	out := folderSecrets{ca: ownSecret(a, f.CA, artifact.KeyCA), source: f}
	if out.credentials = ownSecret(a, f.Credentials, ""); out.credentials != nil {
		out.credentials.needs = "the keys " + alternatives(f)
	}
	return out
}

// checkFolder returns an error with reason ConfigMissing if the credentials of the
// source's folder have no complete set of keys, and with reason NotAllowed if they must not
// be sent to the source's server.
func (s Settings) checkFolder(ctx context.Context) error {
	if s.folder.credentials == nil {
		return nil
	}
	_, err := s.folderCredentials(ctx)
	return err
}

// folderCredentials returns the Secret with the credentials of the source's folder, which
// there must be, and which may be sent to the source's server.
func (s Settings) folderCredentials(ctx context.Context) (*corev1.Secret, error) {
	k, f := s.folder.credentials, s.folder.source
	secret, err := s.secrets.sendable(ctx, k)
	if err != nil {
		return nil, err
	}
	complete := slices.ContainsFunc(f.CredentialKeys, func(keys []string) bool {
		return !slices.ContainsFunc(keys, func(key string) bool { return valueOf(secret, key) == nil })
	})
	if !complete {
		return nil, outcome.Errorf(outcome.ConfigMissing, "Secret %q in namespace %q has no credentials for the source: add the keys %s", k.Name, k.Namespace, alternatives(f))
	}
	if f.Bound {
		return secret, checkHost(secret, f.Host)
	}
	return secret, nil
}

// alternatives names the sets of keys of which a folder's credentials must have one.
func alternatives(f *artifact.FolderSource) string {
	named := make([]string, 0, len(f.CredentialKeys))
	for _, keys := range f.CredentialKeys {
		named = append(named, strings.Join(keys, " and "))
	}
	return strings.Join(named, ", or ")
}

// copyFolder adds copies of what the source's folder requires.
func (s Settings) copyFolder(ctx context.Context, out map[string][]byte) error {
	if !s.copiesAll {
		return nil
	}
	if s.folder.credentials != nil {
		secret, err := s.folderCredentials(ctx)
		if err != nil {
			return err
		}
		for _, key := range s.folder.source.Keys() {
			out[artifact.CopiedSourcePrefix+key] = valueOf(secret, key)
		}
	}
	if s.folder.ca == nil {
		return nil
	}
	ca, err := s.secrets.value(ctx, s.folder.ca)
	out[artifact.CopiedSourceCA] = ca
	return err
}

// Bucket returns the bucket of the Artifact's source with the files that are selected, and
// the credentials and authorities that a run reads it with. It returns an error with reason
// Unsupported if a run reads it by an identity: that is the run's service account's, and not
// the provider's.
func (s Settings) Bucket(ctx context.Context, a *modelv1alpha1.Artifact) (*pipeline.Source, error) {
	out := bucketOf(a)
	// The provider asks a server in a private network only if an administrator named it.
	out.Private = s.config.listsBucket(a)
	if s.Effective.SourceIdentity {
		return nil, outcome.Errorf(outcome.Unsupported, "runs read %s by the identity of their service account, which the provider does not have, so that it cannot be followed: "+
			"name a Secret in credentialsSecretRef of the source, whose account needs to list and to read, or write revisionPolicy: Pinned and a new prefix for each version", s.folder.source.Name)
	}
	if s.folder.credentials != nil {
		secret, err := s.folderCredentials(ctx)
		if err != nil {
			return nil, err
		}
		out.Credentials = map[string][]byte{}
		for _, key := range s.folder.source.Keys() {
			if v := valueOf(secret, key); v != nil {
				out.Credentials[key] = v
			}
		}
	}
	var err error
	out.CA, err = s.secrets.value(ctx, s.folder.ca)
	return out, err
}

// bucketOf returns the bucket of an Artifact's source, as the worker is told it by flags.
func bucketOf(a *modelv1alpha1.Artifact) *pipeline.Source {
	s, out := a.Spec.ForProvider.Source, &pipeline.Source{}
	if f := s.Files; f != nil {
		out.Files = file.Filter{Include: f.Include, Exclude: f.Exclude}
	}
	switch {
	case s.S3 != nil:
		out.S3 = &pipeline.S3Source{
			Bucket: s.S3.Bucket, Prefix: string(s.S3.Prefix), Region: s.S3.Region, Endpoint: string(s.S3.Endpoint),
			PathStyle: s.S3.PathStyle, RequesterPays: s.S3.RequesterPays,
		}
	case s.GCS != nil:
		out.GCS = &pipeline.GCSSource{Bucket: s.GCS.Bucket, Prefix: string(s.GCS.Prefix), Endpoint: string(s.GCS.Endpoint), UserProject: s.GCS.UserProject}
	case s.AzureBlob != nil:
		out.AzureBlob = &pipeline.AzureBlobSource{Account: s.AzureBlob.Account, Container: s.AzureBlob.Container, Prefix: string(s.AzureBlob.Prefix), Endpoint: string(s.AzureBlob.Endpoint)}
	}
	return out
}
