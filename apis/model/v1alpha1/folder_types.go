package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
)

// A SourcePrefix is a folder in a bucket.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=900
// +kubebuilder:validation:XValidation:rule="!self.matches('(^|/)[.]{0,2}(/|$)') && !self.matches('[[:cntrl:]]') && !self.contains('\\\\')",message="prefix must be a folder in the bucket: write models/qwen3, without / at its start or end, and without . and .. as names in it"
type SourcePrefix string

// A SourceEndpoint is the address of a server that has buckets.
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-zA-Z0-9._~-]+)*/?$') && !self.matches('/[.]{1,2}(/|$)')",message="endpoint must be a URL with a host and, if needed, a port and a path: write https://s3.example.com, without a user, a password, ? and #"
// +kubebuilder:validation:XValidation:rule="!self.matches('(?i)^https?://(169[.]254[.]|100[.]100[.]100[.]200|metadata[.]google[.]internal)')",message="endpoint must not be the metadata service of a cloud: write the address of the server with the bucket"
// +kubebuilder:validation:XValidation:rule="!self.matches('^(https://[^/]*:443|http://[^/]*:80)(/|$)') && !self.matches('^https?://[^/]*:0')",message="endpoint must name a server in one way: leave out the port 443 of https:// and 80 of http://, and zeros before a port"
type SourceEndpoint string

// An S3Source is the objects below a prefix of a bucket of Amazon S3, or of a server
// that speaks its protocol. Versions of objects are pinned.
// +kubebuilder:validation:XValidation:rule="has(self.endpoint) || (size(self.bucket) <= 63 && self.bucket.matches('^[a-z0-9][a-z0-9.-]+[a-z0-9]$') && !self.bucket.contains('..') && !self.bucket.matches('^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$') && !self.bucket.matches('^(xn--|sthree-|amzn-s3-demo-)') && !self.bucket.matches('(-s3alias|--ol-s3|[.]mrap|--x-s3|--table-s3)$'))",message="bucket must be the name of a bucket of Amazon S3, 3 to 63 lower-case letters, digits, dots and dashes, and no alias: write models, without s3:// and without a prefix, or the endpoint of another server"
// +kubebuilder:validation:XValidation:rule="!has(self.requesterPays) || !self.requesterPays || has(self.credentialsSecretRef)",message="nobody pays for anonymous requests: write credentialsSecretRef beside requesterPays, or remove requesterPays"
type S3Source struct {
	// Bucket that has the objects. Example: models.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=96
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]+[a-zA-Z0-9]$') && !self.contains('..')",message="bucket must be the name of a bucket: write models, without s3:// and without a prefix"
	Bucket string `json:"bucket"`

	// Prefix of the objects' keys, up to a slash: the folder in the bucket that is
	// packaged. Default: the whole bucket. Example: qwen3/v1.
	// +optional
	Prefix SourcePrefix `json:"prefix,omitempty"`

	// Region of the bucket. Default: us-east-1. Example: eu-central-1.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][a-zA-Z0-9-]*$')",message="region must be the name of a region: write eu-central-1, or what the server's documentation says, such as auto"
	Region string `json:"region,omitempty"`

	// Endpoint of the server, which may have a path. Default: that of Amazon S3 in
	// the region. Example: https://s3.example.com.
	// +optional
	Endpoint SourceEndpoint `json:"endpoint,omitempty"`

	// PathStyle names the bucket in the path of a URL, and not in its host. Default:
	// true with an endpoint or if the bucket's name has a dot, else false.
	// Example: false.
	// +optional
	PathStyle *bool `json:"pathStyle,omitempty"`

	// RequesterPays accepts that the account of the credentials is billed for the
	// requests, which buckets that ask for it need. Default: false. Example: true.
	// +optional
	RequesterPays bool `json:"requesterPays,omitempty"`

	// CredentialsSecretRef names a Secret in the Artifact's namespace with the keys
	// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN for temporary
	// credentials. Default: none; requests are anonymous, or by the identity of runs
	// if spec.sourceIdentity of the ClusterProviderConfig lists the bucket.
	// Example: {name: models-s3}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace whose key ca.crt has
	// certificate authorities, in PEM, that are trusted for the server beside the
	// public ones. Default: the public ones only. Example: {name: models-s3-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// A GCSSource is the objects below a prefix of a bucket of Google Cloud Storage.
