//! Row C5 as a figure: whether the time of a failed login tells why it failed. Logins that fail for different reasons
//! are sent one by one in random order, at the real cost of a hash, and compared with those of a wrong password by
//! Welch's t; below 5 is what the row asks for.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, ensure};
use doorward_domain::{
    audit::Origin,
    change::{Change, NewPassword},
    clock::Clock,
    credential::Password,
    directory::{Role, Status},
    doorkeeper::{LoginError, PasswordLogin},
    id::{OrganisationId, UnitId, UserId},
    passwords::Argon2Cost,
    random::Randomness,
    resource::{Organisation, Unit, User},
    rules::{Overrides, Rule},
};
use doorward_http::metrics::Metrics;
use doorward_storage::{Kind, SqliteStore};

use crate::{
    population::{Batches, name},
    product,
    system::{SystemRandomness, SystemTime},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An empty folder for the database.
    #[arg(long)]
    folder: PathBuf,
    /// How many logins of all kinds together.
    #[arg(long, default_value_t = 10_000)]
    logins: usize,
}

/// Why a login fails.
#[derive(Clone, Copy, PartialEq)]
enum Failure {
    WrongPassword,
    WrongPasswordOldHash,
    UnknownUser,
    UnknownOrganisation,
    Disabled,
    Suspended,
    Locked,
    AddressDenied,
}

const FAILURES: [(Failure, &str); 8] = [
    (Failure::WrongPassword, "wrong password"),
    (Failure::WrongPasswordOldHash, "wrong password, hash of half the cost"),
    (Failure::UnknownUser, "unknown user"),
    (Failure::UnknownOrganisation, "unknown organisation"),
    (Failure::Disabled, "disabled user"),
    (Failure::Suspended, "suspended organisation"),
    (Failure::Locked, "locked user, right password"),
    (Failure::AddressDenied, "address not allowed, right password"),
];

/// Accounts of each kind, so that none of them is locked by what is tried.
const ACCOUNTS: usize = 300;
const PASSWORD: &str = "the right password of all";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let clock = Clock::new(SystemTime);
    let mut store = SqliteStore::create(&args.folder, Kind::Real, &[])?;
    fill(&mut store, &clock)?;
    drop(store);
    tokio::runtime::Runtime::new()?.block_on(measure(args, clock))
}

fn fill(store: &mut SqliteStore, clock: &Clock) -> anyhow::Result<()> {
    let (now, random) = (clock.now(), &SystemRandomness);
    let mut batches = Batches::new(store);
    let password = Password::parse(PASSWORD).context("a password")?;
    let today = Argon2Cost::FLOOR.hash(&password, random)?;
    let half = Argon2Cost { memory_kib: Argon2Cost::FLOOR.memory_kib / 2, ..Argon2Cost::FLOOR };
    let old = half.hash(&password, random)?;
    let rule = |rule: Rule, text: &str| anyhow::Ok((rule, rule.read(text)?));
    for (code, status, overrides) in [
        ("NORMAL", Status::Active, vec![rule(Rule::LockoutFailures, "100")?]),
        ("SUSPENDED", Status::Disabled, vec![]),
        ("LOCKING", Status::Active, vec![rule(Rule::LockoutFailures, "1")?, rule(Rule::LockoutLock, "1h")?]),
        ("DENYING", Status::Active, vec![rule(Rule::AddressesDeny, "192.0.2.0/24")?]),
    ] {
        let (id, unit) = (OrganisationId::generate(now, random)?, UnitId::generate(now, random)?);
        let organisation =
            Organisation { id, code: name(code)?, name: code.into(), is_operator: false, status };
        batches.change(Change::CreateOrganisation(organisation), now)?;
        let main = Unit { id: unit, name: name("Main")?, status: Status::Active };
        batches.change(Change::CreateUnit { organisation: id, unit: main }, now)?;
        let overrides = Overrides::from_iter(overrides);
        batches.change(Change::SetRules { organisation: id, overrides, expected: None }, now)?;
        for (prefix, status, hash) in [
            ("user", Status::Active, &today),
            ("old", Status::Active, &old),
            ("disabled", Status::Disabled, &today),
        ] {
            for i in 0..ACCOUNTS {
                let user = User {
                    id: UserId::generate(now, random)?,
                    username: name(&format!("{prefix}{i}"))?,
                    person_name: None,
                    email: None,
                    role: Role::Member,
                    status,
                    units: vec![unit],
                    default_unit: Some(unit),
                };
                let password = Some(NewPassword { hash: hash.clone(), must_change: false });
                batches.change(Change::CreateUser { organisation: id, user, password }, now)?;
            }
        }
    }
    batches.commit()
}

