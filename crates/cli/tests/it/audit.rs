//! Audit records and explained tokens as an operator meets them: the real binary.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use doorward_testkit::TestServer;
use serde_json::Value;

use crate::client::Shell;

/// Somebody who is logged in as an operator and works on the demo's organisation, after a little was done there.
async fn shell(server: &TestServer) -> Shell {
    let shell = Shell::at(server);
    shell.log_in().await;
    shell.ok("unit create Shop --organisation CRMDEMO").await;
    shell.ok("unit update Shop --name 'Shop 2' --organisation CRMDEMO").await;
    server.try_login("CRMDEMO", &server.demo.username, "wrong").await;
    server.try_login("nobody's", "x", "y").await;
    shell
}

#[tokio::test]
async fn s2_records_are_read_exported_and_checked() {
    let server = TestServer::start().await;
    let shell = shell(&server).await;
    let list = shell.ok("audit list --organisation CRMDEMO --limit 3").await;
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines[0].starts_with("AT") && lines[1].contains("wrong_password"), "{list}");
    assert!(lines[2].contains("user-of-OPERATOR") && lines[2].contains("unit Shop 2; name"), "{list}");
    let tail = shell.ok("audit tail -n 2 --organisation CRMDEMO").await;
    assert!(tail.ends_with("127.0.0.1\n") && tail.lines().next().unwrap().contains("updated"), "{tail}");
    assert_eq!(
        shell.json("audit list --organisation CRMDEMO --failed").await["items"][0]["reason"],
        "wrong_password"
    );
    let unassigned = shell.ok("audit list --unassigned --reason unknown_organisation").await;
    assert!(unassigned.contains("organisation \"nobody's\""), "{unassigned}");

    let file = shell.home.path().join("records.jsonl");
    let export = format!("audit export --organisation CRMDEMO {}", file.display());
    let told = shell.types_with(&export, "").await;
    assert_eq!((told.code, told.out.as_str()), (0, ""), "{told:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(told.err.contains(last["digest"].as_str().unwrap()), "{told:?}");
    assert_eq!(shell.ok("audit export --organisation CRMDEMO").await, text, "the same on standard output");
    shell.fails(&export, 1, &["records.jsonl cannot be made", "not there yet"]).await;
    // What is not complete has no name.
    let part = shell.home.path().join("part.jsonl");
    shell.fails(&format!("audit export --event nonsense {}", part.display()), 1, &["event"]).await;
    assert!(!part.exists() && !shell.home.path().join("part.jsonl.unfinished").exists());

    let verified = shell.ok(&format!("audit verify {}", file.display())).await;
    assert!(verified.contains(last["digest"].as_str().unwrap()), "{verified}");
    let forged = shell.home.path().join("forged.jsonl");
    std::fs::write(&forged, text.replace("wrong_password", "ok")).unwrap();
    let verify_forged = format!("audit verify {}", forged.display());
    shell.fails(&verify_forged, 1, &["was altered: its digest is"]).await;
    let cut = text.lines().step_by(2).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(&forged, cut).unwrap();
    shell.fails(&verify_forged, 1, &["line 2: record", "is missing"]).await;
    std::fs::write(&forged, "not a record\n").unwrap();
    shell.fails(&verify_forged, 1, &["line 1: it is no JSON"]).await;
}

