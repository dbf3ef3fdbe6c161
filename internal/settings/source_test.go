package settings

import (
	"maps"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// sourceArtifact returns an Artifact that is made from an artifact of a registry and
// pushed to models/team-a/copy.
func sourceArtifact(reference string, change ...func(*modelv1alpha1.OCISource)) *modelv1alpha1.Artifact {
	a := credentialsArtifact(false)
	a.Spec.ForProvider.Target.Repository = "models/team-a/copy"
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
	a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: reference}}
	for _, fn := range change {
		fn(a.Spec.ForProvider.Source.OCI)
	}
	return a
}

// sourceGiven is what a run gets for the registry of its source.
type sourceGiven struct {
	// Mounted maps files to the Secret and its key, Copied the keys of the run's
	// own Secret to their values.
	Mounted, Copied map[string]string

	// Plain reports whether the run connects without TLS.
	Plain bool
}

// withPrefix returns a ClusterProviderConfig with a prefix for each namespace.
func withPrefix(pc *v1alpha1.ClusterProviderConfig) *v1alpha1.ClusterProviderConfig {
	pc.Spec.Registry.RepositoryPrefix = "models/{namespace}/"
	return pc
}

// withPlainHTTP returns a ProviderConfig of either kind without TLS.
func withPlainHTTP[T client.Object](config T) T {
	switch pc := client.Object(config).(type) {
	case *v1alpha1.ProviderConfig:
		pc.Spec.Registry.PlainHTTP = true
	case *v1alpha1.ClusterProviderConfig:
		pc.Spec.Registry.PlainHTTP = true
	}
	return config
}

