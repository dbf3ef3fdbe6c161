package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A quirk is another answer than that of a registry to requests of one method
// whose path holds a text.
type quirk struct {
	method, path string
	status       int // Of the answer; 0 for the registry's own with other headers.
	body         string
	header       []string // Names and values; an empty value drops the header.
}

// wrap returns what stands before a registry with quirks. The first that fits a
// request decides.
func wrap(quirks ...quirk) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, q := range quirks {
				if r.Method != q.method || !strings.Contains(r.URL.Path, q.path) {
					continue
				}
				if q.status > 0 {
					answer(q.status, q.body, q.header...)(nil).ServeHTTP(w, r)
					return
				}
				w = &rewriter{ResponseWriter: w, header: q.header}
				break
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A rewriter changes headers of an answer.
type rewriter struct {
	http.ResponseWriter

	header []string
	done   bool
}

func (w *rewriter) WriteHeader(status int) {
	if w.done = true; status/100 == 2 {
		for i := 0; i < len(w.header); i += 2 {
			w.Header().Del(w.header[i])
			switch w.header[i+1] {
			case "":
			case "none":
				// Not even what net/http finds out.
				w.Header()[w.header[i]] = nil
			default:
				w.Header().Set(w.header[i], w.header[i+1])
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *rewriter) Write(b []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// TestOptionalParts has a registry leave out, answer otherwise or refuse what the
// distribution specification lets it (distribution-spec 1.1). What is to be known
// is found out in another way, and else the error says what the registry does.
func TestOptionalParts(t *testing.T) {
	const (
		head, get, put, del    = http.MethodHead, http.MethodGet, http.MethodPut, http.MethodDelete
		manifests, blobs, tags = "/manifests/", "/blobs/sha256:", "/tags/list"
		html                   = "<html>log in</html>"
	)
	resolve := func(t *testing.T, c *Client, s stored) error {
		for _, reference := range []string{"v1", s.manifest.Digest.String()} {
			d, err := c.Resolve(t.Context(), s.repository, reference)
			if err != nil {
				return err
			}
			if d.Digest != s.manifest.Digest || d.Size != s.manifest.Size || d.MediaType != s.manifest.MediaType {
				t.Errorf("Resolve(%q): got %+v", reference, d)
			}
		}
		return nil
	}
	manifest := func(t *testing.T, c *Client, s stored) error {
		for _, reference := range []string{"v1", s.manifest.Digest.String()} {
			d, b, err := c.Manifest(t.Context(), s.repository, reference)
			if err != nil {
				return err
			}
			if d.Digest != s.manifest.Digest || d.MediaType != s.manifest.MediaType || !bytes.Equal(b, s.raw) {
				t.Errorf("Manifest(%q): got %+v, %q", reference, d, b)
			}
		}
		return nil
	}
	push := func(t *testing.T, c *Client, s stored) error {
		return c.PushManifest(t.Context(), s.repository, s.manifest, s.raw, "v2")
	}
	has := func(t *testing.T, c *Client, s stored) error {
		has, err := c.HasBlob(t.Context(), s.repository, s.blob)
		if err == nil && !has {
			t.Error("HasBlob(...): want the blob")
		}
		return err
	}
	open := func(t *testing.T, c *Client, s stored) error {
		rc, err := c.OpenBlob(t.Context(), s.repository, s.blob)
		if err != nil {
			return err
		}
		defer rc.Close()
		b, err := io.ReadAll(rc)
		if err == nil && !bytes.Equal(b, s.content) {
			t.Errorf("OpenBlob(...): got %d bytes", len(b))
		}
		return err
	}
	referrers := func(t *testing.T, c *Client, s stored) error {
		d, raw := manifestOf(t, s.blob, &s.manifest)
		if err := c.PushManifest(t.Context(), s.repository, d, raw, d.Digest.String()); err != nil {
			return err
		}
		list, err := c.Referrers(t.Context(), s.repository, s.manifest.Digest, testType)
		if err == nil && (len(list) != 1 || list[0].Digest != d.Digest) {
			t.Errorf("Referrers(...): want %s, got %v", d.Digest, list)
		}
		return err
	}
	list := func(t *testing.T, c *Client, s stored) error {
		all, err := c.Tags(t.Context(), s.repository)
		if err == nil && !slices.Contains(all, "v1") {
			t.Errorf("Tags(...): want v1, got %v", all)
		}
		return err
	}
	untag := func(t *testing.T, c *Client, s stored) error { return c.Untag(t.Context(), s.repository, "v1") }
	remove := func(t *testing.T, c *Client, s stored) error {
		return c.DeleteManifest(t.Context(), s.repository, s.manifest)
	}
	mount := func(t *testing.T, c *Client, s stored) error {
		_, err := c.Mount(t.Context(), s.repository, "other/one", s.blob)
		return err
	}

	cases := map[string]struct {
		reason  string
		quirk   quirk
		do      func(t *testing.T, c *Client, s stored) error
		want    outcome.Reason // Empty where it works.
		message string
	}{
		"HeadNoDigest":      {reason: "Docker-Content-Digest may be missing: the manifest is read.", quirk: quirk{method: head, path: manifests, header: []string{headerDigest, ""}}, do: resolve},
		"HeadBadDigest":     {reason: "Or hold no digest.", quirk: quirk{method: head, path: manifests, header: []string{headerDigest, "x"}}, do: resolve},
		"HeadOtherDigest":   {reason: "What it says of a tag is believed, but not of a digest.", quirk: quirk{method: head, path: "/manifests/sha256:", header: []string{headerDigest, "sha256:" + strings.Repeat("0", 64)}}, do: resolve},
		"HeadNoType":        {reason: "A HEAD without a type.", quirk: quirk{method: head, path: manifests, header: []string{headerType, "none"}}, do: resolve},
		"Head405":           {reason: "No HEAD.", quirk: quirk{method: head, path: manifests, status: 405}, do: resolve},
		"Head501":           {reason: "No HEAD yet.", quirk: quirk{method: head, path: manifests, status: 501}, do: resolve},
		"GetNoDigest":       {reason: "A GET without a digest.", quirk: quirk{method: get, path: manifests, header: []string{headerDigest, ""}}, do: manifest},
		"GetBadDigest":      {reason: "Or with one that is none.", quirk: quirk{method: get, path: manifests, header: []string{headerDigest, "x"}}, do: manifest},
		"GetGeneralType":    {reason: "A server of files does not know what they are.", quirk: quirk{method: get, path: manifests, header: []string{headerType, "application/octet-stream"}}, do: manifest},
		"GetHTML":           {reason: "A site that answers everything is no registry.", quirk: quirk{method: get, path: manifests, status: 200, body: html}, do: manifest, want: outcome.Unsupported, message: "sent no manifest"},
		"PutNoDigest":       {reason: "A PUT without a digest.", quirk: quirk{method: put, path: manifests, header: []string{headerDigest, ""}}, do: push},
		"PutBadDigest":      {reason: "Or with one that is none.", quirk: quirk{method: put, path: manifests, header: []string{headerDigest, "x"}}, do: push},
		"PutOtherDigest":    {reason: "A registry that changes the manifest.", quirk: quirk{method: put, path: manifests, header: []string{headerDigest, "sha256:" + strings.Repeat("0", 64)}}, do: push, want: outcome.Mismatch, message: "another digest"},
		"Put200":            {reason: "Another success.", quirk: quirk{method: put, path: manifests, status: 200}, do: push},
		"PutUnknownType":    {reason: "GitLab takes no types that it does not know.", quirk: quirk{method: put, path: manifests, status: 400, body: `{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":"unknown media type: application/vnd.cncf.model.manifest.v1+json"}]}`}, do: push, want: outcome.Unsupported, message: "spec.forProvider.format"},
		"Put415":            {reason: "So do others.", quirk: quirk{method: put, path: manifests, status: 415}, do: push, want: outcome.Unsupported, message: "media types"},
		"BlobHead405":       {reason: "No HEAD for blobs: one byte is read.", quirk: quirk{method: head, path: blobs, status: 405}, do: has},
		"BlobHead501":       {reason: "No HEAD for blobs yet.", quirk: quirk{method: head, path: blobs, status: 501}, do: has},
		"BlobHeadNoLength":  {reason: "A HEAD that tells no size.", quirk: quirk{method: head, path: blobs, header: []string{"Content-Length", "none"}}, do: has},
		"BlobHeadBadDigest": {reason: "Or a digest that is none.", quirk: quirk{method: head, path: blobs, header: []string{headerDigest, "x"}}, do: has},
		"BlobNoDigest":      {reason: "A blob's bytes are verified anyhow.", quirk: quirk{method: get, path: blobs, header: []string{headerDigest, "x"}}, do: open},
		"BlobNoLength":      {reason: "Its size is known.", quirk: quirk{method: get, path: blobs, header: []string{"Content-Length", ""}}, do: open},
		"Referrers400":      {reason: "No referrers API: the fallback tag is read.", quirk: quirk{method: get, path: "/referrers/", status: 400}, do: referrers},
		"Referrers404":      {reason: "No such API.", quirk: quirk{method: get, path: "/referrers/", status: 404}, do: referrers},
		"Referrers404Name":  {reason: "Whatever it says of it.", quirk: quirk{method: get, path: "/referrers/", status: 404, body: `{"errors":[{"code":"NAME_UNKNOWN"}]}`}, do: referrers},
		"Referrers405":      {reason: "No such method.", quirk: quirk{method: get, path: "/referrers/", status: 405}, do: referrers},
		"Referrers501":      {reason: "No such API yet.", quirk: quirk{method: get, path: "/referrers/", status: 501}, do: referrers},
		"ReferrersHTML":     {reason: "A page for people instead.", quirk: quirk{method: get, path: "/referrers/", status: 200, body: html, header: []string{headerType, "text/html"}}, do: referrers},
		"ReferrersUntyped":  {reason: "A page that has the type of a list.", quirk: quirk{method: get, path: "/referrers/", status: 200, body: html, header: []string{headerType, ocispec.MediaTypeImageIndex}}, do: referrers},
		"Tags404":           {reason: "No list of tags.", quirk: quirk{method: get, path: tags, status: 404}, do: list, want: outcome.NotFound},
		"Tags405":           {reason: "A list that is not for everybody.", quirk: quirk{method: get, path: tags, status: 405}, do: list, want: outcome.Unsupported, message: "list tags"},
		"TagsHTML":          {reason: "A page for people instead.", quirk: quirk{method: get, path: tags, status: 200, body: html}, do: list, want: outcome.Unsupported, message: "no list of tags"},
		"TagsOtherLink":     {reason: "A relation of no interest.", quirk: quirk{method: get, path: tags, header: []string{headerLink, `</v2/x/tags/list?last=z>; rel="last"`}}, do: list},
		"TagsBadLink":       {reason: "A next page without an address.", quirk: quirk{method: get, path: tags, header: []string{headerLink, `<mailto:x>; rel="next"`}}, do: list, want: outcome.Unsupported, message: "Link"},
		"TagsEndless":       {reason: "A next page for ever.", quirk: quirk{method: get, path: tags, status: 200, body: `{"tags":[]}`, header: []string{headerLink, `</v2/models/qwen3/tags/list?last=z>; rel="next"`}}, do: list, want: outcome.Unsupported, message: "too many pages"},
		"Untag400":          {reason: "Only digests can be deleted.", quirk: quirk{method: del, path: manifests, status: 400}, do: untag, want: outcome.Unsupported},
		"Untag405":          {reason: "Nothing can be deleted.", quirk: quirk{method: del, path: manifests, status: 405}, do: untag, want: outcome.Unsupported},
		"Delete400":         {reason: "Nothing with a tag can be deleted.", quirk: quirk{method: del, path: manifests, status: 400, body: `{"errors":[{"code":"DIGEST_INVALID"}]}`}, do: remove, want: outcome.Unsupported},
		"Delete405":         {reason: "Nothing can be deleted.", quirk: quirk{method: del, path: manifests, status: 405}, do: remove, want: outcome.Unsupported},
		"Delete200":         {reason: "Another success.", quirk: quirk{method: del, path: manifests, status: 200}, do: remove},
		"Delete204":         {reason: "And another.", quirk: quirk{method: del, path: manifests, status: 204}, do: remove},
		"Mount400":          {reason: "No mount: the blob is pushed.", quirk: quirk{method: http.MethodPost, path: "/uploads/", status: 400}, do: mount},
		"Mount405":          {reason: "No mount: the blob is pushed.", quirk: quirk{method: http.MethodPost, path: "/uploads/", status: 405}, do: mount},
		"ReferrersGeneral": {reason: "A list that is only called JSON.", quirk: quirk{method: get, path: "/referrers/", status: 200, body: `{"manifests":[]}`, header: []string{headerType, "application/json; charset=utf-8"}}, do: func(t *testing.T, c *Client, s stored) error {
			_, err := c.Referrers(t.Context(), s.repository, s.manifest.Digest, testType)
			return err
		}},
		"UploadNoLocation":   {reason: "An upload without a place.", quirk: quirk{method: http.MethodPost, path: "/uploads/", status: 202}, do: func(t *testing.T, c *Client, s stored) error { return operations["PushBlob"](t.Context(), c, s) }, want: outcome.Unsupported, message: "specification"},
		"UploadOtherRefusal": {reason: "A refusal of no known kind.", quirk: quirk{method: http.MethodPost, path: "/uploads/", status: 418}, do: func(t *testing.T, c *Client, s stored) error { return operations["PushBlob"](t.Context(), c, s) }, want: outcome.Unsupported, message: "418"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var quirks []quirk
			c := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { wrap(quirks...)(next).ServeHTTP(w, r) })
			})
			s := store(t, c, repository)
			quirks = []quirk{tc.quirk}
			err := tc.do(t, c, s)
			if reasonOf(err) != tc.want || err != nil && !strings.Contains(err.Error(), tc.message) {
				t.Errorf("\n%s\nwant %q with %q, got %q: %v", tc.reason, tc.want, tc.message, reasonOf(err), err)
			}
		})
	}
}

// TestPages has a registry behind a proxy write the address of the next page as
// it sees itself, which is not where it was asked.
func TestPages(t *testing.T) {
	for _, link := range []string{
		`</v2/models/qwen3/tags/list?last=a&n=1>; rel="next"`, `<http://registry.internal:5000/v2/models/qwen3/tags/list?last=a&n=1>; rel=next`,
		`</v2/models/qwen3/tags/list?last=z>; rel="last", </v2/models/qwen3/tags/list?last=a&n=1>; rel="next"`, `<list?last=a&n=1>`,
	} {
		c := serve(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("last") == "a" {
					_, _ = io.WriteString(w, `{"tags":["b"]}`)
					return
				}
				w.Header().Set(headerLink, link)
				_, _ = io.WriteString(w, `{"tags":["a"]}`)
			})
		})
		got, err := c.Tags(t.Context(), repository)
		if err != nil || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("Tags(...) with Link %s: want both pages, got %v, %v", link, got, err)
		}
	}
}

