//! Both stores at once: whatever is submitted to both comes to the same in both, but for the numbers of sessions.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use doorward_domain::{
    audit::{
        AuditRecord, Event, Origin, Reason,
        chain::{RecordFilter, StoredRecord},
    },
    catalogue::Catalogue,
    change::{Change, Once},
    clock::Timestamp,
    directory::{Directory, NameLookup, Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, KeyUse, Outcome, Seen},
    name::CanonicalName,
    resource::{
        Key, KeyFilter, Organisation, OrganisationFilter, PageRequest, Revision, Unit, UnitFilter, User,
        UserFilter,
    },
    rules::Rule,
    session::{Departed, Method, Scope, SessionNumber},
    session_table::{SHARDS, SessionFilter, SessionTable},
};
use doorward_testkit::conformance::{
    Store,
    company::{self, *},
};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::{postgres::Postgres, sqlite::Sqlite};

const ORGANISATIONS: [OrganisationId; 3] = [ACME, GLOBEX, OrganisationId::from_bytes([3; 16])];
const UNITS: [UnitId; 4] = [SALES, LAB, GLOBEX_UNIT, UnitId::from_bytes([14; 16])];
const USERS: [UserId; 4] = [ZOE, GLOBEX_USER, UserId::from_bytes([20; 16]), UserId::from_bytes([23; 16])];
const KEYS: [KeyId; 3] = [KEY, KeyId::from_bytes([30; 16]), KeyId::from_bytes([32; 16])];
const NAMES: [&str; 6] = ["ACME", "Globex", "Zoë", "Sales", "Lab", "İnitech ß"];
const SECRETS: [u8; 4] = [31, 32, 41, 42];
const HASHES: [&str; 3] = ["first", "second", "third"];

/// What is submitted, before it is known which numbers the store gives out: bytes from which entries are made.
type Die = [u8; 12];

/// Dice that were thrown, taken one after the other.
struct Dice(std::array::IntoIter<u8, 12>);

impl Dice {
    /// A number below this one.
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().unwrap_or_default()) % end
    }

    fn one<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// The first of them mostly, so that most of what is made fits together.
    fn mostly<T: Clone>(&mut self, likely: T, all: &[T]) -> T {
        if self.below(4) > 0 { likely } else { self.one(all) }
    }

    fn is(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What is known of a store: what it was told, and which numbers it has given out.
struct Known<S> {
    store: S,
    /// Numbers by the place of the entry that took them.
    numbers: HashMap<usize, SessionNumber>,
    /// The entry of each token's session.
    tokens: Vec<(usize, Entry)>,
    /// Marks as they were before the batch.
    marks: HashMap<[u8; 16], SessionNumber>,
    names: HashMap<[u8; 16], String>,
    entries: usize,
    /// What came of each entry.
    outcomes: Vec<Came>,
}

/// What came of an entry, in which all stores are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// It took a number.
    Numbered,
    /// Something is taken; where two things are, the one or the other is named.
    Taken,
    To(Outcome),
}

/// What can be read of a store.
struct Readable {
    all: Vec<String>,
    /// What is told of sessions that have ended, by the places of their entries.
    ended: BTreeMap<usize, String>,
    live_now: BTreeSet<usize>,
}

fn scope_id(scope: Scope) -> [u8; 16] {
    match scope {
        Scope::Organisation(id) => id.to_bytes(),
        Scope::Unit(id) => id.to_bytes(),
        Scope::User(id) => id.to_bytes(),
        Scope::Key(_, id) => id.to_bytes(),
    }
}

