package debian

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

func TestEnsure(t *testing.T) {
	type args struct {
		have    []string // programs that are there
		plugins bool
		root    bool
		install bool  // what is installed is there then
		fail    error // of apt-get
	}
	type want struct {
		missing []string
		ran     []string // the first two words of what was run
		err     string   // a part of the error
		log     string
	}
	all := []string{"runc", "iptables", "ip", "nsenter", "apt-get"}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Complete": {
			reason: "Nothing is run where nothing is missing.",
			args:   args{have: all, plugins: true},
		},
		"Installed": {
			reason: "What is missing is named, then installed.",
			args:   args{have: []string{"ip", "nsenter", "apt-get"}, root: true, install: true},
			want: want{
				missing: []string{"runc", "containernetworking-plugins", "iptables"},
				ran:     []string{"apt-get update", "apt-get install"},
				log:     "installing Debian packages: runc containernetworking-plugins iptables\n",
			},
		},
		"NotRoot": {
			reason: "Who is not root is told what root shall do.",
			args:   args{have: []string{"runc", "ip", "nsenter", "apt-get"}, plugins: true},
			want:   want{missing: []string{"iptables"}, err: "apt-get install iptables"},
		},
		"NoApt": {
			reason: "Where there is no apt-get, the error names what is missing.",
			args:   args{have: []string{"iptables", "ip", "nsenter"}, plugins: true, root: true},
			want:   want{missing: []string{"runc"}, err: "runc"},
		},
		"AptFails": {
			reason: "An installation that fails names what was to be installed.",
			args:   args{have: []string{"runc", "iptables", "ip", "apt-get"}, plugins: true, root: true, fail: errors.New("boom")},
			want: want{
				missing: []string{"util-linux"}, ran: []string{"apt-get update"}, err: "util-linux",
				log: "installing Debian packages: util-linux\n",
			},
		},
		"StillMissing": {
			reason: "Packages that do not bring what they should are an error.",
			args:   args{have: all, root: true},
			want: want{
				missing: []string{"containernetworking-plugins"}, ran: []string{"apt-get update", "apt-get install"},
				err: "still not to be found: containernetworking-plugins",
				log: "installing Debian packages: containernetworking-plugins\n",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &fake{have: strings.Join(tc.args.have, " "), dir: t.TempDir(), install: tc.args.install, fail: tc.args.fail}
			if tc.args.plugins {
				f.addPlugins()
			}
			s := System{Look: f.look, Run: f.run, Root: tc.args.root, Dirs: []string{"/not-there", f.dir}}
			if diff := cmp.Diff(tc.want.missing, s.Missing()); diff != "" {
				t.Errorf("\n%s\nMissing(): -want, +got:\n%s", tc.reason, diff)
			}
			var log strings.Builder
			err := s.Ensure(t.Context(), &log)
			if (err != nil) != (tc.want.err != "") || err != nil && !strings.Contains(err.Error(), tc.want.err) {
				t.Errorf("\n%s\nEnsure(...): want error %q, got %v", tc.reason, tc.want.err, err)
			}
			if diff := cmp.Diff(tc.want.ran, f.ran); diff != "" {
				t.Errorf("\n%s\nEnsure(...): ran -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want.log, log.String()); diff != "" {
				t.Errorf("\n%s\nEnsure(...): log -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestMachineFinds(t *testing.T) {
	s := Machine(io.Discard)
	if _, err := s.Look("sh"); err != nil {
		t.Errorf("Look(sh): %v", err)
	}
	if _, err := s.Look("no-such-program-here"); err == nil {
		t.Error("Look(no-such-program-here): want an error")
	}
}

// A fake is a machine of which all is known.
type fake struct {
	have    string
	dir     string // of CNI plugins
	install bool
	fail    error
	ran     []string
}

func (f *fake) look(program string) (string, error) {
	for _, p := range strings.Fields(f.have) {
		if p == program {
			return "/bin/" + p, nil
		}
	}
	return "", errors.New("not found")
}

func (f *fake) run(_ context.Context, args ...string) error {
	f.ran = append(f.ran, strings.Join(args[:2], " "))
	if f.install && args[1] == "install" {
		f.have += " runc iptables"
		f.addPlugins()
	}
	return f.fail
}

func (f *fake) addPlugins() {
	for _, p := range []string{"bridge", "host-local", "loopback"} {
		_ = os.WriteFile(filepath.Join(f.dir, p), nil, 0o600) // The test would fail.
	}
}
