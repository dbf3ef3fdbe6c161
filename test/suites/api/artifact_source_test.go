package api

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// streamed is the least that the spec of an Artifact from a registry says.
const streamed = `
forProvider:
  source:
    oci:
      reference: registry.example.com/models/qwen3:v1
  target:
    repository: models/copy
  pipeline: Stream
`

// zeros is a digest.
var zeros = "sha256:" + strings.Repeat("0", 64)

func TestArtifactDataset(t *testing.T) {
	const hf, dataset, model = "forProvider.source.huggingFace", "forProvider.source.huggingFace.dataset", "forProvider.source.huggingFace.model"
	const pipeline = "forProvider.pipeline"
	sayStream := []string{"pipeline Kit imports whole models of a Hub, no datasets and no source.files: leave pipeline out, or write pipeline: Stream"}
	of := func(value string) fields { return fields{model: nil, dataset: value, pipeline: "Stream"} }
	bad := func(reason, value string) rule { return rule{reason: reason, args: of(value), want: sayDataset} }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Organisation": {reason: "A dataset of an organisation is the common case.", args: of("openai/gsm8k")},
		"Bare":         {reason: "Old datasets have no organisation.", args: of("squad")},
		"Both":         {reason: "One source is one thing.", args: fields{dataset: "openai/gsm8k", pipeline: "Stream"}, want: sayKind},
		"Neither":      {reason: "A source is something.", args: fields{hf: map[string]any{"revision": "main"}}, want: sayKind},
		"Kit":          {reason: "Kit imports models.", args: fields{model: nil, dataset: "openai/gsm8k", pipeline: "Kit"}, want: sayStream},
		"Default":      {reason: "An Artifact that names no pipeline gets one that reads its source.", args: fields{model: nil, dataset: "openai/gsm8k"}},
		"Follow":       {reason: "A dataset's branch may be followed.", args: fields{model: nil, dataset: "openai/gsm8k", pipeline: "Stream", "forProvider.source.revisionPolicy": "Follow"}},
		"Prefix":       bad("The kind is not part of the name.", "datasets/openai/gsm8k"),
		"PrefixBare":   bad("The kind is not part of the name.", "datasets/squad"),
		"URL":          bad("A link copied from the browser is no name.", "https://huggingface.co/datasets/openai/gsm8k"),
		"WithRevision": bad("A revision has a field of its own.", "openai/gsm8k@main"),
		"Parent":       bad("A URL would climb.", "openai/.."),
		"Variable":     bad("A container's arguments may have variables.", "$(HF_TOKEN)"),
		"LineBreak":    bad("A name is one line.", "openai/gsm8k\n"),
		"Empty":        bad("A dataset that is written is not empty.", ""),
		"TooLong":      {reason: "A name has a limit.", args: of(strings.Repeat("a", 200)), want: []string{dataset, "Too long"}},
	})
}

func TestArtifactFiles(t *testing.T) {
	const files, pipeline = "forProvider.source.files", "forProvider.pipeline"
	sayStream := []string{"pipeline Kit imports whole models of a Hub, no datasets and no source.files: leave pipeline out, or write pipeline: Stream"}
	many := func(n int) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = "*.safetensors"
		}
		return out
	}
	of := func(value map[string]any) fields { return fields{files: value, pipeline: "Stream"} }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Include":  {reason: "Some files may be enough.", args: of(map[string]any{"include": []any{"*.safetensors", "*.json"}})},
		"Exclude":  {reason: "Some files may be too much.", args: of(map[string]any{"exclude": []any{"original/", "*.onnx"}})},
		"Both":     {reason: "Both may be written.", args: of(map[string]any{"include": []any{"*"}, "exclude": []any{"*.bin"}})},
		"Most":     {reason: "The limit is within the API server's budget.", args: of(map[string]any{"include": many(256), "exclude": many(256)})},
		"TooMany":  {reason: "A list has a limit.", args: of(map[string]any{"include": many(257)}), want: []string{files + ".include", "Too many"}},
		"Nothing":  {reason: "A filter of nothing is a mistake.", args: of(map[string]any{}), want: []string{"files needs patterns", `write include: ["*.safetensors", "*.json"]`}},
		"NoneOf":   {reason: "A list that is written is not empty.", args: of(map[string]any{"include": []any{}}), want: []string{files + ".include", "should have at least 1 items"}},
		"Empty":    {reason: "No pattern is empty.", args: of(map[string]any{"exclude": []any{""}}), want: []string{files + ".exclude[0]"}},
		"TooLong":  {reason: "A pattern has a limit.", args: of(map[string]any{"include": []any{strings.Repeat("a", 513)}}), want: []string{files + ".include[0]", "Too long"}},
		"Kit":      {reason: "Kit imports all files.", args: fields{files: map[string]any{"include": []any{"*"}}, pipeline: "Kit"}, want: sayStream},
		"Default":  {reason: "An Artifact that names no pipeline gets one that reads its source.", args: fields{files: map[string]any{"include": []any{"*"}}}},
		"Misspelt": {reason: "A field that is misspelt is not lost.", args: of(map[string]any{"includes": []any{"*"}}), want: []string{"unknown field"}},
	})
}

