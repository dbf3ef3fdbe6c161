// Command local brings up a real Kubernetes cluster of one node on this
// machine, with a registry and a Hugging Face Hub, and takes it down again
// without a trace. See package cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/cluster/local/cluster"
	"github.com/crossplane-contrib/provider-kitops/cluster/local/internal/debian"
	"github.com/crossplane-contrib/provider-kitops/cluster/local/programs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	app := kingpin.New("local", "A Kubernetes cluster of one node on this machine, with a registry and a Hugging Face Hub.")
	dir := app.Flag("dir", "State directory of the cluster; by default one below the user's cache directory.").String()
	commands := map[string]func() error{}
	add := func(name, help string, run func() error) *kingpin.CmdClause {
		commands[name] = run
		return app.Command(name, help)
	}
	var what string
	add("build", "Build the cluster's programs into the user's cache directory, and install the Debian packages that it needs.", func() error { return build(ctx, what) }).
		Arg("programs", "cluster: all of them; control-plane: etcd and kube-apiserver, which need no root and no Linux.").
		Default("cluster").EnumVar(&what, "cluster", "control-plane")
	add("clean", "Remove the programs that were built.", programs.Clean)
	add("up", "Bring the cluster up, unless it is up, and leave it running.", func() error { return up(ctx, *dir) })
	add("down", "Take the cluster down, and remove what a crashed one left.", func() error { return cluster.Down(ctx, *dir) })
	add("status", "Say where things are. It fails if no cluster is up.", func() error { return status(*dir) })
	var args []string
	add("kubectl", "Run the cluster's kubectl.", func() error { return kubectl(ctx, *dir, args) }).
		Arg("args", "Arguments of kubectl, after --.").StringsVar(&args)
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
	fmt.Fprintln(os.Stderr, "local:", err)
	os.Exit(1)
}

func build(ctx context.Context, what string) error {
	names := programs.All()
	switch {
	case what == "control-plane":
		names = programs.ControlPlaneNames()
	case runtime.GOOS == "linux" && os.Geteuid() == 0:
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

func up(ctx context.Context, dir string) error {
	_, err := cluster.Up(ctx, cluster.Options{Dir: dir, Log: os.Stderr})
	if err != nil && !errors.Is(err, cluster.ErrAlreadyUp) {
		return err
	}
	return status(dir)
}

func status(dir string) error {
	c, err := cluster.Open(dir)
	if err != nil {
		return err
	}
	fmt.Printf("cluster      up, in %s\n", c.Dir())
	fmt.Printf("kubectl      go run ./cluster/local kubectl -- get pods --all-namespaces\n")
	fmt.Printf("registry     http://%s\n", c.RegistryHost())
	fmt.Printf("             http://%s, user %s\n", c.AuthRegistryHost(), c.RegistryUser())
	fmt.Printf("hub          %s, or https://%s at %s\n", c.HubURL(), c.HubHost(), c.HubIP())
	fmt.Printf("models       %s\n", c.HubDir())
	fmt.Printf("logs         %s\n", c.LogDir())
	return nil
}

func kubectl(ctx context.Context, dir string, args []string) error {
	c, err := cluster.Open(dir)
	if err != nil {
		return err
	}
	cmd := c.Kubectl(ctx, args...)
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
