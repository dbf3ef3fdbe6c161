package artifact

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

const (
	defaultRevision = "main"

	// DefaultTokenKey is the default key of a Hub's token in a Secret.
	DefaultTokenKey = "token"

	// KeyCA is the key of certificate authorities in a Secret, as in Secrets of
	// cert-manager. Those of a certificate and its private key are
	// corev1.TLSCertKey and corev1.TLSPrivateKeyKey.
	KeyCA = "ca.crt"
)

// huggingFace returns the Artifact's source on a Hub, or nil.
func huggingFace(a *modelv1alpha1.Artifact) *modelv1alpha1.HuggingFaceSource {
	if a.Spec.ForProvider.Source == nil {
		return nil
	}
	return a.Spec.ForProvider.Source.HuggingFace
}

// readsHub reports whether the Artifact's runs read from a Hub, as they do unless its spec
// names another source.
func readsHub(a *modelv1alpha1.Artifact) bool { return OCISource(a) == nil && FolderOf(a) == nil }

// OCISource returns the Artifact's source in a registry, or nil.
func OCISource(a *modelv1alpha1.Artifact) *modelv1alpha1.OCISource {
	if a.Spec.ForProvider.Source == nil {
		return nil
	}
	return a.Spec.ForProvider.Source.OCI
}

type runHashSource struct {
	HuggingFace *runHashHuggingFace `json:"huggingFace,omitempty"`
	OCI         *runHashOCI         `json:"oci,omitempty"`

	S3                    *runHashBucket `json:"s3,omitempty"`
	GCS                   *runHashBucket `json:"gcs,omitempty"`
	AzureBlob             *runHashBucket `json:"azureBlob,omitempty"`
	PersistentVolumeClaim *runHashVolume `json:"persistentVolumeClaim,omitempty"`
	HTTP                  *runHashHTTP   `json:"http,omitempty"`

	// Files and License of a source that is none of a Hub.
	Files   *runHashFiles `json:"files,omitempty"`
	License string        `json:"license,omitempty"`
}

// runHashBucket has no credentials, and not how the server is asked: these do not decide
// which files there are.
type runHashBucket struct {
	Account  string `json:"account,omitempty"`
	Bucket   string `json:"bucket"`
	Prefix   string `json:"prefix,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"`
}

type runHashVolume struct {
	ClaimName string `json:"claimName"`
	Path      string `json:"path,omitempty"`
}

type runHashHTTP struct {
	Items []runHashHTTPItem `json:"items"`
}

