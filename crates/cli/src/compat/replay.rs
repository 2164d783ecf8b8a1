//! `doorward compat replay`: a recording is sent to another server, and what it answers is compared.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, Url, redirect::Policy};
use serde_json::Value;

use super::{
    exchange::{Answer, Exchange},
    record::read_url,
    secrets::{UNREADABLE_BODY, Values, kind_of, name_of, names_in, showable},
};
use crate::{args::WrongUse, client::plain};

#[derive(Debug, Args)]
pub(crate) struct Secrets {
    /// What `doorward compat record` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// What `doorward compat record` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The API listener of the server to be compared
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// The values of the passwords and keys, as `doorward compat secrets` lists them
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn list_secrets(args: &Secrets) -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    let mut given: BTreeSet<String> = BTreeSet::new();
    for exchange in read(&args.file)? {
        let sent = [Some(&exchange.target), exchange.authorization.as_ref(), Some(&exchange.body)];
        let sent = sent.into_iter().flatten().flat_map(|text| names_in(text));
        // What a server gave before is not asked for.
        names.extend(sent.filter(|name| !given.contains(*name)).map(str::to_owned));
        given.extend(names_in(&exchange.answer.body).into_iter().map(str::to_owned));
    }
    let mut text =
        String::from("# The secrets that clients sent; fill in their values and keep this file safe.\n");
    for name in names {
        text += &format!("\"{name}\" = \"\"\n");
    }
    crate::print(&text)
}

pub(super) async fn run(args: &Replay) -> anyhow::Result<ExitCode> {
    let server = read_url("--server", &args.server)?;
    let mut values = match &args.secrets {
        Some(file) => read_secrets(file)?,
        None => Values::default(),
    };
    let exchanges = read(&args.file)?;
    let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(TIMEOUT).build()?;
    let (mut same, mut differing, mut unsent) = (0_u64, 0_u64, 0_u64);
    for (place, exchange) in exchanges.iter().enumerate() {
        let called = format!("{}: {} {}", place + 1, plain(&exchange.method), plain(&exchange.target));
        if exchange.body == UNREADABLE_BODY {
            unsent += 1;
            crate::print(&format!("{called}\n    was not sent: its body could not be recorded\n"))?;
            continue;
        }
        let answered = match send(&client, &server, exchange, &values).await? {
            Ok(answered) => answered,
            Err(name) => {
                unsent += 1;
                crate::print(&format!(
                    "{called}\n    was not sent: there is no value of '{}'\n",
                    plain(&name)
                ))?;
                continue;
            }
        };
        let differences = compare(&exchange.answer, &answered);
        if let (Ok(recorded), Ok(answered)) =
            (serde_json::from_str(&exchange.answer.body), serde_json::from_str(&answered.body))
        {
            values.learn(&recorded, &answered);
        }
        if differences.is_empty() {
            same += 1;
            continue;
        }
        differing += 1;
        crate::print(&format!(
            "{called}\n{}",
            differences.iter().map(|line| format!("    {line}\n")).collect::<String>()
        ))?;
    }
    crate::print(&format!(
        "{same} answers are the same, {differing} differ, {unsent} requests were not sent.\n"
    ))?;
    Ok(if differing + unsent == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> anyhow::Result<Vec<Exchange>> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| format!("{shown} cannot be read"))?;
    let mut exchanges = Vec::new();
    for (line, text) in BufReader::new(opened).lines().enumerate() {
        let text = text.with_context(|| format!("{shown} cannot be read"))?;
        match serde_json::from_str(&text) {
            Ok(exchange) => exchanges.push(exchange),
            Err(error) => bail!(
                "{shown}, line {}: it is nothing that `doorward compat record` writes (column {})",
                line + 1,
                error.column()
            ),
        }
    }
    Ok(exchanges)
}

fn read_secrets(file: &Path) -> anyhow::Result<Values> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        // The text of the error shows the line, and with it a secret.
        WrongUse(format!("{shown}, line {line}: it is not TOML; write \"password 1\" = \"the password\""))
    })?;
    let mut values = Values::default();
    for (name, value) in &table {
        match value.as_str() {
            Some("") => {}
            Some(value) => values.set(name, value),
            None => bail!(WrongUse(format!("{shown}: the value of '{}' must be a text", plain(name)))),
        }
    }
    Ok(values)
}

