package registry

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// envChild makes the test's program one that starts a registry and waits to be
// killed.
const envChild = "TEST_REGISTRY_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envChild); dir != "" {
		r, err := Run(dir, Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.process.cmd.Process.Pid)
		select {}
	}
	m.Run()
}

// ask requests the API's root with credentials.
func ask(t *testing.T, r *Registry, change func(*http.Request), config *tls.Config) (status int, err error) {
	t.Helper()
	scheme := "http"
	if r.CA() != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+r.Host()+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	rsp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	return rsp.StatusCode, rsp.Body.Close()
}

func TestAccess(t *testing.T) {
	ada := User{Name: "ada", Password: "correct horse"}
	open := Start(t, Options{})
	basic := Start(t, Options{Users: []User{ada}})
	bearer := Start(t, Options{Users: []User{ada}, TokenLife: time.Second})
	token, err := bearer.Token(ada)
	if err != nil {
		t.Fatal(err)
	}
	as := func(u User) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(u.Name, u.Password) }
	}
	cases := map[string]struct {
		reason string
		from   *Registry
		change func(*http.Request)
		want   int
	}{
		"Open":     {reason: "Without accounts anybody may.", from: open, want: 200},
		"Nobody":   {reason: "With accounts nobody may not.", from: basic, want: 401},
		"Known":    {reason: "Who has one may.", from: basic, change: as(ada), want: 200},
		"Wrong":    {reason: "With its password.", from: basic, change: as(User{Name: "ada"}), want: 401},
		"NoToken":  {reason: "Where there are tokens no password helps.", from: bearer, change: as(ada), want: 401},
		"Token":    {reason: "A token does.", from: bearer, change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, want: 200},
		"BadToken": {reason: "Unless somebody else signed it.", from: bearer, change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token[:len(token)-8]+"AAAAAAAA") }, want: 401},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ask(t, tc.from, tc.change, nil)
			if got != tc.want || err != nil {
				t.Errorf("\n%s\nwant %d, got %d, %v", tc.reason, tc.want, got, err)
			}
		})
	}
	t.Run("Expired", func(t *testing.T) {
		deadline := time.Now().Add(20 * time.Second)
		for status := 200; status != 401; {
			if status, err = ask(t, bearer, cases["Token"].change, nil); err != nil || time.Now().After(deadline) {
				t.Fatalf("want the token to end, got %d, %v", status, err)
			}
		}
	})
	t.Run("Rotated", func(t *testing.T) {
		bob := User{Name: "bob", Password: "battery staple"}
		if err := basic.SetUsers(bob); err != nil {
			t.Fatal(err)
		}
		old, _ := ask(t, basic, as(ada), nil)
		now, _ := ask(t, basic, as(bob), nil)
		if diff := cmp.Diff([]int{401, 200}, []int{old, now}); diff != "" {
			t.Errorf("old and new account: -want, +got:\n%s", diff)
		}
	})
}

func TestClientCertificates(t *testing.T) {
	r := Start(t, Options{TLS: true, ClientCertificates: true})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA())
	if _, err := ask(t, r, nil, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}); err == nil {
		t.Error("want nobody to be let in without a certificate")
	}
	pair, err := tls.X509KeyPair(r.ClientCertificate())
	if err != nil {
		t.Fatal(err)
	}
	status, err := ask(t, r, nil, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if status != 200 || err != nil {
		t.Errorf("want who has one to be let in, got %d, %v", status, err)
	}
}

func TestFronts(t *testing.T) {
	r := Start(t, Options{})
	f := r.Front(t)
	f.SetFault(Times(1, On(http.MethodGet, "/v2/"), Status(429, "TOOMANYREQUESTS", "slow down", "Retry-After", "7")))
	var got []int
	for _, from := range []*Registry{f, f, r} {
		status, err := ask(t, from, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	if diff := cmp.Diff([]int{429, 200, 200, 2, 1}, append(got, f.Count(http.MethodGet, "/v2/"), r.Count("", ""))); diff != "" {
		t.Errorf("answers and counts: -want, +got:\n%s", diff)
	}
}

// TestEndsWithParent has a program that started a registry be killed.
func TestEndsWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux does a process end with the one that started it")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+t.TempDir(), "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); alive(pid); {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the registry outlived the program that started it")
		}
	}
}

// alive reports whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z")
}
