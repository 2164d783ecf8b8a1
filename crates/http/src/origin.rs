//! Where a request comes from: the client's address and the request's id, both found by [`crate::Front`].

use std::{convert::Infallible, iter, net::IpAddr};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use doorward_domain::{address::TrustedProxies, audit::Origin};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The id of a request, also in the answer's `X-Request-Id`.
#[derive(Clone, Copy, Debug)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The id of the request with this number in the run of the server that `seed` tells from others.
    pub fn new(seed: u32, number: u32) -> Self {
        let value = u64::from(seed) << 32 | u64::from(number);
        Self(std::array::from_fn(|place| b"0123456789abcdef"[(value >> (60 - 4 * place)) as usize & 15]))
    }

    /// Sixteen hexadecimal digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// What [`crate::Front`] finds out about a request and leaves in its extensions. One value, for each costs an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The id that it gave the request.
    pub id: RequestId,
    /// Who is at the other end of the connection; `None` only where there is none.
    pub peer: Option<IpAddr>,
    /// The client's address, which is another behind a proxy that is trusted.
    pub address: Option<IpAddr>,
}

/// The address of the client: the peer's, unless that is a trusted proxy, whose headers are believed.
pub fn client(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    // Looked up when it is asked for: most requests come from no proxy.
    let values = iter::once_with(|| headers.get_all(FORWARDED_FOR)).flatten();
    proxies.client(peer, values.map(HeaderValue::as_bytes))
}

/// Extracts the [`Origin`] of a request that passed [`crate::Front`].
#[derive(Clone, Debug)]
pub struct From(pub Origin);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(of(&parts.extensions)))
    }
}

/// The [`Origin`] of a request that passed [`crate::Front`].
pub fn of(extensions: &Extensions) -> Origin {
    let arrival = extensions.get::<Arrival>();
    let origin = arrival
        .map(|arrival| Origin { address: arrival.address, request_id: arrival.id.as_str().to_owned() });
    origin.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_digits() {
        assert_eq!(RequestId::new(0xD00D_0001, 0x2F).as_str(), "d00d00010000002f");
    }
}
