//! Moving from real files to a real server, whatever is in them.

use std::collections::BTreeMap;

use doorward_domain::{
    clock::Timestamp,
    journal::{Entry, Outcome},
    session::{Method, Scope, SessionNumber},
};
use doorward_testkit::{PostgresServer, conformance::company::*};
use proptest::{prelude::*, test_runner::TestRng};
use rusqlite::{Connection, types::Value};
use tempfile::TempDir;

use super::*;
use crate::PostgresStore;

/// A folder with both companies.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let first: Vec<_> = both_companies().into_iter().map(changed).collect();
    SqliteStore::create(&data(&folder), Kind::Real, &first).unwrap();
    folder
}

fn data(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("data")
}

/// A connection beside the store's own.
fn connect(folder: &TempDir) -> Connection {
    Connection::open(data(folder).join("doorward.db")).unwrap()
}

fn options() -> PostgresOptions {
    PostgresOptions::new(PostgresServer::shared().create_database())
}

fn sql(options: &PostgresOptions, sql: &str) -> String {
    PostgresServer::shared().sql(&options.url, sql)
}

async fn migrate(folder: &TempDir, options: &PostgresOptions) -> Result<Moved, MoveError> {
    let store = SqliteStore::open(&data(folder)).unwrap();
    move_to_postgres(&store, options, &mut |_| {}).await
}

/// Has the tables made, and nothing in them.
async fn make_tables(options: &PostgresOptions) {
    let orphan = changed(create_unit(LAB, doorward_domain::id::OrganisationId::from_bytes(NOBODY), "Lab"));
    PostgresStore::create(options, Kind::Real, &[orphan]).await.unwrap_err();
}

/// That a database has nothing of ours in its tables.
fn assert_empty(options: &PostgresOptions) {
    for table in TABLES.iter().map(|table| table.name).chain(["journal_state"]) {
        // A creation that fails leaves the beginnings of chains, with nothing in them.
        let beside = if table == "audit_chain" { "WHERE number > 0" } else { "" };
        assert_eq!(sql(options, &format!("SELECT count(*) FROM \"{table}\" {beside}")), "0", "{table}");
    }
}

/// A table that is forgotten here would be left behind.
#[tokio::test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn all_tables_and_columns_are_moved() {
    let moved: BTreeMap<&str, Vec<&str>> = TABLES
        .iter()
        .map(|table| {
            let mut columns: Vec<_> = table.columns.iter().map(|column| column.name).collect();
            columns.sort_unstable();
            (table.name, columns)
        })
        .collect();
    let (folder, options) = (folder(), options());
    let connection = connect(&folder);
    let query = "
        SELECT checked.name, group_concat(col.name ORDER BY col.name)
        FROM sqlite_schema AS checked, pragma_table_info(checked.name) AS col
        WHERE checked.type = 'table'
          AND checked.name NOT IN ('refinery_schema_history', 'journal_state', 'session_use_block', 'session_use_log')
        GROUP BY checked.name";
    let mut statement = connection.prepare(query).unwrap();
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let found: BTreeMap<String, String> = found.unwrap().map(Result::unwrap).collect();
    // Last uses share rows.
    let stored = moved.iter().filter(|(table, _)| **table != "session_use").map(|(table, columns)| {
        let made = |name: &&str| {
            TABLES.iter().any(|known| {
                known.name == *table
                    && known.columns.iter().any(|column| column.name == *name && column.made_of.is_some())
            })
        };
        let columns: Vec<_> = columns.iter().copied().filter(|name| !made(name)).collect();
        ((*table).to_owned(), columns.join(","))
    });
    assert_eq!(stored.collect::<BTreeMap<_, _>>(), found);

    make_tables(&options).await;
    let query = "
        SELECT table_name, string_agg(column_name, ',' ORDER BY column_name COLLATE \"C\") FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT IN
              ('refinery_schema_history', 'journal_state', 'release_log', 'instance', 'sweep', 'login_attempt', 'gate_key')
        GROUP BY table_name";
    let found = sql(&options, query);
    let found: BTreeMap<_, _> = found.lines().filter_map(|line| line.split_once('|')).collect();
    let wanted: BTreeMap<_, _> = moved.iter().map(|(table, columns)| (*table, columns.join(","))).collect();
    assert_eq!(
        wanted.iter().map(|(table, columns)| (*table, columns.as_str())).collect::<BTreeMap<_, _>>(),
        found
    );
}

