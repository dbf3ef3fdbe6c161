package settings

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
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
