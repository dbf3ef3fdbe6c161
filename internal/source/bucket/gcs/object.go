package gcs

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// gzip is the encoding that Google decodes on the fly unless it is accepted
// (https://cloud.google.com/storage/docs/transcoding).
const gzip = "gzip"

// maxErrorBytes bounds what is read of a refusal.
const maxErrorBytes = 16 << 10

var errorLimits = decode.Limits{Bytes: maxErrorBytes, Containers: 100, Values: 1000}

// An object is what a file of a listing was made of.
type object struct {
	*Folder

	file       file.File
	generation string
}

// String names the object in messages.
func (o object) String() string { return fmt.Sprintf("file %q of %s", o.file.Path, o.name) }

// url returns the URL of the object's bytes. The condition beside the generation is for
// servers that ignore that: they must not answer with another one.
func (o object) url() *url.URL {
	return o.Folder.url(url.Values{"alt": {"media"}, "generation": {o.generation}, "ifGenerationMatch": {o.generation}}, "o", o.key())
}

// key returns the object's key in its bucket.
func (o object) key() string { return bucket.KeyPrefix(o.source.Prefix) + o.file.Path }

// accept returns an error if a successful answer is not of the object's generation, or not
// its stored bytes.
func (o object) accept(rsp *http.Response) error {
	switch got := rsp.Header.Get("X-Goog-Generation"); {
	case got == "":
		return outcome.Errorf(outcome.Unsupported, "%s does not tell which generation of %s it sends, as %s does: check %s.endpoint", o.client.Host(), o, service, field)
	case got != o.generation:
		return o.changed()
	}
	stored, sent := rsp.Header.Get("X-Goog-Stored-Content-Encoding"), rsp.Header.Get("Content-Encoding")
	if stored == gzip && sent != gzip {
		return outcome.Errorf(outcome.Unsupported,
			"%s, or a proxy before it, sends %s without the gzip that it is stored with, so that nothing can be verified: store it without Content-Encoding, or have the proxy pass it on as it is", o.client.Host(), o)
	}
	return nil
}

// changed returns the error of an object that has no such generation any more.
func (o object) changed() error {
	return outcome.Errorf(outcome.Changed,
		"%s was replaced or deleted while it was read, at generation %s: keep objects until a run has ended, or give the bucket object versioning; another run takes what is there then", o, o.generation)
}

// refused returns the error of an answer that is not a success.
func (o object) refused(rsp *http.Response) error {
	switch rsp.StatusCode {
	case http.StatusNotFound, http.StatusPreconditionFailed:
		// It was listed: only this generation is not there.
		return o.changed()
	}
	body, _ := io.ReadAll(io.LimitReader(rsp.Body, maxErrorBytes)) // Without it, the status says enough.
	return o.Folder.refused(rsp.StatusCode, rsp.Header, body, o.String())
}

// Reasons by which Google tells refusals apart
// (https://cloud.google.com/storage/docs/json_api/v1/status-codes).
const (
	reasonRate    = "rateLimitExceeded"
	reasonUser    = "userRateLimitExceeded"
	reasonProject = "userProjectMissing"
	reasonBilling = "userProjectAccessDenied"
)

// refused returns the error of an answer about something that is not a success.
func (f *Folder) refused(status int, h http.Header, body []byte, what string) error {
	reason := reasonIn(body)
	if reason == reasonRate || reason == reasonUser {
		status = http.StatusTooManyRequests
	}
	if err := f.client.Failed(status, h, what); err != nil {
		return err
	}
	switch {
	case reason == reasonProject:
		return outcome.Errorf(outcome.Unauthorized, "bucket %s has its requesters pay: write the project to bill into %s.userProject", f.source.Bucket, field)
	case reason == reasonBilling:
		return outcome.Errorf(outcome.Unauthorized, "the source's account may not bill project %q: grant it serviceusage.services.use there, or correct %s.userProject", f.source.UserProject, field)
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && !f.own:
		return outcome.Errorf(outcome.Unauthorized, "%s at %s forbids reading %s without an account: name a Secret with gcloud-application-credentials.json in %s.credentialsSecretRef", service, f.client.Host(), what, field)
	case status == http.StatusUnauthorized:
		return outcome.Errorf(outcome.Unauthorized, "%s at %s refuses the source's credentials for %s: check that they have not expired", service, f.client.Host(), what)
	case status == http.StatusForbidden:
		return outcome.Errorf(outcome.Unauthorized, "the source's account may not read %s: grant it roles/storage.objectViewer on bucket %s", what, f.source.Bucket)
	case status == http.StatusNotFound:
		return outcome.Errorf(outcome.NotFound, "%s at %s has no bucket %s: correct %s.bucket", service, f.client.Host(), f.source.Bucket, field)
	}
	return f.client.Unexpected(status, what)
}

// reasonIn returns the reason that a refusal has; empty for none.
func reasonIn(body []byte) string {
	var answer struct {
		Error struct {
			Errors []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	if errorLimits.JSON(body, &answer) != nil || len(answer.Error.Errors) == 0 {
		return ""
	}
	return answer.Error.Errors[0].Reason
}
