//! Chains of stored audit records: each record carries the digest of the one before it.
//!
//! There is one chain for each organisation, and one for records that no organisation can be named for. The numbers of
//! a chain have no gaps. The store keeps the digest of the last record of each chain, and of the last one that was
//! removed because its time was over, so that a chain which was cut off at either end is found too.
//!
//! The digests are no signatures. Who can write to the database can compute all of them anew, so operators note the last
//! digest in another place from time to time, and compare ([`ChainCheck::passes`]).

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::{
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
};

/// The SHA-256 of a record and, through what it carries, of all records before it. Shown in evidence, so no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainDigest([u8; 32]);

impl ChainDigest {
    /// What the first record of a chain carries.
    pub const BEGINNING: Self = Self([0; 32]);

    /// The digest with these bytes, as storage keeps it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for ChainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainDigest({self})")
    }
}

/// The text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for ChainDigest {
    type Err = InvalidDigest;

    /// Reads 64 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// A record of a chain, by its number and its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number; 0 for the beginning, before all records.
    pub number: u64,
    /// Its digest.
    pub digest: ChainDigest,
}

impl Link {
    /// Before the first record.
    pub const BEGINNING: Self = Self { number: 0, digest: ChainDigest::BEGINNING };
}

/// What a store keeps of a chain beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whose it is; `None` for records that no organisation can be named for.
    pub organisation: Option<OrganisationId>,
    /// The last record that was removed because its time was over.
    pub removed: Link,
    /// The last record.
    pub last: Link,
}

/// An audit record as it is stored.
///
/// Words and addresses are texts here, as they were written: by this version or another, and to be digested as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The organisation, and with it the chain.
    pub organisation: Option<OrganisationId>,
    /// Its number in the chain, from 1.
    pub number: u64,
    /// The digest of the record before it.
    pub previous: ChainDigest,
    /// When it happened, or when the record before it did if that is later: what waited is recorded late.
    pub at: Timestamp,
    /// What happened: the word of an [`Event`](super::Event).
    pub event: String,
    /// Why it ended as it did: the word of a [`Reason`](super::Reason).
    pub reason: String,
    /// The client's address; `None` for what the operator did on the machine itself.
    pub address: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// The unit, as far as it was known.
    pub unit: Option<UnitId>,
    /// The user, as far as it was known.
    pub user: Option<UserId>,
    /// The Web API key, as far as it was known.
    pub key: Option<KeyId>,
    /// The organisation code as it was given, where no organisation has it; whatever a caller sent, line breaks too.
    pub claimed: Option<String>,
    /// Who did it, where that is somebody else than whom it was done to.
    pub actor: Option<UserId>,
    /// The session, where it is about one.
    pub session: Option<SessionId>,
    /// The names of the members that were changed, with commas between them.
    pub members: Option<String>,
}

impl StoredRecord {
    /// The digest of this record, which the next one carries: SHA-256 over the digest that this one carries, then over
    /// each member as text, its length before it in four bytes, the highest first; four bytes of ones stand for a member
    /// that is absent. `docs/audit.md` tells others how to compute it.
    pub fn digest(&self) -> ChainDigest {
        let mut digest = Sha256::new_with_prefix(self.previous.0);
        let mut add = |member: Option<&[u8]>| match member {
            // No member is as long as that.
            Some(bytes) => {
                digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1).to_be_bytes());
                digest.update(bytes);
            }
            None => digest.update(u32::MAX.to_be_bytes()),
        };
        fn text(member: &Option<String>) -> Option<&[u8]> {
            member.as_deref().map(str::as_bytes)
        }
        fn id(digits: &Option<[u8; 32]>) -> Option<&[u8]> {
            digits.as_ref().map(<[u8; 32]>::as_slice)
        }
        add(id(&self.organisation.map(OrganisationId::to_hex)));
        add(Some(self.number.to_string().as_bytes()));
        add(Some(self.at.as_millis().to_string().as_bytes()));
        add(Some(self.event.as_bytes()));
        add(Some(self.reason.as_bytes()));
        add(text(&self.address));
        add(Some(self.request_id.as_bytes()));
        add(id(&self.unit.map(UnitId::to_hex)));
        add(id(&self.user.map(UserId::to_hex)));
        add(id(&self.key.map(KeyId::to_hex)));
        add(text(&self.claimed));
        add(id(&self.actor.map(UserId::to_hex)));
        add(id(&self.session.map(SessionId::to_hex)));
        add(text(&self.members));
        ChainDigest(digest.finalize().into())
    }

    /// This record, as the next one carries it.
    pub fn link(&self) -> Link {
        Link { number: self.number, digest: self.digest() }
    }
}

