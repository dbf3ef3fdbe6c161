package registry

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	headerDigest = "Docker-Content-Digest"
	headerType   = "Content-Type"
	headerLink   = "Link"
)

// maxListBytes bounds the pages of a list together: entries may be few and large.
const maxListBytes = 2 * decode.MaxBytes

// A lenient client makes what oras-go insists on out of what the distribution
// specification leaves to a registry: headers that it may leave out, methods and
// endpoints that it need not have, and addresses of further pages. It bounds all
// metadata before oras-go decodes it.
type lenient struct {
	next remote.Client
	host string // The registry's, for messages.
	name string // The repository's.

	listed *int // How many bytes of lists were read.
}

// Do implements remote.Client.
func (c lenient) Do(req *http.Request) (*http.Response, error) {
	rsp, err := c.next.Do(req)
	if err != nil {
		return nil, err
	}
	_, endpoint, _ := strings.Cut(req.URL.Path, "/v2/"+c.name+"/")
	endpoint, reference, _ := strings.Cut(endpoint, "/")
	switch {
	case endpoint == "manifests" && req.Method == http.MethodHead:
		return c.head(req, rsp, reference)
	case endpoint == "manifests" && req.Method == http.MethodGet:
		return c.manifest(rsp, reference)
	case endpoint == "manifests" && req.Method == http.MethodPut, endpoint == "blobs" && req.Method == http.MethodPut:
		return accepted(rsp, http.StatusCreated), nil
	case endpoint == "manifests" && req.Method == http.MethodDelete:
		return accepted(rsp, http.StatusAccepted), nil
	case endpoint == "referrers":
		return c.referrers(rsp)
	case endpoint == "tags":
		return c.list(rsp)
	}
	return rsp, nil
}

// accepted turns another success into the one that oras-go looks for.
func accepted(rsp *http.Response, want int) *http.Response {
	if succeeded(rsp.StatusCode) {
		rsp.StatusCode = want
	}
	dropBadDigest(rsp)
	return rsp
}

// dropBadDigest drops a digest that is none. The header is optional
// (distribution-spec 1.1, "Legacy Docker support HTTP headers").
func dropBadDigest(rsp *http.Response) {
	if _, err := digest.Parse(rsp.Header.Get(headerDigest)); err != nil {
		rsp.Header.Del(headerDigest)
	}
}

// refusesMethod reports whether a status may mean that a registry, or a proxy
// before it, does not take a request's method or one of its headers.
func refusesMethod(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		return true
	}
	return false
}

// head returns the answer to a HEAD for a manifest. If that is refused, or leaves
// out what callers need, the manifest is read.
func (c lenient) head(req *http.Request, rsp *http.Response, reference string) (*http.Response, error) {
	dropBadDigest(rsp)
	if rsp.StatusCode != http.StatusOK && !refusesMethod(rsp.StatusCode) || rsp.StatusCode == http.StatusOK && describes(rsp, reference) {
		return rsp, nil
	}
	_ = rsp.Body.Close()
	get := req.Clone(req.Context())
	get.Method = http.MethodGet
	rsp, err := c.next.Do(get)
	if err != nil {
		return nil, err
	}
	return c.manifest(rsp, reference)
}

// describes reports whether an answer's header alone describes a manifest.
func describes(rsp *http.Response, reference string) bool {
	said := rsp.Header.Get(headerDigest)
	_, _, err := mime.ParseMediaType(rsp.Header.Get(headerType))
	_, perr := digest.Parse(reference)
	return err == nil && rsp.ContentLength > 0 && (perr == nil && (said == "" || said == reference) || perr != nil && said != "")
}

// manifest returns the answer to a GET for a manifest, with a header that
// describes its content, which it verifies.
func (c lenient) manifest(rsp *http.Response, reference string) (*http.Response, error) {
	if rsp.StatusCode != http.StatusOK {
		return rsp, nil
	}
	b, err := c.read(rsp, at(c.name, reference))
	if err != nil {
		return nil, err
	}
	dropBadDigest(rsp)
	want, err := digest.Parse(reference)
	if err != nil {
		want = digest.Digest(rsp.Header.Get(headerDigest))
	}
	if want == "" {
		want = digest.FromBytes(b)
	}
	if want.Algorithm().FromBytes(b) != want {
		return nil, outcome.Errorf(outcome.Mismatch, "registry %s sent another manifest than %s", c.host, at(c.name, reference))
	}
	kind, err := kindOf(b)
	if err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "registry %s sent no manifest for %s: check that a registry is at this host", c.host, at(c.name, reference)).Because(err)
	}
	if said, _, err := mime.ParseMediaType(rsp.Header.Get(headerType)); err != nil || slices.Contains(generalTypes, said) {
		rsp.Header.Set(headerType, kind)
	}
	rsp.Header.Set(headerDigest, want.String())
	return rsp, nil
}

