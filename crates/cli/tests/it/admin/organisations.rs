//! `/admin/v1/organisations`.

use doorward_testkit::TestServer;
use serde_json::json;

use super::{each, id};

const ALL: &str = "/admin/v1/organisations";

#[tokio::test]
async fn organisations_live() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let made = operator.send_json("POST", ALL, json!({"code": " Acme "})).await;
    assert_eq!(made.status, 201);
    let organisation = made.json();
    let id = id(&organisation);
    assert_eq!(made.header("location"), format!("{ALL}/{id}"));
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
    assert_eq!(
        organisation,
        json!({
            "id": id, "code": "Acme", "name": "Acme", "status": "active", "operator": false,
            "created_at": "2026-11-24T03:36:02.000Z", "updated_at": "2026-11-24T03:36:02.000Z",
        })
    );
    for reference in [&*id, &id.to_lowercase(), "ACME", "acme", "%EF%BC%A1cme", "%20acme%20"] {
        let got = operator.at(reference).send("GET", "").await;
        assert_eq!((got.json(), got.header("etag")), (organisation.clone(), made.header("etag")));
    }
    server.clock.advance(std::time::Duration::from_secs(1));
    let acme = operator.at(&id);
    let renamed = acme.patch("", json!({"code": "ACME-2", "name": "Acme Ltd"})).await;
    assert_eq!((&renamed["code"], &renamed["name"]), (&json!("ACME-2"), &json!("Acme Ltd")));
    assert_eq!(renamed["updated_at"], "2026-11-24T03:36:03.000Z");
    operator.at("ACME").send("GET", "").await.is_problem(404, "NOT_FOUND", "");
    // Another case is another look of the same code.
    assert_eq!(acme.patch("", json!({"code": "acme-2"})).await["code"], "acme-2");
    acme.send_json("PATCH", "", json!({"code": "crmdemo"})).await.is_problem(409, "TAKEN", "code");

    acme.patch("", json!({"status": "suspended"})).await;
    assert_eq!(each(&operator.list(&format!("{ALL}?status=suspended")).await, "id"), [id.as_str()]);
    for (query, status, code) in [
        ("", 400, "MISSING_PARAMETER"),
        ("?code=", 400, "MISSING_PARAMETER"),
        ("?code=CRMDEMO", 400, "INVALID_PARAMETER"),
        ("?code=acme", 400, "INVALID_PARAMETER"),
        ("?code=acme-2&code=acme-2", 400, "INVALID_PARAMETER"),
    ] {
        acme.send("DELETE", query).await.is_problem(status, code, "code");
    }
    acme.send("DELETE", "?code=acme-2&force=true").await.is_problem(400, "INVALID_PARAMETER", "force");
    acme.delete("?code=ACME-2").await;
    acme.send("GET", "").await.is_problem(404, "NOT_FOUND", "");
}

#[tokio::test]
async fn an_id_may_be_brought_in() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let own = "ABCDEF0123456789ABCDEF0123456789";
    let made =
        operator.create(ALL, json!({"code": "A/B", "id": own.to_lowercase(), "status": "suspended"})).await;
    assert_eq!((&made["id"], &made["status"]), (&json!(own), &json!("suspended")));
    assert_eq!(operator.at("a%2fb").get("").await["id"], own);
}

/// A renamed organisation's tokens speak its new name, and its users log in on it.
#[tokio::test]
async fn a_code_that_changes_is_in_force_at_once() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    let token = server.log_in(&server.demo).await;
    operator.patch("", json!({"code": "RENAMED"})).await;
    assert!(server.is_in_force(&token).await);
    assert_eq!(server.verify(&token).await.header("x-auth-organisation"), "RENAMED");
    assert_eq!(server.try_password(&server.demo, "1234").await.code(), "INVALID_CREDENTIALS");
    server.try_login("renamed", "mpadministrator", "1234").await.token();
}

/// More users than are deleted at a time.
#[tokio::test]
async fn a_large_organisation_is_deleted_whole() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    for n in 0..450 {
        server.change(server.demo.create_user(&format!("user{n}"))).await;
    }
    let operator = server.administrator(&server.operator).await;
    let path = format!("/admin/v1/organisations/{}", server.demo.id);
    assert_eq!(operator.send("DELETE", &format!("{path}?code=crmdemo")).await.status, 204);
    assert_eq!(operator.send("GET", &path).await.status, 404);
    assert!(!server.is_in_force(&token).await);
    assert_eq!(server.try_password(&server.demo, "1234").await.code(), "INVALID_CREDENTIALS");
    assert_eq!(server.audit().await.last().unwrap().reason, "unknown_organisation");
    server.log_in(&server.other).await;
    // Each transaction has left a record, so what would be gone if it had been cut off would be on record.
    let path = format!("{path}/audit");
    let deleted = operator.list(&format!("{path}?event=deleted")).await;
    assert_eq!(deleted.len(), 4, "{deleted:?}");
    assert_eq!((&deleted[0]["members"], &deleted[1]["members"]), (&json!([]), &json!(["users"])));
}

/// What was recorded of an organisation outlives it, and is the operators' to read: who deleted it above all.
#[tokio::test]
async fn records_of_a_deleted_organisation_are_read_by_operators() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let path = format!("{ALL}/{}", server.demo.id);
    assert_eq!(operator.send("DELETE", &format!("{path}?code=crmdemo")).await.status, 204);
    let records = operator.list(&format!("{path}/audit?order=oldest")).await;
    let last = records.last().unwrap();
    assert_eq!(
        (&last["event"], &last["actor"]),
        (&json!("deleted"), &json!(server.operator.user.to_string()))
    );
    let chain = operator.get(&format!("{path}/audit/chain")).await;
    assert_eq!(chain["last"], json!({"number": last["number"], "digest": last["digest"]}));
    // Nothing else of it is there, nor are records of what never was, and others see none.
    let nobodys = format!("{ALL}/{}/audit", "9".repeat(32));
    for path in [path.clone(), format!("{path}/users"), format!("{ALL}/CRMDEMO/audit"), nobodys] {
        operator.send("GET", &path).await.is_problem(404, "NOT_FOUND", "");
    }
    let other = server.administrator(&server.other).await;
    for path in [format!("{path}/audit"), format!("{path}/audit/chain")] {
        other.send("GET", &path).await.is_problem(404, "NOT_FOUND", "");
    }
}
