package settings

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// ownSourceCredentials are those of source.oci that the Artifact names itself,
// if any.
func ownSourceCredentials(a *modelv1alpha1.Artifact) *secretKey {
	if s := artifact.OCISource(a); s != nil {
		return ownKey(a, s.CredentialsSecretRef, corev1.DockerConfigJsonKey)
	}
	return nil
}

// ownSourceCA are the certificate authorities for source.oci that the Artifact
// names itself, if any.
func ownSourceCA(a *modelv1alpha1.Artifact) *secretKey {
	if s := artifact.OCISource(a); s != nil {
		return ownKey(a, s.CertSecretRef, artifact.KeyCA)
	}
	return nil
}

// sourceFor returns what of the config holds for the Artifact's source.oci: for
// a registry that is not the config's, and for a source of another kind, it is
// nil. The Artifact's own Secrets take the place of the config's. It is an error
// with reason Unsupported where the source names no artifact.
func (p *providerConfig) sourceFor(a *modelv1alpha1.Artifact) (*endpoint, error) {
	s := artifact.OCISource(a)
	if s == nil {
		return nil, nil //nolint:nilnil // There is none.
	}
	ref, err := registry.ParseReference(s.Reference)
	if err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "spec.forProvider.source.oci.reference: %s", err).Because(err)
	}
	if ref.Registry != p.host {
		return nil, nil //nolint:nilnil // The config says nothing of it.
	}
	// Were it as the Artifact says, a tenant could have the config's credentials
	// sent without TLS.
	e := &endpoint{host: ref.Registry, repository: ref.Repository, plainHTTP: p.plainHTTP, certs: p.registryCerts}
	if p.permits(a, ref.Repository) {
		e.credentials = p.registryCredentials
	} else {
		// A client certificate may open what credentials do.
		e.unnamed = true
	}
	if ownSourceCredentials(a) != nil {
		e.credentials = nil
	}
	if ownSourceCA(a) != nil {
		e.certs = nil
	}
	return e, nil
}

// permits says whether an Artifact may use the config's credentials to read a
// repository: one of another tenant is not to be read by them.
func (p *providerConfig) permits(a *modelv1alpha1.Artifact, repository string) bool {
	return p.repositoryPrefix == "" || strings.HasPrefix(repository, p.prefixFor(a))
}

// addSource adds to what the config adds to the Artifact's spec how its source
// is reached. What is wrong with it, or missing, is told where a run begins: it
// changes nothing of what was pushed already.
func (p *providerConfig) addSource(ctx context.Context, kube client.Reader, e *modelv1alpha1.Effective, a *modelv1alpha1.Artifact) error {
	from, o, err := p.readSource(ctx, kube, a)
	if reason := outcome.ReasonOf(err); reason == outcome.ConfigMissing || reason == outcome.Unsupported {
		return nil
	}
	if from == nil || err != nil {
		return err
	}
	e.Source = &modelv1alpha1.SourceAccess{PlainHTTP: from.plainHTTP}
	if k := from.credentials; k != nil {
		e.Source.Credentials = mounted(k, k.key, copySourceCredentials)
	}
	if len(o.CA) > 0 {
		e.Source.CA = mounted(from.certs, artifact.KeyCA, copySourceCA)
	}
	if len(o.Certificate) > 0 {
		e.Source.Certificate = mounted(from.certs, corev1.TLSCertKey, copySourceCertificate)
		e.Source.Key = mounted(from.certs, corev1.TLSPrivateKeyKey, copySourceKey)
	}
	return nil
}

// readSource returns what sourceFor does, and the options that it makes.
func (p *providerConfig) readSource(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (*endpoint, registry.Options, error) {
	from, err := p.sourceFor(a)
	if from == nil || err != nil {
		return nil, registry.Options{}, err
	}
	o, err := p.memory.options(ctx, *from, p.reader(kube))
	return from, o, err
}

// sourceCopies returns what the Artifact's own Secret is to hold of a
// ClusterProviderConfig's for its source.oci.
func (p *providerConfig) sourceCopies(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (map[string][]byte, error) {
	from, o, err := p.readSource(ctx, kube, a)
	if from == nil || err != nil {
		return nil, err
	}
	out := map[string][]byte{copySourceCA: o.CA, copySourceCertificate: o.Certificate, copySourceKey: o.Key}
	if from.credentials != nil {
		out[copySourceCredentials], err = registry.DockerConfigFor(o.DockerConfig, o.Host, o.Repository)
	}
	return out, err
}

// sourceSecrets are those of the config that the Artifact's runs use for its
// source.oci; nil for those that they do not.
func (p *providerConfig) sourceSecrets(a *modelv1alpha1.Artifact) ([]*secretKey, error) {
	from, err := p.sourceFor(a)
	if from == nil || err != nil {
		return nil, err
	}
	return []*secretKey{from.credentials, from.certs}, nil
}
