//! Disks that fill up and disks that fail, under the real binary.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use doorward_testkit::{Answer, Demo};
use serde_json::json;

use crate::program::{Server, command};

async fn log_in(server: &Server) -> Answer {
    Answer::of(server.request("POST", "/authentication/web_api_key/token").basic_auth(Demo::KEY, Some("")))
        .await
}

async fn release(server: &Server, token: &str) -> Answer {
    Answer::of(server.request("POST", "/authentication/token/release").json(&json!({"token": token}))).await
}

async fn is_in_force(server: &Server, token: &str) -> bool {
    Answer::of(server.request("GET", "/verify").bearer_auth(token)).await.status == 200
}

/// A file system of two megabytes, unmounted when dropped.
pub struct SmallDisk(pub tempfile::TempDir);

impl SmallDisk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).output();
        assert!(mount.as_ref().unwrap().status.success(), "{mount:?}");
        Self(folder)
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left.
    pub fn fill(&self) -> PathBuf {
        let ballast = self.0.path().join("ballast");
        // Writing stops where the space ends.
        let _ = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&ballast).unwrap());
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0.path()).status();
    }
}

/// D4: without space writes answer 503, nothing is reported as done that is not, and all is well when space returns.
#[tokio::test]
#[cfg_attr(missing_mount, ignore = "needs the right to mount a small file system")]
async fn d4_a_full_disk_is_unavailable_and_recovers() {
    let disk = SmallDisk::new();
    let data = disk.0.path().join("data");
    let server = Server::start(&data, &["--demo"]);
    let (kept, wanted) = (log_in(&server).await.token(), log_in(&server).await.token());
    let ballast = disk.fill();
    // What the journal has room for already may still be used up.
    let mut answers = Vec::new();
    while answers.last().is_none_or(|answer: &Answer| answer.status == 200) {
        answers.push(log_in(&server).await);
        assert!(answers.len() < 5_000, "the disk does not fill up");
    }
    let refused = answers.pop().unwrap();
    assert_eq!(
        (refused.status, refused.code().as_str(), refused.header("retry-after")),
        (503, "UNAVAILABLE", "1")
    );
    let refused = release(&server, &wanted).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "UNAVAILABLE"));
    assert!(is_in_force(&server, &wanted).await, "a release that was not done is not in force either");
    assert!(is_in_force(&server, &kept).await, "verification needs no disk");

    std::fs::remove_file(ballast).unwrap();
    assert_eq!(release(&server, &wanted).await.code(), "OK");
    let late = log_in(&server).await.token();
    server.kill();
    let server = Server::start(&data, &["--demo"]);
    for answer in answers {
        assert!(is_in_force(&server, &answer.token()).await, "answered before the disk was full");
    }
    assert!(is_in_force(&server, &kept).await && is_in_force(&server, &late).await);
    assert!(!is_in_force(&server, &wanted).await);
}

/// D2: a write that fails leaves the disk in an unknown state. The process says so and ends; what was answered before
/// is there when it starts again.
#[tokio::test]
async fn d2_a_failing_disk_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    drop(Server::start(folder.path(), &["--demo"]));
    let program = command(&[]).get_program().to_owned();
    let mut limited = Command::new("bash");
    // Beyond 200 KiB a write to any one file fails, with an error and not with the usual signal.
    limited.args(["-c", r#"trap '' XFSZ; ulimit -f 200; exec "$0" "$@""#]).arg(program);
    let server = Server::from_command(limited, folder.path(), &["--demo"]);
    let mut answered = Vec::new();
    let client = reqwest::Client::new();
    loop {
        let request = client.post(format!("http://{}/authentication/web_api_key/token", server.api));
        let Ok(response) = request.basic_auth(Demo::KEY, Some("")).send().await else { break };
        let Ok(text) = response.text().await else { break };
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        match answer["data"]["token"].as_str() {
            Some(token) => answered.push(token.to_owned()),
            None => assert_eq!(answer["status"]["code"], "UNAVAILABLE"),
        }
        assert!(answered.len() < 5_000, "no write failed");
    }
    let (code, log) = server.wait();
    assert_eq!(code, Some(1), "{log}");
    // Callers whose commit failed may be answered, and logged, at the same time.
    let told = log.lines().find(|line| line.starts_with("doorward: "));
    assert!(told.is_some_and(|line| line.contains("doorward.db")), "{log}");
    assert!(!answered.is_empty());
    let server = Server::start(folder.path(), &["--demo"]);
    for token in answered {
        assert!(is_in_force(&server, &token).await);
    }
}
