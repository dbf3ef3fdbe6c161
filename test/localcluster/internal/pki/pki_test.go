package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

func TestIssue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := New(dir)
	if err != nil {
		t.Fatalf("New(...): %v", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("ca.crt holds no certificate")
	}
	cases := map[string]struct {
		reason  string
		subject Subject
		host    string
		usage   x509.ExtKeyUsage
		wantErr bool
	}{
		"Name":    {reason: "A server is known by its name.", subject: Subject{Names: []string{"a.example"}}, host: "a.example", usage: x509.ExtKeyUsageServerAuth},
		"Address": {reason: "A server is known by its address.", subject: Subject{IPs: []string{"10.0.0.1"}}, host: "10.0.0.1", usage: x509.ExtKeyUsageServerAuth},
		"Client":  {reason: "A client needs no name of a host.", subject: Subject{CommonName: "admin", Organization: []string{"masters"}}, usage: x509.ExtKeyUsageClientAuth},
		"Another": {reason: "A server is not known by another's name.", subject: Subject{Names: []string{"a.example"}}, host: "b.example", usage: x509.ExtKeyUsageServerAuth, wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := a.Issue(name, tc.subject); err != nil {
				t.Fatalf("\n%s\nIssue(...): %v", tc.reason, err)
			}
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
			if err != nil {
				t.Fatalf("\n%s\nLoadX509KeyPair(...): %v", tc.reason, err)
			}
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tc.host, KeyUsages: []x509.ExtKeyUsage{tc.usage}})
			if (err != nil) != tc.wantErr {
				t.Errorf("\n%s\nVerify(...): want error %t, got %v", tc.reason, tc.wantErr, err)
			}
			info, err := os.Stat(filepath.Join(dir, name+".key"))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("\n%s\na key is for its owner alone: got %v, error %v", tc.reason, info.Mode(), err)
			}
		})
	}
}
