package plugin

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/spf13/cobra"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

// envToken and envEndpoint are variables that the Hub's own tools read
// (https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables).
const (
	envToken    = "HF_TOKEN"
	envEndpoint = "HF_ENDPOINT"
)

// clusterPatience bounds how long configs are read: without a cluster, an import is still
// written.
const clusterPatience = 10 * time.Second

// importOptions are the flags of kubectl kitops import.
type importOptions struct {
	to, name, config   string
	format, pipeline   string
	include, exclude   []string
	pin, follow, apply bool
	dryRun             string
	endpoint, caFile   string
}

// importCommand returns kubectl kitops import.
func (c *command) importCommand() *cobra.Command {
	o := importOptions{}
	cmd := &cobra.Command{
		Use:   "import MODEL --to REPOSITORY[:TAG]",
		Short: "Write the Artifact of a model, after a look at the Hub and at policies",
		Long: `Ask the Hub about a model or a dataset, show its size, files and licence and what the
policies of the config say of them, and write an Artifact for it to the standard output, or
create it with --apply. Nothing is written if a policy refuses the model.

MODEL is organisation/name, or datasets/organisation/name, and may have @revision.

For private and gated models the Hub is asked with the token in ` + envToken + `. That goes to
huggingface.co, or to the Hub that --hub or ` + envEndpoint + ` names, and to no Hub that only a
config of the cluster names. Runs use the token of the config.`,
		Example: c.example("$ import Qwen/Qwen3-0.6B --to models/qwen3:v1 > qwen3.yaml",
			"$ import Qwen/Qwen3-0.6B@main --to models/qwen3:v1 --format Image -n models --apply"),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.importModel(cmd.Context(), args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.to, "to", "", "Repository, and the tag after a colon; with a registry before it for another one than the config's")
	flags.StringVar(&o.name, "name", "", "Name of the Artifact; by default the model's")
	flags.StringVar(&o.config, "config", "default", "Config of the Artifact: NAME of a ClusterProviderConfig, or ProviderConfig/NAME")
	flags.StringVar(&o.format, "format", "", "ModelPack, ModelKit or Image")
	flags.StringVar(&o.pipeline, "pipeline", "", "Kit or Stream")
	flags.StringSliceVar(&o.include, "include", nil, "Pattern of files to package; may be repeated")
	flags.StringSliceVar(&o.exclude, "exclude", nil, "Pattern of files to leave out; may be repeated")
	flags.BoolVar(&o.pin, "pin", false, "Write the commit that the revision is now")
	flags.BoolVar(&o.follow, "follow", false, "Package the model again when the revision moves")
	flags.BoolVar(&o.apply, "apply", false, "Create the Artifact in the cluster")
	flags.StringVar(&o.endpoint, "hub", os.Getenv(envEndpoint), "Hub to ask; by default the config's")
	flags.StringVar(&o.caFile, "hub-ca-file", "", "File of certificate authorities to trust for the Hub, in addition to the system's")
	dryRunFlag(cmd, &o.dryRun)
	_ = cmd.MarkFlagRequired("to")
	cmd.MarkFlagsMutuallyExclusive("pin", "follow")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]cobra.Completion{string(modelv1alpha1.PackFormatModelPack), string(modelv1alpha1.PackFormatModelKit), string(modelv1alpha1.PackFormatImage)}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("pipeline", cobra.FixedCompletions([]cobra.Completion{string(modelv1alpha1.PipelineKit), string(modelv1alpha1.PipelineStream)}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("config", c.completeConfigs)
	return cmd
}

// importModel shows what is known of a model, and writes or creates its Artifact.
func (c *command) importModel(ctx context.Context, name string, o importOptions) error {
	m, err := parseModel(name)
	if err != nil {
		return err
	}
	t, err := parseTarget(o.to)
	if err != nil {
		return err
	}
	config, err := parseConfig(o.config)
	if err != nil {
		return err
	}
	if err := checkDryRun(o.dryRun); err != nil {
		return err
	}
	k, r, err := c.rules(ctx, config, t, o.apply)
	if err != nil {
		return err
	}
	a, err := ask(ctx, o.hub(r), m, file.Filter{Include: o.include, Exclude: o.exclude}, r.policies)
	if err != nil {
		return errors.Wrapf(err, "cannot ask the Hub about %s", m)
	}
	c.report(a)
	if refused := slices.Concat(r.refused, a.violations(r.policies)); len(refused) > 0 {
		c.verdict(refused, r.unknown)
		return errors.Errorf("%s is refused, and no Artifact was written", m)
	}
	c.verdict(nil, r.unknown)
	if a.hidden != nil && !r.hasToken {
		c.fact("Note", "the Artifact needs a token with access: add tokenSecretRef to source.huggingFace")
	}
	u, err := artifactFor(a, t, config, k, r, o)
	if err != nil {
		return err
	}
	if o.apply {
		return c.create(ctx, k, u, o.dryRun)
	}
	return c.write(u, a)
}

// rules returns the cluster, and what its configs say of an import. Without a cluster,
// which only --apply needs, they are unknown.
func (c *command) rules(ctx context.Context, config configName, t target, needed bool) (*cluster, *rules, error) {
	k, err := c.cluster()
	if err != nil && needed {
		return nil, nil, err
	}
	if err != nil {
		return nil, &rules{unknown: []string{err.Error()}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	return k, k.rulesFor(ctx, config, t), nil
}

// hub returns which Hub is asked, and how. The user's token goes to no Hub that only a
// config names: who writes configs shall not collect tokens.
func (o importOptions) hub(r *rules) hub.Options {
	out := hub.Options{Endpoint: cmp.Or(o.endpoint, r.endpoint), CAFile: o.caFile}
	if o.endpoint != "" || r.endpoint == "" || hub.Origin(r.endpoint) == hub.DefaultEndpoint {
		out.Token = os.Getenv(envToken)
	}
	return out
}

// verdict shows what configs say of a model.
func (c *command) verdict(refused, unknown []string) {
	name := "Policy"
	for _, one := range refused {
		c.fact(name, "refused: "+one)
		name = ""
	}
	for _, one := range unknown {
		c.fact(name, "not known, the provider decides: "+one)
		name = ""
	}
	if len(refused)+len(unknown) == 0 {
		c.fact(name, "allowed; the first bytes of the files are checked by the run")
	}
}

// artifactFor returns the Artifact of a model, with nothing in it that is a default.
func artifactFor(a *answer, t target, config configName, k *cluster, r *rules, o importOptions) (*unstructured.Unstructured, error) {
	hf := &modelv1alpha1.HuggingFaceSource{Model: a.model.name, Revision: a.model.revision}
	if a.model.kind == hub.Dataset {
		hf.Model, hf.Dataset = "", a.model.name
	}
	if o.pin {
		hf.Revision = a.revision.Commit
	}
	out := &modelv1alpha1.Artifact{}
	out.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	out.SetName(cmp.Or(o.name, objectName(a.model)))
	if k != nil {
		out.SetNamespace(k.namespace)
	}
	out.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: config.kind, Name: config.name}
	p := &out.Spec.ForProvider
	p.Source = &modelv1alpha1.Source{HuggingFace: hf}
	if len(o.include)+len(o.exclude) > 0 {
		p.Source.Files = &modelv1alpha1.FileFilter{Include: o.include, Exclude: o.exclude}
	}
	if o.follow {
		p.Source.RevisionPolicy = modelv1alpha1.RevisionFollow
	}
	p.Target = &modelv1alpha1.Target{Repository: t.repository, Tag: t.tag}
	if t.registry != r.host {
		p.Target.Registry = v1alpha1.RegistryHost(t.registry)
	}
	p.Format, p.Pipeline = modelv1alpha1.PackFormat(o.format), modelv1alpha1.PipelineType(o.pipeline)

	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(out)
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode the Artifact")
	}
	delete(object, "status")
	unstructured.RemoveNestedField(object, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: object}, nil
}

// write writes an Artifact as YAML.
func (c *command) write(u *unstructured.Unstructured, a *answer) error {
	b, err := yaml.Marshal(u.Object)
	if err != nil {
		return errors.Wrap(err, "cannot encode the Artifact")
	}
	c.notef("\n")
	c.printf("# %s at commit %s, licence %s.\n%s", a.model, a.revision.Commit, terminal.Line(cmp.Or(a.revision.License, "not named")), b)
	return nil
}

// create creates an Artifact. One that exists is not changed.
func (c *command) create(ctx context.Context, k *cluster, u *unstructured.Unstructured, dryRun string) error {
	o := metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict}
	name := u.GetNamespace() + "/" + u.GetName()
	switch dryRun {
	case dryRunServer:
		o.DryRun = []string{metav1.DryRunAll}
	case dryRunClient:
		c.printf("%s: created%s\n", name, dryRunSuffix(dryRun))
		return nil
	}
	_, err := k.artifacts(u.GetNamespace()).Create(ctx, u, o)
	if kerrors.IsAlreadyExists(err) {
		return errors.Errorf("Artifact %s exists, and is not changed: write another name in --name, or change it by its manifest", name)
	}
	if err != nil {
		return describe(err, "cannot create Artifact %s", name)
	}
	c.printf("%s: created%s\n", name, dryRunSuffix(dryRun))
	c.notef("See how far it is: %s\n", strings.TrimSpace(fmt.Sprintf("%s status -w -n %s %s", c.name, u.GetNamespace(), u.GetName())))
	return nil
}
