//! `doorward serve`: start in the order in which each step needs the one before it, run, and stop in reverse.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use axum_server::tls_rustls::RustlsConfig;
use doorward_domain::{
    address::TrustedProxies,
    administration::Administration,
    doorkeeper::{Doorkeeper, Parts},
    passwords::Passwords,
    policy::BreachedPasswords,
    random::Randomness,
};
use doorward_http::{
    Limits, Readiness, State,
    listener::{self, Bounds, Handle, places::Places},
    metrics::Metrics,
    router,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    args::{Serve, WrongUse},
    breached::BreachedFile,
    config::{Loaded, Tls},
    demo, descriptors, housekeeping, logging,
    store::{self, End, Running, Store},
    system::{SystemRandomness, lower_priority},
};

/// Where the demo keeps its data unless it is told otherwise.
const DEMO_FOLDER: &str = "doorward-demo-data";
/// How long requests in progress may take to finish when the server stops.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &Serve) -> anyhow::Result<()> {
    let loaded = args.flags.load()?;
    let Loaded { config, settings, .. } = &loaded;
    let _log = logging::start(&config.log);
    // Two providers compiled in would make rustls guess; there is one, and it is named.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let is_default = settings.iter().any(|setting| setting.key == "data" && setting.origin == "default");
    let folder = if args.demo && is_default { PathBuf::from(DEMO_FOLDER) } else { config.data.clone() };
    if args.demo {
        let listen = &config.listen;
        let always = [("listen.api", listen.api), ("listen.admin", listen.admin)];
        for (key, address) in
            always.into_iter().chain(listen.ext_authz.map(|address| ("listen.ext_authz", address)))
        {
            if !address.ip().is_loopback() {
                bail!(WrongUse(format!(
                    "the demo's secrets are public, so it listens on loopback only, and '{key}' is {address}; \
                     use 127.0.0.1, or run without --demo"
                )));
            }
        }
    }
    // Before the data is read, which may take a while: a port in use should be said at once.
    let api = bind("listen.api", config.listen.api)?;
    let admin = bind("listen.admin", config.listen.admin)?;
    let ext_authz = config.listen.ext_authz.map(|address| bind("listen.ext_authz", address)).transpose()?;
    let bound = Bound { api, admin, ext_authz };
    let runtime = tokio::runtime::Runtime::new().context("the threads of the server cannot be started")?;
    runtime.block_on(serve(args.demo, &folder, &loaded, bound))
}

/// The listeners, open and not yet served.
struct Bound {
    api: TcpListener,
    admin: TcpListener,
    ext_authz: Option<TcpListener>,
}

pub(crate) fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}; stop what uses it, or set '{key}' to another address")
    })
}

/// Puts the doorkeeper together, and says how the data are put to rest.
fn wire(
    loaded: &Loaded,
    running: Running,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Arc<Doorkeeper>, Arc<Administration>, End)> {
    let config = &loaded.config;
    let Running { clock, sessions, journal, directory, catalogue, attempts, end, .. } = running;
    let breached = match &config.passwords.breached_file {
        Some(file) => Some(Arc::new(BreachedFile::open(file)?) as Arc<dyn BreachedPasswords>),
        None => None,
    };
    let passwords = Passwords::start(
        config.passwords.limits(),
        config.passwords.cost(),
        &SystemRandomness,
        clock.clone(),
        metrics.clone(),
        lower_priority,
    )?;
    let doorkeeper = Arc::new(Doorkeeper::new(Parts {
        clock,
        random: Box::new(SystemRandomness),
        sessions,
        journal,
        directory,
        passwords: passwords.with_breached(breached),
        attempts,
        rules: config.rules(),
        observer: metrics.clone(),
    })?);
    let administration = Administration::new(doorkeeper.clone(), catalogue, loaded.configured_rules());
    Ok((doorkeeper, Arc::new(administration), end))
}

