package api

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// minimalConfig is the least that a config of either kind says.
const minimalConfig = `
registry:
  host: registry.example.com
  credentials:
    source: None
`

// A configKind is one of the two kinds of config, with what a reference to a
// Secret is in it.
type configKind struct {
	gvk schema.GroupVersionKind

	// secret returns a reference to the Secret of this name.
	secret func(name string) map[string]any
}

func configKinds() map[string]configKind {
	return map[string]configKind{
		"ProviderConfig": {
			gvk:    v1alpha1.ProviderConfigGroupVersionKind,
			secret: func(name string) map[string]any { return map[string]any{"name": name} },
		},
		"ClusterProviderConfig": {
			gvk:    v1alpha1.ClusterProviderConfigGroupVersionKind,
			secret: func(name string) map[string]any { return map[string]any{"name": name, "namespace": "models"} },
		},
	}
}

func TestConfigRegistry(t *testing.T) {
	const registry = "registry"
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) {
			cases := hostRules("registry.host")
			maps.Copy(cases, map[string]rule{
				"PlainHTTP":  {reason: "A registry of one's own may speak without TLS.", args: fields{"registry.plainHTTP": true}},
				"CA":         {reason: "A registry of one's own may have a CA of its own.", args: fields{"registry.certSecretRef": kind.secret("ca")}},
				"NoRegistry": {reason: "A config is about a registry.", args: fields{registry: nil}, want: []string{registry, "Required value"}},
				"NoHost":     {reason: "A registry has a host.", args: fields{"registry.host": nil}, want: []string{"registry.host", "Required value"}},
			})
			checkCreate(t, kind.gvk, minimalConfig, cases)
		})
	}
}

func TestConfigCredentials(t *testing.T) {
	const credentials, source, ref = "registry.credentials", "registry.credentials.source", "registry.credentials.secretRef"
	sayBoth := []string{"registry.credentials", "write source: Secret together with secretRef, or source"}
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) {
			checkCreate(t, kind.gvk, minimalConfig, map[string]rule{
				"None":          {reason: "A registry may let anybody push."},
				"Secret":        {reason: "A Secret holds the credentials.", args: fields{source: "Secret", ref: kind.secret("registry")}},
				"SecretWithout": {reason: "A Secret is named.", args: fields{source: "Secret"}, want: sayBoth},
				"NoneWith":      {reason: "A Secret that is named is used.", args: fields{ref: kind.secret("registry")}, want: sayBoth},
				"Other":         {reason: "The answer lists the sources.", args: fields{source: "Environment"}, want: []string{source, `"None", "Secret"`}},
				"NoSource":      {reason: "Who says nothing is asked.", args: fields{credentials: map[string]any{}}, want: []string{source, "Required value"}},
				"NoCredentials": {reason: "Who says nothing is asked.", args: fields{credentials: nil}, want: []string{credentials, "Required value"}},
				"EmptyName":     {reason: "No Secret has an empty name.", args: fields{source: "Secret", ref: kind.secret("")}, want: []string{credentials}},
			})
		})
	}
}