/// Numbers go on: those of sessions, so that what ends is what was there, and those of places.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_was_moved_is_worked_on() {
    let (folder, options) = (folder(), options());
    let mut store = SqliteStore::open(&data(&folder)).unwrap();
    store.apply(&[issue(1), issue(2), issue(3), Entry::Tick(at(77))]).unwrap();
    store.apply(&[release(SessionNumber(2), 2)]).unwrap();
    let records = connect(&folder).query_row("SELECT count(*) FROM audit", [], |row| row.get::<_, i64>(0));
    let records = records.unwrap();
    let mut told = Vec::new();
    let moved = move_to_postgres(&store, &options, &mut |step| told.push(step)).await.unwrap();
    assert_eq!(moved.kind, Kind::Real);
    let rows = |name| moved.tables.iter().find(|(table, _)| *table == name).unwrap().1.rows;
    assert_eq!((rows("user"), rows("session"), rows("ended_session")), (2, 2, 1));
    assert_eq!(i64::try_from(rows("audit")).unwrap(), records);
    let total = moved.tables.iter().map(|(_, fingerprint)| fingerprint.rows).sum::<u64>() * 2;
    assert!(told.is_sorted_by_key(|step| step.done));
    assert_eq!(told.last().map(|step| (step.done, step.total, step.is_checked)), Some((total, total, true)));

    let error = move_to_postgres(&store, &options, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, MoveError::To(PostgresError::AlreadyExists { .. })), "{error}");
    let mut store = PostgresStore::open(&options).await.unwrap();
    assert_eq!((store.kind(), store.latest()), (Kind::Real, Some(at(77))));
    // The first that happens ends what was moved, and nothing that comes later.
    let end = changed(end_sessions(ACME, Scope::User(ZOE)));
    let number = |outcomes: Vec<Outcome>| match outcomes[..] {
        [Outcome::Committed(Some(number))] => number,
        _ => panic!("{outcomes:?}"),
    };
    // Numbers may be left out.
    let ended = number(store.apply(&[end]).await.unwrap());
    assert!(ended > SessionNumber(3), "{ended:?}");
    let seen = doorward_domain::journal::Seen { user: ended, ..NOTHING_ENDED };
    let later = issue_by(Method::Password, 4, seen);
    assert!(number(store.apply(&[later]).await.unwrap()) > ended);
    let places = "SELECT max(place) - min(place), count(*) - 1 FROM audit";
    assert_eq!(sql(&options, places), format!("{0}|{0}", records + 1));
    let ends = "SELECT bool_and(audit_chain.at = audit.at AND audit_chain.number = audit.number)
                FROM audit_chain JOIN audit USING (organisation)
                WHERE audit.number = (SELECT max(number) FROM audit AS all_of_it
                                      WHERE all_of_it.organisation = audit_chain.organisation)";
    assert_eq!(sql(&options, ends), "t");
    assert_eq!(sql(&options, "SELECT head > 0 FROM journal_state"), "t", "the log began anew");
}