/// Where a chain is broken. The texts complete "the records of the organisation: ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Records are not there.
    #[error("{}", missing(*.from, *.to))]
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A record stands behind one with a higher number, or there are two of a number.
    #[error("record {number} is in the wrong place")]
    Misplaced {
        /// Its number.
        number: u64,
    },
    /// A record does not carry the digest of the one before it.
    #[error("record {} or {number} was altered: the one does not carry the digest of the other", number - 1)]
    Altered {
        /// Its number.
        number: u64,
    },
    /// The last record is not the one that was written last.
    #[error("record {number}, the last one, was altered: its digest is not the one that was noted for it")]
    LastAltered {
        /// Its number.
        number: u64,
    },
    /// There are records behind the one that was written last.
    #[error("there are records behind {number}, which was written last")]
    TooMany {
        /// The number of the last record.
        number: u64,
    },
    /// A record is not the one that somebody noted.
    #[error("record {number} was altered, or one before it: its digest is {found}, and {noted} was noted")]
    NotAsNoted {
        /// Its number.
        number: u64,
        /// The digest that it has.
        found: ChainDigest,
        /// The digest that was noted.
        noted: ChainDigest,
    },
    /// A record that somebody noted is not kept any more, so that it cannot be compared.
    #[error(
        "record {number} was noted, and neither it nor the one behind it is kept; if the note is younger than \
         `audit.retention`, somebody removed them, otherwise note the last records again"
    )]
    NotKept {
        /// Its number.
        number: u64,
    },
    /// A record belongs to another chain.
    #[error("record {number} is another organisation's")]
    Foreign {
        /// Its number.
        number: u64,
    },
}

fn missing(from: u64, to: u64) -> String {
    if from == to {
        format!("record {from} is missing")
    } else {
        format!("records {from} to {to} are missing")
    }
}

/// Checks a chain record by record.
#[derive(Clone, Debug)]
pub struct ChainCheck {
    organisation: Option<OrganisationId>,
    begin: Link,
    at: Link,
    noted: Vec<Link>,
}

impl ChainCheck {
    /// Begins behind a record: [`Chain::removed`], or [`Link::BEGINNING`].
    pub fn begin(organisation: Option<OrganisationId>, behind: Link) -> Self {
        Self { organisation, begin: behind, at: behind, noted: Vec::new() }
    }

    /// Has the chain pass through a record that was noted elsewhere. One that is not kept any more breaks it: who can write
    /// to the database can say that it was removed by age.
    #[must_use]
    pub fn passes(mut self, noted: Link) -> Self {
        self.noted.push(noted);
        self
    }

    /// Where the check stands: the record that was looked at last.
    pub fn at(&self) -> Link {
        self.at
    }

    /// Looks at the next record.
    pub fn next(&mut self, record: &StoredRecord) -> Result<(), Broken> {
        let (number, expected) = (record.number, self.at.number + 1);
        if record.organisation != self.organisation {
            return Err(Broken::Foreign { number });
        }
        if number > expected {
            return Err(Broken::Missing { from: expected, to: number - 1 });
        }
        if number < expected {
            return Err(Broken::Misplaced { number });
        }
        if record.previous != self.at.digest {
            return Err(Broken::Altered { number });
        }
        let found = record.digest();
        if let Some(noted) = self.noted.iter().find(|noted| noted.number == number && noted.digest != found) {
            return Err(Broken::NotAsNoted { number, found, noted: noted.digest });
        }
        self.at = Link { number, digest: found };
        Ok(())
    }

    /// Ends at the record that was written last.
    pub fn finish(self, last: Link) -> Result<(), Broken> {
        let Link { number, digest } = self.at;
        if number < last.number {
            return Err(Broken::Missing { from: number + 1, to: last.number });
        }
        if number > last.number {
            return Err(Broken::TooMany { number: last.number });
        }
        if digest != last.digest {
            return Err(Broken::LastAltered { number });
        }
        let Link { number: begin, digest: found } = self.begin;
        for Link { number: noted, digest } in self.noted {
            if noted > number {
                return Err(Broken::Missing { from: number + 1, to: noted });
            }
            if noted < begin {
                return Err(Broken::NotKept { number: noted });
            }
            if noted == begin && digest != found {
                return Err(Broken::NotAsNoted { number: noted, found, noted: digest });
            }
        }
        Ok(())
    }
}

/// Which records of a chain to list.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// The word of their event.
    pub event: Option<&'static str>,
    /// The word of their reason.
    pub reason: Option<&'static str>,
    /// Whether only what failed is meant: whose reason is not `ok`.
    pub failed: Option<bool>,
    /// They are about this user, or done by them.
    pub user: Option<UserId>,
    /// They are about this Web API key.
    pub key: Option<KeyId>,
    /// They are about this unit.
    pub unit: Option<UnitId>,
    /// They are about this session.
    pub session: Option<SessionId>,
    /// They came from this address.
    pub address: Option<std::net::IpAddr>,
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// The oldest first; the newest first otherwise.
    pub oldest_first: bool,
}

impl RecordFilter {
    /// Whether a record is meant.
    pub fn admits(&self, record: &StoredRecord) -> bool {
        let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        is(self.event, &record.event)
            && is(self.reason, &record.reason)
            && self.failed.is_none_or(|failed| failed == (record.reason != "ok"))
            && self.user.is_none_or(|user| record.user == Some(user) || record.actor == Some(user))
            && self.key.is_none_or(|key| record.key == Some(key))
            && self.unit.is_none_or(|unit| record.unit == Some(unit))
            && self.session.is_none_or(|session| record.session == Some(session))
            && self.address.is_none_or(|address| {
                record.address.as_deref().and_then(|text| text.parse().ok()) == Some(address)
            })
            && self.from.is_none_or(|from| record.at >= from)
            && self.until.is_none_or(|until| record.at < until)
    }
}

#[cfg(test)]
mod tests;