impl<S: Store> Known<S> {
    async fn new() -> Self {
        let names = [
            (ACME.to_bytes(), "ACME"),
            (GLOBEX.to_bytes(), "Globex"),
            (SALES.to_bytes(), "Sales"),
            (LAB.to_bytes(), "Lab"),
            (GLOBEX_UNIT.to_bytes(), "Sales"),
            (ZOE.to_bytes(), "Zoë"),
            (GLOBEX_USER.to_bytes(), "Zoë"),
        ];
        let mut known = Self {
            store: S::create().await,
            numbers: HashMap::new(),
            tokens: Vec::new(),
            marks: HashMap::new(),
            names: names.map(|(id, name)| (id, name.to_owned())).into(),
            entries: 0,
            outcomes: Vec::new(),
        };
        known.apply(both_companies().into_iter().map(changed).collect()).await;
        known
    }

    fn mark(&self, id: [u8; 16]) -> SessionNumber {
        self.marks.get(&id).copied().unwrap_or(ZERO)
    }

    fn name(&self, id: [u8; 16]) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| "nobody".into())
    }

    /// The number of some session, or one that nobody has.
    fn some_session(&self, dice: &mut Dice) -> (SessionNumber, Option<&Entry>) {
        let Some((place, entry)) = self.tokens.get(dice.below(self.tokens.len() + 1)) else {
            return (SessionNumber(1 << 40), None);
        };
        (self.numbers.get(place).copied().unwrap_or(SessionNumber(1 << 40)), Some(entry))
    }

    /// Commits entries and takes note of what came of them.
    async fn apply(&mut self, batch: Vec<Entry>) {
        let outcomes = self.store.apply(&batch).await.unwrap();
        assert_eq!(outcomes.len(), batch.len());
        let mut highest = SessionNumber(self.numbers.values().map(|number| number.0).max().unwrap_or(0));
        for (entry, outcome) in batch.into_iter().zip(outcomes) {
            let place = self.entries;
            self.entries += 1;
            let Outcome::Committed(number) = outcome else {
                let is_taken = matches!(outcome, Outcome::Taken(_));
                self.outcomes.push(if is_taken { Came::Taken } else { Came::To(outcome) });
                continue;
            };
            if let Some(number) = number {
                assert!(number > highest, "numbers only grow");
                highest = number;
                self.numbers.insert(place, number);
            }
            self.outcomes.push(number.map_or(Came::To(outcome), |_| Came::Numbered));
            match &entry {
                Entry::Issue { .. } => self.tokens.push((place, entry)),
                Entry::Change { change, .. } => {
                    let (id, name) = match change {
                        Change::CreateOrganisation(new) => (new.id.to_bytes(), new.code.to_string()),
                        Change::CreateUnit { unit, .. } => (unit.id.to_bytes(), unit.name.to_string()),
                        Change::CreateUser { user, .. } => (user.id.to_bytes(), user.username.to_string()),
                        change => match change.renames() {
                            Some((_, scope, name)) => (scope_id(scope), name.to_owned()),
                            None => continue,
                        },
                    };
                    self.names.insert(id, name);
                }
                _ => {}
            }
        }
    }

    /// Makes an entry of dice, at this second. Uses are older than the batch: what comes behind a release was before it.
    fn entry(&self, die: Die, token: u8, began: Timestamp, now: Timestamp) -> Entry {
        let dice = &mut Dice(die.into_iter());
        let audit = |event, organisation, dice: &mut Dice| AuditRecord {
            organisation,
            actor: dice.is().then_some(GLOBEX_USER),
            ..AuditRecord::new(now, event, Reason::Ok, &Origin::default())
        };
        match dice.below(16) {
            0..=4 => self.issue(dice, token, now),
            5 => {
                let (number, entry) = self.some_session(dice);
                let token = match entry {
                    Some(Entry::Issue { session, .. }) => session.digest.session(),
                    _ => digest(255).session(),
                };
                let audit = audit(Event::Release, Some(ACME), dice);
                Entry::Release { number, session: token, last_used_at: now, audit }
            }
            6 => {
                let table = SessionTable::default();
                for _ in 0..3 {
                    let (number, entry) = self.some_session(dice);
                    if let Some(Entry::Issue { session, identity, .. }) = entry {
                        table.insert(number, session, identity);
                        table.slide(&session.digest, began);
                    }
                }
                Entry::Uses(
                    (0..SHARDS).flat_map(|shard| table.due_uses(shard, began, Duration::ZERO)).collect(),
                )
            }
            7 => {
                let uses = (0..3).map(|_| KeyUse {
                    secret: key_digest(dice.one(&SECRETS)),
                    at: now.minus(Duration::from_secs(dice.below(9) as u64)),
                    from: dice.is().then(|| "10.0.0.1".parse().unwrap()),
                });
                Entry::KeyUses(uses.collect())
            }
            8 => match dice.below(6) {
                0 => Entry::Tick(now),
                1 => Entry::ForgetOnce(now.minus(Duration::from_secs(dice.below(20) as u64))),
                2 => Entry::Record(audit(Event::WebApiKeyLogin, dice.is().then_some(ACME), dice)),
                3 => {
                    let (from, to) = (hash(dice.one(&HASHES)), hash(dice.one(&HASHES)));
                    Entry::Rehash { organisation: dice.one(&ORGANISATIONS), user: dice.one(&USERS), from, to }
                }
                4 => {
                    let organisation = dice.one(&ORGANISATIONS);
                    let audit = audit(Event::Deleted, Some(organisation), dice);
                    Entry::DeleteUsers { organisation, limit: dice.below(3), audit }
                }
                _ => {
                    let (number, _) = self.some_session(dice);
                    let departed = Departed { number, organisation: Some(ACME), last_used_at: now };
                    Entry::Forget { sessions: vec![departed], at: now }
                }
            },
            _ => {
                let (change, organisation) = self.change(dice);
                let is_creation = matches!(change, Change::CreateUnit { .. } | Change::CreateUser { .. });
                let once = (is_creation && dice.is()).then(|| Once {
                    caller: ZOE,
                    key: [dice.below(3) as u8; 32],
                    request: [0; 32],
                    made: [9; 16],
                });
                Entry::Change { change, once, audit: audit(Event::Updated, Some(organisation), dice) }
            }
        }
    }

    fn issue(&self, dice: &mut Dice, token: u8, now: Timestamp) -> Entry {
        let (user, unit, organisation) = dice.mostly(
            (ZOE, SALES, ACME),
            &[
                (ZOE, LAB, ACME),
                (GLOBEX_USER, GLOBEX_UNIT, GLOBEX),
                (USERS[2], LAB, ACME),
                (USERS[3], UNITS[3], ORGANISATIONS[2]),
                (ZOE, SALES, GLOBEX),
            ],
        );
        let key = dice.is().then(|| dice.mostly(KEY, &KEYS));
        let seen = Seen {
            organisation: self.mark(organisation.to_bytes()),
            unit: self.mark(unit.to_bytes()),
            user: self.mark(user.to_bytes()),
            key: key.map(|key| self.mark(key.to_bytes())),
        };
        let mut entry = issue_by(key.map_or(Method::Password, Method::WebApiKey), token, seen);
        if let Entry::Issue { session, identity, known, audit, .. } = &mut entry {
            (session.issued_at, session.last_used_at) = (now, now);
            session.idle = dice.one(&[None, Some(HOUR), Some(Duration::from_secs(20))]);
            session.ends_at = now.plus(dice.one(&[HOUR, Duration::from_secs(60), 48 * HOUR]));
            (identity.organisation, identity.unit, identity.user) = (organisation, unit, user);
            identity.organisation_code = self.name(organisation.to_bytes());
            identity.unit_name = self.name(unit.to_bytes());
            identity.username = self.name(user.to_bytes());
            *known = dice.is().then(|| dice.one(&["10.0.0.1", "10.0.0.2", "2001:db8::/64"]).parse().unwrap());
            (audit.at, audit.organisation) = (now, Some(organisation));
            audit.origin.address = dice.is().then(|| "2001:db8::7".parse().unwrap());
        }
        entry
    }

    fn change(&self, dice: &mut Dice) -> (Change, OrganisationId) {
        let organisation = dice.mostly(ACME, &ORGANISATIONS);
        let kind = dice.below(16);
        let status = dice.mostly(Status::Active, &[Status::Disabled]);
        let expected = dice.mostly(None, &[Some(Revision(1)), Some(Revision(2)), Some(Revision(3))]);
        let (user_id, unit_id, key_id) = (dice.one(&USERS), dice.one(&UNITS), dice.one(&KEYS));
        let shown = dice.one(&NAMES);
        let user = |dice: &mut Dice| User {
            status,
            role: dice.one(&[Role::Member, Role::Administrator]),
            email: dice.is().then(|| "Zoe@Example.COM".into()),
            ..company::user(user_id, shown, [&[unit_id][..], &[SALES], &[LAB, SALES], &[]][dice.below(4)])
        };
        let change = match kind {
            0 => Change::CreateOrganisation(Organisation {
                status,
                ..company::organisation(organisation, shown)
            }),
            1 => Change::UpdateOrganisation {
                organisation: Organisation { status, ..company::organisation(organisation, shown) },
                expected,
            },
            2 if dice.is() => Change::DeleteOrganisation { id: organisation, expected },
            2 | 3 => {
                let rules = [
                    (Rule::PasswordsMinLength, "20"),
                    (Rule::PasswordsMaxAge, "never"),
                    (Rule::AddressesDeny, "10.0.0.0/8,::1"),
                ];
                let count = dice.below(4);
                let overrides = rules[..count].iter().map(|(rule, text)| (*rule, rule.read(text).unwrap()));
                Change::SetRules { organisation, overrides: overrides.collect(), expected }
            }
            4 => Change::CreateUnit { organisation, unit: Unit { status, ..company::unit(unit_id, shown) } },
            5 => Change::UpdateUnit {
                organisation,
                unit: Unit { status, ..company::unit(unit_id, shown) },
                expected,
            },
            6 => Change::DeleteUnit { organisation, id: unit_id, expected },
            7 => Change::CreateUser {
                organisation,
                user: user(dice),
                password: dice.is().then(|| password("first")),
            },
            8 => Change::UpdateUser { organisation, user: user(dice), expected, ends_sessions: dice.is() },
            9 => Change::DeleteUser { organisation, id: user_id, expected },
            10 => {
                let (password, replaces) =
                    (password(dice.one(&HASHES)), dice.is().then(|| hash(dice.one(&HASHES))));
                Change::SetPassword { organisation, user: user_id, password, replaces }
            }
            11 => Change::CreateKey {
                organisation,
                key: Key { status, ..key(key_id, user_id) },
                secret: secret(dice.one(&SECRETS)),
            },
            12 => Change::UpdateKey { organisation, key: Key { status, ..key(key_id, user_id) }, expected },
            13 => Change::RotateKey {
                organisation,
                user: dice.mostly(ZOE, &USERS),
                id: key_id,
                secret: secret(dice.one(&SECRETS)),
                overlap_until: dice.is().then(|| at(1_000 * dice.below(200) as i64)),
                expected,
            },
            14 => Change::DeleteKey { organisation, user: dice.mostly(ZOE, &USERS), id: key_id, expected },
            _ => {
                let scope = match dice.below(4) {
                    0 => Scope::Organisation(organisation),
                    1 => Scope::Unit(unit_id),
                    2 => Scope::User(user_id),
                    _ => Scope::Key(dice.mostly(ZOE, &USERS), key_id),
                };
                Change::EndSessions { organisation, scope }
            }
        };
        (change, organisation)
    }

    /// The place of the last entry whose number is not above this one. Of a mark it says as much as the mark itself: a
    /// store may put the mark of something new on a number that it never gave out.
    fn place(&self, number: SessionNumber) -> Option<usize> {
        let reached = self.numbers.iter().filter(|(_, known)| **known <= number);
        reached.max_by_key(|(_, known)| **known).map(|(place, _)| *place)
    }

    /// Looks at the marks that logins decide on.
    async fn see(&mut self) {
        self.marks.clear();
        for organisation in ORGANISATIONS.map(|id| self.name(id.to_bytes())) {
            for user in USERS.map(|id| self.name(id.to_bytes())) {
                let names = (canonical(&organisation), canonical(&user));
                let found = self.store.directory().find_by_name(names.0, names.1).await.unwrap();
                if let NameLookup::Found(account) = found {
                    self.marks.insert(account.organisation.id.to_bytes(), account.organisation.ended);
                    self.marks.insert(account.user.id.to_bytes(), account.user.ended);
                    self.marks.extend(account.units.iter().map(|unit| (unit.id.to_bytes(), unit.ended)));
                }
            }
        }
        for secret in SECRETS {
            if let Some((key, _)) = self.store.directory().find_by_key(key_digest(secret)).await.unwrap() {
                self.marks.insert(key.id.to_bytes(), key.ended);
            }
        }
    }

    /// All that can be read, as text without numbers of sessions.
    async fn read(&mut self, now: Timestamp) -> Readable {
        let (mut all, mut ended, mut live_now) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let page = || PageRequest { after: None, limit: 1_000 };
        let directory = self.store.directory();
        let organisations =
            directory.list_organisations(OrganisationFilter::default(), page()).await.unwrap();
        all.push(format!("{:?}", organisations.items));
        for organisation in ORGANISATIONS {
            all.push(format!(
                "{:?}",
                directory.list_units(organisation, UnitFilter::default(), page()).await
            ));
            all.push(format!(
                "{:?}",
                directory.list_users(organisation, UserFilter::default(), page()).await
            ));
            for unit in UNITS.map(Some) {
                let filter = UserFilter { unit, ..UserFilter::default() };
                all.push(format!("{:?}", directory.list_users(organisation, filter, page()).await));
            }
            let mut keys = directory.list_keys(organisation, KeyFilter::default(), page()).await.unwrap();
            for key in &mut keys.items {
                // Those that were made in one second are in no order.
                key.secrets
                    .sort_by_key(|secret| (secret.ends_at.is_some(), secret.created_at, secret.hint.clone()));
            }
            all.push(format!("{keys:?}"));
            all.push(format!("{:?}", directory.get_overrides(organisation).await));
            all.push(format!("{:?}", directory.find_chain(Some(organisation)).await));
            let records = directory.list_records(Some(organisation), RecordFilter::default(), page()).await;
            let records: Vec<StoredRecord> = records.unwrap().items;
            all.push(format!("{records:?}"));
        }
        let names = NAMES.map(|name| CanonicalName::new(name).unwrap());
        for organisation in &names {
            for user in &names {
                match directory.find_by_name(organisation.clone(), user.clone()).await.unwrap() {
                    NameLookup::Found(account) => {
                        let mut account = *account;
                        all.push(format!("{:?}", self.place(take(&mut account.organisation.ended))));
                        all.push(format!("{:?}", self.place(take(&mut account.user.ended))));
                        for unit in &mut account.units {
                            all.push(format!("{:?}", self.place(take(&mut unit.ended))));
                        }
                        all.push(format!("{account:?}"));
                    }
                    NameLookup::UnknownUser(mut found) => {
                        all.push(format!("{:?}", self.place(take(&mut found.ended))));
                        all.push(format!("{found:?}"));
                    }
                    NameLookup::UnknownOrganisation => all.push("unknown".into()),
                }
            }
        }
        for secret in SECRETS {
            let found = directory.find_by_key(key_digest(secret)).await.unwrap();
            all.push(match found {
                Some((mut key, account)) => {
                    let mark = self.place(take(&mut key.ended));
                    format!("{mark:?} {key:?} {:?}", account.user.id)
                }
                None => "unknown".into(),
            });
        }
        for user in USERS {
            all.push(format!("{:?}", directory.list_names(user).await));
            for key in KEYS.map(Some).into_iter().chain([None]) {
                all.push(format!("{:?}", directory.find_holder(user, key).await));
            }
        }
        for key in 0..3 {
            all.push(format!("{:?}", directory.find_once(ZOE, [key; 32]).await));
        }
        all.push(format!("{:?}", directory.find_oldest_record().await));
        for (place, entry) in &self.tokens {
            let Entry::Issue { session, .. } = entry else { unreachable!() };
            let numbers = vec![self.numbers[place]];
            let addresses = directory.list_session_addresses(numbers).await.unwrap();
            all.push(format!(
                "{place} {:?}",
                addresses.iter().map(|(_, address)| address).collect::<Vec<_>>()
            ));
            if let Some(mut past) = directory.find_ended_session(session.digest.session()).await.unwrap() {
                let ending = directory.find_ending(past.clone()).await.unwrap();
                assert_eq!(take(&mut past.number), self.numbers[place]);
                ended.insert(*place, format!("{past:?} {ending:?}"));
            }
        }
        // Last, for a start with SQLite moves what has ended out of the way.
        for later in [0, 15, 50, 3_000, 90_000] {
            let now = now.plus(Duration::from_secs(later));
            let tokens: Vec<_> = self
                .tokens
                .iter()
                .map(|(_, entry)| match entry {
                    Entry::Issue { session, .. } => session.digest,
                    _ => unreachable!(),
                })
                .collect();
            let live = self.store.find_live(&tokens, now).await;
            let mut listed = Vec::new();
            for organisation in ORGANISATIONS {
                let found =
                    self.store.list_live(organisation, SessionFilter::default(), None, 1_000, now).await;
                listed.extend(found);
            }
            for mut found in live.into_iter().flatten().chain(listed) {
                let place = self.place(take(&mut found.number));
                all.push(format!("{later} {place:?} {found:?}"));
                live_now.extend(place.filter(|_| later == 0));
            }
        }
        Readable { all, ended, live_now }
    }
}

