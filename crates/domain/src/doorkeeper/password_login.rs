//! Logging in with a password, and proving a password for whatever else asks for one: the same counts, the same work
//! and the same answer, whoever is or is not behind the name.

use std::{convert::identity, time::Duration};

use sha2::{Digest, Sha256};

use super::{Doorkeeper, LoginError, outcome, unusable};
use crate::{
    address::client_network,
    attempts::{Barred, Gate},
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Timestamp,
    credential::{Password, PlainToken},
    directory::{Account, KnownAddress, NameLookup, UserRecord},
    id::UnitId,
    journal::Entry,
    name::{CanonicalName, InvalidName},
    passwords::{HashError, PasswordHash, Verdict},
    rules::Rules,
    session::Method,
};

/// A login with a password, as it came.
#[derive(Clone, Debug)]
pub struct PasswordLogin {
    /// The code of the organisation.
    pub organisation: String,
    /// The username.
    pub username: String,
    /// The password.
    pub password: Password,
    /// The unit to work in; the user's default unit if `None`.
    pub unit: Option<UnitId>,
}

/// How long a client is known after it logged in: guesses from elsewhere do not lock it out (`security.md` L4).
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The canonical forms of an organisation code and a username, if they have one.
type MaybeNames = (Result<CanonicalName, InvalidName>, Result<CanonicalName, InvalidName>);

/// An account whose password was proved.
pub(super) struct Proved {
    pub(super) account: Box<Account>,
    /// The rules of its organisation.
    pub(super) rules: Rules,
    /// The stored hash of the password.
    pub(super) hash: PasswordHash,
}

impl Doorkeeper {
    /// Logs a user in with a password and issues a token, durable when this returns.
    pub async fn log_in_with_password(
        &self,
        login: PasswordLogin,
        origin: &Origin,
    ) -> Result<PlainToken, LoginError> {
        let result = self.judge_password(login, origin).await;
        self.parts.observer.login(Method::Password.as_str(), outcome(&result));
        result
    }

    async fn judge_password(&self, login: PasswordLogin, origin: &Origin) -> Result<PlainToken, LoginError> {
        let unit = login.unit;
        let Proved { account, rules, .. } = self.prove_password(login, Event::PasswordLogin, origin).await?;
        let record = |reason| AuditRecord {
            organisation: Some(account.organisation.id),
            user: Some(account.user.id),
            ..AuditRecord::new(self.now(), Event::PasswordLogin, reason, origin)
        };
        if must_change(&account.user, &rules, self.now()) {
            self.record(record(Reason::PasswordChangeRequired)).await?;
            return Err(LoginError::PasswordChangeRequired);
        }
        self.issue(&account, None, unit, &rules, record(Reason::Ok)).await
    }

