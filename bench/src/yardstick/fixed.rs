//! Plain hyper's fixed answer: what the HTTP stack costs by itself, and the yardstick of all rows.

use std::{convert::Infallible, sync::Arc};

use http_body_util::BodyExt;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Answers;

pub(super) async fn serve(listener: TcpListener, answers: Answers) -> anyhow::Result<()> {
    let answers = Arc::new(answers);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answers = &answers;
                async move {
                    let answer = answers.at(request.uri().path());
                    // What was asked has to be read, as the product reads it.
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(answer.response())
                }
            });
            // That a client has gone is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
