//! The path of a request in the one form in which it is compared with the routes and handed on (`security.md` F3).
//!
//! What a server behind could read as another path than the one that was compared is refused, not mended: encoded
//! slashes, segments of dots, doubled slashes, backslashes, path parameters, and what becomes one of these when it is
//! decoded twice. What means the same whoever reads it (`%41` and `A`) is brought into one form.

use std::fmt;

/// A path in its one form: printable ASCII, beginning with a slash, and meaning the same to every reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    form: String,
    decoded: String,
}

/// Why a path is refused, as the middle of a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(&'static str);

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Path {
    /// Brings a path into its one form.
    pub fn new(text: &str) -> Result<Self, Ambiguous> {
        let mut path = String::with_capacity(text.len());
        let mut bytes = text.bytes();
        if !text.starts_with('/') {
            return Err(Ambiguous("does not begin with '/'"));
        }
        while let Some(byte) = bytes.next() {
            match byte {
                b'%' => {
                    let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(hexadecimal));
                    let [Some(high), Some(low)] = digits else {
                        return Err(Ambiguous("has a '%' without two hexadecimal digits"));
                    };
                    match high * 16 + low {
                        b'/' | b'\\' => return Err(Ambiguous("has an encoded slash")),
                        b';' => return Err(Ambiguous("has an encoded ';'")),
                        0..=0x1f | 0x7f => return Err(Ambiguous("has an encoded control character")),
                        plain if is_unreserved(plain) => path.push(plain as char),
                        encoded => path.push_str(&format!("%{encoded:02X}")),
                    }
                }
                b'\\' => return Err(Ambiguous("has a backslash")),
                b';' => return Err(Ambiguous("has a ';'")),
                0..=0x20 | 0x7f.. => return Err(Ambiguous("has a character that must be percent-encoded")),
                plain => path.push(plain as char),
            }
        }
        let is_digit = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
        if path.match_indices("%25").any(|(place, sign)| {
            let mut behind = path.as_bytes()[place + sign.len()..].iter();
            is_digit(behind.next()) && is_digit(behind.next())
        }) {
            return Err(Ambiguous("is encoded twice"));
        }
        // In another encoding these could be anything, dots and slashes among it.
        let decoded = percent_encoding::percent_decode_str(&path)
            .decode_utf8()
            .map_err(|_| Ambiguous("is not UTF-8 when it is decoded"))?
            .into_owned();
        let last = path.matches('/').count() - 1;
        for (place, segment) in path[1..].split('/').enumerate() {
            if segment.is_empty() && place < last {
                return Err(Ambiguous("has doubled slashes"));
            }
            // Some servers cut these off: to them `/admin.` and `/admin%20` are `/admin`.
            if segment.ends_with('.') || segment.ends_with("%20") {
                return Err(Ambiguous(
                    "has a segment that is '.' or '..', or that ends with a dot or a space",
                ));
            }
        }
        Ok(Self { form: path, decoded })
    }

    /// The form in which it is handed on.
    pub fn as_str(&self) -> &str {
        &self.form
    }

    /// What readers make of it who decode it before they compare, as most do: `%3A` is `:` to them.
    pub fn decoded(&self) -> &str {
        &self.decoded
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986, section 2.3: what means the same encoded or not.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_form_for_what_means_the_same() {
        for (text, form) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/%61%2dB", "/a-B"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("/a%25b", "/a%25b"),
            ("/100%25", "/100%25"),
            ("/a%3ab", "/a%3Ab"),
            ("/.well-known/a.b", "/.well-known/a.b"),
            ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ] {
            assert_eq!(Path::new(text).unwrap().as_str(), form);
        }
    }

    #[test]
    fn f3_what_readers_may_read_differently_is_refused() {
        for text in [
            "",
            "a",
            "*",
            "//",
            "/a//b",
            "//a",
            "/a/../b",
            "/..",
            "/.",
            "/a/.",
            "/a/./b",
            "/%2e%2e/a",
            "/a/%2E./b",
            "/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/a;b",
            "/a/..;/b",
            "/a%3bb",
            "/a%00",
            "/a%0d%0ab",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%+1",
            "/%252e%252e/a",
            "/a%252fb",
            "/a%255cb",
            "/a.",
            "/a%20",
            "/a%20/b",
            "/a...",
            "/a%2500",
            "/a%253B",
            "/%2561dmin",
            "/a%25%32%65",
            "/public/%25252e%25252e/admin",
            "/public/%c0%ae%c0%ae/admin",
            "/a%ff",
            "/é",
            "/a b",
            "/a\u{7f}",
        ] {
            assert!(Path::new(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// A path in its form stays as it is, and nothing that could lead elsewhere is in it.
        #[test]
        fn f3_a_form_is_final(text in "/([a-zA-Z0-9._~%/;\\\\2eEfF5cC-]|%2[eEfF05]|%(25){1,3}|\\.\\.){0,12}") {
            if let Ok(path) = Path::new(&text) {
                prop_assert_eq!(Path::new(path.as_str()), Ok(path.clone()));
                let mut decoded = path.as_str().to_owned();
                for _ in 0..3 {
                    decoded = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
                    let once = decoded.clone();
                    prop_assert!(!once.split('/').any(|part| part == ".." || part == "."), "{} {}", text, once);
                    prop_assert!(!once.contains("//") && !once.contains('\\'), "{} {}", text, once);
                }
            }
        }
    }
}
