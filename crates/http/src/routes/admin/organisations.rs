//! `/admin/v1/organisations`.

use axum::{
    Json as Answer,
    http::{StatusCode, Uri},
    response::Response,
};
use doorward_domain::{name::fold, resource::OrganisationFilter};

use super::{Admin, IfMatch, In, Refusals, Refused, created, listed, tagged};
use crate::{
    error::ApiError,
    filters::Filters,
    json::Json,
    wire::admin::{
        List, NewOrganisationBody, ORGANISATION_STATUSES, OrganisationPatchBody, OrganisationView,
    },
};

/// List organisations.
///
/// By code. Administrators of the operator organisation see all, others their own.
#[utoipa::path(
    get,
    operation_id = "list_organisations",
    path = "/admin/v1/organisations",
    tag = "organisations",
    security(("token" = [])),
    params(
        ("prefix" = Option<String>, Query, description = "Those whose code begins so, in either case"),
        ("status" = Option<crate::wire::admin::OrganisationStatus>, Query, description = "Those of this status"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<OrganisationView>),
        Refusals,
    )
)]
pub async fn list(Admin(administrator): Admin, uri: Uri) -> Result<Answer<List<OrganisationView>>, Refused> {
    let mut filters = Filters::of(&uri)?;
    let filter = OrganisationFilter {
        prefix: filters.text("prefix").map(|prefix| fold(&prefix)),
        status: filters.word("status", &ORGANISATION_STATUSES)?,
    };
    let page = filters.page()?;
    filters.finish()?;
    Ok(listed(administrator.list_organisations(filter, page).await?, OrganisationView::from))
}

/// Create an organisation.
///
/// For administrators of the operator organisation. With an `Idempotency-Key` a repeated request creates nothing more
/// for a day.
#[utoipa::path(
    post,
    operation_id = "create_organisation",
    path = "/admin/v1/organisations",
    tag = "organisations",
    security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text, new for each new request")),
    request_body = NewOrganisationBody,
    responses(
        (status = 201, description = "Created", body = OrganisationView),
        Refusals,
    )
)]
pub async fn create(
    Admin(administrator): Admin,
    body: Result<Json<NewOrganisationBody>, ApiError>,
) -> Result<Response, Refused> {
    let body = body?;
    let made = administrator.create_organisation(body.value.into(), body.idempotency).await?;
    let place = format!("/admin/v1/organisations/{}", made.value.value.id);
    Ok(created(place, made.is_repeat, made.value.revision, OrganisationView::from(made.value)))
}

/// Get an organisation.
#[utoipa::path(
    get,
    operation_id = "get_organisation",
    path = "/admin/v1/organisations/{organisation}",
    tag = "organisations",
    security(("token" = [])),
    params(("organisation" = String, Path, description = "The organisation's id or code")),
    responses(
        (status = 200, description = "The organisation", body = OrganisationView),
        Refusals,
    )
)]
pub async fn get(In(tenant): In) -> Response {
    let stored = tenant.organisation().clone();
    tagged(StatusCode::OK, stored.revision, OrganisationView::from(stored))
}

/// Change an organisation.
///
/// Suspending it ends its tokens and refuses its logins. Its own administrators may change the name alone.
#[utoipa::path(
    patch,
    operation_id = "update_organisation",
    path = "/admin/v1/organisations/{organisation}",
    tag = "organisations",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change was decided on"),
    ),
    request_body = OrganisationPatchBody,
    responses(
        (status = 200, description = "The organisation as it is now", body = OrganisationView),
        Refusals,
    )
)]
pub async fn update(
    In(tenant): In,
    IfMatch(seen): IfMatch,
    body: Result<Json<OrganisationPatchBody>, ApiError>,
) -> Result<Response, Refused> {
    let stored = tenant.update_organisation(&body?.value.into(), seen).await?;
    Ok(tagged(StatusCode::OK, stored.revision, OrganisationView::from(stored)))
}

/// Delete an organisation with all it has.
///
/// Ends its tokens. For administrators of the operator organisation.
#[utoipa::path(
    delete,
    operation_id = "delete_organisation",
    path = "/admin/v1/organisations/{organisation}",
    tag = "organisations",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("code" = String, Query, description = "The organisation's code, once more"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the deletion was decided on"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        Refusals,
    )
)]
pub async fn delete(In(tenant): In, IfMatch(seen): IfMatch, uri: Uri) -> Result<StatusCode, Refused> {
    let mut filters = Filters::of(&uri)?;
    let how = "say which organisation is to be deleted with all it has, as ?code=CODE";
    let code = filters.text("code").ok_or(ApiError::MissingParameter("code".into(), how))?;
    filters.finish()?;
    tenant.delete_organisation(&code, seen).await?;
    Ok(StatusCode::NO_CONTENT)
}