fn login(kind: Failure, i: usize) -> anyhow::Result<PasswordLogin> {
    let account = i % ACCOUNTS;
    let (organisation, username, password) = match kind {
        Failure::WrongPassword => ("NORMAL", format!("user{account}"), "the wrong password of all"),
        Failure::WrongPasswordOldHash => ("NORMAL", format!("old{account}"), "the wrong password of all"),
        Failure::UnknownUser => ("NORMAL", format!("none{i}"), PASSWORD),
        Failure::UnknownOrganisation => ("NOBODY", format!("none{i}"), PASSWORD),
        Failure::Disabled => ("NORMAL", format!("disabled{account}"), PASSWORD),
        Failure::Suspended => ("SUSPENDED", format!("user{account}"), PASSWORD),
        Failure::Locked => ("LOCKING", format!("user{account}"), PASSWORD),
        Failure::AddressDenied => ("DENYING", format!("user{account}"), PASSWORD),
    };
    let password = Password::parse(password).context("a password")?;
    Ok(PasswordLogin { organisation: organisation.into(), username, password, unit: None })
}

async fn measure(args: &Args, clock: Clock) -> anyhow::Result<()> {
    let product = product::wire(&args.folder, clock, &Arc::new(Metrics::default()))?;
    let origin = Origin { address: Some(IpAddr::from([192, 0, 2, 7])), request_id: "benchmark".into() };
    for i in 0..ACCOUNTS {
        let mut wrong = login(Failure::Locked, i)?;
        wrong.password = Password::parse("the wrong password of all").context("a password")?;
        let refused = product.doorkeeper.log_in_with_password(wrong, &origin).await;
        ensure!(refused == Err(LoginError::InvalidCredentials) || refused.is_err(), "it is wrong");
    }
    let mut took: Vec<Vec<f64>> = vec![Vec::new(); FAILURES.len()];
    for i in 0..args.logins {
        let random = u32::from_ne_bytes((&SystemRandomness as &dyn Randomness).bytes()?);
        let kind = random as usize % FAILURES.len();
        let login = login(FAILURES[kind].0, i)?;
        let began = Instant::now();
        let refused = product.doorkeeper.log_in_with_password(login, &origin).await;
        took[kind].push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(
            matches!(refused, Err(LoginError::InvalidCredentials)),
            "{} was not refused",
            FAILURES[kind].1
        );
    }
    let (reference, _) = took.split_at(1);
    let reference = Sample::of(&reference[0]);
    println!("| why it fails | logins | mean | deviation | Welch's t |");
    println!("|---|---|---|---|---|");
    for ((kind, what), took) in FAILURES.iter().zip(&took) {
        let sample = Sample::of(took);
        let t = if *kind == Failure::WrongPassword { 0.0 } else { sample.welch(&reference) };
        println!(
            "| {what} | {} | {:.3} ms | {:.3} ms | {t:.2} |",
            took.len(),
            sample.mean,
            sample.variance.sqrt()
        );
    }
    Ok(())
}

struct Sample {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    /// Without the slowest twentieth, which is what else the machine did.
    fn of(took: &[f64]) -> Self {
        let mut took = took.to_vec();
        took.sort_unstable_by(f64::total_cmp);
        took.truncate(took.len() - took.len() / 20);
        let count = took.len() as f64;
        let mean = took.iter().sum::<f64>() / count;
        let variance = took.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { count, mean, variance }
    }

    fn welch(&self, other: &Self) -> f64 {
        (self.mean - other.mean) / (self.variance / self.count + other.variance / other.count).sqrt()
    }
}