// TestHostileMetadata checks that what a registry answers is bounded before it is
// decoded.
func TestHostileMetadata(t *testing.T) {
	long := func(before, element string) string {
		return before + strings.TrimSuffix(strings.Repeat(element+",", (decode.MaxBytes-1000)/(len(element)+1)), ",") + "]}"
	}
	documents := map[string]string{
		"Layers": long(`{"layers":[`, "{}"), "Manifests": long(`{"manifests":[`, "{}"), "Tags": long(`{"tags":[`, `""`),
		"Bytes": strings.Repeat(" ", decode.MaxBytes+1) + "{}",
	}
	for name, document := range documents {
		c := serve(t, answer(http.StatusOK, document, headerType, ocispec.MediaTypeImageIndex))
		s := stored{repository: repository, manifest: describe(ocispec.MediaTypeImageManifest, []byte(document))}
		for _, op := range []string{"Manifest", "Referrers", "Tags", "DeleteManifest"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := operations[op](t.Context(), c, s)
			runtime.ReadMemStats(&after)
			const most = 64 << 20
			if got := after.TotalAlloc - before.TotalAlloc; !IsUnsupported(err) || got > most {
				t.Errorf("%s of %s: want Unsupported for %d bytes at most, got %v for %d bytes", op, name, most, err, got)
			}
		}
	}
}

