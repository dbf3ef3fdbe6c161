package registry

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An UploadOption changes how a blob is uploaded.
type UploadOption func(*transfer)

// Resumable has an upload resume the session at a location that an earlier
// Upload of the same blob has noted; empty for none. It ignores a session that the
// registry no longer knows, or that is not this repository's. Upload calls note
// with each location at which another process may resume it, and with an empty one
// once none can. An upload that fails leaves the noted session at the
// registry, unless its bytes are wrong or the registry has no space for them.
//
// A location gives access to the upload, and anyone who can write the note can
// forge one. It therefore holds no host, and can only name uploads to this
// repository at the registry. Bytes that another process sent are not trusted
// before the registry, or a reader, has compared all of them with a trusted
// digest.
func Resumable(location string, note func(location string)) UploadOption {
	return func(t *transfer) {
		t.noted = note
		if u, ok := t.resumable(location); ok && !t.whole {
			t.session, t.adopted, t.sent = &session{location: u}, true, t.size
		}
	}
}

// maxLocation is how long a location may be.
const maxLocation = 4 << 10

var (
	sessionPattern = regexp.MustCompile(`^[A-Za-z0-9_=-][A-Za-z0-9._~=-]*$`)
	queryPattern   = regexp.MustCompile(`^[A-Za-z0-9._~%=&+/:,;@!*'()$-]*$`)
)

// uploadsPath is where the sessions of a repository are (distribution-spec 1.1,
// "Endpoints").
func (s sessions) uploadsPath() string { return "/v2/" + s.ref.Repository + "/blobs/uploads/" }

// resumable returns the URL of a noted location. It reports whether that is a
// session of this repository at the registry itself.
func (s sessions) resumable(location string) (*url.URL, bool) {
	rest, ok := strings.CutPrefix(location, s.uploadsPath())
	id, query, _ := strings.Cut(rest, "?")
	if !ok || len(location) > maxLocation || !sessionPattern.MatchString(id) || !queryPattern.MatchString(query) {
		return nil, false
	}
	// What would make another request of it.
	values, err := url.ParseQuery(query)
	if err != nil || values.Has("digest") || values.Has("mount") || values.Has("from") {
		return nil, false
	}
	u := s.own()
	u.Path, u.RawQuery = s.uploadsPath()+id, query
	return u, true
}

// location returns what resumable takes; empty for a session that another process
// cannot resume.
func (s sessions) location(of *session) string {
	if of == nil || !s.isOwn(of.location) {
		return ""
	}
	location := of.location.RequestURI()
	if _, ok := s.resumable(location); !ok {
		return ""
	}
	return location
}

// note tells where another process may resume the upload.
func (t *transfer) note() {
	if t.noted == nil {
		return
	}
	location := ""
	if !t.whole {
		location = t.location(t.session)
	}
	t.kept = location != ""
	t.noted(location)
}

// keeps reports whether the session is left at the registry for another process
// to resume, after an error that ended the upload.
func (t *transfer) keeps(ctx context.Context, err error) bool {
	if t.session == nil || !t.kept {
		return false
	}
	reason := outcome.ReasonOf(err)
	return ctx.Err() != nil || reason != outcome.Mismatch && reason != outcome.NoSpace
}

// checked returns an error unless the repository has the blob after the upload
// completed a session that another process began. Such a session is only known
// from a note, which may be forged.
func (t *transfer) checked(ctx context.Context) error {
	has, err := t.has(ctx)
	if err == nil && !has {
		err = outcome.Errorf(outcome.Mismatch, "registry %s completed an upload, and does not have its blob", t.host)
	}
	return err
}
