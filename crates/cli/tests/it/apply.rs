//! `doorward apply`: the real binary makes a server in this process match files.

mod generated;
mod proxy;

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use doorward_testkit::{Administrator, TestServer};
use serde_json::{Value, json};

use self::proxy::{Answering, Proxy};
use crate::{
    client::{Shell, Told},
    faults::SmallDisk,
};

/// Somebody with files.
struct Desk {
    shell: Shell,
}

impl Desk {
    async fn at(server: &TestServer) -> Self {
        let shell = Shell::at(server);
        shell.log_in().await;
        Self { shell }
    }

    /// As [`Self::at`], with a token of their own and another address of the server.
    fn with(address: &str, token: &str) -> Self {
        Self { shell: Shell::with(&[("DOORWARD_SERVER", address), ("DOORWARD_TOKEN", token)]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shell.home.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Applies a text. `SECRETS` in the flags is a file of that name.
    async fn apply(&self, text: &str, flags: &str) -> Told {
        std::fs::write(self.path("tenants.toml"), text).unwrap();
        let file = |name: &str| format!("'{}'", self.path(name).display());
        let flags = flags.replace("SECRETS", &file("SECRETS"));
        self.shell.types_with(&format!("apply -f {} {flags}", file("tenants.toml")), "").await
    }

    /// Applies a text, which must be possible.
    async fn ok(&self, text: &str, flags: &str) -> String {
        let told = self.apply(text, flags).await;
        assert_eq!(told.code, 0, "{told:?}\n{text}");
        told.out
    }

    /// Applies a text, which must fail and say all of this.
    async fn fails(&self, text: &str, flags: &str, parts: &[&str]) {
        let told = self.apply(text, flags).await;
        assert_eq!(told.code, 1, "{told:?}\n{text}");
        for part in parts {
            assert!(told.err.contains(part), "{part:?} is not in {}", told.err);
        }
    }

    /// Nothing would change any more, and nothing does.
    async fn is_at_rest(&self, text: &str, flags: &str) {
        for how in ["--plan", "--yes"] {
            let out = self.ok(text, &format!("{flags} {how}")).await;
            assert!(out.starts_with("Nothing to change.\n"), "{how}: {out}\n{text}");
        }
    }
}

const ACME: &str = "
[[organisation]]
code = \"ACME\"
name = \"Acme Ltd\"
rules.passwords.min_length = 16

[[organisation.unit]]
name = \"Warehouse\"

[[organisation.user]]
username = \"zoe\"
email = \"zoe@acme.example\"
role = \"administrator\"
units = [\"warehouse\"]

[[organisation.key]]
name = \"billing\"
user = \"zoe\"
verifier = true
";

/// A tenant from nothing to its end, and what is said on the way.
#[tokio::test]
async fn the_whole_story() {
    let server = TestServer::start().await;
    let desk = Desk::at(&server).await;
    let plan = "+ organisation ACME: name Acme Ltd\n\
                ~ rules of ACME: passwords.min_length the server's -> 16\n\
                + unit Warehouse of ACME\n\
                + user zoe of ACME: email zoe@acme.example, role administrator, units [Warehouse], default_unit Warehouse\n\
                + key billing of zoe (ACME): verifier true\n\
                4 to create, 1 to change, 0 to delete.\n";
    let told = desk.apply(ACME, "--plan").await;
    assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (2, plan, ""));

    // Refused before anything is done: without a place for secrets, without consent, over a file that is there.
    desk.fails(ACME, "--yes", &["1 key would be created", "--secrets FILE", "nothing was changed"]).await;
    desk.fails(ACME, "--secrets SECRETS", &["to make 5 changes without being asked, add --yes"]).await;
    assert!(!desk.path("SECRETS").exists());
    std::fs::write(desk.path("SECRETS"), "kept\n").unwrap();
    desk.fails(ACME, "--yes --secrets SECRETS", &["SECRETS is there already", "give --secrets a new file"])
        .await;
    assert_eq!(desk.read("SECRETS"), "kept\n");
    std::fs::remove_file(desk.path("SECRETS")).unwrap();
    desk.fails(ACME, "--yes --secrets /nowhere/file", &["there is no folder /nowhere"]).await;
    assert_eq!(desk.apply(ACME, "--plan").await.out, plan);

    let told = desk.apply(ACME, "--yes --secrets SECRETS").await;
    assert_eq!((told.code, told.out), (0, format!("{plan}Done: 5 changes.\n")), "{}", told.err);
    assert!(told.err.contains("Secrets of 1 new key are in"), "{}", told.err);
    assert_eq!(std::fs::metadata(desk.path("SECRETS")).unwrap().permissions().mode() & 0o777, 0o600);
    let line: Value = serde_json::from_str(&desk.read("SECRETS")).unwrap();
    assert_eq!(
        (&line["organisation"], &line["user"], &line["key"]),
        (&json!("ACME"), &json!("zoe"), &json!("billing"))
    );
    let secret = line["secret"].as_str().unwrap();
    assert!(!told.err.contains(secret), "{}", told.err);
    let token = server.try_key(secret).await.token();
    assert!(server.is_in_force(&token).await);
    assert_eq!(
        desk.shell.json("key show billing --organisation ACME").await["id"],
        line["id"],
        "the file names the key"
    );

    desk.is_at_rest(ACME, "").await;
    desk.is_at_rest(ACME, "--secrets SECRETS").await;
    // A member that is not given stays.
    let less =
        "[[organisation]]\ncode = 'ACME'\n[[organisation.user]]\nusername = 'zoe'\nperson_name = 'Zoë'\n";
    let told = desk.ok(less, "--yes").await;
    assert_eq!(
        told,
        "~ user zoe of ACME: person_name none -> Zoë\n0 to create, 1 to change, 0 to delete.\nDone: 1 change.\n"
    );
    desk.is_at_rest(ACME, "").await;

    // Tokens end where it is said.
    let disabled = format!("{ACME}status = 'disabled'\n");
    let told = desk.ok(&disabled, "--yes").await;
    assert!(
        told.starts_with("~ key billing of zoe (ACME): status active -> disabled, ends its tokens\n"),
        "{told}"
    );
    assert!(!server.is_in_force(&token).await);

    // What is not named stays, unless it is to go.
    desk.is_at_rest(less, "").await;
    let told = desk.apply(less, "--plan --prune").await;
    assert_eq!(told.code, 2);
    let told = desk.ok(less, "--yes --prune").await;
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "~ rules of ACME: passwords.min_length 16 -> the server's",
            "- key billing of zoe (ACME): ends its tokens"
        ]
    );
    assert!(
        told.contains("- organisation OTHER: with 2 units, 1 user, 1 key, ends its tokens\n")
            && told.contains("left all the same: organisation OPERATOR; it is the operator organisation.\n")
            && told.contains("left all the same: unit Warehouse of ACME; it is the default unit of zoe.\n"),
        "{told}"
    );
    let listed = desk.shell.ok("organisation list").await;
    assert!(listed.contains("ACME") && !listed.contains("OTHER"), "{listed}");
    desk.is_at_rest(less, "--prune").await;
}

/// Exit code 1 is for errors of every kind, 2 for `--plan` alone.
#[tokio::test]
async fn exit_codes() {
    let server = TestServer::start().await;
    let desk = Desk::at(&server).await;
    desk.fails(
        "[[organization]]\n",
        "--plan",
        &["tenants.toml:1: 'organization' is unknown", "did you mean"],
    )
    .await;
    desk.fails("", "--prune --yes", &["names no organisation"]).await;
    let wrong = "[[organisation]]\ncode = 'ACME'\n[[organisation.user]]\nusername = 'zoe'\nunits = ['Nowhere']\nrole = 'x'\n";
    desk.fails(wrong, "--plan", &["nothing was changed\n", "tenants.toml:6: 'role' is 'x'"]).await;
    let wrong = wrong.replace("'x'", "'member'");
    desk.fails(&wrong, "--plan", &["tenants.toml:5: 'units': there is no unit 'Nowhere'"]).await;
    desk.fails(ACME, "--organisation ACME", &["leave --organisation out"]).await;
    desk.fails(ACME, "--plan --fiel x", &["--fiel"]).await;
    for line in ["apply", "apply -f /nowhere/tenants.toml", "apply -f - --prune"] {
        let told = desk.shell.types_with(line, "").await;
        assert!(told.code == 1 && told.out.is_empty() && !told.err.is_empty(), "{line}: {told:?}");
    }
    assert_eq!(desk.shell.types_with("apply --help", "").await.code, 0);
    let nobody = Desk { shell: Shell::at(&server) };
    nobody.fails(ACME, "--plan", &["nobody is logged in"]).await;
    let told = desk.shell.types_with("apply -f - --plan", "[[organisation]]\ncode = 'NEW'\n").await;
    assert_eq!((told.code, told.out.lines().next()), (2, Some("+ organisation NEW")));
    let told = desk.apply("[[organisation]]\ncode = 'NEW'\n", "--plan --output json").await;
    let json: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told.code, 2);
    assert_eq!(
        json,
        json!({"changes": [{
            "action": "create", "kind": "organisation", "organisation": "NEW", "name": "NEW", "id": null,
            "changes": [{"member": "code", "from": null, "to": "NEW"}], "ends_tokens": false, "note": null
        }], "left": [], "done": 0})
    );
}

