//! `/admin/v1/organisations/{organisation}/audit` and `/admin/v1/audit`.

use axum::{Json as Answer, http::Uri};
use doorward_domain::audit::{
    Event, Reason,
    chain::{RecordFilter, StoredRecord},
};
use doorward_domain::resource::{Page, PageRequest};

use super::{Admin, In, Refusals, Refused, listed};
use crate::{
    error::ApiError,
    filters::Filters,
    wire::{
        admin::List,
        evidence::{ChainView, RecordView},
    },
};

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
        ("organisation" = String, Path, description = "The organisation's id or code"),
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
pub async fn list(In(tenant): In, uri: Uri) -> Result<Answer<List<RecordView>>, Refused> {
    let (filter, page) = read(&uri)?;
    Ok(view(tenant.list_records(filter, page).await?))
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
        ("organisation" = String, Path, description = "The organisation's id or code"),
    ),
    responses(
        (status = 200, description = "As it is now", body = ChainView),
        Refusals,
    )
)]
pub async fn chain(In(tenant): In) -> Result<Answer<ChainView>, Refused> {
    Ok(Answer(tenant.get_chain().await?.into()))
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
    Ok(view(administrator.list_unassigned_records(filter, page).await?))
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
    Ok(Answer(administrator.get_unassigned_chain().await?.into()))
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
