//! A table that is read by the test's hand, under a journal that takes whatever it is given.

use std::{future::Future, sync::Arc, time::Duration};

use super::*;
use crate::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::Change,
    clock::{Clock, TimeSource, Timestamp},
    credential::TokenDigest,
    id::{OrganisationId, UnitId, UserId},
    journal::{Committed, Entry, Journal, JournalThread, Ledger, LedgerError, Outcome, Seen},
    session::{Departed, Identity, Method, Scope, Session, SessionNumber},
    session_table::{SessionFilter, SessionTable},
    sessions::Sessions,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const ACME: OrganisationId = OrganisationId::from_bytes([1; 16]);
const ZOE: UserId = UserId::from_bytes([3; 16]);

struct Still;

impl TimeSource for Still {
    fn wall(&self) -> Timestamp {
        NOW
    }
    fn steady(&self) -> Duration {
        Duration::ZERO
    }
}

struct Paper;

impl Ledger for Paper {
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        // Above all that is read.
        let number = |entry: &Entry| matches!(entry, Entry::Issue { .. }).then_some(SessionNumber(100));
        let outcomes = batch.iter().map(|entry| Outcome::Committed(number(entry)));
        Ok(outcomes.collect::<Vec<_>>().into())
    }
}

fn digest(token: u8) -> TokenDigest {
    TokenDigest::from_bytes([token; 32])
}

fn session(token: u8, ends_at: Timestamp) -> Session {
    Session { digest: digest(token), issued_at: NOW, last_used_at: NOW, idle: None, ends_at }
}

fn zoe() -> Identity {
    Identity {
        organisation: ACME,
        organisation_code: "ACME".into(),
        is_operator: false,
        unit: UnitId::from_bytes([2; 16]),
        unit_name: "Sales".into(),
        user: ZOE,
        username: "zoe".into(),
        method: Method::Password,
    }
}

fn audit(event: Event) -> AuditRecord {
    AuditRecord::new(NOW, event, Reason::Ok, &Origin::default())
}

struct Fixture {
    table: Arc<SessionTable>,
    reading: Arc<Reading>,
    sessions: Sessions,
    journal: Journal,
    _thread: JournalThread,
}

impl Fixture {
    fn new() -> Self {
        let (table, reading) = (Arc::new(SessionTable::default()), Arc::new(Reading::begun()));
        let (journal, _thread) =
            Journal::start_reading(Paper, table.clone(), reading.clone(), |problem| panic!("{problem}"));
        let sessions = Sessions::being_read(table.clone(), Clock::new(Still), reading.clone());
        Self { table, reading, sessions, journal, _thread }
    }

    /// Reads one session, as a start does.
    fn read(&self, token: u8, ends_at: Timestamp) {
        self.table.insert(SessionNumber(u64::from(token)), &session(token, ends_at), &zoe());
    }

    /// Whether a token is live, by a use and by a look.
    fn is_live(&self, token: u8) -> Result<bool, StoreError> {
        let digest = digest(token);
        let [used, seen] = [true, false]
            .map(|is_use| wait(self.sessions.find(&digest, is_use, &self.journal, |_| Some(()))));
        assert_eq!(used.as_ref().map(Option::is_some), seen.as_ref().map(Option::is_some));
        used.map(|live| live.is_some())
    }

    fn examine(&self, token: u8) -> Result<bool, StoreError> {
        wait(self.sessions.examine(digest(token).session())).map(|found| found.is_some())
    }

    fn list(&self) -> Result<usize, StoreError> {
        wait(self.sessions.list(ACME, SessionFilter::default(), None, 10)).map(|found| found.len())
    }

