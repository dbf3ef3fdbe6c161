package identity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Workloads are ways in which a Pod has an identity: the host of a registry that it is for,
// and what is in its environment, with the files that are mounted.
var Workloads = map[string]func(t testing.TB, c *Clouds) (host string, environment map[string]string){
	"IRSA": func(t testing.TB, c *Clouds) (string, map[string]string) {
		return PrivateECR, map[string]string{"AWS_ROLE_ARN": RoleARN, "AWS_WEB_IDENTITY_TOKEN_FILE": c.mount(t, AudienceAWS)}
	},
	"PodIdentity": func(t testing.TB, c *Clouds) (string, map[string]string) {
		return PrivateECR, map[string]string{
			"AWS_CONTAINER_CREDENTIALS_FULL_URI":     "http://" + PodIdentityHost + "/v1/credentials",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": c.mount(t, AudiencePod),
		}
	},
	"Metadata": func(testing.TB, *Clouds) (string, map[string]string) { return ArtifactRegistry, nil },
	"ExternalAccount": func(t testing.TB, c *Clouds) (string, map[string]string) {
		config, err := json.Marshal(map[string]any{ //nolint:gosec // Where tokens come from, and none.
			"type": "external_account", "audience": GoogleAudience, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
			"token_url": "https://" + GoogleSTSHost + "/v1/token", "service_account_impersonation_url": ImpersonationURL,
			"credential_source": map[string]any{"file": c.mount(t, AudienceGoogle)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return ArtifactRegistry, map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": file(t, string(config))}
	},
	"Azure": func(t testing.TB, c *Clouds) (string, map[string]string) {
		return ContainerRegistry, map[string]string{
			"AZURE_CLIENT_ID": ClientID, "AZURE_TENANT_ID": TenantID, "AZURE_FEDERATED_TOKEN_FILE": c.mount(t, AudienceAzure),
		}
	},
}

// mount returns a file with the workload's token for an audience.
func (c *Clouds) mount(t testing.TB, audience string) string {
	t.Helper()
	return file(t, c.Issuer.Token(c.Subject, audience, c.Now().Add(30*24*time.Hour)))
}

// file returns a file with some content.
func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