func TestArtifactOCISource(t *testing.T) {
	const source, oci, reference = "forProvider.source", "forProvider.source.oci", "forProvider.source.oci.reference"
	const pipeline = "forProvider.pipeline"
	sayStream := []string{"pipeline Kit reads only source.huggingFace and source.persistentVolumeClaim: leave pipeline out, or write pipeline: Stream"}
	bad := func(reason, value string) rule {
		return rule{reason: reason, args: fields{reference: value}, want: sayReference}
	}
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{reference: value}} }
	sayRunsTag := []string{reference, "tags that begin with kitops- are reserved for runs", "write the artifact's own tag"}
	secret := map[string]any{"name": "source"}

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, streamed, map[string]rule{
		"Tag":         good("A tag names an artifact.", "registry.example.com/models/qwen3:v1"),
		"Digest":      good("A digest names an artifact for ever.", "registry.example.com/models/qwen3@"+zeros),
		"TagDigest":   good("Of both, the digest holds.", "registry.example.com/models/qwen3:v1@"+zeros),
		"Port":        good("A registry may have a port.", "localhost:5000/qwen3:V1_2.3-rc"),
		"IP":          good("A registry may be an address.", "10.0.0.5:5000/a/b/c:latest"),
		"IPv6":        good("An IPv6 address is in brackets.", "[2001:db8::5]:5000/models/qwen3:v1"),
		"IPv6Plain":   good("The port may be the default.", "[::1]/models/qwen3@"+zeros),
		"IPv6Bare":    bad("A colon would be that of the port.", "::1/models/qwen3:v1"),
		"IPv6Zone":    bad("A zone is of one machine.", "[fe80::1%eth0]:5000/models/qwen3:v1"),
		"IPv6Long":    {reason: "A registry has one name.", args: fields{reference: "[0:0:0:0:0:0:0:1]:5000/models/qwen3:v1"}, want: []string{reference, "IPv6 in its shortest form"}},
		"Parts":       good("All separators of the specification are allowed.", "registry.example.com/a.b/c_d/e__f/g---h:v1"),
		"TagDots":     good("A tag may have dots together.", "registry.example.com/models/qwen3:v1..2"),
		"Longest":     good("The limit is within the API server's budget.", "registry.example.com/"+strings.Repeat("a/", 237)+"a:"+strings.Repeat("b", 128)+"@"+zeros),
		"NoTag":       bad("No tag is guessed.", "registry.example.com/models/qwen3"),
		"PortNoTag":   bad("A port is no tag.", "localhost:5000/models/qwen3"),
		"NoHost":      bad("No registry is guessed.", "models/qwen3:v1"),
		"BareHost":    bad("A word may be a part of a repository.", "localhost/qwen3:v1"),
		"Bare":        bad("No registry is guessed.", "qwen3:v1"),
		"HostOnly":    bad("There is a repository.", "registry.example.com:5000"),
		"HostSlash":   bad("There is a repository.", "registry.example.com/:v1"),
		"Scheme":      bad("A reference is no link.", "https://registry.example.com/models/qwen3:v1"),
		"OCIScheme":   bad("A reference is no link.", "oci://registry.example.com/models/qwen3:v1"),
		"UpperCase":   bad("Registries refuse upper case.", "registry.example.com/models/Qwen3:v1"),
		"ShortDigest": bad("A digest has 64 hex digits.", "registry.example.com/models/qwen3@sha256:00"),
		"UpperDigest": bad("A digest is of lower case.", "registry.example.com/models/qwen3@sha256:"+strings.Repeat("A", 64)),
		"OtherDigest": bad("The digest is one that all know.", "registry.example.com/models/qwen3@md5:"+strings.Repeat("0", 32)),
		"EmptyDigest": bad("A digest is written as a whole.", "registry.example.com/models/qwen3@"),
		"EmptyTag":    bad("A tag is not empty.", "registry.example.com/models/qwen3:"),
		"LongTag":     bad("A tag has at most 128 characters.", "registry.example.com/models/qwen3:"+strings.Repeat("a", 129)),
		"RunsTag":     {reason: "What a run has under way may be incomplete.", args: fields{reference: "registry.example.com/models/qwen3:kitops-staging-0123456789abcdef"}, want: sayRunsTag},
		"RunsDigest":  {reason: "A digest makes a run's tag no better.", args: fields{reference: "registry.example.com/models/qwen3:kitops-x@" + zeros}, want: sayRunsTag},
		"KitopsRepo":  good("A repository may begin like a run's tag.", "registry.example.com/kitops-models/kitops-qwen3:v1-kitops-x"),
		"TwoTags":     bad("There is one tag.", "registry.example.com/models/qwen3:v1:v2"),
		"Parent":      bad("A URL would climb.", "registry.example.com/../qwen3:v1"),
		"HostDots":    bad("No host has two dots together.", "registry..example.com/qwen3:v1"),
		"Credentials": bad("Credentials are in a Secret.", "user:secret@registry.example.com/models/qwen3:v1"),
		"Option":      bad("A command would see an option.", "-registry.example.com/models/qwen3:v1"),
		"Variable":    bad("A container's arguments may have variables.", "registry.example.com/$(HF_TOKEN)/qwen3:v1"),
		"Space":       bad("A reference is one word.", "registry.example.com/models/qwen3:v1 x"),
		"LineBreak":   bad("A reference is one line.", "registry.example.com/models/qwen3:v1\n"),
		"Empty":       bad("There is a reference.", ""),
		"TooLong":     {reason: "A reference has a limit.", args: fields{reference: "registry.example.com/" + strings.Repeat("a", 700) + ":v1"}, want: []string{reference, "Too long"}},
		"Missing":     {reason: "There is a reference.", args: fields{oci: map[string]any{"plainHTTP": true}}, want: []string{reference, "Required value"}},
		"All": {reason: "A source may bring all that it needs.", args: fields{
			oci + ".plainHTTP": true, oci + ".credentialsSecretRef": secret, oci + ".certSecretRef": secret,
		}},
		"Referrers":     {reason: "What refers to an artifact may be copied.", args: fields{oci + ".referrers": "Copy"}},
		"NoReferrers":   {reason: "A policy is one that there is.", args: fields{oci + ".referrers": "Move"}, want: []string{oci + ".referrers", `supported values: "Copy"`}},
		"EmptyName":     {reason: "No Secret has an empty name.", args: fields{oci + ".credentialsSecretRef": map[string]any{"name": ""}}, want: []string{oci + ".credentialsSecretRef", "write name"}},
		"EmptyCertName": {reason: "No Secret has an empty name.", args: fields{oci + ".certSecretRef": map[string]any{"name": ""}}, want: []string{oci + ".certSecretRef", "write name"}},
		"Namespace":     {reason: "Secrets are in the Artifact's namespace.", args: fields{oci + ".credentialsSecretRef": map[string]any{"name": "a", "namespace": "b"}}, want: []string{"unknown field"}},
		"ModelPack":     {reason: "What is copied may be of each format.", args: fields{"forProvider.format": "ModelPack"}},
		"ModelKit":      {reason: "What is copied may be of each format.", args: fields{"forProvider.format": "ModelKit"}},
		"Image":         {reason: "What is copied may be of each format.", args: fields{"forProvider.format": "Image"}},
		"Kit":           {reason: "Kit imports from the Hub.", args: fields{pipeline: "Kit"}, want: sayStream},
		"Default":       {reason: "An Artifact that names no pipeline gets one that reads its source.", args: fields{pipeline: nil}},
		"Both":          {reason: "There is one source.", args: fields{source + ".huggingFace": map[string]any{"model": "Qwen/Qwen3-0.6B"}}, want: saySource},
		"Neither":       {reason: "There is one source.", args: fields{source: map[string]any{}}, want: saySource},
		"Follow":        {reason: "A tag may be followed.", args: fields{source + ".revisionPolicy": "Follow", source + ".followInterval": "1h"}},
		"FollowDigest":  {reason: "A digest never moves.", args: fields{source + ".revisionPolicy": "Follow", reference: "registry.example.com/models/qwen3@" + zeros}, want: []string{source, "write revisionPolicy: Pinned, or leave it out"}},
		"Files":         {reason: "An artifact is read as a whole.", args: fields{source + ".files": map[string]any{"include": []any{"*"}}}, want: []string{source, "remove files beside oci"}},
	})
}

