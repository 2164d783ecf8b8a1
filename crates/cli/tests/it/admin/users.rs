//! `/admin/v1/organisations/{organisation}/users`, and the users' own `authentication/password`.

use std::{sync::Arc, time::Duration};

use doorward_domain::{
    attempts::LockoutRules, credential::Password, passwords::HashingLimits, policy::BreachedPasswords,
};
use doorward_testkit::{Administrator, Answer, Options, TestServer};
use serde_json::{Value, json};

use super::{each, id, text};

const PASSWORD: &str = "correct horse battery staple";
const OTHER: &str = "staple battery horse correct";
const MOUNTS: [(&str, bool); 2] = [("/authentication", false), ("/crmapi/rest/v2/authentication", true)];

async fn member(administrator: &Administrator<'_>, server: &TestServer, username: &str) -> String {
    let units = json!([server.demo.unit.to_string()]);
    let body = json!({"username": username, "password": PASSWORD, "units": units});
    format!("/users/{}", id(&administrator.create("/users", body).await))
}

async fn log_in(server: &TestServer, username: &str, password: &str) -> Answer {
    server.try_login("CRMDEMO", username, password).await
}

/// Somebody changes their own password.
async fn change(server: &TestServer, mount: &str, username: &str, current: &str, new: &str) -> Answer {
    let body =
        json!({"organisation": "crmdemo", "username": username, "password": current, "new_password": new});
    server.post(&format!("{mount}/password"), body).await
}

