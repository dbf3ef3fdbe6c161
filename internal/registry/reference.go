package registry

import (
	"cmp"
	"strings"

	"github.com/opencontainers/go-digest"
	oras "oras.land/oras-go/v2/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Reference names an artifact in a registry.
type Reference struct {
	// Registry is its host, with a port where it needs one. An IPv6 address is in
	// brackets.
	Registry string

	// Repository in the registry.
	Repository string

	// Tag of the artifact; empty if there is a digest alone.
	Tag string

	// Digest of the artifact's manifest; empty if there is a tag alone.
	Digest digest.Digest
}

// ParseReference reads registry/repository@digest, registry/repository:tag, or
// both together, of which the digest holds. An artifact is never guessed: there
// is neither a default registry nor a default tag. What is no reference is an
// error with reason Unsupported.
func ParseReference(s string) (Reference, error) {
	name, d, pinned := strings.Cut(s, "@")
	host, rest, _ := strings.Cut(name, "/")
	repository, tag, tagged := strings.Cut(rest, ":")
	r := Reference{Registry: host, Repository: repository, Tag: tag, Digest: digest.Digest(d)}
	valid := oras.Reference{Registry: host, Repository: repository}
	switch {
	case host == "", strings.Count(host, ":") > 1 && host[0] != '[', valid.ValidateRegistry() != nil, valid.ValidateRepository() != nil, !pinned && !tagged:
		return Reference{}, badReference(s)
	case pinned && r.Digest.Validate() != nil:
		return Reference{}, badReference(s)
	case tagged && (oras.Reference{Registry: host, Repository: repository, Reference: tag}).ValidateReferenceAsTag() != nil:
		return Reference{}, badReference(s)
	}
	return r, nil
}

func badReference(s string) error {
	return outcome.Errorf(outcome.Unsupported,
		"%q names no artifact: write registry/repository@sha256:..., as an Artifact's status.atProvider.pinnedReference, or registry/repository:tag", s)
}

// Name is the name to request: the digest if there is one, else the tag.
func (r Reference) Name() string { return cmp.Or(r.Digest.String(), r.Tag) }

// String returns the reference with the name to request.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.Registry + "/" + r.Repository + "@" + r.Digest.String()
	}
	return r.Registry + "/" + r.Repository + ":" + r.Tag
}

// CanonicalHost returns one name for all names of a registry's host: in lower
// case, without a port that is a default one, and docker.io for Docker Hub. Two
// hosts with the same one are the same registry. (A registry that listens on 80
// and on 443 is one, too.)
func CanonicalHost(host string) string {
	host = strings.ToLower(host)
	for _, port := range []string{":443", ":80"} {
		host = strings.TrimSuffix(host, port)
	}
	switch host = strings.TrimSuffix(host, "."); host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "docker.io"
	default:
		return host
	}
}
