//! `/admin/v1/organisations/{organisation}/rules`.

use axum::{http::StatusCode, response::Response};

use super::{IfMatch, In, Refusals, Refused, tagged};
use crate::{
    error::ApiError,
    json::Json,
    wire::admin::{RulesPatchBody, RulesView},
};

/// Get the rules of an organisation.
///
/// Each with the value that holds and where it comes from.
#[utoipa::path(
    get,
    operation_id = "get_rules",
    path = "/admin/v1/organisations/{organisation}/rules",
    tag = "rules",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
    ),
    responses(
        (status = 200, description = "As it is now", body = RulesView),
        Refusals,
    )
)]
pub async fn get(In(tenant): In) -> Result<Response, Refused> {
    let rules = tenant.get_rules().await?;
    Ok(tagged(StatusCode::OK, rules.revision, RulesView::from(&rules)))
}

/// Change the rules of an organisation.
///
/// Null gives a rule back to the server's configuration. Tokens keep the lifetimes that they were issued with.
#[utoipa::path(
    patch,
    operation_id = "update_rules",
    path = "/admin/v1/organisations/{organisation}/rules",
    tag = "rules",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    request_body = RulesPatchBody,
    responses(
        (status = 200, description = "As it is now", body = RulesView),
        Refusals,
    )
)]
pub async fn update(
    In(tenant): In,
    IfMatch(seen): IfMatch,
    body: Result<Json<RulesPatchBody>, ApiError>,
) -> Result<Response, Refused> {
    let rules = tenant.update_rules(&body?.value.try_into()?, seen).await?;
    Ok(tagged(StatusCode::OK, rules.revision, RulesView::from(&rules)))
}
