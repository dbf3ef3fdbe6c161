package artifact

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
)

// Names and paths of a source that is a folder, in a run's Pod.
const (
	sourceVolumeName = "source"
	sourceMountPath  = "/source"

	// sourceCredentialsFolder is a folder in credentialsMountPath with a file for each
	// key of the Secret.
	sourceCredentialsFolder = "source"

	// CopiedSourcePrefix is what keys of the source's credentials begin with in a copy,
	// and CopiedSourceCA is the key of its authorities there.
	CopiedSourcePrefix = "source."
	CopiedSourceCA     = "source-ca.crt"
)

// Keys of credentials in a Secret, which are the names of variables that the clouds' own
// programs read.
const (
	KeyAWSAccessKeyID     = "AWS_ACCESS_KEY_ID"
	KeyAWSSecretAccessKey = "AWS_SECRET_ACCESS_KEY"               //nolint:gosec // A name.
	KeyAWSSessionToken    = "AWS_SESSION_TOKEN"                   //nolint:gosec // A name.
	KeyGoogleCredentials  = "gcloud-application-credentials.json" //nolint:gosec // A name.
	KeyAzureAccessKey     = "AZURE_STORAGE_ACCESS_KEY"
	KeyAzureSASToken      = "AZURE_STORAGE_SAS_TOKEN"
	KeyAzureTenantID      = "AZURE_TENANT_ID"
	KeyAzureClientID      = "AZURE_CLIENT_ID"
	KeyAzureClientSecret  = "AZURE_CLIENT_SECRET" //nolint:gosec // A name.
)

// A FolderSource is an Artifact's source that is files which know nothing of models: in
// a bucket, on a volume or at an HTTP server. It is what package source makes a
// source.Folder of.
type FolderSource struct {
	// Name of the folder for policies, provenance and people, as a URL. That of a bucket
	// at a server of the Artifact's own choice begins with that server, since the name of
	// the bucket alone is not unique.
	Name string

	// Others are further names that a policy may deny: the URLs of HTTP items, and what a
	// bucket with an endpoint would be named without it.
	Others []string

	// ReaderPays reports whether who reads the bucket, or a project of the Artifact's choice,
	// is billed for it.
	ReaderPays bool

	// IsBucket reports whether it is in a bucket of a cloud, which identities are for.
	IsBucket bool

	// Credentials names a Secret with credentials, and CA one with authorities in KeyCA;
	// nil for none.
	Credentials, CA *xpv2.LocalSecretReference

	// CredentialKeys are alternatives of which Credentials must have all keys of one, and
	// OptionalKey is one more that it may have.
	CredentialKeys [][]string
	OptionalKey    string

	// Bound reports whether identity.KeyHost of Credentials must list the source's Host: the
	// Artifact's author chooses the server, and could use elsewhere what it is sent.
	Bound bool
	Host  string

	arguments []string
	hashed    runHashSource
}

// FolderOf returns the Artifact's source if it is a folder, else nil.
func FolderOf(a *modelv1alpha1.Artifact) *FolderSource {
	switch s := a.Spec.ForProvider.Source; {
	case s == nil:
		return nil
	case s.S3 != nil:
		return s3Folder(s.S3)
	case s.GCS != nil:
		return gcsFolder(s.GCS)
	case s.AzureBlob != nil:
		return azureBlobFolder(s.AzureBlob)
	case s.PersistentVolumeClaim != nil:
		return volumeFolder(a.GetNamespace(), s.PersistentVolumeClaim)
	case s.HTTP != nil:
		return httpFolder(s.HTTP)
	}
	return nil
}

// bucketName returns the name of a folder at a server, which is scheme://bucket/prefix at
// the cloud's own.
func bucketName(cloud string, endpoint modelv1alpha1.SourceEndpoint, bucket string, prefix modelv1alpha1.SourcePrefix) string {
	name := cloud + bucket
	if endpoint != "" {
		name = strings.TrimRight(string(endpoint), "/") + "/" + bucket
	}
	if prefix != "" {
		name += "/" + string(prefix)
	}
	return name
}

