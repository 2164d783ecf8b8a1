//! `doorward key`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use doorward_domain::clock::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    connection::{Answer, Call, Flags},
    output::{self, Format, plain},
    prompt,
    things::{Body, Consent, KEY, Paging, USER, Work},
};
use crate::args::WrongUse;

#[derive(Debug, Args)]
#[command(after_help = "A key is named by its id, or by its name where no other key has it.\n\n\
    Examples:\n  \
    doorward key create 'web shop' --user shop --allow 10.0.0.0/8 --expires 90d\n  \
    doorward key list --unused-for 90d\n  \
    doorward key rotate 'web shop' --overlap 24h")]
pub(crate) struct Keys {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List Web API keys
    List {
        /// Those of this user
        #[arg(long, value_name = "NAME|ID")]
        user: Option<String>,
        /// Those of this status
        #[arg(long, value_parser = ["active", "disabled"])]
        status: Option<String>,
        /// Those older than this time and not used in it, such as 90d
        #[arg(long, value_name = "TIME")]
        unused_for: Option<String>,
        /// Those that expire within this time, such as 30d, or have expired
        #[arg(long, value_name = "TIME")]
        expiring_within: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a key, and when and from where its secrets were last used
    Show {
        /// Its name or id
        key: String,
    },
    /// Create a key; its secret is printed once
    Create(Box<Create>),
    /// Change a key
    Update(Box<Update>),
    /// Disable a key: its tokens end, and it gets no new ones
    Disable {
        /// Its name or id
        key: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Enable a key again
    Enable {
        /// Its name or id
        key: String,
    },
    /// Give a key another secret, which is printed once; the old one goes on for a while
    Rotate {
        /// Its name or id
        key: String,
        /// How long the old secret is still accepted; 0s ends it and the key's tokens [default: 24h]
        #[arg(long, value_name = "TIME")]
        overlap: Option<String>,
        /// Read the new secret from the first line of standard input instead of generating one
        #[arg(long)]
        secret_stdin: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Delete a key
    Delete {
        /// Its name or id
        key: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What people call it
    name: String,
    /// The user for whom its tokens speak
    #[arg(long, value_name = "NAME|ID")]
    user: String,
    /// Let it introspect tokens
    #[arg(long)]
    verifier: bool,
    /// What it is for [default: systemic]
    #[arg(long, value_parser = CLASSIFICATIONS)]
    classification: Option<String>,
    /// Accept it from these addresses only: 10.0.0.7, 10.0.0.0/8 or 10.0.*.*; may be repeated
    #[arg(long, value_name = "ADDRESSES")]
    allow: Vec<String>,
    /// When it expires: a date (at its beginning, in UTC), a time of RFC 3339, or from now, such as 90d
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Read its secret from the first line of standard input instead of generating one
    #[arg(long)]
    secret_stdin: bool,
    /// Its id, if it has one elsewhere already
    #[arg(long)]
    id: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    /// Its name or id
    key: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Whether it may introspect tokens
    #[arg(long, value_name = "true|false")]
    verifier: Option<bool>,
    /// What it is for
    #[arg(long, value_parser = CLASSIFICATIONS)]
    classification: Option<String>,
    /// Accept it from these addresses only, instead of those until now; 'everywhere' for no bounds; may be repeated
    #[arg(long, value_name = "ADDRESSES")]
    allow: Vec<String>,
    /// When it expires: a date, a time, a time from now, or 'never'
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

const CLASSIFICATIONS: [&str; 2] = ["systemic", "consumer-application"];

/// A classification as the server writes it.
fn classification(word: Option<String>) -> Option<String> {
    word.map(|word| format!("{}_KEY", word.replace('-', "_").to_uppercase()))
}

/// Reads when a key expires.
fn expiry(when: &str, now: Timestamp) -> anyhow::Result<Value> {
    if when == "never" {
        return Ok(Value::Null);
    }
    if when.parse::<jiff::civil::Date>().is_ok() && !when.contains(['T', ' ']) {
        return Ok(json!(format!("{when}T00:00:00Z")));
    }
    if let Ok(time) = when.parse::<jiff::Timestamp>() {
        return Ok(json!(time.to_string()));
    }
    let time = humantime::parse_duration(when).ok().map(|time| now.plus(time).as_millis());
    let time = time.and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    time.map(|time| json!(time.to_string())).ok_or_else(|| {
        let problem =
            "is no time; write a date such as 2027-01-31, a time such as 2027-01-31T12:00:00Z, or 90d";
        WrongUse(format!("'--expires {}' {problem}", plain(when))).into()
    })
}

pub(super) async fn run(args: Keys) -> anyhow::Result<()> {
    let work = Work::on(&args.flags).await?;
    match args.command {
        Command::List { user, status, unused_for, expiring_within, paging } => {
            let user = work.find_given(&USER, user.as_ref()).await?;
            let query = vec![
                ("user", user),
                ("status", status),
                ("unused_for", unused_for),
                ("expiring_within", expiring_within),
            ];
            let mut page = work.fetch(&KEY, query, &paging).await?;
            if work.format == Format::Table {
                let mut names = BTreeMap::new();
                for key in &mut page.items {
                    name_user(&work, &mut names, key).await;
                }
            }
            work.print_page(&KEY, &page)
        }
        Command::Show { key } => {
            let found = work.get(&KEY, &key).await?;
            print(&work, found).await
        }
        Command::Create(args) => create(&work, *args).await,
        Command::Update(args) => {
            let allow = match args.allow.iter().any(|allow| allow == "everywhere") {
                true => Some(Vec::new()),
                false => Some(args.allow).filter(|allow| !allow.is_empty()),
            };
            let expires = args.expires.map(|when| expiry(&when, output::now())).transpose()?;
            let body = Body::default()
                .with("name", args.name)
                .with("verifier", args.verifier)
                .with("classification", classification(args.classification))
                .with("allowed_addresses", allow)
                .with("expires_at", expires)
                .change()?;
            let id = work.find(&KEY, &args.key).await?;
            let call = Call::new(Method::PATCH, work.path(&KEY, &[&id])).body(body);
            let updated = work.send_about(&KEY, &args.key, call).await?;
            print(&work, updated).await
        }
        Command::Disable { key, consent } => {
            let deed = format!("disable {} and end its tokens", work.called(&KEY, &key));
            prompt::confirm(consent.yes, &deed, "yes")?;
            work.set_status(&KEY, &key, "disabled").await
        }
        Command::Enable { key } => work.set_status(&KEY, &key, "active").await,
        Command::Rotate { key, overlap, secret_stdin, consent } => {
            let ends_now = overlap.as_deref().map(humantime::parse_duration);
            if ends_now.is_some_and(|overlap| overlap.is_ok_and(|overlap| overlap.is_zero())) {
                let deed = format!("end the old secret and all tokens of {}", work.called(&KEY, &key));
                prompt::confirm(consent.yes, &deed, "yes")?;
            }
            let secret = if secret_stdin { Some(prompt::secret_line("secret")?) } else { None };
            let body = Body::default().with("overlap", overlap).with("secret", secret).json();
            let id = work.find(&KEY, &key).await?;
            let call = Call::post(work.path(&KEY, &[&id, "rotate"]), body);
            let rotated = work.send_about(&KEY, &key, call).await?;
            print(&work, rotated).await
        }
        Command::Delete { key, consent } => work.delete(&KEY, &key, &consent).await,
    }
}

async fn create(work: &Work, args: Create) -> anyhow::Result<()> {
    let expires = args.expires.map(|when| expiry(&when, output::now())).transpose()?;
    let secret = if args.secret_stdin { Some(prompt::secret_line("secret")?) } else { None };
    let body = Body::default()
        .with("id", args.id)
        .with("name", Some(args.name))
        .with("user", Some(work.find(&USER, &args.user).await?))
        .with("verifier", args.verifier.then_some(true))
        .with("classification", classification(args.classification))
        .with("allowed_addresses", Some(args.allow))
        .with("expires_at", expires)
        .with("secret", secret);
    let created = work.create(&KEY, body.json()).await?;
    print(work, created).await
}

/// Prints a key with what is known of its secrets.
async fn print(work: &Work, mut answer: Answer) -> anyhow::Result<()> {
    if answer.json["secret"].is_string() {
        eprintln!("The secret is shown this once; keep it safe.");
    }
    if work.format == Format::Json {
        return output::json(&answer.text);
    }
    name_user(work, &mut BTreeMap::new(), &mut answer.json).await;
    let now = output::now();
    let secrets = answer.json["secrets"].take();
    if let Some(members) = answer.json.as_object_mut() {
        for told_elsewhere in ["secrets", "secret_hint"] {
            members.remove(told_elsewhere);
        }
    }
    let mut lines = output::members(&answer.json, KEY.members, now);
    let secrets = secrets.as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(secrets.iter().map(|secret| evidence(secret, now)));
    output::record(lines)
}

/// What is known of a secret: who looks at it wants to know whether it may end.
fn evidence(secret: &Value, now: Timestamp) -> (String, String) {
    let told = |name: &str| output::member(name, &secret[name], now, false);
    let hint =
        secret["hint"].as_str().map_or("of unknown text".to_owned(), |hint| format!("...{}", plain(hint)));
    let used = match (secret["last_used_at"].is_null(), secret["last_used_from"].is_null()) {
        (true, _) => "never used".to_owned(),
        (false, true) => format!("last used {}", told("last_used_at")),
        (false, false) => format!("last used {} from {}", told("last_used_at"), told("last_used_from")),
    };
    match secret["ends_at"].is_null() {
        true => ("secret in use".to_owned(), format!("{hint}, made {}, {used}", told("created_at"))),
        false => {
            let until = output::member("ends_at", &secret["ends_at"], now, true);
            ("old secret".to_owned(), format!("{hint}, {used}, accepted until {until}"))
        }
    }
}

/// Puts the name of a key's user in place of the id.
async fn name_user(work: &Work, names: &mut BTreeMap<String, String>, key: &mut Value) {
    let Some(id) = key["user"].as_str().map(str::to_owned) else { return };
    if !names.contains_key(&id) {
        let user = work.get(&USER, &id).await.ok();
        let name = user.and_then(|user| user.json["username"].as_str().map(str::to_owned));
        names.insert(id.clone(), name.unwrap_or_else(|| id.clone()));
    }
    key["user"] = json!(names[&id]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_expires_when_it_was_meant_to() {
        let now = Timestamp::from_millis(0);
        let read = |when: &str| expiry(when, now).unwrap();
        assert_eq!(read("2027-01-31"), "2027-01-31T00:00:00Z");
        assert_eq!(read("2027-01-31T12:00:00+02:00"), "2027-01-31T10:00:00Z");
        assert_eq!(read("90d"), "1970-04-01T00:00:00Z");
        assert_eq!(read("never"), Value::Null);
        for wrong in ["soon", "2027-02-30", "90", ""] {
            assert!(expiry(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn evidence_says_whether_an_old_secret_may_end() {
        let now = Timestamp::from_millis(600_000);
        let secret = json!({
            "hint": "3F2A", "created_at": "1970-01-01T00:00:00Z", "ends_at": "1970-01-02T00:10:00Z",
            "last_used_at": "1970-01-01T00:07:00Z", "last_used_from": "10.0.0.7"
        });
        let told = "...3F2A, last used 3 minutes ago from 10.0.0.7, accepted until 1970-01-02T00:10:00Z (in 24 hours)";
        assert_eq!(evidence(&secret, now), ("old secret".to_owned(), told.to_owned()));
        let secret = json!({"hint": "9B1C", "created_at": "1970-01-01T00:00:00Z", "ends_at": null});
        assert_eq!(evidence(&secret, now).1, "...9B1C, made 10 minutes ago, never used");
    }
}
