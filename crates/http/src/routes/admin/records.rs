//! `/admin/v1/organisations/{organisation}/audit` and `/admin/v1/audit`.

use axum::{
    Json as Answer,
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};
use doorward_domain::{
    administration::Records,
    audit::{
        Event, Reason,
        chain::{RecordFilter, StoredRecord},
    },
    resource::{Page, PageRequest},
};

use super::{Admin, Refusals, Refused, listed, parameter};
use crate::{
    error::ApiError,
    filters::Filters,
    state::State,
    wire::{
        admin::List,
        evidence::{ChainView, RecordView},
    },
};

/// The records of the organisation that the path names, for an administrator who may read them.
pub struct Of(Records);

impl FromRequestParts<State> for Of {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Refused> {
        let Admin(administrator) = Admin::from_request_parts(parts, state).await?;
        let organisation = parameter(parts, state, "organisation").await?;
        Ok(Self(administrator.records(&organisation).await?))
    }
}

/// List audit records.
///
/// The newest first. A page may have fewer records than its limit, or none, and still have a `next`: the search for what
/// a filter lets pass looks at ten thousand records a page.
#[utoipa::path(
    get,
    operation_id = "list_records",
    path = "/admin/v1/organisations/{organisation}/audit",
    tag = "audit",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code; for operators, the id of one that was deleted too"),
        ("event" = Option<String>, Query, description = "Those of this event"),
        ("reason" = Option<String>, Query, description = "Those of this reason"),
        ("failed" = Option<bool>, Query, description = "`true` for those whose reason is not `ok`"),
        ("user" = Option<String>, Query, description = "Those about the user of this id, or done by them"),
        ("unit" = Option<String>, Query, description = "Those about the unit of this id"),
        ("key" = Option<String>, Query, description = "Those about the Web API key of this id"),
        ("session" = Option<String>, Query, description = "Those about the session of this id"),
        ("address" = Option<String>, Query, description = "Those from this address"),
        ("from" = Option<String>, Query, description = "Not before this time (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
        ("order" = Option<String>, Query, description = "`newest` or `oldest` first"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<RecordView>),
        Refusals,
    )
)]
pub async fn list(Of(records): Of, uri: Uri) -> Result<Answer<List<RecordView>>, Refused> {
    let (filter, page) = read(&uri)?;
    Ok(view(records.list(filter, page).await?))
}

/// Get the ends of the chain of audit records.
///
/// Each record carries the digest of the one before it. Who notes the last digest in another place can prove later that
/// no record up to it was altered or removed.
#[utoipa::path(
    get,
    operation_id = "get_chain",
    path = "/admin/v1/organisations/{organisation}/audit/chain",
    tag = "audit",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code; for operators, the id of one that was deleted too"),
    ),
    responses(
        (status = 200, description = "As it is now", body = ChainView),
        Refusals,
    )
)]
pub async fn chain(Of(records): Of) -> Result<Answer<ChainView>, Refused> {
    Ok(Answer(records.get_chain().await?.into()))
}

/// List audit records that no organisation can be named for.
///
/// Logins with the code of no organisation, and Web API keys that nobody has. For administrators of the operator
/// organisation.
#[utoipa::path(
    get,
    operation_id = "list_unassigned_records",
    path = "/admin/v1/audit",
    tag = "audit",
    security(("token" = [])),
    params(
        ("event" = Option<String>, Query, description = "Those of this event"),
        ("reason" = Option<String>, Query, description = "Those of this reason"),
        ("failed" = Option<bool>, Query, description = "`true` for those whose reason is not `ok`"),
        ("address" = Option<String>, Query, description = "Those from this address"),
        ("from" = Option<String>, Query, description = "Not before this time (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
        ("order" = Option<String>, Query, description = "`newest` or `oldest` first"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<RecordView>),
        Refusals,
    )
)]
pub async fn list_unassigned(
    Admin(administrator): Admin,
    uri: Uri,
) -> Result<Answer<List<RecordView>>, Refused> {
    let (filter, page) = read(&uri)?;
    Ok(view(administrator.unassigned_records()?.list(filter, page).await?))
}

/// Get the ends of the chain of those records.
///
/// For administrators of the operator organisation.
#[utoipa::path(
    get,
    operation_id = "get_unassigned_chain",
    path = "/admin/v1/audit/chain",
    tag = "audit",
    security(("token" = [])),
    responses(
        (status = 200, description = "As it is now", body = ChainView),
        Refusals,
    )
)]
pub async fn unassigned_chain(Admin(administrator): Admin) -> Result<Answer<ChainView>, Refused> {
    Ok(Answer(administrator.unassigned_records()?.get_chain().await?.into()))
}

fn read(uri: &Uri) -> Result<(RecordFilter, PageRequest), ApiError> {
    let mut filters = Filters::of(uri)?;
    let filter = RecordFilter {
        event: filters.word("event", &Event::ALL.map(|event| (event.as_str(), event.as_str())))?,
        reason: filters.word("reason", &Reason::ALL.map(|reason| (reason.as_str(), reason.as_str())))?,
        failed: filters.word("failed", &[("true", true), ("false", false)])?,
        user: filters.id("user")?,
        unit: filters.id("unit")?,
        key: filters.id("key")?,
        session: filters.id("session")?,
        address: filters.read("address", "an IP address")?,
        from: filters.time("from")?,
        until: filters.time("until")?,
        oldest_first: filters.word("order", &[("newest", false), ("oldest", true)])?.unwrap_or(false),
    };
    let page = filters.page()?;
    filters.finish()?;
    Ok((filter, page))
}

fn view(page: Page<StoredRecord>) -> Answer<List<RecordView>> {
    listed(page, RecordView::from)
}
