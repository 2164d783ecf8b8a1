//! All paths of the listeners.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    error::ApiError,
    front::Paths,
    problem::Problem,
    routes::{
        admin, batch, ext_authz, health, introspect, key_token, password, release, revoke, token, verify,
    },
    state::State,
};

/// Where existing CRM.COM clients find the resource.
const CRM_COM: &str = "/crmapi/rest/v2/authentication";
/// Where new clients do.
const AUTHENTICATION: &str = "/authentication";

/// The API listener: the contract on both mounts, verification and the OAuth endpoints.
pub fn api(state: State) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        .route(&format!("{CRM_COM}/token"), post(token::issue).get(token::look))
        .route(&format!("{CRM_COM}/web_api_key/token"), post(key_token::issue))
        .route(&format!("{CRM_COM}/token/release"), post(release::release))
        .route(&format!("{CRM_COM}/password"), post(password::change))
        .route("/verify", any(verify::verify))
        // For proxies that add the path of the request they ask about. It stands behind a word of its own, so that no
        // request of a client reaches another route.
        .route("/verify/at", any(verify::verify))
        .route("/verify/at/{*path}", any(verify::verify))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

/// The paths of the API listener that the API document describes.
fn documented() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        .merge(authentication())
        .routes(routes!(introspect::introspect))
        .routes(routes!(batch::verify))
        .routes(routes!(revoke::revoke))
}

/// The contract, on the mount for new clients.
fn authentication() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(token::issue, token::look))
        .routes(routes!(key_token::issue))
        .routes(routes!(release::release))
        .routes(routes!(password::change))
}

/// The admin API.
fn administration() -> OpenApiRouter<State> {
    use admin::{keys, organisations, records, rules, sessions, tokens, units, users};
    OpenApiRouter::new()
        .routes(routes!(organisations::list, organisations::create))
        .routes(routes!(organisations::get, organisations::update, organisations::delete))
        .routes(routes!(units::list, units::create))
        .routes(routes!(units::get, units::update, units::delete))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::get, users::update, users::delete))
        .routes(routes!(users::set_password))
        .routes(routes!(users::unlock))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::get, keys::update, keys::delete))
        .routes(routes!(keys::rotate))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(rules::get, rules::update))
        .routes(routes!(records::list))
        .routes(routes!(records::chain))
        .routes(routes!(records::list_unassigned))
        .routes(routes!(records::unassigned_chain))
        .routes(routes!(tokens::explain))
}

/// What brings many things in at once, with larger bodies.
fn importing() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(admin::import::import))
}

/// The admin listener: the admin API, logins for those who use it, health, metrics and the API document.
fn admin(state: State) -> Router {
    // The paths that the page shows are on the other listener, which a page of this one may not call.
    let shown = utoipa_swagger_ui::Config::default().supported_submit_methods([] as [&str; 0]);
    let (administration, _) = administration().split_for_parts();
    let (importing, _) = importing().split_for_parts();
    let (authentication, _) = authentication().split_for_parts();
    administration
        .layer(axum::middleware::from_fn_with_state(state.clone(), admin::read_body))
        .merge(importing.layer(axum::middleware::from_fn_with_state(state.clone(), admin::import::read_body)))
        .merge(authentication)
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(state)
        .merge(SwaggerUi::new("/docs").config(shown).url("/openapi.json", openapi()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

/// The API document (OpenAPI 3.1).
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) = documented().merge(administration()).merge(importing()).split_for_parts();
    // Every method is answered alike; the document shows the one that proxies send.
    document.merge(VerifyDocument::openapi());
    document
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Doorward",
    description = "Logins, verification and release of tokens for a company's Web APIs. The paths under \
                   `/authentication` answer under `/crmapi/rest/v2/authentication` too, with the same bodies and always \
                   with status 200, for existing clients of CRM.COM's Web API.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
), modifiers(&Security))]
struct ApiDocument;

#[derive(OpenApi)]
#[openapi(paths(verify::verify))]
struct VerifyDocument;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = |scheme, text: &str| {
            SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(text)).build())
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "web_api_key",
            scheme(HttpAuthScheme::Basic, "A Web API key as the username, an empty password"),
        );
        components.add_security_scheme("token", scheme(HttpAuthScheme::Bearer, "A token"));
    }
}

