//! An API behind the gateway. Headers of one connection, framing and upgrades are the proxy library's work; here its
//! answers get deadlines.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{Uri, Version},
    response::Response,
};
use axum_reverse_proxy::{HostBehaviour, ProxyError, ProxyPolicy, ReverseProxy, XForwardedFor};
use hyper_util::client::legacy::Client;
use tokio::time::sleep_until;

use crate::{
    body::{Fault, Watch},
    handover,
    refusal::Refusal,
    trust::Connector,
};

/// How long an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the last part of a request to the head of its answer.
    pub first_byte: Duration,
    /// Between two parts of a body, either way.
    pub idle: Duration,
}

/// One of the APIs.
pub struct Upstream {
    proxy: ReverseProxy<Connector>,
    patience: Patience,
}

impl Upstream {
    /// The API at this address.
    pub fn new(address: &Uri, client: Client<Connector, Body>, patience: Patience) -> Self {
        // Where a request comes from is said by us: the library would believe what the client says. The deadline is ours
        // too, for the library's counts the time in which a large body is sent.
        let policy = ProxyPolicy::new()
            .with_host_behaviour(HostBehaviour::Replace)
            .with_x_forwarded_for(XForwardedFor::Preserve)
            .with_websocket_connect_timeout(patience.first_byte);
        let proxy = ReverseProxy::new_with_client("", address.to_string(), client).with_policy(policy);
        Self { proxy, patience }
    }

    /// How long a body may pause.
    pub fn idle(&self) -> Duration {
        self.patience.idle
    }

    /// Hands a request on. `watch` is that of its body.
    pub async fn send(&self, request: Request, watch: &Arc<Watch>) -> Result<Response, Refusal> {
        let answering = self.proxy.proxy_request(request);
        tokio::pin!(answering);
        let response = loop {
            let deadline = watch.last() + self.patience.first_byte;
            tokio::select! {
                answer = &mut answering => match answer {
                    Ok(response) => break response,
                    Err(never) => match never {},
                },
                () = sleep_until(deadline) => {
                    if watch.last() + self.patience.first_byte <= tokio::time::Instant::now() {
                        tracing::warn!("the upstream does not answer in time");
                        return Err(Refusal::gateway_timeout());
                    }
                }
            }
        };
        if let Some(error) = response.extensions().get::<ProxyError>() {
            return Err(match watch.fault() {
                Some(Fault::Slow) => Refusal::slow_client(),
                Some(Fault::Broken) => Refusal::broken_body(),
                None if response.status() == axum::http::StatusCode::GATEWAY_TIMEOUT => {
                    tracing::warn!("the upstream does not answer in time");
                    Refusal::gateway_timeout()
                }
                None => {
                    tracing::warn!(reason = error.message(), "the upstream cannot be asked");
                    Refusal::bad_gateway()
                }
            });
        }
        let mut response = response;
        // Our own version is what the client is answered in: an upstream of HTTP/1.0 must not end our connections.
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| handover::within(self.patience.idle, body)))
    }
}
