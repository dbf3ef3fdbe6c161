package artifact

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// DefaultKitImage is KitOps' own image, pinned to the version that pipeline Kit is
// tested with (https://github.com/kitops-ml/kitops/releases).
const DefaultKitImage = "ghcr.io/kitops-ml/kitops:v1.16.0"

// Names and paths in a run's Pod.
const (
	// workerContainer and kitContainer are the names of the main container, in
	// pipeline Stream and Kit.
	workerContainer = "worker"
	kitContainer    = "kit"

	// workerPath is the path of the worker in the provider's image.
	workerPath = "/usr/local/bin/worker"

	// toolsMountPath is the folder of the worker in kit's container.
	toolsMountPath  = "/kitops"
	toolsVolumeName = "tools"

	credentialsMountPath  = "/credentials"
	credentialsVolumeName = "credentials"

	// Files in credentialsMountPath. The folder of a config.json is a value for
	// DOCKER_CONFIG.
	dockerConfigFile  = "docker/config.json"
	registryCAFile    = "registry-ca.crt"
	registryCertFile  = "registry-tls.crt"
	registryKeyFile   = "registry-tls.key"
	hubCAFile         = "hub-ca.crt"
	hubTokenFile      = "hub-token"
	hubTokenHostsFile = "hub-token-hosts" //nolint:gosec // A name.
	hubIdentityFile   = "hub-identity"

	// Files for the registry of source.oci.
	sourceDockerConfigFile = "source-docker/config.json"
	sourceCAFile           = "source-ca.crt"
	sourceCertFile         = "source-tls.crt"
	sourceKeyFile          = "source-tls.key"
	sourceVerifyKeyFile    = "source-verify.pub"
	sourceTrustedRootFile  = "source-trusted-root.json"
)

// jobWithPipeline adds the containers of the Artifact's pipeline.
func jobWithPipeline(a *modelv1alpha1.Artifact, kitImage string) jobOverride {
	if NeedsWorkspace(a) {
		return jobWithKit(a, kitImage)
	}
	return jobWithStream(a)
}

// jobWithStream runs the worker in its own image.
func jobWithStream(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		c := restrictedContainer(workerContainer, workerImage(a))
		c.Command = []string{workerPath, "run"}
		c.Args = append(runArguments(a), parallelArguments(settingsFor(a))...)
		j.Spec.Template.Spec.Containers = []corev1.Container{c}
	}
}

// jobWithKit runs the worker, which an init container copies, in kit's image and on
// the workspace.
func jobWithKit(a *modelv1alpha1.Artifact, kitImage string) jobOverride {
	return func(j *batchv1.Job) {
		tools := corev1.VolumeMount{Name: toolsVolumeName, MountPath: toolsMountPath}

		install := restrictedContainer("install", workerImage(a))
		install.Command = []string{workerPath, "install"}
		install.Args = []string{toolsMountPath + "/worker"}
		install.VolumeMounts = []corev1.VolumeMount{tools}

		tools.ReadOnly = true
		kit := restrictedContainer(kitContainer, kitImage)
		kit.Command = []string{toolsMountPath + "/worker", "run"}
		kit.Args = append(runArguments(a), "--workspace="+WorkspaceMountPath)
		kit.VolumeMounts = []corev1.VolumeMount{tools, {Name: WorkspaceVolumeName, MountPath: WorkspaceMountPath}}

		pod := &j.Spec.Template.Spec
		pod.InitContainers = []corev1.Container{install}
		pod.Containers = []corev1.Container{kit}
		pod.Volumes = []corev1.Volume{
			{Name: toolsVolumeName, VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("256Mi"))},
			}},
			{Name: WorkspaceVolumeName, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: WorkspaceName(a)},
			}},
		}
	}
}

// workerImage returns the image with the worker.
func workerImage(a *modelv1alpha1.Artifact) string {
	return cmp.Or(a.Effective.WorkerImage, version.Image())
}

// runArguments returns the flags of `worker run`, except those of credentials.
func runArguments(a *modelv1alpha1.Artifact) []string {
	args := []string{
		"--contract=" + strconv.Itoa(outcome.Contract),
		"--pipeline=" + string(Pipeline(a)),
		"--format=" + string(cmp.Or(a.Spec.ForProvider.Format, modelv1alpha1.PackFormatModelPack)),
	}
	args = append(args, sourceArguments(a)...)
	for _, name := range slices.Sorted(maps.Keys(Annotations(a))) {
		args = append(args, "--annotation="+name+"="+Annotations(a)[name])
	}
	args = append(args, "--registry="+Registry(a), "--repository="+Repository(a))
	if a.Effective.PlainHTTP {
		args = append(args, "--plain-http")
	}
	if cloud := a.Effective.RegistryIdentity; cloud != "" {
		args = append(args, "--registry-identity="+cloud)
	}
	return literal(append(args, stagingArguments(a)...))
}

