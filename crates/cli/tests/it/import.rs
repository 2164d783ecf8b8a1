//! Users who move in and out: the real binary, cut off in every way.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use doorward_domain::{credential::Password, name::Name, passwords::Argon2Cost, random::Randomness};
use doorward_testkit::{Answer, Options, SystemRandomness, TestServer};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Shell;

const PASSWORD: &str = "correct horse battery staple";

/// A hash of [`PASSWORD`] as an earlier system may have made it.
fn hash() -> String {
    let cost = Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };
    let hash = cost.hash(&Password::parse(PASSWORD).unwrap(), &SystemRandomness).unwrap();
    hash.as_str().to_owned()
}

/// A hash of [`PASSWORD`] by Python's bcrypt.
const BCRYPT: &str = "$2b$04$FHyQ/PgDZhr9R2qgrd2wTONA33eZyLZ7Bzusxexfj9QxSAGs9LZ/C";

fn below(bound: u64) -> u64 {
    let random: &dyn Randomness = &SystemRandomness;
    u64::from_le_bytes(random.bytes::<8>().unwrap()) % bound
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", file.display()))
}

/// Exports an organisation of a server and reads what was written.
async fn exported(shell: &Shell, folder: &Path, organisation: &str) -> Vec<Value> {
    let out =
        shell.ok(&format!("export users --organisation {organisation} --data {}", folder.display())).await;
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_file_comes_in_and_what_does_not_is_told() {
    let cost = Argon2Cost { memory_kib: 16, iterations: 1, parallelism: 1 };
    let server = TestServer::with(Options { cost, ..Options::default() }).await;
    let shell = Shell::at(&server);
    shell.log_in().await;
    shell.ok("unit create 'Front; office' --organisation CRMDEMO").await;
    let file = shell.home.path().join("users.csv");
    let hash = hash();
    let text = format!(
        "username,units,default_unit,email,password_hash,must_change_password\n\
         ann,second;Front\\; Office,SECOND,ann@example.com,{BCRYPT},\n\
         bob,\"Markt & Müller 100%\",,,\"{hash}\",true\n\
         cleo,Nowhere,,,,\n\
         mpadministrator,Second,,,,\n\
         dora,Second,,no address,,\n\
         erna,Second,,,\"{hash}\",maybe\n\
         fred,Second\n\
         gus,,,,,\n"
    );
    fs::write(&file, text).unwrap();
    let line = format!("import users {} --organisation crmdemo", file.display());
    let told = shell.types_with(&line, "").await;
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.out, "3 users created, 0 present already, 5 rejected in CRMDEMO\n");
    assert!(
        told.err.contains("5 of the rows were rejected") && told.err.contains(".rejected.jsonl"),
        "{told:?}"
    );
    assert!(!beside(&file, ".progress").exists());

    let rejected = beside(&file, ".rejected.jsonl");
    assert_eq!(mode(&rejected), 0o600);
    let mut rows = lines(&rejected);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["line"].as_u64().unwrap(), row["code"].as_str().unwrap(), row["member"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (5, "TAKEN", Some("username")),
            (6, "INVALID_PARAMETER", Some("email")),
            (7, "INVALID_PARAMETER", Some("must_change_password")),
            (4, "INVALID_PARAMETER", Some("units")),
            (8, "MALFORMED_REQUEST", None),
        ]
    );
    assert_eq!(rows[3]["row"], json!({"username": "cleo", "units": ["Nowhere"]}));
    assert!(rows[3]["reason"].as_str().unwrap().contains("'Nowhere'"), "{}", rows[3]);
    assert_eq!(rows[2]["row"]["password_hash"], hash);
    assert_eq!(rows[4]["row"], "fred,Second");

    // Mended there and imported, they come in.
    rows[0]["row"]["username"] = "mona".into();
    rows[1]["row"]["email"] = "dora@example.com".into();
    rows[2]["row"]["must_change_password"] = false.into();
    rows[3]["row"]["units"] = json!(["Second"]);
    rows[4]["row"] = json!({"username": "fred", "units": [server.demo.other_unit.to_string()]});
    fs::write(&rejected, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    let again = format!("import users {} --organisation CRMDEMO --output json", rejected.display());
    assert_eq!(shell.ok(&again).await.trim(), r#"{"created":5,"present":0,"rejected":0}"#);
    assert_eq!(shell.ok(&again).await.trim(), r#"{"created":0,"present":5,"rejected":0}"#);
    // The file itself again: nobody is made twice, and the rows that were mended elsewhere are rejected as before.
    for _ in 0..2 {
        shell.fails(&line, 1, &["an earlier import rejected", "--restart"]).await;
    }
    assert_eq!(lines(&rejected).len(), 5);
    let told = shell.types_with(&format!("{line} --restart"), "").await;
    assert!(told.out.starts_with("0 users created, 3 present already, 5 rejected"), "{told:?}");

    // They log in with the passwords they had, and the hashes become Doorward's own.
    let of = async |name: &str| {
        let all = exported(&shell, server.folder(), "CRMDEMO").await;
        all.into_iter().find(|user| user["username"] == name).unwrap()
    };
    assert_eq!(of("ann").await["password_hash"], BCRYPT);
    server.try_login("CRMDEMO", "ann", PASSWORD).await.token();
    let ann = of("ann").await;
    assert!(ann["password_hash"].as_str().unwrap().starts_with("$argon2id$v=19$m=16,"), "{ann}");
    assert_eq!(
        (&ann["units"], &ann["default_unit"]),
        (&json!(["Front; office", "Second"]), &json!("Second"))
    );
    assert_eq!(server.try_login("CRMDEMO", "bob", PASSWORD).await.code(), "PASSWORD_CHANGE_REQUIRED");
}

#[tokio::test]
async fn files_that_cannot_be_imported_are_refused() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    let file = shell.home.path().join("users.csv");
    let path = file.display().to_string();
    fs::write(&file, "username\nx\n").unwrap();
    shell.fails(&format!("import users {path}"), 2, &["nobody is logged in"]).await;
    shell.log_in().await;
    let home = shell.home.path().display().to_string();
    shell.fails("import users /nowhere/users.csv", 1, &["/nowhere/users.csv cannot be read"]).await;
    shell.fails(&format!("import users {home}/users"), 2, &["--format"]).await;
    shell.fails(&format!("import users {home} --format csv"), 2, &["is a folder"]).await;
    shell.fails("import users - --format csv", 2, &["--rejected"]).await;
    shell.fails(&format!("import users {path} --organisation NOPE"), 1, &["no organisation 'NOPE'"]).await;
    for (text, part) in [
        ("user name,email\nx,\n", "'user name', which is unknown; known are id, username"),
        ("email\nx@y\n", "no column 'username'"),
        ("", "no column 'username'"),
    ] {
        fs::write(&file, text).unwrap();
        shell.fails(&format!("import users {path}"), 2, &[part]).await;
    }
    // What stands before the trouble comes in.
    fs::write(&file, format!("username\nfirst\n\"{}", "x\n".repeat(1_000_000))).unwrap();
    let told = shell.types_with(&format!("import users {path}"), "").await;
    assert_eq!(told.code, 1);
    for part in ["line 3 cannot be read", "quotation mark", "1 users created", "--restart"] {
        assert!(told.err.contains(part), "{part} is not in {}", told.err);
    }
    fs::write(&file, "username\nfirst\nsecond\n").unwrap();
    shell
        .fails(&format!("import users {path}"), 1, &["was changed since", "1 users created", "--restart"])
        .await;
    let out = shell.ok(&format!("import users {path} --restart")).await;
    assert!(out.starts_with("1 users created, 1 present already, 0 rejected"), "{out}");
    fs::write(&file, "").unwrap();
    let empty = shell.home.path().join("empty.jsonl");
    fs::write(&empty, "\n\n").unwrap();
    let out = shell.ok(&format!("import users {}", empty.display())).await;
    assert!(out.starts_with("0 users created, 0 present already, 0 rejected"), "{out}");
}

#[tokio::test]
async fn standard_input_is_imported_too() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    shell.log_in().await;
    let rejected = shell.home.path().join("rejected");
    let line = format!("import users - --format jsonl --rejected {}", rejected.display());
    let told = shell.types_with(&line, "{\"username\": \"zoe\"}\n{\"username\": \"\"}\nnonsense\n").await;
    assert_eq!(
        (told.code, told.out.as_str()),
        (1, "1 users created, 0 present already, 2 rejected in OPERATOR\n")
    );
    assert_eq!(lines(&rejected).len(), 2);
}

