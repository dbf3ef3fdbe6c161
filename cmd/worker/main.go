// Command worker is what a run's Pod executes: it moves a model from its source to a
// registry and writes the result to its container's termination message. It can also
// pull an artifact into a folder, as an init container does.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	// The image holds no certificate authorities of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline/kit"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline/stream"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/pull"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

func main() {
	app := kingpin.New(filepath.Base(os.Args[0]), "Runs inside the Pod of an Artifact's run.")
	app.Version(version.Version)

	install := app.Command("install", "Copy this program to a path, for a container of another image.")
	path := install.Arg("path", "Where to.").Required().String()

	run := app.Command("run", "Move a model from its source to a registry.")
	r := pipeline.Run{Log: os.Stderr, Annotations: map[string]string{}}
	kind := run.Flag("pipeline", "Kit or Stream.").Required().Enum("Kit", "Stream")
	run.Flag("format", "ModelPack, ModelKit or Image.").Required().EnumVar(&r.Format, pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage)
	run.Flag("annotation", "Annotation of the artifact's manifest: name=value. May be repeated.").StringMapVar(&r.Annotations)
	source := sourceFlagsOf(run)
	run.Flag("registry", "Host of the registry.").Required().StringVar(&r.Target.Registry)
	run.Flag("repository", "Repository in the registry.").Required().StringVar(&r.Target.Repository)
	run.Flag(contractFlag, "Version of what the provider and the worker agree on.").Required().Int()
	run.Flag("staging-tag", "Tag under which the manifest is staged.").Required().StringVar(&r.Target.StagingTag)
	run.Flag("checkpoint-tag", "Tag of the checkpoint; none without it.").StringVar(&r.Target.CheckpointTag)
	run.Flag("plain-http", "Use no TLS for the registry.").BoolVar(&r.Target.PlainHTTP)
	run.Flag("docker-config", "Folder with a config.json that holds the registry's credentials.").StringVar(&r.Target.DockerConfig)
	cloud := run.Flag("registry-identity", "Cloud whose identity of this Pod's service account is used for the registry: aws, google or azure.").Enum(identity.AWS, identity.Google, identity.Azure)
	run.Flag("registry-ca-file", "Certificate authorities to trust for the registry, in addition to the public ones.").StringVar(&r.Target.CAFile)
	run.Flag("registry-cert-file", "Client certificate for the registry.").StringVar(&r.Target.CertificateFile)
	run.Flag("registry-key-file", "Private key of the client certificate.").StringVar(&r.Target.KeyFile)
	run.Flag("mount-from", "Artifact in another repository of the registry that may have the same blobs: repository@digest. May be repeated; in the variable, one in a line.").
		Envar(outcome.EnvMountFrom).StringsVar(&r.MountFrom)
	run.Flag("verified-files", "Digest of the list of files that an earlier run of the Artifact has pushed, and reported: what the registry has of them is not read back.").StringVar(&r.VerifiedFiles)
	policies := run.Flag("policy", "What may be packaged, as the provider passes it.").String()
	run.Flag("parallel-layers", "How many layers Stream transfers side by side at most, 1 to 64; 0 chooses during the run.").Default("0").IntVar(&r.Parallel.Layers)
	run.Flag("buffer-size", "Bytes that buffers of Stream may take at most; 0 is the default. The container's memory limit bounds it.").Default("0").Int64Var(&r.Parallel.Buffer)
	shares := shareFlagsOf(run)
	run.Flag("workspace", "Folder that the Kit pipeline works in.").StringVar(&r.Workspace)
	result := run.Flag(resultFileFlag, "File that the result is written to.").Default(defaultResultFile).String()

	pulling := app.Command("pull", "Pull an artifact from a registry into a folder, verified; an interrupted pull is resumed.")
	p := pull.Options{Log: os.Stderr, UserAgent: version.UserAgent()}
	pulling.Arg("reference", "The artifact: registry/repository@digest, or :tag.").Required().StringVar(&p.Reference)
	pulling.Arg("dir", "Folder that gets the files. Nothing else in it is touched.").Required().StringVar(&p.Dir)
	pulling.Flag("parallel", "How many layers, and ranges of large ones, are fetched in parallel, 1 to 64; 0 follows what is measured during the pull.").Default("0").IntVar(&p.Parallel)
	pulling.Flag("reuse", "Older folder of a pull: what is unchanged is copied from it, verified, instead of being fetched. It is only read.").StringVar(&p.Reuse)
	pulling.Flag("hard-links", "Link the files of --reuse instead of copying them: writing to one of them changes both folders.").BoolVar(&p.HardLinks)
	pulling.Flag("plain-http", "Use no TLS for the registry.").BoolVar(&p.PlainHTTP)
	pulling.Flag("docker-config", "Folder with a config.json or .dockerconfigjson that holds the registry's credentials.").
		Envar("DOCKER_CONFIG").Default(dockerFolder()).StringVar(&p.DockerConfig)
	pulling.Flag("ca-file", "Certificate authorities to trust for the registry, in addition to the public ones.").StringVar(&p.CAFile)
	pulling.Flag("with-signature", "Leave the signature of the model's files beside them, as model.sig, for model_signing to verify.").BoolVar(&p.WithSignature)
	pulledVerify := pullVerifyFlagsOf(pulling)

	args := os.Args[1:]
	if len(args) > 0 && args[0] == run.FullCommand() && !slices.Contains(args, "--help") {
		if err := checkContract(args); err != nil {
			os.Exit(report(outcome.Result{}, err, flagValue(args, resultFileFlag, defaultResultFile), os.Stderr))
		}
	}
	switch kingpin.MustParse(app.Parse(args)) {
	case install.FullCommand():
		app.FatalIfError(installTo(*path), "Cannot install the worker")
	case run.FullCommand():
		memory.Limit()
		err := complete(&r, source, *cloud, *policies)
		if err == nil {
			r.Share, err = shares.value(*kind, os.Getenv(outcome.EnvCompletionIndex))
		}
		if err != nil {
			os.Exit(report(outcome.Result{}, err, *result, os.Stderr))
		}
		os.Exit(runAndReport(pipeline.Masked(pipeline.Metered(pipelineFor(*kind))), r, *result))
	case pulling.FullCommand():
		memory.Limit()
		p.Verify = pulledVerify.value()
		os.Exit(pullAndReport(p))
	}
}

