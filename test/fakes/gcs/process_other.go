//go:build !linux

package gcs

import "syscall"

// dieWithParent does nothing: only on Linux can a process be made to end with
// the one that started it.
func dieWithParent() *syscall.SysProcAttr { return nil }
