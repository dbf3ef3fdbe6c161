package s3

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// These tests are against a real server, versitygw.

// gateway returns a server with a bucket.
func gateway(t *testing.T, bucket string, versions bool) *fake.Gateway {
	t.Helper()
	if testing.Short() {
		t.Skip("needs versitygw, whose build takes minutes, which -short leaves out")
	}
	g, err := fake.StartGateway(t.Context(), os.Stderr, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	if err := g.Bucket(t.Context(), bucket, versions); err != nil {
		t.Fatal(err)
	}
	return g
}

// atGateway returns the source of a folder of a server.
func atGateway(t *testing.T, g *fake.Gateway, bucket, prefix string) pipeline.Source {
	t.Helper()
	return pipeline.Source{CredentialsFolder: secret(t, g.Keys), S3: &pipeline.S3Source{Bucket: bucket, Prefix: prefix, Region: fake.Region, Endpoint: g.Endpoint}}
}

func TestGateway(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string]bool{"Versions": true, "NoVersions": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gateway(t, "models", versions)
			want := map[string][]byte{}
			put := func(path string, content []byte, header map[string]string) {
				want[path] = content
				if err := g.Put(t.Context(), "models", "team a/"+path, content, header); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range []string{"config.json", "a b+c%20d.txt", "ü/ñ/模型.bin", "x=1&y=?#.txt", "empty"} {
				put(key, []byte(strings.TrimPrefix(key, "empty")), nil)
			}
			put("replaced", []byte("before"), nil)
			put("replaced", []byte("after!"), map[string]string{"X-Amz-Sdk-Checksum-Algorithm": "SHA256", "X-Amz-Checksum-Sha256": "93jazAmjJpkNY1aAY4U/3/s50HDuYEkFTiOxpmbRv2M="})
			parts := [][]byte{bytes.Repeat([]byte("p"), 5<<20), bytes.Repeat([]byte("q"), 3<<20)}
			want["parts.bin"] = slices.Concat(parts...)
			if err := g.PutParts(t.Context(), "models", "team a/parts.bin", parts); err != nil {
				t.Fatal(err)
			}
			if err := g.Put(t.Context(), "models", "team ab/other", []byte("other"), nil); err != nil {
				t.Fatal(err)
			}
			f, err := New(atGateway(t, g, "models", "team a"), atOnce(), download.Options{Range: 1 << 20, Parallel: 4, Budget: download.NewBudget(8 << 20)})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, one := range files(t, f) {
				if strings.HasPrefix(one.Version, pinVersion) != versions {
					t.Errorf("List(...): %q is pinned by %q", one.Path, one.Version)
				}
				if one.SHA256+one.CRC64NVME+one.MD5 == "" || (one.Path == "replaced") != (one.SHA256 != "") || one.Path == "parts.bin" && one.CRC64NVME == "" {
					t.Errorf("Complete(...): %q has other hashes than the server's: %+v", one.Path, one)
				}
				b, err := read(t.Context(), f, one)
				v := one.NewVerifier()
				_, _ = v.Write(b)
				if err == nil {
					err = v.Verify()
				}
				if content, ok := want[one.Path]; err != nil || !ok || !bytes.Equal(b, content) {
					t.Errorf("Open(%q): %d bytes, want %d: %t, and %v", one.Path, len(b), len(content), ok, err)
				}
				delete(want, one.Path)
			}
			if len(want) > 0 {
				t.Errorf("List(...): %d files are missing", len(want))
			}
		})
	}
}

func TestGatewayChanged(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string]bool{"Versions": true, "NoVersions": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gateway(t, "models", versions)
			content := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
			if err := g.Put(t.Context(), "models", "a/model.bin", content, nil); err != nil {
				t.Fatal(err)
			}
			f, err := New(atGateway(t, g, "models", "a"), atOnce(), download.Options{Range: 1 << 20, Parallel: 2, Budget: download.NewBudget(2 << 20)})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			one := files(t, f)[0]
			rc, err := f.Open(t.Context(), one, 0, one.Size)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rc.Close() }()
			if err := g.Put(t.Context(), "models", "a/model.bin", bytes.ToUpper(content), nil); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			_, err = b.ReadFrom(rc)
			switch {
			case versions && (err != nil || !bytes.Equal(b.Bytes(), content)):
				t.Errorf("Read(...) of a pinned version: %d bytes and %v", b.Len(), err)
			case !versions && outcome.ReasonOf(err) != outcome.Changed:
				t.Errorf("Read(...) of a changed object: want reason Changed, got %d bytes and %v", b.Len(), err)
			}
		})
	}
}

func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	g := gateway(t, "models", false)
	cases := map[string]struct {
		reason  string
		change  func(s *pipeline.Source)
		want    outcome.Reason
		message string
	}{
		"Region":    {"The right region is named.", func(s *pipeline.Source) { s.S3.Region = "us-west-2" }, outcome.Unsupported, "is in region " + fake.Region},
		"Anonymous": {"A bucket that is not public wants credentials.", func(s *pipeline.Source) { s.CredentialsFolder = "" }, outcome.Unauthorized, "anonymous"},
		"NoBucket":  {"A bucket that is not there is named.", func(s *pipeline.Source) { s.S3.Bucket = "other" }, outcome.NotFound, "no bucket other"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := atGateway(t, g, "models", "a")
			tc.change(&s)
			_, err := folder(t, s).List(t.Context())
			if outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("\n%s\nList(...): want reason %s with %q, got %v", tc.reason, tc.want, tc.message, err)
			}
		})
	}
}

// More objects than ten pages have.
func TestGatewayPages(t *testing.T) {
	t.Parallel()
	const many = 10_001
	g := gateway(t, "models", false)
	dir := filepath.Join(g.Root, "models", "many")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d", i)), []byte{'x'}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := folder(t, atGateway(t, g, "models", "many")).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range all {
		if want := (file.File{Path: fmt.Sprintf("%05d", i), Size: 1, Version: pinETag + fake.GatewayETag}); one != want {
			t.Fatalf("List(...): want %+v, got %+v", want, one)
		}
	}
	if len(all) != many {
		t.Errorf("List(...): want %d files, got %d", many, len(all))
	}
}