func TestConfigMaxRuns(t *testing.T) {
	const runs, priority, pods, parallelism = "job.maxRuns", "job.maxPriority", "job.maxParallelism", "job.parallelism"
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Both":     {reason: "An administrator should limit runs and their priority.", args: fields{runs: int64(8), priority: int64(10)}},
		"None":     {reason: "A limit of none would have all runs wait for ever.", args: fields{runs: int64(0)}, want: []string{runs, "greater than or equal to 1"}},
		"Pods":     {reason: "An administrator should allow more Pods of one run.", args: fields{pods: int64(64), parallelism: int64(64)}},
		"Default":  {reason: "The default of a config should be allowed.", args: fields{parallelism: int64(8)}},
		"NoPods":   {reason: "A run has a Pod.", args: fields{pods: int64(-1)}, want: []string{pods, "greater than or equal to 1"}},
		"TooMany":  {reason: "A run has so many shares and no more.", args: fields{pods: int64(65)}, want: []string{pods, "less than or equal to 64"}},
		"Refused":  {reason: "A default that is not allowed would refuse all Artifacts.", args: fields{pods: int64(2), parallelism: int64(3)}, want: []string{"parallelism must not be more than maxParallelism"}},
		"Above":    {reason: "A default that is not allowed would refuse all Artifacts.", args: fields{parallelism: int64(9)}, want: []string{"parallelism must not be more than maxParallelism"}},
		"Negative": {reason: "The default priority should always be allowed.", args: fields{priority: int64(-1)}, want: []string{priority, "greater than or equal to 0"}},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Runs":     {reason: "A tenant's limit would limit nothing.", args: fields{runs: int64(8)}, want: []string{"only an administrator limits runs"}},
		"Pods":     {reason: "A tenant should not allow itself more Pods.", args: fields{pods: int64(16)}, want: []string{"only an administrator limits runs"}},
		"Few":      {reason: "A tenant may have several Pods.", args: fields{parallelism: int64(8)}},
		"Many":     {reason: "A tenant should not allow itself more Pods.", args: fields{parallelism: int64(9)}, want: []string{"parallelism must be 8 or less"}},
		"Priority": {reason: "A tenant should not allow itself a priority.", args: fields{priority: int64(10)}, want: []string{"only an administrator limits runs"}},
	})
}

func TestConfigIdentity(t *testing.T) {
	const identity, resource, namespace = "huggingFace.identity", "huggingFace.identity.resource", "job.namespace"
	sayName := []string{resource, "write models-bot, meta-llama/Llama-3.1-8B or datasets/openai/gsm8k, without https://"}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"User":       {reason: "A user's account reads gated models.", args: fields{resource: "models-bot", namespace: "kitops-runs"}},
		"Repository": {reason: "A repository may be a resource.", args: fields{resource: "org/model", namespace: "kitops-runs"}},
		"Dataset":    {reason: "So may a dataset.", args: fields{resource: "datasets/org/data", namespace: "kitops-runs", "job.pipeline": "Stream"}},
		"Nowhere":    {reason: "A tenant's namespace gets no identity of the administrator's.", args: fields{resource: "models-bot"}, want: []string{"write job.namespace, such as kitops-runs"}},
		"Kit":        {reason: "Kit keeps its first token.", args: fields{resource: "models-bot", namespace: "kitops-runs", "job.pipeline": "Kit"}, want: []string{"write job.pipeline: Stream, or leave it out"}},
		"URL":        {reason: "A resource is a name.", args: fields{resource: "https://huggingface.co/org/model", namespace: "kitops-runs"}, want: sayName},
		"Dots":       {reason: "A name leads nowhere else.", args: fields{resource: "org/..", namespace: "kitops-runs"}, want: sayName},
		"Empty":      {reason: "An identity is for something.", args: fields{identity: map[string]any{}, namespace: "kitops-runs"}, want: []string{resource, "Required value"}},
		"AndToken": {
			reason: "One of two ways is used.",
			args:   fields{resource: "models-bot", namespace: "kitops-runs", "huggingFace.tokenSecretRef": map[string]any{"namespace": "models", "name": "hf", "key": "token"}},
			want:   []string{"remove tokenSecretRef or identity"},
		},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Tenant": {reason: "A tenant has no identity of the administrator's.", args: fields{resource: "models-bot"}, want: []string{"unknown field"}},
	})
}

