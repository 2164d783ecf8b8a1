//! Columns as what they mean. What is stored otherwise than it was written is an error that names the column, no panic.

use std::{error::Error as StdError, net::IpAddr};

use doorward_domain::{
    address::Network,
    audit::chain::ChainDigest,
    clock::Timestamp,
    directory::{Role, Status},
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    name::Name,
    resource::{Classification, Revision, Stored},
    session::SessionNumber,
};
use tokio_postgres::{
    Error, Row,
    types::{FromSql, Type},
};

use crate::words;

type Parsed<T> = Result<T, Box<dyn StdError + Sync + Send>>;

/// A value read from a column of one of PostgreSQL's types.
pub(super) struct Column<T>(pub(super) T);

/// What a column can be read as.
pub(super) trait Read<'a>: Sized {
    /// What PostgreSQL has.
    type Raw: FromSql<'a>;

    fn read(raw: Self::Raw) -> Parsed<Self>;
}

impl<'a, T: Read<'a>> FromSql<'a> for Column<T> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Parsed<Self> {
        T::read(T::Raw::from_sql(kind, raw)?).map(Self)
    }

    fn accepts(kind: &Type) -> bool {
        T::Raw::accepts(kind)
    }
}

/// A text that is kept in bytes, because it may have the character zero.
pub(super) struct Claimed(pub(super) String);

macro_rules! columns {
    ($($read:ty: $raw:ty, |$value:ident| $made:expr;)*) => {
        $(
            impl<'a> Read<'a> for $read {
                type Raw = $raw;

                fn read($value: $raw) -> Parsed<Self> {
                    Ok($made)
                }
            }
        )*
    };
}

columns! {
    [u8; 16]: &'a [u8], |bytes| bytes.try_into()?;
    [u8; 32]: &'a [u8], |bytes| bytes.try_into()?;
    OrganisationId: &'a [u8], |bytes| Self::from_bytes(bytes.try_into()?);
    UnitId: &'a [u8], |bytes| Self::from_bytes(bytes.try_into()?);
    UserId: &'a [u8], |bytes| Self::from_bytes(bytes.try_into()?);
    KeyId: &'a [u8], |bytes| Self::from_bytes(bytes.try_into()?);
    SessionId: &'a [u8], |bytes| Self::from_bytes(bytes.try_into()?);
    ChainDigest: &'a [u8], |bytes| Self::from_bytes(bytes.try_into()?);
    String: String, |text| text;
    Claimed: &'a [u8], |bytes| Self(std::str::from_utf8(bytes)?.to_owned());
    bool: bool, |is_so| is_so;
    u32: i64, |number| number.try_into()?;
    u64: i64, |number| number.try_into()?;
    SessionNumber: i64, |number| Self(number.try_into()?);
    Revision: i64, |number| Self(number.try_into()?);
    Timestamp: i64, |millis| Self::from_millis(millis);
    Name: &'a str, |name| Self::new(name)?;
    Status: &'a str, |word| words::read_status(word);
    Role: &'a str, |word| words::read_role(word);
    Classification: &'a str, |word| words::read_classification(word);
    Vec<Network>: &'a str, |text| words::parse_networks(text)?;
    Option<IpAddr>: &'a str, |text| text.parse().ok();
}

/// Reads a column.
pub(super) fn get<'a, T: Read<'a>>(row: &'a Row, column: usize) -> Result<T, Error> {
    Ok(row.try_get::<_, Column<T>>(column)?.0)
}

/// Reads a column that may be NULL.
pub(super) fn find<'a, T: Read<'a>>(row: &'a Row, column: usize) -> Result<Option<T>, Error> {
    Ok(row.try_get::<_, Option<Column<T>>>(column)?.map(|column| column.0))
}

/// Reads an array; one of no items is NULL.
pub(super) fn list<'a, T: Read<'a>>(row: &'a Row, column: usize) -> Result<Vec<T>, Error> {
    let items = row.try_get::<_, Option<Vec<Column<T>>>>(column)?.unwrap_or_default();
    Ok(items.into_iter().map(|item| item.0).collect())
}

/// Reads an array whose items may be NULL.
pub(super) fn list_some<'a, T: Read<'a>>(row: &'a Row, column: usize) -> Result<Vec<Option<T>>, Error> {
    let items = row.try_get::<_, Option<Vec<Option<Column<T>>>>>(column)?.unwrap_or_default();
    Ok(items.into_iter().map(|item| item.map(|item| item.0)).collect())
}

/// Reads what all resources have from the columns that begin at `first`: revision, created_at, updated_at.
pub(super) fn stored<T>(row: &Row, first: usize, value: T) -> Result<Stored<T>, Error> {
    Ok(Stored {
        value,
        revision: get(row, first)?,
        created_at: get(row, first + 1)?,
        updated_at: get(row, first + 2)?,
    })
}
