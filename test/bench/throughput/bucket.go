package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
	fakes3 "github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// bucketName is the bucket that has the models.
const bucketName = "bench"

// A bucket is one of versitygw, a server of S3's protocol, with a model.
type bucket struct {
	server *fakes3.Gateway

	config      string // File with the settings by which curl signs requests.
	credentials string // Folder with the keys, a file each, as a Pod has them.
}

// startBucket starts a server and puts a model below content into its bucket. It keeps its
// data below dir.
func startBucket(ctx context.Context, content, dir string, m model) (*bucket, error) {
	b := &bucket{config: filepath.Join(dir, "sigv4"), credentials: filepath.Join(dir, "keys")}
	var err error
	if b.server, err = fakes3.StartGateway(ctx, os.Stderr, filepath.Join(dir, "s3")); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, content, m); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// stop ends the server.
func (b *bucket) stop() { b.server.Stop() }

// fill writes the keys and puts the model.
func (b *bucket) fill(ctx context.Context, content string, m model) error {
	k := b.server.Keys
	config := fmt.Sprintf("aws-sigv4 = \"aws:amz:%s:s3\"\nuser = \"%s:%s\"\nheader = \"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\"\n", fakes3.Region, k.AccessKeyID, k.SecretAccessKey)
	for path, text := range map[string]string{
		b.config: config, filepath.Join(b.credentials, "AWS_ACCESS_KEY_ID"): k.AccessKeyID, filepath.Join(b.credentials, "AWS_SECRET_ACCESS_KEY"): k.SecretAccessKey,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return errors.Wrap(err, "cannot make a folder for the bucket's keys")
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return errors.Wrap(err, "cannot write the bucket's keys")
		}
	}
	if err := b.server.Bucket(ctx, bucketName, false); err != nil {
		return err
	}
	for _, f := range m.Files {
		from := filepath.Join(content, m.kind(), organisation, m.Name, "main", f.Path)
		if _, err := (&meter.Meter{}).Run(ctx, meter.Command{Args: []string{"curl", "-sSf", "-K", b.config, "-T", from, b.url(m, f)}}); err != nil {
			return errors.Wrapf(err, "cannot put %s into the bucket", f.Path)
		}
	}
	return nil
}

// url returns where a file is.
func (b *bucket) url(m model, f file) string {
	return b.server.Endpoint + "/" + bucketName + "/" + m.Name + "/" + f.Path
}

// flags returns the worker's flags for the model.
func (b *bucket) flags(m model) []string {
	return []string{
		"--source-name=s3://" + bucketName + "/" + m.Name, "--source-s3-bucket=" + bucketName, "--source-prefix=" + m.Name,
		"--source-region=" + fakes3.Region, "--source-endpoint=" + b.server.Endpoint, "--source-credentials-folder=" + b.credentials,
	}
}