func TestArtifactVerify(t *testing.T) {
	const verify = "forProvider.source.oci.verify"
	const key = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
	sayOne := []string{verify, "verify needs one of key, secretRef, configMapRef and matchOIDCIdentity", "write key with a public key in PEM"}
	sayRoot := []string{verify, "write trustedRootConfigMapRef or trustedRootSecretRef with name beside matchOIDCIdentity"}
	identities := func(n int) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = map[string]any{"issuer": "https://accounts.example.com", "subject": `^.*@example\.com$`}
		}
		return out
	}
	root := map[string]any{"name": "sigstore"}
	sayKey := []string{verify + ".key", "write what cosign.pub contains"}
	sayType := []string{verify + ".predicateType", "predicateType must be a URI"}
	ref := func(key string) map[string]any {
		out := map[string]any{"name": "keys"}
		if key != "" {
			out["key"] = key
		}
		return out
	}
	of := func(value map[string]any) fields { return fields{verify: value} }
	typed := func(value string) fields { return of(map[string]any{"key": key, "predicateType": value}) }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, streamed, map[string]rule{
		"Key":          {reason: "A key may be in the spec.", args: of(map[string]any{"key": key, "provider": "cosign"})},
		"Secret":       {reason: "A key may be in a Secret.", args: of(map[string]any{"secretRef": ref("")})},
		"ConfigMap":    {reason: "A key may be in a ConfigMap.", args: of(map[string]any{"configMapRef": ref("upstream.pub")})},
		"Type":         {reason: "An attestation of a type may be required.", args: typed("https://slsa.dev/provenance/v1")},
		"Identity":     {reason: "Identities may be trusted.", args: of(map[string]any{"matchOIDCIdentity": identities(16), "trustedRootConfigMapRef": root})},
		"RootSecret":   {reason: "A trusted root may be in a Secret.", args: of(map[string]any{"matchOIDCIdentity": identities(1), "trustedRootSecretRef": root})},
		"NoRoot":       {reason: "Identities are verified by a root.", args: of(map[string]any{"matchOIDCIdentity": identities(1)}), want: sayRoot},
		"TwoRoots":     {reason: "There is one root.", args: of(map[string]any{"matchOIDCIdentity": identities(1), "trustedRootSecretRef": root, "trustedRootConfigMapRef": root}), want: sayRoot},
		"KeyRoot":      {reason: "Keys need no root.", args: of(map[string]any{"key": key, "trustedRootConfigMapRef": root}), want: sayRoot},
		"KeyIdentity":  {reason: "Keys or identities are trusted.", args: of(map[string]any{"key": key, "matchOIDCIdentity": identities(1), "trustedRootSecretRef": root}), want: sayOne},
		"NoSubject":    {reason: "An identity has a subject.", args: of(map[string]any{"matchOIDCIdentity": []any{map[string]any{"issuer": "https://a"}}, "trustedRootSecretRef": root}), want: []string{"subject", "Required value"}},
		"TooManyOfIt":  {reason: "Identities have a limit.", args: of(map[string]any{"matchOIDCIdentity": identities(17), "trustedRootSecretRef": root}), want: []string{"matchOIDCIdentity", "Too many"}},
		"RootFile":     {reason: "A trusted root is JSON.", args: of(map[string]any{"matchOIDCIdentity": identities(1), "trustedRootSecretRef": map[string]any{"name": "a", "key": "cosign.key"}}), want: []string{"key must end in .json"}},
		"Nothing":      {reason: "Somebody must be trusted.", args: of(map[string]any{}), want: sayOne},
		"Both":         {reason: "Keys are in one place.", args: of(map[string]any{"key": key, "secretRef": ref("")}), want: sayOne},
		"BothRefs":     {reason: "Keys are in one place.", args: of(map[string]any{"configMapRef": ref(""), "secretRef": ref("")}), want: sayOne},
		"NoPEM":        {reason: "A key is in PEM.", args: of(map[string]any{"key": "MFkw"}), want: sayKey},
		"EmptyKey":     {reason: "A key is not empty.", args: of(map[string]any{"key": ""}), want: sayKey},
		"PrivateKey":   {reason: "A private key is in no spec.", args: of(map[string]any{"key": key + "-----BEGIN PRIVATE KEY-----"}), want: sayKey},
		"PrivateFile":  {reason: "A private key gets into no Pod.", args: of(map[string]any{"secretRef": ref("cosign.key")}), want: []string{verify + ".secretRef.key", "key must end in .pub"}},
		"NoName":       {reason: "A Secret has a name.", args: of(map[string]any{"secretRef": map[string]any{"key": "cosign.pub"}}), want: []string{verify + ".secretRef.name", "Required value"}},
		"Namespace":    {reason: "Keys are in the Artifact's namespace.", args: of(map[string]any{"secretRef": map[string]any{"name": "a", "namespace": "b"}}), want: []string{"unknown field"}},
		"ShortType":    {reason: "cosign's short names are not known.", args: typed("slsaprovenance1"), want: sayType},
		"SpaceInType":  {reason: "A URI is one word.", args: typed("https://slsa.dev/provenance v1"), want: sayType},
		"Provider":     {reason: "There is one provider.", args: of(map[string]any{"key": key, "provider": "notation"}), want: []string{verify + ".provider", `supported values: "cosign"`}},
		"LongestKey":   {reason: "The limit is within the API server's budget.", args: of(map[string]any{"key": key + strings.Repeat("a", 16384-len(key))})},
		"TooLongAKey":  {reason: "A key has a limit.", args: of(map[string]any{"key": key + strings.Repeat("a", 16384)}), want: []string{verify + ".key", "Too long"}},
		"TooLongAType": {reason: "A type has a limit.", args: typed("https://" + strings.Repeat("a", 512)), want: []string{verify + ".predicateType", "Too long"}},
	})
}

