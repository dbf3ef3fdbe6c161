package connection

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

func TestNetworkOf(t *testing.T) {
	cases := map[string]struct {
		reason    string
		addresses []string
		want      network
	}{
		"Public": {
			reason:    "What all can reach is public.",
			addresses: []string{"8.8.8.8", "2606:4700::6810:84e5", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"},
			want:      public,
		},
		"Private": {
			reason:    "RFC 1918, RFC 4193, RFC 6598 and what is not routed.",
			addresses: []string{"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "fc00::1", "fec0::1", "198.18.0.1", "192.0.2.1", "240.0.0.1", "2001:db8::1"},
			want:      private,
		},
		"Loopback": {
			reason:    "All of the block, not only the first address.",
			addresses: []string{"127.0.0.1", "127.255.255.254", "::1"},
			want:      loopback,
		},
		"LinkLocal": {
			reason:    "With and without a zone.",
			addresses: []string{"169.254.1.1", "fe80::1", "fe80::1%eth0", "febf::1"},
			want:      linkLocal,
		},
		"Metadata": {
			reason:    "Those of clouds, wherever they are.",
			addresses: []string{"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"},
			want:      metadata,
		},
		"Reserved": {
			reason:    "No server is there, but some systems take 0.0.0.0 for this machine.",
			addresses: []string{"0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:0.0.0.0", "64:ff9b::"},
			want:      reserved,
		},
		"EmbeddedPrivate": {
			reason:    "A gateway sends it on to the IPv4 address in it.",
			addresses: []string{"::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "64:ff9b:1:a00:0:100::", "2002:a00:1::1", "::ffff:0:a00:1", "::a00:1", "2001:0:808:808:0:0:f5ff:fffe"},
			want:      private,
		},
		"EmbeddedLoopback": {
			reason:    "Likewise.",
			addresses: []string{"::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "::7f00:1"},
			want:      loopback,
		},
		"EmbeddedMetadata": {
			reason:    "Likewise.",
			addresses: []string{"::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "2002:a9fe:a9fe::", "::ffff:0:a9fe:a9fe", "::ffff:168.63.129.16"},
			want:      metadata,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, a := range tc.addresses {
				if diff := gocmp.Diff(tc.want.String(), networkOf(netip.MustParseAddr(a)).String()); diff != "" {
					t.Errorf("\n%s\nnetworkOf(%s): -want, +got:\n%s", tc.reason, a, diff)
				}
			}
		})
	}
	if got := networkOf(netip.Addr{}); got != reserved {
		t.Errorf("networkOf(no address): want %s, got %s", reserved, got)
	}
}

// FuzzNetworkOf holds that an IPv4 address is in one network, however it is
// written.
func FuzzNetworkOf(f *testing.F) {
	f.Add([]byte{169, 254, 169, 254})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{8, 8, 8, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			return
		}
		plain := netip.AddrFrom4([4]byte(b))
		want := networkOf(plain)
		mapped := netip.AddrFrom16(plain.As16())
		nat64 := netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: b[0], 13: b[1], 14: b[2], 15: b[3]})
		if got := networkOf(mapped); got != want {
			t.Errorf("networkOf(%s): want %s, got %s", mapped, want, got)
		}
		if got := networkOf(nat64); got != want {
			t.Errorf("networkOf(%s): want %s, got %s", nat64, want, got)
		}
	})
}