#[tokio::test]
async fn users_live() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    let own = "ABCDEF0123456789ABCDEF0123456789";
    let (unit, second) = (server.demo.unit.to_string(), server.demo.other_unit.to_string());
    let body = json!({
        "id": own, "username": " Ann ", "password": PASSWORD, "person_name": "Ann Smith", "email": "ann@example.com",
        "role": "administrator", "units": [second, unit, second], "default_unit": second,
    });
    let made = administrator.send_json("POST", "/users", body).await;
    assert_eq!(
        (made.status, made.header("location")),
        (201, &*format!("{}/users/{own}", administrator.base))
    );
    let time = "2026-11-24T03:36:02.000Z";
    let mut units = [unit.clone(), second.clone()];
    units.sort();
    let user = json!({
        "id": own, "username": "Ann", "person_name": "Ann Smith", "email": "ann@example.com", "role": "administrator",
        "status": "active", "units": units, "default_unit": second, "must_change_password": false, "locked_until": null,
        "last_login_at": null, "created_at": time, "updated_at": time,
    });
    assert_eq!(made.json(), user);
    let path = format!("/users/{own}");
    let got = administrator.send("GET", &path).await;
    assert_eq!((got.json(), got.header("etag")), (user, made.header("etag")));
    server.clock.advance(Duration::from_secs(1));
    let token = log_in(&server, "ann", PASSWORD).await.token();
    assert_eq!(server.verify(&token).await.header("x-auth-unit-id"), second);
    let seen = administrator.get(&path).await;
    assert_eq!((text(&seen, "last_login_at"), text(&seen, "updated_at")), ("2026-11-24T03:36:03.000Z", time));

    let plain = administrator.create("/users", json!({"username": "bob"})).await;
    for (name, value) in [
        ("person_name", Value::Null),
        ("email", Value::Null),
        ("role", json!("member")),
        ("status", json!("active")),
        ("units", json!([])),
        ("default_unit", Value::Null),
        ("must_change_password", json!(false)),
    ] {
        assert_eq!(plain[name], value, "{name}");
    }
    assert_eq!(log_in(&server, "bob", PASSWORD).await.code(), "INVALID_CREDENTIALS", "no password yet");
    let first = administrator.create("/users", json!({"username": "c", "units": [second, unit]})).await;
    assert_eq!(first["default_unit"], second, "the first if none is named");

    // Absent stays, null removes.
    let patched = administrator.patch(&path, json!({"email": null})).await;
    assert_eq!((&patched["email"], text(&patched, "person_name")), (&Value::Null, "Ann Smith"));
    let patched = administrator.patch(&path, json!({"person_name": "", "email": "a@b"})).await;
    assert_eq!((&patched["person_name"], text(&patched, "email")), (&Value::Null, "a@b"));
    assert!(server.is_in_force(&token).await, "none of this ends a session");
    // Adding a unit keeps the sessions, taking one away ends them.
    let third = id(&administrator.create("/units", json!({"name": "Third"})).await);
    administrator.patch(&path, json!({"units": [unit, second, third]})).await;
    assert!(server.is_in_force(&token).await);
    let patched = administrator.patch(&path, json!({"units": [unit, third]})).await;
    assert_eq!(patched["default_unit"], Value::Null, "it was taken away");
    assert!(!server.is_in_force(&token).await);
    administrator.patch(&path, json!({"default_unit": third})).await;
    let refused = administrator.send_json("PATCH", &path, json!({"default_unit": second})).await;
    refused.is_problem(400, "INVALID_PARAMETER", "default_unit");
    administrator.patch(&path, json!({"units": [second], "default_unit": second, "username": "Anna"})).await;
    assert_eq!(log_in(&server, "ann", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    let token = log_in(&server, "ANNA", PASSWORD).await.token();
    let taken = administrator.send_json("PATCH", &path, json!({"username": "BOB"})).await;
    taken.is_problem(409, "TAKEN", "username");

    administrator.patch(&format!("/users/{}", id(&plain)), json!({"status": "disabled"})).await;
    for (query, names) in [
        ("status=disabled", vec!["bob"]),
        ("status=active&prefix=a", vec!["Anna"]),
        ("email=A%40B", vec!["Anna"]),
        ("email=a%40b&status=disabled", vec![]),
        (&*format!("unit={second}&prefix=an"), vec!["Anna"]),
        (&*format!("unit={third}"), vec![]),
        ("username=anna", vec!["Anna"]),
        ("username=ann", vec![]),
    ] {
        assert_eq!(each(&administrator.list(&format!("/users?{query}")).await, "username"), names, "{query}");
    }
    administrator.delete(&path).await;
    assert!(!server.is_in_force(&token).await);
    assert_eq!(log_in(&server, "anna", PASSWORD).await.code(), "INVALID_CREDENTIALS");
}

/// C1: fifteen characters where nothing else is said, and far more than 64; no kinds of characters are asked for.
#[tokio::test]
async fn c1_and_c3_hold_for_every_way_to_a_password() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await;
    let organisation = async |code: &str| {
        let body = json!({"code": code, "name": "Quokkaland Industries"});
        operator.at(&id(&operator.create("/admin/v1/organisations", body).await))
    };
    let (acme, twin) = (organisation("ZEBRAFISH").await, organisation("ZEBRAFISH TWO").await);
    let unit = acme.create("/units", json!({"name": "Shop"})).await;
    let user = |username: &str, password: &str| {
        json!({
            "username": username, "password": password, "person_name": "Thaddeus Wimbledon",
            "email": "wimbledon@quagmire.example",
        })
    };
    let ann = acme.create("/users", user("hippogriff", PASSWORD)).await;
    acme.patch(&format!("/users/{}", id(&ann)), json!({"units": [unit["id"]], "default_unit": unit["id"]}))
        .await;
    let reset = format!("/users/{}/password", id(&ann));
    let mut current = PASSWORD.to_owned();
    let longest = "long and winding road ".repeat(40);
    for (password, is_accepted) in [
        ("kw8 zp qx4 mdv", false),
        ("kw8 zp qx4 mdv2", true),
        ("ÄÖÜ kw8 zp qx4 ", true),
        ("vexed cobalt thimble under nine lagoons, said the otter to the moon!", true),
        (longest.trim(), true),
        ("passwordpassword", false),
        ("123456789012345", false),
        ("aaaaaaaaaaaaaaaaaaaa", false),
        ("qwertyuiopqwertyuiop", false),
        ("hippogriff-hippogriff", false),
        ("HIPPOGRIFF2026!!!", false),
        ("zebrafishzebrafish1", false),
        ("doorward-doorward-1", false),
        ("quokkaland industries", false),
        ("thaddeus-wimbledon", false),
        ("wimbledon@quagmire.example", false),
    ] {
        // The same name in another organisation, so that it is no matter of names that are taken.
        let created = twin.send_json("POST", "/users", user("hippogriff", password)).await;
        let set = acme.send_json("POST", &reset, json!({"password": password, "must_change": false})).await;
        if is_accepted {
            assert_eq!((created.status, set.status), (201, 200), "{password}: {created:?} {set:?}");
            assert_eq!(set.json(), json!({"password": null}));
            twin.delete(&format!("/users/{}", id(&created.json()))).await;
            current = password.to_owned();
        } else {
            created.is_problem(400, "INVALID_PARAMETER", "password");
            set.is_problem(400, "INVALID_PARAMETER", "password");
            assert!(!set.text.contains(password));
        }
        server.try_login("ZEBRAFISH", "hippogriff", &current).await.token();
        if !is_accepted {
            let body = json!({
                "organisation": "zebrafish", "username": "hippogriff", "password": current, "new_password": password,
            });
            let changed = server.post("/authentication/password", body).await;
            assert_eq!(changed.code(), "INVALID_PARAMETER", "{password}");
            server.try_login("ZEBRAFISH", "hippogriff", &current).await.token();
        }
    }
}

