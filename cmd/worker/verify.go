package main

import (
	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
)

// verifyFlags hold the flags that say who must have signed an artifact.
type verifyFlags struct {
	options verify.Options

	// Each of issuers is of the identity at the same place.
	issuers, identities []string
}

// verifyFlagsOf adds these flags to a command, with a prefix. Errors name a field.
func verifyFlagsOf(c *kingpin.CmdClause, prefix, field string) *verifyFlags {
	f := &verifyFlags{options: verify.Options{Field: field}}
	c.Flag(prefix+"verify-issuer", "Issuer of the identity that must have signed the artifact: exact, or a regular expression from ^ to $. One for each identity.").StringsVar(&f.issuers)
	c.Flag(prefix+"verify-identity", "Identity that must have signed the artifact: an e-mail address or a URI, exact, or a regular expression from ^ to $. May be repeated; one of them is enough.").StringsVar(&f.identities)
	c.Flag(prefix+"trusted-root", "File trusted_root.json of the Sigstore that identities are verified by.").StringVar(&f.options.TrustedRootFile)
	c.Flag(prefix+"verify-predicate-type", "Type of the attestation that is required, such as https://slsa.dev/provenance/v1; any signature by default.").StringVar(&f.options.PredicateType)
	return f
}

// validate returns an error unless each identity has an issuer.
func (f *verifyFlags) validate() error {
	if len(f.issuers) != len(f.identities) {
		return errors.New("each identity has one issuer: write as many --verify-issuer as --verify-identity")
	}
	return nil
}

// value returns who must have signed; nil if no signature is required.
func (f *verifyFlags) value() *verify.Options {
	o := f.options
	if o.Keys == "" && len(o.KeyFiles)+len(f.identities) == 0 && o.PredicateType == "" && o.TrustedRootFile == "" {
		return nil
	}
	for i, subject := range f.identities {
		o.Identities = append(o.Identities, keyless.Identity{Issuer: f.issuers[i], Subject: subject})
	}
	return &o
}