    /// Finds an account and compares its password. Every way to a password goes through here, so that each of them
    /// counts (`security.md` L3); what fails is recorded as an `event`.
    pub(super) async fn prove_password(
        &self,
        login: PasswordLogin,
        event: Event,
        origin: &Origin,
    ) -> Result<Proved, LoginError> {
        // First of all, so that in a storm of logins the excess costs next to nothing and waits for nobody.
        self.parts.passwords.admit()?;
        let record = |reason| AuditRecord::new(self.now(), event, reason, origin);
        let names = (CanonicalName::new(&login.organisation), CanonicalName::new(&login.username));
        let gate_of_nobody = gate_of_nobody(&self.gate_key, &names);
        let lookup = match names {
            (Ok(organisation), Ok(username)) => {
                self.parts.directory.find_by_name(organisation, username).await?
            }
            // What cannot be a name is nobody's.
            _ => NameLookup::UnknownOrganisation,
        };
        let record_of = |account: &Account, reason| AuditRecord {
            organisation: Some(account.organisation.id),
            user: Some(account.user.id),
            ..record(reason)
        };
        let (account, rules) = match lookup {
            NameLookup::Found(account) => {
                let rules = self.parts.rules.with(&account.organisation.overrides);
                match unusable(&account, &rules, origin) {
                    None => (Ok(account), rules),
                    Some(reason) => (Err(record_of(&account, reason)), rules),
                }
            }
            NameLookup::UnknownUser(organisation) => {
                let rules = self.parts.rules.with(&organisation.overrides);
                let refusal =
                    AuditRecord { organisation: Some(organisation.id), ..record(Reason::UnknownUser) };
                (Err(refusal), rules)
            }
            NameLookup::UnknownOrganisation => {
                let claimed = Some(login.organisation.clone());
                let refusal = AuditRecord { claimed, ..record(Reason::UnknownOrganisation) };
                (Err(refusal), self.parts.rules.clone())
            }
        };
        // From here to the verdict every login goes the same way, whoever is or is not behind it.
        let gate = account.as_ref().map_or(gate_of_nobody, |account| self.gate_of(&account.user, origin));
        let attempt = match self.parts.attempts.begin(gate, rules.lockout, &self.parts.clock).await {
            Ok(attempt) => Some(attempt),
            Err(Barred::Locked(_)) => None,
            Err(Barred::Busy) => return Err(HashError::QueueFull.into()),
            Err(Barred::Unavailable(error)) => return Err(error.into()),
        };
        let stored = match (&account, &attempt) {
            (Ok(account), Some(_)) => account.user.password_hash.clone(),
            _ => None,
        };
        let salt = self.parts.random.bytes()?;
        let verdict = self.parts.passwords.verify(login.password, stored.clone(), salt).await?;
        let (account, attempt) = match (account, attempt) {
            (Ok(account), Some(attempt)) => (account, attempt),
            (account, None) => {
                self.parts.attempts.settle_nothing(gate).await?;
                let refusal = account.map_or_else(identity, |account| record_of(&account, Reason::Locked));
                return self.refuse(refusal).await;
            }
            (Err(refusal), Some(attempt)) => {
                attempt.failed(self.now()).await;
                return self.refuse(refusal).await;
            }
        };
        match (verdict, stored) {
            (Verdict::Right { upgrade }, Some(stored)) => {
                attempt.succeeded().await;
                let hash = self.upgrade(&account, stored, upgrade).await?;
                Ok(Proved { account, rules, hash })
            }
            (verdict, _) => {
                attempt.failed(self.now()).await;
                let is_wrong = verdict == Verdict::Wrong;
                let reason = if is_wrong { Reason::WrongPassword } else { Reason::NoUsablePassword };
                self.refuse(record_of(&account, reason)).await
            }
        }
    }

    /// Stores a hash of today's parameters, if there is a new one, and returns the one that is stored.
    async fn upgrade(
        &self,
        account: &Account,
        from: PasswordHash,
        to: Option<PasswordHash>,
    ) -> Result<PasswordHash, LoginError> {
        let Some(to) = to else { return Ok(from) };
        let (organisation, user) = (account.organisation.id, account.user.id);
        let stored = to.clone();
        self.parts.journal.submit(Entry::Rehash { organisation, user, from, to }).await?;
        Ok(stored)
    }

    /// The gate of an account's logins. A client that has logged in lately has one of its own, which guesses from
    /// elsewhere do not close (`security.md` L4).
    pub(super) fn gate_of(&self, user: &UserRecord, origin: &Origin) -> Gate {
        let now = self.now();
        let from = origin.address.map(client_network);
        let is_known =
            |known: &&KnownAddress| Some(known.network) == from && now < known.succeeded_at.plus(KNOWN_FOR);
        let known = user.known_addresses.iter().find(is_known);
        Gate::User(user.id, known.map(|known| known.network))
    }
}

/// Whether a password gives no token before it is changed.
fn must_change(user: &UserRecord, rules: &Rules, now: Timestamp) -> bool {
    let is_old = |age: Duration| user.password_set_at.is_some_and(|set| now >= set.plus(age));
    user.must_change_password || rules.passwords.max_age.is_some_and(is_old)
}

/// The gate of names that may have no account behind them. Which names share one is secret, or else a name that is
/// locked by guesses at another would be known to be nobody's.
pub(super) fn gate_of_nobody(key: &[u8; 16], (organisation, username): &MaybeNames) -> Gate {
    let text = |name: &Result<CanonicalName, InvalidName>| {
        name.as_ref().map_or(String::new(), |name| name.as_str().to_owned())
    };
    let mut digest = Sha256::new_with_prefix(key);
    // No name has a control character in it.
    digest.update(format!("{}\0{}", text(organisation), text(username)));
    let digest = digest.finalize();
    Gate::Nobody(u16::from_be_bytes([digest[0], digest[1]]))
}
