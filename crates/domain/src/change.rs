//! Changes of the directory, each committed through the journal together with the endings that it causes.

use crate::{
    clock::Timestamp,
    directory::Status,
    id::{KeyId, OrganisationId, UnitId, UserId},
    passwords::PasswordHash,
    resource::{Key, NewSecret, Organisation, Revision, Unit, User},
    rules::Overrides,
    session::Scope,
};

/// A change. What is updated or deleted must be there, and be at the revision `expected` where one is given.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds an organisation.
    CreateOrganisation(Organisation),
    /// Replaces an organisation's members; whether it is the operator organisation stays as it is.
    UpdateOrganisation {
        /// Its new state.
        organisation: Organisation,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Deletes an organisation with all that belongs to it.
    DeleteOrganisation {
        /// Its id.
        id: OrganisationId,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Replaces all that an organisation overrides of the rules. Counts as a change of the organisation.
    SetRules {
        /// The organisation.
        organisation: OrganisationId,
        /// What it overrides from now on.
        overrides: Overrides,
        /// The organisation's revision before.
        expected: Option<Revision>,
    },
    /// Adds a unit to an organisation.
    CreateUnit {
        /// Its organisation.
        organisation: OrganisationId,
        /// The unit.
        unit: Unit,
    },
    /// Replaces a unit's members.
    UpdateUnit {
        /// Its organisation.
        organisation: OrganisationId,
        /// Its new state.
        unit: Unit,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Deletes a unit, unless it is somebody's default.
    DeleteUnit {
        /// Its organisation.
        organisation: OrganisationId,
        /// Its id.
        id: UnitId,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Adds a user to an organisation.
    CreateUser {
        /// The user's organisation.
        organisation: OrganisationId,
        /// The user.
        user: User,
        /// The password, if the user has one from the start.
        password: Option<NewPassword>,
    },
    /// Replaces a user's members.
    UpdateUser {
        /// The user's organisation.
        organisation: OrganisationId,
        /// The new state.
        user: User,
        /// The revision before.
        expected: Option<Revision>,
        /// Whether the user's sessions end: they must when a unit is taken away.
        ends_sessions: bool,
    },
    /// Deletes a user with their Web API keys.
    DeleteUser {
        /// The user's organisation.
        organisation: OrganisationId,
        /// The user's id.
        id: UserId,
        /// The revision before.
        expected: Option<Revision>,
    },
    /// Sets a password and ends the user's sessions.
    SetPassword {
        /// The user's organisation.
        organisation: OrganisationId,
        /// The user.
        user: UserId,
        /// The new password.
        password: NewPassword,
        /// The hash that it replaces; nothing happens if it is no longer the stored one.
        replaces: Option<PasswordHash>,
    },
    /// Adds a Web API key to a user.
    CreateKey {
        /// Its organisation.
        organisation: OrganisationId,
        /// The key.
        key: Key,
        /// Its secret.
        secret: NewSecret,
    },
    /// Replaces a key's members; its user stays.
    UpdateKey {
        /// Its organisation.
        organisation: OrganisationId,
        /// Its new state.
        key: Key,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Gives a key another secret.
    RotateKey {
        /// Its organisation.
        organisation: OrganisationId,
        /// Its user.
        user: UserId,
        /// The key.
        id: KeyId,
        /// The new secret.
        secret: NewSecret,
        /// Until when the secrets before it are accepted; if not at all, the key's sessions end too.
        overlap_until: Option<Timestamp>,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Deletes a key.
    DeleteKey {
        /// Its organisation.
        organisation: OrganisationId,
        /// Its user.
        user: UserId,
        /// Its id.
        id: KeyId,
        /// Its revision before.
        expected: Option<Revision>,
    },
    /// Ends all sessions of a scope and changes nothing else.
    EndSessions {
        /// The organisation that it belongs to.
        organisation: OrganisationId,
        /// Whose sessions end.
        scope: Scope,
    },
}

/// A password to be stored.
#[derive(Clone, Debug)]
pub struct NewPassword {
    /// Its hash.
    pub hash: PasswordHash,
    /// Whether it must be changed before it gives a token.
    pub must_change: bool,
}

impl Change {
    /// The sessions that this change ends.
    pub fn ends(&self) -> Option<Scope> {
        let is_disabled = |status: Status| status == Status::Disabled;
        match self {
            Self::UpdateOrganisation { organisation: Organisation { id, status, .. }, .. } => {
                is_disabled(*status).then_some(Scope::Organisation(*id))
            }
            Self::UpdateUnit { unit: Unit { id, status, .. }, .. } => {
                is_disabled(*status).then_some(Scope::Unit(*id))
            }
            Self::UpdateUser { user: User { id, status, .. }, ends_sessions, .. } => {
                (is_disabled(*status) || *ends_sessions).then_some(Scope::User(*id))
            }
            Self::UpdateKey { key: Key { id, user, status, .. }, .. } => {
                is_disabled(*status).then_some(Scope::Key(*user, *id))
            }
            Self::RotateKey { id, user, overlap_until, .. } => {
                overlap_until.is_none().then_some(Scope::Key(*user, *id))
            }
            Self::DeleteOrganisation { id, .. } => Some(Scope::Organisation(*id)),
            Self::DeleteUnit { id, .. } => Some(Scope::Unit(*id)),
            Self::DeleteUser { id, .. } => Some(Scope::User(*id)),
            Self::DeleteKey { user, id, .. } => Some(Scope::Key(*user, *id)),
            Self::SetPassword { user, .. } => Some(Scope::User(*user)),
            Self::EndSessions { scope, .. } => Some(*scope),
            Self::CreateOrganisation(_)
            | Self::SetRules { .. }
            | Self::CreateUnit { .. }
            | Self::CreateUser { .. }
            | Self::CreateKey { .. } => None,
        }
    }

    /// Why sessions end by this change, if any do.
    pub fn cause(&self) -> Option<EndCause> {
        self.ends()?;
        Some(match self {
            Self::UpdateOrganisation { .. } => EndCause::OrganisationSuspended,
            Self::UpdateUnit { .. } => EndCause::UnitDisabled,
            Self::UpdateUser { user, .. } if user.status == Status::Disabled => EndCause::UserDisabled,
            Self::UpdateUser { .. } => EndCause::UnitRemoved,
            Self::UpdateKey { .. } => EndCause::KeyDisabled,
            Self::RotateKey { .. } => EndCause::KeyRotated,
            Self::DeleteOrganisation { .. } => EndCause::OrganisationDeleted,
            Self::DeleteUnit { .. } => EndCause::UnitDeleted,
            Self::DeleteUser { .. } => EndCause::UserDeleted,
            Self::DeleteKey { .. } => EndCause::KeyDeleted,
            Self::SetPassword { replaces: Some(_), .. } => EndCause::PasswordChanged,
            Self::SetPassword { replaces: None, .. } => EndCause::PasswordSet,
            Self::EndSessions { .. } => EndCause::SessionsEnded,
            Self::CreateOrganisation(_)
            | Self::SetRules { .. }
            | Self::CreateUnit { .. }
            | Self::CreateUser { .. }
            | Self::CreateKey { .. } => return None,
        })
    }

    /// What has this name from now on, if it had another.
    pub fn renames(&self) -> Option<(OrganisationId, Scope, &str)> {
        match self {
            Self::UpdateOrganisation { organisation: Organisation { id, code, .. }, .. } => {
                Some((*id, Scope::Organisation(*id), code.as_str()))
            }
            Self::UpdateUnit { organisation, unit: Unit { id, name, .. }, .. } => {
                Some((*organisation, Scope::Unit(*id), name.as_str()))
            }
            Self::UpdateUser { organisation, user: User { id, username, .. }, .. } => {
                Some((*organisation, Scope::User(*id), username.as_str()))
            }
            _ => None,
        }
    }
}

/// Why all sessions of a scope were ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// The organisation was suspended.
    OrganisationSuspended,
    /// The organisation was deleted.
    OrganisationDeleted,
    /// The unit was disabled.
    UnitDisabled,
    /// The unit was deleted.
    UnitDeleted,
    /// A unit was taken from the user.
    UnitRemoved,
    /// The user was disabled.
    UserDisabled,
    /// The user was deleted.
    UserDeleted,
    /// The Web API key was disabled.
    KeyDisabled,
    /// The Web API key was given another secret with no overlap.
    KeyRotated,
    /// The Web API key was deleted.
    KeyDeleted,
    /// An administrator set the user's password.
    PasswordSet,
    /// The user changed the password.
    PasswordChanged,
    /// An administrator ended the sessions.
    SessionsEnded,
    /// The data were restored from a backup.
    Restored,
}

impl EndCause {
    /// Every cause.
    pub const ALL: [Self; 14] = [
        Self::OrganisationSuspended,
        Self::OrganisationDeleted,
        Self::UnitDisabled,
        Self::UnitDeleted,
        Self::UnitRemoved,
        Self::UserDisabled,
        Self::UserDeleted,
        Self::KeyDisabled,
        Self::KeyRotated,
        Self::KeyDeleted,
        Self::PasswordSet,
        Self::PasswordChanged,
        Self::SessionsEnded,
        Self::Restored,
    ];

    /// The stable word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrganisationSuspended => "organisation_suspended",
            Self::OrganisationDeleted => "organisation_deleted",
            Self::UnitDisabled => "unit_disabled",
            Self::UnitDeleted => "unit_deleted",
            Self::UnitRemoved => "unit_removed",
            Self::UserDisabled => "user_disabled",
            Self::UserDeleted => "user_deleted",
            Self::KeyDisabled => "key_disabled",
            Self::KeyRotated => "key_rotated",
            Self::KeyDeleted => "key_deleted",
            Self::PasswordSet => "password_set",
            Self::PasswordChanged => "password_changed",
            Self::SessionsEnded => "sessions_ended",
            Self::Restored => "restored",
        }
    }
}

/// What makes a creation happen once, however often it is asked for: the caller's `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Who asks.
    pub caller: UserId,
    /// The digest of the key that they chose.
    pub key: [u8; 32],
    /// The digest of what they ask for.
    pub request: [u8; 32],
    /// The id of what is created.
    pub made: [u8; 16],
}
