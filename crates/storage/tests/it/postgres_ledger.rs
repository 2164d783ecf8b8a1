//! The ledger over PostgreSQL, in what SQLite's has not: the release log, other ledgers beside it, and connections that
//! break.

use doorward_domain::journal::{Entry, Ledger, Outcome};
use doorward_testkit::conformance::company::*;

use crate::postgres_testing::*;

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn what_others_must_know_is_logged_without_gaps() {
    let database = Database::new();
    let mut ledger = database.ledger();
    let first = number(&mut ledger, issue(1));
    println!("{first:?}");
    let committed = ledger
        .commit(&[release(first, 1), Entry::Tick(at(7)), changed(set_password(ACME, ZOE, "x"))])
        .unwrap();
    println!("{committed:?}");
    for t in
        ["release_log", "session", "ended_session", "audit_chain", "journal_state", "session_use", "ending"]
    {
        println!("{t}\n{}", database.sql(&format!("SELECT * FROM {t}")));
    }
    assert_eq!(committed.outcomes[0], Outcome::Committed(None));
}
