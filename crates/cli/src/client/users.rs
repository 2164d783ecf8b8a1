//! `doorward user`.

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    connection::{Answer, Call, Flags},
    output::{self, Format, plain},
    prompt,
    things::{Body, Consent, Paging, UNIT, USER, Work},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    doorward user create zoe --email zoe@acme.example --unit Warehouse --generate-password\n  \
    doorward user list --prefix z\n  \
    doorward user update zoe --role administrator --add-unit Office\n  \
    doorward user password zoe")]
pub(crate) struct Users {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List users
    List {
        /// Those whose username begins so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Those of this e-mail address
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Those of this status
        #[arg(long, value_parser = ["active", "disabled"])]
        status: Option<String>,
        /// Those who work in this unit
        #[arg(long, value_name = "NAME|ID")]
        unit: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a user
    Show {
        /// The username or id
        user: String,
    },
    /// Create a user
    Create(Box<Create>),
    /// Change a user
    Update(Box<Update>),
    /// Disable a user: their tokens end, and they get no new ones
    Disable {
        /// The username or id
        user: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Enable a user again
    Enable {
        /// The username or id
        user: String,
    },
    /// Lift the lock that failed logins have set
    Unlock {
        /// The username or id
        user: String,
    },
    /// Give a user another password, which ends their tokens; one is generated and printed once unless it is given
    Password {
        /// The username or id
        user: String,
        #[command(flatten)]
        password: NewPassword,
        /// Let the user keep this password; without it they must change it at their first login
        #[arg(long)]
        keep: bool,
    },
    /// Delete a user and their keys
    Delete {
        /// The username or id
        user: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
struct NewPassword {
    /// Ask for the password
    #[arg(long, group = "new_password")]
    password: bool,
    /// Read the password from the first line of standard input
    #[arg(long, group = "new_password")]
    password_stdin: bool,
}

impl NewPassword {
    fn read(&self) -> anyhow::Result<Option<String>> {
        if self.password_stdin {
            prompt::secret_line("password").map(Some)
        } else if self.password {
            prompt::new_password("Password", "--password-stdin").map(Some)
        } else {
            Ok(None)
        }
    }
}

#[derive(Debug, Args)]
struct Create {
    /// The username
    username: String,
    /// The e-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The name of the person
    #[arg(long, value_name = "NAME")]
    person_name: Option<String>,
    /// What they may do [default: member]
    #[arg(long, value_parser = ["member", "administrator"])]
    role: Option<String>,
    /// A unit that they work in; may be repeated
    #[arg(long, value_name = "NAME|ID")]
    unit: Vec<String>,
    /// The unit that a login gets which names none [default: the first]
    #[arg(long, value_name = "NAME|ID")]
    default_unit: Option<String>,
    #[command(flatten)]
    password: NewPassword,
    /// Generate a password and print it once; it must be changed at the first login
    #[arg(long, group = "new_password")]
    generate_password: bool,
    /// Have the password changed at the first login
    #[arg(long)]
    must_change_password: bool,
    /// The id, if the user has one elsewhere already
    #[arg(long)]
    id: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    /// The username or id
    user: String,
    /// Another username
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The e-mail address; '' for none
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The name of the person; '' for none
    #[arg(long, value_name = "NAME")]
    person_name: Option<String>,
    /// What they may do
    #[arg(long, value_parser = ["member", "administrator"])]
    role: Option<String>,
    /// A unit that they work in, instead of those until now; may be repeated
    #[arg(long, value_name = "NAME|ID", conflicts_with_all = ["add_unit", "remove_unit"])]
    unit: Vec<String>,
    /// A unit that they work in too; may be repeated
    #[arg(long, value_name = "NAME|ID")]
    add_unit: Vec<String>,
    /// A unit that they no longer work in, which ends their tokens; may be repeated
    #[arg(long, value_name = "NAME|ID")]
    remove_unit: Vec<String>,
    /// The unit that a login gets which names none; '' for none
    #[arg(long, value_name = "NAME|ID")]
    default_unit: Option<String>,
}

pub(super) async fn run(args: Users) -> anyhow::Result<()> {
    let work = Work::on(&args.flags).await?;
    match args.command {
        Command::List { prefix, email, status, unit, paging } => {
            let unit = work.find_given(&UNIT, unit.as_ref()).await?;
            let query = vec![("prefix", prefix), ("email", email), ("status", status), ("unit", unit)];
            work.list(&USER, query, &paging).await
        }
        Command::Show { user } => {
            let found = work.get(&USER, &user).await?;
            print(&work, found).await
        }
        Command::Create(args) => create(&work, *args).await,
        Command::Update(args) => update(&work, *args).await,
        Command::Disable { user, consent } => {
            let deed = format!("disable {} and end their tokens", work.called(&USER, &user));
            prompt::confirm(consent.yes, &deed, "yes")?;
            work.set_status(&USER, &user, "disabled").await
        }
        Command::Enable { user } => work.set_status(&USER, &user, "active").await,
        Command::Unlock { user } => {
            let id = work.find(&USER, &user).await?;
            let call = Call::new(Method::POST, work.path(&USER, &[&id, "unlock"]));
            let answer = work.send_about(&USER, &user, call).await?;
            work.done(&answer, &format!("user {} is not locked", plain(&user)))
        }
        Command::Password { user, password, keep } => {
            let password = password.read()?;
            let id = work.find(&USER, &user).await?;
            let answer = set_password(&work, &user, &id, password, !keep).await?;
            if work.format == Format::Json {
                return output::json(&answer.text);
            }
            match answer.json["password"].as_str() {
                Some(password) => {
                    eprintln!("The new password of {}, shown this once; keep it safe:", plain(&user));
                    crate::print(&format!("{}\n", plain(password)))
                }
                None => crate::print(&format!("the password of {} is set\n", plain(&user))),
            }
        }
        Command::Delete { user, consent } => work.delete(&USER, &user, &consent).await,
    }
}

async fn set_password(
    work: &Work,
    user: &str,
    id: &str,
    password: Option<String>,
    must_change: bool,
) -> anyhow::Result<Answer> {
    let body = Body::default().with("password", password).with("must_change", Some(must_change));
    work.send_about(&USER, user, Call::post(work.path(&USER, &[id, "password"]), body.json())).await
}

async fn create(work: &Work, args: Create) -> anyhow::Result<()> {
    let password = args.password.read()?;
    let units = work.find_all(&UNIT, &args.unit).await?;
    let default_unit = work.find_given(&UNIT, args.default_unit.as_ref()).await?;
    let body = Body::default()
        .with("id", args.id)
        .with("username", Some(args.username.clone()))
        .with("email", args.email)
        .with("person_name", args.person_name)
        .with("role", args.role)
        .with("units", Some(units))
        .with("default_unit", default_unit)
        .with("must_change_password", args.must_change_password.then_some(true))
        .with("password", password);
    let mut created = work.create(&USER, body.json()).await?;
    if args.generate_password {
        let id = created.json["id"].as_str().unwrap_or_default().to_owned();
        let set = set_password(work, &args.username, &id, None, true).await.with_context(|| {
            let name = plain(&args.username);
            format!("user {name} is created, without a password; try `doorward user password {name}` again")
        })?;
        created.json["password"] = set.json["password"].clone();
        created.json["must_change_password"] = true.into();
        created.text = created.json.to_string();
        eprintln!("The password is shown this once; keep it safe.");
    }
    print(work, created).await
}

async fn update(work: &Work, args: Update) -> anyhow::Result<()> {
    let id = work.find(&USER, &args.user).await?;
    let mut etag = None;
    let mut units = match args.unit.is_empty() {
        true => None,
        false => Some(work.find_all(&UNIT, &args.unit).await?),
    };
    if !args.add_unit.is_empty() || !args.remove_unit.is_empty() {
        let (more, less) =
            (work.find_all(&UNIT, &args.add_unit).await?, work.find_all(&UNIT, &args.remove_unit).await?);
        // The change is made to the units that were read, or not at all.
        let found = work.get(&USER, &id).await?;
        etag = found.etag;
        let now = found.json["units"].as_array().map(Vec::as_slice).unwrap_or_default();
        let now = now.iter().filter_map(Value::as_str);
        let is = |one: &str, other: &String| one.eq_ignore_ascii_case(other);
        let mut kept: Vec<_> =
            now.filter(|unit| !less.iter().any(|id| is(unit, id))).map(str::to_owned).collect();
        for unit in more {
            if !kept.iter().any(|id| is(&unit, id)) {
                kept.push(unit);
            }
        }
        units = Some(kept);
    }
    let default_unit = match args.default_unit.as_deref() {
        Some("") => Some(String::new()),
        _ => work.find_given(&UNIT, args.default_unit.as_ref()).await?,
    };
    let body = Body::default()
        .with("username", args.username)
        .removable("email", args.email.as_ref())
        .removable("person_name", args.person_name.as_ref())
        .with("role", args.role)
        .with("units", units)
        .removable("default_unit", default_unit.as_ref())
        .change()?;
    let call = Call::new(Method::PATCH, work.path(&USER, &[&id])).body(body);
    let call = Call { if_match: etag.as_deref(), ..call };
    let answer = work.send_about(&USER, &args.user, call).await?;
    print(work, answer).await
}

/// Prints a user; people read the names of units.
async fn print(work: &Work, mut answer: Answer) -> anyhow::Result<()> {
    if work.format == Format::Table {
        let ids = answer.json["units"].as_array().cloned().unwrap_or_default();
        let mut names = Vec::with_capacity(ids.len());
        for id in ids.iter().filter_map(Value::as_str) {
            // Who may see the user may see the unit; one that was deleted meanwhile keeps its id.
            let unit = work.get(&UNIT, id).await.ok();
            let name = unit.and_then(|unit| unit.json["name"].as_str().map(str::to_owned));
            let name = name.unwrap_or_else(|| id.to_owned());
            if answer.json["default_unit"] == *id {
                answer.json["default_unit"] = json!(name);
            }
            names.push(name);
        }
        answer.json["units"] = json!(names);
    }
    work.print(&USER, &answer)
}
