//! `/admin/v1/organisations/{organisation}/units`.

use doorward_testkit::TestServer;
use serde_json::{Value, json};

use super::{each, id};

#[tokio::test]
async fn units_live() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let own = "ABCDEF0123456789ABCDEF0123456789";
    let made = administrator.send_json("POST", "/units", json!({"name": "Shop", "id": own})).await;
    let base = &administrator.base;
    assert_eq!((made.status, made.header("location")), (201, &*format!("{base}/units/{own}")));
    let time = "2026-11-24T03:36:02.000Z";
    let unit = json!({"id": own, "name": "Shop", "status": "active", "created_at": time, "updated_at": time});
    assert_eq!(made.json(), unit);
    let path = format!("/units/{own}");
    let got = administrator.send("GET", &path).await;
    assert_eq!((got.json(), got.header("etag")), (unit, made.header("etag")));

    let disabled = administrator.create("/units", json!({"name": "Closed", "status": "disabled"})).await;
    for (query, names) in [
        ("prefix=s", vec!["Second", "Shop"]),
        ("prefix=SH", vec!["Shop"]),
        ("prefix=%25", vec![]),
        ("prefix=_", vec![]),
        ("name=SHOP", vec!["Shop"]),
        ("name=sho", vec![]),
        ("status=disabled", vec!["Closed"]),
        ("status=disabled&prefix=s", vec![]),
        ("prefix=markt%20%26%20m%C3%BC", vec!["Markt & Müller 100%"]),
        ("prefix=MARKT%20%26%20MU%CC%88", vec!["Markt & Müller 100%"]),
        ("prefix=%F4%8F%BF%BF", vec![]),
        ("prefix=", vec!["Closed", "Markt & Müller 100%", "Second", "Shop"]),
    ] {
        assert_eq!(each(&administrator.list(&format!("/units?{query}")).await, "name"), names, "{query}");
    }
    assert_eq!(administrator.patch(&path, json!({})).await["name"], "Shop");
    assert_eq!(administrator.patch(&path, json!({"name": "SHOP"})).await["name"], "SHOP");
    let taken = administrator.send_json("PATCH", &path, json!({"name": "second"})).await;
    taken.is_problem(409, "TAKEN", "name");
    administrator.delete(&path).await;
    administrator.delete(&format!("/units/{}", id(&disabled))).await;
    administrator.send("DELETE", &path).await.is_problem(404, "NOT_FOUND", "");
    let unused = server.demo.other_unit.to_string();
    administrator.patch(&format!("/units/{unused}"), json!({"name": "Shop"})).await;
}

#[tokio::test]
async fn a_unit_that_is_a_default_stays_until_it_is_none() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let (unit, other) = (server.demo.unit.to_string(), server.demo.other_unit.to_string());
    let path = format!("/units/{unit}");
    administrator.send("DELETE", &path).await.is_problem(409, "CONFLICT", "");
    let user = format!("/users/{}", server.demo.user);
    // One that is not a default goes, and with it the tokens and the membership.
    let body =
        json!({"username": "mpadministrator", "password": "1234", "organisation": "CRMDEMO", "unit": other});
    let token = server.post("/authentication/token", body.clone()).await.token();
    administrator.delete(&format!("/units/{other}")).await;
    assert!(!server.is_in_force(&token).await && server.is_in_force(&administrator.token).await);
    assert_eq!(server.post("/authentication/token", body).await.code(), "INVALID_UNIT");
    assert_eq!(administrator.get(&user).await["units"], json!([unit]));

    administrator.patch(&user, json!({"default_unit": null})).await;
    assert_eq!(administrator.get(&user).await["default_unit"], Value::Null);
    assert_eq!(server.try_password(&server.demo, "1234").await.code(), "INVALID_UNIT");
    administrator.delete(&path).await;
    assert_eq!(administrator.send("GET", "").await.status, 401, "its own token was of that unit");
}

/// A renamed unit is seen in tokens at once.
#[tokio::test]
async fn a_name_that_changes_is_in_force_at_once() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    administrator.patch(&format!("/units/{}", server.demo.unit), json!({"name": "Ny"})).await;
    assert_eq!(server.verify(&administrator.token).await.header("x-auth-unit"), "Ny");
    let sessions = administrator.list("/sessions?limit=9").await;
    assert_eq!(each(&sessions, "unit_name"), ["Ny"]);
}
