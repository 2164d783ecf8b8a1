//! Why a configuration is refused. Each text is one line that names the key, where it was set and the remedy.

use std::error::Error;
use std::io;

use ::config::{Value, ValueKind};
use doorward_domain::address::InvalidNetwork;

use super::keys::{KEYS, Key, without_password};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A key that is not in the table, in whatever spelling its layer has.
    #[error("{origin}: unknown key `{key}`; {remedy}")]
    UnknownKey { origin: String, key: String, remedy: String },

    /// A value of the wrong type or out of range.
    #[error("{origin}: `{key}` is {value}, but it must be {accepted} ({meaning})")]
    Value { origin: String, key: &'static str, value: String, accepted: String, meaning: &'static str },

    /// A list with something in it that is no network.
    #[error("{origin}: in `{key}`, '{network}' {reason} ({meaning})")]
    Network {
        origin: String,
        key: &'static str,
        network: String,
        reason: InvalidNetwork,
        meaning: &'static str,
    },

    /// The value of an environment variable that is not text.
    #[error("{variable}: the value is not valid UTF-8; set it again or remove the variable")]
    NotUtf8 { variable: String },

    /// One half of the TLS pair without the other.
    #[error("`{missing}` is missing beside {set}; set both for TLS or neither for plain HTTP")]
    HalfTls { missing: &'static str, set: String },

    /// Two durations in the wrong order.
    #[error("{longer} is less than {shorter}; raise the first or lower the second")]
    Order { longer: String, shorter: String },

    /// A lease that does not outlast what must happen within it.
    #[error(
        "{longer} is too short for {shorter}: a lease must be longer than two heartbeats and than the interval of polls; \
         raise the first or lower the second"
    )]
    Lease { longer: String, shorter: String },

    /// A file that was asked for and is missing, or one that cannot be read.
    #[error(
        "{file}: cannot read the file: {reason}; mend it or name another by `--config` or DOORWARD_CONFIG"
    )]
    Unreadable { file: String, reason: io::Error },

    /// A file that is not TOML.
    #[error("{file}: not valid TOML: {reason}")]
    NotToml { file: String, reason: String },
}

impl ConfigError {
    /// `spelling` says how the layer at fault spells keys, so that the remedy can be copied.
    pub(super) fn unknown_key(origin: &str, written: &str, spelling: fn(&Key) -> String) -> Self {
        // Found by trial: typing errors and missing halves of words lie above, words of another meaning below.
        const NEAR: f64 = 0.9;
        let near = KEYS
            .iter()
            .map(|key| (strsim::jaro_winkler(&bare(written), key.name), key))
            .filter(|(nearness, _)| *nearness >= NEAR)
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        let remedy = match near {
            Some((_, key)) => format!("did you mean `{}`?", spelling(key)),
            None => "`doorward config show` lists the keys".to_owned(),
        };
        Self::UnknownKey { origin: origin.to_owned(), key: one_line(written), remedy }
    }

    pub(super) fn network(key: &Key, list: &Value, network: &str, reason: InvalidNetwork) -> Self {
        Self::Network {
            origin: list.origin().unwrap_or_default().to_owned(),
            key: key.name,
            network: one_line(network),
            reason,
            meaning: key.meaning,
        }
    }

    pub(super) fn value(key: &Key, value: &Value) -> Self {
        Self::Value {
            origin: value.origin().unwrap_or_default().to_owned(),
            key: key.name,
            value: match &value.kind {
                ValueKind::String(text) => format!("{:?}", without_password(text)),
                _ => as_toml(value),
            },
            accepted: format!("{}, such as {}", key.kind, as_toml(&key.example_value())),
            meaning: key.meaning,
        }
    }

    /// `error` draws the place with the offending line and a marker below it; what is kept is where and why.
    pub(super) fn not_toml(file: &str, error: &dyn Error) -> Self {
        let text = error.to_string();
        let reason = text
            .lines()
            .filter(|line| {
                !line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|')
            })
            .map(|line| line.trim_start_matches("TOML parse error at "))
            .collect::<Vec<_>>()
            .join(": ");
        Self::NotToml { file: file.to_owned(), reason: one_line(&reason) }
    }
}

/// The key a text is likely to mean, whichever layer's spelling it has.
fn bare(written: &str) -> String {
    written.trim_start_matches("DOORWARD_").to_lowercase().replace("__", ".")
}

/// A value as the file would have it, as far as one line holds it.
pub(super) fn as_toml(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(elements) => {
            format!("[{}]", elements.iter().map(as_toml).collect::<Vec<_>>().join(", "))
        }
        kind => kind.to_string(),
    }
}

/// A name from outside, fit for an error of one line.
pub(super) fn one_line(name: &str) -> String {
    name.replace(char::is_control, "\u{fffd}")
}
