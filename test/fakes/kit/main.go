// Command kit is a kit stand-in for tests: where KitOps' own command line
// cannot be had, it takes kit's flags and does kit's work, against a real Hub
// and a real registry. It downloads from huggingface.co, keeps ModelKits below
// KITOPS_HOME the way kit keeps them, prints kit's lines, exits with 1 for
// every failure, and shares kit's habits, also the bad ones: a folder's
// listing is read by its first page only, and no file's hash is checked.
//
// It is not part of the product, and its output is for tests only.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/mod/semver"
)

// version that the stand-in passes itself off as. Another one can be stamped
// with -ldflags "-X main.version=1.9.0"; flags that came later are then
// unknown, as they are to a kit of that version.
var version = "1.16.0-standin"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		os.Exit(1) //nolint:gocritic // stop has nothing left to do.
	}
}

// since reports whether a kit of this version has what came with release.
func since(release string) bool {
	return semver.Compare("v"+strings.TrimPrefix(version, "v"), "v"+release+"-0") >= 0
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kit",
		Short: "kit stand-in for tests",
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			cmd.SilenceUsage, cmd.SilenceErrors = true, true
		},
	}
	root.PersistentFlags().String("log-level", "info", "taken, and without effect")
	root.PersistentFlags().String("progress", "plain", "taken, and without effect")
	root.PersistentFlags().String("config", "", "root of kit's own files (default: KITOPS_HOME)")
	root.AddCommand(versionCommand(), importCommand(), packCommand(), unpackCommand(),
		pushCommand(), pullCommand(), tagCommand(), removeCommand(), listCommand())
	return root
}

// run makes a cobra command of f: it prints f's failure as kit does.
func run(f func(cmd *cobra.Command, home string, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		home, err := kitHome(cmd)
		if err == nil {
			err = f(cmd, home, args)
		}
		if err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "[ERROR] %s\n", capitalize(err.Error()))
		}
		return err
	}
}

func kitHome(cmd *cobra.Command) (string, error) {
	if home, err := cmd.Flags().GetString("config"); err == nil && home != "" {
		return filepath.Abs(home)
	}
	if home := os.Getenv("KITOPS_HOME"); home != "" {
		return filepath.Abs(home)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "share", "kitops"), nil
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "version",
		Args: cobra.NoArgs,
		RunE: run(func(_ *cobra.Command, _ string, _ []string) error {
			fmt.Printf("Version: %s\nCommit: none\nBuilt: unknown\nGo version: %s\nkit stand-in for tests\n", version, runtime.Version())
			return nil
		}),
	}
}

func importCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:  "import [flags] REPOSITORY",
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			o.home, o.model = home, args[0]
			return runImport(cmd.Context(), o)
		}),
	}
	cmd.Flags().StringVar(&o.ref, "ref", "main", "revision to import")
	cmd.Flags().StringVar(&o.token, "token", "", "token for the Hub")
	cmd.Flags().StringVarP(&o.tag, "tag", "t", "", "tag for the ModelKit (default: REPOSITORY:latest)")
	cmd.Flags().StringVarP(&o.kitfile, "file", "f", "", "Kitfile to pack by (default: one is made)")
	cmd.Flags().StringVar(&o.tool, "tool", "hf", "hf is the one tool here")
	cmd.Flags().IntVar(&o.concurrency, "concurrency", 5, "most downloads at a time")
	return cmd
}

func packCommand() *cobra.Command {
	o := packOptions{layerFormat: formatTar}
	var file, tag string
	cmd := &cobra.Command{
		Use:  "pack [flags] DIRECTORY",
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			if err := runPack(cmd.Context(), home, args[0], file, tag, o); err != nil {
				return fmt.Errorf("failed to pack model kit: %w", err)
			}
			return nil
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "Kitfile (default: the one in DIRECTORY)")
	cmd.Flags().StringVarP(&tag, "tag", "t", "", "tag for what is packed")
	if since("1.10.0") {
		cmd.Flags().BoolVar(&o.modelPack, "use-model-pack", false, "pack a ModelPack, not a ModelKit")
	}
	if since("1.15.0") {
		cmd.Flags().StringVar(&o.layerFormat, "layer-format", formatTar, "tar or raw")
	}
	return cmd
}

func unpackCommand() *cobra.Command {
	var dir string
	var overwrite bool
	cmd := &cobra.Command{
		Use:  "unpack [flags] REFERENCE",
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			return runUnpack(cmd.Context(), home, args[0], dir, overwrite)
		}),
	}
	cmd.Flags().StringVarP(&dir, "dir", "d", ".", "folder to unpack into")
	cmd.Flags().BoolVarP(&overwrite, "overwrite", "o", false, "write over files that are there")
	return cmd
}

func pullCommand() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:  "pull [flags] REFERENCE",
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			return runPull(cmd.Context(), home, args[0], o)
		}),
	}
	cmd.Flags().BoolVar(&o.plainHTTP, "plain-http", false, "speak to the registry without TLS")
	cmd.Flags().BoolVar(&o.tlsVerify, "tls-verify", true, "verify the registry's certificate")
	return cmd
}

func pushCommand() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:  "push [flags] SOURCE [DESTINATION]",
		Args: cobra.RangeArgs(1, 2),
		RunE: run(func(cmd *cobra.Command, home string, args []string) error {
			return runPush(cmd.Context(), home, args[0], args[len(args)-1], o)
		}),
	}
	cmd.Flags().BoolVar(&o.plainHTTP, "plain-http", false, "speak to the registry without TLS")
	cmd.Flags().BoolVar(&o.tlsVerify, "tls-verify", true, "verify the registry's certificate")
	cmd.Flags().IntVar(&o.concurrency, "concurrency", 5, "most uploads at a time")
	return cmd
}
