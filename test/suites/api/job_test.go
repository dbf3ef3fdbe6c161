package api

import (
	"slices"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	artifacts "github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestRunIsTaken checks that the API server takes what a run is made of, in a
// namespace that enforces the restricted Pod security standard.
func TestRunIsTaken(t *testing.T) {
	bare := modelv1alpha1.ArtifactParameters{
		Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "Qwen/Qwen3-0.6B"}},
		Target: &modelv1alpha1.Target{Registry: "registry.example.com", Repository: "models/qwen3"},
	}
	stream := *bare.DeepCopy()
	stream.Pipeline = modelv1alpha1.PipelineStream
	chosen, mirrored := *stream.DeepCopy(), *stream.DeepCopy()
	chosen.Format = modelv1alpha1.PackFormatImage
	chosen.Source.HuggingFace = &modelv1alpha1.HuggingFaceSource{
		Dataset: "openai/gsm8k",
	}
	chosen.Source.Files = &modelv1alpha1.FileFilter{Include: []string{"main/", "$(HF_TOKEN)"}, Exclude: []string{"*.bin"}}
	mirrored.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{
		Reference:            "source.example.com/models/qwen3:v1",
		CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "pull"},
		CertSecretRef:        &xpv2.LocalSecretReference{Name: "ca"},
	}}
	full := modelv1alpha1.Effective{
		Registry:            "registry.example.com",
		PlainHTTP:           true,
		RegistryCredentials: artifacts.SecretKey("config", corev1.DockerConfigJsonKey),
		RegistryCA:          artifacts.SecretKey("ca", "ca.crt"),
		HubToken:            artifacts.SecretKey("hf", "token"),
		HubCA:               artifacts.SecretKey("ca", "ca.crt"),
		ImagePullSecrets:    []corev1.LocalObjectReference{{Name: "pull"}},
		Env:                 []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}},
		HostAliases:         []corev1.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"huggingface.co"}}},
		Job: &v1alpha1.JobSettings{
			Labels:      map[string]string{"team": "research"},
			Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}},

			ParallelLayers: ptr.To[int32](16), BufferSize: ptr.To(resource.MustParse("1Gi")),
		},
	}
	divided := *stream.DeepCopy()
	divided.Job = &v1alpha1.JobSettings{Parallelism: v1alpha1.MaxParallelism}
	volume, bucket, files := *stream.DeepCopy(), *stream.DeepCopy(), *stream.DeepCopy()
	volume.Source = &modelv1alpha1.Source{PersistentVolumeClaim: &modelv1alpha1.PersistentVolumeClaimSource{ClaimName: "training-output", Path: "$(HOME)/last"}}
	bucket.Source = &modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{
		Bucket: "models", CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "s3"}, CertSecretRef: &xpv2.LocalSecretReference{Name: "ca"},
	}}
	files.Source = &modelv1alpha1.Source{HTTP: &modelv1alpha1.HTTPSource{
		Items:                []modelv1alpha1.HTTPItem{{URL: "https://models.example.com/a", Path: "a", SHA256: strings.Repeat("0", 64)}},
		CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "http"},
	}}
	kitVolume := *volume.DeepCopy()
	kitVolume.Pipeline = modelv1alpha1.PipelineKit
	administered, assigned := *full.DeepCopy(), *full.DeepCopy()
	administered.Pod = v1alpha1.PodSettings{
		RuntimeClassName:        "gvisor",
		SchedulerName:           "volcano",
		TTLSecondsAfterFinished: ptr.To[int32](86400),
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
			{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway},
		},
		PodSecurityContext: &v1alpha1.PodSecurityContext{
			RunAsUser: ptr.To[int64](2000), RunAsGroup: ptr.To[int64](0), SupplementalGroups: []int64{3000},
			SELinuxOptions: &corev1.SELinuxOptions{Type: "container_t", Level: "s0:c123,c456"},
		},
	}
	assigned.Pod.PodSecurityContext = &v1alpha1.PodSecurityContext{}
	type args struct {
		name       string
		parameters modelv1alpha1.ArtifactParameters
		effective  modelv1alpha1.Effective
	}
	cases := map[string]struct {
		reason string
		args   args
	}{
		"Kit":            {reason: "Kit needs no ProviderConfig to be valid.", args: args{name: "qwen3", parameters: bare}},
		"Stream":         {reason: "Stream needs no ProviderConfig to be valid.", args: args{name: "qwen3", parameters: stream}},
		"KitFull":        {reason: "Kit with all that a ProviderConfig says is valid.", args: args{name: "qwen3", parameters: bare, effective: full}},
		"StreamFull":     {reason: "Stream with all that a ProviderConfig says is valid.", args: args{name: "qwen3", parameters: stream, effective: full}},
		"KitPod":         {reason: "Kit with all that an administrator may choose is valid.", args: args{name: "qwen3", parameters: bare, effective: administered}},
		"StreamPod":      {reason: "Stream with all that an administrator may choose is valid.", args: args{name: "qwen3", parameters: stream, effective: administered}},
		"KitAssigned":    {reason: "Kit is valid without a user.", args: args{name: "qwen3", parameters: bare, effective: assigned}},
		"StreamAssigned": {reason: "Stream is valid without a user.", args: args{name: "qwen3", parameters: stream, effective: assigned}},
		"Dataset":        {reason: "Chosen files of a dataset are valid.", args: args{name: "gsm8k", parameters: chosen}},
		"OCI":            {reason: "Credentials of two registries are valid side by side.", args: args{name: "qwen3", parameters: mirrored, effective: full}},
		"Volume":         {reason: "A volume that is read beside the credentials is valid.", args: args{name: "qwen3", parameters: volume, effective: full}},
		"VolumePod":      {reason: "So is one with all that an administrator may choose.", args: args{name: "qwen3", parameters: volume, effective: administered}},
		"KitVolume":      {reason: "A volume that kit packs beside its workspace is valid.", args: args{name: "qwen3", parameters: kitVolume, effective: full}},
		"Bucket":         {reason: "Credentials of a bucket and a registry are valid side by side.", args: args{name: "qwen3", parameters: bucket, effective: full}},
		"HTTP":           {reason: "Credentials of a server and a registry are valid side by side.", args: args{name: "qwen3", parameters: files, effective: full}},
		"Divided":        {reason: "Many Pods of a run are valid, with the longest name.", args: args{name: strings.Repeat("a.", 100) + "a", parameters: divided, effective: full}},
		"LongestName":    {reason: "The longest name makes valid ones.", args: args{name: strings.Repeat("a", 253), parameters: bare}},
		"NameWithDots":   {reason: "A name with dots makes valid ones.", args: args{name: strings.Repeat("a.", 100) + "a", parameters: bare}},
		"NameWithDashes": {reason: "A name with dashes makes valid ones.", args: args{name: "a" + strings.Repeat("-", 200) + "a", parameters: bare}},
	}

	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	restrict(t, c, namespace)
	if err := c.Create(t.Context(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: administered.Pod.RuntimeClassName}, Handler: "runsc"}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: tc.args.name},
				Spec:       modelv1alpha1.ArtifactSpec{ForProvider: tc.args.parameters},
				Effective:  tc.args.effective,
			}
			labels := artifacts.LabelsForArtifact(a.GetName(), "v1")
			job := artifacts.BuildJob(a, "example.com/kit:v1", labels)
			named := job.DeepCopy()
			named.GenerateName, named.Name = "", artifacts.JobName(a)
			// The Job's controller makes a Pod of this, after admission.
			pod := &corev1.Pod{ObjectMeta: job.Spec.Template.ObjectMeta, Spec: job.Spec.Template.Spec}
			pod.Namespace, pod.GenerateName = namespace, named.GetName()+"-"

			for _, o := range []client.Object{job, named, pod, artifacts.BuildPVC(a, labels)} {
				if err := c.Create(t.Context(), o, client.DryRunAll); err != nil {
					t.Errorf("\n%s\n%T is refused: %v", tc.reason, o, err)
				}
			}
			if s := tc.args.parameters.Source.PersistentVolumeClaim; s != nil {
				readsOnly(t, named.Spec.Template.Spec, s.ClaimName)
				readsOnly(t, pod.Spec, s.ClaimName)
			}
		})
	}
}

