//! The words by which the database keeps what Rust keeps as enums.

use doorward_domain::directory::{Role, Status};

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
