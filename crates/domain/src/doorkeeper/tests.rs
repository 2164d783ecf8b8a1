//! What cannot be seen from outside: where logins wait, and what has left memory and not yet the disk.

use std::{
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::{password_login::gate_of_nobody, *};
use crate::{
    attempts::{Gate, LockoutRules},
    clock::TimeSource,
    credential::{Password, PlainKey},
    directory::{Holder, NameLookup, OrganisationRecord, Role, StoreFuture, UserRecord},
    id::{KeyId, OrganisationId, UserId},
    journal::{Committed, Ledger, LedgerError},
    name::CanonicalName,
    observer::NoObserver,
    passwords::{Argon2Cost, HashingLimits},
    resource::Classification,
    rules::Overrides,
    session::SessionNumber,
    session_table::SessionTable,
};

struct Still;

impl TimeSource for Still {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
    fn steady(&self) -> Duration {
        Duration::ZERO
    }
}

struct Fixed;

impl Randomness for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.fill(7);
        Ok(())
    }
}

struct Paper;

impl Ledger for Paper {
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        Ok(vec![Outcome::Committed(None); batch.len()].into())
    }
}

/// Knows `zoe` of `acme`, and `dan`, who is disabled. Asked about `unreadable` it panics.
struct Acme;

impl Directory for Acme {
    fn find_by_name(
        &self,
        organisation: CanonicalName,
        username: CanonicalName,
    ) -> StoreFuture<'_, NameLookup> {
        let acme = || OrganisationRecord {
            id: OrganisationId::from_bytes([1; 16]),
            code: "acme".into(),
            is_operator: false,
            status: Status::Active,
            ended: SessionNumber(0),
            overrides: Overrides::new(),
        };
        let account = |user: u8, status| {
            let user = UserRecord {
                id: UserId::from_bytes([user; 16]),
                username: username.as_str().into(),
                role: Role::Member,
                status,
                ended: SessionNumber(0),
                password_hash: None,
                must_change_password: false,
                password_set_at: None,
                known_addresses: Vec::new(),
            };
            NameLookup::Found(Box::new(Account { organisation: acme(), user, units: Vec::new() }))
        };
        let found = match (organisation.as_str(), username.as_str()) {
            ("acme", "zoe") => account(2, Status::Active),
            ("acme", "dan") => account(3, Status::Disabled),
            ("acme", _) => NameLookup::UnknownUser(acme()),
            ("unreadable", _) => panic!("this organisation may not be read"),
            _ => NameLookup::UnknownOrganisation,
        };
        Box::pin(async { Ok(found) })
    }

    fn find_by_key(&self, _: KeyDigest) -> StoreFuture<'_, Option<(KeyRecord, Box<Account>)>> {
        Box::pin(async { Ok(None) })
    }

    fn find_holder(&self, _: UserId, _: Option<KeyId>) -> StoreFuture<'_, Option<Holder>> {
        Box::pin(async { Ok(None) })
    }

    fn list_names(&self, _: UserId) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// A doorkeeper whose one hashing thread never takes a password up.
fn with_hashing_at_a_stand() -> Doorkeeper {
    with_hashing_at_a_stand_over(Paper)
}

fn with_hashing_at_a_stand_over(ledger: impl Ledger) -> Doorkeeper {
    with_hashing_at_a_stand_among(Acme, ledger)
}

fn with_hashing_at_a_stand_among(directory: impl Directory + 'static, ledger: impl Ledger) -> Doorkeeper {
    let (clock, table) = (Clock::new(Still), Arc::new(SessionTable::default()));
    let (journal, _thread) = Journal::start(ledger, table.clone(), |problem| panic!("{problem}"));
    let limits = HashingLimits { threads: 1, queue: 100 };
    let cost = Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };
    let stand_still = || {
        loop {
            std::thread::park();
        }
    };
    let observer = Arc::new(NoObserver);
    let passwords =
        Passwords::start(limits, cost, &Fixed, clock.clone(), observer.clone(), stand_still).unwrap();
    let lockout = LockoutRules { failures: 3, ..LockoutRules::default() };
    Doorkeeper::new(Parts {
        clock: clock.clone(),
        random: Box::new(Fixed),
        sessions: Sessions::all_in(table, clock),
        journal,
        directory: Arc::new(directory),
        passwords,
        attempts: Attempts::new(100),
        rules: Rules { lockout, ..Rules::default() },
        observer,
    })
    .unwrap()
}