// parallelArguments returns the flags of `worker run` with what pipeline Stream may
// transfer side by side. What is not set is chosen during the run.
func parallelArguments(s v1alpha1.JobSettings) []string {
	var args []string
	if s.ParallelLayers != nil {
		args = append(args, "--parallel-layers="+strconv.Itoa(int(*s.ParallelLayers)))
	}
	if s.BufferSize != nil {
		args = append(args, "--buffer-size="+strconv.FormatInt(s.BufferSize.Value(), 10))
	}
	return args
}

// literal escapes arguments, or values of environment variables, so that they reach
// the worker unchanged: the kubelet replaces $(NAME) by a variable's value, which
// might be a token, and two dollars by one
// (https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/).
func literal(args []string) []string {
	out := make([]string, 0, len(args))
	for _, a := range args {
		out = append(out, strings.ReplaceAll(a, "$", "$$"))
	}
	return out
}

// OwnerOf returns the Artifact as the owner of names in its registry. It is
// identified by its UID, which no user can choose, unlike AnnotationOwner.
func OwnerOf(a *modelv1alpha1.Artifact) provenance.Owner {
	return provenance.Owner{ID: string(a.GetUID()), Namespace: a.GetNamespace(), Name: a.GetName()}.Known()
}

// stagingArguments returns the flags of `worker run` with the run's own tags.
// Kit resumes from its workspace and needs no checkpoint.
func stagingArguments(a *modelv1alpha1.Artifact) []string {
	owner, hash := OwnerOf(a), RunHash(a)
	args := []string{"--staging-tag=" + provenance.StagingTag(owner, hash)}
	if NeedsWorkspace(a) {
		return args
	}
	return append(args, "--checkpoint-tag="+provenance.CheckpointTag(owner, hash))
}

// A credentialFile is a file of a run's credentials.
type credentialFile struct {
	// flag of `worker run` for path, which is the file or its folder.
	flag, path string

	// file with the value of a Secret's key, or of a ConfigMap's, or with a token of the
	// Pod's service account for an audience; none of them for no file.
	file      string
	key       *corev1.SecretKeySelector
	configMap *corev1.ConfigMapKeySelector
	audience  string
}

// identitySeconds is how long a token of a Pod's service account lives. The kubelet renews
// it after four fifths of that; a shorter one could end before the volume is updated.
const identitySeconds = 3600

// projection returns the volume source of the file, and reports whether there is one.
func (f credentialFile) projection() (corev1.VolumeProjection, bool) {
	switch {
	case f.key != nil:
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: f.key.LocalObjectReference,
			Items:                []corev1.KeyToPath{{Key: f.key.Key, Path: f.file}},
		}}, true
	case f.configMap != nil:
		return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: f.configMap.LocalObjectReference,
			Items:                []corev1.KeyToPath{{Key: f.configMap.Key, Path: f.file}},
		}}, true
	}
	if f.audience != "" {
		return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: f.audience, ExpirationSeconds: ptr.To[int64](identitySeconds), Path: f.file,
		}}, true
	}
	return corev1.VolumeProjection{}, false
}

// credentialFiles returns all files that a run of the Artifact may have.
func credentialFiles(a *modelv1alpha1.Artifact) []credentialFile {
	e, source := a.Effective, accessFor(a)
	files := []credentialFile{
		{flag: "--docker-config", path: "docker", file: dockerConfigFile, key: registryCredentials(a)},
		{flag: "--registry-ca-file", path: registryCAFile, file: registryCAFile, key: e.RegistryCA},
		{flag: "--registry-cert-file", path: registryCertFile, file: registryCertFile, key: e.RegistryCertificate},
		{flag: "--registry-key-file", path: registryKeyFile, file: registryKeyFile, key: e.RegistryKey},
		{flag: "--hub-ca-file", path: hubCAFile, file: hubCAFile, key: hubCA(a)},
		{flag: "--hub-token-file", path: hubTokenFile, file: hubTokenFile, key: hubToken(a)},
		{flag: "--hub-token-hosts-file", path: hubTokenHostsFile, file: hubTokenHostsFile, key: hubTokenHosts(a)},
		{flag: "--hub-identity-file", path: hubIdentityFile, file: hubIdentityFile, audience: hubAudience(a)},
		{flag: "--source-docker-config", path: "source-docker", file: sourceDockerConfigFile, key: source.Credentials},
		{flag: "--source-ca-file", path: sourceCAFile, file: sourceCAFile, key: cmp.Or(source.CA, folderCA(a))},
		{flag: "--source-cert-file", path: sourceCertFile, file: sourceCertFile, key: source.Certificate},
		{flag: "--source-key-file", path: sourceKeyFile, file: sourceKeyFile, key: source.Key},
	}
	return append(files, verifyFiles(a)...)
}