func TestConfigSourceIdentity(t *testing.T) {
	const identity, namespace = "sourceIdentity", "job.namespace"
	allow := func(patterns ...any) fields {
		return fields{identity: map[string]any{"allow": patterns}, namespace: "kitops-runs"}
	}
	bad := func(reason, pattern string) rule {
		return rule{reason: reason, args: allow(pattern), want: []string{identity + ".allow", "write s3://models-*/*"}}
	}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Clouds":    {reason: "Buckets of each cloud may be named.", args: allow("s3://models-*/*", "gs://models/public/*", "https://account.blob.core.windows.net/models/*", "https://s3.example.com:9000/models/*")},
		"Whole":     {reason: "A bucket may be named without a folder.", args: allow("s3://models")},
		"Nowhere":   {reason: "A tenant's namespace gets no identity of the administrator's.", args: fields{identity: map[string]any{"allow": []any{"s3://models/*"}}}, want: []string{"write job.namespace, such as kitops-runs"}},
		"Nothing":   {reason: "A list that is written is not empty.", args: fields{identity: map[string]any{"allow": []any{}}, namespace: "kitops-runs"}, want: []string{identity + ".allow"}},
		"AnyHost":   bad("A server is named.", "https://*.example.com/models/*"),
		"NoBucket":  bad("A bucket is named.", "https://s3.example.com"),
		"Plain":     {reason: "A bucket without TLS may be followed, without an identity.", args: allow("http://minio.storage:9000/models/*")},
		"AnyPlain":  bad("A server is named.", "http://*/models/*"),
		"Bare":      bad("The cloud is named.", "models/*"),
		"Character": bad("There is one placeholder.", "s3://models/[ab]"),
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Tenant": {reason: "A tenant has no identity of the administrator's.", args: allow("s3://models/*"), want: []string{"unknown field"}},
	})
}

func TestConfigInjectedIdentity(t *testing.T) {
	const source, ref, namespace = "registry.credentials.source", "registry.credentials.secretRef", "job.namespace"
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Isolated": {reason: "Runs in the administrator's namespace may have an identity.", args: fields{source: "InjectedIdentity", namespace: "kitops-runs"}},
		"Stream":   {reason: "Pipeline Stream can use it.", args: fields{source: "InjectedIdentity", namespace: "kitops-runs", "job.pipeline": "Stream"}},
		"Nowhere":  {reason: "A tenant's namespace gets no identity of the administrator's.", args: fields{source: "InjectedIdentity"}, want: []string{"write job.namespace, such as kitops-runs"}},
		"Kit":      {reason: "Kit keeps its first password.", args: fields{source: "InjectedIdentity", namespace: "kitops-runs", "job.pipeline": "Kit"}, want: []string{"write job.pipeline: Stream, or leave it out"}},
		"Plain":    {reason: "No password of a cloud is sent without TLS.", args: fields{source: "InjectedIdentity", namespace: "kitops-runs", "registry.plainHTTP": true}, want: []string{"remove plainHTTP"}},
		"AndSecret": {
			reason: "An identity needs no Secret.",
			args:   fields{source: "InjectedIdentity", namespace: "kitops-runs", ref: map[string]any{"namespace": "models", "name": "r"}},
			want:   []string{"source: None or InjectedIdentity without it"},
		},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Tenant": {reason: "A tenant has no identity of the administrator's.", args: fields{source: "InjectedIdentity"}, want: []string{source, "Unsupported value"}},
	})
}

func TestConfigSecretsNamespace(t *testing.T) {
	const source, ref = "registry.credentials.source", "registry.credentials.secretRef"
	local, cluster := map[string]any{"name": "r"}, map[string]any{"name": "r", "namespace": "other"}

	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Local":   {reason: "A tenant's config reads its own namespace.", args: fields{source: "Secret", ref: local}},
		"Foreign": {reason: "A tenant's config reads no other namespace.", args: fields{source: "Secret", ref: cluster}, want: []string{"unknown field"}},
	})
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Namespace":   {reason: "A cluster's config names the namespace.", args: fields{source: "Secret", ref: cluster}},
		"NoNamespace": {reason: "A cluster's config has no namespace of its own.", args: fields{source: "Secret", ref: local}, want: []string{ref + ".namespace", "Required value"}},
	})
}