// readsOnly checks that a Pod has a claim, once, and can write to it neither by the volume nor
// by a mount, as the API server has taken it.
func readsOnly(t *testing.T, pod corev1.PodSpec, claim string) {
	t.Helper()
	name := ""
	for _, v := range pod.Volumes {
		c := v.PersistentVolumeClaim
		if c == nil || c.ClaimName != claim {
			continue
		}
		if name != "" || !c.ReadOnly {
			t.Errorf("want one volume of claim %q, which is read-only, got %+v", claim, pod.Volumes)
		}
		name = v.Name
	}
	mounts := 0
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, m := range c.VolumeMounts {
			if m.Name != name {
				continue
			}
			if mounts++; !m.ReadOnly {
				t.Errorf("want container %q to mount claim %q read-only, got %+v", c.Name, claim, m)
			}
		}
	}
	if name == "" || mounts == 0 {
		t.Errorf("want claim %q to be mounted, got volumes %+v", claim, pod.Volumes)
	}
}

// restrict makes a namespace enforce the restricted Pod security standard.
func restrict(t *testing.T, c client.Client, namespace string) {
	t.Helper()
	ns := &corev1.Namespace{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: namespace}, ns); err != nil {
		t.Fatal(err)
	}
	ns.Labels[psa.EnforceLevelLabel] = string(psa.LevelRestricted)
	if err := c.Update(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	refused := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "root-"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: "example.com/root"}}},
	}
	if err := c.Create(t.Context(), refused, client.DryRunAll); err == nil {
		t.Fatal("The namespace does not enforce the standard: a Pod that may be root is taken")
	}
}