// jobWithCredentials passes secrets to the worker by files in one volume, which the
// kubelet updates when a Secret changes. It never updates environment variables, nor
// files that are mounted by themselves.
func jobWithCredentials(a *modelv1alpha1.Artifact) jobOverride {
	files := credentialFiles(a)
	folder, flag := folderCredentials(a)
	return func(j *batchv1.Job) {
		pod := &j.Spec.Template.Spec
		c := &pod.Containers[0]

		sources := make([]corev1.VolumeProjection, 0, len(files))
		for _, f := range files {
			source, ok := f.projection()
			if !ok {
				continue
			}
			c.Args = append(c.Args, f.flag+"="+credentialsMountPath+"/"+f.path)
			sources = append(sources, source)
		}
		if folder != nil {
			c.Args = append(c.Args, flag)
			sources = append(sources, corev1.VolumeProjection{Secret: folder})
		}
		if len(sources) == 0 {
			return
		}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: credentialsVolumeName, MountPath: credentialsMountPath, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: credentialsVolumeName, VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: slices.Clip(sources), DefaultMode: ptr.To(credentialsMode(pod.SecurityContext))},
		}})
	}
}

// credentialsMode returns the mode of credentials' files. They belong to root and, if the
// Pod has one, to the group of its volumes. Without that the Pod's user is one of all
// others: nobody else runs in the Pod, and the kubelet keeps the files from other
// processes of the node.
func credentialsMode(s *corev1.PodSecurityContext) int32 {
	if s.FSGroup == nil {
		return 0o444
	}
	return 0o440
}

// registryCredentials returns the copied credentials, else the Artifact's own, else
// its ProviderConfig's. In another namespace there are only copies.
func registryCredentials(a *modelv1alpha1.Artifact) *corev1.SecretKeySelector {
	if copied := a.Effective.CopiedCredentials; copied != nil {
		return copied
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.CredentialsSecretRef != nil && !isolated(a) {
		return SecretKey(t.CredentialsSecretRef.Name, corev1.DockerConfigJsonKey)
	}
	return a.Effective.RegistryCredentials
}

// hubToken returns the Artifact's own token, else its ProviderConfig's; nil for
// another source.
func hubToken(a *modelv1alpha1.Artifact) *corev1.SecretKeySelector {
	if hf := huggingFace(a); hf != nil && hf.TokenSecretRef != nil && !isolated(a) {
		return SecretKey(hf.TokenSecretRef.Name, cmp.Or(hf.TokenSecretRef.Key, DefaultTokenKey))
	}
	if !readsHub(a) {
		return nil
	}
	return a.Effective.HubToken
}

// hubTokenHosts returns the hosts that the token may be sent to; nil for any, or no token.
func hubTokenHosts(a *modelv1alpha1.Artifact) *corev1.SecretKeySelector {
	if hubToken(a) == nil {
		return nil
	}
	return a.Effective.HubTokenHosts
}

// hubIdentity returns the resource for which a run exchanges the token of its service
// account at the Hub; empty for a run that has a token, or that reads from no Hub.
func hubIdentity(a *modelv1alpha1.Artifact) string {
	if huggingFace(a) == nil || hubToken(a) != nil {
		return ""
	}
	return a.Effective.HubIdentity
}

// hubAudience returns the audience of that token: the Hub's URL, as the Hub's own client
// has it (https://huggingface.co/docs/hub/trusted-publishers). It is empty for no token.
func hubAudience(a *modelv1alpha1.Artifact) string {
	if hubIdentity(a) == "" {
		return ""
	}
	return strings.TrimRight(cmp.Or(a.Effective.HubEndpoint, v1alpha1.DefaultHubEndpoint), "/")
}

// hubCA returns the authorities that are trusted for the Hub; nil for another source.
func hubCA(a *modelv1alpha1.Artifact) *corev1.SecretKeySelector {
	if !readsHub(a) {
		return nil
	}
	return a.Effective.HubCA
}

// SecretKey selects a key of the Secret with this name.
func SecretKey(name, key string) *corev1.SecretKeySelector {
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
}