func TestConfigTenants(t *testing.T) {
	const prefix, selector = "registry.repositoryPrefix", "namespaceSelector"
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{prefix: value}} }
	bad := func(reason, value string) rule {
		return rule{reason: reason, args: fields{prefix: value}, want: []string{prefix, "write models/ or models/{namespace}/"}}
	}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Fixed":       good("All may share a prefix.", "models/"),
		"Namespace":   good("Each namespace may have its own.", "models/{namespace}/"),
		"Within":      good("A namespace may be a part of a part.", "models/team-{namespace}/x/"),
		"Alone":       good("A namespace may be all of it.", "{namespace}/"),
		"Open":        bad("A prefix that ends within a name is a prefix of another's.", "models/{namespace}"),
		"Absolute":    bad("A repository does not start with a slash.", "/models/"),
		"Empty":       bad("No part is empty.", "models//x/"),
		"Up":          bad("There is no way up.", "models/../"),
		"Upper":       bad("Repositories are lower-case.", "Models/"),
		"Placeholder": bad("There is one placeholder.", "models/{name}/"),
		"LineBreak":   bad("A prefix is one line.", "models/\n"),
		"Selector":    {reason: "Namespaces are picked by labels.", args: fields{selector: map[string]any{"matchLabels": map[string]any{"models": "true"}}}},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Prefix":   {reason: "A tenant bounds nobody.", args: fields{prefix: "models/"}, want: []string{"unknown field"}},
		"Selector": {reason: "A tenant's config is its namespace's.", args: fields{selector: map[string]any{}}, want: []string{"unknown field"}},
	})
}

func TestConfigPolicy(t *testing.T) {
	const allow, most, labels, annotations = "policy.tenants.allow", "policy.tenants.maxResources", "policy.tenants.labels", "policy.tenants.annotations"
	key := []string{labels, "write example.com/cost-center, example.com/* or *"}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Fields":    {reason: "Each field may be allowed.", args: fields{allow: []any{"resources", "nodeSelector", "tolerations", "affinity", "priorityClassName", "conflictPolicy"}}},
		"None":      {reason: "No field need be.", args: fields{allow: []any{}}},
		"Unknown":   {reason: "The answer lists the fields.", args: fields{allow: []any{"serviceAccountName"}}, want: []string{allow, `"resources", "nodeSelector"`}},
		"Twice":     {reason: "A field is allowed once.", args: fields{allow: []any{"affinity", "affinity"}}, want: []string{allow, "Duplicate"}},
		"Resources": {reason: "Resources are bounded by quantities.", args: fields{most: map[string]any{"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": int64(1)}}},
		"Keys":      {reason: "Keys are written as they are.", args: fields{labels: []any{"app", "example.com/a"}, annotations: []any{"note", "example.com/b.c"}}},
		"Prefix":    {reason: "A prefix stands for all its keys.", args: fields{labels: []any{"example.com/*", "*"}}},
		"Part":      {reason: "A part of a name is no prefix.", args: fields{labels: []any{"example.com/a*"}}, want: key},
		"Host":      {reason: "A part of a prefix is none.", args: fields{labels: []any{"*.example.com/a"}}, want: key},
		"Empty":     {reason: "A key has a name.", args: fields{labels: []any{""}}, want: key},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Tenant": {reason: "A tenant allows itself nothing.", args: fields{allow: []any{"tolerations"}}, want: []string{"unknown field"}},
	})
}

func TestConfigJobNamespace(t *testing.T) {
	const namespace = "job.namespace"
	name := []string{namespace, "write lower case letters, digits and dashes"}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Name":   {reason: "A namespace should be named.", args: fields{namespace: "kitops-runs"}},
		"Upper":  {reason: "A name that no namespace can have should be refused.", args: fields{namespace: "Runs"}, want: name},
		"Path":   {reason: "A path should be refused.", args: fields{namespace: "../runs"}, want: name},
		"Holder": {reason: "A placeholder should be refused, since there is one namespace for all.", args: fields{namespace: "{namespace}"}, want: name},
		"Long":   {reason: "A name that is too long should be refused.", args: fields{namespace: strings.Repeat("a", 64)}, want: []string{namespace, "63"}},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Tenant": {reason: "A tenant should not decide where runs execute.", args: fields{namespace: "kitops-runs"}, want: []string{"remove job.namespace, or write it in a ClusterProviderConfig"}},
	})
}

