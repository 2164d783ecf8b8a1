//! A real proxy with the very configuration of `deploy/`, between a client, Doorward and a guarded API.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use doorward_testkit::{TestServer, world::Organisation};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    tap::Tap,
    upstream::Upstream,
    wire::{self, Connection, Message},
};

/// The proxies of which Debian has packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    Apache,
}

impl Proxy {
    /// The method of its question.
    pub fn asks_with(self) -> &'static str {
        match self {
            Self::Nginx => "HEAD",
            Self::Caddy | Self::Haproxy | Self::Apache => "GET",
        }
    }
}

/// The headers that say whom a token speaks for.
pub const IDENTITY: [&str; 8] = [
    "X-Auth-Organisation",
    "X-Auth-Organisation-Id",
    "X-Auth-Unit",
    "X-Auth-Unit-Id",
    "X-Auth-User",
    "X-Auth-User-Id",
    "X-Auth-Method",
    "X-Auth-Expires",
];

/// All of it, running.
pub struct Rig {
    pub runtime: Runtime,
    pub server: TestServer,
    pub upstream: Upstream,
    pub tap: Tap,
    pub address: SocketAddr,
    /// Tokens that were issued, which no log may have.
    tokens: Mutex<Vec<String>>,
    child: Child,
    folder: TempDir,
}

impl Rig {
    pub fn start(proxy: Proxy) -> Self {
        Self::demanding(proxy, "")
    }

    /// With something demanded below `/admin/`, `require_role=administrator` for example.
    pub fn demanding(proxy: Proxy, demand: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(TestServer::start());
        let (upstream, tap) = (Upstream::start(), Tap::start(server.api));
        let folder = tempfile::tempdir().unwrap();
        // The proxies give up root, and must read their files still.
        #[cfg(unix)]
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // Another test may take the port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let addresses =
                Addresses { proxy: port, doorward: tap.address.port(), upstream: upstream.address.port() };
            let mut command = configure(proxy, demand, folder.path(), &addresses);
            let output = || {
                let file =
                    fs::File::options().create(true).append(true).open(folder.path().join("output.log"));
                Stdio::from(file.unwrap())
            };
            let mut child = command.stdin(Stdio::null()).stdout(output()).stderr(output()).spawn().unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_ok() {
                    let tokens = Mutex::default();
                    return Self { runtime, server, upstream, tap, address, tokens, child, folder };
                }
                std::thread::yield_now();
            }
        }
        panic!("{proxy:?} does not start: {}", logs(folder.path()));
    }

    /// A new token of the user of an organisation.
    pub fn token_of(&self, organisation: &Organisation) -> String {
        let token = self.runtime.block_on(self.server.log_in(organisation));
        self.tokens.lock().unwrap().push(token.clone());
        token
    }

    /// A new token of the first organisation.
    pub fn token(&self) -> String {
        self.token_of(&self.server.demo)
    }

    /// Sends a request as it is.
    pub fn send(&self, request: impl AsRef<[u8]>) -> Message {
        wire::exchange(self.address, request.as_ref())
    }

    /// A GET with these header lines, each ending in CRLF.
    pub fn get(&self, target: &str, headers: &str) -> Message {
        self.send(get(target, headers))
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// The one request that arrived at the API.
    #[track_caller]
    pub fn arrived(&self) -> Message {
        let mut arrived = self.upstream.take();
        assert_eq!(arrived.len(), 1, "{arrived:?}\n{}", self.logs());
        arrived.remove(0)
    }

    /// Everything that the proxy has written.
    pub fn logs(&self) -> String {
        logs(self.folder.path())
    }

    /// Stops, and proves that no token is in any log.
    pub fn finish(mut self) {
        stop(&mut self.child);
        let logs = self.logs();
        for token in self.tokens.lock().unwrap().iter() {
            assert!(!logs.contains(token.as_str()), "h2: a token is in the log: {logs}");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// A GET, of which the connection ends with the answer.
pub fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: api.example.com\r\n{headers}\r\n")
}

/// The header line of a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
}

/// Ports of this machine.
struct Addresses {
    proxy: u16,
    doorward: u16,
    upstream: u16,
}

/// Copies a file of `deploy/`, with what a machine differs in replaced. Every replacement must be of use.
fn deploy(folder: &Path, file: &str, replacements: &[(&str, String)]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
    let mut text = fs::read_to_string(source).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    let path = folder.join(Path::new(file).file_name().unwrap());
    fs::write(&path, text).unwrap();
    path
}

/// Changes a file of the folder.
fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, change(text)).unwrap();
}

/// The lines from one that is this text to the next that is the other, both with them.
fn block<'a>(text: &'a str, first: &str, last: &str) -> &'a str {
    let start = text.find(&format!("\n{first}\n")).unwrap() + 1;
    let length = text[start..].find(&format!("\n{last}\n")).unwrap() + last.len() + 2;
    &text[start..start + length]
}

/// What the files demand in their comments.
const DEMANDED: &str = "require_role=administrator";