// TestHostileLists has a registry answer with many pages, each with one large
// entry.
func TestHostileLists(t *testing.T) {
	large := strings.Repeat("a", 1<<20)
	pages := map[string]string{
		"Referrers": `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{"digest":"` + ocispec.DescriptorEmptyJSON.Digest.String() + `","annotations":{"a":"` + large + `"}}]}`,
		"Tags":      `{"tags":["` + large + `"]}`,
	}
	for op, page := range pages {
		asked := 0
		c := serve(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set(headerLink, "<"+r.URL.Path+`?last=a>; rel="next"`)
				w.Header().Set(headerType, ocispec.MediaTypeImageIndex)
				_, _ = io.WriteString(w, page)
			})
		})
		const most = maxListBytes>>20 + 1
		err := operations[op](t.Context(), c, stored{repository: repository, manifest: describe(ocispec.MediaTypeImageManifest, []byte(page))})
		if asked > most || err != nil && !IsUnsupported(err) {
			t.Errorf("%s: want %d pages at most to be read, got %d, %v", op, most, asked, err)
		}
	}
}

// TestNoRanges has registries that do not know ranges, or not as asked for.
func TestNoRanges(t *testing.T) {
	content := []byte("0123456789")
	d := describe("application/octet-stream", content)
	for name, refuse := range map[string]http.Handler{
		"416": answer(416, "")(nil), "400": answer(400, "")(nil), "501": answer(501, "")(nil),
		"206 without Content-Range": answer(206, "0123456789")(nil), "other range": answer(206, "0", "Content-Range", "bytes 0-0/10")(nil),
	} {
		c := serve(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					refuse.ServeHTTP(w, r)
					return
				}
				_, _ = w.Write(content)
			})
		})
		if got, err := readAt(t, c, d, 4); got != "456789" || err != nil {
			t.Errorf("OpenBlobAt(...) with %s: got %q, %v", name, got, err)
		}
	}
	var asked string
	c := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.Header.Get("Range")
			serving(content).ServeHTTP(w, r)
		})
	})
	if got, err := readAt(t, c, ocispec.Descriptor{Digest: d.Digest, Size: 3}, 0); got != "012" || err != nil || asked != "bytes=0-2" {
		t.Errorf("OpenBlobAt(...): want the first part of a blob alone to be asked for, got %q for %q, %v", got, asked, err)
	}
}

