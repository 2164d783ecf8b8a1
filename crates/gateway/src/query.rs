//! The parameter `token` of a query: read, and taken out so that every other byte stays.

use doorward_http::token_source::Presented;

/// Looks for tokens in a query.
pub fn find(query: &str, presented: Presented) -> Presented {
    let parameters = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "token");
    parameters.fold(presented, |presented, (_, value)| presented.found(value.as_bytes()))
}

/// The query without its parameters `token` whose value `goes`; `None` if nothing is left.
pub fn without_tokens(query: &str, goes: fn(&str) -> bool) -> Option<String> {
    let stays = |parameter: &&str| {
        let mut pairs = form_urlencoded::parse(parameter.as_bytes());
        !pairs.next().is_some_and(|(name, value)| name == "token" && goes(&value))
    };
    let rest: Vec<_> = query.split('&').filter(stays).collect();
    (rest != [""] && !rest.is_empty()).then(|| rest.join("&"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_parameter_goes() {
        for (query, rest) in [
            ("token=A", None),
            ("token", None),
            ("token=A&token=B", None),
            ("a=1&token=A&b=%2f+", Some("a=1&b=%2f+")),
            ("%74oken=A&x", Some("x")),
            ("&&token=A&a", Some("&&a")),
            ("Token=A&xtoken=B&token[]=C", Some("Token=A&xtoken=B&token[]=C")),
            ("", None),
        ] {
            assert_eq!(without_tokens(query, |_| true).as_deref(), rest, "{query}");
        }
    }

    proptest! {
        #[test]
        fn h2_no_token_is_left(query in "(token|%74oken|a|%|&|=|[A-F0-9]{1,3}|\\+){0,12}") {
            let rest = without_tokens(&query, |_| true).unwrap_or_default();
            prop_assert!(!form_urlencoded::parse(rest.as_bytes()).any(|(name, _)| name == "token"));
            let others = |query: &str| -> Vec<_> {
                let all = form_urlencoded::parse(query.as_bytes()).into_owned();
                all.filter(|(name, _)| name != "token").collect()
            };
            prop_assert_eq!(others(&rest), others(&query));
        }
    }
}