// Generations of objects are pinned.
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsSecretRef) || !has(self.endpoint) || !self.endpoint.startsWith('http:')",message="credentials are sent with TLS only: write an endpoint with https://, or remove credentialsSecretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.userProject) || has(self.credentialsSecretRef)",message="no project is billed for anonymous requests: write credentialsSecretRef beside userProject, or remove userProject"
type GCSSource struct {
	// Bucket that has the objects. Example: models.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=222
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9][a-z0-9_-]{0,62}([.][a-z0-9_-]{1,63})*$') && self.matches('[a-z0-9]$') && (size(self) <= 63 || self.contains('.')) && !self.matches('^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$') && !self.startsWith('goog')",message="bucket must be the name of a bucket, 3 to 63 lower-case letters, digits, dots, dashes and underscores: write models, without gs:// and without a prefix"
	Bucket string `json:"bucket"`

	// Prefix of the objects' names, up to a slash: the folder in the bucket that is
	// packaged. Default: the whole bucket. Example: qwen3/v1.
	// +optional
	Prefix SourcePrefix `json:"prefix,omitempty"`

	// Endpoint of the server. Default: https://storage.googleapis.com.
	// Example: https://storage.example.p.googleapis.com.
	// +optional
	Endpoint SourceEndpoint `json:"endpoint,omitempty"`

	// UserProject is the project that is billed for the requests, which buckets whose
	// requester pays need. Default: none. Example: example-models.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9.-]+:)?[a-z][a-z0-9-]+[a-z0-9]$') || self.matches('^[0-9]+$')",message="userProject must be the ID or the number of a project: write example-models"
	UserProject string `json:"userProject,omitempty"`

	// CredentialsSecretRef names a Secret in the Artifact's namespace whose key
	// gcloud-application-credentials.json has a service account's key, or a
	// configuration of workload identity federation. If endpoint is not one of Google's
	// hosts, the Secret's key host must list its host[:port]. Default: none; requests are
	// anonymous, or by the identity of runs if spec.sourceIdentity of the
	// ClusterProviderConfig lists the bucket. Example: {name: models-gcs}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace whose key ca.crt has
	// certificate authorities, in PEM, that are trusted for the server beside the
	// public ones. Default: the public ones only. Example: {name: models-gcs-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// An AzureBlobSource is the blobs below a prefix of a container of Azure Blob Storage.
// Versions of blobs are pinned.
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsSecretRef) || !has(self.endpoint) || !self.endpoint.startsWith('http:')",message="credentials are sent with TLS only: write an endpoint with https://, or remove credentialsSecretRef"
type AzureBlobSource struct {
	// Account is the name of the storage account. Example: examplemodels.
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]{3,24}$')",message="account must be the name of a storage account, 3 to 24 lower-case letters and digits: write examplemodels, without https:// and without a host"
	Account string `json:"account"`

	// Container that has the blobs. Example: models.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(-[a-z0-9]+)*$') && size(self) >= 3 || self in ['$root', '$web']",message="container must be the name of a container, 3 to 63 lower-case letters, digits and single dashes: write models, without a prefix"
	Container string `json:"container"`

	// Prefix of the blobs' names, up to a slash: the folder in the container that is
	// packaged. Default: the whole container. Example: qwen3/v1.
	// +optional
	Prefix SourcePrefix `json:"prefix,omitempty"`

	// Endpoint of the account, for other clouds and emulators.
	// Default: https://ACCOUNT.blob.core.windows.net.
	// Example: https://examplemodels.blob.core.chinacloudapi.cn.
	// +optional
	Endpoint SourceEndpoint `json:"endpoint,omitempty"`

	// CredentialsSecretRef names a Secret in the Artifact's namespace with the key
	// AZURE_STORAGE_ACCESS_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_TENANT_ID,
	// AZURE_CLIENT_ID and AZURE_CLIENT_SECRET. If endpoint is not one of the account's
	// hosts in Azure, the Secret's key host must list its host[:port]. Default: none;
	// requests are anonymous, or by the identity of runs if spec.sourceIdentity of the ClusterProviderConfig
	// lists the container. Example: {name: models-azure}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace whose key ca.crt has
	// certificate authorities, in PEM, that are trusted for the server beside the
	// public ones. Default: the public ones only. Example: {name: models-azure-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// A PersistentVolumeClaimSource is a folder of a volume. Runs mount it read-only, and
