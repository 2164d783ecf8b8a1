//! What the admin API says of the past: audit records, the chains that they form, and how tokens stand.

use doorward_domain::{
    administration::{AddressStanding, ExplainedSession, Explanation, Named, Standing},
    audit::chain::{Chain, Link, StoredRecord},
    change::EndCause,
    clock::Timestamp,
    session::REMEMBERED_FOR,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Rfc3339;

/// An audit record.
#[derive(Serialize, ToSchema)]
pub struct RecordView {
    /// Its number in the chain of its organisation, from 1, without gaps.
    number: u64,
    #[schema(value_type = String, format = DateTime)]
    at: Rfc3339,
    /// What happened.
    event: String,
    /// Why it ended as it did; `ok` if it succeeded.
    reason: String,
    /// The id of the organisation.
    organisation: Option<String>,
    /// The id of the unit, as far as it was known.
    unit: Option<String>,
    /// The id of the user whom it was done to, or who did it if there is no `actor`.
    user: Option<String>,
    /// The id of the Web API key.
    key: Option<String>,
    /// The id of the session.
    session: Option<String>,
    /// The id of the user who did it, where that is somebody else.
    actor: Option<String>,
    /// The client's address; null for what the operator did on the machine itself.
    address: Option<String>,
    request_id: String,
    /// The names of the members that were changed.
    members: Vec<String>,
    /// The organisation code that was given, where no organisation has it.
    claimed: Option<String>,
    /// The digest of the record before it.
    previous: String,
    /// The digest of this record, which the next one carries.
    digest: String,
}

impl From<StoredRecord> for RecordView {
    fn from(record: StoredRecord) -> Self {
        let digest = record.digest().to_string();
        let members =
            record.members.as_deref().map(|members| members.split(',').map(str::to_owned).collect());
        Self {
            number: record.number,
            at: Rfc3339(record.at),
            event: record.event,
            reason: record.reason,
            organisation: text(record.organisation),
            unit: text(record.unit),
            user: text(record.user),
            key: text(record.key),
            session: text(record.session),
            actor: text(record.actor),
            address: record.address,
            request_id: record.request_id,
            members: members.unwrap_or_default(),
            claimed: record.claimed,
            previous: record.previous.to_string(),
            digest,
        }
    }
}

fn text<T: ToString>(id: Option<T>) -> Option<String> {
    id.map(|id| id.to_string())
}

/// The ends of a chain of audit records.
#[derive(Serialize, ToSchema)]
pub struct ChainView {
    /// The record that was written last.
    last: LinkView,
    /// The last record that was removed because its time was over.
    removed: LinkView,
}

/// A record of a chain. Noted in another place, it proves later that the records up to it were not altered.
#[derive(Serialize, ToSchema)]
pub struct LinkView {
    /// Its number; 0 if there is none.
    number: u64,
    /// Its digest.
    digest: String,
}

impl From<Chain> for ChainView {
    fn from(Chain { last, removed, .. }: Chain) -> Self {
        let view = |Link { number, digest }| LinkView { number, digest: digest.to_string() };
        Self { last: view(last), removed: view(removed) }
    }
}

/// A token to be explained.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainBody {
    /// The token.
    pub token: String,
    /// An address; the answer says whether the rules give tokens to it.
    pub address: Option<String>,
}

/// How a token stands.
#[derive(Serialize, ToSchema)]
pub struct ExplanationView {
    /// Whether it is in force.
    valid: bool,
    /// Why it is not; `ok` if it is.
    #[schema(value_type = StandingWord)]
    reason: &'static str,
    /// The same in a sentence.
    detail: String,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Rfc3339>,
    /// Who ended it, if somebody else than its holder did.
    ended_by: Option<NamedView>,
    /// The id of its session, by which audit records name it.
    session: Option<String>,
    organisation: Option<NamedView>,
    unit: Option<NamedView>,
    user: Option<NamedView>,
    /// `password` or `web_api_key`.
    method: Option<&'static str>,
    /// The Web API key that it was got with.
    key: Option<NamedView>,
    #[schema(value_type = Option<String>, format = DateTime)]
    issued_at: Option<Rfc3339>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Rfc3339>,
    /// When it ends, or would have ended, if it is not used again.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Rfc3339>,
    /// Whether a token like it is given to the address that was asked about. One in force is accepted from everywhere.
    #[schema(value_type = Option<AddressWord>)]
    address: Option<&'static str>,
}

/// Something by its id and its name.
#[derive(Serialize, ToSchema)]
pub struct NamedView {
    id: String,
    /// The code of an organisation, the username of a user, the name of a unit or a key; null if it is not there any
    /// more.
    name: Option<String>,
}

/// The reasons why a token is not in force.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words for the API document")]
enum StandingWord {
    Ok,
    NotAToken,
    NeverIssued,
    Released,
    Idle,
    CapReached,
    OrganisationSuspended,
    OrganisationDeleted,
    UnitDisabled,
    UnitDeleted,
    UnitRemoved,
    UserDisabled,
    UserDeleted,
    KeyDisabled,
    KeyRotated,
    KeyDeleted,
    PasswordSet,
    PasswordChanged,
    SessionsEnded,
    Restored,
    Ended,
}

/// What an address has to do with a token.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words for the API document")]
enum AddressWord {
    Permitted,
    DeniedByOrganisation,
    DeniedByKey,
}

