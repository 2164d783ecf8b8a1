//! `doorward backup` and `doorward restore`, as an operator runs them: beside a busy server, killed, with wrong things.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    clock::Timestamp,
    journal::Entry,
};
use doorward_storage::{Kind, SqliteStore};
use doorward_testkit::{Answer, Demo};
use serde_json::json;

use crate::{
    binary::{PASSWORD, fails, init},
    faults::SmallDisk,
    program::{Server, command, run},
    released::folder_of,
};

/// Runs a command that must succeed; what it prints.
fn ok(args: &[&str]) -> String {
    let output = run(args, "");
    let told = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{args:?}: {told}{errors}");
    told
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn status(server: &Server, token: &str) -> u16 {
    Answer::of(server.request("GET", "/verify").bearer_auth(token)).await.status
}

async fn log_in(server: &Server) -> Answer {
    Answer::of(server.request("POST", "/authentication/web_api_key/token").basic_auth(Demo::KEY, Some("")))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u2_a_backup_under_load_is_restored_and_its_tokens_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Arc::new(Server::start(&data, &["--demo"]));
    let before = log_in(&server).await.token();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (server, stop) = (server.clone(), stop.clone());
            tokio::spawn(async move {
                let mut tokens = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    tokens.push(log_in(&server).await.token());
                }
                tokens
            })
        })
        .collect();
    let file = folder.path().join("backup");
    let told = tokio::task::spawn_blocking({
        let (data, file) = (data.clone(), file.clone());
        move || ok(&["backup", text(&file), "--data", text(&data)])
    });
    let told = told.await.unwrap();
    let after = log_in(&server).await.token();
    stop.store(true, Ordering::SeqCst);
    let mut tokens = vec![before, after];
    for client in clients {
        tokens.extend(client.await.unwrap());
    }
    assert!(told.contains("1 organisation, 1 user, ") && told.contains("checked"), "{told}");
    for token in &tokens {
        assert_eq!(status(&server, token).await, 200, "the server went on");
    }

    let restored = folder.path().join("restored");
    let told = ok(&["restore", text(&file), "--data", text(&restored)]);
    for part in ["All sessions were ended", "would be in force again", "Passwords, keys", "serve --demo"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let second = Server::start(&restored, &["--demo"]);
    for token in &tokens {
        assert_eq!(status(&second, token).await, 401, "{token}");
    }
    let token = log_in(&second).await.token();
    assert_eq!(status(&second, &token).await, 200);
    // Administrators are told what happened to a token that was in the backup.
    let explain = reqwest::Client::new().post(format!("http://{}/admin/v1/tokens/explain", second.admin));
    let explained = Answer::of(explain.bearer_auth(&token).json(&json!({"token": tokens[0]}))).await.json();
    assert_eq!(explained["reason"], "restored", "{explained}");
    fails(&["restore", text(&file), "--data", text(&data)], 1, &[text(&data), "in use", "name another"]);
    drop(server);
    fails(&["restore", text(&file), "--data", text(&data)], 1, &["doorward.db", "exists already", "--data"]);
}

/// What the operator has of a restored folder beside sessions: passwords, and an audit record.
#[tokio::test]
async fn u2_users_can_log_in_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    init(&data);
    let file = folder.path().join("backup");
    let told = ok(&["backup", text(&file), "--data", text(&data)]);
    assert!(told.contains(text(&file)) && told.contains("1 user, 0 sessions"), "{told}");
    fs::rename(&data, folder.path().join("lost")).unwrap();
    let told = ok(&["restore", text(&file), "--data", text(&data)]);
    assert!(told.ends_with(&format!("Next: doorward serve --data {}\n", text(&data))), "{told}");
    let server = Server::start(&data, &[]);
    let body = json!({"username": "admin", "password": PASSWORD, "organisation": "ACME"});
    Answer::of(server.request("POST", "/authentication/token").json(&body)).await.token();
    drop(server);
    let database = rusqlite::Connection::open(data.join("doorward.db")).unwrap();
    let sql = "SELECT count(*) FROM audit WHERE event = 'restored' AND reason = 'ok' AND address IS NULL";
    assert_eq!(database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup"));
    let backup = |to: &Path, code: i32, parts: &[&str]| {
        fails(&["backup", text(to), "--data", text(&data)], code, parts);
    };
    backup(&file, 1, &[text(&data), "does not exist"]);
    fs::create_dir(&data).unwrap();
    backup(&file, 1, &[text(&data), "no database"]);
    fs::remove_dir(&data).unwrap();
    init(&data);
    backup(Path::new("-"), 2, &["standard output"]);
    backup(folder.path(), 1, &["is a folder", "name a file in it"]);
    backup(&folder.path().join("absent/backup"), 1, &["absent/backup", "cannot be written"]);
    backup(&data.join("doorward.db"), 1, &["exists already"]);
    fails(&["backup", text(&file), "--config", "nowhere.toml"], 2, &["nowhere.toml"]);
    assert!(!file.exists());

    let restored = folder.path().join("restored");
    let restore = |from: &Path, parts: &[&str]| {
        fails(&["restore", text(from), "--data", text(&restored)], 1, parts);
        assert!(!restored.join("doorward.db").exists());
    };
    restore(&file, &[text(&file), "no such file"]);
    restore(&data, &[text(&data), "not a file"]);
    fs::write(&file, "a letter. ".repeat(2000)).unwrap();
    restore(&file, &[text(&file), "not a backup"]);
    fs::remove_file(&file).unwrap();
    ok(&["backup", text(&file), "--data", text(&data)]);
    backup(&file, 1, &[text(&file), "exists already"]);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 5000]).unwrap();
    restore(&file, &[text(&file), "damaged", "earlier backup"]);
    fs::write(&file, &whole).unwrap();
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.execute_batch("INSERT INTO refinery_schema_history VALUES (999, 'x', '', '')").unwrap();
    drop(newer);
    restore(&file, &[text(&file), "schema 999", "newer"]);
    fs::write(&file, &whole).unwrap();
    fails(&["restore", text(&file), "--data", "/proc/doorward"], 1, &["/proc/doorward"]);
    ok(&["restore", text(&file), "--data", text(&restored)]);
}