/// Takes a number out of what is shown.
fn take(number: &mut SessionNumber) -> SessionNumber {
    std::mem::replace(number, ZERO)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    #[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
    fn both_stores_come_to_the_same(
        batches in prop::collection::vec(prop::collection::vec(any::<Die>(), 1..14), 1..8),
    ) {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (mut one, mut other) = (Known::<Sqlite>::new().await, Known::<Postgres>::new().await);
            let mut now = at(0);
            let mut token = 0;
            for batch in batches {
                let (mut entries, began) = ((Vec::new(), Vec::new()), now);
                one.see().await;
                other.see().await;
                for die in batch {
                    now = now.plus(Duration::from_secs(1));
                    token += 1;
                    entries.0.push(one.entry(die, token, began, now));
                    entries.1.push(other.entry(die, token, began, now));
                }
                let told = format!("{:#?}", entries.1);
                one.apply(entries.0).await;
                other.apply(entries.1).await;
                prop_assert_eq!(&one.outcomes, &other.outcomes, "{}", told);
            }
            let (of_one, of_other) = (one.read(now).await, other.read(now).await);
            for (of_one, of_other) in of_one.all.iter().zip(&of_other.all) {
                prop_assert_eq!(of_one, of_other);
            }
            prop_assert_eq!(of_one.all.len(), of_other.all.len());
            // Over SQLite, memory tells of what has ended until it is swept; PostgreSQL tells of all.
            for (place, of_one) in &of_one.ended {
                prop_assert_eq!(Some(of_one), of_other.ended.get(place));
            }
            prop_assert!(of_other.ended.keys().all(|place| !of_other.live_now.contains(place)));
            Ok(())
        })?;
    }
}
