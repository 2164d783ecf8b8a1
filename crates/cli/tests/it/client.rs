//! The command line over the admin API: the real binary, asking a server in this process.

use std::{io::Write, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio, time::Duration};

use doorward_testkit::{Answer, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Somebody at a shell: a home of their own, and a server in the environment.
pub struct Shell {
    pub home: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Shell {
    pub fn at(server: &TestServer) -> Self {
        Self::with(&[("DOORWARD_SERVER", &format!("http://{}", server.admin))])
    }

    pub fn with(variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { home: tempfile::tempdir().unwrap(), variables }
    }

    /// The same home with another environment.
    pub fn set(self, variables: &[(&'static str, &str)]) -> Self {
        Self { home: self.home, ..Self::with(variables) }
    }

    pub fn login_file(&self) -> PathBuf {
        self.home.path().join(".config/doorward/login.json")
    }

    /// The program with the words of a line; words with spaces stand between quotation marks.
    pub fn command(&self, line: &str) -> std::process::Command {
        let words = line.split('\'').enumerate().flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        let words: Vec<String> = words.collect();
        let mut command = crate::program::command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.env_remove("XDG_CONFIG_HOME").env("HOME", self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Types a line.
    pub async fn types_with(&self, line: &str, input: &str) -> Told {
        let mut command = self.command(line);
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // A program that does not read its input has closed it.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        let output = output.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Told { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Types a line that must succeed; what is printed.
    pub async fn ok(&self, line: &str) -> String {
        let told = self.types_with(line, "").await;
        assert_eq!(told.code, 0, "{line}: {told:?}");
        told.out
    }

    /// Types a line that must succeed; the JSON that is printed.
    pub async fn json(&self, line: &str) -> Value {
        let out = self.ok(&format!("{line} --output json")).await;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
    }

    /// Types a line that must fail with this code and tell all of this on standard error, and nothing else.
    pub async fn fails(&self, line: &str, code: i32, parts: &[&str]) {
        let told = self.types_with(line, "").await;
        assert_eq!((told.code, told.out.as_str()), (code, ""), "{line}: {told:?}");
        for part in parts {
            assert!(told.err.contains(part), "{line}: {part:?} is not in {}", told.err);
        }
    }

    pub async fn log_in(&self) {
        let line = "login --organisation OPERATOR --username user-of-OPERATOR --password-stdin";
        let told = self.types_with(line, "password-of-OPERATOR\n").await;
        assert_eq!((told.code, told.err.as_str()), (0, ""), "{told:?}");
        assert!(told.out.contains("as user-of-OPERATOR of OPERATOR"), "{told:?}");
    }

    pub fn token(&self) -> String {
        let login: Value = serde_json::from_slice(&std::fs::read(self.login_file()).unwrap()).unwrap();
        login["token"].as_str().unwrap().to_owned()
    }
}

/// Everything that an operator does in the life of a small organisation.
#[tokio::test]
async fn the_whole_story() {
    let server = TestServer::start().await;
    let mut shell = Shell::at(&server);
    shell.log_in().await;
    let file = std::fs::metadata(shell.login_file()).unwrap();
    let folder = std::fs::metadata(shell.login_file().parent().unwrap()).unwrap();
    assert_eq!((file.permissions().mode() & 0o777, folder.permissions().mode() & 0o777), (0o600, 0o700));
    let token = shell.token();
    // From here on the stored login says where the server is.
    shell = shell.set(&[]);

    let listed = shell.ok("organisation list").await;
    assert!(
        listed.starts_with("CODE") && listed.contains("CRMDEMO") && listed.contains("OPERATOR"),
        "{listed}"
    );
    shell.ok("organisation create ACME --name 'Acme Ltd'").await;
    assert_eq!(shell.json("organisation show acme").await["name"], "Acme Ltd");
    shell.ok("organisation update ACME --name Acme").await;

    shell.ok("unit create Warehouse --organisation ACME").await;
    shell.ok("unit create Office --organisation ACME").await;
    shell.ok("unit update office --name 'Head Office' --organisation ACME").await;
    let created =
        "user create zoe --email zoe@acme.example --person-name Zoë --unit Warehouse --organisation ACME";
    let told =
        shell.types_with(&format!("{created} --password-stdin"), "zoe keeps seven bees at home\n").await;
    assert!(told.code == 0 && told.out.contains("Zoë") && told.out.contains("Warehouse"), "{told:?}");
    assert!(!told.out.contains("bees") && !told.err.contains("bees"), "{told:?}");
    let told =
        shell.types_with("user create max --generate-password --organisation ACME --output json", "").await;
    let max: Value = serde_json::from_str(&told.out).unwrap();
    assert!(max["password"].as_str().unwrap().len() > 20 && told.err.contains("once"), "{told:?}");
    let updated = shell.ok("user update zoe --add-unit 'Head Office' --email '' --organisation ACME").await;
    assert!(updated.contains("Head Office") && !updated.contains("zoe@"), "{updated}");
    let zoe = shell.json("user show ZOE --organisation ACME").await;
    assert_eq!((zoe["units"].as_array().unwrap().len(), &zoe["email"]), (2, &Value::Null));
    shell.ok("user update zoe --remove-unit 'Head Office' --organisation ACME").await;

    // Lists: a page, the next is told of, and all.
    let told = shell.types_with("user list --limit 1 --organisation ACME", "").await;
    assert!(told.out.lines().count() == 2 && told.err.contains("--all"), "{told:?}");
    let all = shell.json("user list --all --organisation ACME").await;
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next"]), (2, &Value::Null));
    let of_unit = shell.json("user list --unit warehouse --organisation ACME").await;
    assert_eq!(of_unit["items"][0]["username"], "zoe");
    assert_eq!(
        shell.json("unit list --prefix ware --organisation ACME").await["items"][0]["name"],
        "Warehouse"
    );

    // A key, used and rotated.
    let created = "key create 'web shop' --user zoe --verifier --allow 127.0.0.1 --expires 2099-01-31";
    let key = shell.json(&format!("{created} --organisation ACME")).await;
    assert_eq!((&key["expires_at"], &key["verifier"]), (&json!("2099-01-31T00:00:00.000Z"), &json!(true)));
    let secret = key["secret"].as_str().unwrap();
    let issued = shell.types_with("token issue --key-stdin", secret).await;
    assert_eq!((issued.code, issued.out.trim().len(), issued.err.as_str()), (0, 32, ""), "{issued:?}");
    server.flush(true).await;
    let rotated = shell.ok("key rotate 'web shop' --overlap 48h --organisation ACME").await;
    let evidence = rotated.lines().find(|line| line.starts_with("old secret")).unwrap();
    assert!(
        evidence.contains(&secret[28..]) && evidence.contains("from 127.0.0.1, accepted until"),
        "{rotated}"
    );
    assert!(!rotated.contains(secret) && rotated.contains("secret in use"), "{rotated}");
    let shown = shell.ok("key show 'web shop' --organisation ACME").await;
    assert!(
        shown.contains("old secret") && shown.lines().all(|line| !line.starts_with("secret  ")),
        "{shown}"
    );
    let listed = shell.ok("key list --organisation ACME").await;
    assert!(listed.contains("web shop") && listed.contains("zoe"), "{listed}");
    shell.ok("key update 'web shop' --allow everywhere --expires never --organisation ACME").await;
    let brought = shell
        .types_with("key create old --user zoe --secret-stdin --organisation ACME", "brought-from-before");
    let brought = brought.await;
    assert!(
        brought.code == 0 && !brought.out.contains("brought-from") && brought.out.contains("...fore"),
        "{brought:?}"
    );
    shell.ok("key delete old --yes --organisation ACME").await;

    // Rules.
    let rules = shell
        .ok("rules set passwords.min_length=20 addresses.allow=127.*.*.*,10.0.0.0/8 --organisation ACME");
    let rules = rules.await;
    assert!(rules.lines().any(|line| line.split_whitespace().eq([
        "passwords.min_length",
        "20",
        "organisation"
    ])));
    shell.ok("rules reset addresses.allow --organisation ACME").await;
    assert_eq!(
        shell.json("rules show --organisation ACME").await["rules"]["addresses.allow"]["source"],
        "default"
    );

    // Sessions, and tokens for scripts.
    let issue = "token issue --organisation ACME --username zoe --password-stdin";
    let zoes = shell.types_with(issue, "zoe keeps seven bees at home\n").await.out.trim().to_owned();
    assert!(server.is_in_force(&zoes).await);
    let listed = shell.ok("session list --user zoe --method password --organisation ACME").await;
    assert!(listed.contains("zoe") && listed.contains("Warehouse") && !listed.contains(&zoes), "{listed}");
    shell.ok("session end --user zoe --organisation ACME").await;
    assert!(!server.is_in_force(&zoes).await && !server.is_in_force(issued.out.trim()).await);
    let again = shell.types_with(issue, "zoe keeps seven bees at home\n").await.out;
    let told = shell.types_with("token show --token-stdin", &again).await;
    assert!(
        told.out.contains("zoe (") && told.out.contains("ACME (") && !told.out.contains(again.trim()),
        "{told:?}"
    );
    assert_eq!(shell.types_with("token release --token-stdin", &again).await.code, 0);
    assert!(!server.is_in_force(again.trim()).await);
    assert!(shell.ok("token show").await.contains("user-of-OPERATOR"));

    // Away with it all.
    shell.ok("user disable zoe --yes --organisation ACME").await;
    assert_eq!(
        shell.json("user list --status disabled --organisation ACME").await["items"][0]["username"],
        "zoe"
    );
    shell.ok("user enable zoe --organisation ACME").await;
    shell.ok("user unlock zoe --organisation ACME").await;
    shell.ok("unit disable Warehouse --yes --organisation ACME").await;
    shell.ok("unit enable Warehouse --organisation ACME").await;
    shell.ok("unit delete 'head office' --yes --organisation ACME").await;
    shell.ok("key disable 'web shop' --yes --organisation ACME").await;
    shell.ok("key enable 'web shop' --organisation ACME").await;
    shell.ok("user delete max --yes --organisation ACME").await;
    shell.ok("organisation suspend ACME --yes").await;
    shell.ok("organisation activate ACME").await;
    shell.ok("organisation delete ACME --yes").await;
    shell.fails("unit list --organisation ACME", 1, &["no organisation 'ACME'"]).await;

    assert!(server.is_in_force(&token).await);
    shell.ok("logout").await;
    assert!(!server.is_in_force(&token).await && !shell.login_file().exists());
    assert!(shell.ok("logout").await.contains("Nobody"));
}

/// One's own password, when it must be changed and when not.
#[tokio::test]
async fn ones_own_password() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    shell.log_in().await;
    let create = "user create zoe --unit Second --role administrator --generate-password";
    let password = shell.json(create).await["password"].as_str().unwrap().to_owned();
    let login = "login --organisation OPERATOR --username zoe --password-stdin";
    let told = shell.types_with(login, &password).await;
    assert!(told.code == 1 && told.err.contains("`doorward password`"), "{told:?}");
    let change = "password --organisation OPERATOR --username zoe --password-stdin";
    let told = shell.types_with(change, &format!("{password}\nshort\n")).await;
    assert!(
        told.code == 1 && told.err.contains("the new password") && !told.err.contains("'short'"),
        "{told:?}"
    );
    assert!(shell.login_file().exists());
    let told = shell.types_with(change, &format!("{password}\nzoe keeps seven bees at home\n")).await;
    assert!(told.code == 0 && !told.out.contains("bees"), "{told:?}");
    assert!(shell.login_file().exists(), "the login is another user's");
    let before = shell.token();
    assert_eq!(shell.types_with(login, "zoe keeps seven bees at home").await.code, 0);
    assert!(!server.is_in_force(&before).await, "the login before is over");
    // The login says whose password it is.
    let told = shell
        .types_with("password --password-stdin", "zoe keeps seven bees at home\nzoe gave all bees away\n");
    assert_eq!(told.await.code, 0);
    assert!(!shell.login_file().exists());

    shell.log_in().await;
    let printed = shell.ok("user password zoe").await;
    assert_eq!((printed.trim().len(), printed.lines().count()), (39, 1), "the password alone: {printed}");
    let told =
        shell.types_with("user password zoe --keep --password-stdin", "zoe keeps seven bees at home").await;
    assert!(told.code == 0 && !told.out.contains("bees"), "{told:?}");
    assert_eq!(shell.types_with(login, "zoe keeps seven bees at home").await.code, 0);
}

/// What a tired person types, and what they are told.
#[tokio::test]
async fn mistakes_are_explained() {
    let server = TestServer::start().await;
    let admin = format!("http://{}", server.admin);
    let mut shell = Shell::at(&server);
    shell.fails("user list", 2, &["nobody is logged in", "doorward login", "DOORWARD_TOKEN"]).await;
    shell.fails("login --organisation ACME --username admin", 2, &["--password-stdin", "--key-stdin"]).await;
    shell.fails("login --username admin --password-stdin", 2, &["--organisation"]).await;
    shell.fails("login --server localhost:8081", 2, &["'localhost:8081'", "http://"]).await;
    shell.fails("login --password-stdin --organisation O --username u", 2, &["has no password"]).await;
    let told =
        shell.types_with("login --organisation OPERATOR --username x --password-stdin", "canary").await;
    assert!(told.code == 1 && told.err.contains("not accepted") && !told.err.contains("canary"), "{told:?}");
    shell = shell.set(&[("DOORWARD_SERVER", "http://127.0.0.1:1"), ("DOORWARD_TOKEN", "canary")]);
    shell.fails("user list", 1, &["cannot reach http://127.0.0.1:1/", "doorward serve", "--server"]).await;

    shell = shell.set(&[("DOORWARD_SERVER", &admin)]);
    shell.log_in().await;
    shell.fails("user show nobody", 1, &["no user 'nobody' in OPERATOR", "doorward user list"]).await;
    shell.fails("user show ..", 1, &["no user '..'"]).await;
    shell.fails("user list --unit Nowhere", 1, &["no unit 'Nowhere'"]).await;
    shell.fails("user show 'a\u{1b}[2J'", 1, &["'a\\u{1b}[2J'"]).await;
    shell.fails("unit list --organisation NOPE", 1, &["no organisation 'NOPE'"]).await;
    shell.fails("user update user-of-OPERATOR", 2, &["nothing to change"]).await;
    shell
        .fails("user create zoe --unit Second --default-unit 'Markt & Müller 100%'", 1, &["'--default-unit'"])
        .await;
    shell.fails("unit create Second", 1, &["the name"]).await;
    shell.fails("rules set passwords.min_length", 2, &["has no '='"]).await;
    shell.fails("rules set passwords.min_length=few", 1, &["'passwords.min_length'", "whole number"]).await;
    shell.fails("rules set passwords.length=20", 1, &["passwords.length", "passwords.min_length"]).await;
    shell.fails("key create k --user user-of-OPERATOR --expires soon", 2, &["'--expires soon'", "90d"]).await;
    shell.fails("key create k --user user-of-OPERATOR --allow here", 1, &["'--allow'", "'here'"]).await;
    shell.fails("key list --unused-for ages", 1, &["'--unused-for'", "30d"]).await;
    shell.fails("user list --limit 0", 2, &["1..=1000"]).await;
    shell.fails("session end", 2, &["--user"]).await;
    shell.fails("session end --all --user zoe", 2, &["cannot be used with"]).await;

    // What cannot be undone is done for nobody who was not asked.
    for line in [
        "organisation delete OTHER",
        "organisation suspend OTHER",
        "unit delete Second",
        "unit disable Second",
        "user delete user-of-OPERATOR",
        "user disable user-of-OPERATOR",
        "key delete Key",
        "key disable Key",
        "key rotate Key --overlap 0s",
        "session end --all",
        "session end --unit Second",
    ] {
        shell.fails(line, 2, &["--yes", "nothing was changed"]).await;
    }
    assert_eq!(shell.json("key show Key").await["status"], "active");

    // Two keys of one name.
    shell.ok("key create Key --user user-of-OPERATOR").await;
    shell.fails("key show Key", 2, &["2 keys named 'Key'", &server.operator.key_id.to_string()]).await;

    // Not the admin listener.
    let (api, token) = (format!("http://{}", server.api), shell.token());
    shell = shell.set(&[("DOORWARD_SERVER", &api), ("DOORWARD_TOKEN", &token)]);
    shell.fails("user list --organisation OPERATOR", 1, &["not the address of an admin listener"]).await;

    // The token has ended.
    server.clock.advance(Duration::from_secs(2 * 3600));
    shell.fails(&format!("user list --server {admin}"), 1, &["DOORWARD_TOKEN", "expired"]).await;
    shell = shell.set(&[("DOORWARD_SERVER", &admin)]);
    shell.fails("user list", 1, &["run `doorward login` again"]).await;
}

/// S1: a token goes to its own server only, whichever the environment or a flag names.
#[tokio::test]
async fn s1_a_token_goes_to_its_own_server_only() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let mut shell = Shell::at(&server);
    shell.log_in().await;
    let other = format!("http://{}", other.admin);
    for line in ["user list", "logout", "token show", "token release"] {
        shell.fails(&format!("{line} --server {other}"), 2, &["the stored login is for", &other]).await;
    }
    let token = shell.token();
    assert!(server.is_in_force(&token).await);
    shell = shell.set(&[("DOORWARD_SERVER", &other)]);
    shell.fails("user list", 2, &["the stored login is for"]).await;
    shell = shell.set(&[("DOORWARD_TOKEN", "canary")]);
    shell.fails("user list", 2, &["DOORWARD_SERVER is not"]).await;

    // A token of the environment with its server needs no login, and knows its organisation.
    let (admin, demo) = (format!("http://{}", server.admin), server.log_in(&server.demo).await);
    shell = shell.set(&[("DOORWARD_SERVER", &admin), ("DOORWARD_TOKEN", &demo)]);
    let listed = shell.ok("user list").await;
    assert!(listed.contains("mpadministrator") && !listed.contains("OPERATOR"), "{listed}");
    shell.ok("token release").await;
    assert!(!server.is_in_force(&demo).await && server.is_in_force(&token).await);
    assert!(shell.login_file().exists(), "the login was not meant");
    // Releasing the token of the login forgets the login.
    shell = shell.set(&[("DOORWARD_SERVER", &admin)]);
    shell.ok("token release").await;
    assert!(!server.is_in_force(&token).await && !shell.login_file().exists());
}

/// Who is no administrator is told so, and may look at their token all the same.
#[tokio::test]
async fn members_log_in_and_manage_nothing() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    shell.log_in().await;
    let told = shell
        .types_with("user create zoe --unit Second --password-stdin", "zoe keeps seven bees at home")
        .await;
    assert_eq!(told.code, 0, "{told:?}");
    let login = "login --organisation OPERATOR --username zoe --password-stdin";
    let told = shell.types_with(login, "zoe keeps seven bees at home").await;
    assert!(told.code == 0 && told.err.contains("zoe is no administrator"), "{told:?}");
    shell.fails("user list", 1, &["Only administrators"]).await;
    assert!(shell.ok("token show").await.contains("zoe"));
    let told = shell.types_with("login --key-stdin", &server.other.key).await;
    assert!(told.code == 0 && told.out.contains("as user-of-OTHER of OTHER"), "{told:?}");
    assert!(shell.ok("user list").await.contains("user-of-OTHER"));
    shell.fails("organisation create X", 1, &["operator organisation"]).await;
}

/// S1: names come from users, and a terminal obeys what it is sent.
#[tokio::test]
async fn s1_names_do_not_reach_the_terminal_as_commands() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.operator).await;
    let body = json!({"username": "zoe", "person_name": "Z\u{9b}2J\u{202e}oe"});
    let answer = Answer::of(administrator.request("POST", "/users").json(&body)).await;
    // Refusing such names is the server's affair; a server that takes them must not harm.
    if answer.status == 201 {
        let shell = Shell::at(&server);
        shell.log_in().await;
        for line in ["user list", "user show zoe", "user list --output json"] {
            let out = shell.ok(line).await;
            assert!(out.contains("oe") && !out.contains(['\u{9b}', '\u{202e}']), "{line}: {out:?}");
        }
        assert_eq!(shell.json("user show zoe").await["person_name"], "Z\u{9b}2J\u{202e}oe");
    }
}
