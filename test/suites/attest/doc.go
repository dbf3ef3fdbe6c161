// Package attest holds what the provider signs against the real cosign, which is built
// from its module: by key and by identity, from referrers and from legacy tags, in a registry with a
// referrers API and in one without.
package attest
