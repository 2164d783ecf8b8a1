//! `/admin/v1/organisations/{organisation}/sessions`.

use axum::{
    Json as Answer,
    http::{StatusCode, Uri},
};
use doorward_domain::session_table::SessionFilter;

use super::{In, Refusals, Refused, listed};
use crate::{
    error::ApiError,
    filters::Filters,
    json::Json,
    wire::admin::{EndBody, List, SessionView},
};

/// List live sessions.
///
/// By user, unit and key, then by age.
#[utoipa::path(
    get,
    operation_id = "list_sessions",
    path = "/admin/v1/organisations/{organisation}/sessions",
    tag = "sessions",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = Option<String>, Query, description = "Those of the user of this id"),
        ("unit" = Option<String>, Query, description = "Those in the unit of this id"),
        ("key" = Option<String>, Query, description = "Those made with the Web API key of this id"),
        ("method" = Option<String>, Query, description = "Those made by `password` or by `web_api_key`"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<SessionView>),
        Refusals,
    )
)]
pub async fn list(In(tenant): In, uri: Uri) -> Result<Answer<List<SessionView>>, Refused> {
    let mut filters = Filters::of(&uri)?;
    let filter = SessionFilter {
        user: filters.id("user")?,
        unit: filters.id("unit")?,
        key: filters.id("key")?,
        by_key: filters.word("method", &[("password", false), ("web_api_key", true)])?,
    };
    let page = filters.page()?;
    filters.finish()?;
    Ok(listed(tenant.list_sessions(filter, page).await?, SessionView::from))
}

/// End sessions.
///
/// One, or all of a user, a unit, a Web API key or the organisation; none of them is accepted once this is answered. It
/// takes the same time however many they are.
#[utoipa::path(
    post,
    operation_id = "end_sessions",
    path = "/admin/v1/organisations/{organisation}/sessions/end",
    tag = "sessions",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
    ),
    request_body = EndBody,
    responses(
        (status = 204, description = "They have ended"),
        Refusals,
    )
)]
pub async fn end(In(tenant): In, body: Result<Json<EndBody>, ApiError>) -> Result<StatusCode, Refused> {
    tenant.end_sessions(body?.value.try_into()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