/// What somebody else changes between the plan and its turn is left as they made it, and applying again does the rest.
#[tokio::test]
async fn what_was_changed_meanwhile_is_refused() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    for (kind, path, text, made) in [
        (
            "user",
            "/users",
            "[[organisation.user]]\nusername = 'user-of-OTHER'\nemail = 'a@b.example'\n",
            json!({"person_name": "Theirs"}),
        ),
        (
            "unit",
            "/units",
            "[[organisation.unit]]\nname = 'Second'\nstatus = 'disabled'\n",
            json!({"name": "SECOND"}),
        ),
        (
            "key",
            "/keys",
            "[[organisation.key]]\nname = 'Key'\nuser = 'user-of-OTHER'\nexpires_at = 2090-01-01\n",
            json!({"verifier": false}),
        ),
        ("organisation", "", "status = 'suspended'\n", json!({"name": "Theirs"})),
        ("rules", "/rules", "rules.lockout.failures = 7\n", json!({"lockout.failures": 8})),
    ] {
        let other = operator.at("OTHER");
        let path = match kind {
            "user" => format!("{path}/{}", server.other.user),
            "unit" => format!("{path}/{}", server.other.other_unit),
            "key" => format!("{path}/{}", server.other.key_id),
            _ => path.to_owned(),
        };
        // The first change of the plan goes through; then somebody else is quicker.
        let first = format!("[[organisation]]\ncode = 'CRMDEMO'\nname = 'Before {kind}'\n");
        let text = format!("{first}[[organisation]]\ncode = 'OTHER'\n{text}");
        let proxy = Proxy::start(server.admin, Answering::Always, 2).await;
        let desk = Desk::with(&proxy.address, &operator.token);
        let meddle = async {
            proxy.reached.notified().await;
            other.patch(&path, made.clone()).await;
            proxy.go_on.notify_one();
        };
        let (told, ()) = tokio::join!(desk.apply(&text, "--yes"), meddle);
        assert_eq!(told.code, 1, "{told:?}");
        for part in [
            format!("doorward: ~ {kind} ").as_str(),
            "it was changed since the plan was made, so it is left as it is",
            "\nDone:\n  ~ organisation CRMDEMO: name ",
            &format!("Not done:\n  ~ {kind} "),
            "Apply the file again to do the rest",
        ] {
            assert!(told.err.contains(part), "{kind}: {part:?} is not in {}", told.err);
        }
        let shown = other.get(&path).await;
        let theirs = made.as_object().unwrap().iter().next().unwrap();
        let theirs = (shown.pointer("/rules/lockout.failures/value").unwrap_or(&shown[theirs.0]), theirs.1);
        assert_eq!(theirs.0, theirs.1, "{kind}");
        desk.ok(&text, "--yes").await;
        desk.is_at_rest(&text, "").await;
    }
}

