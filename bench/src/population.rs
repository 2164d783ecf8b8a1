//! Who is there: a hundred organisations of ten units, ten sessions a user, nine by password and one by Web API key; and
//! the operator organisation with one user, whose key may ask about all tokens.
//!
//! The token of session number `i` is `i` in hexadecimal, so that the load generator needs no list, and the key of user
//! number `i` is `E` and `i`. What is looked up is the SHA-256, and that of a counter is as evenly spread as that of a
//! random number.
//!
//! Sessions last long enough for a folder to be measured again days later.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::{Clock, Timestamp},
    credential::{Password, PlainKey, PlainToken},
    directory::{Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::{Entry, Outcome, Seen},
    name::Name,
    passwords::{Argon2Cost, PasswordHash},
    resource::{self, Classification, Key, NewSecret, Unit},
    session::{Identity, Method, Session, SessionNumber},
};
use doorward_storage::{Kind, SqliteStore};

use crate::system::{SystemRandomness, SystemTime};

const UNITS: usize = 10;
const SESSIONS_PER_USER: usize = 10;
/// Entries in one transaction.
const BATCH: usize = 20_000;
/// Sessions were issued and last used within this time before the start.
const PAST: Duration = Duration::from_secs(15 * 60);
/// How long the token of a password may be unused, and how long any lives.
const IDLE: Duration = Duration::from_hours(30 * 24);
const CAP: Duration = Duration::from_hours(365 * 24);

/// The password of every user.
const PASSWORD: &str = "the same password for all of them";

/// The key of the operator organisation's user.
pub(crate) const OPERATOR_KEY: &str = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";

/// The key of a user.
pub(crate) fn key(user: usize) -> String {
    format!("E{user:031X}")
}

/// How many users there are with so many sessions.
pub(crate) fn users(sessions: u32) -> usize {
    (sessions as usize).div_ceil(SESSIONS_PER_USER)
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many live sessions.
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u32,
    /// How many organisations share them.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    organisations: u32,
    /// A folder that is empty or not there.
    #[arg(long)]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut store = SqliteStore::create(&args.folder, Kind::Real, &[])?;
    fill(&mut store, args.sessions, args.organisations, &Clock::new(SystemTime))
}

struct Organisation {
    id: OrganisationId,
    code: String,
    units: Vec<(UnitId, String)>,
}

struct User {
    id: UserId,
    username: String,
    key: KeyId,
}

/// Fills an empty database.
fn fill(store: &mut SqliteStore, sessions: u32, organisations: u32, clock: &Clock) -> anyhow::Result<()> {
    let (began, now) = (Instant::now(), clock.now());
    let sessions = sessions as usize;
    let mut batches = Batches::new(store);

    let organisations = (0..organisations)
        .map(|i| found_organisation(&mut batches, &format!("ACME{i:03}"), false, now))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let operator = found_organisation(&mut batches, "OPERATOR", true, now)?;
    let mut users = Vec::with_capacity(sessions.div_ceil(SESSIONS_PER_USER));
    // A hash for each would take hours.
    let password = Password::parse(PASSWORD).context("a password")?;
    let hash = Argon2Cost::FLOOR.hash(&password, &SystemRandomness)?;
    for i in 0..users.capacity() {
        let organisation = &organisations[i % organisations.len()];
        let units = units_of(organisation, i / organisations.len()).map(|(id, _)| *id);
        let user = hire(&mut batches, organisation, &units, &format!("user{i:06}"), &key(i), &hash, now)?;
        users.push(user);
    }
    let (unit, _) = operator.units[0];
    hire(&mut batches, &operator, &[unit], "operator", OPERATOR_KEY, &hash, now)?;
    batches.commit()?;
    let issuing = Instant::now();
    for i in 0..sessions {
        // Sessions that follow each other are of different users, as those of a working day are.
        let (user, round) = (i % users.len(), i / users.len());
        let organisation = &organisations[user % organisations.len()];
        let unit = units_of(organisation, user / organisations.len())[usize::from(round % 4 == 3)];
        batches.push(issue(i, organisation, unit, &users[user], round == SESSIONS_PER_USER - 1, now)?)?;
    }
    batches.commit()?;
    let rate = sessions as f64 / issuing.elapsed().as_secs_f64();
    eprintln!("stored {} users with {sessions} sessions in {:.1?}", users.len(), began.elapsed());
    eprintln!("issued {rate:.0} sessions a second in transactions of {BATCH}");
    Ok(())
}

/// Stores an organisation with its units.
fn found_organisation(
    batches: &mut Batches<'_>,
    code: &str,
    is_operator: bool,
    now: Timestamp,
) -> anyhow::Result<Organisation> {
    let id = OrganisationId::generate(now, &SystemRandomness)?;
    let create = resource::Organisation {
        id,
        code: name(code)?,
        name: code.into(),
        is_operator,
        status: Status::Active,
    };
    batches.change(Change::CreateOrganisation(create), now)?;
    let mut units = Vec::with_capacity(UNITS);
    for j in 0..UNITS {
        let (unit, shown) = (UnitId::generate(now, &SystemRandomness)?, format!("Department {j:02}"));
        let create = Unit { id: unit, name: name(&shown)?, status: Status::Active };
        batches.change(Change::CreateUnit { organisation: id, unit: create }, now)?;
        units.push((unit, shown));
    }
    Ok(Organisation { id, code: code.into(), units })
}

