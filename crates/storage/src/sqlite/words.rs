//! The words by which the database keeps what Rust keeps as enums.

use doorward_domain::{
    address::Network,
    directory::{Role, Status},
    name::Name,
    resource::Classification,
};
use rusqlite::{Error, Result, Row, types::Type};

use super::Kind;

pub(super) const fn status(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
    }
}

/// Only the one word is active; the schema allows no third one, and a mistake must not open a door.
pub(super) fn read_status(word: &str) -> Status {
    if word == status(Status::Active) { Status::Active } else { Status::Disabled }
}

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Administrator => "administrator",
    }
}

/// Only the one word is an administrator's; the schema allows no third one, and a mistake must not give power.
pub(super) fn read_role(word: &str) -> Role {
    if word == role(Role::Administrator) { Role::Administrator } else { Role::Member }
}

/// Only the one word is a system's; the schema allows no third one.
pub(super) fn read_classification(word: &str) -> Classification {
    if word == Classification::SystemicKey.as_str() {
        Classification::SystemicKey
    } else {
        Classification::ConsumerApplicationKey
    }
}

/// Networks with commas between them.
pub(super) fn networks(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// One that cannot be read is an error: without it, more addresses might be allowed than were.
pub(super) fn read_networks(row: &Row<'_>, column: usize) -> Result<Vec<Network>> {
    let text = row.get_ref(column)?.as_str()?;
    let networks = text.split(',').filter(|text| !text.is_empty()).map(str::parse);
    networks
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A name was checked before it was stored.
pub(super) fn read_name(row: &Row<'_>, column: usize) -> Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Demo => "demo",
        Kind::Real => "real",
    }
}

/// The schema allows no third word.
pub(super) fn read_kind(word: &str) -> Kind {
    if word == kind(Kind::Demo) { Kind::Demo } else { Kind::Real }
}
