//! What administrators wait for with a million users: look-ups, pages of lists, and the end of a user's many sessions.
//! Everything but HTTP is in it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use doorward_domain::{
    administration::{Tenant, WhichSessions},
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::Clock,
    credential::{Password, PlainToken},
    directory::{Role, Status},
    id::{OrganisationId, UnitId, UserId},
    journal::{Entry, Seen},
    lifetimes::Lifetimes,
    passwords::{Argon2Cost, PasswordHash},
    resource::{Organisation, OrganisationFilter, PageRequest, Unit, User, UserFilter},
    session::{Identity, Method, Session, SessionNumber},
    session_table::SessionFilter,
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
    /// How many organisations there are; the first has a tenth of all users, the others share the rest.
    #[arg(long, default_value_t = 1_000)]
    organisations: usize,
    /// How many users there are.
    #[arg(long, default_value_t = 1_000_000)]
    users: usize,
    /// How many sessions one user has.
    #[arg(long, default_value_t = 100_000)]
    sessions: usize,
    /// How often each thing is done.
    #[arg(long, default_value_t = 200)]
    times: usize,
}

/// The number of the operator organisation, whose first user is the administrator.
const OPERATOR: usize = 1;
/// The number of the user who has many sessions.
const BUSY: usize = 5;

/// The token of the administrator.
const TOKEN: &str = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";

struct World {
    large: OrganisationId,
    unit: UnitId,
    users: Vec<UserId>,
    busy: UserId,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let clock = Clock::new(SystemTime);
    let mut store = SqliteStore::create(&args.folder, Kind::Real, &[])?;
    let world = fill(&mut store, args, &clock)?;
    drop(store);
    tokio::runtime::Runtime::new()?.block_on(measure(args, &world, clock))
}

fn fill(store: &mut SqliteStore, args: &Args, clock: &Clock) -> anyhow::Result<World> {
    let (began, now) = (Instant::now(), clock.now());
    let random = &SystemRandomness;
    let mut batches = Batches::new(store);
    let hash = Argon2Cost::FLOOR.hash(&Password::generate(random)?, random)?;
    let of_the_large = args.users / 10;
    let of_others = (args.users - of_the_large) / (args.organisations - 1).max(1);
    let (mut large, mut operator) = (None, None);
    for i in 0..args.organisations {
        let (id, unit, other) = (
            OrganisationId::generate(now, random)?,
            UnitId::generate(now, random)?,
            UnitId::generate(now, random)?,
        );
        let code = name(&format!("ACME{i:04}"))?;
        batches.change(
            Change::CreateOrganisation(Organisation {
                id,
                name: code.to_string(),
                code,
                is_operator: i == OPERATOR,
                status: Status::Active,
            }),
            now,
        )?;
        for (unit, text) in [(unit, "Sales"), (other, "Lab")] {
            let unit = Unit { id: unit, name: name(text)?, status: Status::Active };
            batches.change(Change::CreateUnit { organisation: id, unit }, now)?;
        }
        let count = if i == 0 { of_the_large } else { of_others };
        let mut users = Vec::with_capacity(count);
        for j in 0..count {
            // One in a thousand works elsewhere or is disabled.
            let units = if j % 1_000 == 1 { vec![other] } else { vec![unit] };
            let status = if j % 1_000 == 2 { Status::Disabled } else { Status::Active };
            users.push(UserId::generate(now, random)?);
            let user = User {
                id: users[j],
                username: name(&username(j, i))?,
                person_name: Some(format!("Person {j}")),
                email: Some(format!("user{j}@acme{i}.example")),
                role: Role::Administrator,
                status,
                default_unit: Some(units[0]),
                units,
            };
            batches.change(create(id, user, &hash), now)?;
        }
        if i == OPERATOR {
            operator = Some((id, unit, users[0]));
        } else if i == 0 {
            large = Some((id, unit, other, users));
        }
    }
    let (large, unit, other, users) = large.context("two organisations at least")?;
    let operator = operator.context("two organisations at least")?;
    let busy = users[BUSY];
    let tokens = (0..args.sessions).map(|i| format!("{i:032X}")).chain([TOKEN.to_owned()]);
    for (i, token) in tokens.enumerate() {
        let (organisation, number) = if i == args.sessions { (OPERATOR, 0) } else { (0, BUSY) };
        let (organisation_id, unit, user) = if i == args.sessions { operator } else { (large, unit, busy) };
        let lifetimes = Lifetimes::default();
        batches.push(Entry::Issue {
            session: Session {
                digest: PlainToken::parse(token.as_bytes()).context("32 digits are a token")?.digest(),
                issued_at: now,
                last_used_at: now,
                idle: Some(lifetimes.password_idle),
                ends_at: now.plus(lifetimes.password_cap),
            },
            identity: Identity {
                organisation: organisation_id,
                organisation_code: format!("ACME{organisation:04}"),
                is_operator: organisation == OPERATOR,
                unit,
                unit_name: "Sales".into(),
                user,
                username: username(number, organisation),
                method: Method::Password,
            },
            seen: Seen {
                organisation: SessionNumber(0),
                unit: SessionNumber(0),
                user: SessionNumber(0),
                key: None,
            },
            known: None,
            audit: AuditRecord::new(now, Event::PasswordLogin, Reason::Ok, &Origin::default()),
        })?;
    }
    batches.commit()?;
    eprintln!("stored {} users and {} sessions in {:.1?}", args.users, args.sessions + 1, began.elapsed());
    Ok(World { large, unit: other, users, busy })
}