    fn submit(&self, entry: Entry) -> Result<Outcome, StoreError> {
        wait(self.journal.submit(entry))
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn nothing_is_known_of_a_token_that_is_not_read_yet() {
    let fixture = Fixture::new();
    assert_eq!(fixture.is_live(1), Err(StoreError::Reading));
    assert_eq!(fixture.examine(1), Err(StoreError::Reading), "nor can it be released");
    fixture.read(1, NOW.plus(HOUR));
    assert_eq!((fixture.is_live(1), fixture.examine(1)), (Ok(true), Ok(true)));
    assert_eq!(fixture.is_live(2), Err(StoreError::Reading));
    assert_eq!(fixture.list(), Err(StoreError::Reading), "a list of some would look like one of all");

    fixture.reading.all_read();
    assert_eq!((fixture.is_live(1), fixture.is_live(2)), (Ok(true), Ok(false)));
    assert_eq!((fixture.examine(2), fixture.list()), (Ok(false), Ok(1)));
}

#[test]
fn a_token_that_ended_is_never_live_while_others_are_read() {
    let fixture = Fixture::new();
    fixture.read(1, NOW);
    assert_eq!(fixture.is_live(1), Err(StoreError::Reading));
    fixture.reading.all_read();
    assert_eq!(fixture.is_live(1), Ok(false));
}

#[test]
fn how_a_token_ended_is_known_when_those_that_had_ended_are_forgotten() {
    let fixture = Fixture::new();
    assert_eq!(fixture.sessions.require_past(), Err(StoreError::Reading));
    fixture.reading.all_read();
    assert_eq!(fixture.sessions.require_past(), Err(StoreError::Reading));
    fixture.reading.all_forgotten();
    assert_eq!(fixture.sessions.require_past(), Ok(()));
}

#[test]
fn tokens_are_issued_and_released_while_others_are_read() {
    let fixture = Fixture::new();
    let seen =
        Seen { organisation: SessionNumber(0), unit: SessionNumber(0), user: SessionNumber(0), key: None };
    let (session, identity) = (session(9, NOW.plus(HOUR)), zoe());
    let issue = Entry::Issue { session, identity, seen, known: None, audit: audit(Event::PasswordLogin) };
    assert_eq!(fixture.submit(issue), Ok(Outcome::Committed(Some(SessionNumber(100)))));
    assert_eq!(fixture.is_live(9), Ok(true));
    fixture.read(1, NOW.plus(HOUR));
    for entry in [
        Entry::Record(audit(Event::PasswordLogin)),
        Entry::Uses(Vec::new()),
        Entry::KeyUses(Vec::new()),
        Entry::Tick(NOW),
        Entry::Forget {
            sessions: vec![Departed { number: SessionNumber(5), organisation: None, last_used_at: NOW }],
            at: NOW,
        },
        Entry::Release {
            number: SessionNumber(1),
            session: digest(1).session(),
            last_used_at: NOW,
            audit: audit(Event::Release),
        },
    ] {
        assert_eq!(fixture.submit(entry), Ok(Outcome::Committed(None)));
    }
    assert_eq!(fixture.is_live(1), Err(StoreError::Reading), "which is not to say that it is live");
    fixture.reading.all_read();
    assert_eq!((fixture.is_live(1), fixture.is_live(9)), (Ok(false), Ok(true)));
}

/// In memory it would reach those alone that have been read.
#[test]
fn what_reaches_many_sessions_waits_until_all_are_read() {
    let fixture = Fixture::new();
    let change = || {
        let change = Change::EndSessions { organisation: ACME, scope: Scope::User(ZOE) };
        Entry::change(change, audit(Event::SessionsEnded))
    };
    let delete = || Entry::DeleteUsers { organisation: ACME, limit: 1, audit: audit(Event::Deleted) };
    for entry in [change(), delete()] {
        assert_eq!(fixture.submit(entry), Err(StoreError::Reading));
    }
    fixture.reading.all_read();
    for entry in [change(), delete()] {
        assert_eq!(fixture.submit(entry), Ok(Outcome::Committed(None)));
    }
}

#[test]
fn progress_is_told_while_it_is_under_way() {
    let reading = Reading::begun();
    assert_eq!(reading.progress(), Some(Progress { read: 0, percent: 0 }));
    reading.advance(Progress { read: 7, percent: 70 });
    assert_eq!(reading.progress(), Some(Progress { read: 7, percent: 70 }));
    reading.all_read();
    assert_eq!(reading.progress(), None);
    assert_eq!(Reading::default().progress(), None);
}