impl<Id: ToString> From<Named<Id>> for NamedView {
    fn from(Named { id, name }: Named<Id>) -> Self {
        Self { id: id.to_string(), name }
    }
}

impl From<Explanation> for ExplanationView {
    fn from(Explanation { standing, session, address }: Explanation) -> Self {
        let (ended_at, ended_by) = match standing {
            Standing::Live | Standing::NotAToken | Standing::Unknown => (None, None),
            Standing::Idle { at } | Standing::CapReached { at } => (Some(at), None),
            Standing::Released { at, by } | Standing::Ended { at, by, .. } => (Some(at), by),
        };
        let by = session.as_ref().and_then(|session| session.ended_by.clone());
        let mut view = Self {
            valid: standing == Standing::Live,
            reason: reason(&standing),
            detail: detail(&standing, session.as_ref()),
            ended_at: ended_at.map(Rfc3339),
            ended_by: ended_by.map(|id| NamedView { id: id.to_string(), name: by }),
            session: None,
            organisation: None,
            unit: None,
            user: None,
            method: None,
            key: None,
            issued_at: None,
            last_used_at: None,
            expires_at: None,
            address: address.map(|standing| match standing {
                AddressStanding::Permitted => "permitted",
                AddressStanding::DeniedByOrganisation => "denied_by_organisation",
                AddressStanding::DeniedByKey => "denied_by_key",
            }),
        };
        if let Some(ExplainedSession { id, past, organisation, unit, user, key, .. }) = session {
            view.session = Some(id.to_string());
            view.organisation = organisation.map(NamedView::from);
            view.unit = Some(unit.into());
            view.user = Some(user.into());
            view.method = Some(past.method.as_str());
            view.key = key.map(NamedView::from);
            view.issued_at = Some(Rfc3339(past.issued_at));
            view.last_used_at = Some(Rfc3339(past.last_used_at));
            view.expires_at = Some(Rfc3339(past.expires_at()));
        }
        view
    }
}

fn reason(standing: &Standing) -> &'static str {
    match standing {
        Standing::Live => "ok",
        Standing::NotAToken => "not_a_token",
        Standing::Unknown => "never_issued",
        Standing::Released { .. } => "released",
        Standing::Idle { .. } => "idle",
        Standing::CapReached { .. } => "cap_reached",
        Standing::Ended { cause, .. } => cause.map_or("ended", EndCause::as_str),
    }
}

fn detail(standing: &Standing, session: Option<&ExplainedSession>) -> String {
    let who = |by: bool| match (by, session.and_then(|session| session.ended_by.as_deref())) {
        (false, _) => "the operator, on the server's machine".to_owned(),
        (true, Some(name)) => format!("{name:?}"),
        (true, None) => "somebody who is not there any more, or whom you may not see".to_owned(),
    };
    let time = |at: &Timestamp| Rfc3339(*at).to_string();
    match standing {
        Standing::Live => "It is in force.".to_owned(),
        Standing::NotAToken => {
            "It is no token: those have exactly 32 digits and capital letters from A to F, and nothing around them. Look \
             for a part that was cut off, small letters, quotation marks or spaces."
                .to_owned()
        }
        Standing::Unknown => format!(
            "It was never issued here, or not for an organisation that you manage, or it ended more than {} days ago.",
            REMEMBERED_FOR.as_secs() / 86_400
        ),
        Standing::Released { at, by: None } => format!("It was released by its holder at {}.", time(at)),
        Standing::Released { at, by: Some(_) } => format!("It was released by {} at {}.", who(true), time(at)),
        Standing::Idle { at } => {
            let since = session.map_or_else(String::new, |session| {
                format!(", for it was last used at {}", time(&session.past.last_used_at))
            });
            format!("It ended at {} for want of use{since}.", time(at))
        }
        Standing::CapReached { at } => {
            format!("It reached the end of its life at {}; use does not prolong that.", time(at))
        }
        Standing::Ended { at, cause, by } => {
            let what = match cause {
                Some(EndCause::OrganisationSuspended) => "the organisation was suspended",
                Some(EndCause::OrganisationDeleted) => "the organisation was deleted",
                Some(EndCause::UnitDisabled) => "the unit was disabled",
                Some(EndCause::UnitDeleted) => "the unit was deleted",
                Some(EndCause::UnitRemoved) => "a unit was taken from the user",
                Some(EndCause::UserDisabled) => "the user was disabled",
                Some(EndCause::UserDeleted) => "the user was deleted",
                Some(EndCause::KeyDisabled) => "the Web API key was disabled",
                Some(EndCause::KeyRotated) => "the Web API key was given another secret with no overlap",
                Some(EndCause::KeyDeleted) => "the Web API key was deleted",
                Some(EndCause::PasswordSet) => "the user was given another password",
                Some(EndCause::PasswordChanged) => "the user changed the password",
                Some(EndCause::SessionsEnded) => "sessions were ended",
                Some(EndCause::Restored) => "the data were restored from a backup",
                None => "sessions were ended in a way that a later version of Doorward knows",
            };
            let by = match (cause, by) {
                (Some(EndCause::PasswordChanged), _) => String::new(),
                (_, by) => format!(" by {}", who(by.is_some())),
            };
            format!("It ended at {}: {what}{by}.", time(at))
        }
    }
}
