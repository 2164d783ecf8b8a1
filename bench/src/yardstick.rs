//! What the product is set beside: servers that answer what the product has answered once, each a process of its own.
//!
//! `bench/run` asks the product, keeps its answers ([`Answers`]) and hands them to these, so that every target sends the
//! same headers and as many bytes.

mod answers;
mod fixed;
mod floor;
mod framework;
mod redis;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;

pub(crate) use self::answers::{Answers, KINDS};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which server.
    #[arg(value_enum)]
    kind: Kind,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// The folder with the product's answers.
    #[arg(long)]
    answers: PathBuf,
    /// The Unix socket of redis-server, for `redis`.
    #[arg(long, required_if_eq("kind", "redis"))]
    socket: Option<PathBuf>,
    /// How many sessions redis-server is given, for `redis`.
    #[arg(long, default_value_t = 0)]
    sessions: u32,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Kind {
    /// Plain hyper on one thread.
    Fixed,
    /// The same with HTTP/2.
    Fixed2,
    /// axum with one route, as it comes.
    Framework,
    /// Plain hyper that asks redis-server for the token's digest.
    Redis,
    /// One loop around epoll and nothing of HTTP but the end of a head.
    Floor,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let answers = Answers::read(&args.answers)?;
    if args.kind == Kind::Floor {
        return floor::serve(args.listen, &answers);
    }
    // All of them have one core, and a runtime that shares its work among threads costs more there.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        match (args.kind, &args.socket) {
            (Kind::Framework, _) => framework::serve(listener, answers).await,
            (Kind::Redis, Some(socket)) => redis::serve(listener, answers, socket, args.sessions).await,
            (Kind::Fixed2, _) => fixed::serve_http2(listener, answers).await,
            _ => fixed::serve(listener, answers).await,
        }
    })
}
