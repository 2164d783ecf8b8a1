//! What a proxy is configured to demand at a route, and whether its question is a use of the token: in the query of its
//! own request to `/verify`, and in headers that it sets.
//!
//! Demands only add up, so a client that sends some of its own shuts out nobody but itself. A proxy may have joined the
//! client's header and its own with a comma, as HTTP permits, so that one value holds several; a comma in a name is
//! written `%2C`.

use axum::http::{HeaderMap, Uri};
use doorward_domain::requirement::{BadDemand, Demands, Requirements};

/// What begins the names of demands in a query.
const IN_QUERY: &str = "require_";

/// Reads what is demanded. `is_own_query`: the query is the proxy's own, not that of a client's request.
pub fn read(headers: &HeaderMap, uri: &Uri, is_own_query: bool) -> Result<Requirements, BadDemand> {
    let mut requirements = in_headers(headers)?;
    if is_own_query {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let demands =
            pairs.filter_map(|(name, value)| Some((name.strip_prefix(IN_QUERY)?.to_owned(), value)));
        requirements.and(Demands::read(demands)?);
    }
    Ok(requirements)
}

/// Reads what is demanded in headers.
pub fn in_headers(headers: &HeaderMap) -> Result<Requirements, BadDemand> {
    let mut requirements = Requirements::default();
    for value in headers.get_all("x-auth-require") {
        for value in value.as_bytes().split(|byte| *byte == b',') {
            requirements.and(Demands::read(form_urlencoded::parse(value.trim_ascii()))?);
        }
    }
    Ok(requirements)
}

/// Whether headers say that a question is no use of the token.
pub fn is_peek(headers: &HeaderMap) -> bool {
    headers.get_all("x-auth-touch").iter().any(|value| is_no(value.as_bytes()))
}

fn is_no(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"false")
}

/// Whether a question is a use of the token; it is unless somebody says that it is not.
pub fn is_use(headers: &HeaderMap, uri: &Uri, is_own_query: bool) -> bool {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let is_peek_by_query =
        is_own_query && pairs.any(|(name, value)| name == "touch" && is_no(value.as_bytes()));
    !is_peek_by_query && !is_peek(headers)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = values.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn demands_are_read_where_proxies_write_them() {
        let read = |values: &[_], uri: &str, own| read(&headers(values), &uri.parse().unwrap(), own);
        assert!(read(&[], "/verify", true).unwrap().is_none());
        assert!(read(&[], "/verify?token=x&require=y", true).unwrap().is_none(), "no demand's name");
        assert!(!read(&[], "/verify?require_unit=Back+Office", true).unwrap().is_none());
        assert!(
            !read(&[("x-auth-require", "unit=Back%20Office&role=member")], "/verify", true)
                .unwrap()
                .is_none()
        );
        // A client's own parameters are its own affair.
        assert!(read(&[], "/verify/at/orders?require_colour=red", false).unwrap().is_none());
        assert!(read(&[], "/verify?require_colour=red", true).is_err());
        assert!(
            read(&[("x-auth-require", "unit=a"), ("x-auth-require", "colour=red")], "/verify", true).is_err()
        );
    }

    /// F3: nor can a client swallow the proxy's demand where the two headers were joined.
    #[test]
    fn f3_headers_joined_by_a_comma_are_each_demanded() {
        let read = |value| in_headers(&headers(&[("x-auth-require", value)]));
        let both =
            in_headers(&headers(&[("x-auth-require", "unit=x"), ("x-auth-require", "organisation=A")]));
        assert_eq!(read("unit=x,organisation=A"), both);
        assert_eq!(read(" unit=x , organisation=A,"), both);
        assert_ne!(read("unit=x%2Corganisation=A"), both, "a comma in a name");
        assert!(read("unit=x,A").is_err());
    }

    #[test]
    fn a_question_is_a_use_unless_it_says_that_it_is_not() {
        let is_use = |values: &[_], uri: &str, own| is_use(&headers(values), &uri.parse().unwrap(), own);
        assert!(
            is_use(&[], "/verify?touch=true", true) && is_use(&[("x-auth-touch", "yes")], "/verify", true)
        );
        assert!(
            !is_use(&[], "/verify?touch=false", true)
                && !is_use(&[("x-auth-touch", "False")], "/verify", true)
        );
        assert!(is_use(&[], "/verify/at/orders?touch=false", false), "the client's own parameter");
    }
}
