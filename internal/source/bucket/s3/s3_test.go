package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// atOnce retries without waiting.
func atOnce() retry.Policy {
	return retry.Policy{Tries: 3, FirstWait: time.Millisecond, MaxWait: time.Millisecond, MaxRetryAfter: time.Minute,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// folder returns the folder of a source.
func folder(t *testing.T, s pipeline.Source) *Folder {
	t.Helper()
	f, err := New(s, atOnce(), download.Options{})
	if err != nil {
		t.Fatalf("New(...): %v", err)
	}
	t.Cleanup(f.Close)
	return f
}

// at returns a source at a fake.
func at(t *testing.T, s *fake.Server) pipeline.Source {
	t.Helper()
	return pipeline.Source{S3: &pipeline.S3Source{Bucket: s.Bucket, Prefix: "models/a", Region: fake.Region, Endpoint: s.Start(t.Context())}}
}

// secret writes a Secret as the kubelet mounts it, and returns its folder.
func secret(t *testing.T, k awssdk.Credentials) string {
	t.Helper()
	dir := t.TempDir()
	rotate(t, dir, k)
	return dir
}

// rotate changes a Secret: a link to the folder of all values is replaced.
func rotate(t *testing.T, dir string, k awssdk.Credentials) {
	t.Helper()
	values, err := os.MkdirTemp(dir, "..")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{keyID: k.AccessKeyID, keySecret: k.SecretAccessKey, keySession: k.SessionToken} {
		if v == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(values, name), []byte(v+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "..new")
	if err := os.Symlink(filepath.Base(values), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// files returns the listed files with their hashes.
func files(t *testing.T, f *Folder) []file.File {
	t.Helper()
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatalf("List(...): %v", err)
	}
	if all, err = f.Complete(t.Context(), all); err != nil {
		t.Fatalf("Complete(...): %v", err)
	}
	return all
}

// read returns the bytes of a file.
func read(ctx context.Context, f *Folder, one file.File) ([]byte, error) {
	rc, err := f.Open(ctx, one, 0, one.Size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	return io.ReadAll(rc)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

var keys = awssdk.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret/key+with=signs", SessionToken: "session"}

// odd are keys that are not the same when they are escaped in another way.
var odd = []string{"config.json", "a b+c%20d.txt", "ü/ñ/模型.bin", "x=1&y=?#.txt", "q'(~)!*@:;,$.txt"}

func TestFolder(t *testing.T) {
	cases := map[string]struct {
		reason  string
		prepare func(s *fake.Server, source *pipeline.Source)
		want    file.File // Of config.json.
	}{
		"Plain": {
			reason:  "Without versions, an ETag is the pin.",
			prepare: func(*fake.Server, *pipeline.Source) {},
			want:    file.File{Path: "config.json", Size: 11, SHA256: sum([]byte("config.json")), Version: "etag:9a3f5e2a"},
		},
		"Versions": {
			reason:  "With versions, they are.",
			prepare: func(s *fake.Server, _ *pipeline.Source) { s.Versioned = true },
			want:    file.File{Path: "config.json", Size: 11, SHA256: sum([]byte("config.json")), Version: "version:v2"},
		},
		"ForbiddenVersions": {
			reason: "Those who may not list versions get the ETags.",
			prepare: func(s *fake.Server, _ *pipeline.Source) {
				s.Versioned = true
				s.Fail(100, func(r *http.Request) bool { return r.URL.Query().Has("versions") || r.URL.Query().Has("versioning") }, fake.Refuse(http.StatusForbidden, "AccessDenied"))
			},
			want: file.File{Path: "config.json", Size: 11, SHA256: sum([]byte("config.json")), Version: "etag:9a3f5e2a"},
		},
		"NoVersionsKnown": {
			reason: "A server may not know versions.",
			prepare: func(s *fake.Server, _ *pipeline.Source) {
				s.Fail(100, func(r *http.Request) bool { return r.URL.Query().Has("versions") || r.URL.Query().Has("versioning") }, fake.Refuse(http.StatusNotImplemented, "NotImplemented"))
			},
			want: file.File{Path: "config.json", Size: 11, SHA256: sum([]byte("config.json")), Version: "etag:9a3f5e2a"},
		},
		"Signed": {
			reason: "Requests for all keys are signed as the server verifies it.",
			prepare: func(s *fake.Server, source *pipeline.Source) {
				s.Let(keys)
				source.S3.RequesterPays = true
			},
			want: file.File{Path: "config.json", Size: 11, SHA256: sum([]byte("config.json")), Version: "etag:9a3f5e2a"},
		},
		"Namespace": {
			reason: "An endpoint may have a path, which is signed.",
			prepare: func(s *fake.Server, source *pipeline.Source) {
				s.Let(keys)
				s.Base = "/name space"
				source.S3.Endpoint = ""
			},
			want: file.File{Path: "config.json", Size: 11, SHA256: sum([]byte("config.json")), Version: "etag:9a3f5e2a"},
		},
		"NoChecksums": {
			reason:  "A server may take the header for checksums for a wrong signature.",
			prepare: func(s *fake.Server, _ *pipeline.Source) { s.Let(keys); s.NoChecksums = true },
			want:    file.File{Path: "config.json", Size: 11, MD5: "9a3f5e2a", Version: "etag:9a3f5e2a"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := fake.New("bucket.with-dots")
			s.Page = 2
			source := pipeline.Source{CredentialsFolder: secret(t, keys), S3: &pipeline.S3Source{Bucket: s.Bucket, Prefix: "/models/a/", Region: fake.Region, Endpoint: "-"}}
			tc.prepare(s, &source)
			source.S3.Endpoint = strings.ReplaceAll(s.Start(t.Context()), " ", "%20")
			for _, key := range odd {
				s.Put("models/a/"+key, []byte("an older version"))
				s.Put("models/a/"+key, []byte(key))
			}
			s.Put("models/a/", nil)
			s.Put("models/ab/other", []byte("other"))

			f := folder(t, source)
			got := files(t, f)
			if f.Name() != "s3://bucket.with-dots/models/a" {
				t.Errorf("\n%s\nName(): got %q", tc.reason, f.Name())
			}
			var paths []string
			for _, one := range got {
				paths = append(paths, one.Path)
				b, err := read(t.Context(), f, one)
				if err != nil || string(b) != one.Path {
					t.Errorf("\n%s\nOpen(%q): got %q, %v", tc.reason, one.Path, b, err)
				}
				if one.Path != tc.want.Path {
					continue
				}
				// The fake's ETags and versions are long, and no constants.
				for _, v := range []struct{ is, want *string }{{&one.Version, &tc.want.Version}, {&one.MD5, &tc.want.MD5}} {
					if *v.want != "" && strings.HasPrefix(*v.is, (*v.want)[:3]) {
						*v.is = *v.want
					}
				}
				if tc.want.MD5 != "" {
					one.MD5 = tc.want.MD5
				}
				if diff := cmp.Diff(tc.want, one); diff != "" {
					t.Errorf("\n%s\nComplete(...): -want, +got:\n%s", tc.reason, diff)
				}
			}
			want := slices.Sorted(slices.Values(odd))
			slices.Sort(paths)
			if diff := cmp.Diff(want, paths); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestComplete(t *testing.T) {
	const etag = "5d41402abc4b2a76b9719d911017c592" // Of hello.
	cases := map[string]struct {
		reason string
		header map[string]string
		want   file.File
	}{
		"SHA256":     {"A SHA-256 of all of an object is its own.", map[string]string{"X-Amz-Checksum-Sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "X-Amz-Checksum-Type": "FULL_OBJECT"}, file.File{SHA256: sum([]byte("hello"))}},
		"NoType":     {"Servers from before there were types say it without one.", map[string]string{"X-Amz-Checksum-Sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}, file.File{SHA256: sum([]byte("hello"))}},
		"Composite":  {"One of the hashes of parts is none of the object's.", map[string]string{"X-Amz-Checksum-Sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=-2", "X-Amz-Checksum-Type": "COMPOSITE", "X-Amz-Server-Side-Encryption": "aws:kms"}, file.File{}},
		"CRC64NVME":  {"What S3 computes if nothing else was sent.", map[string]string{"X-Amz-Checksum-Crc64nvme": "M3eFcAZSQlc=", "X-Amz-Checksum-Type": "FULL_OBJECT"}, file.File{CRC64NVME: "3377857006524257"}},
		"CRC32C":     {"What some clients send.", map[string]string{"X-Amz-Checksum-Crc32c": "mnG7TA==", "X-Amz-Checksum-Type": "FULL_OBJECT"}, file.File{CRC32C: "9a71bb4c"}},
		"MD5":        {"Of an object in one part the ETag is the MD5.", nil, file.File{MD5: etag}},
		"S3Key":      {"So it is with keys of S3's own.", map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}, file.File{MD5: etag}},
		"KMS":        {"With a key of KMS it is not.", map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms:dsse"}, file.File{}},
		"Customer":   {"Nor with one of the customer's.", map[string]string{"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"}, file.File{}},
		"NoChecksum": {"What is no checksum is left out.", map[string]string{"X-Amz-Checksum-Sha256": "AAAA", "X-Amz-Checksum-Crc32c": "?", "X-Amz-Checksum-Type": "FULL_OBJECT"}, file.File{MD5: etag}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := fake.New("bucket")
			s.PutWith("models/a/x", []byte("hello"), tc.header)
			f := folder(t, at(t, s))
			tc.want.Path, tc.want.Size, tc.want.Version = "x", 5, "etag:"+etag
			got := files(t, f)
			if diff := cmp.Diff([]file.File{tc.want}, got); diff != "" {
				t.Fatalf("\n%s\nComplete(...): -want, +got:\n%s", tc.reason, diff)
			}
			b, err := read(t.Context(), f, got[0])
			v := got[0].NewVerifier()
			_, _ = v.Write(b)
			if err == nil {
				err = v.Verify()
			}
			if err != nil {
				t.Errorf("\n%s\nVerify(): %v", tc.reason, err)
			}
		})
	}
}

// drop sends some bytes of an object and cuts the connection.
func drop(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Length", "9999999")
	_, _ = w.Write([]byte("part"))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// stall sends nothing until the client has had enough.
func stall(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

// isRead reports whether a request is for the bytes of an object.
func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/bucket")
}

func isList(r *http.Request) bool { return r.URL.Query().Has("list-type") }

func TestFaults(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	cases := map[string]struct {
		reason  string
		between func(t *testing.T, s *fake.Server) // The listing and the reading.
		list    bool                               // The listing, and not the reading, is what fails.
		want    outcome.Reason                     // Empty for none.
		message string
	}{
		"Drop":  {reason: "A stream that breaks is resumed.", between: func(_ *testing.T, s *fake.Server) { s.Fail(1, isRead, drop) }},
		"Stall": {reason: "So is one that stalls.", between: func(_ *testing.T, s *fake.Server) { s.Fail(1, isRead, stall) }},
		"SlowDown": {reason: "A limit of rates is waited for.", between: func(_ *testing.T, s *fake.Server) {
			s.Fail(2, isRead, fake.Refuse(http.StatusServiceUnavailable, "SlowDown"))
		}},
		"SlowHead": {reason: "For hashes as well.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(2, func(r *http.Request) bool { return r.Method == http.MethodHead }, fake.Refuse(http.StatusServiceUnavailable, "SlowDown"))
		}},
		"SlowList": {reason: "And for lists.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(2, isList, fake.Refuse(http.StatusServiceUnavailable, "SlowDown"))
		}},
		"NoEnd": {reason: "A limit that does not end is told.", between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, isRead, fake.Refuse(http.StatusServiceUnavailable, "SlowDown"))
		}, want: outcome.RateLimited, message: "limits the rate"},
		"Changed":   {reason: "A changed object is not read.", between: func(_ *testing.T, s *fake.Server) { s.Put("models/a/x", bytes.ToUpper(content)) }, want: outcome.Changed, message: `"x" of s3://bucket/models/a`},
		"Unhonored": {reason: "Nor at a server that knows no conditions.", between: func(_ *testing.T, s *fake.Server) { s.NoConditions = true; s.Put("models/a/x", bytes.ToUpper(content)) }, want: outcome.Changed},
		"Gone":      {reason: "Nor is one that is gone.", between: func(_ *testing.T, s *fake.Server) { s.Delete("models/a/x") }, want: outcome.Changed},
		"Archived": {reason: "What is archived cannot be read.", between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, isRead, fake.Refuse(http.StatusForbidden, "InvalidObjectState"))
		}, want: outcome.Unsupported, message: "restore it in S3"},
		"Denied": {reason: "Missing rights are named.", between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, isRead, fake.Refuse(http.StatusForbidden, "AccessDenied"))
		}, want: outcome.Unauthorized, message: "refuses anonymous requests"},
		"Encoded": {reason: "Bytes that were encoded are not taken.", between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, isRead, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(content)
				return true
			})
		}, want: outcome.Unavailable},
		"CutList": {reason: "A list that is cut off is asked for again.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(1, isList, func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<ListBucketResult><Contents><Key>models/a/x</Key>"))
				return true
			})
		}},
		"NoNext": {reason: "A list without a way to its rest is no list.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, isList, func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"))
				return true
			})
		}, want: outcome.Unsupported, message: "cuts the list"},
		"Endless": {reason: "Nor is one that goes round in circles.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(9999, isList, func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>"))
				return true
			})
		}, want: outcome.Unsupported},
		"NoBucket": {reason: "A bucket that is not there is named.", list: true, between: func(_ *testing.T, s *fake.Server) { s.Bucket = "other" }, want: outcome.NotFound, message: "there is no bucket"},
		"NoServer": {reason: "A server of something else is told from S3.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, func(*http.Request) bool { return true }, func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<html>Welcome</html>"))
				return true
			})
		}, want: outcome.Unavailable, message: "does not list"},
		"Region": {reason: "The right region is named.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, func(*http.Request) bool { return true }, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
				w.WriteHeader(http.StatusMovedPermanently)
				return true
			})
		}, want: outcome.Unsupported, message: "is in region us-west-2"},
		"Elsewhere": {reason: "Also if the server leads there.", list: true, between: func(_ *testing.T, s *fake.Server) {
			s.Fail(99, func(*http.Request) bool { return true }, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			})
		}, want: outcome.Unsupported, message: "is in region us-west-2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := fake.New("bucket")
			s.Put("models/a/x", content)
			f := folder(t, at(t, s))
			f.server.Idle, f.server.Retry = 200*time.Millisecond, atOnce()
			var b []byte
			var err error
			if tc.list {
				tc.between(t, s)
				var all []file.File
				if all, err = f.List(t.Context()); err == nil {
					all, err = f.Complete(t.Context(), all)
				}
				if err == nil {
					b, err = read(t.Context(), f, all[0])
				}
			} else {
				all := files(t, f)
				tc.between(t, s)
				b, err = read(t.Context(), f, all[0])
			}
			if tc.want == "" && (err != nil || !bytes.Equal(b, content)) {
				t.Fatalf("\n%s\nOpen(...): %d bytes, want %d, and %v", tc.reason, len(b), len(content), err)
			}
			if tc.want != "" && (outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.message) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("\n%s\nOpen(...): want reason %s with %q, got %s: %v", tc.reason, tc.want, tc.message, outcome.ReasonOf(err), err)
			}
		})
	}
}

