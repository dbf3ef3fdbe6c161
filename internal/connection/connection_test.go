package connection

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestRoots(t *testing.T) {
	server := secureServer(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good, bad, empty := file("good", pemOf(server)), file("bad", []byte("none")), file("empty", nil)

	type args struct {
		pem  []byte
		file string
	}
	type want struct {
		Trusted bool
		Err     error
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"None":     {reason: "The system's authorities are enough."},
		"PEM":      {reason: "An authority's certificate is trusted.", args: args{pem: pemOf(server)}, want: want{Trusted: true}},
		"File":     {reason: "So is one in a file.", args: args{file: good}, want: want{Trusted: true}},
		"Either":   {reason: "One of both is enough.", args: args{pem: pemOf(server), file: bad}, want: want{Trusted: true}},
		"BadPEM":   {reason: "What is no certificate is told.", args: args{pem: []byte("none")}, want: want{Err: ErrNoCertificate}},
		"BadFile":  {reason: "In a file too.", args: args{file: bad}, want: want{Err: ErrNoCertificate}},
		"NoInFile": {reason: "A file that is named should hold one.", args: args{file: empty}, want: want{Err: ErrNoCertificate}},
		"NoFile":   {reason: "A file that is named should be there.", args: args{file: filepath.Join(dir, "missing")}, want: want{Err: os.ErrNotExist}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pool, err := Roots(tc.args.pem, tc.args.file)
			if diff := cmp.Diff(tc.want.Err, err, cmpopts.EquateErrors()); diff != "" {
				t.Fatalf("\n%s\nRoots(...): -want, +got:\n%s", tc.reason, diff)
			}
			if err != nil {
				return
			}
			trusted := CauseOf(askWith(t, server.URL, pool)) == None
			if diff := cmp.Diff(tc.want.Trusted, trusted); diff != "" {
				t.Errorf("\n%s\nRoots(...): trusted: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestNewTransportHeader has servers answer with a large header.
func TestNewTransportHeader(t *testing.T) {
	for size, want := range map[int]bool{maxHeaderBytes / 2: true, 2 * maxHeaderBytes: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("a", size)) }))
		t.Cleanup(s.Close)
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := (&http.Client{Transport: NewTransport(nil, NewGuard(u.Host))}).Get(s.URL)
		if err == nil {
			_ = rsp.Body.Close()
		}
		if (err == nil) != want {
			t.Errorf("NewTransport(...): a header of %d bytes: want an answer: %t, got %v", size, want, err)
		}
	}
}
