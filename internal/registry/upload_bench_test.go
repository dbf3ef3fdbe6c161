package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// benchSize is 1 GiB, the size of a large weight's shard.
const benchSize = 1 << 30

// BenchmarkUpload holds Upload against curl, which does the same requests by
// hand, and against PushBlob.
func BenchmarkUpload(b *testing.B) {
	file, d := benchFile(b)
	open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		f, err := os.Open(file)
		if err == nil {
			_, err = f.Seek(offset, io.SeekStart)
		}
		return f, err
	}
	ways := map[string]func(c *Client) error{
		"Upload": func(c *Client) error { return c.Upload(b.Context(), repository, d, open, retry.Default()) },
		"PushBlob": func(c *Client) error {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			return c.PushBlob(b.Context(), repository, d, f)
		},
		"CurlPatch": func(c *Client) error { return curl(b, c, http.MethodPatch, file, d) },
		"CurlPut":   func(c *Client) error { return curl(b, c, http.MethodPut, file, d) },
	}
	for _, name := range []string{"Upload", "PushBlob", "CurlPatch", "CurlPut"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(d.Size)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r, err := testregistry.Run(b.TempDir(), testregistry.Options{})
				if err != nil {
					b.Fatal(err)
				}
				c, err := New(optionsFor(r))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := ways[name](c); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				r.Close()
				b.StartTimer()
			}
		})
	}
}

func benchFile(b *testing.B) (string, ocispec.Descriptor) {
	b.Helper()
	name := filepath.Join(b.TempDir(), "weight")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	piece, sum := make([]byte, 1<<20), sha256.New()
	for i := range benchSize / len(piece) {
		copy(piece, fmt.Sprint(i))
		if _, err := io.MultiWriter(f, sum).Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	return name, ocispec.Descriptor{Digest: digest.NewDigest(digest.SHA256, sum), Size: benchSize}
}

// curl pushes a file by PATCH and PUT, or by PUT alone.
func curl(b *testing.B, c *Client, method, file string, d ocispec.Descriptor) error {
	b.Helper()
	rsp, err := http.Post("http://"+c.host+"/v2/"+repository+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	_ = rsp.Body.Close()
	to := rsp.Header.Get("Location")
	if method == http.MethodPut {
		return runCurl(b, "-T", file, "-X", method, withDigestOf(to, d))
	}
	header := filepath.Join(b.TempDir(), "header")
	if err := runCurl(b, "-T", file, "-X", method, "-D", header, to); err != nil {
		return err
	}
	said, err := os.ReadFile(header)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(said) {
		if at, ok := strings.CutPrefix(string(line), "Location: "); ok {
			to = strings.TrimSpace(at)
		}
	}
	return runCurl(b, "-X", http.MethodPut, withDigestOf(to, d))
}

func withDigestOf(location string, d ocispec.Descriptor) string {
	u, _ := url.Parse(location)
	return withDigest(u, d.Digest)
}

func runCurl(b *testing.B, args ...string) error {
	b.Helper()
	args = append([]string{"-sS", "--fail", "-o", os.DevNull, "-H", "Content-Type: " + octets, "-H", "Expect:"}, args...)
	return exec.CommandContext(b.Context(), "curl", args...).Run()
}