/// A disk that was full when sessions had left memory.
#[tokio::test]
async fn a_session_that_is_not_yet_remembered_on_disk_is_not_forgotten() {
    struct FullAtFirst(Vec<bool>);
    impl Ledger for FullAtFirst {
        fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
            let is_full = self.0.pop().unwrap_or(false);
            if is_full { Err(LedgerError::Full("no space".into())) } else { Paper.commit(batch) }
        }
    }
    let keeper = ManuallyDrop::new(with_hashing_at_a_stand_over(FullAtFirst(vec![true, true])));
    let token = PlainToken::generate(&Fixed).unwrap();
    let long_ago = Timestamp::from_millis(1_600_000_000_000);
    let session = Session {
        digest: token.digest(),
        issued_at: long_ago,
        last_used_at: long_ago,
        idle: None,
        ends_at: long_ago.plus(Duration::from_secs(1)),
    };
    let identity = Identity {
        organisation: OrganisationId::from_bytes([1; 16]),
        organisation_code: "ACME".into(),
        is_operator: false,
        unit: UnitId::from_bytes([2; 16]),
        unit_name: "Sales".into(),
        user: UserId::from_bytes([3; 16]),
        username: "zoe".into(),
        method: Method::Password,
    };
    keeper.parts.sessions.table().insert(SessionNumber(1), &session, &identity);
    let id = token.digest().session();
    for _ in 0..2 {
        assert!(matches!(keeper.sweep().await, Err(StoreError::Full(_))));
        assert!(keeper.parts.sessions.table().examine(id).is_none());
        assert_eq!(
            keeper.find_unswept(id).map(|past| (past.number, past.user)),
            Some((SessionNumber(1), identity.user))
        );
    }
    assert_eq!(keeper.sweep().await, Ok(0));
    assert_eq!(keeper.find_unswept(id), None, "the disk has it");
}

/// A store that others work on too: it has one key, and its user's sessions end without this instance hearing of it.
#[derive(Clone, Default)]
struct Elsewhere {
    user_ended: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

impl Directory for Elsewhere {
    fn find_by_name(&self, _: CanonicalName, _: CanonicalName) -> StoreFuture<'_, NameLookup> {
        Box::pin(async { Ok(NameLookup::UnknownOrganisation) })
    }

    fn find_by_key(&self, _: KeyDigest) -> StoreFuture<'_, Option<(KeyRecord, Box<Account>)>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let key = KeyRecord {
            id: KeyId::from_bytes([4; 16]),
            classification: Classification::SystemicKey,
            status: Status::Active,
            verifier: false,
            allowed_addresses: Vec::new(),
            expires_at: None,
            secret_ends_at: None,
            ended: SessionNumber(0),
        };
        let organisation = OrganisationRecord {
            id: OrganisationId::from_bytes([1; 16]),
            code: "acme".into(),
            is_operator: false,
            status: Status::Active,
            ended: SessionNumber(0),
            overrides: Overrides::new(),
        };
        let user = UserRecord {
            id: UserId::from_bytes([2; 16]),
            username: "zoe".into(),
            role: Role::Member,
            status: Status::Active,
            ended: SessionNumber(self.user_ended.load(Ordering::Relaxed)),
            password_hash: None,
            must_change_password: false,
            password_set_at: None,
            known_addresses: Vec::new(),
        };
        let unit = UnitRecord {
            id: UnitId::from_bytes([3; 16]),
            name: "Sales".into(),
            status: Status::Active,
            ended: SessionNumber(0),
            is_default: true,
        };
        Box::pin(async { Ok(Some((key, Box::new(Account { organisation, user, units: vec![unit] })))) })
    }

    fn find_holder(&self, _: UserId, _: Option<KeyId>) -> StoreFuture<'_, Option<Holder>> {
        Box::pin(async { Ok(None) })
    }

    fn list_names(&self, _: UserId) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl Ledger for Elsewhere {
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        let ended = SessionNumber(self.user_ended.load(Ordering::Relaxed));
        let outcome = |entry: &Entry| match entry {
            Entry::Issue { seen, .. } if seen.user != ended => Outcome::Refused,
            _ => Outcome::Committed(None),
        };
        Ok(batch.iter().map(outcome).collect::<Vec<_>>().into())
    }
}

#[tokio::test]
async fn a_key_is_read_once_and_again_when_its_account_has_changed() {
    let store = Elsewhere::default();
    let keeper = ManuallyDrop::new(with_hashing_at_a_stand_among(store.clone(), store.clone()));
    let (key, origin) = (PlainKey::parse("EE73C0AE64524371B5DDEFF5F7BB2192").unwrap(), Origin::default());
    let reads = || store.reads.load(Ordering::Relaxed);
    for _ in 0..2 {
        assert!(keeper.log_in_with_key(&key, None, &origin).await.is_ok());
        assert_eq!(reads(), 1);
    }
    // The key is as good as it was: that the sessions before ended is no reason to refuse the next.
    store.user_ended.store(7, Ordering::Relaxed);
    assert!(keeper.log_in_with_key(&key, None, &origin).await.is_ok());
    assert_eq!(reads(), 2);
    assert!(keeper.log_in_with_key(&key, Some(UnitId::from_bytes([9; 16])), &origin).await.is_err());
}

