//! Tells the tests what this machine lacks, so that those that need it count as ignored; under `CI=true` nothing may
//! be lacking, and they fail instead.

use std::process::Command;

/// What tests need beside Rust: the name of a `cfg`, and a command that succeeds where it is there.
const NEEDS: [(&str, &[&str]); 14] = [
    ("missing_openssl", &["openssl", "version"]),
    ("missing_curl", &["curl", "--version"]),
    ("missing_htpasswd", &["htpasswd", "-nbB", "user", "password"]),
    ("missing_mkpasswd", &["mkpasswd", "--version"]),
    // Debian's, which may not be the first in the path.
    ("missing_python_hashes", &["/usr/bin/python3", "-c", "import bcrypt, passlib"]),
    ("missing_python", &["python3", "--version"]),
    // Eighteen is the first with `fetch`.
    ("missing_node", &["node", "-e", "fetch"]),
    ("missing_nginx", &["nginx", "-v"]),
    ("missing_caddy", &["caddy", "version"]),
    // The scripts of both are in Lua; httpd's uses a library of Lua's.
    ("missing_haproxy", &["sh", "-c", "haproxy -vv | grep -q USE_LUA=1"]),
    ("missing_apache", &["sh", "-c", "apache2 -v && lua=/usr/share/lua/5.*/socket/http.lua && ls $lua"]),
    ("missing_postgres", &["sh", "-c", "command -v pg_basebackup || ls /usr/lib/postgresql/*/bin/initdb"]),
    ("missing_faketime", &["sh", "-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]),
    ("missing_mount", &["sh", "-c", "test $(id -u) = 0"]),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CI");
    println!("cargo:rerun-if-env-changed=PATH");
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    for (name, command) in NEEDS {
        println!("cargo:rustc-check-cfg=cfg({name})");
        let is_there =
            Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success());
        if !is_there && !is_ci {
            println!("cargo:rustc-cfg={name}");
        }
    }
}