/// An answer that is lost loses no secret and makes nothing twice.
#[tokio::test]
async fn s1_a_secret_survives_a_lost_answer() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    // The last of five requests that change something creates the key.
    let proxy = Proxy::start(server.admin, Answering::NotOnce, 5).await;
    proxy.go_on.notify_one();
    let desk = Desk::with(&proxy.address, &operator.token);
    let told = desk.apply(ACME, "--yes --secrets SECRETS").await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(proxy.has_dropped(), "the answer was lost");
    let line: Value = serde_json::from_str(&desk.read("SECRETS")).unwrap();
    let secret = line["secret"].as_str().unwrap();
    assert!(server.is_in_force(&server.try_key(secret).await.token()).await);
    assert_eq!(operator.at("ACME").list("/keys?limit=9").await.len(), 1);
    desk.is_at_rest(ACME, "").await;
}

/// What was not answered, however often it was asked, may be there: nothing else is said.
#[tokio::test]
async fn what_is_not_known_to_be_done_is_said_to_be_unknown() {
    for (nth, is_key) in [(1, false), (5, true)] {
        let server = TestServer::start().await;
        let operator = server.administrator(&server.operator).await;
        let proxy = Proxy::start(server.admin, Answering::NoMore, nth).await;
        proxy.go_on.notify_one();
        let desk = Desk::with(&proxy.address, &operator.token);
        let told = desk.apply(ACME, "--yes --secrets SECRETS").await;
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.err.contains("It is not known whether this was done"), "{told:?}");
        assert!(!told.err.contains("Nothing was changed"), "{told:?}");
        assert_eq!(told.err.contains("its secret is lost: `doorward key rotate "), is_key, "{told:?}");
        assert_eq!(
            (told.err.contains("Done:"), told.err.contains("Not done:")),
            (is_key, !is_key),
            "{told:?}"
        );
        assert_eq!(operator.send("GET", "/admin/v1/organisations/ACME").await.status, 200, "it is there");
    }
}

