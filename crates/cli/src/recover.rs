//! `doorward recover`: a way back in on the server's machine, when everybody is locked out.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{anyhow, bail};
use doorward_domain::{
    catalogue::{Catalogue, OrganisationReference},
    change::NewPassword,
    clock::Clock,
    credential::Password,
    directory::{Role, Status},
    id::{OrganisationId, UnitId, UserId},
    journal::{Ledger, Outcome},
    name::{CanonicalName, Name},
    observer::NoObserver,
    recovery::{self, LockedOut, Recovery, Refusing},
    resource::{Organisation, PageRequest, Unit, UnitFilter, User, UserFilter},
    rules::Overrides,
};
use doorward_storage::{Kind, OpenError, SqliteDirectory, SqliteStore, Upgraded};

use crate::{
    args::{Recover, WrongUse},
    config::Config,
    init::read_password,
    store,
    system::{SystemRandomness, SystemTime},
};

/// How many administrators are named when one must be chosen.
const NAMED: usize = 20;
/// The unit of an organisation that has none.
const UNIT: &str = "Main";

pub(crate) fn run(args: &Recover) -> anyhow::Result<()> {
    let config = args.flags.load()?.config;
    store::only_in_a_folder(&config, "ask another administrator of the operator organisation")?;
    let store = SqliteStore::open(&config.data).map_err(|error| match error {
        OpenError::InUse { folder } => anyhow!(
            "the data folder {folder:?} is in use by a server; stop it first, start it again afterwards: this takes a \
             second"
        ),
        error => error.into(),
    })?;
    if store.kind() == Kind::Demo {
        bail!(
            "{} holds the demo's data, whose secrets are public: there is nothing to recover; delete the folder and \
             'doorward serve --demo' makes it anew",
            config.data.display()
        );
    }
    let upgraded = store.upgraded().cloned();
    let clock = Clock::new(SystemTime);
    if let Some(latest) = store.latest() {
        clock.not_before(latest);
    }
    let (mut ledger, directory) = store.start(std::sync::Arc::new(NoObserver), 1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let found = runtime.block_on(find(args, &directory, &clock))?;

    let password = if args.password_stdin {
        let LockedOut { organisation, user, .. } = &found;
        let mut known = vec![organisation.code.as_str(), &organisation.name, user.username.as_str()];
        known.extend(user.person_name.as_deref());
        known.extend(user.email.as_deref());
        let rules = config.rules().with(&found.overrides).passwords;
        read_password(&rules, config.passwords.breached_file.as_deref(), &known)?
    } else {
        Password::generate(&SystemRandomness)?
    };
    let hash = config.passwords.cost().hash(&password, &SystemRandomness)?;
    let new = NewPassword { hash, must_change: false };
    let Recovery { entries, repairs } =
        recovery::recover(found.clone(), new, args.reset_addresses, clock.now());
    // One transaction; nobody else writes, so each entry finds what it was decided on.
    let committed = ledger.commit(&entries)?;
    if let Some(outcome) = committed.outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Committed(_)))
    {
        bail!("the data contradict themselves ({outcome:?}); check the disk, then restore a backup");
    }

    let LockedOut { organisation, overrides, user, .. } = &found;
    let mut told = String::new();
    if let Some(Upgraded { from, to, backup }) = upgraded {
        let backup = backup.display();
        told += &format!(
            "note          the data were brought from schema {from} to {to}; {backup} is as they were\n"
        );
    }
    told += &format!("organisation  {}\nadministrator {}\n", organisation.code, user.username);
    if !args.password_stdin {
        told += &format!("password      {}   (shown this once; keep it safe)\n", password.expose());
    }
    for repair in repairs {
        told += &format!("changed       {repair}\n");
    }
    told += "ended         all sessions of the user\n";
    told += &warn_of_addresses(args, &config, overrides);
    told += &format!(
        "Next: doorward serve{}\n      doorward login --organisation '{}' --username '{}'\n",
        args.flags.repeated(),
        organisation.code,
        user.username
    );
    crate::print(&told)
}

/// What the rules of addresses say to a login from this machine.
fn warn_of_addresses(args: &Recover, config: &Config, overrides: &Overrides) -> String {
    let mut overrides = overrides.clone();
    if args.reset_addresses {
        overrides.retain(|rule, _| !rule.is_list());
    }
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match recovery::refusing(&config.rules(), &overrides, here) {
        None => String::new(),
        Some(Refusing::Organisation) => format!(
            "note          the organisation's own address rules refuse logins from {here}; if they refuse you, stop the \
             server and add --reset-addresses\n"
        ),
        Some(Refusing::Configuration) => format!(
            "note          addresses.allow or addresses.deny of the configuration refuse logins from {here}; if they \
             refuse you, change them\n"
        ),
    }
}

