// Package version identifies this build of the provider.
package version

// Version of this build, set by the linker
// (-X github.com/crossplane-contrib/provider-kitops/internal/version.Version).
var Version = "v0.0.0-dev"

// Image returns the published image of this version, which contains the provider and
// the worker.
func Image() string {
	return "xpkg.crossplane.io/crossplane-contrib/provider-kitops:" + Version
}

// UserAgent returns the user agent of requests to Hubs and registries.
func UserAgent() string { return "provider-kitops/" + Version }
