//! Where a request carries its token.

use http::{HeaderMap, Request, Uri, header::AUTHORIZATION, uri::PathAndQuery};

use super::Refusal;
use crate::Token;

/// The one token of a request. A query parameter, where it is taken at all, is removed. Two different tokens in one
/// request, or two headers, are refused: whoever is behind might believe the other one.
pub(super) fn take<B>(request: &mut Request<B>, takes_query: bool) -> Result<Token, Refusal> {
    let mut found = in_header(request.headers())?;
    if takes_query {
        for text in remove_parameter(request.uri_mut())? {
            let token: Token = text.parse().map_err(|_| Refusal::InvalidToken)?;
            match &found {
                Some(known) if *known != token => return Err(Refusal::InvalidToken),
                _ => found = Some(token),
            }
        }
    }
    found.ok_or(Refusal::NoToken)
}

fn in_header(headers: &HeaderMap) -> Result<Option<Token>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.as_bytes(),
        (Some(_), Some(_)) => return Err(Refusal::InvalidToken),
    };
    let Some((scheme, token)) = value.split_at_checked("bearer ".len()) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Ok(None);
    }
    let token = std::str::from_utf8(token.trim_ascii()).ok().and_then(|token| token.parse().ok());
    token.map(Some).ok_or(Refusal::InvalidToken)
}

/// Takes the values of `token` out of an address; the rest of it stays as it was written.
fn remove_parameter(uri: &mut Uri) -> Result<Vec<String>, Refusal> {
    let mut values = Vec::new();
    let Some(query) = uri.query() else { return Ok(values) };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let named = form_urlencoded::parse(pair.as_bytes()).find(|(name, _)| name == "token");
            match named {
                Some((_, value)) => {
                    values.extend(Some(value.into_owned()).filter(|value| !value.is_empty()));
                    false
                }
                None => true,
            }
        })
        .collect();
    let path = uri.path();
    let path = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let mut parts = uri.clone().into_parts();
    // Part of an address that was read is an address; if not, nobody is let in.
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| Refusal::InvalidToken)?);
    *uri = Uri::from_parts(parts).map_err(|_| Refusal::InvalidToken)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "4AD9C84FA60F9FE407140E20F707726A";

    fn find(uri: &str, authorization: &[&str], takes_query: bool) -> (Result<String, Refusal>, String) {
        let builder = Request::builder().uri(uri);
        let builder =
            authorization.iter().fold(builder, |builder, value| builder.header(AUTHORIZATION, *value));
        let mut request = builder.body(()).unwrap();
        let found = take(&mut request, takes_query).map(|token| token.expose().to_owned());
        (found, request.uri().to_string())
    }

    #[test]
    fn h2_the_token_is_found_and_leaves_the_address() {
        let bearer = format!("Bearer {A}");
        for (uri, authorization, left) in [
            ("/orders?x=1", &[bearer.as_str()][..], "/orders?x=1"),
            ("/orders", &[&*format!("bEARER  {A} ")], "/orders"),
            (&*format!("/orders?token={A}"), &[], "/orders"),
            (&format!("/orders?a=%20b&token={A}&&c"), &[], "/orders?a=%20b&&c"),
            (&format!("/?%74oken={A}&token="), &["Basic eA=="], "/"),
            (&format!("http://api.example/?token={A}&token={A}"), &[&bearer], "http://api.example/"),
        ] {
            assert_eq!(find(uri, authorization, true), (Ok(A.to_owned()), left.to_owned()), "{uri}");
        }
    }

    #[test]
    fn f3_what_is_ambiguous_or_none_is_refused() {
        let (bearer, other) = (format!("Bearer {A}"), "0".repeat(32));
        for (uri, authorization, expected) in [
            ("/", &[][..], Refusal::NoToken),
            ("/", &["Basic eA=="], Refusal::NoToken),
            ("/", &["Bearer"], Refusal::NoToken),
            ("/", &["Bearer "], Refusal::InvalidToken),
            ("/", &["Bearer a b"], Refusal::InvalidToken),
            ("/", &[bearer.as_str(), bearer.as_str()], Refusal::InvalidToken),
            (&*format!("/?token={other}"), &[&bearer], Refusal::InvalidToken),
            (&format!("/?token={other}&token={A}"), &[], Refusal::InvalidToken),
            ("/?token=%0A", &[], Refusal::InvalidToken),
        ] {
            assert_eq!(find(uri, authorization, true).0, Err(expected), "{uri} {authorization:?}");
        }
        assert_eq!(find(&format!("/?token={A}"), &[], false).0, Err(Refusal::NoToken));
    }
}