/// Before anything was ever numbered there is no last number.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn the_first_session_may_be_the_first_of_all() {
    let (folder, options) = (folder(), options());
    migrate(&folder, &options).await.unwrap();
    let mut store = PostgresStore::open(&options).await.unwrap();
    assert_eq!(store.latest(), Some(at(0)), "that of the records");
    assert!(matches!(store.apply(&[issue(1)]).await.unwrap()[..], [Outcome::Committed(Some(_))]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_is_kept_otherwise_than_it_was_is_found_and_nothing_stays() {
    let (folder, options) = (folder(), options());
    SqliteStore::open(&data(&folder)).unwrap().apply(&[issue(1), issue(2)]).unwrap();
    make_tables(&options).await;
    for (table, change) in [
        ("session", "NEW.ends_at = NEW.ends_at + 1"),
        ("user", "NEW.password_hash = 'another'"),
        ("audit", "NEW.claimed = ''"),
    ] {
        sql(
            &options,
            &format!(
                "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {}; RETURN NEW; END';
                 CREATE TRIGGER other BEFORE INSERT ON \"{table}\" FOR EACH ROW EXECUTE FUNCTION other()",
                change.replace('\'', "''")
            ),
        );
        let error = migrate(&folder, &options).await.unwrap_err();
        assert!(matches!(error, MoveError::Differs { table: at, .. } if at == table), "{error}");
        assert!(
            error.to_string().contains("nothing was moved") && error.to_string().contains("triggers"),
            "{error}"
        );
        assert_empty(&options);
        sql(&options, "DROP FUNCTION other CASCADE");
    }
    // A row that is swallowed, and one too many.
    let swallow = "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                   CREATE TRIGGER other BEFORE INSERT ON once FOR EACH ROW EXECUTE FUNCTION other();
                   CREATE TRIGGER other BEFORE INSERT ON membership FOR EACH ROW EXECUTE FUNCTION other()";
    sql(&options, swallow);
    let error = migrate(&folder, &options).await.unwrap_err();
    assert!(matches!(error, MoveError::CutOff { .. }), "{error}");
    assert_empty(&options);
    sql(&options, "DROP FUNCTION other CASCADE");
    sql(&options, "INSERT INTO known_address VALUES ('x', 'y', 0)");
    let error = migrate(&folder, &options).await.unwrap_err();
    assert!(matches!(error, MoveError::Differs { table: "known_address", .. }), "{error}");
    sql(&options, "DELETE FROM known_address");
    assert_empty(&options);
    migrate(&folder, &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn a_record_is_moved_as_it_is_or_not_at_all() {
    let (folder, options) = (folder(), options());
    connect(&folder).execute("UPDATE audit SET request_id = 'a' || char(0) WHERE place = 2", []).unwrap();
    let error = migrate(&folder, &options).await.unwrap_err();
    assert!(matches!(error, MoveError::CharacterZero { column: "request_id", .. }), "{error}");
    assert_empty(&options);
    // What is claimed is kept in bytes; and other texts are kept as the ledger keeps them.
    let change = "UPDATE audit SET request_id = 'a' WHERE place = 2;
                  UPDATE audit SET claimed = 'b' || char(0);
                  UPDATE user SET person_name = 'c' || char(0);";
    connect(&folder).execute_batch(change).unwrap();
    migrate(&folder, &options).await.unwrap();
    assert_eq!(sql(&options, "SELECT DISTINCT encode(claimed, 'hex') FROM audit"), "6200");
    assert_eq!(sql(&options, "SELECT DISTINCT person_name FROM \"user\""), "c\u{fffd}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_contradicts_itself_is_not_moved() {
    let (folder, options) = (folder(), options());
    let change = "PRAGMA foreign_keys = OFF; DELETE FROM unit WHERE name = 'Lab';";
    connect(&folder).execute_batch(change).unwrap();
    let error = migrate(&folder, &options).await.unwrap_err();
    assert!(matches!(error, MoveError::CutOff { .. }), "{error}");
    assert!(error.to_string().contains("membership_unit"), "{error}");
    assert_empty(&options);
}

/// How many rows of a table there may be.
const ROWS: u32 = 12;

/// Puts random rows into all tables of an empty database. What tables demand of each other is kept.
fn populate(connection: &Connection, random: &mut TestRng) {
    let mut ids: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut owners: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for table in TABLES {
        if table.name == "session_use" {
            populate_uses(connection, random);
            continue;
        }
        let nullable: BTreeMap<String, bool> = {
            let mut info = connection
                .prepare(&format!("SELECT name, \"notnull\" = 0 FROM pragma_table_info('{}')", table.name))
                .unwrap();
            let rows = info.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let columns: Vec<_> = table.columns.iter().filter(|column| column.made_of.is_none()).collect();
        let names: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let marks = vec!["?"; names.len()].join(", ");
        // One that is there already by a key of its own is no row more.
        let insert =
            format!("INSERT OR IGNORE INTO \"{}\" ({}) VALUES ({marks})", table.name, names.join(", "));
        for _ in 0..random.random_range(0..=ROWS) {
            let pick = |random: &mut TestRng, from: &[Vec<u8>]| {
                (!from.is_empty()).then(|| from[random.random_range(0..from.len())].clone())
            };
            let (mut organisation, mut user) = (None, None);
            if ["membership", "web_api_key"].contains(&table.name) {
                user = pick(random, ids.get("user").map_or(&[], Vec::as_slice));
                let Some(user) = &user else { continue };
                organisation = owners.get(user).cloned();
            } else if ["unit", "user", "organisation_rule"].contains(&table.name) {
                organisation = pick(random, ids.get("organisation").map_or(&[], Vec::as_slice));
                if organisation.is_none() {
                    continue;
                }
            }
            let mut id = None;
            let row: Option<Vec<Value>> = columns
                .iter()
                .map(|column| {
                    let value = match (table.name, column.name) {
                        (_, "organisation") if organisation.is_some() => Value::Blob(organisation.clone()?),
                        (_, "user") if user.is_some() => Value::Blob(user.clone()?),
                        ("membership", "unit") => {
                            let of_it = ids.get("unit")?.iter();
                            let of_it = of_it.filter(|unit| owners.get(*unit) == organisation.as_ref());
                            Value::Blob(pick(random, &of_it.cloned().collect::<Vec<_>>())?)
                        }
                        ("session", "number") => Value::Integer(match random.random_range(0..2) {
                            0 => random.random_range(0..500),
                            _ => random.random_range(0..=i64::MAX),
                        }),
                        (_, "status") => {
                            Value::Text(["active", "disabled"][random.random_range(0..2)].into())
                        }
                        (_, "role") => {
                            Value::Text(["member", "administrator"][random.random_range(0..2)].into())
                        }
                        (_, "classification") => Value::Text("CONSUMER_APPLICATION_KEY".into()),
                        ("audit_chain", "organisation") if random.random() => Value::Blob(Vec::new()),
                        (_, "digest" | "removed_digest") | ("once", "key" | "request") => {
                            Value::Blob(some_bytes(random, 32))
                        }
                        _ if nullable.get(column.name) == Some(&true) && random.random_range(0..3) == 0 => {
                            Value::Null
                        }
                        (_, "claimed") => Value::Text(some_text(random, true)),
                        // Names have no such character, and with another in its place one might be a second time there.
                        (_, "canonical") => Value::Text(some_text(random, false)),
                        _ => match column.kind {
                            ColumnKind::Bytes => Value::Blob(some_bytes(random, 16)),
                            ColumnKind::Text => Value::Text(some_text(random, true)),
                            ColumnKind::Exact => Value::Text(some_text(random, false)),
                            ColumnKind::Flag => Value::Integer(i64::from(random.random::<bool>())),
                            ColumnKind::Number => Value::Integer(match random.random_range(0..4) {
                                0 => random.random(),
                                1 => [i64::MIN, i64::MAX, -1, 0][random.random_range(0..4)],
                                _ => random.random_range(0..100),
                            }),
                        },
                    };
                    if let ("id", Value::Blob(bytes)) = (column.name, &value) {
                        id = Some(bytes.clone());
                    }
                    Some(value)
                })
                .collect();
            let Some(row) = row else { continue };
            let added = connection.execute(&insert, rusqlite::params_from_iter(row)).unwrap();
            if let Some(id) = id.filter(|_| added == 1) {
                if let Some(organisation) = organisation {
                    owners.insert(id.clone(), organisation);
                }
                ids.entry(table.name).or_default().push(id);
            }
        }
    }
}

/// Says of some sessions when they were last used.
fn populate_uses(connection: &Connection, random: &mut TestRng) {
    let mut blocks = connection.prepare("SELECT DISTINCT number / 128 FROM session").unwrap();
    let blocks: Vec<i64> = blocks.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for block in blocks {
        if random.random() {
            let times = (0..128).map(|_| match random.random_range(0..3) {
                0 => 0,
                1 => random.random_range(0..100),
                _ => random.random_range(0..=i64::MAX),
            });
            let times: Vec<u8> = times.flat_map(i64::to_be_bytes).collect();
            connection.execute("INSERT INTO session_use_block VALUES (?1, ?2)", (block, times)).unwrap();
        }
    }
}

fn some_bytes(random: &mut TestRng, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.random()).collect()
}

fn some_text(random: &mut TestRng, may_have_zero: bool) -> String {
    let letters = ['a', 'B', '\u{e9}', '\u{1f511}', '|', '\n', '\\', '"', '\'', '\t', '\u{fffd}', '\0'];
    let letters = if may_have_zero { &letters[..] } else { &letters[..letters.len() - 1] };
    let length = random.random_range(0..12);
    (0..length).map(|_| letters[random.random_range(0..letters.len())]).collect()
}

/// All rows of a table in words, by what each database makes of them itself.
fn in_words(table: &Table, is_sqlite: bool) -> String {
    if is_sqlite && table.name == "session_use" {
        return "SELECT number || ',' || max(issued_at, CASE WHEN used_at = 0 THEN issued_at ELSE used_at END)
                FROM (SELECT number, issued_at,
                             '0x' || hex(substr(coalesce(last_used_at, zeroblob(1024)), number % 128 * 8 + 1, 8)) ->> '$'
                             AS used_at
                      FROM session LEFT JOIN session_use_block ON block = number / 128)
                ORDER BY number"
            .to_owned();
    }
    let columns = table.columns.iter().map(|column| {
        let name = column.made_of.filter(|_| is_sqlite).map_or(format!("\"{}\"", column.name), str::to_owned);
        let is_claimed = column.name == "claimed";
        let word = match (column.kind, is_sqlite) {
            (ColumnKind::Number | ColumnKind::Flag, true) => format!("CAST({name} AS TEXT)"),
            (ColumnKind::Number, false) => format!("{name}::text"),
            (ColumnKind::Flag, false) => format!("{name}::int::text"),
            (ColumnKind::Bytes, true) if is_claimed => format!("lower(hex(CAST({name} AS BLOB)))"),
            (ColumnKind::Bytes, true) => format!("lower(hex({name}))"),
            (ColumnKind::Bytes, false) => format!("encode({name}, 'hex')"),
            (ColumnKind::Text | ColumnKind::Exact, true) => format!("lower(hex({name}))"),
            (ColumnKind::Text | ColumnKind::Exact, false) => {
                format!("encode(convert_to({name}, 'UTF8'), 'hex')")
            }
        };
        // SQLite's `hex` makes an empty text of NULL.
        format!("CASE WHEN {name} IS NULL THEN 'NULL' ELSE {word} END")
    });
    let row = columns.collect::<Vec<_>>().join(" || ',' || ");
    format!("SELECT {row} FROM \"{}\" ORDER BY {}", table.name, table.order())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever is in the tables is in them afterwards, as the two databases themselves see it.
    #[test]
    #[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
    fn whatever_there_is_arrives(seed in any::<[u8; 32]>()) {
        let (folder, options) = (TempDir::new().unwrap(), options());
        SqliteStore::create(&data(&folder), Kind::Demo, &[]).unwrap();
        let mut random = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        let connection = connect(&folder);
        connection.execute_batch("PRAGMA foreign_keys = ON; BEGIN").unwrap();
        populate(&connection, &mut random);
        let last = random.random_range(0..i64::MAX);
        connection.execute("UPDATE journal_state SET next_number = ?1, latest = ?1", [last.max(1)]).unwrap();
        connection.execute_batch("COMMIT").unwrap();

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let moved = runtime.block_on(migrate(&folder, &options)).unwrap();
        prop_assert_eq!(moved.kind, Kind::Demo);
        for (table, (name, fingerprint)) in TABLES.iter().zip(&moved.tables) {
            let mut statement = connection.prepare(&in_words(table, true)).unwrap();
            let here: Vec<String> =
                statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            let there = sql(&options, &in_words(table, false));
            let there: Vec<_> = there.lines().map(str::to_owned).collect();
            prop_assert_eq!(here.len() as u64, fingerprint.rows, "{}", name);
            let is_text = |place: usize| table.columns[place].kind == ColumnKind::Text;
            let replaced: Vec<String> = here.iter().map(|row| {
                let words = row.split(',').enumerate();
                let words = words.map(|(place, word)| if is_text(place) { without_zero(word) } else { word.to_owned() });
                words.collect::<Vec<_>>().join(",")
            }).collect();
            prop_assert_eq!(replaced, there, "{}", name);
        }
        let store = runtime.block_on(PostgresStore::open(&options)).unwrap();
        prop_assert_eq!(store.latest(), Some(Timestamp::from_millis(last.max(1))));
        prop_assert_eq!(sql(&options, "SELECT nextval('session_number')"), last.max(1).to_string());
    }
}

/// A text in hexadecimal with U+FFFD for the character zero.
fn without_zero(word: &str) -> String {
    if word == "NULL" {
        return word.to_owned();
    }
    let bytes = word.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    bytes.map(|byte| if byte == "00" { "efbfbd" } else { byte }).collect()
}

#[test]
fn a_fingerprint_is_of_rows_as_copy_has_them() {
    let mut row = Row::first();
    let mut digester = Digester::default();
    row.begin(2);
    row.number(number("a"), 1).unwrap();
    row.null();
    assert_eq!(row.last(), b"\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x01\xff\xff\xff\xff");
    digester.add(&row);
    assert!(row.take_part().is_none());
    row.end();
    let sent = row.take();
    assert!(sent.starts_with(b"PGCOPY\n\xff\r\n\0") && sent.ends_with(b"\xff\xff"), "{sent:?}");
    assert_eq!(digester.finish().rows, 1);
    assert_eq!(row.number(flag("b"), 2), Err(Problem::NotOfItsKind("b")));
    assert_eq!(row.text(number("b"), b"x"), Err(Problem::NotOfItsKind("b")));
    assert_eq!(row.text(exact("b"), b"x\0"), Err(Problem::CharacterZero("b")));
}
