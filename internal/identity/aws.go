package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// podIdentityV4 and podIdentityV6 are the hosts of the EKS Pod Identity agent, and
	// podIdentityPath its path
	// (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html).
	podIdentityV4   = "169.254.170.23"
	podIdentityV6   = "[fd00:ec2::23]"
	podIdentityPath = "/v1/credentials"

	// awsDomain and awsDomainChina end the hosts of AWS's services
	// (https://docs.aws.amazon.com/general/latest/gr/rande.html).
	awsDomain      = "amazonaws.com"
	awsDomainChina = "amazonaws.com.cn"

	// publicECRRegion is where passwords for ECR Public are issued
	// (https://docs.aws.amazon.com/general/latest/gr/ecr-public.html).
	publicECRRegion = "us-east-1"

	// session is the name of role sessions, as CloudTrail shows them.
	session = "provider-kitops"

	// usernameECR is what a password of ECR is for.
	usernameECR = "AWS"
)

var (
	roleARN     = regexp.MustCompile(`^arn:aws[a-z-]{0,16}:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}$`)
	roleSession = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	awsRegion   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+){1,3}-[0-9]{1,2}$`)
)

// endpoints of AWS.
var (
	atSTS = endpoint{name: "AWS STS", cure: "check that the role of the service account's annotation eks.amazonaws.com/role-arn trusts this cluster's OIDC provider, and this namespace and service account"}
	atPod = endpoint{name: "the EKS Pod Identity agent", cure: "check that the cluster has a Pod Identity association for this namespace and service account"}
	atECR = endpoint{name: "Amazon ECR", cure: "check that the role may do ecr:GetAuthorizationToken, or for ECR Public ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken"}
)

// An awsIssuer gets passwords for ECR.
type awsIssuer struct {
	client *client
	role   func(ctx context.Context) (awssdk.Credentials, error)

	// endpoint of ECR, and what requests to it are signed for.
	endpoint, target, service, region string
}

// newAWS returns what gets passwords for a registry of ECR.
func newAWS(r cloudRegistry, e Environment, c *client) (*awsIssuer, error) {
	i := &awsIssuer{
		client: c, endpoint: "https://api.ecr." + r.region + "." + r.domain + "/",
		target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", service: "ecr", region: r.region,
	}
	switch {
	case r.host == publicECR:
		i.region, i.service = publicECRRegion, "ecr-public"
		i.endpoint = "https://api.ecr-public." + publicECRRegion + ".amazonaws.com/"
		i.target = "SpencerFrontendService.GetAuthorizationToken"
	case r.fips:
		i.endpoint = "https://ecr-fips." + r.region + "." + r.domain + "/"
	}
	var err error
	i.role, err = roleOf(cmp.Or(r.domain, awsDomain), i.region, "", e, c)
	return i, err
}

// roleOf returns what gets the credentials of the workload's role, by STS in a region if
// the identity is one of IRSA. A session policy narrows the role there; an empty one does
// not, and the EKS Pod Identity agent knows none.
func roleOf(domain, region, policy string, e Environment, c *client) (func(context.Context) (awssdk.Credentials, error), error) {
	switch {
	case e.has(envRoleARN, envRoleToken):
		return webIdentity(domain, region, policy, e, c)
	case e.has(envPodIdentity, envPodIdentityToken):
		return podIdentity(e, c)
	}
	return nil, outcome.Errorf(outcome.ConfigInvalid,
		"this Pod has no identity of AWS: its environment has neither %s and %s nor %s and %s. Annotate its service account with eks.amazonaws.com/role-arn, or create a Pod Identity association for it, and start the Pod again",
		envRoleARN, envRoleToken, envPodIdentity, envPodIdentityToken)
}

// webIdentity returns what assumes the role of a service account (IRSA).
func webIdentity(domain, region, policy string, e Environment, c *client) (func(context.Context) (awssdk.Credentials, error), error) {
	arn, err := e.matching(envRoleARN, roleARN, "the ARN of a role")
	if err != nil {
		return nil, err
	}
	file, err := e.file(envRoleToken)
	if err != nil {
		return nil, err
	}
	name := session
	if e.has(envRoleSession) {
		if name, err = e.matching(envRoleSession, roleSession, "a name of 2 to 64 characters"); err != nil {
			return nil, err
		}
	}
	if e.has(envRegion) {
		if region, err = e.matching(envRegion, awsRegion, "a region"); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (awssdk.Credentials, error) {
		token, err := subject(file.Text())
		if err != nil {
			return awssdk.Credentials{}, err
		}
		// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
		form := url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
			"RoleArn": {arn}, "RoleSessionName": {name}, "WebIdentityToken": {token},
		}
		if policy != "" {
			form.Set("Policy", policy)
		}
		body, err := c.post(ctx, atSTS, "https://sts."+region+"."+domain+"/", form)
		if err != nil {
			return awssdk.Credentials{}, err
		}
		return assumedRole(body)
	}, nil
}

// podIdentity returns what asks the EKS Pod Identity agent for its role's credentials.
func podIdentity(e Environment, c *client) (func(context.Context) (awssdk.Credentials, error), error) {
	at := e.values[envPodIdentity]
	if at != "http://"+podIdentityV4+podIdentityPath && at != "http://"+podIdentityV6+podIdentityPath {
		return nil, invalid(envPodIdentity, "the address of the EKS Pod Identity agent")
	}
	file, err := e.file(envPodIdentityToken)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (awssdk.Credentials, error) {
		token, err := subject(file.Text())
		if err != nil {
			return awssdk.Credentials{}, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
		if err != nil {
			return awssdk.Credentials{}, errors.Wrap(err, "cannot prepare a request for the workload's identity")
		}
		req.Header.Set("Authorization", token)
		_, body, err := c.do(atPod, req)
		if err != nil {
			return awssdk.Credentials{}, err
		}
		return podRole(body)
	}, nil
}

// issue implements issuer.
func (i *awsIssuer) issue(ctx context.Context) (token, error) {
	role, err := i.role(ctx)
	if err != nil {
		return token{}, err
	}
	const body = "{}"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.endpoint, strings.NewReader(body))
	if err != nil {
		return token{}, errors.Wrap(err, "cannot prepare a request to Amazon ECR")
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", i.target)
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, role, req, hex.EncodeToString(sum[:]), i.service, i.region, i.client.now()); err != nil {
		return token{}, errors.Wrap(err, "cannot sign a request to Amazon ECR")
	}
	_, answer, err := i.client.do(atECR, req)
	if err != nil {
		return token{}, err
	}
	t, err := passwordECR(answer)
	// Whether a password outlives the session that asked for it is not documented.
	if err == nil && role.Expires.Before(t.expires) {
		t.expires = role.Expires
	}
	return t, err
}

// assumedRole returns the credentials in an answer of STS.
func assumedRole(body []byte) (awssdk.Credentials, error) {
	var answer struct {
		XMLName xml.Name `xml:"AssumeRoleWithWebIdentityResponse"`
		Key     string   `xml:"AssumeRoleWithWebIdentityResult>Credentials>AccessKeyId"`
		Secret  string   `xml:"AssumeRoleWithWebIdentityResult>Credentials>SecretAccessKey"`
		Token   string   `xml:"AssumeRoleWithWebIdentityResult>Credentials>SessionToken"`
		Expires string   `xml:"AssumeRoleWithWebIdentityResult>Credentials>Expiration"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil {
		return awssdk.Credentials{}, unusable(atSTS)
	}
	return role(atSTS, answer.Key, answer.Secret, answer.Token, answer.Expires)
}