fn configure(proxy: Proxy, demand: &str, folder: &Path, addresses: &Addresses) -> Command {
    let local = |port: u16| format!("127.0.0.1:{port}");
    let shown = folder.display();
    let doorward = ("127.0.0.1:8080", local(addresses.doorward));
    let upstream = ("127.0.0.1:9000", local(addresses.upstream));
    // Demands are made as the comments in the files and the pages say.
    match proxy {
        Proxy::Nginx => {
            let listen = ("listen 80;", format!("listen {};", local(addresses.proxy)));
            let logs = ("/var/log/nginx/", format!("{shown}/"));
            let site = deploy(folder, "nginx/doorward.conf", &[doorward, upstream, listen, logs]);
            if !demand.is_empty() {
                edit(&site, |text| {
                    let question = block(&text, "    location = /.doorward-verify {", "    }");
                    let mine = question
                        .replace("= /.doorward-verify {", "= /.doorward-verify-admin {")
                        .replace("http://doorward/verify;", &format!("http://doorward/verify?{demand};"));
                    let route = block(&text, "    location / {", "    }")
                        .replace("location / {", "location /admin/ {")
                        .replace("auth_request /.doorward-verify;", "auth_request /.doorward-verify-admin;");
                    text.replace(question, &format!("{question}{mine}{route}"))
                });
            }
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {shown}/{kind};\n"))
                .concat();
            let main = format!(
                "daemon off;\nmaster_process off;\npid {shown}/nginx.pid;\nerror_log {shown}/main.log notice;\n\
                 events {{}}\nhttp {{\n{temporary}include {};\n}}\n",
                site.display()
            );
            fs::write(folder.join("nginx.conf"), main).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg("stderr");
            command
        }
        Proxy::Caddy => {
            let site = (
                "http://api.example.com {",
                format!("http://api.example.com:{} {{\n\tbind 127.0.0.1", addresses.proxy),
            );
            let logs = ("/var/log/caddy/", format!("{shown}/"));
            // Its administration listens on one port for all of a machine.
            let options = ("{\n\t# Errors", "{\n\tadmin off\n\t# Errors".to_owned());
            let file = deploy(folder, "caddy/Caddyfile", &[doorward, upstream, site, logs, options]);
            if !demand.is_empty() {
                edit(&file, |text| {
                    let route = block(&text, "\troute {", "\t}");
                    let snippet = route.replace("rewrite /verify?\n", "rewrite /verify?{args.0}\n");
                    let handled = format!(
                        "\thandle /admin/* {{\n\t\timport guarded {demand}\n\t}}\n\
                         \thandle {{\n\t\timport guarded \"\"\n\t}}\n"
                    );
                    let site = text.replace(route, &handled);
                    site.replacen("\nhttp://", &format!("\n(guarded) {{\n{snippet}}}\n\nhttp://"), 1)
                });
            }
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command
        }
        Proxy::Haproxy => {
            let lua = deploy(folder, "haproxy/doorward.lua", &[doorward]);
            let bind = ("bind :80", format!("bind {}", local(addresses.proxy)));
            let log = ("log /dev/log local0", "log stdout format raw local0".to_owned());
            let script = ("/etc/haproxy/doorward.lua", lua.display().to_string());
            let file = deploy(folder, "haproxy/haproxy.cfg", &[upstream, bind, log, script]);
            if !demand.is_empty() {
                edit(&file, |text| {
                    let text = text
                        .replace("#http-request set-var(txn.demands)", "http-request set-var(txn.demands)");
                    text.replace(&format!("str({DEMANDED})"), &format!("str('{demand}')"))
                });
            }
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(file);
            command
        }
        Proxy::Apache => {
            let lua = deploy(folder, "apache/doorward.lua", &[doorward]);
            let host = ("<VirtualHost *:80>", format!("<VirtualHost {}>", local(addresses.proxy)));
            let logs = ("${APACHE_LOG_DIR}/", format!("{shown}/"));
            let script = ("/etc/apache2/doorward.lua", lua.display().to_string());
            let site = deploy(folder, "apache/doorward.conf", &[upstream, host, logs, script]);
            if !demand.is_empty() {
                edit(&site, |text| {
                    let commented = block(&text, "    #<Location \"/admin/\">", "    #</Location>");
                    text.replace(commented, &commented.replace('#', "").replace(DEMANDED, demand))
                });
            }
            let modules = "/usr/lib/apache2/modules";
            let names = [
                "mpm_event",
                "authz_core",
                "lua",
                "proxy",
                "proxy_http",
                "headers",
                "setenvif",
                "env",
                "reqtimeout",
            ];
            let load =
                names.map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n")).concat();
            let user =
                if rustix::process::getuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
            let main = format!(
                "ServerRoot {shown}\nServerName localhost\nPidFile {shown}/httpd.pid\nListen {}\n{load}{user}\
                 DefaultRuntimeDir {shown}\nMutex file:{shown} default\nErrorLog {shown}/main.log\nTimeout 60\n\
                 <Directory />\nRequire all denied\n</Directory>\nInclude {}\n",
                local(addresses.proxy),
                site.display()
            );
            fs::write(folder.join("httpd.conf"), main).unwrap();
            let mut command = Command::new("apache2");
            command.arg("-X").arg("-f").arg(folder.join("httpd.conf"));
            command
        }
    }
}
