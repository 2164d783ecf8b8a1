//! Identifiers: one type per kind, 128 bits, written as 32 upper-case hexadecimal digits as CRM.COM writes them.

use std::{fmt, str::FromStr};

use crate::{
    clock::Timestamp,
    hex::{self, upper_hex},
    random::NoRandomness,
    random::Randomness,
};

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// A new id; ids made later sort later (UUID version 7).
            pub fn generate(now: Timestamp, random: &dyn Randomness) -> Result<Self, NoRandomness> {
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random.bytes()?);
                Ok(Self(uuid.into_uuid().as_u128()))
            }

            /// The id with these bytes, as storage keeps it.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }

            /// The bytes to store.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The text, without the cost of formatting: 32 upper-case hexadecimal digits.
            pub fn to_hex(self) -> [u8; 32] {
                upper_hex(self.to_bytes())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads 32 hexadecimal digits of either case.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                hex::read(text).map(Self::from_bytes).ok_or(InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032X}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id! {
    /// An organisation (tenant).
    OrganisationId
}
id! {
    /// A unit (team) of an organisation.
    UnitId
}
id! {
    /// A user of an organisation.
    UserId
}
id! {
    /// A Web API key of a user. Not the key's secret: the id may be shown and logged.
    KeyId
}

id! {
    /// A session: the first half of its token's digest, which is as hard to hit as the token is to guess and says
    /// nothing of it. It may be shown and logged.
    SessionId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_either_case_and_writes_upper() {
        let id: UnitId = "ee63a82c4febe02ff34e90dd1eba5abe".parse().unwrap();
        assert_eq!(id.to_string(), "EE63A82C4FEBE02FF34E90DD1EBA5ABE");
        assert_eq!(UnitId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn refuses_what_is_not_32_digits() {
        for bad in [
            "",
            "EE63",
            "+E63A82C4FEBE02FF34E90DD1EBA5ABE",
            "ÉE63A82C4FEBE02FF34E90DD1EBA5AB",
            "EE63A82C4FEBE02FF34E90DD1EBA5ABEE",
        ] {
            assert_eq!(bad.parse::<UnitId>(), Err(InvalidId), "{bad:?}");
        }
    }
}