/// What comes is shown once and in order, and nothing of what is not meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_follows_what_comes() {
    let server = TestServer::start().await;
    let shell = shell(&server).await;
    let mut child = shell
        .command("audit tail -n 1 --follow --event created --output json --organisation CRMDEMO")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut numbers =
        lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["number"].as_u64().unwrap());
    let mut next = || tokio::task::block_in_place(|| numbers.next().unwrap());
    let first = next();
    for name in ["East", "West"] {
        shell.ok(&format!("unit create {name} --organisation CRMDEMO")).await;
        shell.ok(&format!("unit update {name} --name {name}ern --organisation CRMDEMO")).await;
    }
    let second = next();
    // Whatever was recorded between is not meant: what changed, and logins.
    assert!(second > first);
    assert_eq!(next(), second + 2);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn s2_the_database_is_checked_beside_the_server_and_against_what_was_noted() {
    let server = TestServer::start().await;
    let shell = shell(&server).await;
    let verify = format!("audit verify --data {}", server.folder().display());
    let told = shell.types_with(&verify, "").await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.contains("records were checked; none was altered or removed"), "{told:?}");
    assert!(told.out.contains("CRMDEMO") && told.out.contains("(no organisation)"), "{told:?}");
    let noted = shell.home.path().join("noted.txt");
    std::fs::write(&noted, &told.out).unwrap();
    // More happens, and what was noted still holds.
    shell.ok("unit create Office --organisation CRMDEMO").await;
    let against = format!("{verify} --noted {}", noted.display());
    shell.ok(&against).await;
    // Another history: one digit of a digest that was noted.
    let line = told.out.lines().find(|line| line.ends_with("CRMDEMO")).unwrap();
    let digest = line.split_whitespace().nth(2).unwrap();
    let other = if digest.starts_with('0') { "1" } else { "0" };
    // Of a file, what was noted behind its last record says nothing.
    let file = shell.home.path().join("records.jsonl");
    let export = shell.ok("audit export --organisation CRMDEMO").await;
    let all = export.lines().count();
    for (kept, compared) in [(2, "none".to_owned()), (all, (all - 1).to_string())] {
        let lines: String = export.lines().take(kept).map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, lines).unwrap();
        let verify = format!("audit verify {} --noted {}", file.display(), noted.display());
        let told = shell.types_with(&verify, "").await;
        assert!(told.code == 0 && told.err.ends_with(&format!("compared: {compared}\n")), "{told:?}");
    }
    std::fs::write(&noted, told.out.replace(digest, &format!("{other}{}", &digest[1..]))).unwrap();
    let refused = shell.types_with(&against, "").await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("was noted") && refused.err.contains("CRMDEMO"), "{refused:?}");
    std::fs::write(&noted, "nothing of the kind").unwrap();
    shell.fails(&against, 2, &["is no output of `doorward audit verify`"]).await;
    shell.fails("audit verify --data nowhere", 1, &["does not exist"]).await;
}

/// Others can check exported records with what `docs/audit.md` shows.
#[tokio::test]
#[cfg_attr(missing_python, ignore = "needs python3")]
async fn s2_the_documented_program_checks_an_export() {
    let server = TestServer::start().await;
    let shell = shell(&server).await;
    let file = shell.home.path().join("records.jsonl");
    shell.ok(&format!("audit export --organisation CRMDEMO {}", file.display())).await;
    let document = include_str!("../../../../docs/audit.md");
    let (_, program) = document.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut python = std::process::Command::new("python3");
        let output = python.args(["-c", program]).arg(&file).stdin(Stdio::null()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let text = std::fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (is_sound, told) = check(&text);
    assert!(is_sound && told.contains(last["digest"].as_str().unwrap()), "{told}");
    assert!(!check(&text.replace("wrong_password", "ok")).0);
    assert!(!check(&text.lines().step_by(2).map(|line| format!("{line}\n")).collect::<String>()).0);
}

#[tokio::test]
async fn a_token_is_explained_at_the_shell() {
    let server = TestServer::start().await;
    let shell = shell(&server).await;
    let token = server.log_in(&server.demo).await;
    let explain = async |token: &str, flags: &str| {
        let told =
            shell.types_with(&format!("token explain --token-stdin {flags}"), &format!("{token}\n")).await;
        assert!(token.is_empty() || !told.out.contains(token), "{told:?}");
        told
    };
    let told = explain(&token, "--address 192.0.2.1").await;
    assert!(told.out.contains("It is in force.") && told.out.contains("permitted"), "{told:?}");
    server.release(&token).await;
    let told = explain(&token, "").await;
    assert!(told.code == 0 && told.out.contains("released by its holder"), "{told:?}");
    let told = explain(&token, "--output json").await;
    assert_eq!(serde_json::from_str::<Value>(&told.out).unwrap()["reason"], "released");
    let told = explain("nonsense", "").await;
    assert!(told.out.contains("not_a_token"), "{told:?}");
    let told = explain("", "").await;
    assert!(told.code == 2 && told.err.contains("standard input has no token"), "{told:?}");
    let told = explain(&token, "--address here").await;
    assert!(told.code == 1 && told.err.contains("'--address' is not an IP address"), "{told:?}");
}