// read it as user and group 1001, unless job.podSecurityContext of the
// ClusterProviderConfig says otherwise.
type PersistentVolumeClaimSource struct {
	// ClaimName is the name of the PersistentVolumeClaim in the Artifact's namespace.
	// It cannot be used if runs execute in another namespace. Example: training-output.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="claimName must be the name of a PersistentVolumeClaim: write training-output"
	ClaimName string `json:"claimName"`

	// Path of the folder in the volume. Default: the whole volume.
	// Example: checkpoints/last.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=900
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|/)[.]{0,2}(/|$)') && !self.matches('[[:cntrl:]]') && !self.contains('\\\\')",message="path must be a folder in the volume: write checkpoints/last, without / at its start or end, and without . and .. as names in it"
	Path string `json:"path,omitempty"`
}

// An HTTPSource is files that one HTTP server has.
// +kubebuilder:validation:XValidation:rule="self.items.all(i, i.url.split('/')[0] == self.items[0].url.split('/')[0] && i.url.split('/')[2] == self.items[0].url.split('/')[2])",message="items must be of one server: write URLs with the same scheme, host and port"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsSecretRef) || !self.items.exists(i, i.url.startsWith('http:'))",message="credentials are sent with TLS only: write URLs with https://, or remove credentialsSecretRef"
type HTTPSource struct {
	// Items are the files.
	// Example: [{url: "https://models.example.com/qwen3.gguf", path: qwen3.gguf, sha256: 9f86d0...}].
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Items []HTTPItem `json:"items"`

	// CredentialsSecretRef names a Secret in the Artifact's namespace with the keys
	// username and password, or token, which is sent as a bearer token, and with the key
	// host, which lists the servers that they may be sent to, one host[:port] a line:
	// that of the items must be among them. They are sent with TLS only. Default: none.
	// Example: {name: models-http}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace whose key ca.crt has
	// certificate authorities, in PEM, that are trusted for the server beside the
	// public ones. Default: the public ones only. Example: {name: models-http-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// An HTTPItem is a file of an HTTP server.
type HTTPItem struct {
	// URL of the file. It has no query, which may hold a credential.
	// Example: https://models.example.com/qwen3/model.safetensors.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?/[a-zA-Z0-9._~!$&()*+,;=:@%/-]*[a-zA-Z0-9._~!$&()*+,;=:@%-]$') && !self.matches('/[.]{1,2}(/|$)')",message="url must be the address of a file: write https://models.example.com/qwen3/model.safetensors, without a user, a password, ? and #"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(?i)%(2[def]|3[0-9]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])') && !self.matches('%([^0-9a-fA-F]|[0-9a-fA-F]([^0-9a-fA-F]|$)|$)') && !self.matches('/[.]{1,2};')",message="url must name a file in one way: write letters, digits, dots, slashes, -, _ and ~ as they are and not as %2e, % only before two hex digits, and no . or .. as a name"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^(https://[^/]*:443|http://[^/]*:80)/') && !self.matches('^https?://[^/]*:0')",message="url must name a server in one way: leave out the port 443 of https:// and 80 of http://, and zeros before a port"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(?i)^https?://(169[.]254[.]|100[.]100[.]100[.]200|metadata[.]google[.]internal)')",message="url must not be of the metadata service of a cloud: write the address of a file"
	URL string `json:"url"`

	// Path of the file in the artifact. Example: model.safetensors.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=900
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|/)[.]{0,2}(/|$)') && !self.matches('[[:cntrl:]]') && !self.contains('\\\\')",message="path must be a path in the artifact: write model.safetensors or tokenizer/vocab.json, without / at its start or end, and without . and .. as names in it"
	Path string `json:"path"`

	// SHA256 of the file, as sha256sum prints it.
	// Example: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-f0-9]{64}$')",message="sha256 must be 64 lower-case hex digits: write what sha256sum prints, without sha256:"
	SHA256 string `json:"sha256"`

	// Size of the file in bytes. A file with another size is not read. Default: what
	// the server says. Example: 1503300328.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Size *int64 `json:"size,omitempty"`
}