fn username(number: usize, organisation: usize) -> String {
    format!("user{number:06}.{organisation}")
}

fn create(organisation: OrganisationId, user: User, hash: &PasswordHash) -> Change {
    let password = NewPassword { hash: hash.clone(), must_change: false };
    Change::CreateUser { organisation, user, password: Some(password) }
}

async fn measure(args: &Args, world: &World, clock: Clock) -> anyhow::Result<()> {
    let product = product::wire(&args.folder, clock, &Arc::new(Metrics::default()))?;
    let token = PlainToken::parse(TOKEN.as_bytes()).context("32 digits are a token")?;
    let administrator = product.administration.admit(&token, &Origin::default()).await?;
    let tenant = administrator.enter(&world.large.to_string()).await?;
    let first = |limit| PageRequest { after: None, limit };
    println!("| what | median | p99 | longest |");
    println!("|---|---|---|---|");

    let mut table = Table::new(args.times);
    table
        .row("admit an administrator and enter an organisation by code", async |i| {
            let administrator = product.administration.admit(&token, &Origin::default()).await?;
            administrator.enter(&format!("acme{:04}", i % args.organisations)).await.map(drop)
        })
        .await?;
    table
        .row("a user by id", async |i| {
            tenant.get_user(world.users[i * 7_919 % world.users.len()]).await.map(drop)
        })
        .await?;
    table
        .row("a user by username", async |i| {
            let username = Some(username(i * 7_919 % world.users.len(), 0));
            one(&tenant, UserFilter { username, ..UserFilter::default() }).await
        })
        .await?;
    table
        .row("a user by e-mail address", async |i| {
            let email = Some(format!("USER{}@acme0.example", i * 7_919 % world.users.len()));
            one(&tenant, UserFilter { email, ..UserFilter::default() }).await
        })
        .await?;
    table
        .row("100 organisations", async |_| {
            administrator.list_organisations(OrganisationFilter::default(), first(100)).await.map(drop)
        })
        .await?;
    table
        .row("100 users, the first", async |_| {
            tenant.list_users(UserFilter::default(), first(100)).await.map(drop)
        })
        .await?;
    table
        .row("100 users, somewhere in the middle", async |i| {
            let after = Some(format!("user{:06}.0", i * 7_919 % world.users.len()));
            tenant.list_users(UserFilter::default(), PageRequest { after, limit: 100 }).await.map(drop)
        })
        .await?;
    table
        .row("100 users by prefix", async |i| {
            let prefix = Some(format!("user{:03}", i * 7 % (world.users.len() / 1_000).max(1)));
            tenant.list_users(UserFilter { prefix, ..UserFilter::default() }, first(100)).await.map(drop)
        })
        .await?;
    table
        .row("100 disabled users, of whom there is one in a thousand", async |_| {
            let status = Some(Status::Disabled);
            tenant.list_users(UserFilter { status, ..UserFilter::default() }, first(100)).await.map(drop)
        })
        .await?;
    table
        .row("100 users of a unit with one in a thousand", async |_| {
            let unit = Some(world.unit);
            tenant.list_users(UserFilter { unit, ..UserFilter::default() }, first(100)).await.map(drop)
        })
        .await?;
    table
        .row("100 sessions of a user who has many", async |_| {
            let filter = SessionFilter { user: Some(world.busy), ..SessionFilter::default() };
            tenant.list_sessions(filter, first(100)).await.map(drop)
        })
        .await?;

    let live = PlainToken::parse(format!("{:032X}", 7).as_bytes()).context("32 digits are a token")?;
    anyhow::ensure!(product.doorkeeper.peek(&live).await?.is_some(), "the sessions are there");
    table.times = 1;
    let what = format!("the end of all {} sessions of a user", args.sessions);
    table.row(&what, async |_| tenant.end_sessions(WhichSessions::User(world.busy)).await).await?;
    anyhow::ensure!(product.doorkeeper.peek(&live).await?.is_none(), "none of them is in force");
    table.times = args.times;
    table
        .row("the end of all sessions of a user who has few", async |i| {
            tenant.end_sessions(WhichSessions::User(world.users[6 + i % 100])).await
        })
        .await?;
    table.times = 1;
    let what = format!("the deletion of the organisation with its {} users", world.users.len());
    table.row(&what, async |_| tenant.delete_organisation("ACME0000", None).await).await
}

async fn one(tenant: &Tenant, filter: UserFilter) -> Result<(), doorward_domain::administration::AdminError> {
    let found = tenant.list_users(filter, PageRequest { after: None, limit: 2 }).await?;
    assert_eq!(found.items.len(), 1, "there is one");
    Ok(())
}

/// Prints a line for each thing that is measured.
struct Table {
    times: usize,
}

impl Table {
    fn new(times: usize) -> Self {
        Self { times }
    }

    async fn row<E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        what: &str,
        mut done: impl AsyncFnMut(usize) -> Result<(), E>,
    ) -> anyhow::Result<()> {
        let mut took = Vec::with_capacity(self.times);
        for i in 0..self.times {
            let began = Instant::now();
            done(i).await?;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        let shown = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        println!("| {what} | {} | {} | {} |", shown(at(0.5)), shown(at(0.99)), shown(at(1.0)));
        Ok(())
    }
}