// TestArtifactOfTheEarlierVersion has objects that the earlier version's API
// took changed where that does not matter: rules that came since refuse none of
// them.
func TestArtifactOfTheEarlierVersion(t *testing.T) {
	const hf = "forProvider.source.huggingFace"
	cases := map[string]struct {
		reason string
		spec   string
		args   fields
	}{
		"Minimal":   {reason: "The least that there was.", spec: minimal},
		"Kit":       {reason: "Kit made both formats.", spec: minimal, args: fields{"forProvider.format": "ModelKit", "forProvider.pipeline": "Kit"}},
		"Stream":    {reason: "Stream made a ModelPack.", spec: minimal, args: fields{"forProvider.format": "ModelPack", "forProvider.pipeline": "Stream"}},
		"Follow":    {reason: "A revision could be followed.", spec: minimal, args: fields{"forProvider.source.revisionPolicy": "Follow", "forProvider.source.followInterval": "1m", hf + ".revision": "refs/pr/1"}},
		"Observed":  {reason: "An artifact could be looked at.", spec: observed},
		"Longest":   {reason: "A model's name could be this long.", spec: minimal, args: fields{hf + ".model": strings.Repeat("o", 96) + "/" + strings.Repeat("n", 96)}},
		"WithToken": {reason: "A token could be named.", spec: minimal, args: fields{hf + ".tokenSecretRef": map[string]any{"name": "hf"}}},
	}
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := artifact(t, namespace, tc.spec, tc.args)
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatalf("\n%s\nCreate(...): %v", tc.reason, err)
			}
			u.SetAnnotations(map[string]string{"changed": metav1.Now().String()})
			if err := c.Update(t.Context(), u); err != nil {
				t.Errorf("\n%s\nUpdate(...): %v", tc.reason, err)
			}
		})
	}
}
