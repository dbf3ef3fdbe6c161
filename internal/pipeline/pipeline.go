// Package pipeline is the contract of a run: what a worker is given and what a
// pipeline must do. The packages kit and stream below it implement it; package source
// is where their files come from.
package pipeline

import (
	"context"
	"io"
	"net/http"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
)

// Formats of an artifact.
const (
	// FormatModelPack is CNCF's ModelPack
	// (https://github.com/modelpack/model-spec).
	FormatModelPack = "ModelPack"

	// FormatModelKit is KitOps' own (https://kitops.org).
	FormatModelKit = "ModelKit"

	// FormatImage is an OCI image with the files under /models.
	FormatImage = "Image"
)

// A Source is a model or a dataset at one commit of a Hugging Face Hub, an artifact in
// a registry, or files in a bucket, on a volume or at HTTP servers.
type Source struct {
	// Artifact in a registry; nil for any other source. If it is set, all other fields
	// are ignored.
	Artifact *ArtifactSource

	// S3, GCS, AzureBlob, Volume and HTTP are where the files are. At most one of them
	// is set; if none and no Artifact is, it is a Hub.
	S3        *S3Source
	GCS       *GCSSource
	AzureBlob *AzureBlobSource
	Volume    *VolumeSource
	HTTP      *HTTPSource

	// Name of these files for policies, provenance and people, as a URL; empty for what
	// they name themselves. A bucket at a server of the Artifact's own choice has that
	// server's.
	Name string

	// License of the files as the Artifact declares it, in place of what they say;
	// empty if it declares none. A Hub's model says its own.
	License string

	// CredentialsFolder is a mounted Secret with credentials for a bucket or an HTTP
	// server, a file a key, which are read again when they change; empty for none.
	CredentialsFolder string

	// Credentials are the same in memory, by key, for a program that no Secret is mounted
	// in; nil for none. They must not be changed.
	Credentials map[string][]byte

	// Endpoint of the Hub, for example https://huggingface.co.
	Endpoint string

	// Model as the Hub names it: organisation/name, or a bare name.
	Model string

	// Kind of what Model names: hub.Model or hub.Dataset. It defaults to hub.Model.
	Kind hub.Kind

	// Files selects the files of the source; all of them by default.
	Files file.Filter

	// Revision of a Hub's model is a branch, tag or commit, which the run resolves to a
	// commit once, at its start. That of files is the one that they must have still;
	// empty for whatever they have.
	Revision string

	// TokenFile is a file with a token for the Hub, which is read again when it changes;
	// empty for none.
	TokenFile string

	// TokenHostsFile is a file with the hosts that the token may be sent to, one a line;
	// empty for any.
	TokenHostsFile string

	// Identity is exchanged for tokens of the Hub; nil for none. It is ignored if there
	// is a TokenFile.
	Identity *Identity

	// CAFile is a PEM file of certificate authorities to trust for the source's servers,
	// in addition to the public ones; empty for none.
	CAFile string

	// CA has authorities of the same kind, in PEM form, for a program that has no file of
	// them; empty for none.
	CA []byte

	// Transport returns what makes the requests for a bucket by another transport, for a
	// program that bounds all of its requests; nil to use that as it is.
	Transport func(next http.RoundTripper) http.RoundTripper

	// Confined has the servers of a bucket be at public addresses, or also in private networks
	// if Private is set, for a program that is not in the network of who names them.
	Confined, Private bool

	// Issued is called with each short-lived credential that a bucket's cloud issues to
	// the run, before it is used, so that no log shows it; nil for none.
	Issued func(secret string)
}

// IsHub reports whether the source is a model or a dataset on a Hub.
func (s Source) IsHub() bool {
	return s.Artifact == nil && s.S3 == nil && s.GCS == nil && s.AzureBlob == nil && s.Volume == nil && s.HTTP == nil
}

// An Identity is who a run is by a token of the cluster's issuer, which a Hub exchanges
// for tokens of its own.
type Identity struct {
	// File has the issuer's token, which is renewed there.
	File string

	// Resource that the Hub's token is for.
	Resource string

	// Issued is called with each token of the Hub, before it is used, so that no log
	// shows it; nil for none.
	Issued func(token string)
}

