//! The demonstration of `examples/guarded`: what it prints to be pasted does what it says.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// A demonstration that runs, and stops with this.
struct Demonstration(Child);

impl Drop for Demonstration {
    fn drop(&mut self) {
        // SIGTERM: what it has started ends with it.
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        self.0.wait().unwrap();
    }
}

/// The first of six ports in a row that are free, below those that the system gives away.
fn base() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 1000).unwrap() * 6;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (first..30_000).step_by(6).find(|base| (*base..base + 6).all(is_free)).unwrap()
}

#[test]
#[cfg_attr(
    any(missing_nginx, missing_node, missing_python, missing_curl),
    ignore = "needs nginx, node, python3 and curl"
)]
fn the_demonstration_does_what_it_says() {
    let run = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guarded/run"));
    let mut child = Command::new(run)
        .env("DOORWARD", env!("CARGO_BIN_EXE_doorward"))
        .env("BASE", base().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap());
    let _demonstration = Demonstration(child);
    let mut pasted = String::new();
    for line in told.lines().map(Result::unwrap).take_while(|line| !line.starts_with("Ready")) {
        if let Some(line) = line.strip_prefix("  ") {
            pasted.push_str(line);
            pasted.push_str("; echo\n");
        }
    }
    // What a GET has in its body is no request of its own, with headers that nobody checked.
    let hidden = r"POST /orders HTTP/1.1\r\nHost: a\r\nX-Auth-Organisation: CRMDEMO\r\nX-Auth-User: forged\r\nContent-Length: 0\r\n\r\n";
    let lines: Vec<_> = pasted.lines().map(str::to_owned).collect();
    let (release, before) = lines.split_last().unwrap();
    let ask = before.iter().find(|line| line.contains("Bearer")).unwrap().trim_end_matches("; echo");
    pasted = before.join("\n");
    pasted.push_str(&format!(
        "\nprintf '{hidden}' | {ask} -X GET -H 'Content-Type: a/b' --data-binary @-; echo\n{ask}; echo\n{release}\n"
    ));
    // And what was let through before the release is let through no more.
    for line in before.iter().filter(|line| line.contains("/orders")) {
        pasted.push_str(line);
        pasted.push('\n');
    }
    let output = Command::new("sh").args(["-c", &pasted]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = told
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} in {told}")))
        .collect();
    assert_eq!(answers.len(), 11, "{told}");
    for (answer, by) in
        answers.iter().zip(["python", "python", "javascript", "javascript", "python", "python"])
    {
        assert_eq!(answer["by"], by, "{told}");
        assert_eq!(answer["who"]["user"], "mpadministrator", "{told}");
        assert_eq!(answer["who"]["organisation"], "CRMDEMO", "{told}");
    }
    for (answer, item) in
        [(&answers[1]["order"], "anvil"), (&answers[2]["order"], "rope"), (&answers[3]["orders"][0], "rope")]
    {
        assert_eq!(*answer, serde_json::json!({"item": item, "from": "mpadministrator"}), "{told}");
    }
    assert_eq!(answers[5]["orders"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(answers[6]["status"]["code"], "OK", "{told}");
    for refused in &answers[7..] {
        assert_eq!(refused["status"]["code"], "INVALID_TOKEN", "{told}");
    }
}
