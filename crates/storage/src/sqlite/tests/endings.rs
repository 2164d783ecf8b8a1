//! Which sessions live: marks, stale logins, restarts, and the journal over a real file.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use doorward_domain::{journal::Journal, observer::Observer};

use super::*;

/// Every way to end zoe's session by key, with the change that does it.
fn endings() -> Vec<Change> {
    let disable = |scope| set_status(scope, Status::Disabled);
    let end = |scope| end_sessions(ACME, scope);
    vec![
        disable(Scope::Organisation(ACME)),
        disable(Scope::Unit(SALES)),
        disable(Scope::User(ZOE)),
        disable(Scope::Key(ZOE, KEY)),
        set_password(ACME, ZOE, "second"),
        Change::UpdateUser { organisation: ACME, user: zoe(), expected: None, ends_sessions: true },
        rotate(None),
        end(Scope::Organisation(ACME)),
        end(Scope::Unit(SALES)),
        end(Scope::User(ZOE)),
        end(Scope::Key(ZOE, KEY)),
    ]
}

#[test]
fn m3_every_mark_ends_sessions_across_a_restart() {
    for ending in endings() {
        let (folder, mut store) = company();
        let by_key = |token, seen| issue_by(Method::WebApiKey(KEY), token, seen);
        store.apply(&[by_key(1, KEY_NOT_ENDED), by_key(2, KEY_NOT_ENDED)]).unwrap();
        let mut store = reopen(store, &folder);
        assert_eq!(live_tokens(&store, at(0)), [1, 2]);
        assert_eq!(change(&mut store, ending.clone()), numbered(3));
        let mut store = reopen(store, &folder);
        assert_eq!(live_tokens(&store, at(0)), [], "{ending:?}");
        assert_eq!(count(&store, "session"), 0, "they do not take up space for ever");

        change(&mut store, set_status(ending.ends().unwrap(), Status::Active));
        let mark = SessionNumber(3);
        let seen = match ending.ends() {
            Some(Scope::Organisation(_)) => Seen { organisation: mark, ..KEY_NOT_ENDED },
            Some(Scope::Unit(_)) => Seen { unit: mark, ..KEY_NOT_ENDED },
            Some(Scope::User(_)) => Seen { user: mark, ..KEY_NOT_ENDED },
            _ => Seen { key: Some(mark), ..KEY_NOT_ENDED },
        };
        assert_eq!(apply(&mut store, by_key(4, seen)), numbered(4));
        assert_eq!(
            live_tokens(&reopen(store, &folder), at(0)),
            [4],
            "what came after the ending lives: {ending:?}"
        );
    }
}

#[test]
fn a_login_that_saw_any_stale_mark_is_refused() {
    for ending in endings() {
        let (_folder, mut store) = company();
        change(&mut store, ending.clone());
        let entry = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
        assert_eq!(apply(&mut store, entry), Outcome::Refused, "{ending:?}");
    }
}

/// Or else its session would have the old name for as long as it lives, and stand twice in lists.
#[test]
fn a_login_that_saw_any_old_name_is_refused() {
    let renames = [
        update_organisation(organisation(ACME, "Acme Two")),
        update_unit(ACME, unit(SALES, "Sales Two")),
        update_user(ACME, user(ZOE, "Zoë Two", &[SALES, LAB])),
    ];
    for rename in renames {
        let (_folder, mut store) = company();
        assert_eq!(change(&mut store, rename.clone()), Outcome::Committed(None));
        assert_eq!(apply(&mut store, issue(1)), Outcome::Refused, "{rename:?}");
        let mut seen = issue(1);
        if let (Entry::Issue { identity, .. }, Some((_, scope, name))) = (&mut seen, rename.renames()) {
            match scope {
                Scope::Organisation(_) => identity.organisation_code = name.into(),
                Scope::Unit(_) => identity.unit_name = name.into(),
                Scope::User(_) | Scope::Key(..) => identity.username = name.into(),
            }
        }
        assert_eq!(apply(&mut store, seen), numbered(1));
    }
}

