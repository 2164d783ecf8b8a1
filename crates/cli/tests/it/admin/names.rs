//! M4: one canonical form of a name, wherever it is given.

use doorward_domain::attempts::LockoutRules;
use doorward_testkit::{Options, TestServer};
use serde_json::json;

use super::{each, id};

const PASSWORD: &str = "correct horse battery staple";

/// The same names to whoever reads them.
const FORMS: [&str; 6] = [
    "Straße-Ångström",
    "STRASSE-ÅNGSTRÖM",
    "strasse-a\u{30a}ngstro\u{308}m",
    "ＳＴＲＡＳＳＥ-Ångström",
    "  Straße-ångström  ",
    "STRAẞE-\u{212b}NGSTRÖM",
];

#[tokio::test]
async fn m4_every_form_of_a_name_is_one_account() {
    let lockout = LockoutRules { failures: FORMS.len() as u32, ..LockoutRules::default() };
    let server = TestServer::with(Options { lockout, ..Options::default() }).await;
    let operator = server.administrator(&server.operator).await;
    let made = operator.create("/admin/v1/organisations", json!({"code": FORMS[0]})).await;
    let organisation = operator.at(&id(&made));
    let unit = organisation.create("/units", json!({"name": FORMS[0]})).await;
    let user = json!({"username": FORMS[0], "password": PASSWORD, "units": [unit["id"]], "email": "Ångström@Example.com"});
    let user = organisation.create("/users", user).await;
    let path = format!("/users/{}", id(&user));
    let log_in = async |form: &str, password: &str| server.try_login(form, form, password).await;
    for form in FORMS {
        log_in(form, PASSWORD).await.token();
        for (path, body, member) in [
            ("/admin/v1/organisations", json!({"code": form}), "code"),
            ("/units", json!({"name": form}), "name"),
            ("/users", json!({"username": form}), "username"),
        ] {
            organisation.send_json("POST", path, body).await.is_problem(409, "TAKEN", member);
        }
        let list = async |path: &str, parameter: &str, value: &str| {
            let request = organisation.request("GET", path).query(&[(parameter, value)]);
            let page = doorward_testkit::Answer::of(request).await.json();
            each(page["items"].as_array().unwrap(), "id")
        };
        assert_eq!(list("/users", "username", form).await, [id(&user)], "{form}");
        assert_eq!(list("/units", "name", form).await, [id(&unit)], "{form}");
        let prefix: String = form.trim().chars().take(4).collect();
        assert_eq!(list("/users", "prefix", &prefix).await, [id(&user)], "{prefix}");
        assert_eq!(list("/units", "prefix", &prefix).await, [id(&unit)], "{prefix}");
        assert_eq!(list("/admin/v1/organisations", "prefix", &prefix).await, [id(&made)], "{prefix}");
    }
    // A failure in each form is a failure of the one account, and one unlock lifts the one lock.
    for form in FORMS {
        assert_eq!(log_in(form, "wrong").await.code(), "INVALID_CREDENTIALS");
    }
    assert!(organisation.get(&path).await["locked_until"].is_string());
    for form in FORMS {
        assert_eq!(log_in(form, PASSWORD).await.code(), "INVALID_CREDENTIALS");
    }
    organisation.ok("POST", &format!("{path}/unlock"), serde_json::Value::Null).await;
    for form in FORMS {
        log_in(form, PASSWORD).await.token();
    }
}

/// What does not look the same is not the same.
#[tokio::test]
async fn names_that_differ_are_different() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    for name in ["ann", "änn", "an n", "ann.", "%", "_", "a%", "\u{10ffff}", "𝔘nder", "名前", "O'Hara\"; --"]
    {
        let user = administrator.create("/users", json!({"username": name})).await;
        let request = administrator.request("GET", "/users").query(&[("username", name)]);
        let found = doorward_testkit::Answer::of(request).await.json();
        assert_eq!(each(found["items"].as_array().unwrap(), "id"), [id(&user)], "{name}");
        let request = administrator.request("GET", "/users").query(&[("prefix", name)]);
        let found = doorward_testkit::Answer::of(request).await.json();
        assert!(each(found["items"].as_array().unwrap(), "id").contains(&id(&user)), "{name}");
    }
    assert_eq!(each(&administrator.list("/users?prefix=%25").await, "username"), ["%"]);
    assert_eq!(administrator.list("/users?limit=1").await.len(), 12);
}

#[tokio::test]
async fn an_email_address_is_found_in_either_case() {
    let server = TestServer::start().await;
    let administrator = server.administrator(&server.demo).await;
    for (username, email) in [("a", "Ann@Example.com"), ("b", "ann@example.COM"), ("c", "Änn@example.com")] {
        administrator.create("/users", json!({"username": username, "email": email})).await;
    }
    for (email, found) in [
        ("ANN@example.com", vec!["a", "b"]),
        ("ann@example.com", vec!["a", "b"]),
        ("änn@EXAMPLE.com", vec!["c"]),
        ("ann", vec![]),
    ] {
        let request = administrator.request("GET", "/users").query(&[("email", email)]);
        let page = doorward_testkit::Answer::of(request).await.json();
        assert_eq!(each(page["items"].as_array().unwrap(), "username"), found, "{email}");
    }
}
