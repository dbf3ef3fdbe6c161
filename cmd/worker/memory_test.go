package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimitOf(t *testing.T) {
	const v2, v1 = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   int64
	}{
		"V2":          {reason: "The container's limit counts, with room for what is not collected.", files: map[string]string{v2: "268435456\n"}, want: 268435456 / 100 * 80},
		"V1":          {reason: "So it does with older kernels.", files: map[string]string{v1: "1000\n"}, want: 800},
		"V2Unlimited": {reason: "Without a limit the default should be used.", files: map[string]string{v2: "max\n"}, want: memoryLimit},
		"V1Unlimited": {reason: "Without a limit the default should be used.", files: map[string]string{v1: "9223372036854771712\n"}, want: memoryLimit},
		"None":        {reason: "Where nothing says so the default should be used.", want: memoryLimit},
		"Nonsense":    {reason: "What is no number is no limit.", files: map[string]string{v2: "-1"}, want: memoryLimit},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tc.files {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := memoryLimitOf(root); got < tc.want-100 || got > tc.want+100 {
				t.Errorf("\n%s\nmemoryLimitOf(...): want %d, got %d", tc.reason, tc.want, got)
			}
		})
	}
}
