package azure

import (
	"net/http"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// headerCode has the code that the service gives an error.
const headerCode = "X-Ms-Error-Code"

// Codes that tell errors apart
// (https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes,
// https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes).
const (
	codeArchived   = "BlobArchived"
	codeRehydrates = "BlobBeingRehydrated"
	codeNoPublic   = "PublicAccessNotPermitted"
	codeFailed     = "AuthenticationFailed"
	codeMismatch   = "AuthorizationPermissionMismatch"
	codeNetwork    = "AuthorizationFailure"
)

// refused returns the error of an answer about something that is not a success.
func (f *Folder) refused(status int, h http.Header, what string) error {
	code := h.Get(headerCode)
	if err := f.client.Failed(status, h, what); err != nil {
		return err
	}
	denied := status == http.StatusUnauthorized || status == http.StatusForbidden || code == codeNoPublic
	switch {
	case code == codeArchived, code == codeRehydrates:
		return outcome.Errorf(outcome.Unsupported, "%s is in the archive tier, where it cannot be read: rehydrate it first", what)
	case !f.own && (denied || status == http.StatusNotFound):
		return outcome.Errorf(outcome.Unauthorized, "account %s has no container %s that everybody may read: name a Secret in %s.credentialsSecretRef, or correct %s", f.source.Account, f.source.Container, field, field)
	case code == codeMismatch:
		return outcome.Errorf(outcome.Unauthorized, "the source's account may not read %s: grant it Storage Blob Data Reader on container %s", what, f.source.Container)
	case code == codeNetwork:
		return outcome.Errorf(outcome.Unauthorized, "account %s refuses requests for %s: allow this cluster's network in the account's firewall, or grant the source's account or signature to read and list", f.source.Account, what)
	case code == codeFailed:
		return outcome.Errorf(outcome.Unauthorized, "account %s refuses the source's credentials for %s: check that the key or signature is of this account and has not expired, and this machine's clock", f.source.Account, what)
	case denied:
		return outcome.Errorf(outcome.Unauthorized, "account %s refuses the source's credentials for %s: they must be of this account, and allow to read and list container %s", f.source.Account, what, f.source.Container)
	case status == http.StatusNotFound:
		return outcome.Errorf(outcome.NotFound, "account %s has no container %s: correct %s.container", f.source.Account, f.source.Container, field)
	}
	return f.client.Unexpected(status, what)
}
