//! Changing one's own password.

use super::{Doorkeeper, LoginError, PasswordLogin, password_login::Proved};
use crate::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    credential::Password,
    journal::{Entry, Outcome},
    policy::Weakness,
};

/// A change of one's own password, as it came.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The code of the organisation.
    pub organisation: String,
    /// The username.
    pub username: String,
    /// The password until now.
    pub current: Password,
    /// The password from now on.
    pub new: Password,
}

/// Why a password was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangePasswordError {
    /// The credentials are not accepted, or nothing is known of them.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The new password is not allowed; the text completes "the password ...".
    #[error("the new password {0}")]
    Weak(Weakness),
    /// The new password is the current one.
    #[error("the new password is the current one")]
    Unchanged,
}

impl Doorkeeper {
    /// Changes a user's password and ends all their sessions, in one transaction (`security.md` C6). The current
    /// password is proved as at a login, and a wrong one counts as a failed login.
    pub async fn change_password(
        &self,
        change: PasswordChange,
        origin: &Origin,
    ) -> Result<(), ChangePasswordError> {
        let PasswordChange { organisation, username, current, new } = change;
        let is_unchanged = current.expose() == new.expose();
        let login = PasswordLogin { organisation, username, password: current, unit: None };
        let Proved { account, rules, hash } =
            self.prove_password(login, Event::PasswordChange, origin).await?;
        let record = |reason| AuditRecord {
            organisation: Some(account.organisation.id),
            user: Some(account.user.id),
            ..AuditRecord::new(self.now(), Event::PasswordChange, reason, origin)
        };
        if is_unchanged {
            self.record(record(Reason::WeakPassword)).await.map_err(LoginError::from)?;
            return Err(ChangePasswordError::Unchanged);
        }
        let names = self.parts.directory.list_names(account.user.id).await.map_err(LoginError::from)?;
        let mut known = vec![account.user.username.clone(), account.organisation.code.clone()];
        known.extend(names);
        let salt = self.parts.random.bytes().map_err(LoginError::from)?;
        let chosen = self.parts.passwords.choose(new, rules.passwords, known, salt).await;
        let new_hash = match chosen.map_err(LoginError::from)? {
            Ok(new_hash) => new_hash,
            Err(weakness) => {
                self.record(record(Reason::WeakPassword)).await.map_err(LoginError::from)?;
                return Err(ChangePasswordError::Weak(weakness));
            }
        };
        let change = Change::SetPassword {
            organisation: account.organisation.id,
            user: account.user.id,
            password: NewPassword { hash: new_hash, must_change: false },
            replaces: Some(hash),
        };
        let entry = Entry::change(change, record(Reason::Ok));
        match self.parts.journal.submit(entry).await.map_err(LoginError::from)? {
            Outcome::Committed(_) => Ok(()),
            // Somebody else has set another password meanwhile: this one's is not the current one any more.
            _ => Ok(self.refuse(record(Reason::AccountChanged)).await?),
        }
    }
}
