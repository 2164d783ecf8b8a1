//! A PostgreSQL server of the test's own: real processes on a folder and a port of their own, to be stopped, killed and
//! started again. It ends with the process of the tests, however that ends.

#![expect(clippy::unwrap_used, reason = "it is for tests")]

use std::{
    fs::{self, Permissions},
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use tempfile::TempDir;

/// Where Debian puts what is not in the path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server. Dropping it ends it.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    port: u16,
    databases: AtomicU32,
    watcher: Mutex<Option<Watcher>>,
}

impl PostgresServer {
    /// Makes a new server and starts it.
    pub fn start() -> Self {
        let folder = new_folder();
        let data = folder.path().join("data");
        run(as_postgres("initdb").arg("--pgdata").arg(&data).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        // Who is believed without a password, and who is not. The first line that fits counts.
        let hba = data.join("pg_hba.conf");
        let trusting = fs::read_to_string(&hba).unwrap();
        fs::write(&hba, format!("host all guarded 127.0.0.1/32 scram-sha-256\n{trusting}")).unwrap();
        let server = Self::on_a_free_port(folder);
        server.sql("postgres", "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'open sesame'");
        server
    }

    /// The one server that the tests of a process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes a standby that follows this server and calls itself `name`, and starts it.
    pub fn start_standby(&self, name: &str) -> Self {
        let folder = new_folder();
        run(as_postgres("pg_basebackup")
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"])
            .arg(format!(
                "--dbname=host=127.0.0.1 port={} user=postgres application_name={name}",
                self.port
            )));
        Self::on_a_free_port(folder)
    }

    fn on_a_free_port(folder: TempDir) -> Self {
        // Another process may take the port before the server does; then the next one is tried.
        for _ in 0..10 {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            if start(folder.path(), port) {
                let watcher = Mutex::new(Some(Watcher::start(folder.path())));
                return Self { folder, port, databases: AtomicU32::new(0), watcher };
            }
        }
        panic!("PostgreSQL does not start: {}", log(folder.path()));
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database, for a user that needs no password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a new, empty database and returns its address. Its own order of texts is not that of their bytes.
    pub fn create_database(&self) -> String {
        let database = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(
            "postgres",
            &format!(
                "CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
            ),
        );
        self.url(&database)
    }

    /// Executes SQL in a database, by its name or its address, and returns the rows: a line each, columns separated by
    /// `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// As [`Self::sql`]; the error is what `psql` says.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let database = if database.contains("://") { database.to_owned() } else { self.url(database) };
        let output = Command::new(program("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &database, "-c", sql])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Executes SQL in a session that stays open, with the locks that it has taken, until what is returned is dropped.
    /// Does not wait for the SQL to be done.
    pub fn hold(&self, database: &str, sql: &str) -> PostgresSession {
        let database = if database.contains("://") { database.to_owned() } else { self.url(database) };
        let mut psql = Command::new(program("psql"))
            .args(["-X", "-q", "-d", &database])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = psql.stdin.as_mut().unwrap();
        input.write_all(format!("{sql};\n").as_bytes()).unwrap();
        PostgresSession { psql }
    }

    /// Ends it as a power failure would: all of its processes at once.
    pub fn kill(&self) {
        let postmaster = self.pid();
        // Stopped first, it starts no more processes while they are listed.
        kill_process(postmaster, Signal::STOP).unwrap();
        let mut processes = children(postmaster);
        processes.push(postmaster);
        let ends: Vec<_> =
            processes.iter().filter_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok()).collect();
        for pid in processes {
            // One that has just ended by itself is ended too.
            let _ = kill_process(pid, Signal::KILL);
        }
        for end in &ends {
            poll(&mut [PollFd::new(end, PollFlags::IN)], None).unwrap();
        }
        // Where nobody collects the dead process, its number seems to be in use.
        fs::remove_file(self.folder.path().join("data/postmaster.pid")).unwrap();
        self.unwatch();
    }

    /// Ends it in good order, its connections cut.
    pub fn stop(&self) {
        run(as_postgres("pg_ctl")
            .args(["stop", "-w", "-m", "fast", "-D"])
            .arg(self.folder.path().join("data")));
        self.unwatch();
    }

    /// Starts it again on the same folder and port, after [`Self::kill`] or [`Self::stop`].
    pub fn run(&self) {
        assert!(
            start(self.folder.path(), self.port),
            "PostgreSQL does not start: {}",
            log(self.folder.path())
        );
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Watcher::start(self.folder.path()));
    }

    /// Holds all of its processes, so that it takes connections and answers none, until [`Self::resume`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let postmaster = self.pid();
        kill_process(postmaster, signal).unwrap();
        for pid in children(postmaster) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        run(as_postgres("pg_ctl").args(["promote", "-w", "-D"]).arg(self.folder.path().join("data")));
    }

    /// Makes commits wait for these standbys from now on; for none if the text is empty. It is the text of
    /// `synchronous_standby_names`.
    pub fn wait_for_standbys(&self, names: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// Offers TLS from now on, with a certificate and its key in PEM.
    pub fn offer_tls(&self, certificate: &str, key: &str) {
        let data = self.folder.path().join("data");
        for (name, contents) in [("server.crt", certificate), ("server.key", key)] {
            let file = data.join(name);
            fs::write(&file, contents).unwrap();
            // It refuses a key that others may read.
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = postgres_user() {
                chown(&file, Some(uid), Some(gid)).unwrap();
            }
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.stop();
        self.run();
    }

    /// The main process.
    fn pid(&self) -> Pid {
        main_process(self.folder.path())
    }

    fn unwatch(&self) {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.kill();
        }
    }
}

/// A session of somebody who has done something and not gone on.
#[derive(Debug)]
pub struct PostgresSession {
    psql: Child,
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// A process that ends the server and removes its folder when this process ends in whatever way.
#[derive(Debug)]
struct Watcher {
    process: Child,
    /// Closed by the system when this process ends.
    input: Option<ChildStdin>,
}

impl Watcher {
    fn start(folder: &Path) -> Self {
        let script = "read -r stop || { kill -QUIT \"$1\"; tail --pid=\"$1\" -f /dev/null; rm -rf \"$2\"; }";
        let mut process = unprivileged(Command::new("sh"))
            .args(["-c", script, "sh", &main_process(folder).as_raw_nonzero().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal to the tests, such as that of Ctrl-C, is not for it.
            .process_group(0)
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        Self { process, input }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have been killed by hand, which is as good.
        let _ = self.input.take().map(|mut input| input.write_all(b"stop\n"));
        let _ = self.process.wait();
    }
}

fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if let Some((uid, gid)) = postgres_user() {
        chown(folder.path(), Some(uid), Some(gid)).unwrap();
    }
    folder
}

/// Starts the server of a folder and waits until it answers; `false` if it does not start.
fn start(folder: &Path, port: u16) -> bool {
    let options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 \
         -c max_wal_senders=10 -c wal_level=replica -c log_min_messages=warning"
    );
    let mut command = as_postgres("pg_ctl");
    command.args(["start", "-w", "-t", "120", "-D"]).arg(folder.join("data"));
    command.arg("-l").arg(folder.join("log")).args(["-o", &options]);
    // Its output would be held open by the server.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// The first line of the file that says that the server runs.
fn main_process(folder: &Path) -> Pid {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

/// The processes that a process has started.
fn children(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which is in brackets: the state, then the parent.
        let its_parent: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (its_parent == parent.as_raw_nonzero().get()).then(|| Pid::from_raw(pid))?
    });
    processes.collect()
}

/// A program of PostgreSQL's: all are taken from one folder, the path's or the newest that Debian has.
fn program(name: &str) -> PathBuf {
    let has_all = |folder: &PathBuf| {
        ["initdb", "pg_basebackup", "pg_ctl", "psql"].iter().all(|name| folder.join(name).exists())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(has_all);
    let debian = || {
        let versions = fs::read_dir(DEBIAN).ok()?;
        let versions = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let folders = versions.map(|version| (version, Path::new(DEBIAN).join(format!("{version}/bin"))));
        Some(folders.filter(|(_, folder)| has_all(folder)).max()?.1)
    };
    in_path.or_else(debian).expect("PostgreSQL is installed").join(name)
}

fn as_postgres(name: &str) -> Command {
    let mut command = unprivileged(Command::new(program(name)));
    // Not every folder that root is in can be entered by others.
    command.current_dir("/").env("LC_ALL", "C");
    command
}

/// PostgreSQL refuses to work for root; then it works for the user that its packages make.
fn unprivileged(mut command: Command) -> Command {
    if let Some((uid, gid)) = postgres_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// The ids of user `postgres`, if we are root.
fn postgres_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user `postgres`");
    let mut ids = user.split(':').skip(2).map(|id| id.parse().unwrap());
    ids.next().zip(ids.next())
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
