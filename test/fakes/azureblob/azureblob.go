// Package azureblob is a fake of one container of Azure Blob Storage. Other than the
// emulator, it holds requests to what the service does: versions, If-Match, and
// authorizations, whose signatures it computes itself.
package azureblob

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // What the service has of a blob.
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a Server is called, and its secrets.
const (
	Account   = "examplemodels"
	Container = "models"

	// SAS is a shared access signature that may read and list.
	SAS = "sv=2023-11-03&sr=c&sp=rl&se=2099-01-01T00%3A00%3A00Z&sig=c2lnbmF0dXJl%2Bof%2FSAS%3D"
)

// Key is the account's, in base64.
var Key = base64.StdEncoding.EncodeToString([]byte("the key of an account, which has some length"))

// A Server is a container of an account.
type Server struct {
	// Versioned reports whether the account keeps versions. Hierarchical reports that it cannot,
	// and refuses to list them.
	Versioned, Hierarchical bool

	// Public reports whether everybody may read and list.
	Public bool

	// Token returns whether a bearer token is accepted; nil for none.
	Token func(token string) bool

	// PageSize bounds the pages of a listing; 5000 if zero.
	PageSize int

	mu    sync.Mutex
	blobs map[string][]*version // All versions of a key, the latest at the end.
	count int
	sas   string
	seen  []*http.Request
}

// A version of a blob.
type version struct {
	content       []byte
	md5, encoding string
	etag, id      string
	directory     bool
}

// New returns a container without blobs.
func New() *Server { return &Server{blobs: map[string][]*version{}, sas: SAS} }

// Put uploads a blob at once, of which the service computes the MD5.
func (s *Server) Put(key string, content []byte) {
	sum := md5.Sum(content) //nolint:gosec // As above.
	s.put(key, &version{content: content, md5: base64.StdEncoding.EncodeToString(sum[:])})
}

// PutBlocks uploads a blob in blocks, with the MD5 that the uploader says; empty for none.
func (s *Server) PutBlocks(key string, content []byte, md5, encoding string) {
	s.put(key, &version{content: content, md5: md5, encoding: encoding})
}

// MakeDirectory creates a directory, as accounts with a hierarchical namespace have them.
func (s *Server) MakeDirectory(key string) { s.put(key, &version{directory: true}) }

func (s *Server) put(key string, v *version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	v.etag = fmt.Sprintf("0x8DC%012X", s.count)
	if !s.Versioned {
		s.blobs[key] = []*version{v}
		return
	}
	v.id = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(s.count) * time.Second).Format("2006-01-02T15:04:05.0000000Z")
	s.blobs[key] = append(s.blobs[key], v)
}

// Delete deletes a blob with all of its versions.
func (s *Server) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, key)
}

// SetSAS has another signature accepted, and SAS no more.
func (s *Server) SetSAS(sas string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sas = sas
}

// Requests returns the requests that came.
func (s *Server) Requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r)
	if code := s.unauthorized(r); code != "" {
		refuse(w, http.StatusForbidden, code)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/"+Container)
	switch {
	case r.Method != http.MethodGet, r.Header.Get("X-Ms-Version") == "":
		refuse(w, http.StatusBadRequest, "InvalidHeaderValue")
	case !ok:
		refuse(w, http.StatusNotFound, "ContainerNotFound")
	case path == "" && r.URL.Query().Get("restype") == "container" && r.URL.Query().Get("comp") == "list":
		s.list(w, r)
	case strings.HasPrefix(path, "/"):
		s.get(w, r, path[1:])
	default:
		refuse(w, http.StatusNotFound, "ContainerNotFound")
	}
}

// refuse answers with an error, and repeats nothing.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Ms-Error-Code", code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>none</Message></Error>", code)
}

// unauthorized returns the code of what is wrong with a request's authorization.
func (s *Server) unauthorized(r *http.Request) string {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, err := url.ParseQuery(s.sas)
	if err != nil {
		panic(err)
	}
	switch q := r.URL.Query(); {
	case scheme == "SharedKey":
		date, err := http.ParseTime(r.Header.Get("X-Ms-Date"))
		if off := time.Since(date); err != nil || off > 15*time.Minute || off < -15*time.Minute || value != Account+":"+sign(r) {
			return "AuthenticationFailed"
		}
	case scheme == "Bearer":
		if s.Token == nil || !s.Token(value) || r.TLS == nil {
			return "AuthenticationFailed"
		}
	case q.Has("sig"):
		for name := range want {
			if q.Get(name) != want.Get(name) {
				return "AuthenticationFailed"
			}
		}
	case !s.Public:
		return "NoAuthenticationInformation"
	}
	return ""
}

