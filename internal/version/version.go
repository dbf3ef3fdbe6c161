// Package version says which build of the provider this is.
package version

// Version of this build, set by the linker
// (-X github.com/crossplane-contrib/provider-kitops/internal/version.Version).
var Version = "v0.0.0-dev"

// Image is the provider's published image of this version, which holds the
// worker too.
func Image() string {
	return "xpkg.crossplane.io/crossplane-contrib/provider-kitops:" + Version
}

// UserAgent is how the programs call themselves to a Hub and a registry.
func UserAgent() string { return "provider-kitops/" + Version }
