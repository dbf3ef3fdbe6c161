package api

import (
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

func TestArtifactFormatAndPipeline(t *testing.T) {
	const format, pipeline = "forProvider.format", "forProvider.pipeline"
	sayStream := []string{"pipeline Kit cannot make format Image: leave pipeline out, or write pipeline: Stream"}

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"KitModelPack":     {reason: "Kit makes a ModelPack.", args: fields{format: "ModelPack", pipeline: "Kit"}},
		"KitModelKit":      {reason: "Kit makes a ModelKit.", args: fields{format: "ModelKit", pipeline: "Kit"}},
		"KitImage":         {reason: "Kit makes no image.", args: fields{format: "Image", pipeline: "Kit"}, want: sayStream},
		"StreamModelPack":  {reason: "Stream makes a ModelPack.", args: fields{format: "ModelPack", pipeline: "Stream"}},
		"StreamModelKit":   {reason: "Stream makes a ModelKit.", args: fields{format: "ModelKit", pipeline: "Stream"}},
		"StreamImage":      {reason: "Stream makes an image.", args: fields{format: "Image", pipeline: "Stream"}},
		"StreamDefault":    {reason: "The default format is one that Stream makes.", args: fields{pipeline: "Stream"}},
		"ModelKitDefault":  {reason: "The default pipeline makes a ModelKit.", args: fields{format: "ModelKit"}},
		"ImageDefault":     {reason: "An Artifact that names no pipeline gets one that makes its format.", args: fields{format: "Image"}},
		"UnknownFormat":    {reason: "The answer lists the formats.", args: fields{format: "modelpack"}, want: []string{format, `"ModelPack", "ModelKit", "Image"`}},
		"UnknownPipeline":  {reason: "The answer lists the pipelines.", args: fields{pipeline: "stream"}, want: []string{pipeline, `"Kit", "Stream"`}},
		"UnknownField":     {reason: "A field that is misspelt is not lost.", args: fields{"forProvider.formt": "ModelKit"}, want: []string{"unknown field", "forProvider.formt"}},
		"EffectiveIsNoAPI": {reason: "What the provider lays over is never set by a user.", args: fields{"effective": map[string]any{}}, want: []string{"unknown field"}},
	})
}

func TestArtifactSourceAndTarget(t *testing.T) {
	const source, target, policies = "forProvider.source", "forProvider.target", "managementPolicies"
	list := func(p ...any) []any { return append([]any{}, p...) }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Both":           {reason: "This is the least."},
		"NoKindOfSource": {reason: "A source names one kind of source.", args: fields{source: map[string]any{}}, want: saySource},
		"NoSource":       {reason: "Nothing can be made from nothing.", args: fields{source: nil}, want: sayNeeded},
		"NoTarget":       {reason: "Nothing can be made to nowhere.", args: fields{target: nil}, want: sayNeeded},
		"Neither":        {reason: "An empty Artifact says nothing.", args: fields{"forProvider": nil}, want: sayNeeded},
		"Observe":        {reason: "Who only looks needs neither.", args: fields{"forProvider": nil, policies: list("Observe")}},
		"ObserveWithBad": {reason: "What is written is checked all the same.", args: fields{source: map[string]any{}, policies: list("Observe")}, want: saySource},
		"ObserveDelete":  {reason: "Who looks and deletes makes nothing.", args: fields{"forProvider": nil, policies: list("Observe", "Delete")}},
		"Paused":         {reason: "Without policies nothing is done.", args: fields{"forProvider": nil, policies: list()}},
		"Create":         {reason: "Creating needs both.", args: fields{source: nil, policies: list("Observe", "Create")}, want: sayNeeded},
		"Update":         {reason: "Updating needs both.", args: fields{target: nil, policies: list("Observe", "Update")}, want: sayNeeded},
		"All":            {reason: "All policies create.", args: fields{target: nil, policies: list("*")}, want: sayNeeded},
		"Unknown":        {reason: "The answer lists the policies.", args: fields{policies: list("Make")}, want: []string{policies, `"Observe"`}},
	})
}

