package settings

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// given is what a run gets from Secrets.
type given struct {
	// Mounted maps the use of a key to the Secret and the key.
	Mounted map[string]string

	// Copied maps the keys of the run's own Secret to their values: of a docker
	// config the name of its entry and the password.
	Copied map[string]string
}

func TestRunsCredentials(t *testing.T) {
	const copied = artifact.CopiedSecret
	type args struct {
		config  client.Object
		own     bool
		docker  string // Of the Secret registry, or own.
		certs   map[string]string
		outside bool // The Secrets are not in the Artifact's namespace.
		target  string
	}
	ca := map[string]string{"ca.crt": "authority"}
	pair := map[string]string{"tls.crt": "certificate", "tls.key": "key"}
	all := map[string]string{"ca.crt": "authority", "tls.crt": "certificate", "tls.key": "key"}
	cases := map[string]struct {
		reason string
		args   args
		want   given
	}{
		"Plain": {
			reason: "Secrets that kit can use should be mounted as they are.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor(credentialsHost, "other.example.com"), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"Path": {
			reason: "The entry for the repository should be copied where kit would not find it.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor(credentialsHost, credentialsHost+"/models", credentialsHost+"/other"), certs: ca},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": "certs/ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " " + credentialsHost + "/models"},
			},
		},
		"OtherPath": {
			reason: "An entry for another repository should be ignored.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor(credentialsHost, credentialsHost+"/other"), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"Wildcard": {
			reason: "An entry with a wildcard should be copied, since kit would not find it.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor("*.example.com"), certs: ca},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": "certs/ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " *.example.com"},
			},
		},
		"Stranger": {
			reason: "A Secret without an entry for the registry should be mounted as it is.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor("other.example.com"), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"Own": {
			reason: "The Artifact's own credentials should be mounted as they are where kit finds the entry.",
			args:   args{config: namespacedConfig(), own: true, docker: testregistry.DockerConfigFor(credentialsHost), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "own/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"OwnWildcard": {
			reason: "The entry of the Artifact's own credentials should be copied where kit would not find it.",
			args:   args{config: namespacedConfig(), own: true, docker: testregistry.DockerConfigFor("*.example.com"), certs: ca},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": "certs/ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " *.example.com"},
			},
		},
		"Certificate": {
			reason: "A client certificate should be mounted with its key and without an authority.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor(credentialsHost), certs: pair},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "certificate": "certs/tls.crt", "key": "certs/tls.key"}},
		},
		"Both": {
			reason: "Authorities, client certificate and key should be mounted together.",
			args:   args{config: namespacedConfig(), docker: testregistry.DockerConfigFor(credentialsHost), certs: all},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt", "certificate": "certs/tls.crt", "key": "certs/tls.key"}},
		},
		"Cluster": {
			reason: "Of another namespace's Secrets everything that is used should be copied, and nothing else.",
			args:   args{config: clusterConfig(), docker: testregistry.DockerConfigFor(credentialsHost, "other.example.com"), certs: all, outside: true},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": copied + "/registry-ca.crt", "certificate": copied + "/registry-tls.crt", "key": copied + "/registry-tls.key"},
				Copied: map[string]string{
					".dockerconfigjson": credentialsHost + " " + credentialsHost,
					"registry-ca.crt":   "authority", "registry-tls.crt": "certificate", "registry-tls.key": "key",
				},
			},
		},
		"ClusterPath": {
			reason: "The most specific entry for the repository should be copied.",
			args:   args{config: clusterConfig(), docker: testregistry.DockerConfigFor(credentialsHost, credentialsHost+"/models/qwen3"), certs: ca, outside: true},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": copied + "/registry-ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " " + credentialsHost + "/models/qwen3", "registry-ca.crt": "authority"},
			},
		},
		"OtherRegistry": {
			reason: "Another registry must get nothing of the config's.",
			args:   args{config: clusterConfig(), docker: testregistry.DockerConfigFor(credentialsHost, "*.example.com", "*.example.com:*"), certs: all, outside: true, target: "other.example.com"},
			want:   given{Mounted: map[string]string{}},
		},
		"OtherRegistryOwn": {
			reason: "Another registry should get the Artifact's own credentials.",
			args:   args{config: namespacedConfig(), own: true, docker: testregistry.DockerConfigFor("*.example.com"), certs: all, target: "other.example.com"},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson"},
				Copied:  map[string]string{".dockerconfigjson": "other.example.com *.example.com"},
			},
		},
		"ClusterOwn": {
			reason: "The Artifact's own credentials should replace the config's, which must not be copied.",
			args:   args{config: clusterConfig(), own: true, docker: testregistry.DockerConfigFor(credentialsHost), certs: ca, outside: true},
			want: given{
				Mounted: map[string]string{"credentials": "own/.dockerconfigjson", "ca": copied + "/registry-ca.crt"},
				Copied:  map[string]string{"registry-ca.crt": "authority"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			namespace, docker := "team-a", credentialsSecret("team-a", "own", map[string]string{corev1.DockerConfigJsonKey: tc.args.docker})
			if tc.args.outside {
				namespace = "system"
			}
			if !tc.args.own {
				docker.SetName("registry")
				docker.SetNamespace(namespace)
			}
			reads := 0
			kube := interceptor.NewClient(newKube(t, docker, credentialsSecret(namespace, "certs", tc.args.certs)), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if _, ok := o.(*corev1.Secret); ok {
						reads++
					}
					return c.Get(ctx, key, o, opts...)
				},
			})
			a := credentialsArtifact(tc.args.own)
			a.Spec.ForProvider.Target.Registry = v1alpha1.RegistryHost(tc.args.target)
			s, err := resolve(t, kube, tc.args.config, a)
			if err != nil {
				t.Fatal(err)
			}
			a.Effective = s.Effective
			data, err := s.SecretData(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if reads > 2 {
				t.Errorf("\n%s\nSecretData(...): want each of two Secrets to be read once at most, got %d reads", tc.reason, reads)
			}
			if diff := cmp.Diff(tc.want, given{Mounted: mountedBy(t, a), Copied: testregistry.Summary(t, data)}); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
			reads = 0
			if _, err := s.ConfigHash(t.Context()); err != nil {
				t.Errorf("\n%s\nConfigHash(...): %v", tc.reason, err)
			}
			if _, err := s.SecretData(t.Context()); err != nil || reads > 2 {
				t.Errorf("\n%s\nSecretData(...): want each of two Secrets to be read once at most where a run begins, got %d reads, %v", tc.reason, reads, err)
			}
		})
	}
}

