//! `/admin/v1/organisations/{organisation}/keys`.

use axum::{
    Json as Answer,
    http::{StatusCode, Uri},
    response::Response,
};
use doorward_domain::{id::KeyId, resource::KeyFilter};

use super::{Id, IfMatch, In, Refusals, Refused, created, listed, tagged};
use crate::{
    error::ApiError,
    filters::Filters,
    json::Json,
    wire::admin::{KeyPatchBody, KeyView, List, NewKeyBody, RotationBody, USE_STATUSES},
};

/// List Web API keys.
///
/// By id.
#[utoipa::path(
    get,
    operation_id = "list_keys",
    path = "/admin/v1/organisations/{organisation}/keys",
    tag = "keys",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = Option<String>, Query, description = "Those of the user of this id"),
        ("status" = Option<crate::wire::admin::UseStatus>, Query, description = "Those of this status"),
        ("expiring_within" = Option<String>, Query, description = "Those that expire within this time, such as `30d`, or have"),
        ("unused_for" = Option<String>, Query, description = "Those older than this time, such as `90d`, and not used in it"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<KeyView>),
        Refusals,
    )
)]
pub async fn list(In(tenant): In, uri: Uri) -> Result<Answer<List<KeyView>>, Refused> {
    let mut filters = Filters::of(&uri)?;
    let filter = KeyFilter {
        user: filters.id("user")?,
        status: filters.word("status", &USE_STATUSES)?,
        expires_before: filters.duration("expiring_within")?.map(|within| tenant.ahead(within)),
        unused_since: filters.duration("unused_for")?.map(|unused| tenant.ago(unused)),
    };
    let page = filters.page()?;
    filters.finish()?;
    Ok(listed(tenant.list_keys(filter, page).await?, KeyView::from))
}

/// Create a Web API key.
///
/// The answer shows the secret, this once; a repeated request with the same `Idempotency-Key` creates nothing more and
/// shows the key without it.
#[utoipa::path(
    post,
    operation_id = "create_key",
    path = "/admin/v1/organisations/{organisation}/keys",
    tag = "keys",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("Idempotency-Key" = Option<String>, Header, description = "Any text, new for each new request"),
    ),
    request_body = NewKeyBody,
    responses(
        (status = 201, description = "Created", body = KeyView),
        Refusals,
    )
)]
pub async fn create(In(tenant): In, body: Result<Json<NewKeyBody>, ApiError>) -> Result<Response, Refused> {
    let body = body?;
    let made = tenant.create_key(body.value.into(), body.idempotency).await?;
    let organisation = tenant.organisation().value.id;
    let (id, revision) = (made.value.details.key.value.id, made.value.details.key.revision);
    let place = format!("/admin/v1/organisations/{organisation}/keys/{id}");
    Ok(created(place, made.is_repeat, revision, KeyView::from(made.value)))
}

/// Get a Web API key.
#[utoipa::path(
    get,
    operation_id = "get_key",
    path = "/admin/v1/organisations/{organisation}/keys/{key}",
    tag = "keys",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("key" = String, Path, description = "The key's id"),
    ),
    responses(
        (status = 200, description = "As it is now", body = KeyView),
        Refusals,
    )
)]
pub async fn get(In(tenant): In, Id(id): Id<KeyId>) -> Result<Response, Refused> {
    let found = tenant.get_key(id).await?;
    Ok(tagged(StatusCode::OK, found.key.revision, KeyView::from(found)))
}

/// Change a Web API key.
///
/// Disabling it ends its tokens.
#[utoipa::path(
    patch,
    operation_id = "update_key",
    path = "/admin/v1/organisations/{organisation}/keys/{key}",
    tag = "keys",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("key" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    request_body = KeyPatchBody,
    responses(
        (status = 200, description = "As it is now", body = KeyView),
        Refusals,
    )
)]
pub async fn update(
    In(tenant): In,
    Id(id): Id<KeyId>,
    IfMatch(seen): IfMatch,
    body: Result<Json<KeyPatchBody>, ApiError>,
) -> Result<Response, Refused> {
    let changed = tenant.update_key(id, &body?.value.into(), seen).await?;
    Ok(tagged(StatusCode::OK, changed.key.revision, KeyView::from(changed)))
}

/// Delete a Web API key.
///
/// Ends its tokens.
#[utoipa::path(
    delete,
    operation_id = "delete_key",
    path = "/admin/v1/organisations/{organisation}/keys/{key}",
    tag = "keys",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("key" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        Refusals,
    )
)]
pub async fn delete(
    In(tenant): In,
    Id(id): Id<KeyId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Refused> {
    tenant.delete_key(id, seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a Web API key another secret.
///
/// The answer shows the new secret, this once. The one until now is accepted for the time of `overlap`; `secrets` tells
/// when and from where it is still used.
#[utoipa::path(
    post,
    operation_id = "rotate_key",
    path = "/admin/v1/organisations/{organisation}/keys/{key}/rotate",
    tag = "keys",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("key" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    request_body = RotationBody,
    responses(
        (status = 200, description = "The key with its new secret", body = KeyView),
        Refusals,
    )
)]
pub async fn rotate(
    In(tenant): In,
    Id(id): Id<KeyId>,
    IfMatch(seen): IfMatch,
    body: Result<Json<RotationBody>, ApiError>,
) -> Result<Response, Refused> {
    let rotated = tenant.rotate_key(id, body?.value.into(), seen).await?;
    Ok(tagged(StatusCode::OK, rotated.details.key.revision, KeyView::from(rotated)))
}