/// Finds out who is meant, and all that may be in their way.
async fn find(args: &Recover, directory: &SqliteDirectory, clock: &Clock) -> anyhow::Result<LockedOut> {
    let organisation = find_organisation(args, directory).await?;
    let id = organisation.id;
    let (user, is_new) = find_user(args, directory, &organisation, clock).await?;
    let mut units = Vec::new();
    for unit in &user.units {
        units.extend(directory.find_unit(id, *unit).await?.map(|unit| unit.value));
    }
    let some = async |status| {
        let filter = UnitFilter { status, ..UnitFilter::default() };
        let page = directory.list_units(id, filter, PageRequest { after: None, limit: 1 }).await?;
        anyhow::Ok(page.items.into_iter().next().map(|unit| unit.value))
    };
    let spare = match some(Some(Status::Active)).await? {
        Some(unit) => Some(unit),
        None => some(None).await?,
    };
    let is_spare_new = spare.is_none();
    let spare = match spare {
        Some(unit) => unit,
        None => Unit {
            id: UnitId::generate(clock.now(), &SystemRandomness)?,
            name: Name::new(UNIT)?,
            status: Status::Active,
        },
    };
    let overrides = directory.get_overrides(id).await?;
    Ok(LockedOut { organisation, overrides, user, is_new, units, spare, is_spare_new })
}

async fn find_organisation(args: &Recover, directory: &SqliteDirectory) -> anyhow::Result<Organisation> {
    let reference = match &args.organisation {
        Some(code) => {
            let canonical = CanonicalName::new(code)
                .map_err(|error| WrongUse(format!("the organisation {code:?} {error}; give its code")))?;
            OrganisationReference::Code(canonical)
        }
        None => OrganisationReference::Id(directory.find_operator().await?.ok_or_else(|| {
            anyhow!("there is no operator organisation; name the one that is meant with --organisation CODE")
        })?),
    };
    let found = directory.find_organisation(reference).await?;
    found.map(|found| found.value).ok_or_else(|| {
        let code = args.organisation.as_deref().unwrap_or_default();
        anyhow!("there is no organisation {code:?}; leave --organisation out for the operator organisation")
    })
}

/// The user, and whether they are to be created.
async fn find_user(
    args: &Recover,
    directory: &SqliteDirectory,
    organisation: &Organisation,
    clock: &Clock,
) -> anyhow::Result<(User, bool)> {
    let code = &organisation.code;
    let administrators = directory.list_administrators(organisation.id, NAMED).await?;
    let listed = list(&administrators);
    let Some(username) = &args.username else {
        return match &administrators[..] {
            [] => bail!(
                "organisation {code} has no administrator; name a user with --username NAME --make-administrator, who \
                 is created if there is none of that name"
            ),
            [(name, _)] => {
                let found = find_by_name(directory, organisation.id, name.canonical()).await?;
                let found =
                    found.ok_or_else(|| anyhow!("user {name} is there and is not found; check the disk"))?;
                Ok((found, false))
            }
            _ => bail!("organisation {code} has several administrators; name one with --username: {listed}"),
        };
    };
    let name = Name::new(username)
        .map_err(|error| WrongUse(format!("the username {username:?} {error}; give another")))?;
    match find_by_name(directory, organisation.id, name.canonical()).await? {
        Some(user) if user.role == Role::Administrator || args.make_administrator => Ok((user, false)),
        Some(user) => bail!(
            "user {} of organisation {code} is not an administrator; name one ({listed}), or add --make-administrator",
            user.username
        ),
        None if args.make_administrator => {
            let user = User {
                id: UserId::generate(clock.now(), &SystemRandomness)?,
                username: name,
                person_name: None,
                email: None,
                role: Role::Administrator,
                status: Status::Active,
                units: Vec::new(),
                default_unit: None,
            };
            Ok((user, true))
        }
        None => bail!(
            "organisation {code} has no user {name}; name an administrator ({listed}), or add --make-administrator to \
             create one of this name"
        ),
    }
}

async fn find_by_name(
    directory: &SqliteDirectory,
    organisation: OrganisationId,
    username: &CanonicalName,
) -> anyhow::Result<Option<User>> {
    let filter = UserFilter { username: Some(username.as_str().to_owned()), ..UserFilter::default() };
    let page = directory.list_users(organisation, filter, PageRequest { after: None, limit: 1 }).await?;
    Ok(page.items.into_iter().next().map(|found| found.user.value))
}

fn list(administrators: &[(Name, Status)]) -> String {
    let shown = |(name, status): &(Name, Status)| match status {
        Status::Active => name.to_string(),
        Status::Disabled => format!("{name} (disabled)"),
    };
    let mut listed: Vec<_> = administrators.iter().map(shown).collect();
    if listed.is_empty() {
        listed.push("there is none".to_owned());
    }
    if listed.len() == NAMED {
        listed.push("and perhaps more".to_owned());
    }
    listed.join(", ")
}
