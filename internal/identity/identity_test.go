package identity

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/identity"
)

const workload = "system:serviceaccount:kitops-runs:models"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A world is the clouds, a workload in a cluster and its environment.
type world struct {
	*fake.Clouds

	t      *testing.T
	issuer *fake.Issuer
	dir    string
	env    map[string]string

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, issuer: fake.NewIssuer("https://oidc.example.com/cluster"), dir: t.TempDir(), env: map[string]string{}, now: start}
	w.Clouds = fake.New(w.issuer, workload, w.time)
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// file writes a file and returns its path.
func (w *world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// token is the workload's, for an audience.
func (w *world) token(audience string) string {
	return w.issuer.Token(workload, audience, w.time().Add(30*24*time.Hour))
}

// irsa, pod, gke, federated and azure give the workload an identity of a cloud.
func (w *world) irsa() {
	w.env["AWS_ROLE_ARN"], w.env["AWS_WEB_IDENTITY_TOKEN_FILE"] = fake.RoleARN, w.file("aws", w.token(fake.AudienceAWS))
}

func (w *world) pod() {
	w.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v1/credentials"
	w.env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = w.file("pod", w.token(fake.AudiencePod))
}

// external returns the configuration of a federated workload.
func (w *world) external(change func(c map[string]any)) []byte {
	c := map[string]any{
		"type": "external_account", "audience": fake.GoogleAudience, "subject_token_type": typeJWT, "token_url": googleSTS,
		"credential_source": map[string]any{"file": w.file("google", w.token(fake.AudienceGoogle)+"\n")},
	}
	change(c)
	b, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) externalAccount(change func(c map[string]any)) {
	w.env["GOOGLE_APPLICATION_CREDENTIALS"] = w.file("credentials.json", string(w.external(change)))
}

func (w *world) federated() { w.externalAccount(func(map[string]any) {}) }

func (w *world) impersonating() {
	w.externalAccount(func(c map[string]any) { c["service_account_impersonation_url"] = fake.ImpersonationURL })
}

func (w *world) azure() {
	w.env["AZURE_CLIENT_ID"], w.env["AZURE_TENANT_ID"] = fake.ClientID, fake.TenantID
	w.env["AZURE_FEDERATED_TOKEN_FILE"] = w.file("azure", w.token(fake.AudienceAzure))
	w.env["AZURE_AUTHORITY_HOST"] = "https://login.microsoftonline.com/"
}

// source returns the identity's account at a registry.
func (w *world) source(host string) (Source, error) {
	return New(host, ReadEnvironment(func(name string) string { return w.env[name] }),
		Options{UserAgent: "test", Now: w.time, Transport: w.Clouds})
}

// cases of registries, and of what gives a workload an identity.
var identities = map[string]struct {
	host, username string
	give           func(w *world)
	asks           []string // Hosts that each renewal asks once.
}{
	"IRSA":          {fake.PrivateECR, "AWS", (*world).irsa, []string{fake.STSHost, fake.ECRHost}},
	"PublicECR":     {fake.PublicECR, "AWS", (*world).irsa, []string{fake.STSPublicHost, fake.ECRPublicHost}},
	"PodIdentity":   {fake.PrivateECR, "AWS", (*world).pod, []string{fake.PodIdentityHost, fake.ECRHost}},
	"Metadata":      {fake.ArtifactRegistry, "oauth2accesstoken", func(*world) {}, []string{fake.MetadataHost}},
	"Federated":     {fake.ArtifactRegistry, "oauth2accesstoken", (*world).federated, []string{fake.GoogleSTSHost}},
	"Impersonating": {fake.ArtifactRegistry, "oauth2accesstoken", (*world).impersonating, []string{fake.GoogleSTSHost, fake.ImpersonateHost}},
	"Azure":         {fake.ContainerRegistry, "00000000-0000-0000-0000-000000000000", (*world).azure, []string{fake.EntraHost, fake.ContainerRegistry}},
}

// TestToken has each identity get a password, keep it, and renew it before it ends, also
// from a file whose token has changed.
func TestToken(t *testing.T) {
	for name, tc := range identities {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.give(w)
			s, err := w.source(tc.host)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for i := range 50 {
				user, password, expires, err := s.Token(t.Context())
				if err != nil {
					t.Fatalf("Token(...) at %s: %v", w.time(), err)
				}
				if user != tc.username || !w.Accepts(password) || !w.time().Before(expires) {
					t.Fatalf("Token(...) at %s: want an account that the registry accepts, got %q until %s", w.time(), user, expires)
				}
				seen[password] = true
				w.pass(10 * time.Minute)
				if i == 25 {
					tc.give(w) // The kubelet renews the workload's token, too.
				}
			}
			// 50 steps of ten minutes with passwords of an hour, of which at least 53 minutes are used.
			if len(seen) < 8 || len(seen) > 11 {
				t.Errorf("want a password to be kept for most of its life, got %d in 500 minutes", len(seen))
			}
			for _, host := range tc.asks {
				if got := w.Requests(host); got != len(seen) {
					t.Errorf("want %s asked once for each of %d passwords, got %d times", host, len(seen), got)
				}
			}
		})
	}
}