/// Ctrl-C lets the change that is under way finish, and keeps the secret that it gives.
#[tokio::test]
async fn s1_a_secret_survives_ctrl_c() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let proxy = Proxy::start(server.admin, Answering::Always, 5).await;
    let desk = Desk::with(&proxy.address, &operator.token);
    let more: String = (0..30)
        .map(|number| format!("[[organisation.key]]\nname = 'key {number}'\nuser = 'zoe'\n"))
        .collect();
    let text = format!("{ACME}{more}");
    std::fs::write(desk.path("tenants.toml"), &text).unwrap();
    let files = [desk.path("tenants.toml"), desk.path("SECRETS")].map(|path| path.display().to_string());
    let line = format!("apply --yes -f '{}' --secrets '{}'", files[0], files[1]);
    let child = desk.shell.command(&line).spawn().unwrap();
    proxy.reached.notified().await;
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    proxy.go_on.notify_one();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("\n  interrupted\nDone:\n  + organisation ACME"), "{told}");
    assert!(told.contains("Apply the file again to do the rest, with another file for --secrets"), "{told}");
    // There are as many secrets as keys.
    let keys = operator.at("ACME").list("/keys?limit=100").await.len();
    assert!(keys < 31, "{told}");
    assert_eq!(desk.read("SECRETS").lines().count(), keys);
    std::fs::rename(desk.path("SECRETS"), desk.path("first")).unwrap();
    desk.ok(&text, "--yes --secrets SECRETS").await;
    assert_eq!(desk.read("SECRETS").lines().count(), 31 - keys);
    desk.is_at_rest(&text, "").await;
}

/// A key whose secret cannot be kept is not left behind.
#[tokio::test]
#[cfg_attr(missing_mount, ignore = "needs the right to mount a small file system")]
async fn s1_a_full_disk_loses_no_secret() {
    let server = TestServer::start().await;
    let desk = Desk::at(&server).await;
    let disk = SmallDisk::new();
    disk.fill();
    let flags = format!("--yes --secrets '{}'", disk.folder().join("secrets").display());
    let parts = [
        "+ key billing of zoe (ACME)",
        "the key is deleted again, for its secret could not be kept",
        "No space",
    ];
    desk.fails(ACME, &flags, &parts).await;
    assert_eq!(desk.shell.json("key list --organisation ACME").await["items"], json!([]));
    desk.ok(ACME, "--yes --secrets SECRETS").await;
    desk.is_at_rest(ACME, "").await;
}

/// What the server refuses stops the work; what is done and what is not is told, and no empty file is left.
#[tokio::test]
async fn a_refusal_tells_what_is_done_and_what_is_not() {
    let server = TestServer::start().await;
    let desk = Desk::at(&server).await;
    let wrong = ACME.replace("min_length = 16", "min_length = 16\nrules.lockout.lock = '90d'");
    let parts = [
        "~ rules of ACME: lockout.lock the server's -> 90days",
        "must not be shorter than lockout.lock",
        "Done:\n  + organisation ACME: name Acme Ltd\nNot done:\n  ~ rules of ACME",
        "\n  + key billing of zoe (ACME)",
        "Apply the file again",
    ];
    desk.fails(&wrong, "--yes --secrets SECRETS", &parts).await;
    assert!(!desk.path("SECRETS").exists(), "nothing was to be kept");
    let told = desk.apply(&wrong, "--yes --secrets SECRETS --output json").await;
    let json: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &json["done"], json["changes"].as_array().unwrap().len()), (1, &json!(0), 4));
    desk.ok(ACME, "--yes --secrets SECRETS").await;
    desk.is_at_rest(ACME, "").await;
}