// mountedBy returns which keys of which Secrets the Artifact's Job mounts.
func mountedBy(t *testing.T, a *modelv1alpha1.Artifact) map[string]string {
	t.Helper()
	what := map[string]string{"docker/config.json": "credentials", "registry-ca.crt": "ca", "registry-tls.crt": "certificate", "registry-tls.key": "key"}
	out := map[string]string{}
	for _, v := range artifact.BuildJob(a, "kit:test", nil).Spec.Template.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			for _, i := range s.Secret.Items {
				out[what[i.Path]] = s.Secret.Name + "/" + i.Key
			}
		}
	}
	return out
}

func TestReadCertificates(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   map[string]string // Nil for no Secret.
		want   string            // Part of the message; empty for no error.
	}{
		"All":      {reason: "Authorities, client certificate and key should be accepted together.", args: map[string]string{"ca.crt": "a", "tls.crt": "c", "tls.key": "k"}},
		"CA":       {reason: "Authorities alone should be accepted.", args: map[string]string{"ca.crt": "a"}},
		"EmptyTLS": {reason: "Empty values should count as none: a Secret of type kubernetes.io/tls must have the keys.", args: map[string]string{"ca.crt": "a", "tls.crt": "", "tls.key": ""}},
		"Pair":     {reason: "A client certificate with its key should be accepted without authorities.", args: map[string]string{"tls.crt": "c", "tls.key": "k"}},
		"BlankTLS": {reason: "A certificate and key of white space should count as none.", args: map[string]string{"ca.crt": "a", "tls.crt": "\n", "tls.key": " "}},
		"BlankKey": {reason: "A key of white space should count as none.", args: map[string]string{"tls.crt": "c", "tls.key": "\n"}, want: `has no value for the key "tls.key"`},
		"NoKey":    {reason: "A certificate without its key should be an error that does not quote it.", args: map[string]string{"ca.crt": "a", "tls.crt": "c"}, want: `has no value for the key "tls.key"`},
		"NoCert":   {reason: "A key without its certificate should be an error that does not quote it.", args: map[string]string{"ca.crt": "a", "tls.key": "hunter2"}, want: `has no value for the key "tls.crt"`},
		"Nothing":  {reason: "A Secret with neither authorities nor a certificate should be an error.", args: map[string]string{"other": "x"}, want: `"ca.crt", nor for "tls.crt" and "tls.key"`},
		"Missing":  {reason: "A Secret that does not exist should be an error that names the keys.", want: `does not exist: create it with the key "ca.crt", or with "tls.crt" and "tls.key"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kube := newKube(t)
			if tc.args != nil {
				kube = newKube(t, credentialsSecret("ns", "certs", tc.args))
			}
			err := (&secretReader{kube: kube}).readCertificates(t.Context(), &secretKey{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "certs"}}, &registry.Options{})
			if (err == nil) != (tc.want == "") {
				t.Fatalf("\n%s\nreadCertificates(...): %v", tc.reason, err)
			}
			if err != nil && (outcome.ReasonOf(err) != outcome.ConfigMissing || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("\n%s\nreadCertificates(...): want ConfigMissing with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