func TestArtifactSecrets(t *testing.T) {
	const token, credentials = "forProvider.source.huggingFace.tokenSecretRef", "forProvider.target.credentialsSecretRef"

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Both":             {reason: "An Artifact may bring its own.", args: fields{token: map[string]any{"name": "hf", "key": "t"}, credentials: map[string]any{"name": "registry"}}},
		"TokenDefaultKey":  {reason: "The key has a default.", args: fields{token: map[string]any{"name": "hf"}}},
		"TokenNoName":      {reason: "A Secret has a name.", args: fields{token: map[string]any{"key": "t"}}, want: []string{token + ".name", "Required value"}},
		"TokenEmptyName":   {reason: "No Secret has an empty name.", args: fields{token: map[string]any{"name": ""}}, want: []string{token + ".name"}},
		"TokenEmptyKey":    {reason: "No key is empty.", args: fields{token: map[string]any{"name": "hf", "key": ""}}, want: []string{token + ".key"}},
		"TokenNamespace":   {reason: "Secrets are in the Artifact's namespace.", args: fields{token: map[string]any{"name": "hf", "namespace": "other"}}, want: []string{"unknown field"}},
		"NoName":           {reason: "A Secret has a name.", args: fields{credentials: map[string]any{}}, want: []string{credentials + ".name", "Required value"}},
		"EmptyName":        {reason: "No Secret has an empty name.", args: fields{credentials: map[string]any{"name": ""}}, want: []string{credentials}},
		"ForeignNamespace": {reason: "Secrets are in the Artifact's namespace.", args: fields{credentials: map[string]any{"name": "r", "namespace": "other"}}, want: []string{"unknown field"}},
	})
}

func TestArtifactStorage(t *testing.T) {
	const size = "forProvider.storage.size"

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, storageRules(size))
}

// storageRules are the cases of a field that holds a workspace's size.
func storageRules(size string) map[string]rule {
	return map[string]rule{
		"Binary":   {reason: "A quantity with a unit is a size.", args: fields{size: "20Gi"}},
		"Number":   {reason: "A number is a size in bytes.", args: fields{size: int64(21474836480)}},
		"Zero":     {reason: "A volume of nothing holds nothing.", args: fields{size: "0"}, want: saySize},
		"Negative": {reason: "A volume has no negative size.", args: fields{size: "-1Gi"}, want: saySize},
		"NoNumber": {reason: "A size is a quantity.", args: fields{size: "big"}, want: []string{size}},
	}
}

func TestArtifactJob(t *testing.T) {
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, jobRules("forProvider.job"))
}

// jobRules are the cases of the job settings that all may choose.
func jobRules(job string) map[string]rule {
	return map[string]rule{
		"All": {
			reason: "An Artifact chooses where its Pod runs and what it may use.",
			args: fields{job: map[string]any{
				"resources":             map[string]any{"requests": map[string]any{"memory": "1Gi"}},
				"nodeSelector":          map[string]any{"kubernetes.io/arch": "amd64"},
				"tolerations":           []any{map[string]any{"key": "gpu", "operator": "Exists"}},
				"affinity":              map[string]any{"nodeAffinity": map[string]any{}},
				"priorityClassName":     "low",
				"labels":                map[string]any{"team": "research"},
				"annotations":           map[string]any{"sidecar.istio.io/inject": "false"},
				"activeDeadlineSeconds": int64(7200),
			}},
		},
		"NoTime":  {reason: "A run takes time.", args: fields{job + ".activeDeadlineSeconds": int64(0)}, want: []string{"activeDeadlineSeconds", "greater than or equal to 1"}},
		"OneTick": {reason: "The least is a second.", args: fields{job + ".activeDeadlineSeconds": int64(1)}},

		"Pods":    {reason: "Several Pods may transfer one model.", args: fields{job + ".parallelism": int64(8)}},
		"OnePod":  {reason: "One Pod may be asked for.", args: fields{job + ".parallelism": int64(1)}},
		"NoPods":  {reason: "A run has a Pod.", args: fields{job + ".parallelism": int64(-1)}, want: []string{"parallelism", "greater than or equal to 1"}},
		"TooMany": {reason: "A run has so many shares and no more.", args: fields{job + ".parallelism": int64(65)}, want: []string{"parallelism", "less than or equal to 64"}},

		"SideBySide":   {reason: "Layers may be transferred side by side.", args: fields{job + ".parallelLayers": int64(64), job + ".bufferSize": "1Gi"}},
		"OneLayer":     {reason: "Layers may be transferred one after the other.", args: fields{job + ".parallelLayers": int64(1)}},
		"NoLayers":     {reason: "A run transfers layers.", args: fields{job + ".parallelLayers": int64(0)}, want: []string{"parallelLayers", "greater than or equal to 1"}},
		"ManyLayers":   {reason: "A registry accepts so many uploads and no more.", args: fields{job + ".parallelLayers": int64(65)}, want: []string{"parallelLayers", "less than or equal to 64"}},
		"LeastBuffers": {reason: "A run may be small.", args: fields{job + ".bufferSize": "16Mi"}},
		"FewBuffers":   {reason: "A run needs buffers.", args: fields{job + ".bufferSize": "15Mi"}, want: []string{"bufferSize", "write a quantity such as 512Mi"}},
		"NoUnit":       {reason: "Megabytes without a unit are bytes.", args: fields{job + ".bufferSize": int64(256)}, want: []string{"bufferSize", "write a quantity such as 512Mi"}},
	}
}

