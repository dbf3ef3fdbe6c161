package registry

import (
	"regexp"
	"strings"
	"time"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// layerLimits are the largest layers that registries say they take. One that
// says nothing is not here: a refusal must be right.
var layerLimits = []struct {
	hosts  *regexp.Regexp
	bytes  int64
	source string
}{
	{
		hosts: regexp.MustCompile(`^ghcr\.io$`),
		// GitHub writes 10 GB; what is between that and this may be taken.
		bytes:  10 * gib,
		source: "https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry",
	},
	{
		// By region, also in China and in governments' partitions, with FIPS
		// and over IPv6.
		hosts:  regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`),
		bytes:  52_000 * mib,
		source: "https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html",
	},
	{
		hosts:  regexp.MustCompile(`^(public\.ecr\.aws|ecr-public\.aws\.com)$`),
		bytes:  10_000 * mib,
		source: "https://docs.aws.amazon.com/AmazonECR/latest/public/public-service-quotas.html",
	},
	{
		// Also in China, of the US government, and of Germany once.
		hosts:  regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)?\.azurecr\.(io|cn|us|de)$`),
		bytes:  200 * gib,
		source: "https://learn.microsoft.com/en-us/azure/container-registry/container-registry-skus",
	},
}

// LayerLimit returns the bytes that a layer has at most in the registry at a
// host, and the URL where the registry says so. It knows those few well-known
// registries that say it.
func LayerLimit(host string) (bytes int64, source string, ok bool) {
	// Port 443 is the one that they are at.
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	for _, l := range layerLimits {
		if l.hosts.MatchString(host) {
			return l.bytes, l.source, true
		}
	}
	return 0, "", false
}

// wholeUpTo is the size up to which a blob goes in one request to any registry:
// sending it again costs less than the further request that resuming takes.
const wholeUpTo = 4 * mib

// wholeHosts are the registries that an upload cannot go on at, by what is said
// of them. They take a blob in one request, as containerd and oras push it. Of
// others it is found out.
var wholeHosts = []struct {
	hosts  *regexp.Regexp
	source string
	within time.Duration // How long an upload may take; 0 where nothing is known.
}{
	{
		// A PATCH of more than 4 MiB is refused with 416. The time is from
		// https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry.
		hosts:  regexp.MustCompile(`^ghcr\.io$`),
		within: 10 * time.Minute,
		source: "https://github.com/oras-project/rust-oci-client/issues/35",
	},
	{
		// "You must use monolithic uploads".
		hosts:  regexp.MustCompile(`^(.+\.pkg\.dev|(.+\.)?gcr\.io)$`),
		source: "https://cloud.google.com/artifact-registry/docs/reference/docker-api",
	},
	{
		// What it says that it has of an upload is not what it has.
		hosts:  regexp.MustCompile(`^([0-9]{12}\.dkr[.-]ecr(-fips)?\..+|public\.ecr\.aws|ecr-public\.aws\.com)$`),
		source: "https://github.com/aws/containers-roadmap/issues/2831",
	},
}

// takesWhole reports whether the registry at a host is known to take blobs in one
// request only.
func takesWhole(host string) bool {
	host = bareHost(host, "https")
	for _, w := range wholeHosts {
		if w.hosts.MatchString(host) {
			return true
		}
	}
	return false
}

// UploadTime returns how long the registry at a host lets the upload of a blob
// take; 0 where that is not known. Uploads side by side share what the connection
// carries, so that each of them takes longer.
func UploadTime(host string) time.Duration {
	host = bareHost(host, "https")
	for _, w := range wholeHosts {
		if w.hosts.MatchString(host) {
			return w.within
		}
	}
	return 0
}
