//! The storms themselves.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    client::{self, Client},
    probe::Samples,
    server::Server,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Logins with passwords at ten times what can be hashed
    Login,
    /// 64 clients that get tokens by key and release them
    Release,
    /// Thousands of clients that are slow with their heads and bodies, or take no answers
    Slow,
    /// Connections made as fast as can be, and kept
    Connections,
    /// Tokens that nobody has, on 64 connections
    Unknown,
    /// A disk that is full
    Disk,
    /// A disk that takes three seconds for each of five fsyncs, and callers who are let wait for one (needs strace)
    Store,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Login => "logins at ten times capacity",
            Self::Release => "releases by 64 clients",
            Self::Slow => "slow clients",
            Self::Connections => "flood of connections",
            Self::Unknown => "flood of unknown tokens",
            Self::Disk => "disk full",
            Self::Store => "disk slow",
        }
    }
}

/// What a storm stands on.
pub(super) struct Ground {
    pub(super) data: PathBuf,
    pub(super) settings: Vec<String>,
    /// The program under which the server runs.
    pub(super) wrapper: Vec<String>,
    mount: Option<PathBuf>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mount) = &self.mount {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
    }
}

pub(super) fn prepare(kind: Kind, folder: &Path) -> anyhow::Result<Ground> {
    let mut ground =
        Ground { data: folder.join("data"), settings: Vec::new(), wrapper: Vec::new(), mount: None };
    match kind {
        Kind::Disk => {
            let mount = folder.join("disk");
            std::fs::create_dir_all(&mount)?;
            let mounted =
                Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&mount).status();
            ensure!(mounted.is_ok_and(|status| status.success()), "a small file system cannot be mounted");
            ground.data = mount.join("data");
            ground.mount = Some(mount);
        }
        Kind::Store => {
            ensure!(
                Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()),
                "strace is not there"
            );
            let words = [
                "strace",
                "-f",
                "-qq",
                "--seccomp-bpf",
                "-e",
                "trace=fsync,fdatasync",
                "-e",
                "inject=fsync,fdatasync:delay_exit=3000000:when=10..14",
                "-o",
                "/dev/null",
            ];
            ground.settings.push("limits.answer_timeout=1s".into());
            ground.wrapper = words.map(str::to_owned).to_vec();
        }
        _ => {}
    }
    Ok(ground)
}

/// What was seen by those who made the storm.
#[derive(Default)]
pub(super) struct Tally {
    /// How long refusals with 503 took.
    pub(super) excess: Samples,
    pub(super) told: String,
}

#[derive(Default)]
struct Counts {
    served: AtomicU64,
    excess: AtomicU64,
    /// Refusals that did not say when to try again.
    bare: AtomicU64,
    broken: AtomicU64,
    excess_times: Mutex<Samples>,
    served_times: Mutex<Samples>,
    over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn ask(&self, client: &mut Client, request: &str) -> Option<client::Answer> {
        let began = Instant::now();
        let Ok(answer) = client.ask(request).await else {
            add(&self.broken);
            return None;
        };
        if answer.status == 503 {
            add(&self.excess);
            lock(&self.excess_times).push(began.elapsed());
            if !answer.retry_after {
                add(&self.bare);
            }
        } else {
            add(&self.served);
            lock(&self.served_times).push(began.elapsed());
        }
        Some(answer)
    }
}

pub(super) struct Storm<'a> {
    kind: Kind,
    server: &'a Server,
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
    /// Logins that are hashed in a second.
    capacity: f64,
    began: Option<Instant>,
    lasted: Duration,
    lines: usize,
    disk: u64,
    notes: String,
}

impl<'a> Storm<'a> {
    pub(super) async fn new(kind: Kind, server: &'a Server) -> anyhow::Result<Self> {
        let capacity = if kind == Kind::Login { capacity(server.api).await? } else { 0.0 };
        Ok(Self {
            kind,
            server,
            counts: Arc::default(),
            tasks: Vec::new(),
            capacity,
            began: None,
            lasted: Duration::ZERO,
            lines: server.lines(),
            disk: server.disk(),
            notes: String::new(),
        })
    }

