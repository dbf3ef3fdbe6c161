// Package s3 is a fake of a server of S3's protocol, for faults and for what other servers
// than S3 do. It verifies signatures, honours versions and conditions, and can lead to a
// CDN for the bytes of objects as Hugging Face's buckets do.
package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // What S3 has as ETag.
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Region of the server.
const Region = "eu-central-1"

// An Object is one version of an object.
type Object struct {
	Content []byte
	Header  map[string]string // Further headers of answers about it.
	Version string            // Its ID; empty in a bucket without versions.
	ETag    string            // Without quotation marks.
}

// A Fault changes how a request is answered. It returns false to have it answered as
// usual.
type Fault func(w http.ResponseWriter, r *http.Request) bool

// A Server has one bucket.
type Server struct {
	// Bucket is its name, and Base what is before it in a path: /namespace, or nothing.
	Bucket, Base string

	// Versioned keeps each version of an object.
	Versioned bool

	// Page is how many keys a page of a listing has.
	Page int

	// CDN serves the bytes of objects; nil to serve them here.
	CDN *CDN

	// NoConditions ignores If-Match, and NoChecksums refuses requests for checksums.
	NoConditions, NoChecksums bool

	mu       sync.Mutex
	objects  map[string][]Object // By key, the newest last.
	keys     map[string]awssdk.Credentials
	faults   []Fault
	requests []string
}

// New returns a server with an empty bucket, which anybody may read until there is a Key.
func New(bucket string) *Server {
	return &Server{Bucket: bucket, Page: 1000, objects: map[string][]Object{}, keys: map[string]awssdk.Credentials{}}
}

// Put adds an object, or its next version, with the SHA-256 that S3 has of one that was
// uploaded in one part with it.
func (s *Server) Put(key string, content []byte) {
	sum := sha256.Sum256(content)
	s.PutWith(key, content, map[string]string{"X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum[:]), "X-Amz-Checksum-Type": "FULL_OBJECT"})
}

// PutWith adds an object with headers.
func (s *Server) PutWith(key string, content []byte, header map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := md5.Sum(content) //nolint:gosec // As above.
	o := Object{Content: content, Header: header, ETag: hex.EncodeToString(sum[:])}
	if !s.Versioned {
		s.objects[key] = []Object{o}
		return
	}
	o.Version = fmt.Sprintf("v%d.%s", len(s.objects[key])+1, o.ETag[:8])
	s.objects[key] = append(s.objects[key], o)
}

// Delete removes an object with all of its versions.
func (s *Server) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// Let lets keys in, and from now on nobody without any.
func (s *Server) Let(k awssdk.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[k.AccessKeyID] = k
}

// Expire refuses a key from now on.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[id]
	k.CanExpire, k.Expires = true, time.Now().Add(-time.Hour)
	s.keys[id] = k
}

// Fail has a number of the requests that match be answered by a fault.
func (s *Server) Fail(times int, match func(*http.Request) bool, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		now := times > 0 && match(r)
		if now {
			times--
		}
		s.mu.Unlock()
		return now && f(w, r)
	})
}

// Requests returns the method and the URI of each request so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Start serves until the context ends, and returns the endpoint.
func (s *Server) Start(ctx context.Context) string {
	h := httptest.NewServer(s)
	context.AfterFunc(ctx, h.Close)
	return h.URL + s.Base
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	faults := slices.Clone(s.faults)
	s.mu.Unlock()
	for _, f := range faults {
		if f(w, r) {
			return
		}
	}
	if status, code := s.admit(r); code != "" {
		Refuse(status, code)(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, s.Base+"/"+s.Bucket)
	q := r.URL.Query()
	switch {
	case !ok || path != "" && path[0] != '/':
		Refuse(http.StatusNotFound, "NoSuchBucket")(w, r)
	case len(path) > 1:
		s.serveObject(w, r, path[1:])
	case q.Has("versioning"):
		status := ""
		if s.Versioned {
			status = "<Status>Enabled</Status>"
		}
		_, _ = fmt.Fprintf(w, `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%s</VersioningConfiguration>`, status)
	case q.Has("versions"):
		s.listVersions(w, q)
	default:
		s.list(w, q)
	}
}

// admit returns the status and the code of an error about a request's signature.
func (s *Server) admit(r *http.Request) (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		return 0, ""
	}
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	id, rest, _ := strings.Cut(rest, "/")
	k, ok := s.keys[id]
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case id == "":
		return http.StatusForbidden, "AccessDenied"
	case !ok:
		return http.StatusForbidden, "InvalidAccessKeyId"
	case err != nil || time.Since(at).Abs() > 15*time.Minute:
		return http.StatusForbidden, "RequestTimeTooSkewed"
	case !strings.Contains(rest, "/"+Region+"/s3/"):
		return http.StatusBadRequest, "AuthorizationHeaderMalformed"
	case r.Header.Get("X-Amz-Security-Token") != k.SessionToken:
		return http.StatusForbidden, "InvalidToken"
	case s.NoChecksums && r.Header.Get("X-Amz-Checksum-Mode") != "", signature(r, k, at) != r.Header.Get("Authorization"):
		return http.StatusForbidden, "SignatureDoesNotMatch"
	case k.Expired():
		return http.StatusBadRequest, "ExpiredToken"
	}
	return 0, ""
}