func TestGuardCheck(t *testing.T) {
	cases := map[string]struct {
		reason  string
		own     network
		host    string
		allowed string // Names of networks, in order.
	}{
		"FirstOwn":  {reason: "The host itself may be anywhere, but for the metadata.", own: unknown, host: "Registry.test", allowed: "public private loopback linkLocal reserved"},
		"First":     {reason: "Before it was connected to, it leads to public hosts only.", own: unknown, host: "other.test", allowed: "public"},
		"Public":    {reason: "From a public one nothing leads inside.", own: public, host: "other.test", allowed: "public"},
		"PublicOwn": {reason: "Not even under its own name.", own: public, host: "registry.test", allowed: "public"},
		"Private":   {reason: "A private one may use its own kind of network.", own: private, host: "other.test", allowed: "public private"},
		"Loopback":  {reason: "So may one on this machine.", own: loopback, host: "other.test", allowed: "public loopback"},
		"LinkLocal": {reason: "A link-local one does not lead to the metadata.", own: linkLocal, host: "other.test", allowed: "public linkLocal"},
	}
	places := []struct{ name, address string }{
		{"public", "8.8.8.8"}, {"private", "10.0.0.1"}, {"loopback", "127.0.0.1"}, {"linkLocal", "169.254.1.1"}, {"metadata", "169.254.169.254"}, {"reserved", "0.0.0.0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := NewGuard("registry.test:5000")
			g.own = tc.own
			var allowed []string
			for _, p := range places {
				err := g.check(tc.host, netip.MustParseAddr(p.address))
				if err == nil {
					allowed = append(allowed, p.name)
				} else if CauseOf(err) != Blocked {
					t.Errorf("\n%s\ncheck(%s): want a BlockedError, got %v", tc.reason, p.address, err)
				}
			}
			if diff := gocmp.Diff(tc.allowed, strings.Join(allowed, " ")); diff != "" {
				t.Errorf("\n%s\ncheck(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestGuardConfine has the host itself be where it must not be.
func TestGuardConfine(t *testing.T) {
	for name, private := range map[string]bool{"Public": false, "Private": true} {
		t.Run(name, func(t *testing.T) {
			for address, want := range map[string]bool{
				"8.8.8.8": true, "10.0.0.1": private, "fd00::1": private, "127.0.0.1": false, "::ffff:127.0.0.1": false, "169.254.1.1": false, "169.254.169.254": false, "0.0.0.0": false,
			} {
				g := NewGuard("bucket.test")
				g.Confine(private)
				if got := g.check("bucket.test", netip.MustParseAddr(address)) == nil; got != want {
					t.Errorf("A confined host at %s: want allowed %t, got %t", address, want, got)
				}
			}
		})
	}
}

// names is a resolver of names, each of which stands for one address after the
// other.
func names(t *testing.T, addresses map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			all := addresses[q.Name.String()]
			switch {
			case len(all) == 0:
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(all[0]).As4()},
				}}
				if len(all) > 1 {
					addresses[q.Name.String()] = all[1:]
				}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestGuardDials has a server under names that lead elsewhere.
func TestGuardDials(t *testing.T) {
	type args struct {
		names map[string][]string
		own   network
		asked []string // Hosts, one after the other.
	}
	cases := map[string]struct {
		reason string
		args   args
		want   []string // Refused hosts.
	}{
		"Own": {
			reason: "A host is connected to wherever it is, again and again.",
			args:   args{names: map[string][]string{"registry.test.": {"127.0.0.1"}}, asked: []string{"registry.test", "registry.test"}},
		},
		"SameNetwork": {
			reason: "It may lead to its own kind of network.",
			args:   args{names: map[string][]string{"registry.test.": {"127.0.0.1"}, "auth.test.": {"127.0.0.1"}}, asked: []string{"registry.test", "auth.test", "127.0.0.1"}},
		},
		"Inside": {
			reason: "A public one does not lead inside, whatever the name is.",
			args:   args{own: public, names: map[string][]string{"auth.test.": {"127.0.0.1"}}, asked: []string{"auth.test", "127.0.0.1"}},
			want:   []string{"auth.test", "127.0.0.1"},
		},
		"Rebinding": {
			reason: "What a name stands for is checked at each connection.",
			args: args{
				names: map[string][]string{"registry.test.": {"127.0.0.1"}, "auth.test.": {"127.0.0.1", "169.254.169.254"}},
				asked: []string{"registry.test", "auth.test", "auth.test"},
			},
			want: []string{"auth.test"},
		},
		"OwnRebinding": {
			reason: "So is what the host's own name stands for.",
			args:   args{names: map[string][]string{"registry.test.": {"127.0.0.1", "169.254.169.254"}}, asked: []string{"registry.test", "registry.test"}},
			want:   []string{"registry.test"},
		},
		"BeforeOwn": {
			reason: "Before the host was connected to, nothing is inside with it.",
			args:   args{names: map[string][]string{"auth.test.": {"127.0.0.1"}}, asked: []string{"auth.test"}},
			want:   []string{"auth.test"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var served atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
			t.Cleanup(s.Close)
			_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
			g := NewGuard("registry.test")
			g.own, g.dialer.Resolver = tc.args.own, names(t, tc.args.names)
			transport := NewTransport(nil, g)
			transport.DisableKeepAlives = true
			var refused []string
			for _, host := range tc.args.asked {
				rsp, err := (&http.Client{Transport: transport}).Get("http://" + net.JoinHostPort(host, port))
				var blocked *BlockedError
				switch {
				case errors.As(err, &blocked):
					refused = append(refused, blocked.Host)
				case err != nil:
					t.Fatal(err)
				default:
					_ = rsp.Body.Close()
				}
			}
			if diff := gocmp.Diff(tc.want, refused); diff != "" {
				t.Errorf("\n%s\nDialContext(...): -want refused, +got:\n%s", tc.reason, diff)
			}
			if got := int(served.Load()); got != len(tc.args.asked)-len(tc.want) {
				t.Errorf("\n%s\nDialContext(...): %d requests arrived", tc.reason, got)
			}
		})
	}
}

// TestGuardProxy has a proxy serve all that it is asked for.
func TestGuardProxy(t *testing.T) {
	cases := map[string]struct {
		reason string
		names  map[string][]string
		asked  []string
		direct bool // The last one is asked without the proxy.
		proxy  string
		host   string // The Guard's; registry.test if empty.
		own    network
		want   []string
	}{
		"Names":     {reason: "A name that only the proxy knows is its business.", asked: []string{"registry.test", "auth.test"}},
		"Literal":   {reason: "An address is checked all the same.", asked: []string{"registry.test", "10.0.0.1", "169.254.169.254", "8.8.8.8"}, want: []string{"10.0.0.1", "169.254.169.254"}},
		"Decimal":   {reason: "An IPv4 address written as one number should be refused.", asked: []string{"registry.test", "2130706433", "134744072"}, want: []string{"2130706433", "134744072"}},
		"Octal":     {reason: "An IPv4 address with octal parts should be refused.", asked: []string{"registry.test", "0177.0.0.1", "08.8.8.8"}, want: []string{"0177.0.0.1", "08.8.8.8"}},
		"Hex":       {reason: "An IPv4 address with hexadecimal parts should be refused.", asked: []string{"registry.test", "0x7f000001", "127.0.0.0X1"}, want: []string{"0x7f000001", "127.0.0.0X1"}},
		"Short":     {reason: "An IPv4 address with fewer parts should be refused.", asked: []string{"registry.test", "127.1", "127.0.0.1."}, want: []string{"127.1", "127.0.0.1."}},
		"Wide":      {reason: "An address in characters that stand for digits should be checked.", asked: []string{"registry.test", "１２７.０.０.１", "8.8.8.８"}, want: []string{"１２７.０.０.１"}},
		"Digits":    {reason: "A name with digits should be no address.", asked: []string{"registry.test", "10.test", "0x.test", "1e100.test", "3com"}},
		"OwnNumber": {reason: "A registry whose host is such a number should be refused, since it may be the metadata service.", own: unknown, host: "2852039166", asked: []string{"2852039166"}, want: []string{"2852039166"}},
		"KnownName": {reason: "So is a name that is known here.", names: map[string][]string{"auth.test.": {"10.0.0.1"}}, asked: []string{"registry.test", "auth.test"}, want: []string{"auth.test"}},
		"Private":   {reason: "A private registry goes on working.", names: map[string][]string{"registry.test.": {"10.0.0.2"}, "auth.test.": {"10.0.0.1"}}, asked: []string{"registry.test", "auth.test", "10.0.0.3"}},
		"Case":      {reason: "The proxy may be written in capitals.", asked: []string{"registry.test", "auth.test"}, proxy: "LocalHost", own: public},
		"Metadata":  {reason: "The metadata are nobody's registry.", names: map[string][]string{"registry.test.": {"169.254.169.254"}}, asked: []string{"registry.test"}, want: []string{"registry.test"}},
		"ProxyHost": {reason: "The proxy's own address is for proxying alone.", asked: []string{"registry.test", "PROXY"}, direct: true, want: []string{"127.0.0.1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			t.Cleanup(s.Close)
			proxy, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if tc.proxy != "" {
				proxy.Host = net.JoinHostPort(tc.proxy, proxy.Port())
			}
			g := NewGuard(cmp.Or(tc.host, "registry.test"))
			g.own = tc.own
			g.dialer.Resolver = names(t, tc.names)
			g.environment = func(req *http.Request) (*url.URL, error) {
				if tc.direct && req.URL.Host == proxy.Host {
					return nil, nil //nolint:nilnil // As http.Transport has it.
				}
				return proxy, nil
			}
			client := &http.Client{Transport: NewTransport(nil, g)}
			var refused []string
			for _, host := range tc.asked {
				rsp, err := client.Get("http://" + strings.Replace(host, "PROXY", proxy.Host, 1))
				var blocked *BlockedError
				switch {
				case errors.As(err, &blocked):
					refused = append(refused, blocked.Host)
				case err != nil:
					t.Fatal(err)
				default:
					_ = rsp.Body.Close()
				}
			}
			if diff := gocmp.Diff(tc.want, refused); diff != "" {
				t.Errorf("\n%s\nProxy(...): -want refused, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
