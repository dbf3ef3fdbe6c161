package registry

import (
	"regexp"
	"strings"
)

// wholeUpTo is the size up to which a blob goes in one request to any registry:
// sending it again costs less than the further request that resuming takes.
const wholeUpTo = 4 * mib

// wholeHosts are the registries that an upload cannot go on at, by what is said
// of them. They take a blob in one request, as containerd and oras push it. Of
// others it is found out.
var wholeHosts = []struct {
	hosts  *regexp.Regexp
	source string
}{
	{
		// A PATCH of more than 4 MiB is refused with 416.
		hosts:  regexp.MustCompile(`^ghcr\.io$`),
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

// takesWhole says whether the registry at a host is known to take blobs in one
// request only.
func takesWhole(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	for _, w := range wholeHosts {
		if w.hosts.MatchString(host) {
			return true
		}
	}
	return false
}
