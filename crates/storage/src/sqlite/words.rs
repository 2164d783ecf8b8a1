//! Reading what is kept as words.

use doorward_domain::{address::Network, name::Name};
use rusqlite::{Error, Result, Row, types::Type};

pub(super) use crate::words::{
    kind, networks, parse_networks, read_classification, read_kind, read_overrides, read_role, read_status,
    role, status,
};

pub(super) fn read_networks(row: &Row<'_>, column: usize) -> Result<Vec<Network>> {
    parse_networks(row.get_ref(column)?.as_str()?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A name was checked before it was stored.
pub(super) fn read_name(row: &Row<'_>, column: usize) -> Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
