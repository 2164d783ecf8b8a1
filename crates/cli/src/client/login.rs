//! `doorward login`, `logout` and `password`: one's own.

use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{
    connection::{Answer, Call, Connection, Flags, Refused, Target},
    output::plain,
    prompt,
    stored::{self, Stored},
};
use crate::args::WrongUse;

/// The flags that log somebody in.
#[derive(Debug, Args)]
pub(super) struct Credentials {
    /// The username [default: asked for]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Read a Web API key from the first line of standard input and log in with it instead of a password
    #[arg(long, conflicts_with_all = ["password_stdin", "username"])]
    key_stdin: bool,
    /// The unit to work in, by its id [default: the user's default unit]
    #[arg(long, value_name = "ID")]
    unit: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The token is stored in $XDG_CONFIG_HOME/doorward/login.json (~/.config/doorward/login.json), \
                        readable for its owner only.\nIt ends like every token: after an hour without use, or with \
                        `doorward logout`.\n\n\
                        Example: doorward login --organisation ACME --username admin"
)]
pub(crate) struct Login {
    #[command(flatten)]
    credentials: Credentials,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
#[command(after_help = "All tokens of the user end; log in again with the new password.")]
pub(crate) struct ChangePassword {
    /// The username [default: that of the login, or asked for]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the current password and the new one from two lines of standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Gets a token for the credentials. What is not given is asked for, with the stored login for a default.
pub(super) async fn issue(
    target: &Target,
    connection: &Connection,
    flags: &Flags,
    credentials: &Credentials,
) -> anyhow::Result<Answer> {
    let server = &target.server;
    let is_near = server.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    });
    if server.scheme() == "http" && !is_near {
        eprintln!("Warning: {server} is not encrypted; everybody on the way can read the credentials.");
    }
    let unit = credentials.unit.as_ref();
    if credentials.key_stdin {
        let key = prompt::secret_line("key")?;
        let body = unit.map_or(json!({}), |unit| json!({"unit": unit}));
        let call = Call { key: Some(&key), ..Call::post(["authentication", "web_api_key", "token"], body) };
        return connection.send(call).await;
    }
    let (organisation, username) = who(target, flags, credentials.username.as_ref())?;
    let password = match credentials.password_stdin {
        true => prompt::secret_line("password")?,
        false => prompt::secret("Password", "--password-stdin (or --key-stdin for a Web API key)")?,
    };
    let mut body = json!({"organisation": organisation, "username": username, "password": password});
    if let Some(unit) = unit {
        body["unit"] = json!(unit);
    }
    connection.send(Call::post(["authentication", "token"], body)).await
}

/// The organisation and the username.
fn who(target: &Target, flags: &Flags, username: Option<&String>) -> anyhow::Result<(String, String)> {
    let stored = target.stored();
    let known = stored.map(|stored| stored.organisation.as_str());
    let organisation = match &flags.organisation {
        Some(organisation) => organisation.clone(),
        None => prompt::text("Organisation", known, "--organisation")?,
    };
    let known = stored.filter(|stored| stored.organisation == organisation).map(|s| s.username.as_str());
    let username = match username {
        Some(username) => username.clone(),
        None => prompt::text("Username", known, "--username")?,
    };
    Ok((organisation, username))
}

/// The token that an answer holds.
pub(super) fn token(answer: &Answer) -> anyhow::Result<String> {
    let token = answer.json.pointer("/data/token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| anyhow!("the server's answer holds no token"))
}

pub(super) async fn log_in(args: Login) -> anyhow::Result<()> {
    let target = Target::of(&args.flags)?;
    let mut connection = target.connect()?;
    let token = token(&issue(&target, &connection, &args.flags, &args.credentials).await?)?;
    connection.token = Some(token.clone());
    let looked = connection.send(Call::get(["authentication", "token"])).await?;
    let name = |of: &str| looked.json["data"][of]["name"].as_str().unwrap_or_default().to_owned();
    let (organisation, username) = (name("organisation"), name("user"));

    let administers = connection.send(Call::get(["admin", "v1", "organisations"])).await;
    let is_administrator = match administers {
        Ok(_) => true,
        Err(error) if Refused::code(&error) == "FORBIDDEN" => false,
        Err(error) => {
            // A token that is stored nowhere must not live on.
            let _ = release(&connection, &token).await;
            return Err(error);
        }
    };
    let ca_certificate = target.ca_certificate.as_ref().map(std::path::absolute).transpose()?;
    let login = Stored {
        server: target.server.to_string(),
        organisation: organisation.clone(),
        username: username.clone(),
        token: token.clone(),
        ca_certificate,
    };
    let path = match stored::store(&login) {
        Ok(path) => path,
        Err(error) => {
            let _ = release(&connection, &token).await;
            return Err(error);
        }
    };
    // Nobody has the token of the login before any more.
    if let Some(before) = target.stored() {
        let _ = release(&connection, &before.token).await;
    }
    let (username, organisation) = (plain(&username), plain(&organisation));
    crate::print(&format!(
        "Logged in to {} as {username} of {organisation}; the login is stored in {}\n",
        target.server,
        path.display()
    ))?;
    if !is_administrator {
        eprintln!(
            "Warning: {username} is no administrator, so this login may look at its token and do nothing else here."
        );
    }
    Ok(())
}

/// Releases a token.
pub(super) async fn release(connection: &Connection, token: &str) -> anyhow::Result<Answer> {
    // The token goes in the body; another one in the header would be a contradiction.
    let path = ["authentication", "token", "release"];
    connection.without_token().send(Call::post(path, json!({"token": token}))).await
}

pub(super) async fn log_out(args: Logout) -> anyhow::Result<()> {
    let target = Target::of(&args.flags)?;
    let Some(login) = target.stored() else {
        match &target.stored {
            Some(other) => bail!(WrongUse(format!(
                "the stored login is for {} and not for {}; run `doorward logout` without --server and DOORWARD_SERVER",
                other.server, target.server
            ))),
            None => return crate::print("Nobody is logged in.\n"),
        }
    };
    let released = release(&target.connect()?, &login.token).await;
    stored::forget()?;
    released.map_err(|error| {
        error.context(
            "the login is forgotten here; its token could not be released and ends by itself when it expires",
        )
    })?;
    crate::print("Logged out; the token is released.\n")
}

pub(super) async fn change_password(args: ChangePassword) -> anyhow::Result<()> {
    let target = Target::of(&args.flags)?;
    let (organisation, username) = who(&target, &args.flags, args.username.as_ref())?;
    let (current, new) = match args.password_stdin {
        true => (prompt::secret_line("current password")?, prompt::secret_line("new password")?),
        false => {
            let flag = "--password-stdin";
            (prompt::secret("Current password", flag)?, prompt::new_password("New password", flag)?)
        }
    };
    let body = json!({
        "organisation": organisation, "username": username, "password": current, "new_password": new
    });
    target.connect()?.send(Call::post(["authentication", "password"], body)).await?;
    let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    let is_own = target
        .stored()
        .is_some_and(|login| same(&login.organisation, &organisation) && same(&login.username, &username));
    if is_own {
        stored::forget()?;
    }
    crate::print(&format!(
        "The password of {} is changed, and all tokens of the user have ended; log in again with `doorward login`.\n",
        plain(&username)
    ))
}
