package registry

import (
	"regexp"
	"time"
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