    pub(super) fn begin(&mut self) {
        let (api, counts) = (self.server.api, &self.counts);
        counts.over.store(false, Ordering::Relaxed);
        self.began = Some(Instant::now());
        let many = |count: usize| (0..count).map(|number| (number, counts.clone()));
        self.tasks = match self.kind {
            Kind::Login => {
                // Most of these wait for their next turn, and about seventy for a hash.
                let pause = Duration::from_secs_f64(250.0 / (10.0 * self.capacity));
                many(320).map(|(number, counts)| tokio::spawn(log_in(api, counts, number, pause))).collect()
            }
            Kind::Release => many(64).map(|(_, counts)| tokio::spawn(come_and_go(api, counts))).collect(),
            Kind::Store => many(64).map(|(_, counts)| tokio::spawn(come_and_go(api, counts))).collect(),
            Kind::Unknown => {
                many(64).map(|(number, counts)| tokio::spawn(guess(api, counts, number))).collect()
            }
            Kind::Connections => many(4).map(|(_, counts)| tokio::spawn(connect(api, counts))).collect(),
            Kind::Slow => {
                many(4_500).map(|(number, counts)| tokio::spawn(dawdle(api, counts, number))).collect()
            }
            Kind::Disk => {
                let ballast = self.server.data.with_file_name("ballast");
                // Writing stops where the space ends.
                let filled = std::fs::File::create(ballast)
                    .and_then(|mut file| std::io::copy(&mut std::io::repeat(1), &mut file));
                debug_assert!(filled.is_err());
                many(16).map(|(_, counts)| tokio::spawn(come_and_go(api, counts))).collect()
            }
        };
    }

