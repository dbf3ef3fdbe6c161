package s3

import (
	"net/http"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// changed returns the error of a file that is not the listed one any more.
func (f *Folder) changed(one file.File) error {
	return outcome.Errorf(outcome.Changed,
		"object %q of %s has changed or is gone since it was listed: the run reads one version of each file. Restore the object, or write another folder in spec.forProvider.source", outcome.Shorten(one.Path), f.name)
}

// refused returns the error of an answer to a request for a file, or for the bucket if
// that is nil.
func (f *Folder) refused(a bucket.Answer, one *file.File) error {
	said, what := faultOf(a), f.name
	if one != nil {
		what = f.subject(*one)
	}
	if err := f.failed(a, said, what); err != nil {
		return err
	}
	switch status := a.Status; {
	case said.Region != "" && said.Region != f.address.region && status != http.StatusNotFound:
		return outcome.Errorf(outcome.Unsupported, "bucket %s is in region %s, and not in %s: write %s into %s.region", f.bucket, said.Region, f.address.region, said.Region, field)
	case one != nil && isGone(status, said.Code):
		return f.changed(*one)
	case status == http.StatusNotFound:
		return outcome.Errorf(outcome.NotFound, "there is no bucket %s at %s: check %s", f.bucket, f.client.Host(), field)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusBadRequest && (said.Code == codeExpired || said.Code == codeInvalidToken):
		return f.forbidden(said.Code, what, one)
	}
	return f.client.Unexpected(a.Status, what)
}

// faultOf returns what an answer says went wrong.
func faultOf(a bucket.Answer) fault {
	said := parseError(a.Body)
	if in := a.Header.Get(headerRegion); said.Region == "" && regionName.MatchString(in) {
		said.Region = in
	}
	return said
}

// failed returns the error of an answer that is transient; nil for any other.
func (f *Folder) failed(a bucket.Answer, said fault, what string) error {
	switch {
	case said.Code == codeSlowDown:
		after, _ := connection.RetryAfter(a.Header.Get("Retry-After"), time.Now())
		return outcome.Errorf(outcome.RateLimited, "S3 at %s limits the rate of requests; this is transient and is retried", f.client.Host()).After(after)
	case a.Status == http.StatusNotImplemented, said.Code == codeNotImplemented:
		return nil
	}
	return f.client.Failed(a.Status, a.Header, what)
}

// isGone reports whether an answer says that an object is not the listed one any more. A
// marker of a deletion is no version that could be read: its status is 405.
func isGone(status int, code string) bool {
	return status == http.StatusPreconditionFailed || status == http.StatusMethodNotAllowed || status == http.StatusNotFound && code != codeNoBucket
}

// forbidden returns the error of an answer that refuses the credentials.
func (f *Folder) forbidden(code, what string, one *file.File) error {
	host, secret := f.client.Host(), "the Secret that "+field+".credentialsSecretRef names"
	switch code {
	case codeArchived:
		return outcome.Errorf(outcome.Unsupported, "%s is archived, and cannot be read as it is: restore it in S3", what)
	case codeSkewed:
		return outcome.Errorf(outcome.Unauthorized, "S3 at %s refuses requests whose time differs from its own by more than 15 minutes: correct the clock of the run's node", host)
	case codeExpired, codeInvalidToken, codeRefresh:
		return outcome.Errorf(outcome.Unauthorized, "S3 at %s refuses the session token, which has expired or is not valid: put new keys into %s", host, secret)
	case codeInvalidKey:
		return outcome.Errorf(outcome.Unauthorized, "S3 at %s does not know the key ID: correct %s in %s", host, keyID, secret)
	case codeSignature:
		return outcome.Errorf(outcome.Unauthorized, "S3 at %s refuses the signature: correct %s in %s", host, keySecret, secret)
	}
	if !f.signs {
		return outcome.Errorf(outcome.Unauthorized, "S3 at %s refuses anonymous requests for %s: name a Secret with %s and %s in %s.credentialsSecretRef", host, what, keyID, keySecret, field)
	}
	need := "s3:ListBucket on the bucket"
	if one != nil {
		need = "s3:GetObject, and s3:GetObjectVersion if the bucket has versions, on its objects, and kms:Decrypt on their key if they are encrypted with one"
	}
	pay := ""
	if !f.pays {
		pay = ", or set " + field + ".requesterPays if the bucket has who reads it pay"
	}
	return outcome.Errorf(outcome.Unauthorized, "S3 at %s forbids reading %s: allow the account %s%s", host, what, need, pay)
}