// sign returns the signature that a request must have
// (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key).
func sign(r *http.Request) string {
	h := func(name string) string { return r.Header.Get(name) }
	text := r.Method + "\n" + h("Content-Encoding") + "\n" + h("Content-Language") + "\n\n" + h("Content-MD5") + "\n" + h("Content-Type") + "\n\n" +
		h("If-Modified-Since") + "\n" + h("If-Match") + "\n" + h("If-None-Match") + "\n" + h("If-Unmodified-Since") + "\n" + h("Range") + "\n"
	var names []string
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Ms-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		text += strings.ToLower(n) + ":" + h(n) + "\n"
	}
	text += "/" + Account + r.URL.EscapedPath()
	query := r.URL.Query()
	names = names[:0]
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, n := range names {
		text += "\n" + strings.ToLower(n) + ":" + strings.Join(query[n], ",")
	}
	key, err := base64.StdEncoding.DecodeString(Key)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// get answers with a blob, or a range of it.
func (s *Server) get(w http.ResponseWriter, r *http.Request, key string) {
	all := s.blobs[key]
	i := len(all) - 1
	if id := r.URL.Query().Get("versionid"); id != "" {
		i = slices.IndexFunc(all, func(v *version) bool { return v.id == id })
	}
	if i < 0 {
		refuse(w, http.StatusNotFound, "BlobNotFound")
		return
	}
	v := all[i]
	if m := r.Header.Get("If-Match"); m != "" && m != `"`+v.etag+`"` {
		refuse(w, http.StatusPreconditionFailed, "ConditionNotMet")
		return
	}
	w.Header().Set("ETag", `"`+v.etag+`"`)
	if v.id != "" {
		w.Header().Set("X-Ms-Version-Id", v.id)
	}
	if v.encoding != "" {
		w.Header().Set("Content-Encoding", v.encoding)
	}
	if r.Header.Get("Range") == "" {
		w.Header().Set("Content-MD5", v.md5)
	}
	r.Header.Del("If-Range") // Which the service does not know.
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, withoutMatch(r), "", time.Time{}, strings.NewReader(string(v.content)))
}

// withoutMatch returns a request without the condition that was met.
func withoutMatch(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("If-Match")
	return r
}

// list answers with a page of the listing. The marker is the number of its first entry.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	versions := q.Get("include") == "versions"
	if versions && s.Hierarchical {
		refuse(w, http.StatusConflict, "FeatureNotSupportedForAccount")
		return
	}
	var entries []string
	keys := make([]string, 0, len(s.blobs))
	for key := range s.blobs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !strings.HasPrefix(key, q.Get("prefix")) {
			continue
		}
		all := s.blobs[key]
		for i, v := range all {
			isNow := i == len(all)-1
			if versions || isNow {
				entries = append(entries, v.entry(key, isNow))
			}
		}
	}
	size, err := strconv.Atoi(q.Get("maxresults"))
	if err != nil || size > 5000 {
		size = 5000
	}
	if s.PageSize > 0 {
		size = min(size, s.PageSize)
	}
	from, _ := strconv.Atoi(strings.TrimPrefix(q.Get("marker"), "2!"))
	from = min(from, len(entries))
	to, next := min(from+size, len(entries)), ""
	if to < len(entries) {
		next = "2!" + strconv.Itoa(to)
	}
	w.Header().Set("Content-Type", "application/xml")
	body := "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"" + Container + "\"><Blobs>" +
		strings.Join(entries[from:to], "") + "</Blobs><NextMarker>" + next + "</NextMarker></EnumerationResults>"
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write([]byte(body))
}

// entry returns a version in a listing.
func (v *version) entry(key string, isNow bool) string {
	var name strings.Builder
	_ = xml.EscapeText(&name, []byte(key))
	element := "<Name>" + name.String() + "</Name>"
	if strings.ContainsRune(key, '\uffff') {
		element = `<Name Encoded="true">` + url.PathEscape(key) + "</Name>"
	}
	id, kind := "", ""
	if v.id != "" {
		id = "<VersionId>" + v.id + "</VersionId>"
		if isNow {
			id += "<IsCurrentVersion>true</IsCurrentVersion>"
		}
	}
	if v.directory {
		kind = "<ResourceType>directory</ResourceType>"
	}
	return "<Blob>" + element + id + "<Properties><Etag>" + v.etag + "</Etag>" + kind + "<Content-Length>" + strconv.Itoa(len(v.content)) +
		"</Content-Length><Content-Encoding>" + v.encoding + "</Content-Encoding><Content-MD5>" + v.md5 + "</Content-MD5><BlobType>BlockBlob</BlobType></Properties></Blob>"
}
