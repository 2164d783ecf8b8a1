//! Making and opening a database on PostgreSQL.

use std::{path::Path, process::Command, sync::Arc};

use doorward_domain::id::OrganisationId;
use doorward_domain::observer::NoObserver;
use doorward_storage::{Kind, PostgresError, PostgresOptions, PostgresStore};
use doorward_testkit::{
    PostgresServer,
    conformance::company::{LAB, NOBODY, both_companies, changed, create_unit},
};

/// What `create` and `open` say.
type Opened = Result<PostgresStore, PostgresError>;

fn empty() -> PostgresOptions {
    PostgresOptions::new(PostgresServer::shared().create_database())
}

async fn create(options: &PostgresOptions) -> Opened {
    let first: Vec<_> = both_companies().into_iter().map(changed).collect();
    PostgresStore::create(options, Kind::Demo, &first).await
}

fn sql(options: &PostgresOptions, sql: &str) -> String {
    PostgresServer::shared().sql(&options.url, sql)
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_is_made_is_found_again_and_not_made_twice() {
    let options = empty();
    let error = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(error, PostgresError::Empty { .. }), "{error}");
    assert_eq!(create(&options).await.unwrap().kind(), Kind::Demo);
    let store = PostgresStore::open(&options).await.unwrap();
    assert_eq!((store.kind(), store.latest()), (Kind::Demo, None));
    let error = create(&options).await.unwrap_err();
    assert!(matches!(error, PostgresError::AlreadyExists { .. }), "{error}");
    assert_eq!(sql(&options, "SELECT count(*) FROM organisation"), "2");
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn of_those_who_make_it_at_once_one_does() {
    let options = empty();
    let all = (create(&options), create(&options), create(&options), create(&options));
    let (one, two, three, four) = tokio::join!(all.0, all.1, all.2, all.3);
    let made = [one, two, three, four].into_iter().filter(Result::is_ok).count();
    assert_eq!(made, 1);
    let open = || PostgresStore::open(&options);
    let (one, two, three, four) = tokio::join!(open(), open(), open(), open());
    for store in [one, two, three, four] {
        store.unwrap();
    }
    assert_eq!(sql(&options, "SELECT count(*) FROM refinery_schema_history"), "4");
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_creation_that_fails_leaves_no_data_and_can_be_repeated() {
    let options = empty();
    let orphan = changed(create_unit(LAB, OrganisationId::from_bytes(NOBODY), "Lab"));
    PostgresStore::create(&options, Kind::Real, &[orphan]).await.unwrap_err();
    let error = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(error, PostgresError::Empty { .. }), "{error}");
    create(&options).await.unwrap();
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_newer_schema_is_worked_with_if_it_says_so() {
    let options = empty();
    create(&options).await.unwrap();
    sql(&options, "INSERT INTO refinery_schema_history (version, name) VALUES (5, 'more')");
    let store = PostgresStore::open(&options).await.unwrap();
    store.start(Arc::new(NoObserver)).unwrap();
    sql(&options, "UPDATE journal_state SET oldest_reader = 5");
    let error = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(error, PostgresError::Newer { found: 5, oldest: 5, known: 4, .. }), "{error}");
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_is_somebody_elses_is_left_alone() {
    let options = empty();
    sql(&options, "CREATE TABLE journal_state (mine text)");
    let error = create(&options).await.unwrap_err();
    assert!(matches!(error, PostgresError::NotDoorward { .. }), "{error}");
    let options = empty();
    sql(&options, "CREATE TABLE session (mine text)");
    let error = create(&options).await.unwrap_err();
    assert!(matches!(error, PostgresError::NotUpgraded { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("session"), "{error}");
    assert_eq!(
        sql(&options, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'unit'"),
        "0"
    );
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn errors_name_the_database_and_never_the_password() {
    let server = PostgresServer::shared();
    let port = server.port();
    let (secret, place) = ("tell nobody", format!("\"no_such\" on 127.0.0.1:{port}"));
    let mut options = PostgresOptions::new(format!("postgres://guarded@127.0.0.1:{port}/no_such"));
    options.password = Some(secret.into());
    let error = PostgresStore::open(&options).await.unwrap_err().to_string();
    assert!(error.contains(&place) && error.contains("storage.password_file"), "{error}");
    assert!(!error.contains(secret) && !format!("{options:?}").contains(secret), "{error}");

    options.password = Some("open sesame".into());
    let error = PostgresStore::open(&options).await.unwrap_err().to_string();
    assert!(error.contains(&place) && error.contains("createdb"), "{error}");

    let options = PostgresOptions::new(format!("postgres://u:{secret}@127.0.0.1:1/none"));
    let error = PostgresStore::open(&options).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && !error.contains("tell"), "{error}");
    for url in ["postgres://u:hush@:x/y", "mysql://u:hush@h/d", "postgres:///only"] {
        let error = PostgresStore::open(&PostgresOptions::new(url)).await.unwrap_err();
        assert!(matches!(error, PostgresError::Options { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_file_of_certificates_must_have_some() {
    let mut options = empty();
    let folder = tempfile::tempdir().unwrap();
    for contents in [None, Some("not a certificate")] {
        let file = folder.path().join("ca.pem");
        if let Some(contents) = contents {
            std::fs::write(&file, contents).unwrap();
        }
        options.ca_file = Some(file);
        let error = PostgresStore::open(&options).await.unwrap_err().to_string();
        assert!(error.contains("ca.pem") && error.contains("storage.ca_file"), "{error}");
    }
}

/// Two authorities, and the certificate of the first for this name, with its key.
fn certificates(folder: &Path, name: &str) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for authority in ["ca", "other"] {
        openssl(&format!(
            "req -x509 {key} -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"
        ));
    }
    openssl(&format!(
        "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem -days 2 -subj /CN=server \
         -addext subjectAltName={name} -addext basicConstraints=critical,CA:FALSE"
    ));
}

#[tokio::test]
#[cfg_attr(any(missing_postgres, missing_openssl), ignore = "needs PostgreSQL and openssl")]
async fn a_servers_certificate_is_checked_whatever_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    certificates(folder.path(), "IP:127.0.0.1");
    let server = PostgresServer::start();
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    server.offer_tls(&read("server.pem"), &read("server.key"));
    let url = server.create_database();
    let by = |host: &str, mode: &str, ca: &str| PostgresOptions {
        ca_file: Some(file(ca)),
        ..PostgresOptions::new(format!("{}?sslmode={mode}", url.replace("127.0.0.1", host)))
    };
    create(&by("127.0.0.1", "require", "ca.pem")).await.unwrap();
    let store = PostgresStore::open(&by("127.0.0.1", "prefer", "ca.pem")).await.unwrap();
    let _kept = store.start(Arc::new(NoObserver)).unwrap();
    for mode in ["prefer", "require", "verify-full"] {
        for (host, ca) in [("127.0.0.1", "other.pem"), ("localhost", "ca.pem")] {
            let error = PostgresStore::open(&by(host, mode, ca)).await.unwrap_err().to_string();
            assert!(error.contains("TLS") && error.contains("certificate"), "{mode} {host} {ca}: {error}");
        }
    }
}

#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn without_tls_at_the_server_it_may_be_asked_for_but_not_required() {
    let options = empty();
    create(&PostgresOptions::new(format!("{}?sslmode=prefer", options.url))).await.unwrap();
    for mode in ["require", "verify-full"] {
        let options = PostgresOptions::new(format!("{}?sslmode={mode}", options.url));
        let error = PostgresStore::open(&options).await.unwrap_err().to_string();
        assert!(error.contains("TLS"), "{error}");
    }
}