// bucketArguments returns the flags of `worker run` that all buckets have.
func bucketArguments(endpoint modelv1alpha1.SourceEndpoint, prefix modelv1alpha1.SourcePrefix) []string {
	var args []string
	if prefix != "" {
		args = append(args, "--source-prefix="+string(prefix))
	}
	if endpoint != "" {
		args = append(args, "--source-endpoint="+strings.TrimRight(string(endpoint), "/"))
	}
	return args
}

// hashedBucket returns the part of a bucket that is in the run hash.
func hashedBucket(bucket string, endpoint modelv1alpha1.SourceEndpoint, prefix modelv1alpha1.SourcePrefix) *runHashBucket {
	return &runHashBucket{Bucket: bucket, Prefix: string(prefix), Endpoint: strings.TrimRight(string(endpoint), "/")}
}

// otherPartition matches regions whose buckets have the names of others than those of
// AWS's commercial regions
// (https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html).
var otherPartition = regexp.MustCompile(`^(cn|us-gov|us-iso[a-z]?|eu-isoe|eusc)-`)

// s3Name returns the name of a folder of S3. The name of a bucket in another partition
// begins with its server, as that of another server does.
func s3Name(s *modelv1alpha1.S3Source) string {
	endpoint := s.Endpoint
	if endpoint == "" && otherPartition.MatchString(s.Region) {
		domain := ".amazonaws.com"
		if strings.HasPrefix(s.Region, "cn-") {
			domain += ".cn"
		}
		endpoint = modelv1alpha1.SourceEndpoint("https://s3." + s.Region + domain)
	}
	return bucketName("s3://", endpoint, s.Bucket, s.Prefix)
}

// cloudNames returns the name that a folder would have without its endpoint, which a policy
// may deny, too: the endpoint may be another name of the cloud's own server.
func cloudNames(cloud string, endpoint modelv1alpha1.SourceEndpoint, bucket string, prefix modelv1alpha1.SourcePrefix) []string {
	if endpoint == "" {
		return nil
	}
	return []string{bucketName(cloud, "", bucket, prefix)}
}

func s3Folder(s *modelv1alpha1.S3Source) *FolderSource {
	hashed := hashedBucket(s.Bucket, s.Endpoint, s.Prefix)
	// Names of buckets are unique in the regions of one partition only.
	hashed.Region = s.Region
	args := append([]string{"--source-s3-bucket=" + s.Bucket}, bucketArguments(s.Endpoint, s.Prefix)...)
	if s.Region != "" {
		args = append(args, "--source-region="+s.Region)
	}
	if s.PathStyle != nil {
		style := "virtual-host"
		if *s.PathStyle {
			style = "path"
		}
		args = append(args, "--source-url-style="+style)
	}
	if s.RequesterPays {
		args = append(args, "--source-requester-pays")
	}
	return &FolderSource{
		IsBucket: true, Name: s3Name(s), Others: cloudNames("s3://", s.Endpoint, s.Bucket, s.Prefix), ReaderPays: s.RequesterPays, Credentials: s.CredentialsSecretRef, CA: s.CertSecretRef,
		CredentialKeys: [][]string{{KeyAWSAccessKeyID, KeyAWSSecretAccessKey}}, OptionalKey: KeyAWSSessionToken,
		arguments: args, hashed: runHashSource{S3: hashed},
	}
}

func gcsFolder(s *modelv1alpha1.GCSSource) *FolderSource {
	args := append([]string{"--source-gcs-bucket=" + s.Bucket}, bucketArguments(s.Endpoint, s.Prefix)...)
	if s.UserProject != "" {
		args = append(args, "--source-user-project="+s.UserProject)
	}
	return &FolderSource{
		IsBucket: true, Name: bucketName("gs://", s.Endpoint, s.Bucket, s.Prefix), Others: cloudNames("gs://", s.Endpoint, s.Bucket, s.Prefix), ReaderPays: s.UserProject != "", Credentials: s.CredentialsSecretRef, CA: s.CertSecretRef,
		// A federated account's own token, if that is what the credentials are of.
		CredentialKeys: [][]string{{KeyGoogleCredentials}}, OptionalKey: DefaultTokenKey,
		Bound: !identity.IsGoogle(string(s.Endpoint)), Host: identity.HostOf(string(s.Endpoint)),
		arguments: args, hashed: runHashSource{GCS: hashedBucket(s.Bucket, s.Endpoint, s.Prefix)},
	}
}

