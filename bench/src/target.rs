//! What is measured: a server in processes of its own, on the core for servers.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{ask::ask, ground::Ground, pinning::pinned, yardstick::KINDS};

/// In which unit Linux tells of processor time, on every architecture.
const TICKS_PER_SECOND: u64 = 100;
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server at work. It ends when this is dropped.
pub(crate) struct Target {
    /// Where it is asked.
    pub(crate) address: SocketAddr,
    /// Where the product's metrics and health are.
    pub(crate) admin: SocketAddr,
    /// How long it took until it was ready.
    pub(crate) start: Duration,
    /// How long until it answered anything: tokens are issued from then on.
    pub(crate) first: Duration,
    /// What it is made of: the server, and what it asks.
    processes: Vec<Child>,
    log: PathBuf,
    /// Whether they start others.
    is_tree: bool,
}

impl Target {
    /// `doorward serve` on a folder, with these further flags.
    pub(crate) fn product(ground: &Ground, folder: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        Self::product_on(&ground.cores.server, ground, folder, flags)
    }

    /// As [`Self::product`], on cores of the caller's choice.
    pub(crate) fn product_on(
        cores: &str,
        ground: &Ground,
        folder: &Path,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = pinned(cores, &ground.doorward);
        command.arg("serve").arg("--data").arg(folder).args(flags);
        command.args(["--listen-api", &address.to_string(), "--listen-admin", &admin.to_string()]);
        // The configuration is its defaults, whoever runs this.
        command.current_dir(&ground.scratch);
        let mut target = Self::start(ground, "doorward", command, address)?;
        target.admin = admin;
        target.await_ready(|| ask(admin, "GET /livez", "", "").is_ok())?;
        target.first = target.start;
        target.await_ready(|| ask(admin, "GET /readyz", "", "").is_ok_and(|answer| answer.status == 200))?;
        target.settle()?;
        Ok(target)
    }

    /// Waits until it has nothing more to do: after a start with many sessions it looks for damage among them.
    fn settle(&self) -> anyhow::Result<()> {
        const MOMENT: Duration = Duration::from_millis(500);
        let began = Instant::now();
        let mut before = self.cpu()?;
        loop {
            pause(MOMENT);
            let now = self.cpu()?;
            if now.saturating_sub(before) < MOMENT / 10 {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("a server does not come to rest: {}", fs::read_to_string(&self.log)?);
            }
            before = now;
        }
    }

    /// A server that `doorward-bench yardstick` knows, with the product's answers.
    pub(crate) fn yardstick(ground: &Ground, kind: &str, answers: &Path) -> anyhow::Result<Self> {
        Self::start_yardstick(ground, kind, answers, &[])
    }

