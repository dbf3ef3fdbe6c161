//go:build linux

package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//nolint:dupword // The kernel writes words twice.
func TestHierarchies(t *testing.T) {
	cases := map[string]struct {
		reason    string
		mountinfo string
		want      []Hierarchy
	}{
		"Unified": {
			reason: "Version 2 is one hierarchy.",
			mountinfo: `24 30 0:22 / /proc rw - proc proc rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`,
			want: []Hierarchy{{Mount: "/sys/fs/cgroup", Unified: true}},
		},
		"Hybrid": {
			reason: "Version 1 has one for each controller or group of them; what only a first mount takes is left out.",
			mountinfo: `47 46 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
48 47 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
56 47 0:37 /a /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
57 47 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`,
			want: []Hierarchy{
				{Mount: "/sys/fs/cgroup/cpu,cpuacct", Options: "cpu,cpuacct"},
				{Mount: "/sys/fs/cgroup/systemd", Options: "name=systemd"},
				{Mount: "/sys/fs/cgroup/unified", Unified: true},
			},
		},
		"MountedTwice": {
			reason: "What is mounted over another counts once.",
			mountinfo: `48 47 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
49 48 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
`,
			want: []Hierarchy{{Mount: "/sys/fs/cgroup/pids", Options: "pids"}},
		},
		"Elsewhere": {
			reason:    "Only what is mounted at the usual place counts.",
			mountinfo: "48 47 0:29 / /mnt/cgroup rw - cgroup2 cgroup2 rw\nnonsense\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Hierarchies(tc.mountinfo)); diff != "" {
				t.Errorf("\n%s\nHierarchies(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEnableControllers(t *testing.T) {
	cases := map[string]struct {
		reason  string
		enabled string
		wantErr bool
	}{
		"Enabled": {reason: "All that is necessary is enabled.", enabled: "cpu cpuset memory pids"},
		"Missing": {reason: "Without the controller memory no container runs.", enabled: "cpu cpuset pids", wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, data := range map[string]string{"cgroup.controllers": "", "cgroup.subtree_control": tc.enabled} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := EnableControllers(dir); (err != nil) != tc.wantErr {
				t.Errorf("\n%s\nEnableControllers(...): want error %t, got %v", tc.reason, tc.wantErr, err)
			}
		})
	}
}

func TestInheritCPUs(t *testing.T) {
	cases := map[string]struct {
		reason      string
		parent, own string
		want        string
	}{
		"Empty":  {reason: "An empty set becomes the parent's.", parent: "0-1\n", own: "\n", want: "0-1"},
		"Filled": {reason: "A set that is there stays.", parent: "0-1\n", own: "1\n", want: "1\n"},
		"Both":   {reason: "Where the parent has none either, nothing is to be done.", parent: "\n", own: "\n", want: "\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "group")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for d, data := range map[string]string{dir: tc.own, filepath.Dir(dir): tc.parent} {
				if err := os.WriteFile(filepath.Join(d, "cpuset.cpus"), []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := inheritCPUs(dir); err != nil {
				t.Fatalf("\n%s\ninheritCPUs(...): %v", tc.reason, err)
			}
			got, err := os.ReadFile(filepath.Join(dir, "cpuset.cpus"))
			if diff := cmp.Diff(tc.want, string(got)); diff != "" || err != nil {
				t.Errorf("\n%s\ninheritCPUs(...): error %v, -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}
