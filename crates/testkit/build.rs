//! Tells the tests what this machine lacks, so that those that need it count as ignored; under `CI=true` nothing may be
//! lacking, and they fail instead.

use std::process::Command;

/// What tests need beside Rust: the name of a `cfg`, and a command that succeeds where it is there.
const NEEDS: [(&str, &[&str]); 1] =
    [("missing_postgres", &["sh", "-c", "command -v pg_basebackup || ls /usr/lib/postgresql/*/bin/initdb"])];

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