#[tokio::test]
async fn a_reset_password_must_be_changed_first() {
    for (mount, is_always_200) in MOUNTS {
        let server = TestServer::start().await;
        let administrator = server.administrator(&server.demo).await;
        let path = member(&administrator, &server, "ann").await;
        let token = log_in(&server, "ann", PASSWORD).await.token();
        let answer = administrator.send_json("POST", &format!("{path}/password"), json!({})).await;
        let generated = text(&answer.json(), "password").to_owned();
        assert!(generated.len() >= 15 && answer.status == 200);
        assert!(!server.is_in_force(&token).await, "the user's sessions end");
        assert_eq!(administrator.get(&path).await["must_change_password"], true);
        assert_eq!(log_in(&server, "ann", PASSWORD).await.code(), "INVALID_CREDENTIALS");
        let refused = log_in(&server, "ann", &generated).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "PASSWORD_CHANGE_REQUIRED"));
        // Only who knows the password learns that.
        assert_eq!(log_in(&server, "ann", "wrong").await.code(), "INVALID_CREDENTIALS");

        for (current, new, status, code) in [
            ("wrong", OTHER, 401, "INVALID_CREDENTIALS"),
            (generated.as_str(), generated.as_str(), 400, "INVALID_PARAMETER"),
            (&generated, "short", 400, "INVALID_PARAMETER"),
            (&generated, "", 400, "MISSING_PARAMETER"),
            ("", OTHER, 400, "MISSING_PARAMETER"),
            (&generated, OTHER, 200, "OK"),
            (&generated, OTHER, 401, "INVALID_CREDENTIALS"),
        ] {
            let answer = change(&server, mount, "ANN", current, new).await;
            let status = if is_always_200 { 200 } else { status };
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{mount} {answer:?}");
            assert!(!answer.text.contains(&generated) && !answer.text.contains(OTHER));
        }
        log_in(&server, "ann", OTHER).await.token();
        assert_eq!(administrator.get(&path).await["must_change_password"], false);
        let body = json!({"password": PASSWORD, "must_change": false});
        administrator.ok("POST", &format!("{path}/password"), body).await;
        log_in(&server, "ann", PASSWORD).await.token();
        let events: Vec<_> =
            server.audit().await.into_iter().map(|row| format!("{} {}", row.event, row.reason)).collect();
        for event in [
            "password_login password_change_required",
            "password_change wrong_password",
            "password_change weak_password",
            "password_change ok",
            "password_set ok",
        ] {
            assert!(events.iter().any(|known| known == event), "{event}: {events:?}");
        }
    }
}

