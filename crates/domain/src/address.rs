//! Addresses of clients: sets of them, who may log in from where, and whose word counts for where a client is.
//!
//! An IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is everywhere the IPv4 address that it stands for: a listener on
//! both kinds sees the one as the other, and a rule that knew only one of them would have a way round it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address, or all addresses that begin alike.
///
/// It is read from an address, from a network in CIDR notation, or from an IPv4 address whose last octets are stars,
/// and written as an address or in CIDR notation. `*.*.*.*` is every IPv4 address and no IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

impl Network {
    /// The most bytes that the text of a network may have.
    pub const MAX_BYTES: usize = 64;

    /// Whether the address is one of the network's.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// What IPv6 says of IPv4 is said in IPv4, and no bit is set beyond the prefix.
    fn canonical(network: IpNet) -> Self {
        let network = network.trunc();
        let inside = match network {
            IpNet::V4(_) => None,
            IpNet::V6(network) => {
                let address = network.addr().to_ipv4_mapped();
                let prefix = network.prefix_len().checked_sub(96);
                address.zip(prefix).and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
            }
        };
        Self(inside.map_or(network, IpNet::V4))
    }

    fn from_cidr(address: &str, prefix: &str) -> Result<Self, InvalidNetwork> {
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Malformed)?;
        let most = IpNet::from(address).max_prefix_len();
        let network = number(prefix)
            .and_then(|prefix| IpNet::new(address, prefix).ok())
            .ok_or(InvalidNetwork::PrefixLength { most })?;
        let canonical = Self::canonical(network);
        if network == network.trunc() {
            Ok(canonical)
        } else {
            Err(InvalidNetwork::BeyondPrefix { network: canonical, address: address.to_canonical() })
        }
    }

    fn from_stars(text: &str) -> Result<Self, InvalidNetwork> {
        let (mut octets, mut prefix, mut is_starred) = ([0; 4], 0, false);
        let mut parts = text.split('.');
        for octet in &mut octets {
            let part = parts.next().ok_or(InvalidNetwork::Malformed)?;
            if part == "*" {
                is_starred = true;
                continue;
            }
            *octet = number(part).ok_or(InvalidNetwork::Malformed)?;
            if is_starred {
                return Err(InvalidNetwork::StarInside);
            }
            prefix += 8;
        }
        if parts.next().is_some() {
            return Err(InvalidNetwork::Malformed);
        }
        let network = Ipv4Net::new(Ipv4Addr::from(octets), prefix).map_err(|_| InvalidNetwork::Malformed)?;
        Ok(Self(network.into()))
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidNetwork::TooLong);
        }
        let text = text.trim();
        if text.is_empty() {
            Err(InvalidNetwork::Empty)
        } else if text.contains('*') {
            Self::from_stars(text)
        } else if let Some((address, prefix)) = text.split_once('/') {
            Self::from_cidr(address, prefix)
        } else {
            text.parse::<IpAddr>().map(Self::from).map_err(|_| InvalidNetwork::Malformed)
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// A number as addresses have it: digits alone, and none too many, for some readers take `010` for eight.
fn number(text: &str) -> Option<u8> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    is_plain.then(|| text.parse().ok())?
}

/// Why a text is not a [`Network`], as the end of a sentence that begins with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// There is nothing in it but white space.
    #[error("is empty; write an address such as 10.1.2.3 or a network such as 10.0.0.0/8")]
    Empty,
    /// Longer than [`Network::MAX_BYTES`].
    #[error("is longer than {} characters; write one address or network", Network::MAX_BYTES)]
    TooLong,
    /// It is none of the forms.
    #[error("is no address or network; write it as 10.1.2.3, 10.0.0.0/8, 10.0.*.*, ::1 or 2001:db8::/32")]
    Malformed,
    /// What follows the slash is no length of a prefix.
    #[error("needs a whole number from 0 to {most} behind its '/', the length of the network's prefix")]
    PrefixLength {
        /// The length of an address of this kind.
        most: u8,
    },
    /// An address inside the network stands where the network should.
    #[error("has bits set beyond its prefix; write {network} for the network or {address} for the address")]
    BeyondPrefix {
        /// The network that the address is in.
        network: Network,
        /// The address.
        address: IpAddr,
    },
    /// A star stands before a number.
    #[error(
        "has a '*' before a number, which no one network is; put stars last, as in 10.0.*.*, or list the networks"
    )]
    StarInside,
}

/// From where one may log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// From here, and from nowhere else unless it is empty.
    pub allow: Vec<Network>,
    /// From here never, even if it is allowed.
    pub deny: Vec<Network>,
}

impl AddressRules {
    /// Whether one may log in from the address. From one that is not known only if there are no rules at all.
    pub fn permits(&self, address: Option<IpAddr>) -> bool {
        let Self { allow, deny } = self;
        let Some(address) = address else { return allow.is_empty() && deny.is_empty() };
        !is_in(deny, address) && (allow.is_empty() || is_in(allow, address))
    }
}

/// The addresses that count as one client where clients are counted: an IPv4 address, or the 64 bits that an IPv6
/// network hands to one customer, who can take any address in them.
pub fn client_network(address: IpAddr) -> Network {
    match address.to_canonical() {
        IpAddr::V6(address) => Network(Ipv6Net::new_assert(address, 64).trunc().into()),
        address => address.into(),
    }
}

/// The reverse proxies whose word is taken for where a request comes from (`security.md` H1); none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Trusts what connects from these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether what connects from this address is believed about where requests come from.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        is_in(&self.0, peer)
    }

    /// The address of the client whose request arrived from `peer` with these values of `X-Forwarded-For`, in their
    /// order; each may list several addresses.
    ///
    /// Each proxy adds the address that it got the request from, so the list is read from its end for as long as
    /// those who wrote it are trusted: the first address that is no proxy's is the client's, and what stands before
    /// it is only what the client says. Where the list ends, or holds what is no address, the walk ends too, at the
    /// last address that a trusted proxy vouched for. Without a trusted peer the values are not even asked for.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        let mut elements = forwarded_for.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        let mut client = peer.to_canonical();
        while is_in(&self.0, client) {
            match elements.next().and_then(forwarded_address) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The address in an element of `X-Forwarded-For`, where some proxies add the port and put IPv6 into brackets.
fn forwarded_address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element.trim_ascii()).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;
