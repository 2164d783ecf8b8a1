//! The audit record: who did what, from where, with which outcome and for which true reason.
//!
//! Records are values with typed fields; nothing is pasted into a text, so nothing a caller sends can forge or split
//! a record (`security.md` S2). A record of a change is committed in the change's own transaction. Stored records form
//! chains, so that none can be altered or removed without a trace ([`chain`]).

pub mod chain;

use std::net::IpAddr;

use crate::{
    clock::Timestamp,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody tried to log in with a password.
    PasswordLogin,
    /// A program tried to log in with a Web API key.
    WebApiKeyLogin,
    /// A token was released.
    Release,
    /// An organisation, unit, user or key was created.
    Created,
    /// An organisation, unit, user or key was changed.
    Updated,
    /// An organisation, unit, user or key was deleted.
    Deleted,
    /// An organisation's rules were changed.
    RulesSet,
    /// An administrator set a password.
    PasswordSet,
    /// A user changed their own password, or tried to.
    PasswordChange,
    /// The lock of an account was lifted.
    Unlocked,
    /// A Web API key was given another secret.
    KeyRotated,
    /// Sessions were ended by an administrator.
    SessionsEnded,
    /// The data were restored from a backup, and all sessions ended.
    Restored,
    /// On the server's machine, a user was given a new password and whatever else they need to log in.
    Recovered,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 14] = [
        Self::PasswordLogin,
        Self::WebApiKeyLogin,
        Self::Release,
        Self::Created,
        Self::Updated,
        Self::Deleted,
        Self::RulesSet,
        Self::PasswordSet,
        Self::PasswordChange,
        Self::Unlocked,
        Self::KeyRotated,
        Self::SessionsEnded,
        Self::Restored,
        Self::Recovered,
    ];

    /// The stable word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordLogin => "password_login",
            Self::WebApiKeyLogin => "web_api_key_login",
            Self::Release => "release",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::RulesSet => "rules_set",
            Self::PasswordSet => "password_set",
            Self::PasswordChange => "password_change",
            Self::Unlocked => "unlocked",
            Self::KeyRotated => "key_rotated",
            Self::SessionsEnded => "sessions_ended",
            Self::Restored => "restored",
            Self::Recovered => "recovered",
        }
    }
}

/// The true reason of an outcome. Callers never see it; operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It succeeded.
    Ok,
    /// There is no organisation of that code.
    UnknownOrganisation,
    /// The organisation is suspended.
    OrganisationSuspended,
    /// The organisation has no user of that name.
    UnknownUser,
    /// The user is disabled.
    UserDisabled,
    /// The account is locked after too many failures.
    Locked,
    /// The password is wrong.
    WrongPassword,
    /// The user has no password, or what is stored cannot be read.
    NoUsablePassword,
    /// There is no such key.
    UnknownKey,
    /// The key is disabled.
    KeyDisabled,
    /// The key has expired.
    KeyExpired,
    /// The secret of the key was replaced by another, and its time is over.
    KeyRotatedOut,
    /// The organisation or the key is not to be used from this address.
    AddressDenied,
    /// The key may not introspect tokens.
    NotAVerifier,
    /// The new password is too weak.
    WeakPassword,
    /// The unit is not one of the user's, is disabled, or none was named and there is no default.
    InvalidUnit,
    /// The password must be changed first.
    PasswordChangeRequired,
    /// The account was changed while the login was under way.
    AccountChanged,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::Ok,
        Self::UnknownOrganisation,
        Self::OrganisationSuspended,
        Self::UnknownUser,
        Self::UserDisabled,
        Self::Locked,
        Self::WrongPassword,
        Self::NoUsablePassword,
        Self::UnknownKey,
        Self::KeyDisabled,
        Self::KeyExpired,
        Self::KeyRotatedOut,
        Self::AddressDenied,
        Self::NotAVerifier,
        Self::WeakPassword,
        Self::InvalidUnit,
        Self::PasswordChangeRequired,
        Self::AccountChanged,
    ];

    /// The stable word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UnknownOrganisation => "unknown_organisation",
            Self::OrganisationSuspended => "organisation_suspended",
            Self::UnknownUser => "unknown_user",
            Self::UserDisabled => "user_disabled",
            Self::Locked => "locked",
            Self::WrongPassword => "wrong_password",
            Self::NoUsablePassword => "no_usable_password",
            Self::UnknownKey => "unknown_key",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::KeyRotatedOut => "key_rotated_out",
            Self::AddressDenied => "address_denied",
            Self::NotAVerifier => "not_a_verifier",
            Self::WeakPassword => "weak_password",
            Self::InvalidUnit => "invalid_unit",
            Self::PasswordChangeRequired => "password_change_required",
            Self::AccountChanged => "account_changed",
        }
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address; `None` for what the operator does on the machine itself.
    pub address: Option<IpAddr>,
    /// The id of the request, as the answer's `X-Request-Id` shows it.
    pub request_id: String,
}

/// One audit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// Why it ended as it did.
    pub reason: Reason,
    /// From where.
    pub origin: Origin,
    /// The organisation, as far as it is known.
    pub organisation: Option<OrganisationId>,
    /// The unit, as far as it is known.
    pub unit: Option<UnitId>,
    /// The user, as far as it is known.
    pub user: Option<UserId>,
    /// The Web API key, as far as it is known.
    pub key: Option<KeyId>,
    /// Who did it, where that is somebody else than whom it was done to.
    pub actor: Option<UserId>,
    /// The session, where it is about one.
    pub session: Option<SessionId>,
    /// The names of the members that were changed.
    pub members: Vec<&'static str>,
    /// The organisation code as it was given, where no organisation has it. An unknown username is not kept: people
    /// type their password there.
    pub claimed: Option<String>,
}

impl AuditRecord {
    /// A record of an event with nothing known yet of who is behind it.
    pub fn new(at: Timestamp, event: Event, reason: Reason, origin: &Origin) -> Self {
        let origin = origin.clone();
        Self {
            at,
            event,
            reason,
            origin,
            organisation: None,
            unit: None,
            user: None,
            key: None,
            actor: None,
            session: None,
            members: Vec::new(),
            claimed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not in the list cannot be asked for. An event that is new does not compile here until it has a place.
    #[test]
    fn every_event_is_in_the_list() {
        let behind = |event: Event| match event {
            Event::PasswordLogin => Some(Event::WebApiKeyLogin),
            Event::WebApiKeyLogin => Some(Event::Release),
            Event::Release => Some(Event::Created),
            Event::Created => Some(Event::Updated),
            Event::Updated => Some(Event::Deleted),
            Event::Deleted => Some(Event::RulesSet),
            Event::RulesSet => Some(Event::PasswordSet),
            Event::PasswordSet => Some(Event::PasswordChange),
            Event::PasswordChange => Some(Event::Unlocked),
            Event::Unlocked => Some(Event::KeyRotated),
            Event::KeyRotated => Some(Event::SessionsEnded),
            Event::SessionsEnded => Some(Event::Restored),
            Event::Restored => Some(Event::Recovered),
            Event::Recovered => None,
        };
        let all: Vec<_> = std::iter::successors(Some(Event::PasswordLogin), |event| behind(*event)).collect();
        assert_eq!(all, Event::ALL);
    }
}