// An ArtifactSource is an artifact in a registry.
type ArtifactSource struct {
	// Reference of the artifact: registry/repository@digest, or
	// registry/repository:tag.
	Reference string

	// PlainHTTP disables TLS for the registry.
	PlainHTTP bool

	// DockerConfig is the folder that holds a config.json with the registry's
	// credentials; empty for none.
	DockerConfig string

	// Identity has the account at the registry in place of DockerConfig; nil for none.
	Identity identity.Source

	// CAFile is a PEM file of certificate authorities to trust for the registry, in
	// addition to the public ones; empty for none.
	CAFile string

	// CertificateFile and KeyFile are PEM files of a client certificate for the
	// registry and of its key; both empty for none.
	CertificateFile, KeyFile string

	// Verify says who must have signed the artifact; nil if no signature is required.
	Verify *verify.Options

	// CopyReferrers copies the artifact's signatures, attestations and bills of
	// materials with it. Then it must be copied with its digest.
	CopyReferrers bool
}

// A Target is a repository in a registry, and the run's own tags there. A run
// reads and writes no other tag, and deletes nothing.
type Target struct {
	// Registry is a host, with its port if that is not the default one.
	Registry string

	// Repository in the registry.
	Repository string

	// StagingTag is the tag under which the run stages its manifest. It must be
	// unique to the Artifact and the run hash: whatever it points to at first is
	// treated as staged by an earlier try.
	StagingTag string

	// CheckpointTag is the tag of the run's checkpoint; empty for none.
	CheckpointTag string

	// PlainHTTP disables TLS for the registry.
	PlainHTTP bool

	// DockerConfig is the folder that holds a config.json with the registry's
	// credentials (https://docs.docker.com/reference/cli/docker/login); empty
	// for none.
	DockerConfig string

	// Identity has the account at the registry in place of DockerConfig; nil for none.
	Identity identity.Source

	// CAFile is a PEM file of certificate authorities to trust for the registry, in
	// addition to the public ones; empty for none.
	CAFile string

	// CertificateFile and KeyFile are PEM files of a client certificate for the
	// registry and of its key; both empty for none.
	CertificateFile, KeyFile string
}

// Reference returns the name of what the run stages, as registry/repository:tag.
func (t Target) Reference() string {
	return t.Registry + "/" + t.Repository + ":" + t.StagingTag
}

// Parallel is what a run may transfer side by side. The zero value leaves the choice to
// the run.
type Parallel struct {
	// Layers that are transferred side by side at most, 1 to MaxParallelLayers; 0 for as
	// many as make the run faster.
	Layers int

	// Buffer is how many bytes the buffers of a run may take at most, as memory.Budget
	// bounds it; 0 for the default.
	Buffer int64
}

// Bounds of what a run is asked for, which the API has, too.
const (
	MaxParallelLayers = 64
	MinBuffer         = 16 << 20
)

// Check returns an error if a value is out of its bounds.
func (p Parallel) Check() error {
	switch {
	case p.Layers < 0 || p.Layers > MaxParallelLayers:
		return errors.Errorf("cannot transfer %d layers side by side: write 1 to %d, or 0 for the run's choice", p.Layers, MaxParallelLayers)
	case p.Buffer != 0 && p.Buffer < MinBuffer:
		return errors.Errorf("cannot use buffers of %d bytes: write %d at least, or 0 for the default", p.Buffer, MinBuffer)
	}
	return nil
}

// A Run is what a worker has to do.
type Run struct {
	Source Source
	Target Target

	// Format of the artifact: FormatModelPack, FormatModelKit or FormatImage.
	Format string

	// Annotations of the artifact's manifest, beside those that describe the source,
	// which win. Only Stream sets them.
	Annotations map[string]string

	// MountFrom names artifacts in other repositories of the target's registry,
	// as repository@digest, that may have the same blobs. Those are mounted from
	// there instead of being moved, if the registry supports it. Only the first few
	// artifacts are read.
	MountFrom []string

	// Policies that must allow what is packaged.
	Policies policy.Set

	// VerifiedFiles is the digest of the list of files that an earlier run of the Artifact
	// has pushed to the target's repository, as its result told; empty for none. What the
	// registry has of these files Stream does not read back to verify it again.
	VerifiedFiles string

	// Share is what this run transfers, if several Pods share it. Kit cannot.
	Share Share

	// Parallel is what Stream may transfer side by side. Kit ignores it.
	Parallel Parallel

	// Workspace is the folder that Kit works in. Stream needs none.
	Workspace string

	// Log receives lines for people; nil for none.
	Log io.Writer

	// Meter counts the progress of the run; nil for none.
	Meter *Meter
}

// A Pipeline moves a model from its source to its target.
type Pipeline interface {
	// Run returns the result of the run once the artifact is staged: all of its
	// content is in the repository, verified. Its errors are or wrap an
	// outcome.Error where the cause is known. It honours the context.
	Run(ctx context.Context, run Run) (outcome.Result, error)
}
