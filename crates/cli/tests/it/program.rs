//! The real binary, run as an operator runs it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// The program with arguments, in an environment without configuration.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORWARD_")) {
        command.env_remove(name);
    }
    command.args(args);
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str], input: &str) -> Output {
    let mut child =
        command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input has closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A running server. Killed when dropped.
pub struct Server {
    pub api: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts `serve` on data in `folder` and waits until it listens.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        Self::from_command(command(&[]), folder, args)
    }

    /// As [`Self::start`], with the program wrapped by somebody else.
    pub fn from_command(command: Command, folder: &Path, args: &[&str]) -> Self {
        Self::at(["127.0.0.1:0", "127.0.0.1:0"], command, folder, args)
    }

    /// As [`Self::from_command`], at these addresses.
    pub fn at([api, admin]: [&str; 2], mut command: Command, folder: &Path, args: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--listen-api", api, "--listen-admin", admin, "--set", "log.format=json"])
            .arg("--data")
            .arg(folder)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (api, admin) = loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).unwrap() == 0 {
                panic!("the server did not start: {}", log.lock().unwrap());
            }
            log.lock().unwrap().push_str(&line);
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = |name: &str| event[name].as_str().and_then(|text| text.parse().ok());
            if let (Some(api), Some(admin)) = (address("api"), address("admin")) {
                break (api, admin);
            }
        };
        let readers = vec![follow(stdout, log.clone()), follow(stderr, log.clone())];
        Self { api, admin, child, log, readers }
    }

    /// Everything that the server has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends the process as a power failure would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end and returns the exit code and all that was printed.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (code, self.log())
    }

    /// A request to the API listener.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method.parse().unwrap(), format!("http://{}{path}", self.api))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(mut stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut part) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..length]));
        }
    })
}