func TestChangedWhileRead(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	cases := map[string]struct {
		reason    string
		versioned bool
		cdn       bool
		want      outcome.Reason
	}{
		"Versioned": {reason: "The pinned version is read to its end.", versioned: true},
		"ETag":      {reason: "Without versions, bytes of two contents are not mixed.", want: outcome.Changed},
		"CDN":       {reason: "Where bytes come from elsewhere, the object is compared afterwards.", cdn: true, want: outcome.Changed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := fake.New("bucket")
			s.Versioned = tc.versioned
			if tc.cdn {
				s.CDN, s.NoConditions = fake.StartCDN(t.Context()), true
			}
			s.Put("models/a/x", content)
			f := folder(t, at(t, s))
			f.server.Retry = atOnce()
			one := files(t, f)[0]
			// The first stream breaks, and what resumes it finds another object.
			s.Fail(1, isRead, func(w http.ResponseWriter, _ *http.Request) bool {
				if tc.cdn {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
				_, _ = w.Write(content[:1000])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			rc, err := f.Open(t.Context(), one, 0, one.Size)
			if err != nil {
				t.Fatalf("\n%s\nOpen(...): %v", tc.reason, err)
			}
			defer func() { _ = rc.Close() }()
			s.Put("models/a/x", bytes.ToUpper(content))
			b, err := io.ReadAll(rc)
			switch {
			case tc.want == "" && (err != nil || !bytes.Equal(b, content)):
				t.Errorf("\n%s\nRead(...): %d bytes and %v", tc.reason, len(b), err)
			case tc.want != "" && (outcome.ReasonOf(err) != tc.want || len(b) == len(content)):
				t.Errorf("\n%s\nRead(...): want reason %s before the end, got %d bytes and %v", tc.reason, tc.want, len(b), err)
			}
		})
	}
}

// Buckets of Hugging Face answer with a redirect to a CDN.
func TestRedirect(t *testing.T) {
	s := fake.New("bucket")
	s.Base, s.NoConditions, s.CDN = "/namespace", true, fake.StartCDN(t.Context())
	s.Let(keys)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	s.Put("models/a/x", content)
	source := at(t, s)
	source.CredentialsFolder = secret(t, keys)
	f, err := New(source, atOnce(), download.Options{Range: 1 << 20, Parallel: 4, Budget: download.NewBudget(16 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	one := files(t, f)[0]
	b, err := read(t.Context(), f, one)
	if err != nil || !bytes.Equal(b, content) {
		t.Errorf("Open(...): %d bytes, want %d, and %v", len(b), len(content), err)
	}
	if len(s.CDN.Headers()) < 4 {
		t.Errorf("Open(...): want several ranges, got %d requests", len(s.CDN.Headers()))
	}
	for _, h := range s.CDN.Headers() {
		for name := range h {
			if strings.HasPrefix(name, "X-Amz-") || name == "Authorization" || name == "If-Match" {
				t.Errorf("Open(...): another host got header %s", name)
			}
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Run("Renewed", func(t *testing.T) {
		s := fake.New("bucket")
		s.Let(keys)
		s.Put("models/a/x", []byte("hello"))
		source := at(t, s)
		source.CredentialsFolder = secret(t, keys)
		f := folder(t, source)
		one := files(t, f)[0]
		s.Expire(keys.AccessKeyID)
		next := awssdk.Credentials{AccessKeyID: "ASIANEXT", SecretAccessKey: "next", SessionToken: "next"}
		s.Let(next)
		timer := time.AfterFunc(300*time.Millisecond, func() { rotate(t, source.CredentialsFolder, next) })
		defer timer.Stop()
		if b, err := read(t.Context(), f, one); err != nil || string(b) != "hello" {
			t.Errorf("Open(...) with keys that are renewed: got %q, %v", b, err)
		}
	})
	cases := map[string]struct {
		reason  string
		change  func(k *awssdk.Credentials)
		code    string
		want    outcome.Reason
		message string
	}{
		"WrongSecret":  {reason: "The key of the Secret is named.", change: func(k *awssdk.Credentials) { k.SecretAccessKey = "other" }, want: outcome.Unauthorized, message: "correct AWS_SECRET_ACCESS_KEY"},
		"WrongID":      {reason: "So is its ID.", change: func(k *awssdk.Credentials) { k.AccessKeyID = "other" }, want: outcome.Unauthorized, message: "correct AWS_ACCESS_KEY_ID"},
		"WrongSession": {reason: "And the session.", change: func(k *awssdk.Credentials) { k.SessionToken = "other" }, want: outcome.Unauthorized, message: "put new keys"},
		"Skewed":       {reason: "A wrong clock is told.", code: "RequestTimeTooSkewed", want: outcome.Unauthorized, message: "correct the clock"},
		"Denied":       {reason: "Rights and requester pays are named.", code: "AccessDenied", want: outcome.Unauthorized, message: "allow the account s3:ListBucket on the bucket, or set spec.forProvider.source.s3.requesterPays"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := fake.New("bucket")
			s.Let(keys)
			if tc.code != "" {
				s.Fail(99, func(*http.Request) bool { return true }, fake.Refuse(http.StatusForbidden, tc.code))
			}
			mine := keys
			if tc.change != nil {
				tc.change(&mine)
			}
			source := at(t, s)
			source.CredentialsFolder = secret(t, mine)
			_, err := folder(t, source).List(t.Context())
			if outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.message) || strings.Contains(err.Error(), mine.SecretAccessKey) {
				t.Errorf("\n%s\nList(...): want reason %s with %q, got %v", tc.reason, tc.want, tc.message, err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	yes, no := true, false
	cases := map[string]struct {
		reason string
		source pipeline.S3Source
		want   string // The URL of an object, or a part of the error.
	}{
		"AWS":       {"At AWS the host names the bucket.", pipeline.S3Source{Bucket: "models", Region: "eu-central-1"}, "https://models.s3.eu-central-1.amazonaws.com/k%20%2B"},
		"Default":   {"The default region is AWS's own.", pipeline.S3Source{Bucket: "models"}, "https://models.s3.us-east-1.amazonaws.com/k%20%2B"},
		"China":     {"China has a domain of its own.", pipeline.S3Source{Bucket: "models", Region: "cn-north-1"}, "https://models.s3.cn-north-1.amazonaws.com.cn/k%20%2B"},
		"Dots":      {"No certificate is for names with dots.", pipeline.S3Source{Bucket: "my.models", Region: "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com/my.models/k%20%2B"},
		"PathStyle": {"The path names the bucket if that is asked for.", pipeline.S3Source{Bucket: "models", PathStyle: &yes}, "https://s3.us-east-1.amazonaws.com/models/k%20%2B"},
		"Endpoint":  {"At other servers the path does.", pipeline.S3Source{Bucket: "models", Endpoint: "http://ceph.example.com:8080/"}, "http://ceph.example.com:8080/models/k%20%2B"},
		"Path":      {"An endpoint's path is before it.", pipeline.S3Source{Bucket: "models", Endpoint: "https://s3.hf.co/acme"}, "https://s3.hf.co/acme/models/k%20%2B"},
		"HostStyle": {"Unless the host should.", pipeline.S3Source{Bucket: "models", Endpoint: "https://example.com", PathStyle: &no}, "https://models.example.com/k%20%2B"},
		"NoBucket":  {"A bucket has a name.", pipeline.S3Source{Bucket: "evil.com/x"}, "no name of a bucket"},
		"NoRegion":  {"A region has one, too.", pipeline.S3Source{Bucket: "models", Region: "x/y"}, "no name of a region"},
		"NoURL":     {"An endpoint is a URL.", pipeline.S3Source{Bucket: "models", Endpoint: "example.com"}, "no URL"},
		"User":      {"Without an account.", pipeline.S3Source{Bucket: "models", Endpoint: "https://u:p@example.com"}, "no URL"},
		"Prefix":    {"A prefix is a folder.", pipeline.S3Source{Bucket: "models", Prefix: "a/../b"}, "no path of a folder"},
		"Payer":     {"Nobody pays without a name.", pipeline.S3Source{Bucket: "models", RequesterPays: true}, "nobody pays"},
		"Identity":  {"AWS's identities are for AWS.", pipeline.S3Source{Bucket: "models", Identity: true, Endpoint: "https://example.com"}, "none of AWS's hosts"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, err := New(pipeline.Source{S3: &tc.source}, atOnce(), download.Options{})
			got := fmt.Sprint(err)
			if err == nil {
				got = f.urlOf("k +", nil).String()
			}
			if err == nil && got != tc.want || err != nil && (!strings.Contains(got, tc.want) || outcome.ReasonOf(err) != outcome.Unsupported) {
				t.Errorf("\n%s\nNew(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a+b%2Fc</Key><Size>1</Size><ETag>&quot;x&quot;</ETag></Contents><NextContinuationToken>t</NextContinuationToken></ListBucketResult>`))
	f.Add([]byte(`<ListVersionsResult><Version><Key>a</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>-1</Size></Version><NextKeyMarker>%zz</NextKeyMarker></ListVersionsResult>`))
	f.Add([]byte(`<Error><Code>PermanentRedirect</Code><Region>us-west-2</Region></Error>`))
	f.Add([]byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult>&a;</ListBucketResult>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, root := range []string{"ListBucketResult", "ListVersionsResult"} {
			p, err := parsePage(b, root)
			if n := len(p.Contents) + len(p.Versions); err != nil && n > 0 || n > len(b) {
				t.Errorf("parsePage(...): %d objects of %d bytes, and %v", n, len(b), err)
			}
		}
		_, _ = parseVersioning(b)
		if e := parseError(b); e.Code != "" && !code.MatchString(e.Code) || e.Region != "" && !regionName.MatchString(e.Region) {
			t.Errorf("parseError(...): %+v", e)
		}
	})
}
