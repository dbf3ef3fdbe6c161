package pipeline

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/crossplane-contrib/provider-kitops/internal/identity"
)

// Keys are those that requests to services of AWS are signed with, as they are now.
type Keys interface {
	Credentials(ctx context.Context) (aws.Credentials, error)
}

// An S3Source is the objects below a prefix of a bucket of S3, or of what speaks its
// protocol.
type S3Source struct {
	// Bucket that has the objects.
	Bucket string

	// Prefix is the folder in the bucket; empty for all of it. It has no slash at its
	// start or its end.
	Prefix string

	// Region of the bucket; empty for us-east-1.
	Region string

	// Endpoint of the server, which may have a path; empty for that of AWS in Region.
	Endpoint string

	// PathStyle reports whether the bucket is named by the path of a URL in place of its
	// host. If it is nil, it is with an Endpoint, and is not without one.
	PathStyle *bool

	// RequesterPays accepts that whose credentials these are is billed for requests.
	RequesterPays bool

	// Identity uses the run's own identity at AWS if there is no Secret. Otherwise
	// requests without one are anonymous.
	Identity bool

	// Keys of that identity; nil for none.
	Keys Keys
}

// A GCSSource is the objects below a prefix of a bucket of Google Cloud Storage.
type GCSSource struct {
	// Bucket that has the objects.
	Bucket string

	// Prefix is the folder in the bucket; empty for all of it. It has no slash at its
	// start or its end.
	Prefix string

	// Endpoint of the server; empty for https://storage.googleapis.com.
	Endpoint string

	// UserProject is the project that is billed for requests; empty for the bucket's.
	UserProject string

	// Identity uses the run's own identity at Google Cloud if there is no Secret.
	// Otherwise requests without one are anonymous.
	Identity bool

	// Tokens of that identity; nil for none.
	Tokens identity.Source
}

// An AzureBlobSource is the blobs below a prefix of a container of Azure Blob Storage.
type AzureBlobSource struct {
	// Account is the name of the storage account.
	Account string

	// Container that has the blobs.
	Container string

	// Prefix is the folder in the container; empty for all of it. It has no slash at its
	// start or its end.
	Prefix string

	// Endpoint of the account; empty for https://ACCOUNT.blob.core.windows.net.
	Endpoint string

	// Identity uses the run's own identity at Azure if there is no Secret. Otherwise
	// requests without one are anonymous.
	Identity bool

	// Tokens of that identity; nil for none.
	Tokens identity.Source
}

// A VolumeSource is a folder of a volume that is mounted in the run.
type VolumeSource struct {
	// Name of the folder for people: pvc://namespace/claim/path.
	Name string

	// Folder where the volume is mounted.
	Folder string

	// Path of the files in the volume; empty for all of it. It has no slash at its start
	// or its end.
	Path string
}

// An HTTPSource is files that an HTTP server serves.
type HTTPSource struct {
	// Items are the files, in the order of the Artifact.
	Items []HTTPItem
}

// An HTTPItem is a file that an HTTP server serves. It is serialized as an argument of a
// run.
type HTTPItem struct {
	// URL of the file.
	URL string `json:"url"`

	// Path of the file in the artifact.
	Path string `json:"path"`

	// SHA256 of the file, in hex.
	SHA256 string `json:"sha256"`

	// Size of the file in bytes; nil if it is not known.
	Size *int64 `json:"size,omitempty"`
}
