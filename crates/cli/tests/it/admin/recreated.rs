//! M2: who comes after somebody of the same name, or even of the same id, inherits nothing.

use doorward_domain::attempts::LockoutRules;
use doorward_testkit::{Administrator, Answer, Options, TestServer};
use serde_json::{Value, json};

use super::{id, text};

const PASSWORD: &str = "correct horse battery staple";
const OTHER_PASSWORD: &str = "staple battery horse correct";
const ORGANISATION: &str = "0A0000000000000000000000000000AA";
const UNIT: &str = "0B0000000000000000000000000000AA";
const USER: &str = "0C0000000000000000000000000000AA";
const KEY: &str = "0D0000000000000000000000000000AA";

fn options() -> Options {
    let lockout = LockoutRules { failures: 2, ..LockoutRules::default() };
    Options { lockout, ..Options::default() }
}

/// With the id of the one before, or without.
fn named(mut body: Value, id: &str, same: bool) -> Value {
    if same {
        body["id"] = id.into();
    }
    body
}

async fn log_in(server: &TestServer, password: &str) -> Answer {
    server.try_login("ACME", "ann", password).await
}

async fn organisation<'a>(operator: &Administrator<'a>, same: bool) -> Administrator<'a> {
    let body = named(json!({"code": "ACME"}), ORGANISATION, same);
    let made = operator.create("/admin/v1/organisations", body).await;
    operator.at(&id(&made))
}

async fn unit(acme: &Administrator<'_>, same: bool) -> String {
    id(&acme.create("/units", named(json!({"name": "Shop"}), UNIT, same)).await)
}

async fn user(acme: &Administrator<'_>, units: Value, password: &str, same: bool) -> String {
    let body = json!({"username": "ann", "password": password, "units": units, "role": "administrator"});
    id(&acme.create("/users", named(body, USER, same)).await)
}

async fn key(acme: &Administrator<'_>, user: &str, same: bool) -> Value {
    acme.create("/keys", named(json!({"name": "Job", "user": user}), KEY, same)).await
}

/// Everything that hangs on a user: a token of each kind, a key, a lock, a place that is known.
struct Left {
    tokens: Vec<String>,
    secret: String,
}

async fn leave(server: &TestServer, acme: &Administrator<'_>, user: &str) -> Left {
    let made = key(acme, user, true).await;
    let secret = text(&made, "secret").to_owned();
    let tokens = vec![log_in(server, PASSWORD).await.token(), server.try_key(&secret).await.token()];
    Left { tokens, secret }
}

async fn lock(server: &TestServer) {
    for _ in 0..2 {
        assert_eq!(log_in(server, "wrong").await.status, 401);
    }
    assert_eq!(log_in(server, PASSWORD).await.status, 401);
}

impl Left {
    async fn is_dead(&self, server: &TestServer) {
        for token in &self.tokens {
            assert!(!server.is_in_force(token).await);
            assert_eq!(server.bearer(token, "ACME").send("GET", "").await.status, 401);
        }
        assert_eq!(server.try_key(&self.secret).await.code(), "INVALID_CREDENTIALS");
    }
}

/// The old tokens and the old key are dead, now, after a crash, and whatever is made anew.
async fn stays_dead(server: TestServer, left: &Left, log_in: impl AsyncFn(&TestServer) -> String) {
    left.is_dead(&server).await;
    let token = log_in(&server).await;
    let server = server.crash_and_restart().await;
    left.is_dead(&server).await;
    assert!(server.is_in_force(&token).await, "the new ones live");
    log_in(&server).await;
    left.is_dead(&server).await;
}

#[tokio::test]
async fn m2_a_user_made_again_inherits_nothing() {
    for same in [false, true] {
        let server = TestServer::with(options()).await;
        let operator = server.administrator(&server.operator).await;
        let acme = organisation(&operator, same).await;
        let shop = unit(&acme, same).await;
        let ann = user(&acme, json!([shop]), PASSWORD, same).await;
        let left = leave(&server, &acme, &ann).await;
        lock(&server).await;
        acme.delete(&format!("/users/{ann}")).await;
        left.is_dead(&server).await;
        assert_eq!(acme.list("/keys?limit=9").await, [] as [Value; 0]);
        let again = user(&acme, json!([]), OTHER_PASSWORD, same).await;
        assert_eq!(again == ann, same);
        let path = format!("/users/{again}");
        let seen = acme.get(&path).await;
        assert_eq!((&seen["units"], &seen["default_unit"]), (&json!([]), &Value::Null), "no membership");
        assert_eq!((&seen["locked_until"], &seen["last_login_at"]), (&Value::Null, &Value::Null));
        assert_eq!(log_in(&server, PASSWORD).await.code(), "INVALID_CREDENTIALS");
        assert_eq!(log_in(&server, OTHER_PASSWORD).await.code(), "INVALID_UNIT", "no lock, and no unit");
        acme.patch(&path, json!({"units": [shop], "default_unit": shop})).await;
        stays_dead(server, &left, async |server| log_in(server, OTHER_PASSWORD).await.token()).await;
    }
}

