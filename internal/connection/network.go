package connection

import (
	"cmp"
	"net/netip"
)

// A network is a class of networks.
type network int

// Networks. The zero value is none of them.
const (
	unknown network = iota
	public
	private
	loopback
	linkLocal
	metadata
	reserved
)

// String says where a host is.
func (n network) String() string {
	switch n {
	case public:
		return "public"
	case private:
		return "in a private network"
	case loopback:
		return "this machine itself"
	case linkLocal:
		return "a link-local address"
	case metadata:
		return "a cloud's metadata service"
	default:
		return "at no address of a server"
	}
}

// networks are prefixes that are not public, the most specific ones first. All
// but the metadata services are in IANA's registries of special-purpose
// addresses (https://www.iana.org/assignments/iana-ipv4-special-registry,
// https://www.iana.org/assignments/iana-ipv6-special-registry) and of multicast.
// Those that are not globally reachable for another reason than being private
// are private here: some clusters use them so.
var networks = []struct {
	prefix  netip.Prefix
	network network
}{
	{netip.MustParsePrefix("169.254.169.254/32"), metadata}, // AWS, Azure, Google Cloud, OpenStack and most others.
	{netip.MustParsePrefix("169.254.169.252/32"), metadata}, // GKE: the node's metadata server, as Pods reach it.
	{netip.MustParsePrefix("169.254.170.2/32"), metadata},   // Amazon ECS: credentials.
	{netip.MustParsePrefix("169.254.170.23/32"), metadata},  // Amazon EKS: Pod identities.
	{netip.MustParsePrefix("fd00:ec2::/32"), metadata},      // AWS, all of its services at the machine.
	{netip.MustParsePrefix("fd20:ce::254/128"), metadata},   // Google Cloud.
	{netip.MustParsePrefix("100.100.100.200/32"), metadata}, // Alibaba Cloud.
	{netip.MustParsePrefix("168.63.129.16/32"), metadata},   // Azure's WireServer.
	{netip.MustParsePrefix("192.0.0.192/32"), metadata},     // Oracle Cloud, classic.

	{netip.MustParsePrefix("127.0.0.0/8"), loopback},
	{netip.MustParsePrefix("::1/128"), loopback},
	{netip.MustParsePrefix("169.254.0.0/16"), linkLocal},
	{netip.MustParsePrefix("fe80::/10"), linkLocal},

	{netip.MustParsePrefix("0.0.0.0/8"), reserved},
	{netip.MustParsePrefix("::/128"), reserved},
	{netip.MustParsePrefix("224.0.0.0/4"), reserved}, // Multicast.
	{netip.MustParsePrefix("ff00::/8"), reserved},    // Multicast.
	{netip.MustParsePrefix("255.255.255.255/32"), reserved},

	{netip.MustParsePrefix("10.0.0.0/8"), private},
	{netip.MustParsePrefix("172.16.0.0/12"), private},
	{netip.MustParsePrefix("192.168.0.0/16"), private},
	{netip.MustParsePrefix("fc00::/7"), private},
	{netip.MustParsePrefix("fec0::/10"), private},     // Site-local, deprecated.
	{netip.MustParsePrefix("100.64.0.0/10"), private}, // Carriers, and Pods of some clouds.
	{netip.MustParsePrefix("192.0.0.0/24"), private},
	{netip.MustParsePrefix("192.0.2.0/24"), private},
	{netip.MustParsePrefix("198.18.0.0/15"), private},
	{netip.MustParsePrefix("198.51.100.0/24"), private},
	{netip.MustParsePrefix("203.0.113.0/24"), private},
	{netip.MustParsePrefix("240.0.0.0/4"), private},
	{netip.MustParsePrefix("100::/64"), private},
	{netip.MustParsePrefix("2001:db8::/32"), private},
	{netip.MustParsePrefix("3fff::/20"), private},
	{netip.MustParsePrefix("5f00::/16"), private},
}

// networkOf returns the network of an address. An IPv6 address with an IPv4 one
// in it, which a gateway sends it on to, is in the network of that.
func networkOf(at netip.Addr) network {
	at = at.WithZone("").Unmap()
	if !at.IsValid() {
		return reserved
	}
	all := embedded(at)
	if len(all) == 0 {
		return lookUp(at)
	}
	out := unknown
	for _, in := range all {
		if n := lookUp(in); n != reserved {
			out = max(out, n)
		}
	}
	return cmp.Or(out, reserved)
}

func lookUp(at netip.Addr) network {
	for _, n := range networks {
		if n.prefix.Contains(at) {
			return n.network
		}
	}
	return public
}

// embeddings are prefixes of IPv6 addresses that have an IPv4 one in them, the
// indexes of its bytes, and what these are changed by.
var embeddings = []struct {
	prefix netip.Prefix
	at     [4]int
	flip   byte
}{
	{prefix: netip.MustParsePrefix("64:ff9b::/96"), at: [4]int{12, 13, 14, 15}},          // NAT64 (RFC 6052).
	{prefix: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{12, 13, 14, 15}},        // NAT64 of one network (RFC 8215), by a prefix of 96 bits.
	{prefix: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{6, 7, 9, 10}},           // Likewise, by one of 48 bits (RFC 6052, section 2.2).
	{prefix: netip.MustParsePrefix("::ffff:0:0:0/96"), at: [4]int{12, 13, 14, 15}},       // SIIT (RFC 2765).
	{prefix: netip.MustParsePrefix("2002::/16"), at: [4]int{2, 3, 4, 5}},                 // 6to4 (RFC 3056).
	{prefix: netip.MustParsePrefix("2001::/32"), at: [4]int{12, 13, 14, 15}, flip: 0xff}, // Teredo (RFC 4380, section 4).
	{prefix: netip.MustParsePrefix("::/96"), at: [4]int{12, 13, 14, 15}},                 // IPv4-compatible, deprecated (RFC 4291, section 2.5.5.1).
}

// embedded returns the IPv4 addresses that an address may stand for.
func embedded(at netip.Addr) []netip.Addr {
	if !at.Is6() || at == netip.IPv6Unspecified() || at == netip.IPv6Loopback() {
		return nil
	}
	var out []netip.Addr
	b := at.As16()
	for _, e := range embeddings {
		if !e.prefix.Contains(at) {
			continue
		}
		var v4 [4]byte
		for i, from := range e.at {
			v4[i] = b[from] ^ e.flip
		}
		out = append(out, netip.AddrFrom4(v4))
	}
	return out
}
