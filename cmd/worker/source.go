package main

import (
	"cmp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A sourceFlags holds the flags of a run's source.
type sourceFlags struct {
	source pipeline.Source

	// Of these, exactly one must be set.
	model, dataset string
	artifact       pipeline.ArtifactSource
	identity       pipeline.Identity
	verify         *verifyFlags
	cloudIdentity  bool // For the source's registry, or for its bucket.
	folder         folderFlags
}

// sourceFlagsOf adds a source's flags to a command, and validates that they name one
// source.
func sourceFlagsOf(run *kingpin.CmdClause) *sourceFlags {
	f := &sourceFlags{}
	run.Flag("hub-endpoint", "Address of the Hugging Face Hub.").StringVar(&f.source.Endpoint)
	run.Flag("hub-ca-file", "Certificate authorities to trust for the Hub, in addition to the public ones.").StringVar(&f.source.CAFile)
	run.Flag("hub-token-file", "File with a token for the Hub. It is read again when it changes.").StringVar(&f.source.TokenFile)
	run.Flag("hub-token-hosts-file", "File with the hosts that the token may be sent to, one host[:port] a line; any without it.").StringVar(&f.source.TokenHostsFile)
	run.Flag("hub-identity-file", "File with a token of the cluster's issuer, which the Hub exchanges for one of its own.").StringVar(&f.identity.File)
	run.Flag("hub-identity-resource", "What the Hub's token is for: the name of a user, or a repository.").StringVar(&f.identity.Resource)
	run.Flag("model", "Model on the Hub: organisation/name. One source is required.").StringVar(&f.model)
	run.Flag("dataset", "Dataset on the Hub: organisation/name.").StringVar(&f.dataset)
	run.Flag("revision", "Branch, tag or commit of the model or the dataset, main by default; or the revision that the source's files must have.").StringVar(&f.source.Revision)
	run.Flag("include", "Pattern of files to include; all of them by default. May be repeated.").StringsVar(&f.source.Files.Include)
	run.Flag("exclude", "Pattern of files to exclude. May be repeated.").StringsVar(&f.source.Files.Exclude)
	run.Flag("source-artifact", "Artifact in a registry: registry/repository@digest, or :tag.").StringVar(&f.artifact.Reference)
	run.Flag("source-plain-http", "Use no TLS for the source's registry.").BoolVar(&f.artifact.PlainHTTP)
	run.Flag("source-docker-config", "Folder with a config.json that holds the credentials of the source's registry.").StringVar(&f.artifact.DockerConfig)
	run.Flag("source-identity", "Use the identity that the cloud of the source's registry or bucket gives to this Pod's service account.").BoolVar(&f.cloudIdentity)
	run.Flag("source-ca-file", "Certificate authorities to trust for the source's registry or server, in addition to the public ones.").StringVar(&f.artifact.CAFile)
	run.Flag("source-cert-file", "Client certificate for the source's registry.").StringVar(&f.artifact.CertificateFile)
	run.Flag("source-key-file", "Private key of that certificate.").StringVar(&f.artifact.KeyFile)
	run.Flag("source-copy-referrers", "Copy the artifact's signatures, attestations and bills of materials with it.").BoolVar(&f.artifact.CopyReferrers)
	f.folder.add(run)
	f.verify = verifyFlagsOf(run, "source-", "spec.forProvider.source.oci.verify")
	run.Flag("source-verify-key", "Public keys in PEM; one of them must have signed the artifact.").StringVar(&f.verify.options.Keys)
	run.Flag("source-verify-key-file", "File with such keys. May be repeated.").StringsVar(&f.verify.options.KeyFiles)
	run.Validate(func(*kingpin.CmdClause) error { return f.validate() })
	return f
}

// validate returns an error unless the flags name exactly one source, and only what
// applies to it.
func (f *sourceFlags) validate() error {
	named := 0
	for _, name := range append(f.folder.names(), f.model, f.dataset, f.artifact.Reference) {
		if name != "" {
			named++
		}
	}
	files := f.source.Files
	switch {
	case named != 1:
		return errors.New("exactly one source is needed: write --model, --dataset, --source-artifact, --source-s3-bucket, --source-gcs-bucket, --source-azure-container, --source-volume or --source-http-item")
	case (f.identity.File == "") != (f.identity.Resource == ""):
		return errors.New("an identity is a token and what it is for: write --hub-identity-file and --hub-identity-resource")
	case f.artifact.Reference != "" && len(files.Include)+len(files.Exclude) > 0:
		return errors.New("an artifact is read as a whole: leave --include and --exclude out, or write --model or --dataset")
	}
	if err := f.folder.parse(); err != nil {
		return err
	}
	return f.verify.validate()
}

// value returns the source.
func (f *sourceFlags) value() pipeline.Source {
	if f.artifact.Reference != "" {
		f.artifact.Verify = f.verify.value()
		return pipeline.Source{Artifact: &f.artifact}
	}
	s := f.source
	if f.folder.isSet() {
		f.folder.setOn(&s, f.cloudIdentity)
		s.CAFile = f.artifact.CAFile
		return s
	}
	if f.identity.File != "" {
		s.Identity = &f.identity
	}
	s.Revision = cmp.Or(s.Revision, "main")
	s.Model, s.Kind = f.model, hub.Model
	if f.dataset != "" {
		s.Model, s.Kind = f.dataset, hub.Dataset
	}
	return s
}