func TestConfigPodSettings(t *testing.T) {
	const context, ttl = "job.podSecurityContext", "job.ttlSecondsAfterFinished"
	set := func(reason string, value map[string]any, want ...string) rule {
		return rule{reason: reason, args: fields{context: value}, want: want}
	}
	labels := func(reason string, value map[string]any, want ...string) rule {
		return set(reason, map[string]any{"seLinuxOptions": value}, want...)
	}
	const sayLabels = "remove user and role, and write level alone or type: container_t"
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Assigned": set("The cluster may assign user and groups.", map[string]any{}),
		"All": set("Who the Pod is should be the administrator's choice.", map[string]any{
			"runAsUser": int64(2000), "runAsGroup": int64(0), "fsGroup": int64(2000), "fsGroupChangePolicy": "Always",
			"supplementalGroups": []any{int64(3000)}, "seLinuxOptions": map[string]any{"level": "s0:c1,c2"},
		}),
		"Root":         set("No run should be root.", map[string]any{"runAsUser": int64(0)}, context+".runAsUser", "greater than or equal to 1"),
		"RootsGroup":   set("No run should have root's group beside its own.", map[string]any{"supplementalGroups": []any{int64(0)}}, context+".supplementalGroups", "greater than or equal to 1"),
		"TooLarge":     set("An ID has 31 bits.", map[string]any{"runAsUser": int64(1) << 31}, context+".runAsUser", "less than or equal to 2147483647"),
		"Privileges":   set("No field should give privileges.", map[string]any{"sysctls": []any{}}, "unknown field"),
		"Change":       set("The answer should list the policies.", map[string]any{"fsGroupChangePolicy": "Never"}, context+".fsGroupChangePolicy", `"OnRootMismatch", "Always"`),
		"Type":         labels("A type that confines may be chosen.", map[string]any{"type": "container_kvm_t"}),
		"Unconfined":   labels("A type that does not confine should be refused.", map[string]any{"type": "spc_t"}, sayLabels),
		"Role":         labels("The standard has no role.", map[string]any{"role": "system_r"}, sayLabels),
		"TTL":          {reason: "Jobs may be kept for a day.", args: fields{ttl: int64(86400)}},
		"ShortTTL":     {reason: "The provider must have time to read a result.", args: fields{ttl: int64(60)}, want: []string{ttl, "greater than or equal to 300"}},
		"Runtime":      {reason: "A RuntimeClass is an object.", args: fields{"job.runtimeClassName": "gVisor"}, want: []string{"job.runtimeClassName", "write gvisor, or leave it out"}},
		"Scheduler":    {reason: "A scheduler has a name.", args: fields{"job.schedulerName": "a b"}, want: []string{"job.schedulerName", "write volcano, or leave it out"}},
		"SpreadNoSkew": {reason: "A constraint should be whole.", args: fields{"job.topologySpreadConstraints": []any{map[string]any{"topologyKey": "a"}}}, want: []string{"maxSkew", "Required value"}},
	})
}

