package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// GatewayETag is the ETag of files that were not put through a Gateway.
const GatewayETag = "by-hand"

// A Gateway is a real server of S3's protocol, versitygw, which keeps objects as files.
type Gateway struct {
	// Endpoint of the server, and Keys that may do all there.
	Endpoint string
	Keys     awssdk.Credentials

	// Root has a folder for each bucket. A file in it is an object.
	Root string

	cmd  *exec.Cmd
	said bytes.Buffer
}

// StartGateway builds the program, unless that was done before, and starts it over a new
// folder below dir. It ends with the context, or with Stop.
func StartGateway(ctx context.Context, log io.Writer, dir string) (*Gateway, error) {
	built, err := programs.Build(ctx, log, programs.VersityGW)
	if err != nil {
		return nil, errors.Wrap(err, "cannot build versitygw")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Wrap(err, "cannot find a port")
	}
	address := l.Addr().String()
	_ = l.Close()
	g := &Gateway{
		Endpoint: "http://" + address, Root: filepath.Join(dir, "buckets"),
		Keys: awssdk.Credentials{AccessKeyID: "gateway", SecretAccessKey: "correct-horse-battery-staple"},
	}
	args := []string{"--region", Region, "--port", address, "--quiet", "--keep-alive", "posix", "--default-etag", GatewayETag}
	for name, path := range map[string]string{"--versioning-dir": filepath.Join(dir, "versions"), "--sidecar": filepath.Join(dir, "sidecar"), "": g.Root} {
		if err := os.MkdirAll(path, 0o750); err != nil {
			return nil, errors.Wrap(err, "cannot make a folder for versitygw")
		}
		if name != "" {
			args = append(args, name, path)
		}
	}
	g.cmd = exec.CommandContext(ctx, filepath.Join(built, "versitygw"), append(args, g.Root)...)
	g.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+g.Keys.AccessKeyID, "ROOT_SECRET_ACCESS_KEY="+g.Keys.SecretAccessKey)
	g.cmd.Stdout, g.cmd.Stderr = &g.said, &g.said
	if err := g.cmd.Start(); err != nil {
		return nil, errors.Wrap(err, "cannot start versitygw")
	}
	return g, g.await(ctx)
}

// await waits until the server answers.
func (g *Gateway) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, _, err := g.Do(ctx, http.MethodGet, "/", nil, nil, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			g.Stop()
			return errors.Wrapf(err, "versitygw does not serve: %s", g.said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server.
func (g *Gateway) Stop() {
	if g == nil || g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
	g.cmd = nil
}

// Do makes a signed request for a path, which is not escaped, and returns the answer's
// header and body. Another status than 2xx is an error.
func (g *Gateway) Do(ctx context.Context, method, path string, query url.Values, header map[string]string, body []byte) (http.Header, []byte, error) {
	u, err := url.Parse(g.Endpoint)
	if err != nil {
		return nil, nil, err
	}
	u.Path, u.RawPath = path, strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(path), "+", "%20"), "%2F", "/")
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	s := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := s.SignHTTP(ctx, g.Keys, req, unsigned, "s3", Region, time.Now()); err != nil {
		return nil, nil, err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rsp.Body.Close() }()
	b, err := io.ReadAll(rsp.Body)
	if err == nil && rsp.StatusCode/100 != 2 {
		err = errors.Errorf("%s %s: %s: %s", method, path, rsp.Status, b)
	}
	return rsp.Header, b, err
}

// Bucket makes a bucket, in which objects may have versions.
func (g *Gateway) Bucket(ctx context.Context, name string, versions bool) error {
	if _, _, err := g.Do(ctx, http.MethodPut, "/"+name, nil, nil, nil); err != nil || !versions {
		return errors.Wrap(err, "cannot make a bucket")
	}
	_, _, err := g.Do(ctx, http.MethodPut, "/"+name, url.Values{"versioning": {""}}, nil, []byte("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))
	return errors.Wrap(err, "cannot have a bucket keep versions")
}

// Put puts an object, in one part.
func (g *Gateway) Put(ctx context.Context, bucket, key string, content []byte, header map[string]string) error {
	_, _, err := g.Do(ctx, http.MethodPut, "/"+bucket+"/"+key, nil, header, content)
	return errors.Wrap(err, "cannot put an object")
}

// PutParts puts an object in several parts, with a CRC-64/NVME of the whole.
func (g *Gateway) PutParts(ctx context.Context, bucket, key string, parts [][]byte) error {
	path := "/" + bucket + "/" + key
	_, b, err := g.Do(ctx, http.MethodPost, path, url.Values{"uploads": {""}}, map[string]string{"X-Amz-Checksum-Algorithm": "CRC64NVME", "X-Amz-Checksum-Type": "FULL_OBJECT"}, nil)
	if err != nil {
		return errors.Wrap(err, "cannot begin an upload")
	}
	var upload struct {
		ID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(b, &upload); err != nil {
		return err
	}
	var done strings.Builder
	for i, p := range parts {
		h, _, err := g.Do(ctx, http.MethodPut, path, url.Values{"uploadId": {upload.ID}, "partNumber": {fmt.Sprint(i + 1)}}, nil, p)
		if err != nil {
			return errors.Wrap(err, "cannot put a part")
		}
		fmt.Fprintf(&done, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><ChecksumCRC64NVME>%s</ChecksumCRC64NVME></Part>",
			i+1, strings.ReplaceAll(h.Get("ETag"), `"`, "&quot;"), h.Get("X-Amz-Checksum-Crc64nvme"))
	}
	_, _, err = g.Do(ctx, http.MethodPost, path, url.Values{"uploadId": {upload.ID}}, nil, []byte("<CompleteMultipartUpload>"+done.String()+"</CompleteMultipartUpload>"))
	return errors.Wrap(err, "cannot complete an upload")
}
