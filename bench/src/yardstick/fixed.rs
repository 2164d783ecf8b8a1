//! Plain hyper's fixed answer: what the HTTP stack costs by itself, and the yardstick of all rows.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::Answers;

pub(super) async fn serve(listener: TcpListener, answers: Answers) -> anyhow::Result<()> {
    let answers = Arc::new(answers);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&answers, request));
            // That a client has gone is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

pub(super) async fn serve_http2(listener: TcpListener, answers: Answers) -> anyhow::Result<()> {
    let answers = Arc::new(answers);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answers = answers.clone();
                async move { answer(&answers, request).await }
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(answers: &Answers, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = answers.at(request.uri().path());
    // What was asked has to be read, as the product reads it.
    let _ = request.into_body().collect().await;
    Ok(answer.response())
}
