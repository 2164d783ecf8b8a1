//! `/admin/v1/organisations/{organisation}/units`.

use axum::{
    Json as Answer,
    http::{StatusCode, Uri},
    response::Response,
};
use doorward_domain::{id::UnitId, name::fold, resource::UnitFilter};

use super::{Id, IfMatch, In, Refusals, Refused, created, listed, tagged};
use crate::{
    error::ApiError,
    filters::Filters,
    json::Json,
    wire::admin::{List, NewUnitBody, USE_STATUSES, UnitPatchBody, UnitView},
};

/// List units.
///
/// By name.
#[utoipa::path(
    get,
    operation_id = "list_units",
    path = "/admin/v1/organisations/{organisation}/units",
    tag = "units",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("prefix" = Option<String>, Query, description = "Those whose name begins so, in either case"),
        ("name" = Option<String>, Query, description = "The one of this name, in either case"),
        ("status" = Option<crate::wire::admin::UseStatus>, Query, description = "Those of this status"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<UnitView>),
        Refusals,
    )
)]
pub async fn list(In(tenant): In, uri: Uri) -> Result<Answer<List<UnitView>>, Refused> {
    let mut filters = Filters::of(&uri)?;
    let filter = UnitFilter {
        prefix: filters.text("prefix").map(|prefix| fold(&prefix)),
        name: filters.text("name").map(|name| fold(&name).trim().to_owned()),
        status: filters.word("status", &USE_STATUSES)?,
    };
    let page = filters.page()?;
    filters.finish()?;
    Ok(listed(tenant.list_units(filter, page).await?, UnitView::from))
}

/// Create a unit.
///
/// With an `Idempotency-Key` a repeated request creates nothing more for a day.
#[utoipa::path(
    post,
    operation_id = "create_unit",
    path = "/admin/v1/organisations/{organisation}/units",
    tag = "units",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("Idempotency-Key" = Option<String>, Header, description = "Any text, new for each new request"),
    ),
    request_body = NewUnitBody,
    responses(
        (status = 201, description = "Created", body = UnitView),
        Refusals,
    )
)]
pub async fn create(In(tenant): In, body: Result<Json<NewUnitBody>, ApiError>) -> Result<Response, Refused> {
    let body = body?;
    let made = tenant.create_unit(body.value.into(), body.idempotency).await?;
    let organisation = tenant.organisation().value.id;
    let (id, revision) = (made.value.value.id, made.value.revision);
    let place = format!("/admin/v1/organisations/{organisation}/units/{id}");
    Ok(created(place, made.is_repeat, revision, UnitView::from(made.value)))
}

/// Get a unit.
#[utoipa::path(
    get,
    operation_id = "get_unit",
    path = "/admin/v1/organisations/{organisation}/units/{unit}",
    tag = "units",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("unit" = String, Path, description = "The unit's id"),
    ),
    responses(
        (status = 200, description = "As it is now", body = UnitView),
        Refusals,
    )
)]
pub async fn get(In(tenant): In, Id(id): Id<UnitId>) -> Result<Response, Refused> {
    let found = tenant.get_unit(id).await?;
    Ok(tagged(StatusCode::OK, found.revision, UnitView::from(found)))
}

/// Change a unit.
///
/// Disabling it ends its tokens.
#[utoipa::path(
    patch,
    operation_id = "update_unit",
    path = "/admin/v1/organisations/{organisation}/units/{unit}",
    tag = "units",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("unit" = String, Path, description = "The unit's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    request_body = UnitPatchBody,
    responses(
        (status = 200, description = "As it is now", body = UnitView),
        Refusals,
    )
)]
pub async fn update(
    In(tenant): In,
    Id(id): Id<UnitId>,
    IfMatch(seen): IfMatch,
    body: Result<Json<UnitPatchBody>, ApiError>,
) -> Result<Response, Refused> {
    let changed = tenant.update_unit(id, &body?.value.into(), seen).await?;
    Ok(tagged(StatusCode::OK, changed.revision, UnitView::from(changed)))
}

/// Delete a unit.
///
/// Ends its tokens. A unit that is somebody's default is not deleted.
#[utoipa::path(
    delete,
    operation_id = "delete_unit",
    path = "/admin/v1/organisations/{organisation}/units/{unit}",
    tag = "units",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("unit" = String, Path, description = "The unit's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        Refusals,
    )
)]
pub async fn delete(
    In(tenant): In,
    Id(id): Id<UnitId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Refused> {
    tenant.delete_unit(id, seen).await?;
    Ok(StatusCode::NO_CONTENT)
}
