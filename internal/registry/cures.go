package registry

import (
	"cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// Cures say in messages what the user is to do, in words for where the
// client's settings come from. Each is an imperative without a full stop.
type Cures struct {
	// NoCredentials is for a registry that wants some where there are none.
	NoCredentials string

	// Credentials is for credentials that the registry refuses.
	Credentials string

	// Authority is for a certificate that nobody trusted has signed, and
	// NoAuthority for a file of authorities that holds none, or for a client
	// certificate that is none.
	Authority, NoAuthority string

	// Certificate is for a registry that wants another client certificate, or
	// one at all.
	Certificate string

	// Host is for a certificate of another host.
	Host string

	// PlainHTTP is for a registry that speaks no TLS.
	PlainHTTP string
}

// providerCures are in terms of a ProviderConfig.
var providerCures = Cures{ //nolint:gosec // It says where credentials are, and holds none.
	NoCredentials: "name a Secret of type kubernetes.io/dockerconfigjson in the ProviderConfig's registry.credentials",
	Credentials:   "check the ProviderConfig's credentials Secret",
	Authority:     "put that authority's ca.crt into the Secret that registry.certSecretRef names",
	NoAuthority:   "correct the Secret that registry.certSecretRef names",
	Certificate:   "put tls.crt and tls.key of one that it takes into the Secret that registry.certSecretRef names",
	Host:          "correct registry.host",
	PlainHTTP:     "set registry.plainHTTP if that is meant",
}

// of returns the cure of what lasts until somebody acts.
func (c Cures) of(why connection.Cause) string {
	switch why {
	case connection.UnknownAuthority:
		return c.Authority
	case connection.NoCertificate:
		return cmp.Or(c.Certificate, "ask who runs it")
	case connection.WrongHost:
		return c.Host
	case connection.NoTLS:
		return c.PlainHTTP
	case connection.Blocked:
		return "have its token realm, redirects and upload locations name public hosts, or hosts in a network of its own kind"
	default:
		return "renew it, or check this machine's clock"
	}
}
