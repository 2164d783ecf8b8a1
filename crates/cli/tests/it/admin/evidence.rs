//! Audit records as administrators read them, and tokens explained.

use std::time::Duration;

use doorward_domain::clock::TimeSource;
use doorward_testkit::{Administrator, Answer, TestServer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{each, id, text};

const EXPLAIN: &str = "/admin/v1/tokens/explain";

/// The digest of a record as `docs/audit.md` has it, from the record as the API shows it.
pub fn digest(record: &Value) -> String {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|place| u8::from_str_radix(&text[place..place + 2], 16).unwrap())
            .collect()
    };
    let at: jiff::Timestamp = text(record, "at").parse().unwrap();
    let members = each_text(&record["members"]);
    let mut bytes = hex(text(record, "previous"));
    for member in [
        record["organisation"].as_str().map(str::to_owned),
        Some(record["number"].to_string()),
        Some(at.as_millisecond().to_string()),
        record["event"].as_str().map(str::to_owned),
        record["reason"].as_str().map(str::to_owned),
        record["address"].as_str().map(str::to_owned),
        record["request_id"].as_str().map(str::to_owned),
        record["unit"].as_str().map(str::to_owned),
        record["user"].as_str().map(str::to_owned),
        record["key"].as_str().map(str::to_owned),
        record["claimed"].as_str().map(str::to_owned),
        record["actor"].as_str().map(str::to_owned),
        record["session"].as_str().map(str::to_owned),
        (!members.is_empty()).then(|| members.join(",")),
    ] {
        match member {
            Some(text) => {
                bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            None => bytes.extend([0xFF; 4]),
        }
    }
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

fn each_text(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Does a little of everything in the demo's organisation.
async fn do_something(server: &TestServer, administrator: &Administrator<'_>) {
    server.log_in(&server.demo).await;
    server.try_login("CRMDEMO", &server.demo.username, "wrong").await;
    server.try_login("NOBODY'S", "x", "y").await;
    let unit = administrator.create("/units", json!({"name": "Shop"})).await;
    administrator
        .patch(&format!("/units/{}", id(&unit)), json!({"name": "Shop 2", "status": "disabled"}))
        .await;
    administrator.ok("POST", "/sessions/end", json!({"user": server.demo.user.to_string()})).await;
}

#[tokio::test]
async fn s2_records_are_listed_and_their_digests_can_be_computed_by_others() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let demo = operator.at("CRMDEMO");
    do_something(&server, &demo).await;
    let records = demo.list("/audit?order=oldest").await;
    let mut previous = "0".repeat(64);
    for (record, number) in records.iter().zip(1..) {
        assert_eq!((&record["number"], text(record, "previous")), (&json!(number), previous.as_str()));
        previous = digest(record);
        assert_eq!(text(record, "digest"), previous);
    }
    let chain = demo.get("/audit/chain").await;
    assert_eq!(chain["last"], json!({"number": records.len(), "digest": previous}));
    assert_eq!(chain["removed"], json!({"number": 0, "digest": "0".repeat(64)}));
    let events = each(&records, "event");
    let last = ["password_login", "password_login", "created", "updated", "sessions_ended"];
    assert_eq!(events[events.len() - 5..], last);
    // The newest first, page by page.
    let mut newest: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let page = demo.get(&format!("/audit?limit=2{after}")).await;
        newest.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    newest.reverse();
    assert_eq!(newest, records);
    // Those of no organisation are the operators' to read.
    let unassigned = operator.send("GET", "/admin/v1/audit?reason=unknown_organisation").await.json();
    assert_eq!(unassigned["items"][0]["claimed"], "NOBODY'S");
    assert_eq!(unassigned["items"][0]["organisation"], Value::Null);
    let of_demo = server.administrator(&server.demo).await;
    of_demo.send("GET", "/admin/v1/audit").await.is_problem(403, "FORBIDDEN", "");
    of_demo.send("GET", "/admin/v1/audit/chain").await.is_problem(403, "FORBIDDEN", "");
}

#[tokio::test]
async fn records_are_found_by_what_they_say() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let demo = operator.at("CRMDEMO");
    server.clock.advance(Duration::from_secs(60));
    let from = jiff::Timestamp::from_millisecond(server.clock.wall().as_millis()).unwrap();
    do_something(&server, &demo).await;
    let user = server.demo.user.to_string();
    let count = async |query: &str| demo.list(&format!("/audit?{query}")).await.len();
    assert_eq!(count("event=updated").await, 1);
    assert_eq!((count("reason=wrong_password").await, count("failed=true").await), (1, 1));
    assert_eq!(count(&format!("event=sessions_ended&user={user}")).await, 1);
    assert_eq!(count(&format!("from={from}&failed=false")).await, 4);
    assert_eq!(count(&format!("until={from}&event=updated")).await, 0);
    assert_eq!((count("address=192.0.2.1").await, count("address=127.0.0.1&event=updated").await), (0, 1));
    let session = demo.list("/audit?event=password_login&failed=false").await[0]["session"].clone();
    assert_eq!(count(&format!("session={}", session.as_str().unwrap())).await, 1);
    for (query, member) in [
        ("event=login", "event"),
        ("reason=no", "reason"),
        ("failed=yes", "failed"),
        ("from=yesterday", "from"),
        ("order=up", "order"),
        ("address=here", "address"),
        ("user=zoe", "user"),
        ("after=Y3JtZGVtbw", "after"),
        ("colour=red", "colour"),
    ] {
        demo.send("GET", &format!("/audit?{query}")).await.is_problem(400, "INVALID_PARAMETER", member);
    }
}