// TestRefused has clouds refuse what is expired, foreign or otherwise wrong.
func TestRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		host   string
		give   func(w *world)
		want   outcome.Reason
		says   string
	}{
		"ExpiredAWS": {
			reason: "STS refuses the token of a service account that has expired.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "InvalidIdentityToken",
			give: func(w *world) { w.irsa(); w.pass(31 * 24 * time.Hour) },
		},
		"ForeignAWS": {
			reason: "STS refuses the token of another service account.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "InvalidIdentityToken",
			give: func(w *world) {
				w.irsa()
				w.file("aws", w.issuer.Token("system:serviceaccount:tenant:models", fake.AudienceAWS, start.Add(time.Hour)))
			},
		},
		"OtherIssuerAWS": {
			reason: "STS refuses a token that another issuer has signed.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "InvalidIdentityToken",
			give: func(w *world) {
				w.irsa()
				w.file("aws", fake.NewIssuer(w.issuer.URL).Token(workload, fake.AudienceAWS, start.Add(time.Hour)))
			},
		},
		"OtherAudienceAWS": {
			reason: "STS refuses a token for another audience.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "eks.amazonaws.com/role-arn",
			give: func(w *world) { w.irsa(); w.file("aws", w.token(fake.AudienceAzure)) },
		},
		"OtherRole": {
			reason: "STS refuses a role that does not trust the workload.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "AccessDenied",
			give: func(w *world) { w.irsa(); w.env["AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/other" },
		},
		"NoAssociation": {
			reason: "The Pod Identity agent refuses a token that it does not know.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "Pod Identity association",
			give: func(w *world) { w.pod(); w.file("pod", w.token("other")) },
		},
		"BadSignature": {
			reason: "ECR refuses a request that is signed with another key.",
			host:   fake.PrivateECR, want: outcome.Unauthorized, says: "InvalidSignatureException",
			give: func(w *world) {
				w.pod()
				w.Answer(fake.PodIdentityHost, func(rw http.ResponseWriter, _ *http.Request) { tamper(w.Clouds, rw) })
			},
		},
		"ForeignGoogle": {
			reason: "Google's STS refuses the token of another service account.",
			host:   fake.ArtifactRegistry, want: outcome.Unauthorized, says: "invalid_grant",
			give: func(w *world) {
				w.federated()
				w.file("google", w.issuer.Token("system:serviceaccount:tenant:models", fake.AudienceGoogle, start.Add(time.Hour)))
			},
		},
		"ExpiredGoogle": {
			reason: "Google's STS refuses a token that has expired.",
			host:   fake.ArtifactRegistry, want: outcome.Unauthorized, says: "invalid_grant",
			give: func(w *world) { w.federated(); w.pass(31 * 24 * time.Hour) },
		},
		"OtherServiceAccount": {
			reason: "A workload may not impersonate each service account.",
			host:   fake.ArtifactRegistry, want: outcome.Unauthorized, says: "PERMISSION_DENIED",
			give: func(w *world) {
				w.externalAccount(func(c map[string]any) {
					c["service_account_impersonation_url"] = strings.Replace(fake.ImpersonationURL, "models@", "other@", 1)
				})
			},
		},
		"NotGoogle": {
			reason: "What answers at the metadata server's address without its header is another cloud's.",
			host:   fake.ArtifactRegistry, want: outcome.Unsupported, says: "Workload Identity",
			give: func(w *world) {
				w.Answer(fake.MetadataHost, func(rw http.ResponseWriter, _ *http.Request) {
					_, _ = rw.Write([]byte(`{"access_token":"x","expires_in":3600}`))
				})
			},
		},
		"ExpiredAzure": {
			reason: "Entra ID refuses a token that has expired.",
			host:   fake.ContainerRegistry, want: outcome.Unauthorized, says: "AADSTS700213",
			give: func(w *world) { w.azure(); w.pass(31 * 24 * time.Hour) },
		},
		"ForeignAzure": {
			reason: "Entra ID refuses the token of another service account.",
			host:   fake.ContainerRegistry, want: outcome.Unauthorized, says: "AADSTS700213",
			give: func(w *world) {
				w.azure()
				w.file("azure", w.issuer.Token("system:serviceaccount:tenant:models", fake.AudienceAzure, start.Add(time.Hour)))
			},
		},
		"OtherClient": {
			reason: "Entra ID refuses a client that it does not know.",
			host:   fake.ContainerRegistry, want: outcome.Unauthorized, says: "AADSTS700016",
			give: func(w *world) { w.azure(); w.env["AZURE_CLIENT_ID"] = fake.TenantID },
		},
		"NoACR": {
			reason: "A registry refuses a token of Entra ID that has expired.",
			host:   fake.ContainerRegistry, want: outcome.Unauthorized, says: "AcrPush",
			give: func(w *world) { w.azure(); w.Life = -time.Second; forEntra(w) },
		},
		"Throttled": {
			reason: "A rate limit is transient.",
			host:   fake.PrivateECR, want: outcome.RateLimited, says: "ThrottlingException",
			give: func(w *world) {
				w.irsa()
				w.Answer(fake.ECRHost, func(rw http.ResponseWriter, _ *http.Request) {
					rw.WriteHeader(http.StatusBadRequest)
					_, _ = rw.Write([]byte(`{"__type":"ThrottlingException"}`))
				})
			},
		},
		"Down": {
			reason: "A service that fails is transient.",
			host:   fake.PrivateECR, want: outcome.Unavailable, says: "503",
			give: func(w *world) {
				w.irsa()
				w.Answer(fake.STSHost, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
			},
		},
		"Redirect": {
			reason: "No token follows a redirect.",
			host:   fake.ContainerRegistry, want: outcome.Unauthorized, says: "307",
			give: func(w *world) {
				w.azure()
				w.Answer(fake.EntraHost, func(rw http.ResponseWriter, r *http.Request) {
					http.Redirect(rw, r, "https://attacker.example.com", http.StatusTemporaryRedirect)
				})
			},
		},
		"Endless": {
			reason: "An answer that is too large is not read to its end.",
			host:   fake.ContainerRegistry, want: outcome.Unsupported, says: "no token that can be used",
			give: func(w *world) {
				w.azure()
				w.Answer(fake.EntraHost, func(rw http.ResponseWriter, _ *http.Request) {
					_, _ = rw.Write([]byte(`{"access_token":"` + strings.Repeat("a", 1<<20) + `"}`))
				})
			},
		},
		"Expired": {
			reason: "A password that has expired when it comes is none.",
			host:   fake.ContainerRegistry, want: outcome.Unsupported, says: "clock",
			give: func(w *world) {
				w.azure()
				w.Answer(fake.ContainerRegistry, func(rw http.ResponseWriter, _ *http.Request) {
					_, _ = rw.Write([]byte(`{"refresh_token":"a.eyJleHAiOjF9.c"}`))
				})
			},
		},
		"NoFile": {
			reason: "A token that is not mounted is the configuration's fault.",
			host:   fake.PrivateECR, want: outcome.ConfigInvalid, says: "webhook",
			give: func(w *world) { w.irsa(); w.env["AWS_WEB_IDENTITY_TOKEN_FILE"] += "-missing" },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.give(w)
			s, err := w.source(tc.host)
			if err != nil {
				t.Fatal(err)
			}
			_, password, _, err := s.Token(t.Context())
			if outcome.ReasonOf(err) != tc.want || password != "" || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("\n%s\nToken(...): want an error with reason %s that says %q, got %v", tc.reason, tc.want, tc.says, err)
			}
			if err != nil && strings.Contains(err.Error(), "eyJ") {
				t.Errorf("\n%s\nToken(...): the error has a token: %v", tc.reason, err)
			}
		})
	}
}