type runHashHTTPItem struct {
	URL    string `json:"url"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

type runHashHuggingFace struct {
	Model    string        `json:"model,omitempty"`
	Revision string        `json:"revision"`
	Dataset  string        `json:"dataset,omitempty"`
	Files    *runHashFiles `json:"files,omitempty"`
}

type runHashFiles struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

type runHashOCI struct {
	Reference string         `json:"reference"`
	Verify    *runHashVerify `json:"verify,omitempty"`
	Referrers string         `json:"referrers,omitempty"`
}

// runHashVerify has who must have signed the source. Another rule needs another run,
// which verifies it.
type runHashVerify struct {
	Key           string        `json:"key,omitempty"`
	Secret        string        `json:"secret,omitempty"`
	ConfigMap     string        `json:"configMap,omitempty"`
	Identities    []runHashOIDC `json:"identities,omitempty"`
	RootSecret    string        `json:"rootSecret,omitempty"`
	RootConfigMap string        `json:"rootConfigMap,omitempty"`
	PredicateType string        `json:"predicateType,omitempty"`
}

type runHashOIDC struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// hashedSource returns the part of the Artifact's source that is in its run hash; nil
// without a source.
func hashedSource(a *modelv1alpha1.Artifact) *runHashSource {
	out := runHashSource{}
	if hf := huggingFace(a); hf != nil {
		out.HuggingFace = &runHashHuggingFace{
			Model:    hf.Model,
			Dataset:  hf.Dataset,
			Revision: cmp.Or(hf.Revision, defaultRevision),
			Files:    hashedFiles(a.Spec.ForProvider.Source.Files),
		}
	}
	if s := OCISource(a); s != nil {
		out.OCI = &runHashOCI{Reference: s.Reference, Verify: hashedVerify(s.Verify), Referrers: string(s.Referrers)}
	}
	if f := FolderOf(a); f != nil {
		out = f.hashed
		out.Files, out.License = hashedFiles(a.Spec.ForProvider.Source.Files), a.Spec.ForProvider.Source.License
	}
	if out == (runHashSource{}) {
		return nil
	}
	return &out
}

// hashedFiles returns the part of a filter that is in the run hash: its patterns as
// sets; nil without patterns.
func hashedFiles(f *modelv1alpha1.FileFilter) *runHashFiles {
	if f == nil || len(f.Include)+len(f.Exclude) == 0 {
		return nil
	}
	return &runHashFiles{Include: asSet(f.Include), Exclude: asSet(f.Exclude)}
}

// asSet returns the sorted strings without duplicates.
func asSet(s []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(s)))
}

// sourceArguments returns the flags of `worker run` for the source.
func sourceArguments(a *modelv1alpha1.Artifact) []string {
	if s := OCISource(a); s != nil {
		args := []string{"--source-artifact=" + referenceFor(a)}
		if accessFor(a).PlainHTTP {
			args = append(args, "--source-plain-http")
		}
		if accessFor(a).Identity {
			args = append(args, "--source-identity")
		}
		if s.Referrers == modelv1alpha1.ReferrersCopy {
			args = append(args, "--source-copy-referrers")
		}
		return append(args, verifyArguments(s.Verify)...)
	}
	if f := FolderOf(a); f != nil {
		return folderArguments(a, f)
	}
	args := []string{hubEndpointFlag + cmp.Or(a.Effective.HubEndpoint, v1alpha1.DefaultHubEndpoint)}
	hf := huggingFace(a)
	if r := hubIdentity(a); r != "" {
		args = append(args, "--hub-identity-resource="+r)
	}
	switch {
	case hf == nil:
		return args
	case hf.Dataset != "":
		args = append(args, "--dataset="+hf.Dataset)
	default:
		args = append(args, "--model="+hf.Model)
	}
	return append(append(args, "--revision="+revisionFor(a)), filterArguments(a.Spec.ForProvider.Source.Files)...)
}

// hubEndpointFlag is the flag of `worker run` for the address of the Hub.
const hubEndpointFlag = "--hub-endpoint="

// HubOf returns the address of the Hub that the run with this Job reads from, whatever
// its ProviderConfig says by now; empty if it reads from none. Nobody can change the
// arguments of a Job that exists.
func HubOf(job *batchv1.Job) string {
	for _, c := range job.Spec.Template.Spec.Containers {
		for _, arg := range c.Args {
			if endpoint, is := strings.CutPrefix(arg, hubEndpointFlag); is {
				return strings.TrimRight(strings.ReplaceAll(endpoint, "$$", "$"), "/")
			}
		}
	}
	return ""
}

// HubPage returns the path of the page of the Artifact's model or dataset on a Hub;
// empty for another source.
func HubPage(a *modelv1alpha1.Artifact) string {
	switch hf := huggingFace(a); {
	case hf == nil:
		return ""
	case hf.Dataset != "":
		return "/datasets/" + hf.Dataset
	default:
		return "/" + hf.Model
	}
}

// filterArguments returns the flags of `worker run` that select files.
func filterArguments(f *modelv1alpha1.FileFilter) []string {
	if f == nil {
		return nil
	}
	args := make([]string, 0, len(f.Include)+len(f.Exclude))
	for _, p := range asSet(f.Include) {
		args = append(args, "--include="+p)
	}
	for _, p := range asSet(f.Exclude) {
		args = append(args, "--exclude="+p)
	}
	return args
}

// recordedRevision returns the source's commit or digest of the artifact, if its run
// hash is still that of the spec; else "".
func recordedRevision(a *modelv1alpha1.Artifact) string {
	s := a.Status.AtProvider
	if s.Source == nil || s.RunHash != RunHash(a) {
		return ""
	}
	return s.Source.Revision
}

// revisionFor returns the revision that a run reads from the Hub: the recorded commit
// unless the spec follows the revision, so that a rebuild gives the same artifact;
// else the spec's.
func revisionFor(a *modelv1alpha1.Artifact) string {
	if recorded := recordedRevision(a); recorded != "" && !Follows(a) {
		return recorded
	}
	return cmp.Or(huggingFace(a).Revision, defaultRevision)
}

// FollowedTag returns the tag of the Artifact's source in a registry, if it follows it;
// empty if the source is named by a digest, or is not in a registry.
func FollowedTag(a *modelv1alpha1.Artifact) string {
	s := OCISource(a)
	if s == nil || !Follows(a) || strings.Contains(s.Reference, "@") {
		return ""
	}
	return s.Reference[strings.LastIndexByte(s.Reference, ':')+1:]
}

// referenceFor returns the reference that a run reads from a registry: with the
// recorded digest unless the spec follows the tag, so that a rebuild gives the same
// artifact; else the spec's.
func referenceFor(a *modelv1alpha1.Artifact) string {
	reference := OCISource(a).Reference
	d := digest.Digest(recordedRevision(a))
	if strings.Contains(reference, "@") || d.Validate() != nil || Follows(a) {
		return reference
	}
	if i := strings.LastIndexByte(reference, ':'); i > strings.LastIndexByte(reference, '/') {
		reference = reference[:i]
	}
	return reference + "@" + d.String()
}

// accessFor returns how a run connects to the registry of the Artifact's source: as its
// ProviderConfig says, else as the Artifact does. The Artifact's own credentials and
// authorities take precedence.
func accessFor(a *modelv1alpha1.Artifact) modelv1alpha1.SourceAccess {
	s := OCISource(a)
	if s == nil {
		return modelv1alpha1.SourceAccess{}
	}
	out := ptr.Deref(a.Effective.Source, modelv1alpha1.SourceAccess{PlainHTTP: s.PlainHTTP})
	if isolated(a) {
		// What the Artifact names is copied, and part of it.
		return out
	}
	if r := s.CredentialsSecretRef; r != nil {
		out.Credentials = SecretKey(r.Name, corev1.DockerConfigJsonKey)
	}
	if r := s.CertSecretRef; r != nil {
		out.CA = SecretKey(r.Name, KeyCA)
	}
	return out
}

// SameModel reports whether the sources of two Artifacts are the same model or dataset
// of a Hub, at any revision, or the same folder.
func SameModel(a, b *modelv1alpha1.Artifact) bool {
	if one, other := FolderOf(a), FolderOf(b); one != nil && other != nil {
		return one.Name == other.Name
	}
	one, other := huggingFace(a), huggingFace(b)
	return one != nil && other != nil && one.Model == other.Model && one.Dataset == other.Dataset
}
