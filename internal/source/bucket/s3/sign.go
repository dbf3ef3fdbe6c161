package s3

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// Keys of a Secret with credentials, which are called as the variables of AWS's own
// programs (https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html).
const (
	keyID      = "AWS_ACCESS_KEY_ID"
	keySecret  = "AWS_SECRET_ACCESS_KEY" //nolint:gosec // A name.
	keySession = "AWS_SESSION_TOKEN"     //nolint:gosec // A name.
)

// emptySHA256 is the hash of a request without a body.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// keysFunc returns the keys that requests are signed with, as they are now.
type keysFunc func(ctx context.Context) (awssdk.Credentials, error)

// A signer signs requests (AWS Signature Version 4).
type signer struct {
	keys   keysFunc
	region string
	payer  bool
	now    func() time.Time
	v4     *v4.Signer
}

var _ bucket.Authorizer = &signer{}

func newSigner(keys keysFunc, region string, payer bool) *signer {
	return &signer{keys: keys, region: region, payer: payer, now: time.Now, v4: v4.NewSigner(func(o *v4.SignerOptions) {
		// Paths are escaped already, and S3 does not escape them twice.
		o.DisableURIPathEscaping = true
	})}
}

// Credentials implements bucket.Authorizer.
func (s *signer) Credentials(ctx context.Context) (string, error) {
	k, err := s.keys(ctx)
	return strings.Join([]string{k.AccessKeyID, k.SecretAccessKey, k.SessionToken}, "\n"), err
}

// Authorize implements bucket.Authorizer. Headers that proxies change are not signed.
func (s *signer) Authorize(req *http.Request) error {
	k, err := s.keys(req.Context())
	if err != nil {
		return err
	}
	all := req.Header
	req.Header = http.Header{}
	for name, values := range all {
		if strings.HasPrefix(name, "X-Amz-") {
			req.Header[name] = values
			delete(all, name)
		}
	}
	req.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	if s.payer {
		req.Header.Set("X-Amz-Request-Payer", "requester")
	}
	if err := s.v4.SignHTTP(req.Context(), k, req, emptySHA256, "s3", s.region, s.now()); err != nil {
		return outcome.Errorf(outcome.Internal, "cannot sign a request to %s", req.URL.Host).Because(err)
	}
	for name, values := range all {
		req.Header[name] = values
	}
	return nil
}

// Expired implements bucket.Expirer.
func (*signer) Expired(rsp *http.Response) bool {
	b, err := io.ReadAll(io.LimitReader(rsp.Body, maxErrorBytes))
	rest := rsp.Body
	rsp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), rest), rest}
	if err != nil {
		return false
	}
	switch parseError(b).Code {
	case codeExpired, codeInvalidToken, codeRefresh, codeInvalidKey, codeSignature:
		return true
	}
	return false
}

// secretKeys returns the keys in a mounted Secret.
func secretKeys(s *bucket.Secret) keysFunc {
	return func(context.Context) (awssdk.Credentials, error) {
		// A Secret changes as a whole, and is read key by key.
		for range 5 {
			first, err := readKeys(s)
			if err != nil {
				return awssdk.Credentials{}, err
			}
			if second, err := readKeys(s); err == nil && first == second {
				return first, nil
			}
		}
		return awssdk.Credentials{}, outcome.Errorf(outcome.Unavailable, "the source's Secret changes while it is read; this may be transient")
	}
}

func readKeys(s *bucket.Secret) (awssdk.Credentials, error) {
	var k awssdk.Credentials
	for _, v := range []struct {
		key  string
		to   *string
		must bool
	}{{keyID, &k.AccessKeyID, true}, {keySecret, &k.SecretAccessKey, true}, {keySession, &k.SessionToken, false}} {
		var err error
		if *v.to, err = s.Text(v.key); err != nil {
			return awssdk.Credentials{}, err
		}
		if v.must && *v.to == "" {
			return awssdk.Credentials{}, outcome.Errorf(outcome.ConfigInvalid,
				"the Secret that %s.credentialsSecretRef names has no key %s: add it, or leave credentialsSecretRef out for a public bucket", field, v.key)
		}
	}
	return k, nil
}

// md5Of returns an ETag as the MD5 of an object, if it is one by its form: of 32 small
// hexadecimal digits.
func md5Of(etag string) string {
	if len(etag) != 32 || strings.ToLower(etag) != etag {
		return ""
	}
	if _, err := hex.DecodeString(etag); err != nil {
		return ""
	}
	return etag
}