// tamper answers with other secrets than the Pod Identity agent issues.
func tamper(c *fake.Clouds, w http.ResponseWriter) {
	key, session := c.Role()
	_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": key, "SecretAccessKey": "other", "Token": session, "Expiration": start.Add(time.Hour).Format(time.RFC3339)})
}

// forEntra has Entra ID issue tokens that no registry accepts.
func forEntra(w *world) {
	w.Answer(fake.EntraHost, func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": "expired", "expires_in": 60})
	})
}

// TestNew refuses what is no registry of a cloud, and environments that would have a token
// sent elsewhere, or a file read that is none.
func TestNew(t *testing.T) {
	cases := map[string]struct {
		reason string
		host   string
		give   func(w *world)
		says   string // Of the error; empty for none.
	}{
		"OtherHost":    {reason: "Another registry has no identities.", host: "ghcr.io", says: "credentials.source: Secret"},
		"LookalikeECR": {reason: "A host that begins like ECR's is another's.", host: fake.PrivateECR + ".example.com", give: (*world).irsa, says: "not one of"},
		"LookalikeGAR": {reason: "A host that ends like Google's is another's.", host: "docker-pkg.dev", says: "not one of"},
		"LookalikeACR": {reason: "A host below one of Azure's is another's.", host: "a.example.azurecr.io", give: (*world).azure, says: "not one of"},
		"PortECR":      {reason: "A cloud's registry has no port.", host: fake.PrivateECR + ":8443", give: (*world).irsa, says: "not one of"},
		"UpperCase":    {reason: "The case of a host means nothing.", host: strings.ToUpper(fake.ContainerRegistry), give: (*world).azure},
		"China":        {reason: "ECR in China has another domain.", host: "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", give: (*world).irsa},
		"GCR":          {reason: "Artifact Registry serves the hosts of gcr.io.", host: "eu.gcr.io"},
		"NoAWS":        {reason: "A Pod may have no identity of AWS.", host: fake.PrivateECR, says: "has no identity of AWS"},
		"NoAzure":      {reason: "A Pod may have no identity of Azure.", host: fake.ContainerRegistry, says: "azure.workload.identity/use"},
		"BadRole":      {reason: "A role has an ARN.", host: fake.PrivateECR, give: func(w *world) { w.irsa(); w.env["AWS_ROLE_ARN"] = "models" }, says: "AWS_ROLE_ARN"},
		"RelativeFile": {reason: "A mounted file has an absolute path.", host: fake.PrivateECR, give: func(w *world) { w.irsa(); w.env["AWS_WEB_IDENTITY_TOKEN_FILE"] = "token" }, says: "AWS_WEB_IDENTITY_TOKEN_FILE"},
		"BadRegion":    {reason: "A region is no part of another host.", host: fake.PrivateECR, give: func(w *world) { w.irsa(); w.env["AWS_REGION"] = "attacker.example.com/#" }, says: "AWS_REGION"},
		"BadSession":   {reason: "A session has a name.", host: fake.PrivateECR, give: func(w *world) { w.irsa(); w.env["AWS_ROLE_SESSION_NAME"] = "a b" }, says: "AWS_ROLE_SESSION_NAME"},
		"OtherAgent": {reason: "Only the Pod Identity agent gets the Pod's token.", host: fake.PrivateECR, give: func(w *world) {
			w.pod()
			w.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.169.254/v1/credentials"
		}, says: "AWS_CONTAINER_CREDENTIALS_FULL_URI"},
		"AgentV6": {reason: "The agent has an address of IPv6, too.", host: fake.PrivateECR, give: func(w *world) {
			w.pod()
			w.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://[fd00:ec2::23]/v1/credentials"
		}},
		"OtherMetadata": {reason: "Only Google's metadata server is asked.", host: fake.ArtifactRegistry, give: func(w *world) { w.env["GCE_METADATA_HOST"] = "metadata.example.com" }, says: "GCE_METADATA_HOST"},
		"NamedMetadata": {reason: "Google's metadata server has a name.", host: fake.ArtifactRegistry, give: func(w *world) { w.env["GCE_METADATA_HOST"] = "metadata.google.internal" }},
		"OtherEntra":    {reason: "Only Entra ID gets the workload's token.", host: fake.ContainerRegistry, give: func(w *world) { w.azure(); w.env["AZURE_AUTHORITY_HOST"] = "https://login.example.com" }, says: "AZURE_AUTHORITY_HOST"},
		"PlainEntra":    {reason: "Entra ID is asked with TLS.", host: fake.ContainerRegistry, give: func(w *world) { w.azure(); w.env["AZURE_AUTHORITY_HOST"] = "http://login.microsoftonline.com" }, says: "AZURE_AUTHORITY_HOST"},
		"BadTenant":     {reason: "A tenant is one part of a path.", host: fake.ContainerRegistry, give: func(w *world) { w.azure(); w.env["AZURE_TENANT_ID"] = "a/../b" }, says: "AZURE_TENANT_ID"},
		"BadClient":     {reason: "A client has a number.", host: fake.ContainerRegistry, give: func(w *world) { w.azure(); w.env["AZURE_CLIENT_ID"] = "models" }, says: "AZURE_CLIENT_ID"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.give != nil {
				tc.give(w)
			}
			_, err := w.source(tc.host)
			switch {
			case tc.says == "":
				if err != nil {
					t.Errorf("\n%s\nNew(...): %v", tc.reason, err)
				}
			case outcome.ReasonOf(err) != outcome.ConfigInvalid || !strings.Contains(err.Error(), tc.says):
				t.Errorf("\n%s\nNew(...): want an error that says %q, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestExternalAccount refuses configurations by which a token would go elsewhere.
func TestExternalAccount(t *testing.T) {
	source := func(v map[string]any) func(map[string]any) {
		return func(c map[string]any) { c["credential_source"] = v }
	}
	set := func(name, value string) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	cases := map[string]struct {
		reason string
		change func(c map[string]any)
		ok     bool
	}{
		"Usual":         {reason: "This is what gcloud creates.", change: func(map[string]any) {}, ok: true},
		"Universe":      {reason: "The universe may be named.", change: set("universe_domain", "googleapis.com"), ok: true},
		"OtherUniverse": {reason: "Another universe has other hosts.", change: set("universe_domain", "example.com")},
		"Key":           {reason: "A key of a service account is a stored secret.", change: set("type", "service_account")},
		"OtherSTS":      {reason: "Only Google's STS gets the token.", change: set("token_url", "https://sts.example.com/v1/token")},
		"OtherIAM":      {reason: "Only Google's IAM gets the exchanged token.", change: set("service_account_impersonation_url", "https://iam.example.com/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken")},
		"OtherAudience": {reason: "The audience is a pool's provider.", change: set("audience", "https://example.com")},
		"URL":           {reason: "A token that another server gives is not asked for.", change: source(map[string]any{"url": "http://169.254.169.254/token"})},
		"Program":       {reason: "No program is run.", change: source(map[string]any{"executable": map[string]any{"command": "/bin/sh"}})},
		"RelativeFile":  {reason: "A mounted file has an absolute path.", change: source(map[string]any{"file": "../token"})},
		"NoField":       {reason: "A token in JSON is in a field.", change: source(map[string]any{"file": "/token", "format": map[string]any{"type": "json"}})},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.externalAccount(tc.change)
			s, err := w.source(fake.ArtifactRegistry)
			if err != nil {
				t.Fatal(err)
			}
			_, _, _, err = s.Token(t.Context())
			if tc.ok != (err == nil) || err != nil && outcome.ReasonOf(err) != outcome.ConfigInvalid {
				t.Errorf("\n%s\nToken(...): want no error: %t, got %v", tc.reason, tc.ok, err)
			}
		})
	}

	t.Run("JSONFile", func(t *testing.T) {
		w := newWorld(t)
		w.externalAccount(func(c map[string]any) {
			c["credential_source"] = map[string]any{
				"file":   w.file("google.json", `{"id_token":"`+w.token(fake.AudienceGoogle)+`"}`),
				"format": map[string]any{"type": "json", "subject_token_field_name": "id_token"},
			}
		})
		s, err := w.source(fake.ArtifactRegistry)
		if err != nil {
			t.Fatal(err)
		}
		if _, password, _, err := s.Token(t.Context()); err != nil || !w.Accepts(password) {
			t.Errorf("Token(...): want the token of a field in a file, got %v", err)
		}
	})
}

// TestRenewalFails has the cloud fail while a password lives, and after it.
func TestRenewalFails(t *testing.T) {
	w := newWorld(t)
	s, err := w.source(fake.ArtifactRegistry)
	if err != nil {
		t.Fatal(err)
	}
	_, first, ends, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	restore := w.Answer(fake.MetadataHost, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.pass(57 * time.Minute)
	before := w.Requests(fake.MetadataHost)
	for range 10 {
		if _, got, _, err := s.Token(t.Context()); err != nil || got != first {
			t.Fatalf("Token(...): want the password that still lives, got %v", err)
		}
	}
	if got := w.Requests(fake.MetadataHost) - before; got != 1 {
		t.Errorf("want one request for ten calls, got %d", got)
	}
	w.pass(ends.Sub(w.time()))
	for range 10 {
		if _, got, _, err := s.Token(t.Context()); outcome.ReasonOf(err) != outcome.Unavailable || got != "" {
			t.Fatalf("Token(...): want an error once the password has ended, got %v", err)
		}
	}
	if got := w.Requests(fake.MetadataHost) - before; got != 2 {
		t.Errorf("want another request for ten more calls, got %d", got-1)
	}
	restore()
	w.pass(againAfter)
	if _, got, _, err := s.Token(t.Context()); err != nil || !w.Accepts(got) {
		t.Errorf("Token(...): want a new password once the cloud answers, got %v", err)
	}
}

// TestSingleFlight has many callers ask at once, of whom one has no time left.
func TestSingleFlight(t *testing.T) {
	w := newWorld(t)
	w.azure()
	s, err := w.source(fake.ContainerRegistry)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := s.Token(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("Token(...): want the context's error, got %v", err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, password, _, err := s.Token(t.Context()); err != nil || !w.Accepts(password) {
				t.Errorf("Token(...): %v", err)
			}
		})
	}
	all.Wait()
	if got := w.Requests(fake.ContainerRegistry); got != 1 {
		t.Errorf("want one exchange for all callers, got %d", got)
	}
}

// TestRetries has a cloud fail once.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	failed := false
	var restore func()
	restore = w.Answer(fake.MetadataHost, func(rw http.ResponseWriter, _ *http.Request) {
		failed = true
		restore()
		rw.WriteHeader(http.StatusInternalServerError)
	})
	policy := retry.Default()
	policy.Sleep = func(context.Context, time.Duration) error { return nil }
	s, err := New(fake.ArtifactRegistry, Environment{}, Options{Now: w.time, Transport: w.Clouds, Retry: policy})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Token(t.Context()); err != nil || !failed {
		t.Errorf("Token(...): want a second try, got %v", err)
	}
}

// TestShortSession checks that a password is not used for longer than the session of the
// role that it is of.
func TestShortSession(t *testing.T) {
	w := newWorld(t)
	w.pod()
	w.Life = 12 * time.Hour
	w.Answer(fake.PodIdentityHost, func(rw http.ResponseWriter, _ *http.Request) {
		key, secret, session := w.ShortRole(15 * time.Minute)
		_ = json.NewEncoder(rw).Encode(map[string]string{"AccessKeyId": key, "SecretAccessKey": secret, "Token": session, "Expiration": w.time().Add(15 * time.Minute).Format(time.RFC3339)})
	})
	s, err := w.source(fake.PrivateECR)
	if err != nil {
		t.Fatal(err)
	}
	_, _, got, err := s.Token(t.Context())
	if diff := cmp.Diff(start.Add(15*time.Minute), got); err != nil || diff != "" {
		t.Errorf("Token(...): %v; expires: -want, +got:\n%s", err, diff)
	}
}

// TestLinkLocal checks that a request to the metadata server goes to its address alone, and
// that one to another host gets no way to such an address.
func TestLinkLocal(t *testing.T) {
	c := &client{now: time.Now}
	for _, host := range []string{"169.254.169.253", "169.254.170.2", "metadata.google.internal", "100.100.100.200"} {
		if _, ok := linkLocal[host]; ok {
			t.Errorf("want no way to %s", host)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://169.254.170.2/v2/credentials", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.do(atPod, req); outcome.ReasonOf(err) != outcome.Untrusted {
		t.Errorf("do(...): want the guard to refuse an address of a metadata service that is not this package's, got %v", err)
	}
}