// TestUploadTooLarge has a proxy before the registry take small bodies only.
func TestUploadTooLarge(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		most   int64
		least  string // OCI-Chunk-Min-Length.
		want   outcome.Reason
	}{
		"Chunks":    {reason: "A blob goes in chunks that are taken.", most: 2 << 20},
		"Least":     {reason: "None of them is smaller than the registry wants.", most: 3 << 20, least: "2000000"},
		"Nonsense":  {reason: "A limit that is none is left out.", most: 2 << 20, least: "-1"},
		"TooSmall":  {reason: "At some size it is given up.", most: 1000, want: outcome.NoSpace},
		"OneChunk":  {reason: "Chunks as small as that are more than nothing.", most: 1 << 19},
		"TooLittle": {reason: "Nothing that the registry takes gets through the proxy.", most: 1 << 20, least: "2000000", want: outcome.NoSpace},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, content := contentOf(name, large)
			var chunks []string
			depot := &depot{refuse: func(r *http.Request) int {
				if r.ContentLength > tc.most {
					return http.StatusRequestEntityTooLarge
				}
				if r.Method == http.MethodPatch {
					chunks = append(chunks, r.Header.Get("Content-Range"))
				}
				return 0
			}}
			c := serve(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost && tc.least != "" {
						w.Header().Set("OCI-Chunk-Min-Length", tc.least)
					}
					depot.ServeHTTP(w, r)
				})
			})
			again := soon
			again.Tries = 10
			err := c.Upload(t.Context(), repository, d, (&shelf{content: content}).open, again)
			if reasonOf(err) != tc.want || err == nil && !bytes.Equal(depot.blob, content) {
				t.Fatalf("\n%s\nUpload(...): want %q, got %v", tc.reason, tc.want, err)
			}
			next := int64(0)
			for i, c := range chunks {
				var first, last int64
				if _, err := fmt.Sscanf(c, "%d-%d", &first, &last); err != nil || first != next || i < len(chunks)-1 && tc.least == "2000000" && last-first+1 < 2_000_000 {
					t.Errorf("\n%s\nUpload(...): chunk %d is %q, after %d bytes", tc.reason, i, c, next)
				}
				next = last + 1
			}
		})
	}
}