async fn not_found(request: Request) -> Response {
    refuse(&request, ApiError::NotFound)
}

async fn method_not_allowed(request: Request) -> Response {
    refuse(&request, ApiError::MethodNotAllowed)
}

/// Refuses in the envelope on the two mounts, with a problem document elsewhere.
fn refuse(request: &Request, error: ApiError) -> Response {
    match Mount::of(request.uri().path()) {
        Mount::None => Problem::of(&error),
        Mount::Authentication | Mount::CrmCom => error.into_response(),
    }
}

/// The mount that a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mount {
    Authentication,
    CrmCom,
    None,
}

impl Mount {
    fn of(path: &str) -> Self {
        let is_under = |mount: &str| {
            path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_under(AUTHENTICATION) {
            Self::Authentication
        } else if is_under(CRM_COM) {
            Self::CrmCom
        } else {
            Self::None
        }
    }
}

/// What metrics and logs call the thing that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Token,
    KeyToken,
    Release,
    Password,
    Verify,
    ExtAuthz,
    Introspect,
    Revoke,
    Admin,
    Health,
    Other,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 11] = [
        Self::Token,
        Self::KeyToken,
        Self::Release,
        Self::Password,
        Self::Verify,
        Self::ExtAuthz,
        Self::Introspect,
        Self::Revoke,
        Self::Admin,
        Self::Health,
        Self::Other,
    ];

    pub(crate) fn of(path: &str) -> (Mount, Self) {
        let mount = Mount::of(path);
        let rest = match mount {
            Mount::Authentication => &path[AUTHENTICATION.len()..],
            Mount::CrmCom => &path[CRM_COM.len()..],
            Mount::None => path,
        };
        let endpoint = match (mount, rest) {
            (Mount::None, "/verify" | "/verify/batch") => Self::Verify,
            (Mount::None, path) if path.starts_with("/verify/at") => Self::Verify,
            (Mount::None, ext_authz::PATH) => Self::ExtAuthz,
            (Mount::None, "/oauth2/introspect") => Self::Introspect,
            (Mount::None, "/oauth2/revoke") => Self::Revoke,
            (Mount::None, "/livez" | "/readyz" | "/metrics") => Self::Health,
            (Mount::None, path) if path.starts_with("/admin/") => Self::Admin,
            (Mount::Authentication | Mount::CrmCom, "/token") => Self::Token,
            (Mount::Authentication | Mount::CrmCom, "/web_api_key/token") => Self::KeyToken,
            (Mount::Authentication | Mount::CrmCom, "/token/release") => Self::Release,
            (Mount::Authentication | Mount::CrmCom, "/password") => Self::Password,
            _ => Self::Other,
        };
        (mount, endpoint)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::KeyToken => "web_api_key_token",
            Self::Release => "release",
            Self::Password => "password",
            Self::Verify => "verify",
            Self::ExtAuthz => "ext_authz",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Admin => "admin",
            Self::Health => "health",
            Self::Other => "other",
        }
    }

    /// Whether APIs ask it about every call that they get, or monitoring every few seconds, so that a line in the log
    /// for each would drown the rest.
    pub(crate) const fn is_asked_all_the_time(self) -> bool {
        matches!(self, Self::Verify | Self::ExtAuthz | Self::Introspect | Self::Health)
    }
}

/// Builds the API listener's service.
pub fn api_service(state: State, seed: u32) -> crate::Front {
    let (metrics, proxies) = (Arc::clone(&state.metrics), Arc::clone(&state.proxies));
    crate::Front::new(api(state.clone()), Paths::Forgiven(Arc::new(state)), metrics, proxies, seed)
}

/// Builds the admin listener's service.
pub fn admin_service(state: State, seed: u32) -> crate::Front {
    let (metrics, proxies) = (Arc::clone(&state.metrics), Arc::clone(&state.proxies));
    crate::Front::new(admin(state), Paths::Exact, metrics, proxies, seed)
}

/// Builds the service of the listener that Envoy asks, if there is one.
pub fn ext_authz_service(state: State, seed: u32) -> crate::Front {
    let (metrics, proxies) = (Arc::clone(&state.metrics), Arc::clone(&state.proxies));
    crate::Front::new(ext_authz::router(state), Paths::Exact, metrics, proxies, seed)
}