// signature returns the header that a request must be authorized by.
func signature(r *http.Request, k awssdk.Credentials, at time.Time) string {
	signed := r.Clone(context.Background())
	_, names, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	signed.Header = http.Header{}
	for _, n := range strings.Split(names, ";") {
		if v := r.Header.Values(n); len(v) > 0 {
			signed.Header[http.CanonicalHeaderKey(n)] = v
		}
	}
	signed.URL.Host = r.Host
	k.CanExpire = false
	err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).
		SignHTTP(context.Background(), k, signed, r.Header.Get("X-Amz-Content-Sha256"), "s3", Region, at)
	if err != nil {
		return err.Error()
	}
	return signed.Header.Get("Authorization")
}

// Refuse is a Fault that answers with an error. One about the region names the right one.
func Refuse(status int, code string) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>secret-message</Message><Region>%s</Region></Error>", code, Region)
		}
		return true
	}
}

// version returns the version of an object that a request is for.
func (s *Server) version(key string, q url.Values) (o Object, status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.objects[key]
	id := q.Get("versionId")
	for _, o := range slices.Backward(all) {
		if id == "" || o.Version == id {
			return o, 0, ""
		}
	}
	if id != "" {
		return Object{}, http.StatusNotFound, "NoSuchVersion"
	}
	return Object{}, http.StatusNotFound, "NoSuchKey"
}

func (s *Server) serveObject(w http.ResponseWriter, r *http.Request, key string) {
	o, status, code := s.version(key, r.URL.Query())
	if want := r.Header.Get("If-Match"); code == "" && want != "" && want != `"`+o.ETag+`"` && !s.NoConditions {
		status, code = http.StatusPreconditionFailed, "PreconditionFailed"
	}
	if code != "" {
		Refuse(status, code)(w, r)
		return
	}
	if s.NoConditions {
		r.Header.Del("If-Match")
	}
	if s.CDN != nil && r.Method == http.MethodGet {
		http.Redirect(w, r, s.CDN.add(o.Content), http.StatusFound)
		return
	}
	w.Header().Set("ETag", `"`+o.ETag+`"`)
	if o.Version != "" {
		w.Header().Set("X-Amz-Version-Id", o.Version)
	}
	for name, value := range o.Header {
		if !strings.HasPrefix(name, "X-Amz-Checksum-") || r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			w.Header().Set(name, value)
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.Content))
}

// A listed object is an element of a listing.
type listed struct {
	Key       string
	VersionID string `xml:"VersionId,omitempty"`
	IsLatest  bool   `xml:",omitempty"`
	Size      int
	ETag      string
}

type listing struct {
	XMLName      xml.Name
	EncodingType string
	IsTruncated  bool
	Contents     []listed `xml:",omitempty"`
	Version      []listed `xml:",omitempty"`
	Next         string   `xml:"NextContinuationToken,omitempty"`
	NextKey      string   `xml:"NextKeyMarker,omitempty"`
	NextVersion  string   `xml:"NextVersionIdMarker,omitempty"`
}

// below returns all objects whose keys begin with a prefix, sorted: their latest versions,
// or all.
func (s *Server) below(prefix string, all bool) []listed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []listed
	for key, versions := range s.objects {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		for i, o := range slices.Backward(versions) {
			latest := i == len(versions)-1
			if latest || all {
				out = append(out, listed{Key: url.QueryEscape(key), VersionID: o.Version, IsLatest: latest, Size: len(o.Content), ETag: `"` + o.ETag + `"`})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b listed) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (s *Server) list(w http.ResponseWriter, q url.Values) {
	l := listing{XMLName: xml.Name{Local: "ListBucketResult"}, EncodingType: "url"}
	all := s.below(q.Get("prefix"), false)
	for i := range all {
		all[i].VersionID, all[i].IsLatest = "", false
	}
	from, _ := strconv.Atoi(q.Get("continuation-token"))
	to := min(from+s.Page, len(all))
	l.Contents = all[from:to]
	if to < len(all) {
		l.IsTruncated, l.Next = true, strconv.Itoa(to)
	}
	_ = xml.NewEncoder(w).Encode(l)
}

func (s *Server) listVersions(w http.ResponseWriter, q url.Values) {
	l := listing{XMLName: xml.Name{Local: "ListVersionsResult"}, EncodingType: "url"}
	all := s.below(q.Get("prefix"), true)
	from := 0
	if marker := q.Get("key-marker"); marker != "" {
		from = 1 + slices.IndexFunc(all, func(o listed) bool {
			return o.Key == url.QueryEscape(marker) && o.VersionID == q.Get("version-id-marker")
		})
	}
	to := min(from+s.Page, len(all))
	l.Version = all[from:to]
	if to < len(all) {
		l.IsTruncated, l.NextKey, l.NextVersion = true, all[to-1].Key, all[to-1].VersionID
	}
	_ = xml.NewEncoder(w).Encode(l)
}

// A CDN serves the bytes of objects to who has a link.
type CDN struct {
	url string

	mu      sync.Mutex
	content map[string][]byte
	headers []http.Header
}

// StartCDN serves until the context ends.
func StartCDN(ctx context.Context) *CDN {
	c := &CDN{content: map[string][]byte{}}
	h := httptest.NewServer(c)
	context.AfterFunc(ctx, h.Close)
	c.url = h.URL
	return c
}

// add returns a link to some bytes.
func (c *CDN) add(b []byte) string {
	sum := sha256.Sum256(b)
	name := "/" + hex.EncodeToString(sum[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.content[name] = b
	return c.url + name
}

// Headers returns those of all requests so far.
func (c *CDN) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// ServeHTTP implements http.Handler.
func (c *CDN) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.headers = append(c.headers, r.Header.Clone())
	b, ok := c.content[r.URL.Path]
	c.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"cdn`+r.URL.Path[1:9]+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}
