//! `doorward init`: a data folder, or a database, with the first organisation, one unit and one administrator.

use std::{io::BufRead, path::Path};

use anyhow::{Context, anyhow, bail};
use doorward_domain::{
    audit::{AuditRecord, Event, Origin, Reason},
    change::{Change, NewPassword},
    clock::Clock,
    credential::Password,
    directory::{Role, Status},
    id::{OrganisationId, UnitId, UserId},
    journal::Entry,
    name::Name,
    passwords::Argon2Cost,
    policy::{BreachedPasswords, PasswordRules, Weakness},
    random::Randomness,
    resource::{Organisation, Unit, User},
};
use doorward_storage::{Kind, PostgresStore, SqliteStore};

use crate::{
    args::{Init, WrongUse},
    breached::BreachedFile,
    store,
    system::{SystemRandomness, SystemTime},
};

pub(crate) fn run(args: &Init) -> anyhow::Result<()> {
    let config = args.flags.load()?.config;
    let (clock, random) = (Clock::new(SystemTime), SystemRandomness);
    let password = if args.password_stdin {
        let known = [&*args.organisation, &args.unit, &args.username];
        read_password(&config.passwords.rules(), config.passwords.breached_file.as_deref(), &known)?
    } else {
        Password::generate(&random)?
    };
    let founding = Founding {
        organisation: args.organisation.trim(),
        unit_id: None,
        unit: args.unit.trim(),
        username: args.username.trim(),
        password: password.clone(),
    };
    let founded = found(&founding, config.passwords.cost(), &clock, &random)?;
    let first = entries(founded.changes, &clock);
    match store::postgres(&config)? {
        Some(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            drop(runtime.block_on(PostgresStore::create(&options, Kind::Real, &first))?);
        }
        None => drop(SqliteStore::create(&config.data, Kind::Real, &first)?),
    }

    let Founding { organisation, unit, username, .. } = &founding;
    let mut told =
        format!("organisation  {organisation} ({}), the operator organisation\n", founded.organisation);
    told += &format!("unit          {unit} ({})\n", founded.unit);
    told += &format!("administrator {username} ({})\n", founded.user);
    if !args.password_stdin {
        told += &format!("password      {}   (shown this once; keep it safe)\n", password.expose());
    }
    let place = store::place(&config.data, &config);
    told += &format!("data          {place}\nNext: doorward serve{}\n", args.flags.repeated());
    crate::print(&told)
}

/// Reads a password from standard input that the rules allow and that is not in the list of leaked ones. `known` is what
/// an attacker knows of the account.
pub(crate) fn read_password(
    rules: &PasswordRules,
    breached: Option<&Path>,
    known: &[&str],
) -> anyhow::Result<Password> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("the password cannot be read from standard input")?;
    let text = line.trim_end_matches(['\r', '\n']);
    let refused = |weakness: Weakness| WrongUse(format!("the password on standard input {weakness}"));
    if text.is_empty() {
        bail!(refused(Weakness::TooShort { has: 0, needs: rules.min_length }));
    }
    let too_long =
        || WrongUse(format!("the password on standard input is longer than {} bytes", Password::MAX_BYTES));
    let password = Password::parse(text).ok_or_else(too_long)?;
    rules.check(&password, known).map_err(refused)?;
    if let Some(path) = breached
        && BreachedFile::open(path)?.contains(&password).map_err(|error| anyhow!(error))?
    {
        bail!(refused(Weakness::Breached));
    }
    Ok(password)
}

/// The operator organisation with its first unit and user.
pub(crate) struct Founding<'a> {
    pub(crate) organisation: &'a str,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) unit: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: Password,
}

/// What is to be stored for a [`Founding`].
pub(crate) struct Founded {
    pub(crate) organisation: OrganisationId,
    pub(crate) unit: UnitId,
    pub(crate) user: UserId,
    pub(crate) changes: Vec<Change>,
}

/// Works out the changes that found an organisation.
pub(crate) fn found(
    founding: &Founding<'_>,
    cost: Argon2Cost,
    clock: &Clock,
    random: &dyn Randomness,
) -> anyhow::Result<Founded> {
    let name = |what: &str, name: &str| {
        Name::new(name).map_err(|error| WrongUse(format!("the {what} {name:?} {error}; choose another")))
    };
    let now = clock.now();
    let organisation = OrganisationId::generate(now, random)?;
    let unit = founding.unit_id.map_or_else(|| UnitId::generate(now, random), Ok)?;
    let user = UserId::generate(now, random)?;
    let changes = vec![
        Change::CreateOrganisation(Organisation {
            id: organisation,
            code: name("organisation", founding.organisation)?,
            name: founding.organisation.to_owned(),
            is_operator: true,
            status: Status::Active,
        }),
        Change::CreateUnit {
            organisation,
            unit: Unit { id: unit, name: name("unit", founding.unit)?, status: Status::Active },
        },
        Change::CreateUser {
            organisation,
            user: User {
                id: user,
                username: name("username", founding.username)?,
                person_name: None,
                email: None,
                role: Role::Administrator,
                status: Status::Active,
                units: vec![unit],
                default_unit: Some(unit),
            },
            password: Some(NewPassword { hash: cost.hash(&founding.password, random)?, must_change: false }),
        },
    ];
    Ok(Founded { organisation, unit, user, changes })
}

/// Changes as the operator's own.
pub(crate) fn entries(changes: impl IntoIterator<Item = Change>, clock: &Clock) -> Vec<Entry> {
    let created = AuditRecord::new(clock.now(), Event::Created, Reason::Ok, &Origin::default());
    let record = |change: &Change| {
        let (organisation, unit, user, key) = match change {
            Change::CreateOrganisation(organisation) => (Some(organisation.id), None, None, None),
            Change::CreateUnit { organisation, unit } => (Some(*organisation), Some(unit.id), None, None),
            Change::CreateUser { organisation, user, .. } => (Some(*organisation), None, Some(user.id), None),
            Change::CreateKey { organisation, key, .. } => {
                (Some(*organisation), None, Some(key.user), Some(key.id))
            }
            _ => (None, None, None, None),
        };
        AuditRecord { organisation, unit, user, key, ..created.clone() }
    };
    changes.into_iter().map(|change| Entry::change(change.clone(), record(&change))).collect()
}