/// C6: the current password is asked for, all sessions end, and a wrong one counts as a failure (L3).
#[tokio::test]
async fn c6_a_password_change_asks_for_the_current_one_and_ends_the_sessions() {
    let lockout = LockoutRules { failures: 3, ..LockoutRules::default() };
    for (mount, _) in MOUNTS {
        let server = TestServer::with(Options { lockout, ..Options::default() }).await;
        let administrator = server.administrator(&server.demo).await;
        let path = member(&administrator, &server, "ann").await;
        let key = administrator.create("/keys", json!({"name": "Job", "user": &path[7..]})).await;
        let tokens = [
            log_in(&server, "ann", PASSWORD).await.token(),
            log_in(&server, "ann", PASSWORD).await.token(),
            server.try_key(text(&key, "secret")).await.token(),
        ];
        for _ in 0..2 {
            assert_eq!(change(&server, mount, "ann", "wrong", OTHER).await.code(), "INVALID_CREDENTIALS");
        }
        for token in &tokens {
            assert!(server.is_in_force(token).await, "a failure ends nothing");
        }
        assert_eq!(change(&server, mount, "ann", PASSWORD, OTHER).await.code(), "OK");
        for token in &tokens {
            assert!(!server.is_in_force(token).await);
        }
        assert!(server.is_in_force(&administrator.token).await, "others' stay");
        let token = log_in(&server, "ann", OTHER).await.token();
        // L3: logins and changes are counted together, and a lock holds for both.
        assert_eq!(change(&server, mount, "ann", "wrong", PASSWORD).await.code(), "INVALID_CREDENTIALS");
        assert_eq!(
            change(&server, mount, "ann", OTHER, PASSWORD).await.code(),
            "INVALID_CREDENTIALS",
            "locked"
        );
        assert_eq!(log_in(&server, "ann", OTHER).await.code(), "INVALID_CREDENTIALS", "locked");
        assert!(server.is_in_force(&token).await);
        let server = server.crash_and_restart().await;
        for token in &tokens {
            assert!(!server.is_in_force(token).await);
        }
        log_in(&server, "ann", OTHER).await.token();
    }
}

/// L2 on the way that changes passwords: guesses sent together get no more tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_guesses_at_once_by_password_changes_are_counted_before_they_are_tried() {
    let lockout = LockoutRules { failures: 5, ..LockoutRules::default() };
    let hashing = HashingLimits { threads: 2, queue: 400 };
    let server = TestServer::with(Options { lockout, hashing, ..Options::default() }).await;
    let guess = |n: u32| {
        let body = json!({
            "organisation": "CRMDEMO", "username": "mpadministrator", "password": format!("guess {n}"), "new_password": OTHER,
        });
        let path = if n.is_multiple_of(2) { "/authentication/password" } else { "/authentication/token" };
        tokio::spawn(Answer::of(server.request("POST", path).json(&body)))
    };
    let guesses: Vec<_> = (0..200).map(guess).collect();
    for guess in guesses {
        assert_eq!(guess.await.unwrap().code(), "INVALID_CREDENTIALS");
    }
    let reasons: Vec<_> = server.audit().await.into_iter().map(|row| row.reason).collect();
    let count = |wanted: &str| reasons.iter().filter(|reason| *reason == wanted).count();
    assert_eq!((count("wrong_password"), count("locked")), (5, 195));
}