#[tokio::test]
async fn records_are_removed_when_their_time_is_over() {
    let server = TestServer::start().await;
    let demo = server.administrator(&server.demo).await;
    do_something(&server, &demo).await;
    let day = Duration::from_secs(86_400);
    assert_eq!(server.forget_records(day).await, 0);
    server.clock.advance(day);
    server.clock.advance(Duration::from_millis(1));
    assert!(server.forget_records(day).await > 0);
    let demo = server.administrator(&server.demo).await;
    let records = demo.list("/audit?order=oldest").await;
    let chain = demo.get("/audit/chain").await;
    assert_eq!(each(&records, "event"), ["password_login"], "the one that came after");
    assert_eq!(records[0]["previous"], chain["removed"]["digest"]);
    assert_eq!(records[0]["number"], json!(chain["removed"]["number"].as_u64().unwrap() + 1));
}

async fn explain(administrator: &Administrator<'_>, token: &str) -> Value {
    administrator
        .request("POST", EXPLAIN)
        .json(&json!({"token": token}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

async fn reason(administrator: &Administrator<'_>, token: &str) -> String {
    let explanation = explain(administrator, token).await;
    assert_eq!(explanation["valid"], json!(explanation["reason"] == "ok"), "{explanation}");
    text(&explanation, "reason").to_owned()
}

#[tokio::test]
async fn a_token_in_force_is_explained_and_not_used() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let token = server.log_in(&server.demo).await;
    server.clock.advance(Duration::from_secs(60));
    let first = explain(&operator, &token).await;
    assert_eq!((&first["valid"], &first["reason"]), (&json!(true), &json!("ok")));
    assert_eq!(first["user"], json!({"id": server.demo.user.to_string(), "name": server.demo.username}));
    assert_eq!(first["organisation"]["name"], "CRMDEMO");
    assert_eq!(
        (&first["method"], &first["key"], &first["ended_at"]),
        (&json!("password"), &Value::Null, &Value::Null)
    );
    assert_eq!(first["last_used_at"], first["issued_at"], "nobody used it");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(explain(&operator, &token).await, first);
}

#[tokio::test]
async fn each_way_in_which_a_token_ends_has_its_reason() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let demo = operator.at("CRMDEMO");
    let (user, unit) = (server.demo.user, server.demo.unit);
    // Swept or not, it is told alike; so is what a restart found.
    for is_swept in [false, true] {
        let released = server.log_in(&server.demo).await;
        server.post("/authentication/token/release", json!({"token": released})).await;
        let by_key = server.log_in_with_key(&server.demo).await;
        let by_password = server.log_in(&server.demo).await;
        let session = text(&explain(&operator, &by_password).await, "session").to_owned();
        demo.ok("POST", "/sessions/end", json!({"session": session})).await;
        let all_ended = server.log_in(&server.demo).await;
        demo.ok("POST", "/sessions/end", json!({"user": user.to_string()})).await;
        let disabled = server.log_in(&server.demo).await;
        for status in ["disabled", "active"] {
            demo.patch(&format!("/users/{user}"), json!({"status": status})).await;
        }
        let unit_disabled = server.log_in(&server.demo).await;
        for status in ["disabled", "active"] {
            demo.patch(&format!("/units/{unit}"), json!({"status": status})).await;
        }
        let suspended = server.log_in(&server.demo).await;
        for status in ["suspended", "active"] {
            demo.patch("", json!({"status": status})).await;
        }
        let unit_removed = server.log_in(&server.demo).await;
        demo.patch(&format!("/users/{user}"), json!({"units": []})).await;
        let both = json!({"units": [unit.to_string()], "default_unit": unit.to_string()});
        demo.patch(&format!("/users/{user}"), both).await;
        let key_disabled = server.log_in_with_key(&server.demo).await;
        let key = id(&demo.list("/keys?limit=9").await[0]);
        for status in ["disabled", "active"] {
            demo.patch(&format!("/keys/{key}"), json!({"status": status})).await;
        }
        if is_swept {
            server.sweep().await;
        }
        let expected = [
            (&released, "released"),
            (&by_key, "sessions_ended"),
            (&by_password, "released"),
            (&all_ended, "sessions_ended"),
            (&disabled, "user_disabled"),
            (&unit_disabled, "unit_disabled"),
            (&suspended, "organisation_suspended"),
            (&unit_removed, "unit_removed"),
            (&key_disabled, "key_disabled"),
        ];
        for (token, why) in expected {
            assert_eq!(reason(&operator, token).await, why);
        }
        let by_holder = explain(&operator, &released).await;
        assert_eq!(by_holder["ended_by"], Value::Null);
        let by_administrator = explain(&operator, &by_password).await;
        let administrator = json!({"id": server.operator.user.to_string(), "name": server.operator.username});
        assert_eq!(
            (&by_administrator["ended_by"], &by_administrator["session"]),
            (&administrator, &json!(session))
        );
        assert_eq!(explain(&operator, &disabled).await["ended_by"], administrator);
    }
}

/// Whether a stolen token was used just before its release is what is asked then.
#[tokio::test]
async fn the_last_use_before_a_release_is_told() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let (by_holder, by_administrator) =
        (server.log_in(&server.demo).await, server.log_in(&server.demo).await);
    server.clock.advance(Duration::from_secs(5));
    for token in [&by_holder, &by_administrator] {
        server.verify(token).await;
    }
    let used_at = explain(&operator, &by_holder).await["last_used_at"].clone();
    let session = text(&explain(&operator, &by_administrator).await, "session").to_owned();
    server.clock.advance(Duration::from_secs(5));
    server.release(&by_holder).await;
    operator.at("CRMDEMO").ok("POST", "/sessions/end", json!({"session": session})).await;
    for token in [&by_holder, &by_administrator] {
        let explanation = explain(&operator, token).await;
        assert_eq!((text(&explanation, "reason"), &explanation["last_used_at"]), ("released", &used_at));
    }
}

