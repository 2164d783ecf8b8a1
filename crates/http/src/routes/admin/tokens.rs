//! `/admin/v1/tokens`.

use axum::Json as Answer;

use super::{Admin, Refusals, Refused};
use crate::{
    error::ApiError,
    json::Json,
    wire::evidence::{ExplainBody, ExplanationView},
};

/// Explain a token.
///
/// Why it is or is not in force, who ended it and when. This is no use of it. Of tokens that ended more than seven days
/// ago, and of those of organisations that the caller does not manage, nothing is told.
#[utoipa::path(
    post,
    operation_id = "explain_token",
    path = "/admin/v1/tokens/explain",
    tag = "tokens",
    security(("token" = [])),
    request_body = ExplainBody,
    responses(
        (status = 200, description = "How it stands", body = ExplanationView),
        Refusals,
    )
)]
pub async fn explain(
    Admin(administrator): Admin,
    body: Result<Json<ExplainBody>, ApiError>,
) -> Result<Answer<ExplanationView>, Refused> {
    let ExplainBody { token, address } = body?.value;
    let address = match address.as_deref().map(str::parse) {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => {
            let problem = "is not an IP address; send one such as 192.0.2.7, or none".into();
            return Err(ApiError::InvalidParameter("address".into(), problem).into());
        }
    };
    Ok(Answer(administrator.explain(&token, address).await?.into()))
}
