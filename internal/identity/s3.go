package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxSessionPolicy bounds a session policy
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html).
const maxSessionPolicy = 2048

// A Bucket is the part of a bucket of S3 that a workload reads.
type Bucket struct {
	// Region of the bucket.
	Region string

	// Name of the bucket.
	Name string

	// Prefix that all keys begin with; empty for the whole bucket.
	Prefix string
}

// BucketReader has the keys of a session of the workload's role at AWS. The role's rights
// are narrowed to reading the bucket where AWS can do that: with IRSA, but not with EKS Pod
// Identity. It is safe for concurrent use.
type BucketReader struct{ keys *cached }

// Credentials returns the keys as they are now. It is quick unless they must be renewed. Its
// errors are outcome.Errors.
func (r *BucketReader) Credentials(ctx context.Context) (awssdk.Credentials, error) {
	t, err := r.keys.token(ctx)
	if err != nil {
		return awssdk.Credentials{}, err
	}
	return awssdk.Credentials{AccessKeyID: t.username, SecretAccessKey: t.password, SessionToken: t.session, Expires: t.expires, CanExpire: true}, nil
}

// NewBucketReader returns the keys for a bucket. It returns an error that says what is
// missing if the environment has no identity of AWS. Nothing is requested yet.
func NewBucketReader(b Bucket, e Environment, o Options) (*BucketReader, error) {
	if !awsRegion.MatchString(b.Region) {
		return nil, outcome.Errorf(outcome.ConfigInvalid, "an identity needs the region of bucket %s, such as eu-central-1: write it beside the bucket", b.Name)
	}
	policy, err := b.policy()
	if err != nil {
		return nil, err
	}
	c := o.client()
	role, err := roleOf(b.domain(), b.Region, policy, e, c)
	if err != nil {
		return nil, err
	}
	return &BucketReader{keys: newCached(c, roleIssuer(role), o.Retry)}, nil
}

// Bucket returns the keys for a bucket, as NewBucketReader does.
func (s *Sources) Bucket(b Bucket) (*BucketReader, error) {
	return NewBucketReader(b, s.environment, s.options)
}

// A roleIssuer gets the keys of a role's session.
type roleIssuer func(ctx context.Context) (awssdk.Credentials, error)

// issue implements issuer.
func (i roleIssuer) issue(ctx context.Context) (token, error) {
	k, err := i(ctx)
	return token{username: k.AccessKeyID, password: k.SecretAccessKey, session: k.SessionToken, expires: k.Expires}, err
}

// isChina and isGovernment report whether a region is in another partition of AWS than
// most (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
func (b Bucket) isChina() bool      { return strings.HasPrefix(b.Region, "cn-") }
func (b Bucket) isGovernment() bool { return strings.HasPrefix(b.Region, "us-gov-") }

func (b Bucket) domain() string {
	if b.isChina() {
		return awsDomainChina
	}
	return awsDomain
}

func (b Bucket) arn() string {
	switch {
	case b.isChina():
		return "arn:aws-cn:s3:::" + b.Name
	case b.isGovernment():
		return "arn:aws-us-gov:s3:::" + b.Name
	}
	return "arn:aws:s3:::" + b.Name
}

// A statement of a policy
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
type statement struct {
	Effect    string
	Action    []string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

// policy returns the session policy that allows to list and read what is below the prefix,
// and nothing else. A prefix that makes it too long is left out.
func (b Bucket) policy() (string, error) {
	p, err := encode(b.statements(literal(b.Prefix)))
	if err == nil && len(p) > maxSessionPolicy {
		p, err = encode(b.statements(""))
	}
	return p, err
}

func (b Bucket) statements(prefix string) []statement {
	list := statement{Effect: "Allow", Action: []string{"s3:ListBucket", "s3:ListBucketVersions"}, Resource: b.arn()}
	if prefix != "" {
		list.Condition = map[string]map[string]string{"StringLike": {"s3:prefix": prefix + "*"}}
	}
	return []statement{
		{Effect: "Allow", Action: []string{"s3:GetObject", "s3:GetObjectVersion"}, Resource: b.arn() + "/" + prefix + "*"},
		list,
		{Effect: "Allow", Action: []string{"s3:GetBucketVersioning"}, Resource: b.arn()},
		// Without it no object can be read that is encrypted with a key of KMS.
		{Effect: "Allow", Action: []string{"kms:Decrypt"}, Resource: "*", Condition: map[string]map[string]string{"StringLike": {"kms:ViaService": "s3." + b.Region + ".*"}}},
	}
}

// encode returns a policy of statements.
func encode(all []statement) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", all})
	if err != nil {
		return "", outcome.Errorf(outcome.Internal, "cannot encode the session policy of a bucket").Because(err)
	}
	return strings.TrimSpace(out.String()), nil
}

// literal returns a text so that a policy takes it as it is
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars).
func literal(s string) string {
	return strings.NewReplacer("$", "${$}", "*", "${*}", "?", "${?}").Replace(s)
}