/// A file of many users, every hundredth of whom is rejected by the server and every other hundredth unreadable.
struct Many {
    folder: TempDir,
    file: PathBuf,
    count: usize,
}

impl Many {
    fn new(count: usize, is_csv: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hash = hash();
        let mut text = if is_csv { "username,password_hash,units\n".to_owned() } else { String::new() };
        for n in 0..count {
            text += &match (n % 100, is_csv) {
                (7, true) => format!("bad-{n},nonsense,Second\n"),
                (7, false) => format!("{{\"username\": \"bad-{n}\", \"password_hash\": \"nonsense\"}}\n"),
                (57, true) => format!("bad-{n},x\n"),
                (57, false) => format!("bad-{n}\n"),
                (_, true) => format!("user-{n},\"{hash}\",\"Second\"\n"),
                (_, false) => {
                    json!({"username": format!("user-{n}"), "password_hash": hash, "units": ["Second"]})
                        .to_string()
                        + "\n"
                }
            };
        }
        let file = folder.path().join(if is_csv { "users.csv" } else { "users.jsonl" });
        fs::write(&file, text).unwrap();
        Self { folder, file, count }
    }

    fn bad(&self) -> usize {
        self.count / 100 * 2
    }

    /// Each row exactly once: as a user, or as a rejected row.
    fn check(&self, users: &[String]) {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for user in users.iter().filter(|name| name.starts_with("user-")) {
            *found.entry(user.clone()).or_default() += 1;
        }
        for row in lines(&beside(&self.file, ".rejected.jsonl")) {
            let row = row["row"].as_str().map_or_else(|| row["row"]["username"].clone(), Value::from);
            let name = row.as_str().unwrap().split(',').next().unwrap().to_owned();
            *found.entry(name).or_default() += 1;
        }
        for n in 0..self.count {
            let kind = if n % 50 == 7 { "bad" } else { "user" };
            assert_eq!(found.remove(&format!("{kind}-{n}")), Some(1), "{kind}-{n}");
        }
        assert!(found.is_empty(), "{found:?}");
        assert!(!beside(&self.file, ".progress").exists());
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "the file and its rejected rows: {left:?}");
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a part is noted beyond what was, or the program has ended.
async fn until_further(file: &Path, child: &mut Child, before: &str) -> String {
    loop {
        let now = fs::read_to_string(beside(file, ".progress")).unwrap_or_default();
        if now != before || child.try_wait().unwrap().is_some() {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_an_import_loses_nobody_and_makes_nobody_twice() {
    for is_csv in [true, false] {
        let server = TestServer::start().await;
        let shell = Shell::at(&server);
        shell.log_in().await;
        let many = Many::new(8_000, is_csv);
        let line = format!("import users {} --organisation CRMDEMO", many.file.display());
        let (mut kills, mut progress) = (0, String::new());
        let told = loop {
            let mut child = spawn(shell.command(&line));
            if kills < 8 {
                if kills % 4 != 0 {
                    progress = until_further(&many.file, &mut child, &progress).await;
                }
                tokio::time::sleep(Duration::from_millis(below(60))).await;
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    continue;
                }
            }
            let output =
                tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            break String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        };
        assert!(kills >= 3, "{kills} kills are too few to show anything");
        assert!(
            told.contains("Going on at line") && told.contains(&format!("{} rejected", many.bad())),
            "{told}"
        );
        let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
        let users = administrator.list("/users?limit=1000").await;
        let names: Vec<_> = users.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect();
        many.check(&names);
    }
}

/// A server that is killed and comes back is waited for; one that stays away is told of, and the same command goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_server_loses_nobody_and_makes_nobody_twice() {
    let data = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (api, admin) = (free(), free());
    let folder = data.path().join("data");
    let serve = || {
        let mut server = crate::program::command(&["serve", "--listen-api", &api, "--listen-admin", &admin]);
        server.arg("--data").arg(&folder).args(["--demo", "--set", "log.level=error"]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Running(server)
    };
    let client = |words: &[&str]| {
        let mut command = crate::program::command(words);
        command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME");
        command.env("DOORWARD_SERVER", format!("http://{admin}"));
        command
    };
    let ready = async || {
        let url = format!("http://{admin}/readyz");
        while !reqwest::get(&url).await.is_ok_and(|answer| answer.status() == 200) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut server = serve();
    ready().await;
    let http = reqwest::Client::new();
    let body = json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO"});
    let token =
        Answer::of(http.post(format!("http://{admin}/authentication/token")).json(&body)).await.token();
    let unit = http.post(format!("http://{admin}/admin/v1/organisations/CRMDEMO/units")).bearer_auth(&token);
    assert_eq!(Answer::of(unit.json(&json!({"name": "Second"}))).await.status, 201);

    let many = Many::new(8_000, true);
    let file = many.file.display().to_string();
    let import = |patience: &str| {
        let mut command =
            client(&["import", "users", &file, "--organisation", "CRMDEMO", "--patience", patience]);
        command.env("DOORWARD_TOKEN", &token);
        spawn(command)
    };
    let (mut child, mut progress, mut kills) = (import("10m"), String::new(), 0);
    for round in 0..8 {
        // A client that has not begun does not wait for its server.
        progress = until_further(&many.file, &mut child, &progress).await;
        tokio::time::sleep(Duration::from_millis(below(60))).await;
        if child.try_wait().unwrap().is_some() {
            break;
        }
        drop(server);
        kills += 1;
        if round == 4 {
            // This one has no patience, and says what to do.
            child.kill().unwrap();
            child.wait().unwrap();
            let output = import("0s").wait_with_output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.code() == Some(1) && told.contains("cannot reach"), "{told}");
            server = serve();
            ready().await;
            child = import("10m");
        } else {
            server = serve();
            ready().await;
        }
    }
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains(&format!("{} rejected", many.bad())), "{told}");
    assert!(kills >= 3, "{kills} kills are too few to show anything: {told}");
    let export = crate::program::run(
        &["export", "users", "--organisation", "CRMDEMO", "--data", folder.to_str().unwrap()],
        "",
    );
    let names = String::from_utf8(export.stdout).unwrap();
    let names: Vec<_> = names
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["username"].as_str().unwrap().to_owned())
        .collect();
    many.check(&names);
    drop(server);
}

/// A server that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A login that ends in the middle: the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_outlives_its_login() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    shell.log_in().await;
    let many = Many::new(8_000, false);
    let line = format!("import users {} --organisation CRMDEMO", many.file.display());
    let mut child = spawn(shell.command(&line));
    let begun = until_further(&many.file, &mut child, "").await;
    until_further(&many.file, &mut child, &begun).await;
    // Only one import of a file at a time.
    shell.fails(&line, 1, &["is being imported already"]).await;
    let stored: Value =
        serde_json::from_slice(&fs::read(shell.home.path().join(".config/doorward/login.json")).unwrap())
            .unwrap();
    server.release(stored["token"].as_str().unwrap()).await;
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in ["run `doorward login` again", "run the same command again", "Imported up to line"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(mode(&beside(&many.file, ".progress")), 0o600);
    shell.log_in().await;
    // To another organisation it does not go on.
    let elsewhere = format!("import users {} --organisation OTHER", many.file.display());
    shell.fails(&elsewhere, 1, &["was imported to organisation", "--restart"]).await;
    assert_eq!(shell.types_with(&line, "").await.code, 1, "some are rejected");
    let administrator = server.administrator(&server.operator).await.at("CRMDEMO");
    let users = administrator.list("/users?limit=1000").await;
    let names: Vec<_> = users.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect();
    many.check(&names);
}

/// A name of one line, full of what means something in one of the forms.
fn name() -> impl Strategy<Value = String> {
    let odd =
        prop::sample::select(vec![",", ";", "|", "\\", "\"", "'", "-", " ", "é", "日", "=", "\u{2028}", "x"]);
    let odd = prop::collection::vec(odd, 1..8).prop_map(|parts| parts.concat());
    prop_oneof![odd, "\\PC{1,12}"]
        .prop_map(|text| text.trim().to_owned())
        .prop_filter("something", |text| Name::new(text).is_ok_and(|name| !name.as_str().is_empty()))
}

/// What is exported and imported elsewhere is exported there alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_out_and_in_is_the_same() {
    let (from, to) = (TestServer::start().await, TestServer::start().await);
    let (here, there) = (Shell::at(&from), Shell::at(&to));
    here.log_in().await;
    there.log_in().await;
    let at_from = from.administrator(&from.operator).await;
    let at_to = to.administrator(&to.operator).await;
    let mut runner = TestRunner::default();
    let users = prop::collection::vec((name(), prop::option::of(name()), any::<[u8; 4]>()), 1..20);
    let population = (prop::collection::vec(name(), 0..5), users);
    for round in 0..12 {
        let (units, users) = population.new_tree(&mut runner).unwrap().current();
        let code = format!("ROUND{round}");
        let (source, target) = (at_from.at(&code), at_to.at(&code));
        for administrator in [&at_from, &at_to] {
            let organisation = administrator.request("POST", "/admin/v1/organisations");
            assert_eq!(Answer::of(organisation.json(&json!({"code": code}))).await.status, 201);
        }
        let mut ids = Vec::new();
        for unit in &units {
            let body = json!({"name": unit});
            let made = source.send_json("POST", "/units", body.clone()).await;
            // Some names are one and the same.
            if made.status == 201 {
                ids.push(id(&made.json()));
                target.create("/units", body).await;
            }
        }
        let hash = hash();
        let rows: Vec<_> = users
            .iter()
            .map(|(username, person_name, bits)| {
                let units: Vec<_> =
                    ids.iter().zip([1, 2, 4, 8, 16]).filter(|(_, bit)| bits[0] & bit != 0).collect();
                let mut row = json!({"username": username, "person_name": person_name});
                row["units"] = units.iter().map(|(id, _)| id.as_str()).collect();
                match bits[1] % 3 {
                    0 => {}
                    1 => row["default_unit"] = Value::Null,
                    _ => row["default_unit"] = units.last().map(|(id, _)| id.as_str()).into(),
                }
                row["role"] = ["member", "administrator"][usize::from(bits[2] % 2)].into();
                row["status"] = ["active", "disabled"][usize::from(bits[2] / 2 % 2)].into();
                if bits[3] % 2 == 0 {
                    row["password_hash"] = hash.as_str().into();
                    row["must_change_password"] = (bits[3] % 4 == 0).into();
                }
                row
            })
            .collect();
        let became = source.ok("POST", "/users/import", json!({"users": rows})).await;
        assert!(became["created"].as_u64().unwrap() > 0, "{became}");
        let form = ["jsonl", "csv"][round % 2];
        let file = here.home.path().join(format!("{code}.{form}"));
        let export = format!(
            "export users {} --organisation {code} --data {}",
            file.display(),
            from.folder().display()
        );
        here.ok(&export).await;
        assert_eq!(mode(&file), 0o600);
        let told =
            there.types_with(&format!("import users {} --organisation {code}", file.display()), "").await;
        assert_eq!(told.code, 0, "{told:?} {}", fs::read_to_string(&file).unwrap());
        let (before, after) =
            (exported(&here, from.folder(), &code).await, exported(&there, to.folder(), &code).await);
        assert_eq!(before, after);
        assert_eq!(before.len() as u64, became["created"].as_u64().unwrap());
        let sorted: Vec<_> = before
            .iter()
            .map(|user| Name::new(user["username"].as_str().unwrap()).unwrap().canonical().clone())
            .collect();
        assert!(sorted.is_sorted(), "{sorted:?}");
        // Nothing is written over.
        here.fails(&export, 1, &["is there already"]).await;
    }
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_export_says_what_is_wrong() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    let data = server.folder().display();
    let home = shell.home.path().display().to_string();
    shell
        .fails(&format!("export users --organisation NOPE --data {data}"), 1, &["no organisation 'NOPE'"])
        .await;
    shell
        .fails(&format!("export users {home}/x.txt --organisation OTHER --data {data}"), 2, &["--format"])
        .await;
    shell
        .fails(
            &format!("export users {home}/nowhere/x.csv --organisation OTHER --data {data}"),
            1,
            &["cannot be written"],
        )
        .await;
    shell
        .fails(&format!("export users --organisation OTHER --data {home}/nowhere"), 1, &["does not exist"])
        .await;
    shell
        .fails(
            &format!("export users {home}/y.csv --organisation NOPE --data {data}"),
            1,
            &["no organisation"],
        )
        .await;
    let left = fs::read_dir(shell.home.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name() != ".config");
    assert_eq!(left.count(), 0, "nothing is left of what failed");
}
