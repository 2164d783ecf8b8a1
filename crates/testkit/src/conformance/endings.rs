//! Which sessions live: marks, stale logins, restarts, and the journal over a real file.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use doorward_domain::{
    change::Change,
    directory::Status,
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Journal, Outcome, Seen},
    observer::Observer,
    session::{Identity, Method, Scope},
    session_table::SessionTable,
};

use super::{company::*, *};

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

pub(super) async fn m3_every_mark_ends_sessions_across_a_restart<S: Store>() {
    for ending in endings() {
        let mut store = company::<S>().await;
        let by_key = |token, seen| issue_by(Method::WebApiKey(KEY), token, seen);
        store.apply(&[by_key(1, KEY_NOT_ENDED), by_key(2, KEY_NOT_ENDED)]).await.unwrap();
        let mut store = store.reopen().await;
        assert_eq!(live_tokens(&mut store, at(0)).await, [1, 2]);
        let mark = number(change(&mut store, ending.clone()).await);
        let mut store = store.reopen().await;
        assert_eq!(live_tokens(&mut store, at(0)).await, [0; 0], "{ending:?}");

        change(&mut store, set_status(ending.ends().unwrap(), Status::Active)).await;
        let seen = match ending.ends() {
            Some(Scope::Organisation(_)) => Seen { organisation: mark, ..KEY_NOT_ENDED },
            Some(Scope::Unit(_)) => Seen { unit: mark, ..KEY_NOT_ENDED },
            Some(Scope::User(_)) => Seen { user: mark, ..KEY_NOT_ENDED },
            _ => Seen { key: Some(mark), ..KEY_NOT_ENDED },
        };
        assert!(number(apply(&mut store, by_key(4, seen)).await) > mark);
        let mut store = store.reopen().await;
        let live = live_tokens(&mut store, at(0)).await;
        assert_eq!(live, [4], "what came after the ending lives: {ending:?}");
    }
}

pub(super) async fn a_login_that_saw_any_stale_mark_is_refused<S: Store>() {
    for ending in endings() {
        let mut store = company::<S>().await;
        let login = |token| issue_by(Method::WebApiKey(KEY), token, KEY_NOT_ENDED);
        // Of whoever has logged in, something may be remembered.
        let outcomes = store.apply(&[login(2), login(3), changed(ending.clone()), login(1)]).await.unwrap();
        assert!(outcomes[..3].iter().all(|outcome| matches!(outcome, Outcome::Committed(Some(_)))));
        assert_eq!(outcomes[3], Outcome::Refused, "{ending:?}");
        assert_eq!(apply(&mut store, login(4)).await, Outcome::Refused, "{ending:?}");
    }
}

/// Or else its session would have the old name for as long as it lives, and stand twice in lists.
pub(super) async fn a_login_that_saw_any_old_name_is_refused<S: Store>() {
    let renames = [
        update_organisation(organisation(ACME, "Acme Two")),
        update_unit(ACME, unit(SALES, "Sales Two")),
        update_user(ACME, user(ZOE, "Zoë Two", &[SALES, LAB])),
    ];
    for rename in renames {
        let mut store = company::<S>().await;
        number(apply(&mut store, issue(2)).await);
        assert_eq!(change(&mut store, rename.clone()).await, Outcome::Committed(None));
        assert_eq!(apply(&mut store, issue(1)).await, Outcome::Refused, "{rename:?}");
        let mut seen = issue(1);
        if let (Entry::Issue { identity, .. }, Some((_, scope, name))) = (&mut seen, rename.renames()) {
            match scope {
                Scope::Organisation(_) => identity.organisation_code = name.into(),
                Scope::Unit(_) => identity.unit_name = name.into(),
                Scope::User(_) | Scope::Key(..) => identity.username = name.into(),
            }
        }
        number(apply(&mut store, seen).await);
    }
}

pub(super) async fn a_login_on_rows_that_are_not_there_is_refused<S: Store>() {
    let mut store = company::<S>().await;
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
    assert_eq!(store.apply(&refused).await.unwrap(), [Outcome::Refused; 9]);
    number(apply(&mut store, good).await);
}

pub(super) async fn a_session_comes_back_as_it_was<S: Store>() {
    let mut store = company::<S>().await;
    let by_key = issue_by(Method::WebApiKey(KEY), 1, KEY_NOT_ENDED);
    let mut for_good = issue(2);
    if let Entry::Issue { session, .. } = &mut for_good {
        session.idle = None;
    }
    let numbers: [_; 2] = numbers(store.apply(&[by_key.clone(), for_good.clone()]).await.unwrap());
    for (number, entry) in numbers.into_iter().zip([by_key, for_good]) {
        let Entry::Issue { session, identity, .. } = entry else { unreachable!() };
        let live = store.find_live(&[session.digest], at(0)).await.remove(0).unwrap();
        assert_eq!((live.number, &live.identity), (number, &identity));
        assert_eq!((live.last_used_at, live.expires_at), (session.last_used_at, session.expires_at()));
        assert_eq!(live.issued_at, session.issued_at);
    }
}

pub(super) async fn what_has_expired_is_not_live<S: Store>() {
    let mut store = company::<S>().await;
    let mut longer = issue(2);
    if let Entry::Issue { session, .. } = &mut longer {
        session.idle = Some(2 * HOUR);
    }
    store.apply(&[issue(1), longer]).await.unwrap();
    assert_eq!(live_tokens(&mut store, at(-1).plus(HOUR)).await, [1, 2]);
    assert_eq!(live_tokens(&mut store, at(0).plus(HOUR)).await, [2]);
}

pub(super) async fn a_session_whose_rows_are_gone_has_ended<S: Store>() {
    let mut store = company::<S>().await;
    store.apply(&[issue(1), issue_by(Method::WebApiKey(KEY), 2, KEY_NOT_ENDED)]).await.unwrap();
    store.tamper("DELETE FROM web_api_key").await;
    assert_eq!(live_tokens(&mut store, at(0)).await, [1]);
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

pub(super) async fn d1_the_journal_keeps_what_it_answered<S: Store>() {
    let mut store = company::<S>().await;
    let (table, counter) = (Arc::new(SessionTable::default()), Arc::new(Counter::default()));
    let ledger = store.lend(counter.clone()).await;
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
        assert_eq!(journal.submit(release(number, token)).await.unwrap(), Outcome::Committed(None));
    }
    assert_eq!(counter.entries.load(Ordering::Relaxed), 150);
    assert!(counter.commits.load(Ordering::Relaxed) < 150, "logins at the same time share commits");
    tokio::task::spawn_blocking(|| thread.stop()).await.unwrap();
    let mut store = store.reopen().await;
    assert_eq!(live_tokens(&mut store, at(0)).await, (51..=100).collect::<Vec<_>>());
}