    pub(super) async fn end(&mut self) {
        self.counts.over.store(true, Ordering::Relaxed);
        if self.kind == Kind::Disk {
            let _ = std::fs::remove_file(self.server.data.with_file_name("ballast"));
        }
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        self.lasted += self.began.take().map_or(Duration::ZERO, |began| began.elapsed());
        if matches!(self.kind, Kind::Disk | Kind::Store) {
            let mut recovered = false;
            for _ in 0..200 {
                if let Ok(token) = client::issue(self.server.api).await {
                    let released = Client::new(self.server.api).ask(&client::release(&token)).await;
                    recovered = released.is_ok_and(|answer| answer.status == 200);
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
            self.notes = if recovered { ", all well afterwards" } else { ", NOT well afterwards" }.to_owned();
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let Counts { served, excess, bare, broken, excess_times, served_times, .. } = &*self.counts;
        let [served, excess, bare, broken] =
            [served, excess, bare, broken].map(|counter| counter.load(Ordering::Relaxed));
        let rate = |count: u64| count as f64 / self.lasted.as_secs_f64().max(0.001);
        let longest = lock(served_times).quantile(1.0) / 1e3;
        let mut told = match self.kind {
            Kind::Login => format!(
                "{:.0} logins/s asked for, {:.0} hashed ({:.0} alone), {:.0} refused; hashed within {longest:.2} s",
                rate(served + excess),
                rate(served),
                self.capacity,
                rate(excess)
            ),
            Kind::Release => format!("{:.0} answers/s, within {longest:.2} s", rate(served)),
            Kind::Disk | Kind::Store => {
                format!("{served} answered within {longest:.2} s, {excess} refused{}", self.notes)
            }
            Kind::Unknown => format!(
                "{:.0} answers/s; {} lines of log, {} KiB of disk",
                rate(served),
                self.server.lines().saturating_sub(self.lines),
                self.server.disk().saturating_sub(self.disk) / 1024
            ),
            Kind::Connections => format!("{:.0} connections/s", rate(served)),
            Kind::Slow => format!("4500 at a time, {served} were cut off"),
        };
        if broken > 0 {
            told += &format!(", {broken} broken off");
        }
        if bare > 0 {
            told += &format!(", {bare} without Retry-After");
        }
        let mut all = Samples::default();
        std::mem::swap(&mut all, &mut lock(excess_times));
        Tally { excess: all, told }
    }
}

/// How many logins a second there are where nobody is refused.
async fn capacity(api: SocketAddr) -> anyhow::Result<f64> {
    let counts = Arc::new(Counts::default());
    let tasks: Vec<_> = (0..8)
        .map(|number| tokio::spawn(log_in(api, counts.clone(), 1_000_000 + number, Duration::ZERO)))
        .collect();
    sleep(Duration::from_secs(1)).await;
    let (began, before) = (Instant::now(), counts.served.load(Ordering::Relaxed));
    sleep(Duration::from_secs(3)).await;
    let hashed = counts.served.load(Ordering::Relaxed) - before;
    let capacity = hashed as f64 / began.elapsed().as_secs_f64();
    counts.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.context("a login")?;
    }
    ensure!(capacity > 0.0, "nobody can log in");
    Ok(capacity)
}

async fn log_in(api: SocketAddr, counts: Arc<Counts>, number: usize, pause: Duration) {
    let (mut client, mut turn) = (Client::new(api), 0_u64);
    // Not all at once.
    sleep(pause.mul_f64((number % 320) as f64 / 320.0)).await;
    while !counts.is_over() {
        turn += 1;
        // Names that nobody has cost what others cost, and no two of them wait for each other.
        let request = client::log_in(&format!("user{number}x{turn}"), "not the password");
        let began = Instant::now();
        let _ = counts.ask(&mut client, &request).await;
        sleep(pause.saturating_sub(began.elapsed())).await;
    }
}

async fn come_and_go(api: SocketAddr, counts: Arc<Counts>) {
    let mut client = Client::new(api);
    let issue = |token: Option<client::Answer>| {
        let body = token?.body;
        Some(body.split_once("\"token\":\"")?.1.get(..32)?.to_owned())
    };
    while !counts.is_over() {
        let request = client::log_in_with_key();
        match issue(counts.ask(&mut client, &request).await) {
            Some(token) => {
                let _ = counts.ask(&mut client, &client::release(&token)).await;
            }
            // Whoever is refused would wait a second; here they wait less.
            None => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn guess(api: SocketAddr, counts: Arc<Counts>, number: usize) {
    let (mut client, mut turn) = (Client::new(api), 0_u64);
    while !counts.is_over() {
        turn += 1;
        let _ = counts.ask(&mut client, &client::verify(&format!("{:016X}{turn:016X}", number + 1))).await;
    }
}

/// Makes connections and keeps the last thousands.
async fn connect(api: SocketAddr, counts: Arc<Counts>) {
    let mut kept = VecDeque::new();
    while !counts.is_over() {
        match timeout(Duration::from_secs(5), TcpStream::connect(api)).await {
            Ok(Ok(stream)) => {
                add(&counts.served);
                kept.push_back(stream);
            }
            _ => {
                add(&counts.broken);
                sleep(Duration::from_millis(10)).await;
            }
        }
        if kept.len() > 3_500 {
            kept.pop_front();
        }
    }
}

/// Some send their head byte by byte, some their body, and one in fifteen asks and asks and takes no answer.
async fn dawdle(api: SocketAddr, counts: Arc<Counts>, number: usize) {
    sleep(Duration::from_micros(200 * (number % 4_500) as u64)).await;
    while !counts.is_over() {
        let Ok(Ok(mut stream)) = timeout(Duration::from_secs(5), connect_narrowly(api)).await else {
            add(&counts.broken);
            continue;
        };
        let begin = match number % 15 {
            2 => client::verify("00000000000000000000000000000000").repeat(300),
            even if even % 2 == 0 => "GET /verify HTTP/1.1\r\nHost: a\r\nX: ".to_owned(),
            _ => "POST /authentication/token HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{".to_owned(),
        };
        let _ = timeout(Duration::from_secs(1), stream.write_all(begin.as_bytes())).await;
        while !counts.is_over() {
            sleep(Duration::from_secs(1)).await;
            let drip = if number % 15 == 2 { Ok(()) } else { stream.write_all(b"x").await };
            let mut byte = [0];
            let end = timeout(Duration::from_millis(1), stream.read(&mut byte));
            if drip.is_err() || (number % 15 != 2 && matches!(end.await, Ok(Ok(0) | Err(_)))) {
                add(&counts.served);
                break;
            }
        }
    }
}

/// A connection whose client has little room for answers.
async fn connect_narrowly(api: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    socket.connect(api).await
}