// generalTypes are what servers call a manifest that do not know what it is.
var generalTypes = []string{"application/json", "text/json", "text/plain", "application/octet-stream", "binary/octet-stream"}

// kindOf returns the media type of a manifest by its content.
func kindOf(b []byte) (string, error) {
	var m struct {
		MediaType string     `json:"mediaType"`
		Manifests []struct{} `json:"manifests"`
	}
	if err := decode.JSON(b, &m); err != nil {
		return "", err
	}
	kind, _, err := mime.ParseMediaType(m.MediaType)
	switch {
	case err == nil:
		return kind, nil
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	}
	return ocispec.MediaTypeImageManifest, nil
}

// read reads an answer's content into memory, within bounds.
func (c lenient) read(rsp *http.Response, what string) ([]byte, error) {
	defer rsp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(rsp.Body, decode.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > decode.MaxBytes || decode.Check(b) != nil {
		return nil, outcome.Errorf(outcome.Unsupported,
			"what registry %s has as %s is more than %d bytes, or has more entries than a manifest of that size: no model is packed so", c.host, what, decode.MaxBytes)
	}
	rsp.Body, rsp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return b, nil
}

// readPage reads a page of a list as read does. It returns errEnough once the
// pages are more than maxListBytes together.
func (c lenient) readPage(rsp *http.Response, what string) ([]byte, error) {
	b, err := c.read(rsp, what)
	if *c.listed += len(b); err == nil && *c.listed > maxListBytes {
		return nil, errEnough
	}
	return b, err
}

// referrers returns the answer to a request for what refers to a manifest. Any
// other than a list is that of a registry without the API, which oras-go
// expects to be 404 (distribution-spec 1.1, "Unavailable Referrers API").
func (c lenient) referrers(rsp *http.Response) (*http.Response, error) {
	if rsp.StatusCode == http.StatusOK {
		b, err := c.readPage(rsp, "referrers in "+c.name)
		if err != nil {
			return nil, err
		}
		said, _, err := mime.ParseMediaType(rsp.Header.Get(headerType))
		if kind, kerr := kindOf(b); kerr == nil && kind == ocispec.MediaTypeImageIndex && (err != nil || said == kind || slices.Contains(generalTypes, said)) {
			rsp.Header.Set(headerType, kind)
			return rsp, c.paged(rsp)
		}
	}
	if rsp.StatusCode == http.StatusOK || rsp.StatusCode == http.StatusNotFound || refusesMethod(rsp.StatusCode) {
		_ = rsp.Body.Close()
		// Also what it says of a repository that it does not know: the fallback
		// tag is not there either then.
		rsp.StatusCode, rsp.Body, rsp.ContentLength = http.StatusNotFound, http.NoBody, 0
	}
	return rsp, nil
}

// list returns the answer to a request for tags.
func (c lenient) list(rsp *http.Response) (*http.Response, error) {
	if rsp.StatusCode != http.StatusOK {
		return rsp, nil
	}
	b, err := c.readPage(rsp, "tags of "+c.name)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return nil, outcome.Errorf(outcome.Unsupported, "registry %s sent no list of tags for %s", c.host, c.name)
	}
	return rsp, c.paged(rsp)
}

// paged makes of an answer's links (RFC 8288) the one to the next page, if there
// is one, at the registry itself: behind a proxy, registries write addresses of
// other hosts or schemes.
func (c lenient) paged(rsp *http.Response) error {
	links := strings.Join(rsp.Header.Values(headerLink), ",")
	rsp.Header.Del(headerLink)
	for {
		_, rest, ok := strings.Cut(links, "<")
		if !ok {
			return nil
		}
		target, rest, _ := strings.Cut(rest, ">")
		parameters, _, _ := strings.Cut(rest, "<")
		links = rest
		if !isNext(parameters) {
			continue
		}
		u, err := rsp.Request.URL.Parse(target)
		if err != nil || !strings.HasPrefix(u.Path, "/v2/") {
			return errBadLink
		}
		rsp.Header.Set(headerLink, "<"+(&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()+`>; rel="next"`)
		return nil
	}
}

var errBadLink = errors.New("Link is no address of a next page")

// isNext reports whether a link with these parameters names the next page, as
// one without a relation does.
func isNext(parameters string) bool {
	parameters = strings.ToLower(strings.ReplaceAll(parameters, `"`, ""))
	return !strings.Contains(parameters, "rel=") || strings.Contains(parameters, "rel=next")
}
