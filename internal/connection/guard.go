package connection

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/idna"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A Guard decides where the requests of a client of one host may go. The host
// itself may be anywhere, since the client's configuration chose it, except at a
// cloud's metadata service: a tenant may have chosen it. What the
// host leads to, by a token realm, a redirect, a Link or an upload's Location,
// must be in the host's own class of network, or public: a server must not have
// this program send requests into a network that only this program can reach.
//
// Addresses are checked when they are dialed, after their name was looked up,
// for each connection. So it does not help a server to have its names change
// what they stand for. This includes the host's own name: its class is the one
// of the first connection.
//
// A proxy, which only the environment can name, may be anywhere. It looks names
// up itself and connects to any address, so that none can be checked
// when it is dialed. What a request by a proxy is for is checked all the same,
// as far as this machine can look its name up, and the proxy's own rules have to
// do the rest.
//
// A Guard is safe for concurrent use.
type Guard struct {
	host        string
	dialer      net.Dialer
	environment func(*http.Request) (*url.URL, error)
	confined    bool // The host itself must be public, or in a private network if that is permitted.
	private     bool

	mu      sync.Mutex
	own     network
	proxies map[string]bool  // Addresses of proxies, as they are dialed.
	judged  map[string]error // Hosts that a proxy connects to.
}

// maxJudged bounds how many hosts behind proxies a Guard remembers.
const maxJudged = 256

// lookupTimeout bounds how long a name is looked up that a proxy will connect to.
const lookupTimeout = 3 * time.Second

// NewGuard returns a Guard for a client of a host, which may have a port.
func NewGuard(host string) *Guard {
	u := url.URL{Host: host}
	return &Guard{
		host:        u.Hostname(),
		dialer:      net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive},
		environment: proxyFromEnvironment(),
		proxies:     map[string]bool{},
		judged:      map[string]error{},
	}
}

// Confine has the host itself be at public addresses only, or also in private networks. It
// must be called before the first connection: it is for a program that connects to hosts of
// tenants' choice from a place that tenants are not in.
func (g *Guard) Confine(private bool) { g.confined, g.private = true, private }

// A BlockedError is about a connection that a Guard refused.
type BlockedError struct {
	// Host that was not connected to.
	Host string

	network network
}

// Error says where a server leads to, about a server that was named before. It
// holds the refused host's name, but not what that was looked up to be, which
// may change.
func (e *BlockedError) Error() string {
	const most = 100
	host := e.Host
	if len(host) > most {
		host = host[:most] + "…"
	}
	return fmt.Sprintf("it leads to %s, which is %s and not followed", host, e.network)
}

// DialContext connects to an address if that is allowed, and otherwise returns
// an error that is a BlockedError.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := g.dialer
	if g.isProxy(address) {
		return d.DialContext(ctx, network, address)
	}
	d.ControlContext = func(_ context.Context, _, to string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(to)
		if err != nil {
			return errors.Wrap(err, "cannot check an address")
		}
		return g.check(host, at.Addr())
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil || !g.isOwn(host) {
		return conn, err
	}
	if err := g.settle(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (g *Guard) isOwn(host string) bool { return strings.EqualFold(host, g.host) }

// check returns a BlockedError if a host must not be at this address.
func (g *Guard) check(host string, at netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	to := networkOf(at)
	switch {
	case to == metadata, g.confined && to != public && (to != private || !g.private):
	case to == public, to == g.own, g.own == unknown && g.isOwn(host):
		return nil
	}
	return &BlockedError{Host: host, network: to}
}

// settle notes in which network the host is, by the first connection to it. A
// second one that was begun before that must fit.
func (g *Guard) settle(conn net.Conn) error {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return errors.Wrap(err, "cannot check an address")
	}
	g.mu.Lock()
	if g.own == unknown {
		g.own = networkOf(at.Addr())
	}
	g.mu.Unlock()
	return g.check(g.host, at.Addr())
}

// Proxy returns the proxy that the environment names for a request, or a
// BlockedError if the request must not be made.
func (g *Guard) Proxy(req *http.Request) (*url.URL, error) {
	proxy, err := g.environment(req)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		g.mu.Lock()
		g.proxies[dialAddress(proxy)] = true
		g.mu.Unlock()
	}
	if proxy == nil && !g.isProxy(dialAddress(req.URL)) {
		// DialContext checks it.
		return nil, nil //nolint:nilnil // As http.Transport has it.
	}
	return proxy, g.judge(req.Context(), req.URL.Hostname())
}

func (g *Guard) isProxy(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proxies[strings.ToLower(address)]
}

// judge checks a host that is not dialed from here. A name that only the proxy
// can look up passes.
func (g *Guard) judge(ctx context.Context, host string) error {
	g.mu.Lock()
	err, known := g.judged[host]
	g.mu.Unlock()
	if known {
		return err
	}
	name, err := idna.Lookup.ToASCII(host)
	if err != nil || isDisguisedAddress(name) {
		return &BlockedError{Host: host, network: reserved}
	}
	for _, at := range g.lookUp(ctx, name) {
		if g.isOwn(host) && networkOf(at) != metadata && !g.confined {
			g.mu.Lock()
			if g.own == unknown {
				g.own = networkOf(at)
			}
			g.mu.Unlock()
			break
		}
		if err = g.check(host, at); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.judged) >= maxJudged {
		clear(g.judged)
	}
	g.judged[host] = err
	return err
}

// isDisguisedAddress reports whether a proxy may read an IPv4 address in a host that
// has another form than 192.0.2.1: with other parts, or with octal or hexadecimal
// ones. Readers disagree on which address that is. A host is an address if its last
// part is a number (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func isDisguisedAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	last, digits := host[strings.LastIndex(host, ".")+1:], "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, digits+"abcdef") == ""
	}
	return last != "" && strings.Trim(last, digits) == ""
}

// lookUp returns a host's addresses, or none if it cannot be looked up.
func (g *Guard) lookUp(ctx context.Context, host string) []netip.Addr {
	if at, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{at}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	r := g.dialer.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	all, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return all
}

// dialAddress returns the address that http.Transport dials for a URL, in lower
// case.
func dialAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
