// Command localcluster brings up a real Kubernetes cluster of one node on this
// machine, with a registry and a Hugging Face Hub, and takes it down again
// without a trace. See package node.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/debian"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/node"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	app := kingpin.New("localcluster", "A Kubernetes cluster of one node on this machine, with a registry and a Hugging Face Hub.")
	dir := app.Flag("dir", "State directory of the cluster; by default one below the user's cache directory.").String()
	commands := map[string]func() error{}
	add := func(name, help string, run func() error) *kingpin.CmdClause {
		commands[name] = run
		return app.Command(name, help)
	}
	var what string
	add("build", "Build the cluster's programs into the user's cache directory, and install the Debian packages that it needs.", func() error { return build(ctx, what) }).
		Arg("programs", "all: those of the cluster, Crossplane, cosign, versitygw, fake-gcs-server and Prometheus; cluster: those that a cluster needs; control-plane: etcd and kube-apiserver, which need no root and no Linux; kueue: Kueue, which takes a quarter of an hour.").
		Default("all").EnumVar(&what, "all", "cluster", "control-plane", "kueue")
	add("clean", "Remove the programs that were built.", programs.Clean)
	o := node.Options{Log: os.Stderr}
	crossplane := node.Crossplane{}
	with := false
	upCommand := add("up", "Bring the cluster up, unless it is up, and leave it running.", func() error {
		o.Dir = *dir
		if with {
			o.Crossplane = &crossplane
		}
		return up(ctx, o)
	})
	upCommand.Flag("attached", "Print the state directory when the cluster is up, and take it down at the end of standard input.").BoolVar(&o.Attached)
	upCommand.Flag("crossplane", "Run Crossplane on it.").BoolVar(&with)
	upCommand.Flag("activation", "Managed resources that Crossplane is to activate: names, or * before a suffix. Can be repeated; none by default.").StringsVar(&crossplane.Activations)
	add("down", "Take the cluster down, and remove what a crashed one left.", func() error { return node.Down(ctx, *dir) })
	add("status", "Say where things are. It fails if no cluster is up.", func() error { return status(*dir) })
	var args []string
	add("kubectl", "Run the cluster's kubectl.", func() error { return run(*dir, func(c *cluster.Cluster) *exec.Cmd { return c.Kubectl(ctx, args...) }) }).
		Arg("args", "Arguments of kubectl, after --.").StringsVar(&args)
	add("exec", "Run a command that reaches the cluster, with its kubeconfig and its programs.", func() error {
		return run(*dir, func(c *cluster.Cluster) *exec.Cmd { return c.Command(ctx, args...) })
	}).
		Arg("command", "The command and its arguments, after --.").Required().StringsVar(&args)
	add("crossplane", "Run Crossplane's command line.", func() error {
		return run(*dir, func(c *cluster.Cluster) *exec.Cmd { return c.CrossplaneCLI(ctx, args...) })
	}).
		Arg("args", "Arguments of crossplane, after --.").StringsVar(&args)
	var tarball string
	add("load", "Give the node the images of a tarball.", func() error { return load(ctx, *dir, tarball) }).
		Arg("tarball", "The tarball, as docker save writes it.").Required().ExistingFileVar(&tarball)

	if err := commands[kingpin.MustParse(app.Parse(os.Args[1:]))](); err != nil {
		exit(err)
	}
}

// exit ends with the exit status of a program that was run, or says the error.
func exit(err error) {
	var e *exec.ExitError
	if errors.As(err, &e) {
		os.Exit(e.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "localcluster:", err)
	os.Exit(1)
}

func build(ctx context.Context, what string) error {
	names := map[string][]programs.Name{
		"all": append(programs.WithCrossplane(), programs.Cosign, programs.VersityGW, programs.FakeGCS, programs.Prometheus), "cluster": programs.All(), "control-plane": programs.ControlPlaneNames(),
		"kueue": {programs.Kueue},
	}[what]
	if what != "control-plane" && what != "kueue" && runtime.GOOS == "linux" && os.Geteuid() == 0 {
		// Here rather than in a test, which would swallow what it says.
		if err := debian.Machine(os.Stderr).Ensure(ctx, os.Stderr); err != nil {
			return err
		}
	}
	dir, err := programs.Build(ctx, os.Stderr, names...)
	if err == nil {
		fmt.Println(dir)
	}
	return err
}

func up(ctx context.Context, o node.Options) error {
	c, err := node.Up(ctx, o)
	if o.Attached && err == nil {
		return serve(ctx, c)
	}
	if err != nil && !errors.Is(err, node.ErrAlreadyUp) {
		return err
	}
	return status(o.Dir)
}

// serve keeps the cluster up until standard input ends, which it does when
// the program that started this one ends, and takes it down.
func serve(ctx context.Context, c *cluster.Cluster) error {
	// A terminal interrupts that one too, which may have work left to do.
	signal.Ignore(syscall.SIGINT)
	fmt.Println(c.Dir())
	ctx, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // Its end is all that matters.
		stop()
	}()
	<-ctx.Done()
	return node.Down(context.WithoutCancel(ctx), c.Dir())
}

func status(dir string) error {
	c, err := cluster.Open(dir)
	if err != nil {
		return err
	}
	fmt.Printf("cluster      up, in %s\n", c.Dir())
	fmt.Printf("kubectl      go run -C test/localcluster . kubectl -- get pods --all-namespaces\n")
	fmt.Printf("registry     http://%s\n", c.RegistryHost())
	fmt.Printf("             http://%s, user %s\n", c.AuthRegistryHost(), c.RegistryUser())
	fmt.Printf("hub          %s, or https://%s at %s\n", c.HubURL(), c.HubHost(), c.HubIP())
	fmt.Printf("models       %s\n", c.HubDir())
	fmt.Printf("logs         %s\n", c.LogDir())
	return nil
}

// run runs a program of the cluster in dir for a person.
func run(dir string, command func(*cluster.Cluster) *exec.Cmd) error {
	c, err := cluster.Open(dir)
	if err != nil {
		return err
	}
	cmd := command(c)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func load(ctx context.Context, dir, tarball string) error {
	c, err := cluster.Open(dir)
	if err != nil {
		return err
	}
	return c.LoadImage(ctx, tarball)
}