// podRole returns the credentials in an answer of the EKS Pod Identity agent.
func podRole(body []byte) (awssdk.Credentials, error) {
	var answer struct {
		Key     string `json:"AccessKeyId"`
		Secret  string `json:"SecretAccessKey"`
		Token   string `json:"Token"`
		Expires string `json:"Expiration"`
	}
	if err := answerLimits.JSON(body, &answer); err != nil {
		return awssdk.Credentials{}, unusable(atPod)
	}
	return role(atPod, answer.Key, answer.Secret, answer.Token, answer.Expires)
}

// role returns the credentials of a role's session.
func role(from endpoint, key, secret, token, expires string) (awssdk.Credentials, error) {
	ends, err := time.Parse(time.RFC3339, expires)
	if err != nil || !isToken(key) || !isToken(secret) || !isToken(token) {
		return awssdk.Credentials{}, unusable(from)
	}
	return awssdk.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token, Expires: ends, CanExpire: true}, nil
}

// ecrData is a password that ECR issues.
type ecrData struct {
	Token   string  `json:"authorizationToken"`
	Expires float64 `json:"expiresAt"` // Seconds since 1970.
}

// passwordECR returns the password in an answer of ECR, which has a list, or of ECR Public,
// which has an object.
func passwordECR(body []byte) (token, error) {
	var list struct {
		Data []ecrData `json:"authorizationData"`
	}
	var one struct {
		Data ecrData `json:"authorizationData"`
	}
	if err := answerLimits.JSON(body, &list); err != nil || len(list.Data) == 0 {
		if err := answerLimits.JSON(body, &one); err != nil {
			return token{}, unusable(atECR)
		}
		list.Data = []ecrData{one.Data}
	}
	plain, err := base64.StdEncoding.DecodeString(list.Data[0].Token)
	user, password, ok := strings.Cut(string(plain), ":")
	expires := list.Data[0].Expires
	if err != nil || !ok || user != usernameECR || !isToken(password) || expires <= 0 || expires > maxUnix {
		return token{}, unusable(atECR)
	}
	return token{username: user, password: password, expires: time.UnixMilli(int64(expires * 1000))}, nil
}

// maxUnix bounds times in seconds since 1970: the end of the year 9999.
const maxUnix = 253402300799
