//! `doorward compat record`: a proxy before the old server that writes down what passes.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router,
    body::{self, Body},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use clap::Args;
use reqwest::{Client, Url, redirect::Policy};

use super::{
    exchange::{Answer, Exchange},
    secrets::Names,
};
use crate::args::WrongUse;

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The file to write, which must not be there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The old server
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Where clients reach this proxy instead of the old server
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Write down all requests; without it those of the resource `authentication`, and all others pass unseen
    #[arg(long)]
    all: bool,
}

/// The longest body of a request or an answer.
const LONGEST: usize = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What only concerns one connection (RFC 9110, section 7.6.1), and what the proxy writes itself.
const OF_A_CONNECTION: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
];

struct Recorder {
    client: Client,
    upstream: Url,
    all: bool,
    written: Mutex<Written>,
}

struct Written {
    file: File,
    names: Names,
    count: u64,
}

pub(super) async fn run(args: &Record) -> anyhow::Result<()> {
    let upstream = read_url("--upstream", &args.upstream)?;
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&args.file);
    let file = file.with_context(|| {
        format!("{} cannot be made; name a file that is not there yet", args.file.display())
    })?;
    let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(TIMEOUT).build()?;
    let written = Mutex::new(Written { file, names: Names::default(), count: 0 });
    let recorder = Arc::new(Recorder { client, upstream, all: args.all, written });
    let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}; stop what uses it, or name another address with --listen", args.listen)
    })?;
    eprintln!(
        "Recording what clients of {} send to http://{}; Ctrl-C ends it.",
        recorder.upstream,
        listener.local_addr()?
    );
    let service = Router::new().fallback(pass).with_state(recorder.clone());
    axum::serve(listener, service)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    let written = recorder.written.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, unreadable) = (written.count, written.names.unreadable());
    eprintln!(
        "{count} requests are in {}, without their secrets; {unreadable} bodies were left out, being neither JSON nor a form.",
        args.file.display()
    );
    Ok(())
}

/// Reads the address of a server.
pub(super) fn read_url(flag: &str, text: &str) -> anyhow::Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() => {
            Ok(url)
        }
        _ => bail!(WrongUse(format!(
            "{flag}: '{}' is not the address of a server; write it as in https://old.example",
            crate::client::plain(text)
        ))),
    }
}

async fn pass(State(recorder): State<Arc<Recorder>>, request: Request) -> Response {
    match recorder.pass(request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            (StatusCode::BAD_GATEWAY, "the recording proxy could not pass this on\n").into_response()
        }
    }
}

impl Recorder {
    async fn pass(&self, request: Request) -> anyhow::Result<Response> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let sent =
            body::to_bytes(body, LONGEST).await.context("a request's body is too large or was cut off")?;
        let base = self.upstream.as_str().trim_end_matches('/');
        let mut forwarded = self.client.request(head.method.clone(), format!("{base}{target}"));
        forwarded = forwarded.headers(end_to_end(&head.headers)).body(sent.clone());
        let answer = forwarded.send().await.context("the old server did not answer")?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let got = answer.bytes().await.context("the old server's answer was cut off")?;
        let is_meant = self.all || head.uri.path().to_ascii_lowercase().contains("/authentication/");
        if is_meant {
            let text = |headers: &HeaderMap, name: HeaderName| {
                headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let names = &mut written.names;
            // In the order in which secrets come up.
            let exchange = Exchange {
                method: head.method.to_string(),
                content_type: text(&head.headers, header::CONTENT_TYPE),
                authorization: text(&head.headers, header::AUTHORIZATION)
                    .map(|value| names.conceal_authorization(&value)),
                target: match target.split_once('?') {
                    Some((path, query)) => {
                        format!("{}?{}", names.conceal_known(path), names.conceal_form(query))
                    }
                    None => names.conceal_known(&target),
                },
                body: names.conceal_body(&String::from_utf8_lossy(&sent)),
                answer: Answer {
                    status: status.as_u16(),
                    content_type: text(&headers, header::CONTENT_TYPE),
                    body: names.conceal_body(&String::from_utf8_lossy(&got)),
                },
            };
            let line = serde_json::to_string(&exchange)? + "\n";
            written.file.write_all(line.as_bytes()).context("the recording cannot be written")?;
            written.count += 1;
        }
        let mut response = Response::new(Body::from(got));
        *response.status_mut() = status;
        *response.headers_mut() = end_to_end(&headers);
        Ok(response)
    }
}

/// The headers that go on to the other side. No coding of bodies is asked for, so that they can be read.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let is_of_a_connection = |name: &HeaderName| {
        OF_A_CONNECTION.contains(&name.as_str())
            || *name == header::ACCEPT_ENCODING
            || named.iter().any(|known| known == name.as_str())
    };
    let pairs = headers.iter().filter(|(name, _)| !is_of_a_connection(name));
    pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
}
