//! `kill -9` on the real binary, under load: nothing answered is lost, nothing released is accepted.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use doorward_storage::verify_audit;
use doorward_testkit::{Answer, Demo};
use serde_json::json;

use crate::program::Server;

const ROUNDS: usize = 50;
const CLIENTS: usize = 8;

/// What a client was told.
#[derive(Default)]
struct Told {
    /// Issued and answered, no release sent.
    issued: Vec<String>,
    /// Released and answered.
    released: Vec<String>,
}

/// Issues, uses and releases until the server is gone. Counts each answer.
async fn client(http: reqwest::Client, base: String, answers: Arc<AtomicUsize>) -> Told {
    let mut told = Told::default();
    let send = async |request: reqwest::RequestBuilder| -> Option<serde_json::Value> {
        let response = request.send().await.ok()?;
        let answer = if response.status() == 200 { response.text().await.ok()? } else { return None };
        answers.fetch_add(1, Ordering::Relaxed);
        Some(serde_json::from_str(&answer).unwrap_or_default())
    };
    loop {
        let login =
            http.post(format!("{base}/authentication/web_api_key/token")).basic_auth(Demo::KEY, Some(""));
        let Some(answer) = send(login).await else { return told };
        let token = answer["data"]["token"].as_str().unwrap().to_owned();
        let verify = http.get(format!("{base}/verify")).bearer_auth(&token);
        told.issued.push(token.clone());
        if send(verify).await.is_none() {
            return told;
        }
        if told.issued.len() % 2 == 0 {
            // From here on the token may be released or not; only an answer makes it certain.
            told.issued.pop();
            let release =
                http.post(format!("{base}/authentication/token/release")).json(&json!({"token": token}));
            if send(release).await.is_none() {
                return told;
            }
            told.released.push(token);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_kill_9_loses_nothing_answered_and_revives_nothing_released() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let mut total = 0;
    for round in 0..ROUNDS {
        let server = start(folder.path());
        let http = reqwest::Client::new();
        let answers = Arc::new(AtomicUsize::new(0));
        let base = format!("http://{}", server.api);
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(client(http.clone(), base.clone(), answers.clone()))).collect();
        // After a few answers more in each round, so that the blow falls at another moment.
        while answers.load(Ordering::Relaxed) < 10 + 3 * round {
            tokio::task::yield_now().await;
        }
        server.kill();
        // S2: each answer has its record, and the chain is whole.
        let report = verify_audit(folder.path(), &[], &mut |_, _| {}).unwrap();
        assert!(report.is_sound(), "{report:?}");
        for client in clients {
            let of_client = client.await.unwrap();
            told.issued.extend(of_client.issued);
            told.released.extend(of_client.released);
        }
        total += answers.load(Ordering::Relaxed);
        let records: u64 = report.chains.iter().map(|chain| chain.sound).sum();
        assert!(records >= (told.issued.len() + told.released.len()) as u64, "{report:?}");
        if round % 10 == 9 {
            let server = start(folder.path());
            check(&server, &told).await;
        }
    }
    assert!(total > ROUNDS * 10 && told.issued.len() > ROUNDS && told.released.len() > ROUNDS, "{total}");
}

fn start(folder: &Path) -> Server {
    Server::start(folder, &["--demo", "--set", "tokens.touch_interval=50ms"])
}

async fn check(server: &Server, told: &Told) {
    let http = reqwest::Client::new();
    for (tokens, expected) in [(&told.issued, 200), (&told.released, 401)] {
        for token in tokens {
            let answer =
                Answer::of(http.get(format!("http://{}/verify", server.api)).bearer_auth(token)).await;
            assert_eq!(answer.status, expected, "{token}");
        }
    }
}
