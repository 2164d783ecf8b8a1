//! Tells the tests whether this machine has PostgreSQL, so that those that need it count as ignored; under `CI=true` it
//! may not be lacking, and they fail instead.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CI");
    println!("cargo:rerun-if-env-changed=PATH");
    println!("cargo:rustc-check-cfg=cfg(missing_postgres)");
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let find = "command -v pg_basebackup || ls /usr/lib/postgresql/*/bin/initdb";
    let is_there = Command::new("sh").args(["-c", find]).output().is_ok_and(|output| output.status.success());
    if !is_there && !is_ci {
        println!("cargo:rustc-cfg=missing_postgres");
    }
}