#[test]
fn a_login_on_rows_that_are_not_there_is_refused() {
    let (_folder, mut store) = company();
    let good = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    let with = |alter: &dyn Fn(&mut Identity, &mut Seen)| {
        let mut entry = good.clone();
        if let Entry::Issue { identity, seen, .. } = &mut entry {
            alter(identity, seen);
        }
        entry
    };
    let refused = [
        with(&|identity, _| identity.organisation = OrganisationId::from_bytes(NOBODY)),
        with(&|identity, _| identity.organisation = GLOBEX),
        with(&|identity, _| identity.unit = UnitId::from_bytes(NOBODY)),
        with(&|identity, _| identity.unit = GLOBEX_UNIT),
        with(&|identity, _| identity.user = UserId::from_bytes(NOBODY)),
        with(&|identity, _| identity.user = GLOBEX_USER),
        with(&|identity, _| identity.method = Method::WebApiKey(KeyId::from_bytes(NOBODY))),
        with(&|identity, _| identity.method = Method::Password),
        with(&|_, seen| seen.key = None),
    ];
    assert_eq!(store.apply(&refused).unwrap(), [Outcome::Refused; 9]);
    assert_eq!(apply(&mut store, good), numbered(1));
}

#[test]
fn a_session_comes_back_as_it_was() {
    let (_folder, mut store) = company();
    let by_key = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    let mut for_good = issue(2);
    if let Entry::Issue { session, .. } = &mut for_good {
        session.idle = None;
    }
    store.apply(&[by_key.clone(), for_good.clone()]).unwrap();
    let table = SessionTable::default();
    store.load(&table, at(0), &mut |_, _| {}).unwrap();
    for (number, entry) in [(1, by_key), (2, for_good)] {
        let Entry::Issue { session, identity, .. } = entry else { unreachable!() };
        let live = table.peek(&session.digest, at(0)).unwrap();
        assert_eq!((live.number, live.subject.identity()), (SessionNumber(number), &identity));
        assert_eq!((live.last_used_at, live.expires_at), (session.last_used_at, session.expires_at()));
        assert_eq!(live.issued_at, session.issued_at);
    }
}

#[test]
fn t4_what_has_expired_is_not_loaded_and_is_deleted() {
    let (_folder, mut store) = company();
    let mut longer = issue(2);
    if let Entry::Issue { session, .. } = &mut longer {
        session.idle = Some(2 * HOUR);
    }
    store.apply(&[issue(1), longer]).unwrap();
    assert_eq!(live_tokens(&store, at(0).plus(HOUR)), [2]);
    assert_eq!(count(&store, "session"), 1);
    assert_eq!(live_tokens(&store, at(0)), [2]);
}

#[test]
fn a_session_whose_rows_are_gone_has_ended() {
    let (_folder, mut store) = company();
    store.apply(&[issue(1), issue_by(Method::WebApiKey(KEY), 2, KEY_NOT_ENDED)]).unwrap();
    store.writer.connection.execute("DELETE FROM web_api_key", []).unwrap();
    assert_eq!(live_tokens(&store, at(0)), [1]);
}

#[test]
fn progress_ends_with_all() {
    let (_folder, mut store) = company();
    store.apply(&(0..100).map(issue).collect::<Vec<_>>()).unwrap();
    let mut told = Vec::new();
    store.load(&SessionTable::default(), at(0), &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!(told, [(100, 100)]);
}

#[derive(Default)]
struct Counter {
    commits: AtomicUsize,
    entries: AtomicUsize,
}

impl Observer for Counter {
    fn committed(&self, entries: usize, _took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn d1_the_journal_over_a_file_keeps_what_it_answered() {
    let (folder, store) = company();
    let (table, counter) = (Arc::new(SessionTable::default()), Arc::new(Counter::default()));
    let (ledger, directory) = store.start(counter.clone(), 1).unwrap();
    let (journal, thread) = Journal::start(ledger, table.clone(), |message| panic!("{message}"));
    let submitted: Vec<_> = (1..=100)
        .map(|token| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.submit(issue(token)).await.unwrap() })
        })
        .collect();
    for outcome in submitted {
        assert!(matches!(outcome.await.unwrap(), Outcome::Committed(Some(_))));
    }
    for token in 1..=50 {
        let number = table.peek(&digest(token), at(0)).unwrap().number;
        let (session, last_used_at) = (digest(token).session(), at(0));
        let entry = Entry::Release { number, session, last_used_at, audit: audit(Event::Release) };
        assert_eq!(journal.submit(entry).await.unwrap(), Outcome::Committed(None));
    }
    assert_eq!(counter.entries.load(Ordering::Relaxed), 150);
    assert!(counter.commits.load(Ordering::Relaxed) < 150, "logins at the same time share commits");
    thread.stop();
    drop(directory);
    let store = SqliteStore::open(&data(&folder)).unwrap();
    assert_eq!(live_tokens(&store, at(0)), (51..=100).collect::<Vec<_>>());
}
