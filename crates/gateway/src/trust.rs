//! Connections from the gateway to others: to the APIs behind it and to Doorward, with TLS where the address says `https`.

use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};

/// How connections are made.
pub type Connector = HttpsConnector<HttpConnector>;

/// Shorter than servers usually keep a connection that is not used (Node.js: 5 seconds): a request on a connection
/// that the server is closing fails, and only some may be sent again.
const KEEP_UNUSED: Duration = Duration::from_secs(4);

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that the machine believes.
    Machine,
    /// These and no others; none where no address is `https`.
    Only(RootCertStore),
}

/// A connector; an error says why the certificates cannot be used.
pub fn connector(trust: &Trust, connect_timeout: Duration) -> Result<Connector, String> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(connect_timeout));
    http.set_keepalive(Some(Duration::from_secs(60)));
    let builder = ClientConfig::builder();
    let tls = match trust {
        Trust::Machine => builder.try_with_platform_verifier().map_err(|error| error.to_string())?,
        Trust::Only(roots) => builder.with_root_certificates(roots.clone()),
    };
    let tls = tls.with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http))
}

/// A client with connections that are used again.
pub fn client<B>(connector: Connector, connections: usize) -> Client<Connector, B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_UNUSED)
        .pool_max_idle_per_host(connections)
        .build(connector)
}