func TestConfigAttestation(t *testing.T) {
	const attestation, key, keyless = "attestation", "attestation.keySecretRef", "attestation.keyless"
	identity := func(more map[string]any) map[string]any {
		out := map[string]any{
			"fulcioURL": "https://fulcio.example.com", "rekorURL": "https://rekor.example.com",
			"identity":             map[string]any{"issuer": "https://kubernetes.default.svc", "subject": "https://kubernetes.io/namespaces/a/serviceaccounts/b"},
			"trustedRootSecretRef": map[string]any{"namespace": "keys", "name": "sigstore"},
		}
		maps.Copy(out, more)
		maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
		return out
	}
	named := func(more map[string]any) map[string]any {
		out := map[string]any{"namespace": "keys", "name": "cosign"}
		maps.Copy(out, more)
		return out
	}
	checkCreate(t, v1alpha1.ClusterProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Empty":          {reason: "The provider's own key signs.", args: fields{attestation: map[string]any{}}},
		"Key":            {reason: "A Secret as cosign writes it is named alone.", args: fields{key: named(nil)}},
		"Keys":           {reason: "Other keys of a Secret may be named.", args: fields{key: named(map[string]any{"key": "tls.key", "passwordKey": "password"})}},
		"Copies":         {reason: "Copies may be attested.", args: fields{attestation: map[string]any{"copies": "Attest", "legacyTags": true}}},
		"OtherCopies":    {reason: "The answer lists what there is.", args: fields{attestation: map[string]any{"copies": "Hide"}}, want: []string{attestation + ".copies", `"Skip", "Attest"`}},
		"NoNamespace":    {reason: "A cluster's config has no namespace of its own.", args: fields{key: map[string]any{"name": "cosign"}}, want: []string{key + ".namespace", "Required value"}},
		"EmptyNamespace": {reason: "No namespace has an empty name.", args: fields{key: named(map[string]any{"namespace": ""})}, want: []string{key, "write both"}},
		"EmptyName":      {reason: "No Secret has an empty name.", args: fields{key: named(map[string]any{"name": ""})}, want: []string{key, "write both"}},
		"Keyless":        {reason: "An identity may sign.", args: fields{keyless: identity(nil)}},
		"KeylessAndKey":  {reason: "One of the two signs.", args: fields{attestation: map[string]any{"keyless": identity(nil), "keySecretRef": named(nil)}}, want: []string{attestation, "write keySecretRef or keyless, not both"}},
		"KeylessLegacy":  {reason: "Legacy tags need a key.", args: fields{attestation: map[string]any{"keyless": identity(nil), "legacyTags": true}}, want: []string{attestation, "legacyTags needs a key"}},
		"KeylessNoTime":  {reason: "Something says when the certificate was used.", args: fields{keyless: identity(map[string]any{"rekorURL": nil})}, want: []string{keyless, "write rekorURL or timestampURL, or both"}},
		"KeylessURL":     {reason: "A service has an address.", args: fields{keyless: identity(map[string]any{"fulcioURL": "fulcio.example.com"})}, want: []string{keyless + ".fulcioURL", "should match"}},
		"KeylessNoTLS":   {reason: "The provider's token is not sent unencrypted.", args: fields{keyless: identity(map[string]any{"fulcioURL": "http://fulcio.example.com"})}, want: []string{keyless, "write https://, or plainHTTP: true"}},
		"KeylessLogTLS":  {reason: "Each service has TLS, also one whose name begins like this machine's.", args: fields{keyless: identity(map[string]any{"rekorURL": "http://localhost.example.com"})}, want: []string{keyless, "write https://, or plainHTTP: true"}},
		"KeylessPlain":   {reason: "An administrator may allow it.", args: fields{keyless: identity(map[string]any{"fulcioURL": "http://fulcio.example.com", "plainHTTP": true})}},
		"KeylessLocal":   {reason: "What stays on the machine needs no TLS.", args: fields{keyless: identity(map[string]any{"fulcioURL": "http://127.0.0.1:5555", "rekorURL": "http://localhost:3000/api", "timestampURL": "http://[::1]"})}},
		"KeylessPattern": {reason: "The identity that signs is one.", args: fields{keyless: identity(map[string]any{"identity": map[string]any{"issuer": "https://issuer.example.com", "subject": "^.*$"}})}, want: []string{keyless, "without a regular expression"}},
	})
	checkCreate(t, v1alpha1.ProviderConfigGroupVersionKind, minimalConfig, map[string]rule{
		"Tenant": {reason: "A tenant signs nothing.", args: fields{key: named(nil)}, want: []string{"unknown field"}},
	})
}