#[tokio::test]
async fn a_token_that_ended_by_itself_says_how_and_when_for_seven_days() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let idle = server.log_in(&server.demo).await;
    let capped = server.log_in_with_key(&server.demo).await;
    server.clock.advance(Duration::from_secs(1_800));
    server.verify(&idle).await;
    server.clock.advance(Duration::from_secs(3_600));
    let used_at = {
        let operator = server.administrator(&server.operator).await;
        let explanation = explain(&operator, &idle).await;
        assert_eq!(
            (text(&explanation, "reason"), &explanation["ended_at"]),
            ("idle", &explanation["expires_at"])
        );
        assert!(text(&explanation, "detail").contains(text(&explanation, "last_used_at")), "{explanation}");
        explanation["last_used_at"].clone()
    };
    drop(operator);
    server.sweep().await;
    server.clock.advance(Duration::from_secs(3_600));
    server.sweep().await;
    // What was swept has its last use from memory, though it was never written as a use.
    let server = server.crash_and_restart().await;
    let operator = server.administrator(&server.operator).await;
    assert_eq!(explain(&operator, &idle).await["last_used_at"], used_at);
    assert_eq!(reason(&operator, &capped).await, "cap_reached");
    server.clock.advance(Duration::from_secs(8 * 86_400));
    let operator = server.administrator(&server.operator).await;
    server.flush(true).await;
    assert_eq!(reason(&operator, &idle).await, "never_issued");
}