    /// The same stack with redis-server behind it, which has so many sessions.
    pub(crate) fn redis(ground: &Ground, answers: &Path, sessions: u32) -> anyhow::Result<Self> {
        let socket = ground.scratch.join("redis.socket");
        let mut command = pinned(&ground.cores.server, "redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        let mut redis = Self::start(ground, "redis-server", command, free_address()?)?;
        redis.await_ready(|| std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
        let socket = socket.to_string_lossy().into_owned();
        let flags = ["--socket", &socket, "--sessions", &sessions.to_string()];
        let mut target = Self::start_yardstick(ground, "redis", answers, &flags)?;
        target.processes.append(&mut redis.processes);
        Ok(target)
    }

    fn start_yardstick(ground: &Ground, kind: &str, answers: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = pinned(&ground.cores.server, std::env::current_exe()?);
        command.args(["yardstick", kind, "--listen", &address.to_string()]).args(flags);
        command.arg("--answers").arg(answers);
        let mut target = Self::start(ground, kind, command, address)?;
        // Redis is filled before anything is answered; HTTP/2 alone is not asked so simply.
        match kind {
            "fixed2" => target.await_ready(|| TcpStream::connect(address).is_ok())?,
            _ => target.await_ready(|| ask(address, "GET /verify", "", "").is_ok())?,
        }
        Ok(target)
    }

    fn start(ground: &Ground, name: &str, mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        let log = ground.scratch.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self {
            address,
            admin: address,
            start: Duration::ZERO,
            first: Duration::ZERO,
            processes: vec![process],
            log,
            is_tree: false,
        })
    }

    fn await_ready(&mut self, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is_ready() {
            let has_ended = self.processes[0].try_wait()?.is_some();
            if has_ended || began.elapsed() > PATIENCE {
                bail!("a server did not start: {}", fs::read_to_string(&self.log)?);
            }
            pause(Duration::from_millis(2));
        }
        self.start += began.elapsed();
        Ok(())
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0;
        for id in self.ids()? {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))
                .with_context(|| self.log_of("a server has gone"))?;
            // The name stands in brackets and may have spaces.
            let (_, fields) = stat.rsplit_once(") ").context("no stat")?;
            let mut fields = fields.split(' ').skip(11);
            for _ in 0..2 {
                ticks += fields.next().context("no stat")?.parse::<u64>()?;
            }
        }
        Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
    }

    /// The bytes of memory that it has.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let mut kibibytes = 0.0;
        for id in self.ids()? {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
            kibibytes += line.trim().trim_end_matches(" kB").parse::<f64>()?;
        }
        Ok(kibibytes * 1024.0)
    }

    /// Holds it, so that what it does beside its requests takes no time from another's: it goes on where it was, at its own
    /// cost.
    pub(crate) fn hold(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn release(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// A peer that `bench/peers/run` starts, and the folder with what it is asked.
    pub(crate) fn peer(ground: &Ground, name: &str, tokens: u32) -> anyhow::Result<(Self, PathBuf)> {
        let work = ground.kept().join("peers");
        let mut command = pinned(&ground.cores.server, peers().join("run"));
        command.args([
            name,
            "start",
            "--cores",
            &ground.cores.server,
            "--tokens",
            &tokens.to_string(),
            "--work",
        ]);
        command.arg(&work);
        let mut target = Self::start(ground, name, command, ([127, 0, 0, 1], 0).into())?;
        let address = || {
            let said = fs::read_to_string(&target.log).unwrap_or_default();
            said.lines().find_map(|line| line.strip_prefix("listening http://")?.parse().ok())
        };
        let (began, mut found) = (Instant::now(), address());
        while found.is_none() && began.elapsed() < PATIENCE {
            pause(Duration::from_millis(100));
            found = address();
            if target.processes[0].try_wait()?.is_some() {
                break;
            }
        }
        target.address = found.with_context(|| target.log_of(&format!("{name} did not start")))?;
        target.is_tree = true;
        Ok((target, work.join(name)))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        for id in self.ids()? {
            let id = Pid::from_raw(i32::try_from(id)?).context("no process")?;
            kill_process(id, signal).with_context(|| self.log_of("a server has gone"))?;
        }
        Ok(())
    }

    /// Its processes, with those that they have started where there are such.
    fn ids(&self) -> anyhow::Result<Vec<u32>> {
        let mut ids: Vec<u32> = self.processes.iter().map(Child::id).collect();
        if !self.is_tree {
            return Ok(ids);
        }
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
            // It may have ended since.
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).unwrap_or_default();
            parents.push((id, fields.split(' ').nth(1).and_then(|it| it.parse::<u32>().ok())));
        }
        let mut place = 0;
        while let Some(&parent) = ids.get(place) {
            ids.extend(parents.iter().filter(|(_, of)| *of == Some(parent)).map(|(id, _)| id));
            place += 1;
        }
        Ok(ids)
    }

    fn log_of(&self, problem: &str) -> String {
        format!("{problem}: {}", fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.is_tree {
            // What it has started has to be stopped by itself, for which it must not stand still.
            let _ = self.signal(Signal::CONT);
            for process in &mut self.processes {
                let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
                if id.is_some_and(|id| kill_process(id, Signal::TERM).is_ok()) {
                    let _ = process.wait();
                }
            }
            return;
        }
        for process in &mut self.processes {
            // It may have ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Keeps the product's answers in a folder, for the yardsticks.
pub(crate) fn record_answers(
    product: &Target,
    folder: &Path,
    sessions: u32,
    basic: &str,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let token = |i: u32| format!("{:032X}", i % sessions);
    for (name, path) in KINDS {
        let authorization = format!("Authorization: Basic {basic}\r\n");
        let answer = match name {
            "introspect" => {
                let form = format!("{authorization}Content-Type: application/x-www-form-urlencoded\r\n");
                ask(product.address, &format!("POST {path}"), &form, &format!("token={}", token(1)))?
            }
            "batch" => {
                let tokens: Vec<String> = (0..1000).map(|i| format!("\"{}\"", token(i * 7919))).collect();
                let body = format!("{{\"tokens\":[{}]}}", tokens.join(","));
                let json = format!("{authorization}Content-Type: application/json\r\n");
                ask(product.address, &format!("POST {path}"), &json, &body)?
            }
            _ => {
                let bearer = format!("Authorization: Bearer {}\r\n", token(1));
                ask(product.address, &format!("GET {path}"), &bearer, "")?
            }
        };
        if answer.status != 200 || answer.body().starts_with(br#"{"active":false"#) {
            bail!("{path} answers {}", String::from_utf8_lossy(&answer.bytes));
        }
        fs::write(folder.join(name), &answer.bytes)?;
    }
    Ok(())
}

/// Where the peers' scripts are.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The script for instances on PostgreSQL.
pub(crate) fn cluster() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

/// A new folder for this run.
pub(crate) fn scratch_folder(ground: &Ground, name: &str) -> anyhow::Result<PathBuf> {
    let folder = ground.scratch.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("the loopback has no free port")?;
    Ok(listener.local_addr()?)
}

/// Waits for a time, where there is no event to wait for.
#[expect(clippy::disallowed_methods, reason = "other processes are waited for, whose clock is the machine's")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
