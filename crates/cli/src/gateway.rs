//! `doorward gateway`: reads the routes, wires the gateway to its listeners, and stops in reverse.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use doorward_domain::{address::TrustedProxies, random::Randomness};
use doorward_gateway::{
    gateway::{Gateway, Options},
    listener::{self, Bounds},
    routes::Routes,
    trust::{self, Trust},
    upstream::Patience,
};
use doorward_http::listener::Handle;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    args::{self, WrongUse},
    config::{Log, Tls},
    logging,
    serve::{STOP_TIMEOUT, Signals, Told, bind, read_tls},
    system::SystemRandomness,
};

pub(crate) fn run(args: &args::Gateway) -> anyhow::Result<()> {
    let _log = logging::start(&Log { format: args.log_format, level: args.log_level });
    // Two providers compiled in would make rustls guess; there is one, and it is named.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let routes = routes(args)?;
    let trust = trust(args, &routes)?;
    let connector = trust::connector(&trust, *args.connect_timeout)
        .map_err(|problem| anyhow!("the certificates of this machine cannot be used: {problem}; name those of the upstream with --ca-certificate"))?;
    let gateway = Gateway::new(Options {
        routes,
        doorward: args.doorward.clone(),
        connector,
        check_timeout: *args.check_timeout,
        patience: Patience { first_byte: *args.first_byte_timeout, idle: *args.idle_timeout },
        look_timeout: *args.header_timeout,
        body_limit: args.body_limit,
        requests: args.max_requests,
        websockets: args.max_websockets,
        proxies: TrustedProxies::new(args.trusted_proxies.clone()),
        seed: (&SystemRandomness as &dyn Randomness).bytes().map(u32::from_ne_bytes)?,
    });
    let gateway = Arc::new(gateway.map_err(|problem| anyhow!("the gateway cannot start: {problem}"))?);
    let listener = bind("--listen", args.listen)?;
    let operators = args.listen_admin.map(|address| bind("--listen-admin", address)).transpose()?;
    let runtime = tokio::runtime::Runtime::new().context("the threads of the gateway cannot be started")?;
    runtime.block_on(serve(args, gateway, listener, operators))
}

fn routes(args: &args::Gateway) -> anyhow::Result<Routes> {
    if let Some(upstream) = &args.upstream {
        return Routes::single(upstream, args.refuse_with_200)
            .map_err(|problem| WrongUse(format!("--upstream {problem}")).into());
    }
    let Some(file) = &args.routes else {
        bail!(WrongUse("name an API with --upstream URL, or a file with routes with --routes FILE".into()))
    };
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        WrongUse(format!("{shown}: cannot read the file: {error}; name another with --routes"))
    })?;
    Ok(Routes::read(&text).map_err(|problems| WrongUse(format!("{shown}: {problems}")))?)
}

/// Whose certificates are believed. Without `https` those of the machine need not be read, nor be there.
fn trust(args: &args::Gateway, routes: &Routes) -> anyhow::Result<Trust> {
    if let Some(file) = &args.ca_certificate {
        return Ok(Trust::Only(authorities(file)?));
    }
    let upstreams = routes.all().iter().map(|route| &route.upstream);
    let is_secure = upstreams.chain([&args.doorward]).any(|address| address.scheme_str() == Some("https"));
    Ok(if is_secure { Trust::Machine } else { Trust::Only(RootCertStore::empty()) })
}

fn authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let unusable = || format!("the certificate {} cannot be used", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(unusable)? {
        roots.add(certificate.with_context(unusable)?).with_context(unusable)?;
    }
    if roots.is_empty() {
        bail!("{}: it has no certificate in PEM form", unusable());
    }
    Ok(roots)
}

async fn serve(
    args: &args::Gateway,
    gateway: Arc<Gateway>,
    listener: std::net::TcpListener,
    operators: Option<std::net::TcpListener>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals cannot be received")?;
    let files = args.tls_certificate.clone().zip(args.tls_key.clone());
    let files = files.map(|(certificate, key)| Tls { certificate, key });
    let tls = match &files {
        Some(files) => Some(read_tls(files).await?),
        None => None,
    };
    let bounds = Bounds {
        header_timeout: *args.header_timeout,
        connections: args.max_connections,
        write_timeout: *args.idle_timeout,
    };
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let server =
        tokio::spawn(listener::serve(listener, gateway.clone(), tls.clone(), bounds, handle.clone()));
    let operators_handle = Handle::new();
    let operators_address = operators.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
    let operators = operators.map(|operators| {
        let serving = listener::serve_operators(
            operators,
            gateway.clone(),
            *args.header_timeout,
            operators_handle.clone(),
        );
        tokio::spawn(serving)
    });
    let admin = operators_address.map(tracing::field::display);
    tracing::info!(gateway = %address, admin, doorward = %args.doorward, "listening");

    while signals.next().await == Told::ReadTlsAgain {
        match (&files, &tls) {
            (Some(files), Some(current)) => {
                match current.reload_from_pem_file(&files.certificate, &files.key).await {
                    Ok(()) => tracing::info!("TLS certificate and key read again"),
                    Err(error) => {
                        tracing::error!(%error, "TLS certificate and key cannot be read; the old ones stay in use");
                    }
                }
            }
            _ => tracing::info!("SIGHUP: there is no TLS certificate to read again"),
        }
    }

    tracing::info!("stopping: requests in progress are finished");
    gateway.stop();
    handle.stop(STOP_TIMEOUT);
    server.await??;
    if let Some(operators) = operators {
        operators_handle.stop(Duration::from_secs(1));
        operators.await??;
    }
    tracing::info!("stopped");
    Ok(())
}