#[tokio::test]
async fn m2_a_unit_made_again_inherits_nothing() {
    for same in [false, true] {
        let server = TestServer::with(options()).await;
        let operator = server.administrator(&server.operator).await;
        let acme = organisation(&operator, same).await;
        let (shop, home) =
            (unit(&acme, same).await, id(&acme.create("/units", json!({"name": "Home"})).await));
        let ann = user(&acme, json!([shop, home]), PASSWORD, same).await;
        let path = format!("/users/{ann}");
        acme.patch(&path, json!({"default_unit": shop})).await;
        let mut left = leave(&server, &acme, &ann).await;
        acme.patch(&path, json!({"default_unit": home})).await;
        acme.delete(&format!("/units/{shop}")).await;
        let again = unit(&acme, same).await;
        assert_eq!(again == shop, same);
        assert_eq!(acme.get(&path).await["units"], json!([home]), "no member");
        for token in &left.tokens {
            assert!(!server.is_in_force(token).await);
        }
        left.secret = "0".repeat(32);
        acme.patch(&path, json!({"units": [again], "default_unit": again})).await;
        stays_dead(server, &left, async |server| log_in(server, PASSWORD).await.token()).await;
    }
}

#[tokio::test]
async fn m2_a_key_made_again_inherits_nothing() {
    for same in [false, true] {
        let server = TestServer::with(options()).await;
        let operator = server.administrator(&server.operator).await;
        let acme = organisation(&operator, same).await;
        let shop = unit(&acme, same).await;
        let ann = user(&acme, json!([shop]), PASSWORD, same).await;
        let mut left = leave(&server, &acme, &ann).await;
        left.tokens.remove(0);
        server.flush(true).await;
        acme.delete(&format!("/keys/{KEY}")).await;
        left.is_dead(&server).await;
        let again = key(&acme, &ann, same).await;
        assert_eq!(id(&again) == KEY, same);
        assert_eq!((&again["last_used_at"], &again["last_used_from"]), (&Value::Null, &Value::Null));
        assert_eq!(again["secrets"].as_array().unwrap().len(), 1);
        assert_ne!(again["secret"], left.secret);
        let secret = text(&again, "secret").to_owned();
        stays_dead(server, &left, async |server| server.try_key(&secret).await.token()).await;
    }
}

#[tokio::test]
async fn m2_an_organisation_made_again_inherits_nothing() {
    for same in [false, true] {
        let server = TestServer::with(options()).await;
        let operator = server.administrator(&server.operator).await;
        let acme = organisation(&operator, same).await;
        let shop = unit(&acme, same).await;
        let ann = user(&acme, json!([shop]), PASSWORD, same).await;
        let left = leave(&server, &acme, &ann).await;
        acme.patch("/rules", json!({"lockout.failures": 2, "tokens.password_idle": "2m"})).await;
        lock(&server).await;
        acme.delete("?code=ACME").await;
        left.is_dead(&server).await;
        assert_eq!(log_in(&server, PASSWORD).await.code(), "INVALID_CREDENTIALS");
        let acme = organisation(&operator, same).await;
        for list in ["/units", "/users", "/keys", "/sessions"] {
            assert_eq!(acme.list(&format!("{list}?limit=9")).await, [] as [Value; 0], "{list}");
        }
        let rules = acme.get("/rules").await["rules"].clone();
        assert!(rules.as_object().unwrap().values().all(|rule| rule["source"] == "default"), "{rules}");
        left.is_dead(&server).await;
        let shop = unit(&acme, same).await;
        let ann = user(&acme, json!([shop]), OTHER_PASSWORD, same).await;
        assert_eq!(acme.get(&format!("/users/{ann}")).await["locked_until"], Value::Null, "no lock");
        assert_eq!(log_in(&server, PASSWORD).await.code(), "INVALID_CREDENTIALS");
        log_in(&server, OTHER_PASSWORD).await.token();
        key(&acme, &ann, same).await;
        stays_dead(server, &left, async |server| log_in(server, OTHER_PASSWORD).await.token()).await;
    }
}

/// Nor does the administrator of the same id find the creations of the one before.
#[tokio::test]
async fn m2_an_administrator_made_again_has_asked_for_nothing_yet() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let acme = organisation(&operator, true).await;
    let shop = unit(&acme, true).await;
    let create = async |name: &str, password: &str| {
        let token = log_in(&server, password).await.token();
        let administrator = server.bearer(&token, "ACME");
        let request = administrator.request("POST", "/units").header("idempotency-key", "1");
        Answer::of(request.json(&json!({"name": name}))).await
    };
    user(&acme, json!([shop]), PASSWORD, true).await;
    assert_eq!(create("One", PASSWORD).await.status, 201);
    create("Two", PASSWORD).await.is_problem(422, "IDEMPOTENCY_KEY_REUSED", "");
    acme.delete(&format!("/users/{USER}")).await;
    user(&acme, json!([shop]), OTHER_PASSWORD, true).await;
    let made = create("Two", OTHER_PASSWORD).await;
    assert_eq!((made.status, made.header("idempotent-replayed")), (201, ""), "{made:?}");
}