/// Sends a recorded request; the name of a secret that has no value is the inner error.
async fn send(
    client: &Client,
    server: &Url,
    exchange: &Exchange,
    values: &Values,
) -> anyhow::Result<Result<Answer, String>> {
    let in_url = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    let in_json = |value: &str| {
        let quoted = Value::from(value).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let is_json = serde_json::from_str::<Value>(&exchange.body).is_ok();
    let revealed = || -> Result<_, String> {
        let target = values.reveal(&exchange.target, in_url)?;
        let authorization = exchange.authorization.as_deref();
        let authorization = authorization.map(|value| values.reveal_authorization(value)).transpose()?;
        let body = values.reveal(&exchange.body, if is_json { in_json } else { in_url })?;
        Ok((target, authorization, body))
    };
    let (target, authorization, body) = match revealed() {
        Ok(revealed) => revealed,
        Err(name) => return Ok(Err(name)),
    };
    let method: Method = exchange.method.parse().context("a recorded method is none")?;
    let base = server.as_str().trim_end_matches('/');
    let mut request = client.request(method, format!("{base}{target}"));
    if let Some(content_type) = &exchange.content_type {
        request = request.header("content-type", content_type);
    }
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    if !body.is_empty() {
        request = request.body(body);
    }
    let unreachable = || format!("{server} does not answer; is it the API listener of a running server?");
    let answer = request.send().await.map_err(reqwest::Error::without_url).with_context(unreachable)?;
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.map(str::to_owned);
    let body = answer.text().await.map_err(reqwest::Error::without_url).with_context(unreachable)?;
    Ok(Ok(Answer { status, content_type, body }))
}

/// What is different, a line each. Values of secrets are none of it: where the recorded answer has one, the other must
/// have some.
fn compare(recorded: &Answer, answered: &Answer) -> Vec<String> {
    let mut differences = Vec::new();
    if recorded.status != answered.status {
        differences.push(format!("status: {} -> {}", recorded.status, answered.status));
    }
    let kind = |answer: &Answer| {
        let kind = answer.content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    };
    if kind(recorded) != kind(answered) {
        differences.push(format!(
            "content type: '{}' -> '{}'",
            plain(&kind(recorded)),
            plain(&kind(answered))
        ));
    }
    match (serde_json::from_str(&recorded.body), serde_json::from_str(&answered.body)) {
        (Ok(recorded), Ok(answered)) => compare_json("", None, &recorded, &answered, &mut differences),
        _ if recorded.body == answered.body => {}
        _ if recorded.body == UNREADABLE_BODY => {
            differences.push("body: the old server's could not be recorded".to_owned());
        }
        _ => differences.push("body: it is another text".to_owned()),
    }
    differences
}

/// `kind` is that of the secret which is at this place.
fn compare_json(
    place: &str,
    kind: Option<&'static str>,
    recorded: &Value,
    answered: &Value,
    differences: &mut Vec<String>,
) {
    let shown = |value: &Value, kind| match value {
        Value::String(text) if name_of(text).is_none() && text.len() > 200 => "a long text".to_owned(),
        // The other server's secrets are in force.
        other => plain(&showable(other, kind).to_string()),
    };
    match (recorded, answered) {
        (Value::Object(one), Value::Object(other)) => {
            for (name, value) in one {
                let (place, kind) = (format!("{place}/{name}"), kind_of(name).or(kind));
                match other.get(name) {
                    Some(answered) => compare_json(&place, kind, value, answered, differences),
                    None => differences.push(format!("{}: {} -> absent", plain(&place), shown(value, kind))),
                }
            }
            for name in other.keys().filter(|name| !one.contains_key(*name)) {
                differences.push(format!("{}: absent -> present", plain(&format!("{place}/{name}"))));
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare_json(&format!("{place}/{index}"), kind, one, other, differences);
            }
        }
        (Value::String(one), Value::String(other)) if name_of(one).is_some() => {
            if other.is_empty() {
                differences.push(format!("{}: {one} -> empty", plain(place)));
            }
        }
        _ if recorded == answered => {}
        _ => differences.push(format!(
            "{}: {} -> {}",
            plain(place),
            shown(recorded, kind),
            shown(answered, kind)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, content_type: Some("application/json; charset=utf-8".into()), body: body.into() }
    }

    #[test]
    fn differences_are_named_by_their_place() {
        let recorded = answer(
            200,
            r#"{"status":{"code":"OK","message":null},"data":{"token":"{{token 1}}","a":[1,2]}}"#,
        );
        let same =
            answer(200, r#"{"data":{"a":[1,2],"token":"4AD9"},"status":{"message":null,"code":"OK"}}"#);
        assert_eq!(compare(&recorded, &same), [""; 0]);
        let other = answer(401, r#"{"data":{"a":[1,3],"token":""},"status":{"code":"INVALID","x":{}}}"#);
        assert_eq!(
            compare(&recorded, &other),
            [
                "status: 200 -> 401",
                "/data/a/1: 2 -> 3",
                "/data/token: {{token 1}} -> empty",
                "/status/code: \"OK\" -> \"INVALID\"",
                "/status/message: null -> absent",
                "/status/x: absent -> present",
            ]
        );
        let none = answer(200, r#"{"status":{"code":"OK","message":null},"data":{"token":null,"a":[1,2]}}"#);
        let more = answer(
            200,
            r#"{"status":{"code":"OK","message":null},"data":{"token":"EC13","a":{"newToken":7}}}"#,
        );
        // H2: what the other server gave is in force.
        assert_eq!(
            compare(&none, &more),
            ["/data/a: [1,2] -> {\"newToken\":\"a secret\"}", "/data/token: null -> \"a secret\""]
        );
        let unreadable = Answer { body: UNREADABLE_BODY.into(), ..answer(200, "") };
        assert_eq!(compare(&unreadable, &more), ["body: the old server's could not be recorded"]);
        let text = Answer { content_type: Some("text/html".into()), ..answer(200, "<p>") };
        assert_eq!(
            compare(&recorded, &text),
            ["content type: 'application/json' -> 'text/html'", "body: it is another text"]
        );
    }
}
