//! Logs, on standard error, as text or as a JSON object a line.
//!
//! A thread of its own writes them: a terminal that is stopped or a log collector that blocks must not stop the server.
//! Lines beyond what may wait are dropped.

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat, LogLevel};

/// Starts logging: Doorward at the configured level, what it is built from at warnings.
///
/// The lines that wait are written when the guard is dropped.
pub(crate) fn start(log: &Log) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("doorward", level)
        // It tells of each request that fails as an error; the gateway says the same as a warning.
        .with_target("axum_reverse_proxy", LevelFilter::OFF);
    let lines = fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => Box::new(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))),
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    guard
}