// complete adds to a run what its flags have in another form. It returns an error if they
// are invalid.
func complete(r *pipeline.Run, source *sourceFlags, cloud, policies string) (err error) {
	r.Source = source.value()
	if err := r.Parallel.Check(); err != nil {
		return err
	}
	if err := source.addIdentities(r, cloud); err != nil {
		return err
	}
	r.Policies, err = policy.Decode(policies)
	return err
}

// dockerFolder returns the folder of docker's configuration.
func dockerFolder() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker")
}

// pipelineFor returns the pipeline of this name.
func pipelineFor(kind string) pipeline.Pipeline {
	if kind == "Stream" {
		return stream.New()
	}
	return kit.New()
}

// runAndReport runs the pipeline until it ends or the Pod is told to, reports the
// result and returns the exit code.
func runAndReport(p pipeline.Pipeline, r pipeline.Run, path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	r.Meter = &pipeline.Meter{}
	stopServing := serveProgress(os.Getenv(outcome.EnvProgressAddress), r.Meter, r.Log)
	defer stopServing()

	tail := &outcome.Tail{}
	shown := r.Log
	// The pipeline masks what it logs.
	r.Log = io.MultiWriter(shown, tail)
	result, err := p.Run(ctx, r)
	if err != nil && ctx.Err() != nil {
		err = outcome.Errorf(outcome.Evicted, "The run was stopped before its end: its Pod was deleted or evicted").Because(err)
	}
	return report(result, err, path, shown, tail.Lines()...)
}

// report writes how a run ended to its log and to the file at path, with the last lines
// of the log if it failed, and returns the exit code.
func report(result outcome.Result, err error, path string, log io.Writer, tail ...string) int {
	if err != nil {
		result = outcome.Failed(err)
		result.Failure.LogTail = tail
		_, _ = fmt.Fprintf(log, "failed: %s: %s\n", result.Failure.Reason, result.Failure.Message)
	}
	if err := result.Write(path); err != nil {
		_, _ = fmt.Fprintln(log, err)
		return 1
	}
	if result.Failure != nil {
		return 1
	}
	return 0
}

// installTo copies this program to path.
func installTo(path string) error {
	self, err := os.Executable()
	if err != nil {
		return errors.Wrap(err, "cannot find this program")
	}
	from, err := os.Open(self)
	if err != nil {
		return errors.Wrap(err, "cannot read this program")
	}
	defer func() { _ = from.Close() }()

	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return errors.Wrap(err, "cannot write the program")
	}
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		return errors.Wrap(err, "cannot copy the program")
	}
	return errors.Wrap(to.Close(), "cannot finish the program")
}