async fn serve(
    is_demo: bool,
    folder: &Path,
    loaded: &Loaded,
    Bound { api, admin, ext_authz }: Bound,
) -> anyhow::Result<()> {
    let config = &loaded.config;
    let mut signals = Signals::new().context("signals cannot be received")?;
    let tls = match &config.listen.tls {
        Some(files) => Some(read_tls(files).await?),
        None => None,
    };
    let metrics = Arc::new(Metrics::default());
    let running = Store::open(is_demo, folder, config).await?.start(config, &metrics).await?;
    let readiness = match running.standing.clone() {
        Some(standing) => Readiness::following(standing),
        None => Readiness::after(running.reading.clone()),
    };
    let roster = running.roster.clone();
    let (doorkeeper, administration, end) = wire(loaded, running, &metrics)?;
    let housekeeping =
        housekeeping::start(&doorkeeper, &administration, &metrics, config.audit.retention, roster);
    let limits = Limits {
        body_bytes: config.limits.body_bytes,
        body_timeout: config.limits.body_timeout,
        answer_timeout: config.limits.answer_timeout,
    };
    let proxies = Arc::new(TrustedProxies::new(config.listen.trusted_proxies.clone()));
    let shares = descriptors::share(config.limits.connections, 1 + u64::from(ext_authz.is_some()));
    let places =
        |listener, most| Places::new(most, config.limits.write_timeout, metrics.connections(listener));
    let (api_places, admin_places) = (places("api", shares.api), places("admin", shares.admin));
    let ext_authz = ext_authz.map(|listener| (listener, places("ext_authz", shares.api)));
    let state = State {
        doorkeeper: doorkeeper.clone(),
        administration,
        metrics,
        limits,
        proxies,
        readiness: readiness.clone(),
    };

    let (api_address, admin_address) = (api.local_addr()?, admin.local_addr()?);
    let bounds = Bounds { header_timeout: config.limits.header_timeout };
    let seed = || (&SystemRandomness as &dyn Randomness).bytes().map(u32::from_ne_bytes);
    let (api_seed, admin_seed) = (seed()?, seed()?);
    let (api_handle, admin_handle) = (Handle::new(), Handle::new());
    let api_service = router::api_service(state.clone(), api_seed);
    let admin_service = router::admin_service(state.clone(), admin_seed);
    // Loopback needs no encryption, and health checks there none of the trouble.
    let admin_tls = tls.clone().filter(|_| !admin_address.ip().is_loopback());
    let api_server = tokio::spawn(listener::serve(
        api,
        api_service.of_peers(),
        tls.clone(),
        bounds,
        api_places,
        api_handle.clone(),
    ));
    let admin_server = tokio::spawn(listener::serve(
        admin,
        admin_service.of_peers(),
        admin_tls,
        bounds,
        admin_places,
        admin_handle.clone(),
    ));
    let ext_authz = match ext_authz {
        Some((listener, places)) => {
            let (address, handle) = (listener.local_addr()?, Handle::new());
            let service = router::ext_authz_service(state.clone(), seed()?);
            let tls = tls.clone().filter(|_| !address.ip().is_loopback());
            let server = tokio::spawn(listener::serve(
                listener,
                service.of_peers(),
                tls,
                bounds,
                places,
                handle.clone(),
            ));
            Some((address, handle, server))
        }
        None => None,
    };
    drop(state);
    readiness.set(true);
    let ext_authz_address = ext_authz.as_ref().map(|(address, ..)| tracing::field::display(address));
    tracing::info!(api = %api_address, admin = %admin_address, ext_authz = ext_authz_address, "listening");
    if is_demo {
        crate::print(&demo::greeting(&store::place(folder, config), api_address, admin_address))?;
    }

    while signals.next().await == Told::ReadTlsAgain {
        match (&config.listen.tls, &tls) {
            (Some(files), Some(current)) => {
                match current.reload_from_pem_file(&files.certificate, &files.key).await {
                    Ok(()) => tracing::info!("TLS certificate and key read again"),
                    Err(error) => {
                        tracing::error!(%error, "TLS certificate and key cannot be read; the old ones stay in use")
                    }
                }
            }
            _ => tracing::info!("SIGHUP: there is no TLS certificate to read again"),
        }
    }

    tracing::info!("stopping: requests in progress are finished");
    readiness.set(false);
    api_handle.stop(STOP_TIMEOUT);
    if let Some((_, handle, _)) = &ext_authz {
        handle.stop(STOP_TIMEOUT);
    }
    api_server.await??;
    if let Some((_, _, server)) = ext_authz {
        server.await??;
    }
    admin_handle.stop(Duration::from_secs(1));
    admin_server.await??;
    housekeeping.stop().await;
    doorkeeper.finish_attempts().await;
    let uses = doorkeeper.flush_uses(true).await.context("the last uses of tokens could not be written")?;
    drop(doorkeeper);
    end.reach().await?;
    tracing::info!(uses, "stopped");
    Ok(())
}

pub(crate) async fn read_tls(files: &Tls) -> anyhow::Result<RustlsConfig> {
    RustlsConfig::from_pem_file(&files.certificate, &files.key).await.with_context(|| {
        format!(
            "the TLS certificate {} with the key {} cannot be used; both must be readable PEM files that belong together",
            files.certificate.display(),
            files.key.display()
        )
    })
}

/// What a signal tells the server.
#[derive(PartialEq)]
pub(crate) enum Told {
    Stop,
    ReadTlsAgain,
}

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::ReadTlsAgain,
        }
    }
}
