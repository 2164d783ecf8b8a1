//! The admin API, `/admin/v1`.

mod callers;
pub mod evidence;
mod import;
mod keys;
mod names;
mod organisations;
mod records;
mod recreated;
mod requests;
mod routes;
mod rules;
mod sessions;
mod tenancy;
mod units;
mod users;

use doorward_testkit::Answer;

/// An id that nothing has.
fn nobody() -> String {
    "0123456789ABCDEF".repeat(2)
}

/// The text of a member that must be there.
#[track_caller]
fn text<'a>(value: &'a serde_json::Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no text '{member}': {value}"))
}

/// The id of something.
#[track_caller]
fn id(value: &serde_json::Value) -> String {
    text(value, "id").to_owned()
}

/// The members of this name of all items of a list.
fn each(items: &[serde_json::Value], member: &str) -> Vec<String> {
    items.iter().map(|item| text(item, member).to_owned()).collect()
}

/// What a caller can tell two answers apart by: all but the id of the request and the time.
fn seen(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), format!("{value:?}")))
        .collect();
    headers.sort();
    (answer.status, answer.text.clone(), headers)
}

/// Options under which the test's own requests come from where `X-Forwarded-For` says.
fn behind_a_proxy() -> doorward_testkit::Options {
    let proxies = doorward_domain::address::TrustedProxies::new(vec!["127.0.0.1".parse().unwrap()]);
    doorward_testkit::Options { proxies, ..doorward_testkit::Options::default() }
}

/// A login with a password from an address.
async fn log_in_from(
    server: &doorward_testkit::TestServer,
    address: &str,
    username: &str,
    password: &str,
) -> Answer {
    let body = serde_json::json!({"username": username, "password": password, "organisation": "CRMDEMO"});
    let request = server.request("POST", "/authentication/token").header("x-forwarded-for", address);
    Answer::of(request.json(&body)).await
}

/// A login with a Web API key from an address.
async fn key_from(server: &doorward_testkit::TestServer, address: &str, secret: &str) -> Answer {
    let request =
        server.request("POST", "/authentication/web_api_key/token").header("x-forwarded-for", address);
    Answer::of(request.basic_auth(secret, Some(""))).await
}