func TestConfigContentPolicy(t *testing.T) {
	const (
		models, licenses = "policy.models", "policy.licenses"
		files, scan      = "policy.files", "policy.hubScan"
		size             = "policy.maxSize"
	)
	allow := func(names ...any) map[string]any { return map[string]any{"allow": names} }
	deny := func(names ...any) map[string]any { return map[string]any{"deny": names} }
	rules := map[string]rule{
		"All": {reason: "All rules should be accepted together.", args: fields{
			models:   map[string]any{"allow": []any{"Qwen/*", "datasets/openai/gsm8k", "registry.example.com:5000/models/*"}, "deny": []any{"*-preview"}},
			licenses: map[string]any{"allow": []any{"Apache-2.0", "llama3.1", "openrail++", "unknown"}, "deny": []any{"CC-BY-NC-*", "gpl"}, "declared": "Allow"},
			files:    allow("safetensors", "gguf"), scan: "Require", size: "100Gi",
		}},
		"DenyPickle":     {reason: "Formats should be denied in one line.", args: fields{files: deny("pickle", "code")}},
		"NoModels":       {reason: "Rules without a pattern should be refused.", args: fields{models: map[string]any{}}, want: []string{models, "write allow: [Qwen/*]"}},
		"Undeclared":     {reason: "What is declared should be allowed or denied.", args: fields{licenses: map[string]any{"allow": []any{"MIT"}, "declared": "Ignore"}}, want: []string{licenses, `"Allow", "Deny"`}},
		"OnlyDeclared":   {reason: "Rules without a name should be refused.", args: fields{licenses: map[string]any{"declared": "Allow"}}, want: []string{licenses, "write allow: [Apache-2.0, MIT]"}},
		"NoLicenses":     {reason: "Rules without a name should be refused.", args: fields{licenses: map[string]any{}}, want: []string{licenses, "write allow: [Apache-2.0, MIT]"}},
		"NoFiles":        {reason: "Rules without a format should be refused.", args: fields{files: map[string]any{}}, want: []string{files, "write allow: [safetensors, gguf]"}},
		"AllowNothing":   {reason: "An empty list, which would allow nothing or everything, should be refused.", args: fields{models: map[string]any{"allow": []any{}}}, want: []string{models + ".allow", "at least 1"}},
		"URL":            {reason: "A pattern should be a name, which has no query.", args: fields{models: allow("https://huggingface.co/Qwen/*?x")}, want: []string{models, "write Qwen/*, datasets/openai/*"}},
		"Expression":     {reason: "A licence should not be an expression.", args: fields{licenses: allow("MIT OR Apache-2.0")}, want: []string{licenses, "write Apache-2.0, llama3.1, gpl, CC-BY-NC-* or unknown"}},
		"Data":           {reason: "Data should not be deniable.", args: fields{files: deny("data")}, want: []string{files, `"safetensors", "gguf"`}},
		"Extension":      {reason: "A format should not be an extension.", args: fields{files: deny(".bin")}, want: []string{files, `"safetensors", "gguf"`}},
		"Twice":          {reason: "A format should be listed once.", args: fields{files: deny("pickle", "pickle")}, want: []string{files, "Duplicate"}},
		"Scan":           {reason: "The message should list what becomes of a scan.", args: fields{scan: "Block"}, want: []string{scan, `"Ignore", "Warn", "Require"`}},
		"Bytes":          {reason: "A size should be a number of bytes, too.", args: fields{size: int64(1000)}},
		"NoSize":         {reason: "A size should be above 0.", args: fields{size: "0"}, want: []string{size, "write 100Gi"}},
		"NegativeSize":   {reason: "A size should be above 0.", args: fields{size: "-1Gi"}, want: []string{size, "write 100Gi"}},
		"ModelLineBreak": {reason: "A pattern should be one line.", args: fields{models: allow("Qwen/*\n")}, want: []string{models, "a pattern must be a name"}},
	}
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) { checkCreate(t, kind.gvk, minimalConfig, rules) })
	}
}