/// L1: a lock is shown, and lifted by an administrator.
#[tokio::test]
async fn l1_a_lock_is_shown_and_lifted() {
    let lockout = LockoutRules { failures: 3, ..LockoutRules::default() };
    let server = TestServer::with(Options { lockout, ..Options::default() }).await;
    let administrator = server.administrator(&server.demo).await;
    let path = member(&administrator, &server, "ann").await;
    let lock = async || {
        for _ in 0..3 {
            log_in(&server, "ann", "wrong").await;
        }
    };
    lock().await;
    let shown = administrator.send("GET", &path).await;
    assert_eq!(text(&shown.json(), "locked_until"), "2026-11-24T03:37:02.000Z");
    assert_eq!(
        administrator.list("/users?username=ann").await[0]["locked_until"],
        shown.json()["locked_until"]
    );
    assert_eq!(log_in(&server, "ann", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    let unlock = format!("{path}/unlock");
    for _ in 0..2 {
        assert_eq!(administrator.send("POST", &unlock).await.status, 204, "however often");
    }
    assert_eq!(administrator.get(&path).await["locked_until"], Value::Null);
    log_in(&server, "ann", PASSWORD).await.token();
    // A lock has its end, and a new password does not lift one that guesses have put there.
    lock().await;
    let body = json!({"password": OTHER, "must_change": false});
    administrator.ok("POST", &format!("{path}/password"), body).await;
    assert_eq!(log_in(&server, "ann", OTHER).await.code(), "INVALID_CREDENTIALS");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(administrator.get(&path).await["locked_until"], Value::Null);
    log_in(&server, "ann", OTHER).await.token();
}

struct Leaked;

impl BreachedPasswords for Leaked {
    fn contains(&self, password: &Password) -> Result<bool, String> {
        match password.expose() {
            "this one has leaked somewhere" => Ok(true),
            "unreadable unreadable file" => Err("the file is gone".into()),
            _ => Ok(false),
        }
    }
}

#[tokio::test]
async fn c3_leaked_passwords_are_refused_unless_the_organisation_says_otherwise() {
    let breached: Option<Arc<dyn BreachedPasswords>> = Some(Arc::new(Leaked));
    let server = TestServer::with(Options { breached, ..Options::default() }).await;
    let administrator = server.administrator(&server.demo).await;
    let path = format!("{}/password", member(&administrator, &server, "ann").await);
    let leaked = "this one has leaked somewhere";
    let set = async || administrator.send_json("POST", &path, json!({"password": leaked})).await;
    let refused = set().await;
    refused.is_problem(400, "INVALID_PARAMETER", "password");
    assert!(refused.text.contains("leaked") && !refused.text.contains(leaked));
    let changed = change(&server, "/authentication", "ann", PASSWORD, leaked).await;
    assert_eq!(changed.code(), "INVALID_PARAMETER");
    let broken = json!({"password": "unreadable unreadable file"});
    administrator.send_json("POST", &path, broken).await.is_problem(503, "UNAVAILABLE", "");
    let broken = change(&server, "/authentication", "ann", PASSWORD, "unreadable unreadable file").await;
    assert_eq!(broken.code(), "UNAVAILABLE");
    log_in(&server, "ann", PASSWORD).await.token();
    administrator.patch("/rules", json!({"passwords.blocklist": false})).await;
    assert_eq!(set().await.status, 200);
}

#[tokio::test]
async fn a_password_of_age_must_be_changed() {
    let server = TestServer::start().await;
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    member(&operator, &server, "ann").await;
    operator.patch("/rules", json!({"passwords.max_age": "30d"})).await;
    server.clock.advance(Duration::from_secs(30 * 86_400 - 1));
    log_in(&server, "ann", PASSWORD).await.token();
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(log_in(&server, "ann", PASSWORD).await.code(), "PASSWORD_CHANGE_REQUIRED");
    assert_eq!(change(&server, "/authentication", "ann", PASSWORD, OTHER).await.code(), "OK");
    log_in(&server, "ann", OTHER).await.token();
    server.log_in(&server.other).await;
    server.clock.advance(Duration::from_secs(30 * 86_400));
    assert_eq!(log_in(&server, "ann", OTHER).await.code(), "PASSWORD_CHANGE_REQUIRED");
    let operator = server.administrator(&server.operator).await.at("CRMDEMO");
    operator.patch("/rules", json!({"passwords.max_age": "never"})).await;
    log_in(&server, "ann", OTHER).await.token();
}