func TestArtifactJobDecidesNoCode(t *testing.T) {
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, administrationRules("forProvider.job", true))
}

// administrationRules are the cases of the job settings that decide which code
// runs as whom.
func administrationRules(job string, refused bool) map[string]rule {
	cases := map[string]rule{}
	for name, value := range map[string]any{
		"kitImage":           "example.com/kit",
		"workerImage":        "example.com/worker",
		"serviceAccountName": "admin",
		"imagePullSecrets":   []any{map[string]any{"name": "pull"}},
		"env":                []any{map[string]any{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}},
		"hostAliases":        []any{map[string]any{"ip": "10.0.0.1", "hostnames": []any{"huggingface.co"}}},
		"runtimeClassName":   "gvisor",
		"schedulerName":      "volcano",
		"topologySpreadConstraints": []any{map[string]any{
			"maxSkew": int64(1), "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
		}},
		"ttlSecondsAfterFinished": int64(86400),
		"podSecurityContext":      map[string]any{},
	} {
		r := rule{reason: "Only a cluster's administrator chooses which code runs as whom, and how.", args: fields{job + "." + name: value}}
		if refused {
			r.want = []string{"unknown field", name}
		}
		cases[name] = r
	}
	return cases
}

func TestArtifactRetry(t *testing.T) {
	const (
		limit    = "forProvider.retry.limit"
		interval = "forProvider.retry.interval"
	)
	sayInterval := []string{interval, "write 30s or 2m"}

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Never":        {reason: "A run may be tried once only.", args: fields{limit: int64(0)}},
		"Often":        {reason: "There may be many tries.", args: fields{limit: int64(100)}},
		"Minutes":      {reason: "A wait may be long.", args: fields{interval: "2m"}},
		"Negative":     {reason: "There is no negative number of tries.", args: fields{limit: int64(-1)}, want: []string{limit, "greater than or equal to 0"}},
		"TooOften":     {reason: "Every retry has a limit.", args: fields{limit: int64(101)}, want: []string{limit, "less than or equal to 100"}},
		"TooSoon":      {reason: "A wait of nothing is a hot loop.", args: fields{interval: "0s"}, want: sayInterval},
		"TooLate":      {reason: "A wait of days is a mistake.", args: fields{interval: "48h"}, want: sayInterval},
		"NoDuration":   {reason: "A wait has a unit.", args: fields{interval: "soon"}, want: []string{interval}},
		"NegativeWait": {reason: "Nobody waits backwards.", args: fields{interval: "-1m"}, want: sayInterval},
	})
}

func TestArtifactFollow(t *testing.T) {
	const (
		policy   = "forProvider.source.revisionPolicy"
		interval = "forProvider.source.followInterval"
		conflict = "forProvider.target.conflictPolicy"
	)
	sayInterval := []string{interval, "write 15m or 24h"}

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Follow":    {reason: "A branch may be followed.", args: fields{policy: "Follow", interval: "15m"}},
		"Monthly":   {reason: "Some branches move rarely.", args: fields{policy: "Follow", interval: "720h"}},
		"Pinned":    {reason: "The default may be spelled out.", args: fields{policy: "Pinned"}},
		"Other":     {reason: "There are two policies.", args: fields{policy: "Latest"}, want: []string{policy, `"Pinned", "Follow"`}},
		"TooOften":  {reason: "A Hub limits the rate of requests.", args: fields{policy: "Follow", interval: "30s"}, want: sayInterval},
		"TooRarely": {reason: "A wait of a year is a mistake.", args: fields{policy: "Follow", interval: "8760h"}, want: sayInterval},
		"Interval":  {reason: "What is not followed is not checked.", args: fields{interval: "1h"}, want: []string{"write revisionPolicy: Follow, or remove followInterval"}},
		"Overwrite": {reason: "An Artifact may ask for a tag that is another's.", args: fields{conflict: "Overwrite"}},
		"Fail":      {reason: "The default may be written.", args: fields{conflict: "Fail"}},
		"Conflict":  {reason: "The answer should list the policies.", args: fields{conflict: "Replace"}, want: []string{conflict, `"Fail", "Overwrite"`}},
	})
}