func TestConfigHub(t *testing.T) {
	const endpoint, token = "huggingFace.endpoint", "huggingFace.tokenSecretRef"
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) {
			key := kind.secret("hf")
			key["key"] = "token"
			bad := func(reason, value string) rule {
				return rule{reason: reason, args: fields{endpoint: value}, want: []string{endpoint, "write https://huggingface.co or the address of a mirror"}}
			}
			good := func(reason, value string) rule { return rule{reason: reason, args: fields{endpoint: value}} }
			checkCreate(t, kind.gvk, minimalConfig, map[string]rule{
				"Public":     good("The public Hub has an address.", "https://huggingface.co"),
				"Mirror":     good("A mirror may be on a port and below a path.", "http://hub.example.com:8080/mirror"),
				"NoScheme":   bad("A URL has a scheme.", "huggingface.co"),
				"FTP":        bad("A Hub speaks HTTP.", "ftp://huggingface.co"),
				"User":       bad("Credentials are in a Secret.", "https://user:secret@huggingface.co"),
				"Query":      bad("A path is appended.", "https://huggingface.co?x=y"),
				"Fragment":   bad("A path is appended.", "https://huggingface.co#x"),
				"Space":      bad("No URL has a space.", "https://hugging face.co"),
				"LineBreak":  bad("A URL is one line.", "https://huggingface.co\n"),
				"Empty":      bad("A URL that is written is not empty.", ""),
				"TooLong":    {reason: "A URL has a limit.", args: fields{endpoint: "https://" + longHost()}, want: []string{endpoint, "Too long"}},
				"Token":      {reason: "A token is in a Secret.", args: fields{token: key}},
				"TokenNoKey": {reason: "A token has a key in it.", args: fields{token: kind.secret("hf")}, want: []string{token + ".key", "Required value"}},
				"CA":         {reason: "A mirror may have a CA of its own.", args: fields{"huggingFace.certSecretRef": kind.secret("ca")}},
			})
		})
	}
}

func longHost() string {
	host := make([]byte, 300)
	for i := range host {
		host[i] = 'a'
	}
	return string(host)
}

func TestConfigJob(t *testing.T) {
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) {
			cases := jobRules("job")
			maps.Copy(cases, storageRules("job.storage.size"))
			maps.Copy(cases, map[string]rule{
				"Pipeline":        {reason: "A config may choose the pipeline of its Artifacts.", args: fields{"job.pipeline": "Stream"}},
				"UnknownPipeline": {reason: "The answer should list the pipelines.", args: fields{"job.pipeline": "stream"}, want: []string{"job.pipeline", `"Kit", "Stream"`}},
			})
			maps.Copy(cases, administrationRules("job", kind.gvk.Kind == "ProviderConfig"))
			checkCreate(t, kind.gvk, minimalConfig, cases)
		})
	}
}

func TestConfigChanges(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	for name, kind := range configKinds() {
		t.Run(name, func(t *testing.T) {
			u := object(t, kind.gvk, namespace, minimalConfig, nil)
			if kind.gvk.Kind == "ClusterProviderConfig" {
				u.SetNamespace("")
			}
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			assign(t, u, fields{"registry.host": "other.example.com"})
			if err := c.Update(t.Context(), u); err != nil {
				t.Errorf("A host may change; its Artifacts say so: %v", err)
			}
		})
	}
}

func TestConfigStatusIsKept(t *testing.T) {
	c := apiserver.Client(t)
	u := object(t, v1alpha1.ProviderConfigGroupVersionKind, apiserver.Namespace(t, c), minimalConfig, nil)
	if err := c.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(u.Object, int64(3), "status", "users"); err != nil {
		t.Fatal(err)
	}
	if err := c.Status().Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	pc := &v1alpha1.ProviderConfig{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), pc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(int64(3), pc.GetUsers()); diff != "" {
		t.Errorf("GetUsers(): -want, +got:\n%s", diff)
	}
}
