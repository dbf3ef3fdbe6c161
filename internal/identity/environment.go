package identity

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Variables of the environment that tell a workload its identity. Admission webhooks of the
// clouds set them, or the administrator.
const (
	// https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html
	envRoleARN     = "AWS_ROLE_ARN"
	envRoleToken   = "AWS_WEB_IDENTITY_TOKEN_FILE" //nolint:gosec // A name.
	envRoleSession = "AWS_ROLE_SESSION_NAME"
	envRegion      = "AWS_REGION"

	// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
	envPodIdentity      = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	envPodIdentityToken = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // A name.

	// https://cloud.google.com/docs/authentication/application-default-credentials
	envGoogleConfig   = "GOOGLE_APPLICATION_CREDENTIALS"
	envGoogleMetadata = "GCE_METADATA_HOST"

	// https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html
	envAzureClient    = "AZURE_CLIENT_ID"
	envAzureTenant    = "AZURE_TENANT_ID"
	envAzureToken     = "AZURE_FEDERATED_TOKEN_FILE"
	envAzureAuthority = "AZURE_AUTHORITY_HOST"
)

var variables = []string{
	envRoleARN, envRoleToken, envRoleSession, envRegion, envPodIdentity, envPodIdentityToken,
	envGoogleConfig, envGoogleMetadata, envAzureClient, envAzureTenant, envAzureToken, envAzureAuthority,
}

// An Environment has what the environment of a process says about its identity. New
// validates what is for the registry's cloud.
type Environment struct{ values map[string]string }

// ReadEnvironment reads the environment once, by a function such as os.Getenv.
func ReadEnvironment(getenv func(string) string) Environment {
	e := Environment{values: map[string]string{}}
	for _, name := range variables {
		if v := connection.Trimmed(getenv(name)); v != "" {
			e.values[name] = v
		}
	}
	return e
}

// has reports whether all of these variables are set.
func (e Environment) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return e.values[n] == "" })
}

// matching returns the value of a variable. It returns an error if the value, which may be
// empty only if optional, does not match.
func (e Environment) matching(name string, pattern *regexp.Regexp, want string) (string, error) {
	v := e.values[name]
	if !pattern.MatchString(v) {
		return "", invalid(name, want)
	}
	return v, nil
}

// file returns the file that a variable names.
func (e Environment) file(name string) (*connection.MountedFile, error) {
	v := e.values[name]
	if !isFilePath(v) {
		return nil, invalid(name, "the absolute path of a mounted file")
	}
	return connection.NewMountedFile(v), nil
}

// isFilePath reports whether a value is the absolute path of a file, in its shortest form.
func isFilePath(v string) bool {
	return filepath.IsAbs(v) && filepath.Clean(v) == v && v != "/" && len(v) <= 4096 && !strings.ContainsRune(v, 0)
}

// invalid returns the error of a variable that holds something else than it must.
func invalid(name, want string) error {
	return outcome.Errorf(outcome.ConfigInvalid, "the environment variable %s does not hold %s: check what sets it, such as the service account's annotations", name, want)
}