/// Stores a user with a key.
fn hire(
    batches: &mut Batches<'_>,
    organisation: &Organisation,
    units: &[UnitId],
    username: &str,
    secret: &str,
    hash: &PasswordHash,
    now: Timestamp,
) -> anyhow::Result<User> {
    let user = User {
        id: UserId::generate(now, &SystemRandomness)?,
        username: username.into(),
        key: KeyId::generate(now, &SystemRandomness)?,
    };
    batches.change(
        Change::CreateUser {
            organisation: organisation.id,
            user: resource::User {
                id: user.id,
                username: name(username)?,
                person_name: None,
                email: None,
                role: Role::Member,
                status: Status::Active,
                units: units.to_vec(),
                default_unit: units.first().copied(),
            },
            password: Some(NewPassword { hash: hash.clone(), must_change: false }),
        },
        now,
    )?;
    let secret = PlainKey::parse(secret).context("a key")?;
    batches.change(
        Change::CreateKey {
            organisation: organisation.id,
            key: Key {
                id: user.key,
                user: user.id,
                name: "Benchmark".into(),
                classification: Classification::SystemicKey,
                status: Status::Active,
                verifier: true,
                allowed_addresses: Vec::new(),
                expires_at: None,
            },
            secret: NewSecret { digest: secret.digest(), hint: secret.hint() },
        },
        now,
    )?;
    Ok(user)
}

/// The two units that a user works in, by the user's place in the organisation.
fn units_of(organisation: &Organisation, first: usize) -> [&(UnitId, String); 2] {
    [first, first + 1].map(|unit| &organisation.units[unit % UNITS])
}

fn issue(
    i: usize,
    organisation: &Organisation,
    (unit, unit_name): &(UnitId, String),
    user: &User,
    is_by_key: bool,
    now: Timestamp,
) -> anyhow::Result<Entry> {
    let token = PlainToken::parse(format!("{i:032X}").as_bytes()).context("32 digits are a token")?;
    let ago = u64::try_from(i * 7919)? % u64::try_from(PAST.as_millis())?;
    let issued_at = Timestamp::from_millis(now.as_millis() - i64::try_from(ago)?);
    let event = if is_by_key { Event::WebApiKeyLogin } else { Event::PasswordLogin };
    Ok(Entry::Issue {
        session: Session {
            digest: token.digest(),
            issued_at,
            last_used_at: issued_at,
            idle: (!is_by_key).then_some(IDLE),
            ends_at: issued_at.plus(CAP),
        },
        identity: Identity {
            organisation: organisation.id,
            organisation_code: organisation.code.clone(),
            is_operator: false,
            unit: *unit,
            unit_name: unit_name.clone(),
            user: user.id,
            username: user.username.clone(),
            method: if is_by_key { Method::WebApiKey(user.key) } else { Method::Password },
        },
        seen: Seen {
            organisation: SessionNumber(0),
            unit: SessionNumber(0),
            user: SessionNumber(0),
            key: is_by_key.then_some(SessionNumber(0)),
        },
        known: None,
        audit: AuditRecord {
            organisation: Some(organisation.id),
            unit: Some(*unit),
            user: Some(user.id),
            ..AuditRecord::new(issued_at, event, Reason::Ok, &Origin::default())
        },
    })
}

pub(crate) fn name(name: &str) -> anyhow::Result<Name> {
    Name::new(name).with_context(|| format!("the name {name:?} cannot be one"))
}

/// Entries on their way into the database.
pub(crate) struct Batches<'a> {
    store: &'a mut SqliteStore,
    entries: Vec<Entry>,
}

impl Batches<'_> {
    pub(crate) fn new(store: &mut SqliteStore) -> Batches<'_> {
        Batches { store, entries: Vec::with_capacity(BATCH) }
    }

    pub(crate) fn change(&mut self, change: Change, now: Timestamp) -> anyhow::Result<()> {
        let audit = AuditRecord::new(now, Event::Created, Reason::Ok, &Origin::default());
        self.push(Entry::change(change, audit))
    }

    pub(crate) fn push(&mut self, entry: Entry) -> anyhow::Result<()> {
        self.entries.push(entry);
        if self.entries.len() < BATCH { Ok(()) } else { self.commit() }
    }

    pub(crate) fn commit(&mut self) -> anyhow::Result<()> {
        let outcomes = self.store.apply(&self.entries)?;
        if let Some(outcome) = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Committed(_))) {
            bail!("the database did not take an entry: {outcome:?}");
        }
        self.entries.clear();
        Ok(())
    }
}
