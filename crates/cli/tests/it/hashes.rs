//! Password hashes that other programs make here and now: their users log in, and have one of ours afterwards.

use std::process::Command;

use doorward_domain::passwords::PasswordHash;
use doorward_testkit::TestServer;

/// Passwords that formats might trip over: plain, not in ASCII, as long as bcrypt takes and longer, with what shells
/// and hashes use.
fn passwords() -> Vec<String> {
    let x = |length| "x".repeat(length);
    let odd = r#"'$2b$05$ "quoted" \ %s"#;
    vec!["correct horse".into(), "Zoë Müller, пароль 🔑".into(), x(72), x(73), "ü".repeat(40), odd.into()]
}

/// The lines that a program prints.
fn run(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// C4: each hash is taken as it is, knows its password and no other, and is Argon2id of today's cost after the first
/// login, with which the second one works.
async fn log_in_with(hashes: Vec<(String, String)>) {
    let server = TestServer::start().await;
    let demo = &server.demo;
    let ours = "$argon2id$v=19$m=8,t=1,p=1$";
    for (index, (password, hash)) in hashes.into_iter().enumerate() {
        let username = format!("moved-in-{index}");
        let taken = PasswordHash::import(&hash).unwrap_or_else(|error| panic!("{hash} {error}"));
        server.change(demo.create_user_with(&username, Some(taken))).await;
        let log_in = async |password: &str| server.try_login(&demo.code, &username, password).await;

        let wrong = log_in(&format!("?{password}")).await;
        assert_eq!((wrong.status, wrong.code().as_str()), (401, "INVALID_CREDENTIALS"), "{hash}");
        assert_eq!(server.stored_hash(demo, &username).await.as_str(), hash, "it is kept");

        let first = log_in(&password).await;
        assert_eq!(first.status, 200, "{password:?} by {hash}: {first:?}");
        let stored = server.stored_hash(demo, &username).await;
        assert!(stored.as_str().starts_with(ours), "{hash} became {}", stored.as_str());

        let second = log_in(&password).await;
        assert_eq!(second.status, 200, "{password:?} after {hash}: {second:?}");
        assert!(server.is_in_force(&first.token()).await, "no token ends by it");
        assert_eq!(server.stored_hash(demo, &username).await, stored, "renewed once");
        assert_eq!(log_in(&format!("{password}?")).await.status, 401, "every byte counts now");
    }
}

#[tokio::test]
#[cfg_attr(
    missing_python_hashes,
    ignore = "needs /usr/bin/python3 with bcrypt and passlib (python3-bcrypt, python3-passlib)"
)]
async fn c4_users_with_hashes_by_python_log_in_and_get_ours() {
    const MAKERS: [&str; 12] = [
        "bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()",
        "bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, b'2a')).decode()",
        "hash.bcrypt.using(rounds=4, ident='2y').hash(password)",
        "hash.scrypt.using(rounds=8).hash(password)",
        "hash.scrypt.using(rounds=4, block_size=2, parallelism=2, salt_size=3).hash(password)",
        "hash.pbkdf2_sha1.using(rounds=100).hash(password)",
        "hash.pbkdf2_sha256.using(rounds=100, salt_size=0).hash(password)",
        "hash.pbkdf2_sha512.using(rounds=100).hash(password)",
        "hash.django_pbkdf2_sha256.using(rounds=100).hash(password)",
        "hash.django_pbkdf2_sha1.using(rounds=100).hash(password)",
        "hash.sha256_crypt.using(rounds=1001).hash(password)",
        "hash.sha512_crypt.using(rounds=5000, salt='').hash(password)",
    ];
    let passwords = passwords();
    let mut hashes = Vec::new();
    for maker in MAKERS {
        let program = format!(
            "import sys, bcrypt\nfrom passlib import hash\nfor password in sys.argv[1:]: print({maker})"
        );
        let arguments =
            ["-W", "ignore", "-c", &program].into_iter().chain(passwords.iter().map(String::as_str));
        let made = run("/usr/bin/python3", &arguments.collect::<Vec<_>>());
        assert_eq!(made.len(), passwords.len());
        hashes.extend(passwords.iter().cloned().zip(made));
    }
    log_in_with(hashes).await;
}

#[tokio::test]
#[cfg_attr(missing_htpasswd, ignore = "needs htpasswd (apache2-utils)")]
async fn c4_users_with_hashes_by_htpasswd_log_in_and_get_ours() {
    let mut hashes = Vec::new();
    for password in passwords() {
        for options in [&["-nbB"][..], &["-nbB", "-C", "4"]] {
            let lines = run("htpasswd", &[options, &["user", &password]].concat());
            hashes.push((password.clone(), lines[0].strip_prefix("user:").unwrap().to_owned()));
        }
    }
    log_in_with(hashes).await;
}

#[tokio::test]
#[cfg_attr(missing_mkpasswd, ignore = "needs mkpasswd (whois)")]
async fn c4_users_with_hashes_by_mkpasswd_log_in_and_get_ours() {
    let mut hashes = Vec::new();
    for password in passwords() {
        for method in ["sha256crypt", "sha512crypt", "bcrypt", "bcrypt-a", "scrypt"] {
            let rounds = if method.starts_with("sha") { "2000" } else { "6" };
            let lines = run("mkpasswd", &["-m", method, "-R", rounds, "--", &password]);
            hashes.push((password.clone(), lines[0].clone()));
        }
    }
    log_in_with(hashes).await;
    for method in ["yescrypt", "md5crypt", "descrypt"] {
        let hash = &run("mkpasswd", &["-m", method, "correct horse"])[0];
        let refusal = PasswordHash::import(hash).unwrap_err().to_string();
        assert!(refusal.contains("which is not taken") && !refusal.contains(hash), "{hash}: {refusal}");
    }
}