/// Some tens of megabytes of data.
fn large(folder: &Path) -> u64 {
    let mut store = SqliteStore::create(folder, Kind::Real, &[]).unwrap();
    let audit = AuditRecord::new(Timestamp::from_millis(0), Event::Release, Reason::Ok, &Origin::default());
    let record = Entry::Record(AuditRecord { claimed: Some("x".repeat(10_000)), ..audit });
    for _ in 0..10 {
        store.apply(&vec![record.clone(); 200]).unwrap();
    }
    drop(store);
    fs::metadata(folder.join("doorward.db")).unwrap().len()
}

fn start(args: &[&str]) -> Child {
    command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a command when a file has reached a size, or lets it end if it ends before. Says whether it was killed.
fn kill_at(mut child: Child, file: &Path, size: u64) -> bool {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return false;
        }
        if fs::metadata(file).is_ok_and(|file| file.len() >= size) {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::yield_now();
    }
}

#[test]
fn u2_a_killed_backup_leaves_none_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let size = large(&data);
    let file = folder.path().join("backup");
    let unfinished = PathBuf::from(text(&file).to_owned() + ".unfinished");
    let mut cut = 0;
    for part in 0..10 {
        let killed =
            kill_at(start(&["backup", text(&file), "--data", text(&data)]), &unfinished, size * part / 9);
        if killed && !file.exists() {
            cut += 1;
        } else {
            // It had its name already, so it must be whole.
            let again = folder.path().join(format!("again-{part}"));
            ok(&["restore", text(&file), "--data", text(&again)]);
            fs::remove_file(&file).unwrap();
        }
    }
    assert!(cut > 3, "{cut} of 10 were cut off");
    ok(&["backup", text(&file), "--data", text(&data)]);
    assert!(!unfinished.exists());
    drop(SqliteStore::open(&data).unwrap());
}

#[test]
fn u2_a_killed_restore_leaves_no_database_or_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let size = large(&data);
    let file = folder.path().join("backup");
    ok(&["backup", text(&file), "--data", text(&data)]);
    let restored = folder.path().join("restored");
    let (database, unfinished) = (restored.join("doorward.db"), restored.join("doorward.db.unfinished"));
    let mut cut = 0;
    for part in 0..10 {
        let killed = kill_at(
            start(&["restore", text(&file), "--data", text(&restored)]),
            &unfinished,
            size * part / 9,
        );
        if killed && !database.exists() {
            cut += 1;
            continue;
        }
        let opened = rusqlite::Connection::open(&database).unwrap();
        let restored_records = "SELECT count(*) FROM audit WHERE event = 'restored'";
        assert_eq!(opened.query_row(restored_records, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        drop(opened);
        drop(Server::start(&restored, &[]));
        fs::remove_dir_all(&restored).unwrap();
    }
    assert!(cut > 3, "{cut} of 10 were cut off");
    ok(&["restore", text(&file), "--data", text(&restored)]);
    assert!(database.exists() && !unfinished.exists());
}

#[test]
#[cfg_attr(missing_mount, ignore = "needs the right to mount a small file system")]
fn u2_without_space_there_is_no_backup_and_nothing_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup"));
    init(&data);
    ok(&["backup", text(&file), "--data", text(&data)]);
    let disk = SmallDisk::new();
    let ballast = disk.fill();
    let no_space = disk.0.path().join("backup");
    fails(&["backup", text(&no_space), "--data", text(&data)], 1, &[text(&no_space), "no space"]);
    let restored = disk.0.path().join("restored");
    fails(&["restore", text(&file), "--data", text(&restored)], 1, &[text(&restored), "no space"]);
    fs::remove_file(ballast).unwrap();
    ok(&["backup", text(&no_space), "--data", text(&data)]);
    ok(&["restore", text(&file), "--data", text(&restored)]);
}

#[test]
#[cfg_attr(missing_mount, ignore = "needs the right to mount a small file system")]
fn u1_without_space_for_the_backup_there_is_no_upgrade() {
    let earlier = folder_of("before-0.1.0");
    let disk = SmallDisk::new();
    let database = disk.0.path().join("doorward.db");
    fs::copy(earlier.path().join("doorward.db"), &database).unwrap();
    // Room for what SQLite lays beside the database, and for no copy of it.
    let ballast = fs::File::options().write(true).open(disk.fill()).unwrap();
    ballast.set_len(ballast.metadata().unwrap().len() - 80_000).unwrap();
    let serve = ["serve", "--listen-api", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--data"];
    let serve = [&serve[..], &[text(disk.0.path())]].concat();
    fails(&serve, 1, &["doorward.db", "schema 1", "no space", "nothing was changed"]);
    ballast.set_len(0).unwrap();
    let server = Server::start(disk.0.path(), &[]);
    assert!(server.log().contains("data brought up to date"));
}
