//! Where a request carries its token: `Authorization: Bearer`, the query parameter `token`, the body member `token`,
//! and for reverse proxies the query of the request they forward.
//!
//! Nothing is copied for a token in a header, which is where the hot path finds it.

use axum::http::{HeaderMap, Uri, header};
use doorward_domain::credential::PlainToken;

use crate::{basic::scheme, error::ApiError};

/// What a request carries.
#[derive(Default)]
pub enum Presented {
    /// No token.
    #[default]
    Nothing,
    /// One token, perhaps in several places.
    One(PlainToken),
    /// Something that cannot be a token, perhaps in several places.
    NoToken(Vec<u8>),
    /// Different tokens, or more than one `Authorization`.
    Several,
}

impl Presented {
    /// Looks into the `Authorization` header.
    #[must_use]
    pub fn in_authorization(self, headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => self,
            (Some(value), None) => match scheme(value.as_bytes(), "bearer") {
                Some(token) => self.found(token),
                None => self,
            },
            (Some(_), Some(_)) => Self::Several,
        }
    }

    /// Looks into the query of the request's own address.
    #[must_use]
    pub fn in_query(self, uri: &Uri) -> Self {
        self.in_query_text(uri.query().unwrap_or_default().as_bytes())
    }

    /// Looks into the addresses in which proxies name the request that they ask about.
    #[must_use]
    pub fn in_forwarded_query(self, headers: &HeaderMap) -> Self {
        let mut presented = self;
        for name in ["x-forwarded-uri", "x-original-uri"] {
            for value in headers.get_all(name) {
                presented = presented.in_address(value.as_bytes());
            }
        }
        presented
    }

    /// Looks into the query of an address, whole or without its beginning.
    #[must_use]
    pub fn in_address(self, address: &[u8]) -> Self {
        self.in_query_text(query_of(address))
    }

    fn in_query_text(self, query: &[u8]) -> Self {
        let named = form_urlencoded::parse(query).filter(|(name, _)| name == "token");
        named.fold(self, |presented, (_, token)| presented.found(token.as_bytes()))
    }

    /// Adds a token found elsewhere; an empty one is none.
    #[must_use]
    pub fn found(self, text: &[u8]) -> Self {
        if text.is_empty() {
            return self;
        }
        match (self, PlainToken::parse(text)) {
            (Self::Nothing, Some(token)) => Self::One(token),
            (Self::Nothing, None) => Self::NoToken(text.to_owned()),
            (Self::One(known), Some(token)) if known == token => Self::One(known),
            (Self::NoToken(known), None) if known == text => Self::NoToken(known),
            (Self::One(_) | Self::NoToken(_) | Self::Several, _) => Self::Several,
        }
    }

    /// The one token, or how the request is answered without it.
    pub fn one(self) -> Result<PlainToken, ApiError> {
        match self {
            Self::One(token) => Ok(token),
            Self::Nothing => {
                Err(ApiError::MissingParameter("token".into(), "send it as 'Authorization: Bearer TOKEN'"))
            }
            Self::NoToken(_) => Err(ApiError::InvalidToken),
            Self::Several => Err(ApiError::InvalidParameter(
                "token".into(),
                "is given more than once, and not the same; send it once".into(),
            )),
        }
    }
}

/// The query of an address, whole or without its beginning.
pub fn query_of(address: &[u8]) -> &[u8] {
    let address = address.split(|b| *b == b'#').next().unwrap_or_default();
    address.iter().position(|b| *b == b'?').map_or(&[], |start| &address[start + 1..])
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const A: &str = "4AD9C84FA60F9FE407140E20F707726A";
    const B: &str = "00000000000000000000000000000000";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(*name, HeaderValue::from_str(value).unwrap());
            map
        })
    }

    fn find(pairs: &[(&'static str, &str)], uri: &str) -> Result<String, &'static str> {
        let headers = headers(pairs);
        Presented::default()
            .in_authorization(&headers)
            .in_forwarded_query(&headers)
            .in_query(&uri.parse().unwrap())
            .one()
            .map(|token| token.expose().to_owned())
            .map_err(|error| error.code().0)
    }

    #[test]
    fn finds_the_token_wherever_it_is() {
        let bearer = format!("Bearer {A}");
        for (pairs, uri) in [
            (vec![("authorization", bearer.as_str())], "/"),
            (vec![("authorization", &format!("bEARER   {A}"))], "/"),
            (vec![], &*format!("/?token={A}")),
            (vec![], &*format!("/?x=1&token={A}&y=2")),
            (vec![("x-forwarded-uri", &*format!("/orders?token={A}#top"))], "/"),
            (vec![("x-original-uri", &*format!("https://api.example/orders?a=b&token={A}"))], "/"),
            (
                vec![("authorization", &bearer), ("x-original-uri", &*format!("/?token={A}"))],
                &*format!("/?token={A}"),
            ),
            (vec![("authorization", "Basic YTo="), ("x-original-uri", &*format!("/?token={A}"))], "/?token="),
        ] {
            assert_eq!(find(&pairs, uri), Ok(A.to_owned()), "{pairs:?} {uri}");
        }
    }

    #[test]
    fn refuses_two_different_tokens_and_what_is_none() {
        assert_eq!(find(&[], "/"), Err("MISSING_PARAMETER"));
        assert_eq!(find(&[("authorization", "Basic YTo=")], "/"), Err("MISSING_PARAMETER"));
        assert_eq!(
            find(&[("authorization", &format!("Bearer {}", A.to_lowercase()))], "/"),
            Err("INVALID_TOKEN")
        );
        assert_eq!(
            find(&[("authorization", &format!("Bearer {A}"))], &format!("/?token={B}")),
            Err("INVALID_PARAMETER")
        );
        assert_eq!(find(&[], &format!("/?token={A}&token={B}")), Err("INVALID_PARAMETER"));
        assert_eq!(find(&[], &format!("/?token={A}&token=x")), Err("INVALID_PARAMETER"));
        assert_eq!(find(&[], "/?token=x&token=x"), Err("INVALID_TOKEN"));
        assert_eq!(find(&[], "/?token=x&token=y"), Err("INVALID_PARAMETER"));
        let bearer = format!("Bearer {A}");
        assert_eq!(
            find(&[("authorization", &bearer), ("authorization", &bearer)], "/"),
            Err("INVALID_PARAMETER"),
            "h4"
        );
    }

    proptest! {
        #[test]
        fn t2_only_the_exact_text_passes(text in "[0-9A-Fa-f]{30,34}|\\PC{0,40}") {
            let found = Presented::default().found(text.as_bytes()).one().map(|token| token.expose().to_owned());
            let is_token = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
            prop_assert_eq!(found.ok(), is_token.then_some(text));
        }
    }
}
