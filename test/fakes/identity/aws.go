package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the clouds of AWS know.
const (
	RoleARN = "arn:aws:iam::123456789012:role/models"

	PrivateECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	PublicECR  = "public.ecr.aws"

	STSHost         = "sts.eu-central-1.amazonaws.com"
	STSPublicHost   = "sts.us-east-1.amazonaws.com"
	ECRHost         = "api.ecr.eu-central-1.amazonaws.com"
	ECRPublicHost   = "api.ecr-public.us-east-1.amazonaws.com"
	PodIdentityHost = "169.254.170.23"

	// AudienceAWS and AudiencePod are those of the tokens that the webhooks of EKS mount.
	AudienceAWS = "sts.amazonaws.com"
	AudiencePod = "pods.eks.amazonaws.com"
)

func (c *Clouds) serveAWS() {
	c.answers[STSHost] = c.serveSTS
	c.answers[STSPublicHost] = c.serveSTS
	c.answers[PodIdentityHost] = c.servePodIdentity
	c.answers[ECRHost] = c.serveECR("eu-central-1", "ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", true)
	c.answers[ECRPublicHost] = c.serveECR("us-east-1", "ecr-public", "SpencerFrontendService.GetAuthorizationToken", false)
}

// serveSTS answers AssumeRoleWithWebIdentity.
func (c *Clouds) serveSTS(w http.ResponseWriter, r *http.Request) {
	refuse := func(code string) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, r.FormValue("WebIdentityToken")) //nolint:gosec // A fake that echoes what it must not, for tests to find.
	}
	switch {
	case r.Method != http.MethodPost, r.FormValue("Action") != "AssumeRoleWithWebIdentity", r.FormValue("Version") != "2011-06-15", r.FormValue("RoleSessionName") == "":
		refuse("InvalidAction")
	case r.FormValue("RoleArn") != RoleARN:
		refuse("AccessDenied")
	case !c.Issuer.verifies(r.FormValue("WebIdentityToken"), c.Subject, AudienceAWS, c.Now()):
		refuse("InvalidIdentityToken")
	default:
		key, secret, session, expires := c.role()
		_, _ = fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			key, secret, session, expires.UTC().Format(time.RFC3339))
	}
}

// servePodIdentity answers as the EKS Pod Identity agent.
func (c *Clouds) servePodIdentity(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/credentials" || !c.Issuer.verifies(r.Header.Get("Authorization"), c.Subject, AudiencePod, c.Now()) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, "[badRequest] the token is not valid")
		return
	}
	key, secret, session, expires := c.role()
	answer(w, http.StatusOK, map[string]string{"AccessKeyId": key, "SecretAccessKey": secret, "Token": session, "Expiration": expires.UTC().Format(time.RFC3339)})
}

// role issues the credentials of a role's session.
func (c *Clouds) role() (key, secret, session string, expires time.Time) {
	key, secret, session = "ASIA"+rand.Text()[:16], rand.Text(), rand.Text()
	_, expires = c.register("key "+secret+" "+session, key)
	return key, secret, session, expires
}

// Role issues the credentials of a role's session, and returns its key and token without
// the secret that requests are signed with.
func (c *Clouds) Role() (key, session string) {
	key, _, session, _ = c.role()
	return key, session
}

// ShortRole issues the credentials of a role's session that ends earlier than others.
func (c *Clouds) ShortRole(life time.Duration) (key, secret, session string) {
	key, secret, session, _ = c.role()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.issued[key]
	i.expires = c.Now().Add(life)
	c.issued[key] = i
	return key, secret, session
}

// serveECR answers GetAuthorizationToken of a region's registry, whose data may be a list.
func (c *Clouds) serveECR(region, service, target string, list bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		body := content(r)
		if code := c.signed(r, body, region, service); code != "" {
			answer(w, http.StatusBadRequest, map[string]string{"__type": "com.amazon.coral.service#" + code, "message": r.Header.Get("Authorization")})
			return
		}
		if r.Header.Get("X-Amz-Target") != target {
			answer(w, http.StatusBadRequest, map[string]string{"__type": "UnknownOperationException"})
			return
		}
		password, expires := c.issue("password")
		var data any = map[string]any{"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + password)), "expiresAt": float64(expires.UnixMilli()) / 1000}
		if list {
			data = []any{data}
		}
		answer(w, http.StatusOK, map[string]any{"authorizationData": data})
	}
}

// signed returns the name of what is wrong with a request's signature, which it computes
// itself (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html); empty for
// nothing.
func (c *Clouds) signed(r *http.Request, body []byte, region, service string) string {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "MissingAuthenticationTokenException"
	}
	said := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		said[name] = value
	}
	credential, headers, signature := said["Credential"], said["SignedHeaders"], said["Signature"]
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if off := c.Now().Sub(at); err != nil || off > 15*time.Minute || off < -15*time.Minute {
		return "InvalidSignatureException"
	}
	scope := at.Format("20060102") + "/" + region + "/" + service + "/aws4_request"
	key, ok := strings.CutSuffix(credential, "/"+scope)
	if !ok {
		return "InvalidSignatureException"
	}
	c.mu.Lock()
	known, ok := c.issued[key]
	c.mu.Unlock()
	parts := strings.Split(known.what, " ")
	if !ok || len(parts) != 3 || r.Header.Get("X-Amz-Security-Token") != parts[2] {
		return "UnrecognizedClientException"
	}
	if !c.Now().Before(known.expires) {
		return "ExpiredTokenException"
	}
	names := strings.Split(headers, ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} {
		if !slices.Contains(names, must) {
			return "IncompleteSignatureException"
		}
	}
	if !hmac.Equal([]byte(signature), []byte(signatureOf(r, body, names, headers, at, scope, parts[1]))) {
		return "InvalidSignatureException"
	}
	return ""
}

// signatureOf returns the signature that a request must have.
func signatureOf(r *http.Request, body []byte, names []string, headers string, at time.Time, scope, secret string) string {
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	for _, n := range names {
		value := strings.Join(r.Header.Values(n), ",")
		switch n {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		canonical += n + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical += "\n" + headers + "\n" + sum(body)
	text := "AWS4-HMAC-SHA256\n" + at.Format("20060102T150405Z") + "\n" + scope + "\n" + sum([]byte(canonical))
	key := []byte("AWS4" + secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, text))
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text))
	return h.Sum(nil)
}
