package identity

import (
	"strings"
	"testing"
	"time"
)

// FuzzAnswers has all parsers of clouds' answers read the same bytes: what they accept must
// be fit for a header, and what they refuse must not be repeated.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"authorizationData":[{"authorizationToken":"QVdTOnB3","expiresAt":1.7e9}]}`,
		`{"authorizationData":{"authorizationToken":"QVdTOnB3","expiresAt":1700000000}}`,
		`{"AccessKeyId":"a","SecretAccessKey":"b","Token":"c","Expiration":"2026-01-01T00:00:00Z"}`,
		`<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken><Expiration>2026-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
		`{"access_token":"a","token_type":"Bearer","expires_in":3600}`, `{"accessToken":"a","expireTime":"2026-01-01T00:00:00Z"}`,
		`{"refresh_token":"a.eyJleHAiOjF9.c"}`, `{"error":"invalid_grant"}`, `{"error":{"status":"X"}}`, `<Code>ExpiredToken</Code>`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(k token, err error) {
			if err == nil && (!isToken(k.password) || k.username == "" || k.expires.IsZero()) {
				t.Errorf("accepted %+v", k)
			}
		}
		check(passwordECR(b))
		check(accessToken(atGoogleSTS, b, time.Unix(1e9, 0)))
		check(impersonated(b))
		check(refreshToken(b, time.Unix(1e9, 0)))
		if c, err := podRole(b); err == nil && (!isToken(c.SecretAccessKey) || c.Expires.IsZero()) {
			t.Errorf("accepted %+v", c)
		}
		if c, err := assumedRole(b); err == nil && (!isToken(c.SecretAccessKey) || c.Expires.IsZero()) {
			t.Errorf("accepted %+v", c)
		}
		if c := errorCode(b); len(c) > 64 || strings.ContainsAny(c, "\n\r <") {
			t.Errorf("errorCode(...): %q", c)
		}
		if c, err := parseExternalAccount(b, "it"); err == nil && (c.TokenURL != googleSTS || !isFilePath(c.Source.File)) {
			t.Errorf("accepted %+v", c)
		}
	})
}

// FuzzHost checks that the endpoints that follow from a host are of its cloud.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"123456789012.dkr.ecr.eu-central-1.amazonaws.com", "public.ecr.aws", "europe-docker.pkg.dev", "example.azurecr.io", "gcr.io"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		r := registryAt(host)
		if r.cloud == 0 {
			return
		}
		if strings.ContainsAny(r.host, "/:@?#\\ \n") {
			t.Errorf("registryAt(%q): accepted", host)
		}
		for _, suffix := range []string{".amazonaws.com", ".amazonaws.com.cn", "public.ecr.aws", ".pkg.dev", "gcr.io", ".azurecr.io", ".azurecr.cn", ".azurecr.us"} {
			if strings.HasSuffix(r.host, suffix) {
				return
			}
		}
		t.Errorf("registryAt(%q): of no cloud", host)
	})
}
