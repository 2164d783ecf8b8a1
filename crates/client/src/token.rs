//! A token, as its holder has it.

use std::{fmt, str::FromStr, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// A token. Its text is shown by [`expose`](Self::expose) only; clones are cheap.
#[derive(Clone)]
pub struct Token(Arc<SecretString>);

/// The text cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this cannot be a token: a token is 1 to {} letters, digits and signs of `-._~+/=`",
    Token::MAX_BYTES
)]
pub struct NotAToken;

impl Token {
    /// The longest text that is taken for a token.
    pub const MAX_BYTES: usize = 1024;

    /// The text, to be sent as `Authorization: Bearer TEXT`. Keep it out of logs and addresses.
    ///
    /// ```
    /// let token: doorward_client::Token = "4AD9C84FA60F9FE407140E20F707726A".parse()?;
    /// assert_eq!(token.expose(), "4AD9C84FA60F9FE407140E20F707726A");
    /// assert_eq!(format!("{token:?}"), "Token([redacted])");
    /// # Ok::<(), doorward_client::NotAToken>(())
    /// ```
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    /// Takes what RFC 6750 lets a bearer token be; whether it is one of Doorward's is for Doorward to say.
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(may_be) {
            return Err(NotAToken);
        }
        Ok(Self(Arc::new(text.into())))
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_end_a_header_is_a_token() {
        for text in ["", " ", "A B", "A\r\nX: y", "ä", "A\0", &"A".repeat(Token::MAX_BYTES + 1)] {
            assert_eq!(text.parse::<Token>(), Err(NotAToken), "{text:?}");
        }
        assert!("4AD9C84FA60F9FE407140E20F707726A".parse::<Token>().is_ok());
    }
}
