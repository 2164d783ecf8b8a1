//! What many would build: the same stack, and the sessions in redis-server, which is asked for the token's digest.
//!
//! One connection over a Unix socket carries whatever is asked at a time in one write, which is the cheapest way to ask;
//! the record that comes back is not even read. So this is more than a real one would reach.

use std::{convert::Infallible, path::Path};

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, HeaderMap},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::{mpsc, oneshot},
};

use super::Answers;

/// What waits for redis at a time at most, and how many sessions are given to it in one write.
const BATCH: usize = 1_024;

/// What is kept of a session, in size and kind.
const RECORD: &str = r#"{"organisation":"019A7F3C52D07A41B6C8E4E02B7D9F10","unit":"019A7F3C52D17C02A95D3F8B61E0427C","user":"019A7F3C52D27B93804E17C6D5FA3B28","method":"password","expires":1795577762120}"#;

struct Question {
    digest: [u8; 32],
    found: oneshot::Sender<bool>,
}

pub(super) async fn serve(
    listener: TcpListener,
    answers: Answers,
    socket: &Path,
    sessions: u32,
) -> anyhow::Result<()> {
    let mut stream =
        UnixStream::connect(socket).await.with_context(|| format!("no redis at {}", socket.display()))?;
    fill(&mut stream, sessions).await?;
    let (questions, asked) = mpsc::channel(BATCH);
    tokio::spawn(async move {
        if let Err(error) = ask(stream, asked).await {
            eprintln!("redis-server: {error:#}");
            std::process::exit(1);
        }
    });
    let answers = std::sync::Arc::new(answers);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (answers, questions) = (answers.clone(), questions.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (answers, questions) = (&answers, &questions);
                async move {
                    let is_found = match digest(request.headers()) {
                        Some(digest) => {
                            let (found, answer) = oneshot::channel();
                            let sent = questions.send(Question { digest, found }).await;
                            sent.is_ok() && answer.await.unwrap_or(false)
                        }
                        None => false,
                    };
                    Ok::<_, Infallible>(if is_found {
                        answers.at(request.uri().path()).response()
                    } else {
                        refusal()
                    })
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn digest(headers: &HeaderMap) -> Option<[u8; 32]> {
    let token = headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")?;
    Some(Sha256::digest(token).into())
}

fn refusal() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Stores the sessions that `doorward-bench fill` gives the product.
async fn fill(stream: &mut UnixStream, sessions: u32) -> anyhow::Result<()> {
    let (mut sent, mut received) = (Vec::new(), BytesMut::new());
    let mut tokens = 0..sessions;
    loop {
        let some: Vec<u32> = tokens.by_ref().take(BATCH).collect();
        if some.is_empty() {
            return Ok(());
        }
        sent.clear();
        for token in &some {
            let digest: [u8; 32] = Sha256::digest(format!("{token:032X}")).into();
            sent.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$32\r\n");
            sent.extend_from_slice(&digest);
            sent.extend_from_slice(format!("\r\n${}\r\n{RECORD}\r\n", RECORD.len()).as_bytes());
        }
        stream.write_all(&sent).await?;
        while received.len() < some.len() * b"+OK\r\n".len() {
            ensure!(stream.read_buf(&mut received).await? > 0, "redis-server has gone");
        }
        ensure!(received.chunks(5).all(|answer| answer == b"+OK\r\n"), "redis-server does not take sessions");
        received.clear();
    }
}

/// Asks whatever waits in one write, and reads all answers before it asks again.
async fn ask(mut stream: UnixStream, mut asked: mpsc::Receiver<Question>) -> anyhow::Result<()> {
    let (mut some, mut sent, mut received) = (Vec::new(), Vec::new(), BytesMut::new());
    while asked.recv_many(&mut some, BATCH).await > 0 {
        sent.clear();
        for question in &some {
            sent.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$32\r\n");
            sent.extend_from_slice(&question.digest);
            sent.extend_from_slice(b"\r\n");
        }
        stream.write_all(&sent).await?;
        for question in some.drain(..) {
            let is_found = loop {
                if let Some(is_found) = take_answer(&mut received)? {
                    break is_found;
                }
                ensure!(stream.read_buf(&mut received).await? > 0, "it has gone");
            };
            // Whoever asked may have gone.
            let _ = question.found.send(is_found);
        }
    }
    Ok(())
}

/// Takes one answer to `GET` from what came, if all of it is there, and says whether there is a value.
fn take_answer(received: &mut BytesMut) -> anyhow::Result<Option<bool>> {
    let Some(end) = received.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&received[..end])?;
    let Some(length) = line.strip_prefix('$') else { bail!("it says {line}") };
    let Ok(length) = length.parse::<usize>() else {
        received.advance(end + 2);
        return Ok(Some(false));
    };
    let whole = end + 2 + length + 2;
    if received.len() < whole {
        return Ok(None);
    }
    received.advance(whole);
    Ok(Some(true))
}
