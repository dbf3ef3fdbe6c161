package identity

import (
	"regexp"
	"strings"
)

// A cloud has registries.
type cloud int

// Clouds. The zero value is none of them.
const (
	_ cloud = iota
	aws
	google
	azure
)

// A cloudRegistry is a registry of a cloud.
type cloudRegistry struct {
	cloud cloud
	host  string

	// region and domain of a private ECR; fips for one with validated cryptography.
	region, domain string
	fips           bool
}

var (
	// privateECR matches https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
	// and https://docs.aws.amazon.com/general/latest/gr/ecr.html.
	privateECR = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(-fips)?\.([a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2})\.(amazonaws\.com(?:\.cn)?)$`)

	// artifactRegistry matches https://cloud.google.com/artifact-registry/docs/docker/names
	// and the gcr.io hosts that Artifact Registry serves.
	artifactRegistry = regexp.MustCompile(`^(?:[a-z0-9]+(?:-[a-z0-9]+)*-docker\.pkg\.dev|(?:(?:us|eu|asia)\.)?gcr\.io)$`)

	// containerRegistry matches the login servers of Azure Container Registry, with the
	// label that a registry may have after its name.
	containerRegistry = regexp.MustCompile(`^[a-z0-9]{5,50}(?:-[a-z0-9]{1,40})?\.azurecr\.(?:io|cn|us)$`)
)

// publicECR is the host of Amazon ECR Public.
const publicECR = "public.ecr.aws"

// registryAt returns the registry at a host.
func registryAt(host string) cloudRegistry {
	host = strings.ToLower(host)
	r := cloudRegistry{host: host}
	if m := privateECR.FindStringSubmatch(host); m != nil {
		r.cloud, r.fips, r.region, r.domain = aws, m[1] != "", m[2], m[3]
		return r
	}
	switch {
	case host == publicECR:
		r.cloud = aws
	case artifactRegistry.MatchString(host):
		r.cloud = google
	case containerRegistry.MatchString(host):
		r.cloud = azure
	}
	return r
}

// Names of clouds, as CloudOf returns them.
const (
	AWS    = "aws"
	Google = "google"
	Azure  = "azure"
)

// CloudOf returns the name of the cloud of the registry at a host; empty for none.
func CloudOf(host string) string {
	return map[cloud]string{aws: AWS, google: Google, azure: Azure}[registryAt(host).cloud]
}
