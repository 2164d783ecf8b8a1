//! The server that is measured: `doorward serve` as operators run it.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

pub(super) struct Server {
    pub(super) api: SocketAddr,
    pub(super) data: PathBuf,
    log: PathBuf,
    child: Child,
    /// Of the server, where it runs under another program.
    process: u32,
}

impl Server {
    /// Starts the program on data of the demo, under a `wrapper` if there is one.
    pub(super) fn start(
        program: &Path,
        wrapper: &[String],
        data: &Path,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let log = data.with_extension("log");
        let mut words: Vec<String> = wrapper.to_vec();
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["serve", "--demo", "--listen-api", "127.0.0.1:0"]);
        command.args(["--listen-admin", "127.0.0.1:0", "--data"]).arg(data);
        command.args(["--set", "log.format=json"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} cannot be started", words[0]))?;
        let mut server =
            Self { api: ([0, 0, 0, 0], 0).into(), data: data.to_owned(), log, process: child.id(), child };
        let began = Instant::now();
        loop {
            let log = std::fs::read_to_string(&server.log)?;
            let address = log.lines().filter(|line| line.contains("listening")).find_map(|line| {
                let (_, rest) = line.split_once("\"api\":\"")?;
                rest.split('"').next()?.parse().ok()
            });
            if let Some(address) = address {
                server.api = address;
                break;
            }
            if server.child.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(30) {
                bail!("the server did not start: {log}");
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        if !wrapper.is_empty() {
            let children = format!("/proc/{0}/task/{0}/children", server.process);
            let children = std::fs::read_to_string(children).unwrap_or_default();
            if let Some(child) = children.split_whitespace().next() {
                server.process = child.parse()?;
            }
        }
        Ok(server)
    }

    /// Bytes of memory that it has now.
    pub(super) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    pub(super) fn is_alive(&self) -> bool {
        Path::new(&format!("/proc/{}/status", self.process)).exists()
    }

    /// Lines of its log so far.
    pub(super) fn lines(&self) -> usize {
        std::fs::read_to_string(&self.log).map_or(0, |log| log.lines().count())
    }

    /// Bytes on its disk.
    pub(super) fn disk(&self) -> u64 {
        let files = std::fs::read_dir(&self.data).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Under another program it would outlive that.
        if self.process != self.child.id() {
            let _ = Command::new("kill").args(["-9", &self.process.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets this process have as many connections as the system allows.
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
