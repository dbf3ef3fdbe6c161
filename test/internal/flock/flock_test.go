package flock

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, second := open(t, path), open(t, path)
	never := func() { t.Error("Lock(...): it waits, but the lock is free") }
	if err := Lock(t.Context(), first, never); err != nil {
		t.Fatalf("Lock(...): %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	waits := 0
	if err := Lock(ctx, second, func() { waits++ }); err == nil || waits != 1 {
		t.Errorf("Lock(...): while it is held: want to wait in vain and say so once, said so %d times, error %v", waits, err)
	}
	waited := make(chan error)
	waiting := make(chan struct{})
	go func() { waited <- Lock(t.Context(), second, func() { close(waiting) }) }()
	<-waiting
	first.Close()
	if err := <-waited; err != nil {
		t.Errorf("Lock(...): when it is let go: %v", err)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