func azureBlobFolder(s *modelv1alpha1.AzureBlobSource) *FolderSource {
	hashed := hashedBucket(s.Container, s.Endpoint, s.Prefix)
	hashed.Account = s.Account
	return &FolderSource{
		IsBucket:    true,
		Name:        bucketName("https://"+s.Account+".blob.core.windows.net/", s.Endpoint, s.Container, s.Prefix),
		Others:      cloudNames("https://"+s.Account+".blob.core.windows.net/", s.Endpoint, s.Container, s.Prefix),
		Credentials: s.CredentialsSecretRef, CA: s.CertSecretRef,
		CredentialKeys: [][]string{{KeyAzureAccessKey}, {KeyAzureSASToken}, {KeyAzureTenantID, KeyAzureClientID, KeyAzureClientSecret}},
		Bound:          !identity.IsAzureBlob(string(s.Endpoint), s.Account), Host: identity.HostOf(string(s.Endpoint)),
		arguments: append([]string{"--source-azure-account=" + s.Account, "--source-azure-container=" + s.Container},
			bucketArguments(s.Endpoint, s.Prefix)...),
		hashed: runHashSource{AzureBlob: hashed},
	}
}

func volumeFolder(namespace string, s *modelv1alpha1.PersistentVolumeClaimSource) *FolderSource {
	// The worker must know which part is the volume: the path is one in it, and may be a
	// link that leads out of it.
	args := []string{"--source-volume=" + sourceMountPath}
	if s.Path != "" {
		args = append(args, "--source-prefix="+s.Path)
	}
	return &FolderSource{
		Name:      "pvc://" + path.Join(namespace, s.ClaimName, s.Path),
		arguments: args,
		hashed:    runHashSource{PersistentVolumeClaim: &runHashVolume{ClaimName: s.ClaimName, Path: s.Path}},
	}
}

func httpFolder(s *modelv1alpha1.HTTPSource) *FolderSource {
	out := &FolderSource{
		Credentials: s.CredentialsSecretRef, CA: s.CertSecretRef,
		CredentialKeys: [][]string{{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey}, {DefaultTokenKey}},
		Bound:          true,
		hashed:         runHashSource{HTTP: &runHashHTTP{}},
	}
	if len(s.Items) > 0 {
		out.Host = identity.HostOf(s.Items[0].URL)
	}
	items := slices.SortedFunc(slices.Values(s.Items), func(a, b modelv1alpha1.HTTPItem) int { return strings.Compare(a.Path, b.Path) })
	for _, i := range items {
		// Strings and numbers can always be encoded.
		encoded, _ := json.Marshal(i) //nolint:errchkjson // See above.
		out.arguments = append(out.arguments, "--source-http-item="+string(encoded))
		out.hashed.HTTP.Items = append(out.hashed.HTTP.Items, runHashHTTPItem{URL: i.URL, Path: i.Path, SHA256: i.SHA256})
		out.Others = append(out.Others, i.URL)
	}
	out.Name = sharedFolder(out.Others)
	return out
}

// sharedFolder returns the URL of the folder that all URLs are in; of one URL itself.
func sharedFolder(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	shared := urls[0]
	for _, u := range urls[1:] {
		for shared != "" && (!strings.HasPrefix(u, shared) || !strings.HasSuffix(shared, "/")) {
			shared = shared[:strings.LastIndexByte(strings.TrimSuffix(shared, "/"), '/')+1]
		}
	}
	return shared
}

// folderArguments returns the flags of `worker run` for a folder, except those of
// credentials.
func folderArguments(a *modelv1alpha1.Artifact, f *FolderSource) []string {
	args := append([]string{"--source-name=" + f.Name}, f.arguments...)
	if l := a.Spec.ForProvider.Source.License; l != "" {
		args = append(args, "--source-license="+l)
	}
	if a.Effective.SourceIdentity {
		args = append(args, "--source-identity")
	}
	if recorded := recordedRevision(a); recorded != "" && !Follows(a) {
		args = append(args, "--revision="+recorded)
	}
	return append(args, filterArguments(a.Spec.ForProvider.Source.Files)...)
}