/// M1: for administrators of one organisation the tokens of others were never issued, in force or not.
#[tokio::test]
async fn m1_tokens_of_other_organisations_are_unknown() {
    let server = TestServer::start().await;
    let demo = server.administrator(&server.demo).await;
    let (theirs, ended) = (server.log_in(&server.other).await, server.log_in(&server.other).await);
    server.post("/authentication/token/release", json!({"token": ended})).await;
    let nobodys = "0123456789ABCDEF0123456789ABCDEF";
    let unknown = explain(&demo, nobodys).await;
    assert_eq!(unknown["reason"], "never_issued");
    for token in [&theirs, &ended] {
        assert_eq!(explain(&demo, token).await, unknown);
    }
    let operator = server.administrator(&server.operator).await;
    assert_eq!(
        (reason(&operator, &theirs).await, reason(&operator, &ended).await),
        ("ok".into(), "released".into())
    );
}

#[tokio::test]
async fn what_is_no_token_and_what_an_address_is_refused_is_said() {
    let server = TestServer::start().await;
    let demo = server.administrator(&server.demo).await;
    let token = server.log_in_with_key(&server.demo).await;
    for wrong in ["", "1351195444", &token.to_lowercase(), &format!("{token} "), &token[1..]] {
        let explanation = explain(&demo, wrong).await;
        assert_eq!(explanation["reason"], "not_a_token", "{explanation}");
        assert!(
            wrong.is_empty() || !explanation.to_string().contains(wrong),
            "it is not repeated: {explanation}"
        );
    }
    let ask = async |body: Value| Answer::of(demo.request("POST", EXPLAIN).json(&body)).await;
    let at = async |address: &str| {
        ask(json!({"token": token, "address": address})).await.json()["address"].clone()
    };
    assert_eq!(at("192.0.2.7").await, "permitted");
    let key = id(&demo.list("/keys?limit=9").await[0]);
    demo.patch(&format!("/keys/{key}"), json!({"allowed_addresses": ["127.0.0.0/8"]})).await;
    assert_eq!((at("192.0.2.7").await, at("127.0.0.1").await), (json!("denied_by_key"), json!("permitted")));
    demo.patch("/rules", json!({"addresses.deny": ["192.0.2.0/24"]})).await;
    assert_eq!(at("192.0.2.7").await, "denied_by_organisation");
    ask(json!({"token": token, "address": "here"})).await.is_problem(400, "INVALID_PARAMETER", "address");
    ask(json!({})).await.is_problem(400, "MISSING_PARAMETER", "token");
    ask(json!({"token": [token]})).await.is_problem(400, "INVALID_PARAMETER", "token");
}