/// M1: administrators who are no operators apply what is theirs, and reach nothing else.
#[tokio::test]
async fn m1_who_is_no_operator_applies_their_own_organisation() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.other).await;
    let desk = Desk::with(&format!("http://{}", server.admin), &token);
    let own = "[[organisation]]\ncode = 'OTHER'\nname = 'Ours'\nrules.lockout.failures = 7\n\
               [[organisation.unit]]\nname = 'Third'\n\
               [[organisation.user]]\nusername = 'user-of-OTHER'\nemail = 'a@b.example'\n";
    desk.ok(own, "--yes").await;
    desk.is_at_rest(own, "").await;
    let told = desk.ok(own, "--yes --prune").await;
    assert!(told.contains("- key Key of user-of-OTHER (OTHER)") && told.contains("you work in it"), "{told}");
    assert!(server.is_in_force(&token).await);
    for (text, part) in [
        ("[[organisation]]\ncode = 'CRMDEMO'\n", "no organisation 'CRMDEMO', or none that you may manage"),
        ("[[organisation]]\ncode = 'NEW'\n", "no organisation 'NEW'"),
        (
            "[[organisation]]\ncode = 'OTHER'\nstatus = 'suspended'\n",
            "'status' is changed by administrators of the operator",
        ),
    ] {
        desk.fails(text, "--yes", &["nothing was changed", part]).await;
    }
}

/// Logged in with a key, nobody prunes the key that they are logged in with.
#[tokio::test]
async fn prune_spares_the_key_that_is_in_use() {
    let server = TestServer::start().await;
    let token = server.log_in_with_key(&server.operator).await;
    let desk = Desk::with(&format!("http://{}", server.admin), &token);
    let told = desk.ok("[[organisation]]\ncode = 'OPERATOR'\n", "--yes --prune").await;
    assert!(
        told.contains("key Key of user-of-OPERATOR (OPERATOR); you are logged in with a key of this user")
            && told.contains("user user-of-OPERATOR of OPERATOR; you are logged in as it")
            && told.contains("- organisation CRMDEMO"),
        "{told}"
    );
    assert!(server.is_in_force(&token).await);
}

/// What a plan says is what is done then, and done again it changes nothing: over generated files, by what the server
/// shows before and after, and by its audit records.
#[tokio::test]
async fn a_plan_equals_what_apply_then_does() {
    let (mut steps, mut swapped) = (0, 0);
    for seed in 1..=3 {
        let server = TestServer::start().await;
        let operator = server.administrator(&server.operator).await;
        let desk = Desk::with(&format!("http://{}", server.admin), &operator.token);
        let mut choices = generated::Choices(seed);
        for round in 0..8 {
            let before = generated::Snapshot::take(&operator).await;
            let (text, flags) =
                (generated::file(&mut choices, &before), if round % 3 == 2 { "--prune" } else { "" });
            let told = desk.apply(&text, &format!("{flags} --plan --output json")).await;
            assert_ne!(told.code, 1, "{told:?}\n{text}");
            let plan: Value = serde_json::from_str(&told.out).unwrap();
            let last = server.audit().await.len();
            let told = desk.ok(&text, &format!("{flags} --yes --secrets SECRETS --output json")).await;
            let mut did: Value = serde_json::from_str(&told).unwrap();
            let changes = plan["changes"].as_array().unwrap();
            assert_eq!(did["done"].take(), json!(changes.len()));
            did["done"] = json!(0);
            assert_eq!(did, plan, "{text}");
            let after = generated::Snapshot::take(&operator).await;
            generated::check(&before, &after, changes)
                .unwrap_or_else(|wrong| panic!("seed {seed}, round {round}: {wrong}\n{text}\n{plan:#}"));
            let records = server.audit().await;
            assert!(records.len() < 1_000, "all of them");
            generated::check_records(&records[last..], changes)
                .unwrap_or_else(|wrong| panic!("seed {seed}, round {round}: {wrong}\n{text}\n{plan:#}"));
            desk.is_at_rest(&text, flags).await;
            steps += changes.len();
            swapped += usize::from(told.contains("renaming-"));
            let _ = std::fs::remove_file(desk.path("SECRETS"));
        }
    }
    assert!(steps > 300 && swapped > 4, "{steps} steps, {swapped} files in which names change places");
}

/// Lists are read to their end.
#[tokio::test]
async fn more_than_a_page_is_read() {
    let server = TestServer::start().await;
    let operator: Administrator<'_> = server.administrator(&server.operator).await;
    for number in 0..1_001 {
        server.change(server.other.create_user(&format!("user-{number:04}"))).await;
    }
    let desk = Desk::with(&format!("http://{}", server.admin), &operator.token);
    let text = "[[organisation]]\ncode = 'OTHER'\n[[organisation.user]]\nusername = 'user-of-OTHER'\n\
                [[organisation.user]]\nusername = 'user-1000'\nrole = 'member'\n";
    desk.is_at_rest(text, "").await;
    let told = desk.ok("[[organisation]]\ncode = 'OPERATOR'\n", "--prune --yes").await;
    assert!(told.contains("- organisation OTHER: with 2 units, 1002 users, 1 key"), "{told}");
}
