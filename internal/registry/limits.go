package registry

import (
	"regexp"
	"strings"
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
