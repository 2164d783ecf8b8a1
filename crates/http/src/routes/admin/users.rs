//! `/admin/v1/organisations/{organisation}/users`.

use axum::{
    Json as Answer,
    http::{StatusCode, Uri},
    response::Response,
};
use doorward_domain::{
    administration::Tenant,
    id::UserId,
    name::fold,
    resource::{UserDetails, UserFilter},
};

use super::{Id, IfMatch, In, Refusals, Refused, created, listed, tagged};
use crate::{
    error::ApiError,
    filters::Filters,
    json::Json,
    wire::admin::{List, NewUserBody, PasswordBody, PasswordView, USE_STATUSES, UserPatchBody, UserView},
};

/// List users.
///
/// By username; those of one unit by id.
#[utoipa::path(
    get,
    operation_id = "list_users",
    path = "/admin/v1/organisations/{organisation}/users",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("prefix" = Option<String>, Query, description = "Those whose username begins so, in either case"),
        ("username" = Option<String>, Query, description = "The one of this username, in either case"),
        ("email" = Option<String>, Query, description = "Those of this e-mail address, in either case"),
        ("status" = Option<crate::wire::admin::UseStatus>, Query, description = "Those of this status"),
        ("unit" = Option<String>, Query, description = "Those who work in the unit of this id"),
        ("limit" = Option<u16>, Query, description = "The most items, from 1 to 1000; 100 if absent", minimum = 1, maximum = 1000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the list", body = List<UserView>),
        Refusals,
    )
)]
pub async fn list(In(tenant): In, uri: Uri) -> Result<Answer<List<UserView>>, Refused> {
    let mut filters = Filters::of(&uri)?;
    let filter = UserFilter {
        prefix: filters.text("prefix").map(|prefix| fold(&prefix)),
        username: filters.text("username").map(|name| fold(&name).trim().to_owned()),
        email: filters.text("email"),
        status: filters.word("status", &USE_STATUSES)?,
        unit: filters.id("unit")?,
    };
    let page = filters.page()?;
    filters.finish()?;
    let found = tenant.list_users(filter, page).await?;
    let ids: Vec<_> = found.items.iter().map(|details| details.user.value.id).collect();
    let locked_until = tenant.locked_until(&ids).await?;
    Ok(listed(found, |details| {
        let locked_until = locked_until.get(&details.user.value.id).copied();
        UserView::new(details, locked_until)
    }))
}

async fn view(tenant: &Tenant, details: UserDetails) -> Result<UserView, Refused> {
    let id = details.user.value.id;
    let locked_until = tenant.locked_until(&[id]).await?.remove(&id);
    Ok(UserView::new(details, locked_until))
}

/// Create a user.
///
/// With an `Idempotency-Key` a repeated request creates nothing more for a day.
#[utoipa::path(
    post,
    operation_id = "create_user",
    path = "/admin/v1/organisations/{organisation}/users",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("Idempotency-Key" = Option<String>, Header, description = "Any text, new for each new request"),
    ),
    request_body = NewUserBody,
    responses(
        (status = 201, description = "Created", body = UserView),
        Refusals,
    )
)]
pub async fn create(In(tenant): In, body: Result<Json<NewUserBody>, ApiError>) -> Result<Response, Refused> {
    let body = body?;
    let made = tenant.create_user(body.value.into(), body.idempotency).await?;
    let organisation = tenant.organisation().value.id;
    let (id, revision) = (made.value.user.value.id, made.value.user.revision);
    let place = format!("/admin/v1/organisations/{organisation}/users/{id}");
    Ok(created(place, made.is_repeat, revision, view(&tenant, made.value).await?))
}

/// Get a user.
#[utoipa::path(
    get,
    operation_id = "get_user",
    path = "/admin/v1/organisations/{organisation}/users/{user}",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = String, Path, description = "The user's id"),
    ),
    responses(
        (status = 200, description = "As it is now", body = UserView),
        Refusals,
    )
)]
pub async fn get(In(tenant): In, Id(id): Id<UserId>) -> Result<Response, Refused> {
    let found = tenant.get_user(id).await?;
    Ok(tagged(StatusCode::OK, found.user.revision, view(&tenant, found).await?))
}

/// Change a user.
///
/// Disabling the user, and taking a unit away, ends the user's tokens.
#[utoipa::path(
    patch,
    operation_id = "update_user",
    path = "/admin/v1/organisations/{organisation}/users/{user}",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = String, Path, description = "The user's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    request_body = UserPatchBody,
    responses(
        (status = 200, description = "As it is now", body = UserView),
        Refusals,
    )
)]
pub async fn update(
    In(tenant): In,
    Id(id): Id<UserId>,
    IfMatch(seen): IfMatch,
    body: Result<Json<UserPatchBody>, ApiError>,
) -> Result<Response, Refused> {
    let changed = tenant.update_user(id, &body?.value.into(), seen).await?;
    Ok(tagged(StatusCode::OK, changed.user.revision, view(&tenant, changed).await?))
}

/// Delete a user.
///
/// Ends the user's tokens and deletes the user's Web API keys.
#[utoipa::path(
    delete,
    operation_id = "delete_user",
    path = "/admin/v1/organisations/{organisation}/users/{user}",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = String, Path, description = "The user's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that this was decided on"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        Refusals,
    )
)]
pub async fn delete(
    In(tenant): In,
    Id(id): Id<UserId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Refused> {
    tenant.delete_user(id, seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set a user's password.
///
/// Ends the user's tokens. Without a password in the body one is generated and answered. One's own password is changed
/// with `POST /authentication/password`.
#[utoipa::path(
    post,
    operation_id = "set_password",
    path = "/admin/v1/organisations/{organisation}/users/{user}/password",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = String, Path, description = "The user's id"),
    ),
    request_body = PasswordBody,
    responses(
        (status = 200, description = "It is set", body = PasswordView),
        Refusals,
    )
)]
pub async fn set_password(
    In(tenant): In,
    Id(id): Id<UserId>,
    body: Result<Json<PasswordBody>, ApiError>,
) -> Result<Answer<PasswordView>, Refused> {
    let generated = tenant.reset_password(id, body?.value.into()).await?;
    Ok(Answer(PasswordView { password: generated.map(|password| password.expose().to_owned()) }))
}

/// Lift the lock of a user.
///
/// Failed logins lock an account for a growing time.
#[utoipa::path(
    post,
    operation_id = "unlock_user",
    path = "/admin/v1/organisations/{organisation}/users/{user}/unlock",
    tag = "users",
    security(("token" = [])),
    params(
        ("organisation" = String, Path, description = "The organisation's id or code"),
        ("user" = String, Path, description = "The user's id"),
    ),
    responses(
        (status = 204, description = "There is no lock any more"),
        Refusals,
    )
)]
pub async fn unlock(In(tenant): In, Id(id): Id<UserId>) -> Result<StatusCode, Refused> {
    tenant.unlock_user(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