// Follows reports whether the Artifact is rebuilt when its source moves.
func Follows(a *modelv1alpha1.Artifact) bool {
	s := a.Spec.ForProvider.Source
	return s != nil && s.RevisionPolicy == modelv1alpha1.RevisionFollow
}

// folderCredentials returns the part of the credentials' volume with those of a folder,
// and the flag of `worker run` for them; nil for none. Of runs in another namespace, they
// are copies.
func folderCredentials(a *modelv1alpha1.Artifact) (*corev1.SecretProjection, string) {
	f := FolderOf(a)
	if f == nil || f.Credentials == nil {
		return nil, ""
	}
	name, prefix := f.Credentials.Name, ""
	if isolated(a) {
		name, prefix = CopiedSecret, CopiedSourcePrefix
	}
	p := &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: name},
		// The Secret has one of several sets of keys.
		Optional: ptr.To(true),
	}
	for _, key := range f.Keys() {
		p.Items = append(p.Items, corev1.KeyToPath{Key: prefix + key, Path: sourceCredentialsFolder + "/" + key})
	}
	return p, "--source-credentials-folder=" + credentialsMountPath + "/" + sourceCredentialsFolder
}

// Keys returns all keys of the folder's credentials that a run reads.
func (f *FolderSource) Keys() []string {
	var out []string
	for _, alternative := range f.CredentialKeys {
		out = append(out, alternative...)
	}
	if f.OptionalKey != "" {
		out = append(out, f.OptionalKey)
	}
	if f.Bound {
		out = append(out, identity.KeyHost)
	}
	return out
}

// folderCA returns the authorities that are trusted for a folder's server; nil for none.
func folderCA(a *modelv1alpha1.Artifact) *corev1.SecretKeySelector {
	f := FolderOf(a)
	switch {
	case f == nil || f.CA == nil:
		return nil
	case isolated(a):
		return SecretKey(CopiedSecret, CopiedSourceCA)
	}
	return SecretKey(f.CA.Name, KeyCA)
}

// jobWithSourceVolume mounts the volume that a run reads from. Both of claim and mount
// are read-only: by that of the claim, no file gets another owner or label
// (https://kubernetes.io/docs/tasks/configure-pod-container/security-context/).
func jobWithSourceVolume(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		s := a.Spec.ForProvider.Source
		if s == nil || s.PersistentVolumeClaim == nil {
			return
		}
		pod := &j.Spec.Template.Spec
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: sourceVolumeName, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: s.PersistentVolumeClaim.ClaimName, ReadOnly: true},
		}})
		c := &pod.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: sourceVolumeName, MountPath: sourceMountPath, ReadOnly: true})
	}
}

// SourceParameters returns what the spec asks for of a folder, as it is in the provenance
// of an artifact.
func (f *FolderSource) SourceParameters() map[string]any {
	out := map[string]any{}
	switch h := f.hashed; {
	case h.S3 != nil:
		out["s3"] = h.S3.parameters()
	case h.GCS != nil:
		out["gcs"] = h.GCS.parameters()
	case h.AzureBlob != nil:
		out["azureBlob"] = h.AzureBlob.parameters()
	case h.PersistentVolumeClaim != nil:
		out["persistentVolumeClaim"] = stringParameters(map[string]string{"claimName": h.PersistentVolumeClaim.ClaimName, "path": h.PersistentVolumeClaim.Path})
	case h.HTTP != nil:
		out["http"] = map[string]any{"url": f.Name}
	}
	return out
}

// parameters returns a bucket as it is in the provenance.
func (b *runHashBucket) parameters() map[string]any {
	name := "bucket"
	if b.Account != "" {
		name = "container"
	}
	return stringParameters(map[string]string{name: b.Bucket, "account": b.Account, "prefix": b.Prefix, "endpoint": b.Endpoint, "region": b.Region})
}

// stringParameters returns the values that are not empty.
func stringParameters(all map[string]string) map[string]any {
	out := map[string]any{}
	for name, value := range all {
		if value != "" {
			out[name] = value
		}
	}
	return out
}
