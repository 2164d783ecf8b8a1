//! Where a request comes from: the client's address and the id that [`crate::Front`] gave the request.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};
use doorward_domain::audit::Origin;

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

/// Extracts the [`Origin`] of a request. The address is the peer's: forwarding headers are not believed.
#[derive(Clone, Debug)]
pub struct From(pub Origin);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let request_id =
            parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
        Ok(Self(Origin { address, request_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_digits() {
        assert_eq!(RequestId::new(0xD00D_0001, 0x2F).as_str(), "d00d00010000002f");
    }
}