func TestSourceCredentials(t *testing.T) {
	const copied = artifact.CopiedSecret
	const host, within, outside = credentialsHost, credentialsHost + "/models/team-a/base:v1", credentialsHost + "/models/team-b/base:v1"
	credentials := func(s *modelv1alpha1.OCISource) { s.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "own"} }
	authority := func(s *modelv1alpha1.OCISource) { s.CertSecretRef = &xpv2.LocalSecretReference{Name: "own-ca"} }
	plain := func(s *modelv1alpha1.OCISource) { s.PlainHTTP = true }
	type args struct {
		config client.Object
		a      *modelv1alpha1.Artifact
	}
	certs := func(of string, keys ...string) map[string]string {
		out := map[string]string{}
		for i, file := range []string{"source-ca.crt", "source-tls.crt", "source-tls.key"} {
			if keys[i] != "" {
				out[file] = of + "/" + keys[i]
			}
		}
		return out
	}
	with := func(m map[string]string, key, value string) map[string]string {
		m[key] = value
		return m
	}
	all := func() map[string]string { return certs("certs", "ca.crt", "tls.crt", "tls.key") }
	copies := func() map[string]string { return certs(copied, "source-ca.crt", "source-tls.crt", "source-tls.key") }
	values := func() map[string]string {
		return map[string]string{"source-ca.crt": "authority", "source-tls.crt": "certificate", "source-tls.key": "key"}
	}
	const docker = "source-docker/config.json"
	cases := map[string]struct {
		reason string
		args   args
		want   sourceGiven
	}{
		"Namespaced": {
			reason: "A tenant's config should give its credentials to all repositories of its registry.",
			args:   args{config: namespacedConfig(), a: sourceArtifact(outside)},
			want:   sourceGiven{Mounted: with(all(), docker, "registry/.dockerconfigjson")},
		},
		"Cluster": {
			reason: "Of a ClusterProviderConfig's Secret only the source's entry should be copied.",
			args:   args{config: clusterConfig(), a: sourceArtifact(host + "/models/base:v1")},
			want:   sourceGiven{Mounted: with(copies(), docker, copied+"/source-config.json"), Copied: with(values(), "source-config.json", host+" "+host+"/models")},
		},
		"Within": {
			reason: "A namespace should read with the config's credentials from where it may push.",
			args:   args{config: withPrefix(clusterConfig()), a: sourceArtifact(within)},
			want:   sourceGiven{Mounted: with(copies(), docker, copied+"/source-config.json"), Copied: with(values(), "source-config.json", host+" "+host+"/models/team-a")},
		},
		"Outside": {
			reason: "A tenant must not read another's models with the administrator's credentials or certificate. The authorities are no secret.",
			args:   args{config: withPrefix(clusterConfig()), a: sourceArtifact(outside)},
			want:   sourceGiven{Mounted: certs(copied, "source-ca.crt", "", ""), Copied: map[string]string{"source-ca.crt": "authority"}},
		},
		"OutsideLonger": {
			reason: "A namespace whose name starts with the tenant's should be another one.",
			args:   args{config: withPrefix(clusterConfig()), a: sourceArtifact(host + "/models/team-a0/base:v1")},
			want:   sourceGiven{Mounted: certs(copied, "source-ca.crt", "", ""), Copied: map[string]string{"source-ca.crt": "authority"}},
		},
		"OutsideOwn": {
			reason: "A tenant with own credentials should read with them, outside of the prefix too.",
			args:   args{config: withPrefix(clusterConfig()), a: sourceArtifact(outside, credentials)},
			want:   sourceGiven{Mounted: with(certs(copied, "source-ca.crt", "", ""), docker, "own/.dockerconfigjson"), Copied: map[string]string{"source-ca.crt": "authority"}},
		},
		"Own": {
			reason: "The Artifact's own Secrets should replace the config's.",
			args:   args{config: namespacedConfig(), a: sourceArtifact(within, credentials, authority)},
			want:   sourceGiven{Mounted: map[string]string{docker: "own/.dockerconfigjson", "source-ca.crt": "own-ca/ca.crt"}},
		},
		"ClusterOwn": {
			reason: "The Artifact's own Secrets should replace a ClusterProviderConfig's, and nothing should be copied.",
			args:   args{config: clusterConfig(), a: sourceArtifact(within, credentials, authority)},
			want:   sourceGiven{Mounted: map[string]string{docker: "own/.dockerconfigjson", "source-ca.crt": "own-ca/ca.crt"}},
		},
		"Elsewhere": {
			reason: "Another registry must get nothing of the config's.",
			args:   args{config: withPlainHTTP(namespacedConfig()), a: sourceArtifact("other.example.com/models/base:v1")},
			want:   sourceGiven{Mounted: map[string]string{}},
		},
		"ElsewhereCluster": {
			reason: "A registry whose host is spelled otherwise must get nothing of the config's.",
			args:   args{config: withPlainHTTP(clusterConfig()), a: sourceArtifact(strings.ToUpper(host) + ":443/models/base:v1")},
			want:   sourceGiven{Mounted: map[string]string{}},
		},
		"ElsewhereOwn": {
			reason: "The Artifact should set how to connect to another registry.",
			args:   args{config: clusterConfig(), a: sourceArtifact("other.example.com/models/base:v1", credentials, authority, plain)},
			want:   sourceGiven{Mounted: map[string]string{docker: "own/.dockerconfigjson", "source-ca.crt": "own-ca/ca.crt"}, Plain: true},
		},
		"Plain": {
			reason: "The config's PlainHTTP should apply to its own registry.",
			args:   args{config: withPlainHTTP(namespacedConfig()), a: sourceArtifact(within, authority, credentials)},
			want:   sourceGiven{Mounted: map[string]string{docker: "own/.dockerconfigjson", "source-ca.crt": "own-ca/ca.crt"}, Plain: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, config := tc.args.a, tc.args.config
			// The target is elsewhere if it may be, so that all that is given is the source's.
			shared, _ := config.(*v1alpha1.ClusterProviderConfig)
			elsewhere := shared == nil || shared.Spec.Registry.RepositoryPrefix == ""
			if elsewhere {
				a.Spec.ForProvider.Target.Registry = "target.example.com"
			}
			s, err := resolve(t, sourceSecrets(t, a, "team-a", "system"), config, a)
			if err != nil {
				t.Fatal(err)
			}
			a.Effective = s.Effective
			data, err := s.SecretData(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := sourceGivenTo(t, a, data)
			if !elsewhere {
				targets := func(key, _ string) bool { return !strings.HasPrefix(key, "source-") }
				maps.DeleteFunc(got.Mounted, targets)
				maps.DeleteFunc(got.Copied, targets)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// sourceSecrets returns an API server with all Secrets that a source may need, and
// the config's in each of the namespaces.
func sourceSecrets(t *testing.T, a *modelv1alpha1.Artifact, namespaces ...string) client.Client {
	docker := func(namespace, name string) *corev1.Secret {
		return credentialsSecret(namespace, name, map[string]string{
			corev1.DockerConfigJsonKey: testregistry.DockerConfigFor(credentialsHost, credentialsHost+"/models", credentialsHost+"/models/team-a", credentialsHost+"/models/team-b", "other.example.com"),
		})
	}
	t.Helper()
	secrets := []client.Object{
		docker(a.GetNamespace(), "own"),
		credentialsSecret(a.GetNamespace(), "own-ca", map[string]string{"ca.crt": "own authority"}),
	}
	for _, ns := range namespaces {
		secrets = append(secrets, docker(ns, "registry"), credentialsSecret(ns, "certs", map[string]string{"ca.crt": "authority", "tls.crt": "certificate", "tls.key": "key"}))
	}
	return newKube(t, secrets...)
}

// sourceGivenTo returns what the Artifact's Job gives to its run.
func sourceGivenTo(t *testing.T, a *modelv1alpha1.Artifact, data map[string][]byte) sourceGiven {
	t.Helper()
	pod := artifact.BuildJob(a, "kit:test", nil).Spec.Template.Spec
	out := sourceGiven{Mounted: map[string]string{}}
	for _, arg := range pod.Containers[0].Args {
		out.Plain = out.Plain || arg == "--source-plain-http"
	}
	for _, v := range pod.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			for _, i := range s.Secret.Items {
				out.Mounted[i.Path] = s.Secret.Name + "/" + i.Key
			}
		}
	}
	for key, value := range data {
		if out.Copied == nil {
			out.Copied = map[string]string{}
		}
		out.Copied[key] = string(value)
	}
	if docker, ok := data[copySourceCredentials]; ok {
		out.Copied[copySourceCredentials] = testregistry.Summary(t, map[string][]byte{corev1.DockerConfigJsonKey: docker})[corev1.DockerConfigJsonKey]
	}
	return out
}

// TestSourceIsChecked checks that a Secret or a reference which a source lacks is
// reported where a run begins, and not before.
func TestSourceIsChecked(t *testing.T) {
	credentials := func(s *modelv1alpha1.OCISource) { s.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "gone"} }
	authority := func(s *modelv1alpha1.OCISource) { s.CertSecretRef = &xpv2.LocalSecretReference{Name: "gone"} }
	keys := func(s *modelv1alpha1.OCISource) {
		s.Verify = &modelv1alpha1.Verification{SecretRef: &modelv1alpha1.PublicKeySelector{Name: "gone"}}
	}
	noCA := func(s *modelv1alpha1.OCISource) { s.CertSecretRef = &xpv2.LocalSecretReference{Name: "own"} }
	noSecrets := namespacedConfig()
	noSecrets.Spec.Registry.Credentials.SecretRef, noSecrets.Spec.Registry.CertSecretRef = nil, nil
	hubConfig := noSecrets.DeepCopy()
	hubConfig.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{TokenSecretRef: &xpv2.LocalSecretKeySelector{LocalSecretReference: xpv2.LocalSecretReference{Name: "gone"}, Key: "token"}}
	type want struct {
		reason outcome.Reason
		says   string
	}
	cases := map[string]struct {
		reason string
		config client.Object
		args   *modelv1alpha1.Artifact
		want   want
	}{
		"NotPlain": {
			reason: "A tenant must not have the config's credentials sent without TLS.",
			config: clusterConfig(),
			args:   sourceArtifact(credentialsHost+"/models/base:v1", func(s *modelv1alpha1.OCISource) { s.PlainHTTP = true }),
			want:   want{reason: outcome.Unsupported, says: "remove plainHTTP"},
		},
		"Plain": {
			reason: "What the config says as well may be written.",
			config: withPlainHTTP(noSecrets.DeepCopy()),
			args:   sourceArtifact(credentialsHost+"/models/base:v1", func(s *modelv1alpha1.OCISource) { s.PlainHTTP = true }),
		},
		"Credentials": {reason: "A Secret that does not exist should be an error that names the key.", args: sourceArtifact("other.example.com/a:v1", credentials), want: want{outcome.ConfigMissing, `Secret "gone" in namespace "team-a" does not exist: create it with the key ".dockerconfigjson"`}},
		"Authority":   {reason: "A Secret that does not exist should be an error that names the key.", args: sourceArtifact("other.example.com/a:v1", authority), want: want{outcome.ConfigMissing, `Secret "gone" in namespace "team-a" does not exist: create it with the key "ca.crt"`}},
		"Key":         {reason: "A Secret without the key should be an error that names it.", args: sourceArtifact("other.example.com/a:v1", noCA), want: want{outcome.ConfigMissing, `Secret "own" in namespace "team-a" has no value for the key "ca.crt": add it`}},
		"VerifyKeys":  {reason: "A Secret with public keys that does not exist should be an error that names the key.", args: sourceArtifact("other.example.com/a:v1", keys), want: want{outcome.ConfigMissing, `Secret "gone" in namespace "team-a" does not exist: create it with the key "cosign.pub"`}},
		"Config":      {reason: "A Secret of the config that does not exist should be an error.", config: namespacedConfig(), args: sourceArtifact(credentialsHost + "/a:v1"), want: want{outcome.ConfigMissing, `Secret "certs" in namespace "team-a" does not exist`}},
		"NoReference": {reason: "A reference that the API server did not validate should be an error.", args: sourceArtifact("models/qwen3"), want: want{outcome.Unsupported, "spec.forProvider.source.oci.reference"}},
		"NoHub":       {reason: "An Artifact that is not read from a Hub should not need the config's token.", config: hubConfig, args: sourceArtifact("other.example.com/a:v1")},
		"Nothing":     {reason: "A source without Secrets should be no error.", args: sourceArtifact("other.example.com/a:v1")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kube := sourceSecrets(t, tc.args)
			tc.args.Spec.ForProvider.Target.Registry = "target.example.com"
			config := tc.config
			if config == nil {
				config = noSecrets.DeepCopy()
			} else if err := kube.Create(t.Context(), credentialsSecret("team-a", "registry", map[string]string{corev1.DockerConfigJsonKey: "{}"})); err != nil {
				t.Fatal(err)
			}
			s, err := resolve(t, kube, config, tc.args)
			if err != nil {
				t.Errorf("\n%s\nResolve(...): want the artifact to be observed all the same, got %v", tc.reason, err)
			}
			_, err = s.ConfigHash(t.Context())
			if outcome.ReasonOf(err) != tc.want.reason && (err != nil || tc.want.reason != "") {
				t.Errorf("\n%s\nConfigHash(...): want %s, got %v", tc.reason, tc.want.reason, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.want.says) {
				t.Errorf("\n%s\nConfigHash(...): want %q, got %v", tc.reason, tc.want.says, err)
			}
		})
	}
}

func TestSourceSecretsAreIndexed(t *testing.T) {
	a := sourceArtifact("other.example.com/a:v1", func(s *modelv1alpha1.OCISource) {
		s.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "own"}
		s.CertSecretRef = &xpv2.LocalSecretReference{Name: "own-ca"}
		s.Verify = &modelv1alpha1.Verification{SecretRef: &modelv1alpha1.PublicKeySelector{Name: "keys"}}
	})
	if diff := cmp.Diff([]string{"team-a/own", "team-a/own-ca", "team-a/keys"}, SecretsOf(a)); diff != "" {
		t.Errorf("SecretsOf(...): -want, +got:\n%s", diff)
	}
}

// TestSourceChangesTheConfigHash checks that a change of a source's Secret has a failed
// run retried.
func TestSourceChangesTheConfigHash(t *testing.T) {
	a := sourceArtifact(credentialsHost + "/models/base:v1")
	a.Spec.ForProvider.Target.Registry = "target.example.com"
	kube := sourceSecrets(t, a, "system")
	s, err := resolve(t, kube, clusterConfig(), a)
	if err != nil {
		t.Fatal(err)
	}
	hash := func() string {
		h, err := s.ConfigHash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hash()
	secret := &corev1.Secret{}
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: "system", Name: "registry"}, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data["more"] = []byte("x")
	if err := kube.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if hash() == before {
		t.Error("ConfigHash(...): want another hash after a Secret of the source changed")
	}
}
