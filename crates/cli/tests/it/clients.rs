//! The examples of clients in other languages: `docs/clients.md` quotes them as they are, and they do what they say.

use std::{path::Path, process::Command};

use doorward_testkit::TestServer;

const EXAMPLES: [&str; 6] = [
    "crates/client/examples/clients.rs",
    "examples/clients/python/clients.py",
    "examples/clients/javascript/clients.mjs",
    "examples/clients/php/clients.php",
    "examples/clients/go/clients.go",
    "examples/clients/curl/clients.sh",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where a block of code follows the name of a file, it is the file.
#[test]
fn the_page_about_clients_quotes_the_examples() {
    let page = std::fs::read_to_string(root().join("docs/clients.md")).unwrap();
    let mut written = page.clone();
    for example in EXAMPLES {
        let text = std::fs::read_to_string(root().join(example)).unwrap();
        let name = format!("[`{example}`](../{example})");
        let start = written.find(&name).unwrap_or_else(|| panic!("docs/clients.md does not name {example}"));
        let code = start + written[start..].find("\n```").unwrap() + 1;
        let code = code + written[code..].find('\n').unwrap() + 1;
        let end = code + written[code - 1..].find("\n```").unwrap();
        written.replace_range(code..end, &text);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join("docs/clients.md"), &written).unwrap();
        return;
    }
    assert!(
        page == written,
        "docs/clients.md is out of date; run UPDATE_DOCS=1 cargo test -p doorward clients"
    );
}

/// Runs a program against a server and returns what it prints, if it ends well.
async fn run(
    server: &TestServer,
    program: &'static str,
    example: &'static str,
    password: &str,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .arg(root().join(example))
        .env("DOORWARD_URL", format!("http://{}", server.api))
        .env("DOORWARD_KEY", &server.demo.key)
        .env("DOORWARD_ORGANISATION", &server.demo.code)
        .env("DOORWARD_USERNAME", &server.demo.username)
        .env("DOORWARD_PASSWORD", password);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if output.status.success() { Ok(out) } else { Err(err) }
}

/// Logs in, uses, verifies, releases; with a wrong password it says so and shows no secret.
async fn does_what_it_says(program: &'static str, example: &'static str, expected: &str) {
    let server = TestServer::start().await;
    let told = run(&server, program, example, &server.demo.password).await;
    assert_eq!(told.as_deref(), Ok(expected));
    let records = server.audit().await;
    assert!(records.iter().any(|record| record.event == "release" && record.reason == "ok"), "{records:?}");
    let error = run(&server, program, example, "canary\"\\password").await.unwrap_err();
    assert!(!error.is_empty() && !error.contains("canary") && !error.contains(&server.demo.key), "{error}");
    let refused = server.audit().await.last().unwrap().reason.clone();
    assert_eq!(refused, "wrong_password", "the password was sent as it is");
}

const TOLD: &str = "used: 200\nactive: mpadministrator of CRMDEMO\nreleased\n";

#[tokio::test]
#[cfg_attr(missing_python, ignore = "needs python3")]
async fn the_example_in_python_works() {
    does_what_it_says("python3", EXAMPLES[1], TOLD).await;
}

#[tokio::test]
#[cfg_attr(missing_node, ignore = "needs node")]
async fn the_example_in_javascript_works() {
    does_what_it_says("node", EXAMPLES[2], TOLD).await;
}

#[tokio::test]
#[cfg_attr(missing_curl, ignore = "needs curl")]
async fn the_example_with_curl_works() {
    does_what_it_says("sh", EXAMPLES[5], "used: 200\nactive\nreleased\n").await;
}