/// Logins sent together wait for each other whether or not there is an account; or else how long they take together
/// would tell.
#[test]
fn c5_as_many_are_hashed_at_once_with_an_account_as_without() {
    for (organisation, username) in
        [("acme", "zoe"), ("acme", "dan"), ("acme", "nobody"), ("nobody", "zoe"), ("\u{1}", "")]
    {
        // Its thread stands for ever, so its end must not be waited for, not even by a test that fails.
        let doorkeeper = ManuallyDrop::new(with_hashing_at_a_stand());
        let origin = Origin::default();
        let mut logins: Vec<_> = (0..10)
            .map(|_| {
                let login = PasswordLogin {
                    organisation: organisation.into(),
                    username: username.into(),
                    password: Password::parse("wrong").unwrap(),
                    unit: None,
                };
                Box::pin(doorkeeper.log_in_with_password(login, &origin))
            })
            .collect();
        for login in &mut logins {
            let polled = pin!(login).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
        }
        assert_eq!(doorkeeper.logins_waiting(), 3, "{organisation}/{username}");
        drop(logins);
        assert_eq!(doorkeeper.logins_waiting(), 0, "o1: hanging up frees the places");
    }
}

/// In a storm the excess is refused before the directory is asked.
#[test]
fn o1_a_login_that_finds_the_queue_full_is_refused_before_anything_is_read() {
    let doorkeeper = ManuallyDrop::new(with_hashing_at_a_stand());
    let origin = Origin::default();
    let poll = |login: &mut Pin<Box<dyn Future<Output = _> + '_>>| {
        login.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    let log_in = |organisation: String| {
        let login = PasswordLogin {
            organisation,
            username: "zoe".into(),
            password: Password::parse("wrong").unwrap(),
            unit: None,
        };
        Box::pin(doorkeeper.log_in_with_password(login, &origin)) as Pin<Box<dyn Future<Output = _>>>
    };
    let mut logins: Vec<_> = (0..100).map(|number| log_in(format!("unknown{number}"))).collect();
    for login in &mut logins {
        assert!(poll(login).is_pending());
    }
    assert_eq!(doorkeeper.logins_waiting(), 100);
    let mut excess = log_in("unreadable".into());
    assert!(matches!(poll(&mut excess), Poll::Ready(Err(LoginError::Unavailable(_)))));
    drop(logins);
    let mut next = log_in("unreadable".into());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut next))).is_err(), "now it is read");
}

#[test]
fn c5_names_of_nobody_have_a_gate_that_only_the_server_can_tell() {
    let gate = |key: u8, organisation: &str, username: &str| {
        gate_of_nobody(&[key; 16], &(CanonicalName::new(organisation), CanonicalName::new(username)))
    };
    assert_eq!(gate(1, "ACME", "nobody"), gate(1, "acme", "NOBODY"));
    let other = [gate(2, "ACME", "nobody"), gate(1, "ACME", "nobody2"), gate(1, "ACME2", "nobody")];
    assert!(!other.contains(&gate(1, "ACME", "nobody")));
    assert_eq!(gate(1, "\u{1}", "nobody"), gate(1, "\u{2}", "nobody"), "what cannot be a name has one too");
}

#[test]
fn l4_a_client_has_a_gate_of_its_own_while_it_is_known() {
    use crate::directory::KnownAddress;
    let doorkeeper = ManuallyDrop::new(with_hashing_at_a_stand());
    let now = Still.wall();
    let month = Duration::from_secs(30 * 24 * 3600);
    let user = |succeeded_at| UserRecord {
        id: UserId::from_bytes([2; 16]),
        username: "zoe".into(),
        role: Role::Member,
        status: Status::Active,
        ended: SessionNumber(0),
        password_hash: None,
        must_change_password: false,
        password_set_at: None,
        known_addresses: ["10.0.0.1", "2001:db8::/64"]
            .map(|network| KnownAddress { network: network.parse().unwrap(), succeeded_at })
            .to_vec(),
    };
    let gate = |user: &UserRecord, from: &str| {
        let address = (!from.is_empty()).then(|| from.parse().unwrap());
        match doorkeeper.gate_of(user, &Origin { address, ..Origin::default() }) {
            Gate::User(id, network) if id == user.id => network.map(|network| network.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let recent = user(now);
    assert_eq!(gate(&recent, "10.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(gate(&recent, "::ffff:10.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(
        gate(&recent, "2001:db8::7").as_deref(),
        Some("2001:db8::/64"),
        "a client has a /64 to itself"
    );
    for elsewhere in ["10.0.0.2", "2001:db8:0:1::7", ""] {
        assert_eq!(gate(&recent, elsewhere), None);
    }
    let before = |time: Duration| Timestamp::from_millis(now.as_millis() - time.as_millis() as i64);
    assert!(gate(&user(before(month - Duration::from_millis(1))), "10.0.0.1").is_some());
    assert!(gate(&user(before(month)), "10.0.0.1").is_none(), "it is known for a month");
}
