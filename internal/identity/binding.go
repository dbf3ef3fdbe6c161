package identity

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// KeyHost is the key of a Secret that lists the hosts that its credentials may be sent to,
// one host[:port] a line. Who may only name a Secret must not decide who gets it.
const KeyHost = "host"

// azureBlobHost matches the hosts of accounts in Azure's clouds
// (https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints).
var azureBlobHost = regexp.MustCompile(`^([a-z0-9]{3,24})(-secondary)?\.blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)$`)

// googleStorageHost matches the hosts of Google Cloud Storage
// (https://cloud.google.com/storage/docs/request-endpoints and
// https://cloud.google.com/storage/docs/regional-endpoints). Other hosts of googleapis.com, such as private ones below
// p.googleapis.com, may be anybody's service.
var googleStorageHost = regexp.MustCompile(`^(([a-z0-9_.-]+\.)?storage\.googleapis\.com|storage\.[a-z0-9-]+\.rep\.googleapis\.com)$`)

// IsGoogle reports whether an endpoint is one of Google Cloud Storage, with TLS; so is an empty one.
func IsGoogle(endpoint string) bool {
	if endpoint == "" {
		return true
	}
	u, err := url.Parse(endpoint)
	return err == nil && u.Scheme == "https" && googleStorageHost.MatchString(plainHost(u.Host))
}

// IsAzureBlob reports whether an endpoint is a storage account's own in one of Azure's
// clouds, with TLS; so is an empty one.
func IsAzureBlob(endpoint, account string) bool {
	if endpoint == "" {
		return true
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" {
		return false
	}
	m := azureBlobHost.FindStringSubmatch(strings.ToLower(u.Host))
	return m != nil && m[1] == account
}

// HostOf returns the host of a URL, with its port unless that is the default one of TLS. It
// is what KeyHost must list: without TLS that is a port, too, since whoever has port 80 of a
// host need not be who has port 443.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.Scheme == "http" && u.Port() == "" && u.Host != "" {
		return strings.ToLower(u.Host) + ":80"
	}
	return plainHost(u.Host)
}

// CheckHost returns an error with reason NotAllowed unless a Secret's KeyHost lists a host.
// The error names the Secret as what says.
func CheckHost(what, listed, host string) error {
	lists := slices.ContainsFunc(strings.Split(listed, "\n"), func(line string) bool { return plainHost(strings.TrimSpace(line)) == host })
	if lists && host != "" {
		return nil
	}
	return outcome.Errorf(outcome.NotAllowed, "%s is not for %s: if its credentials may be sent there, add the line %s to its key %s", what, host, host, KeyHost)
}

// plainHost returns a host as it is compared.
func plainHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }
