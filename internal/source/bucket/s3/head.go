package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// headsAtOnce is how many objects are asked for their hashes side by side.
const headsAtOnce = 16

// Headers of objects
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
const (
	headerChecksumMode = "X-Amz-Checksum-Mode"
	headerChecksumType = "X-Amz-Checksum-Type"
	headerSHA256       = "X-Amz-Checksum-Sha256"
	headerCRC64NVME    = "X-Amz-Checksum-Crc64nvme"
	headerCRC32C       = "X-Amz-Checksum-Crc32c"
	headerEncryption   = "X-Amz-Server-Side-Encryption"
	headerCustomerKey  = "X-Amz-Server-Side-Encryption-Customer-Algorithm"
	headerVersion      = "X-Amz-Version-Id"
	headerRegion       = "X-Amz-Bucket-Region"
)

// Complete implements source.Folder. A listing has no hashes, so each file is asked for its
// own.
func (f *Folder) Complete(ctx context.Context, files []file.File) ([]file.File, error) {
	out := make([]file.File, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(headsAtOnce)
	for i, one := range files {
		group.Go(func() (err error) {
			if err = ctx.Err(); err == nil {
				out[i], err = f.head(ctx, one)
			}
			return err
		})
	}
	// The first one that failed has stopped the others.
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// head returns a file with the hashes that its server has of the pinned version. It returns
// an error if the object is another one now.
func (f *Folder) head(ctx context.Context, one file.File) (file.File, error) {
	plain := f.plain.Load()
	a, err := f.askHead(ctx, one, plain)
	if err != nil || a.Status == http.StatusOK {
		return f.complete(one, a), err
	}
	// An answer to HEAD says nothing of why it is refused. One to GET does.
	if err := f.askByte(ctx, one); err != nil {
		return file.File{}, err
	}
	// Some servers take a header that they do not know for a wrong signature.
	if a, err = f.askHead(ctx, one, true); err == nil && a.Status != http.StatusOK {
		err = f.refused(a, &one)
	}
	if err == nil && !plain {
		f.plain.Store(true)
	}
	return f.complete(one, a), err
}

// askHead asks for what the server knows of a file. The answer may be a refusal.
func (f *Folder) askHead(ctx context.Context, one file.File, plain bool) (bucket.Answer, error) {
	u, header := f.pinned(one)
	if !plain {
		header.Set(headerChecksumMode, "ENABLED")
	}
	return f.ask(ctx, f.subject(one), 0, http.MethodHead, u, header, func(a bucket.Answer) error {
		if a.Status == http.StatusForbidden || a.Status == http.StatusUnauthorized || a.Status == http.StatusBadRequest {
			return nil
		}
		return f.refused(a, &one)
	}, func(a bucket.Answer) error { return f.same(one, a) })
}

// askByte asks for the first byte of a file, to learn why it is refused.
func (f *Folder) askByte(ctx context.Context, one file.File) error {
	u, header := f.pinned(one)
	if one.Size > 0 {
		header.Set("Range", "bytes=0-0")
	}
	_, err := f.ask(ctx, f.subject(one), maxErrorBytes, http.MethodGet, u, header, func(a bucket.Answer) error {
		if a.Status == http.StatusPartialContent {
			return nil
		}
		return f.refused(a, &one)
	}, func(bucket.Answer) error { return nil })
	return err
}

// same returns an error unless an answer to HEAD is about a file as it was listed.
func (f *Folder) same(one file.File, a bucket.Answer) error {
	if tag, ok := strings.CutPrefix(one.Version, pinETag); ok && tagOf(a.Header.Get("ETag")) != tag {
		return f.changed(one)
	}
	return nil
}

// complete returns a file with the best hash that an answer to HEAD has of all of the
// content.
func (f *Folder) complete(one file.File, a bucket.Answer) file.File {
	switch kind := a.Header.Get(headerChecksumType); {
	case kind != "" && kind != "FULL_OBJECT":
		// Of the hashes of an upload's parts.
	case checksum(a, headerSHA256, 32) != "":
		one.SHA256 = checksum(a, headerSHA256, 32)
		return one
	case checksum(a, headerCRC64NVME, 8) != "":
		one.CRC64NVME = checksum(a, headerCRC64NVME, 8)
		return one
	case checksum(a, headerCRC32C, 4) != "":
		one.CRC32C = checksum(a, headerCRC32C, 4)
		return one
	}
	// Encrypted with other keys than S3's own, an ETag is no MD5
	// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
	if by := a.Header.Get(headerEncryption); (by == "" || by == "AES256") && a.Header.Get(headerCustomerKey) == "" {
		one.MD5 = md5Of(tagOf(a.Header.Get("ETag")))
	}
	return one
}

// checksum returns a header's hash of some bytes in hex; empty if it has none. That of a
// hash of parts ends with their number.
func checksum(a bucket.Answer, header string, size int) string {
	b, err := base64.StdEncoding.DecodeString(a.Header.Get(header))
	if err != nil || len(b) != size {
		return ""
	}
	return hex.EncodeToString(b)
}

// subject names a file in messages.
func (f *Folder) subject(one file.File) string { return f.name + "/" + outcome.Shorten(one.Path) }
