//! The words by which databases keep what Rust keeps as enums. All databases keep the same.

use doorward_domain::{
    address::Network,
    directory::{Role, Status},
    resource::Classification,
    rules::{Overrides, Rule},
};

use crate::Kind;

pub(crate) const fn status(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
    }
}

/// Only the one word is active; the schema allows no third one, and a mistake must not open a door.
pub(crate) fn read_status(word: &str) -> Status {
    if word == status(Status::Active) { Status::Active } else { Status::Disabled }
}

pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Administrator => "administrator",
    }
}

/// Only the one word is an administrator's; the schema allows no third one, and a mistake must not give power.
pub(crate) fn read_role(word: &str) -> Role {
    if word == role(Role::Administrator) { Role::Administrator } else { Role::Member }
}

/// Only the one word is a system's; the schema allows no third one.
pub(crate) fn read_classification(word: &str) -> Classification {
    if word == Classification::SystemicKey.as_str() {
        Classification::SystemicKey
    } else {
        Classification::ConsumerApplicationKey
    }
}

/// Networks with commas between them.
pub(crate) fn networks(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The networks of such a text. One that cannot be read is an error: without it, more addresses might be allowed than
/// were.
pub(crate) fn parse_networks(text: &str) -> Result<Vec<Network>, <Network as std::str::FromStr>::Err> {
    text.split(',').filter(|text| !text.is_empty()).map(str::parse).collect()
}

pub(crate) const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Demo => "demo",
        Kind::Real => "real",
    }
}

/// The schema allows no third word.
pub(crate) fn read_kind(word: &str) -> Kind {
    if word == kind(Kind::Demo) { Kind::Demo } else { Kind::Real }
}

/// What an organisation overrides of the rules. What is stored by a newer version and unknown to this one is left out.
pub(crate) fn read_overrides(
    stored: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
) -> Overrides {
    let known = stored.into_iter().filter_map(|(rule, value)| {
        let rule = Rule::find(rule.as_ref())?;
        Some((rule, rule.read(value.as_ref()).ok()?))
    });
    known.collect()
}
