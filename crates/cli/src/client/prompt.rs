//! Asking people. Questions go to the terminal and never to standard output, which may be read by a program; where
//! there is nobody to ask, the error names the flag that answers.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};

use crate::args::WrongUse;

/// Asks for a text. `known` is taken for an empty answer.
pub(super) fn text(question: &str, known: Option<&str>, flag: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        if let Some(known) = known {
            return Ok(known.to_owned());
        }
        bail!(WrongUse(format!("there is no terminal to ask on; give the {} with {flag}", lower(question))));
    }
    let default = known.map(|known| format!(" [{known}]")).unwrap_or_default();
    let answer = ask(&format!("{question}{default}: "))?;
    match (answer.is_empty(), known) {
        (false, _) => Ok(answer),
        (true, Some(known)) => Ok(known.to_owned()),
        (true, None) => bail!(WrongUse(format!("no {} was given", lower(question)))),
    }
}

/// Asks for a secret without showing it.
pub(super) fn secret(question: &str, flag: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!(WrongUse(format!("there is no terminal to ask for the {} on; use {flag}", lower(question))));
    }
    let secret = rpassword::prompt_password(format!("{question}: "))
        .with_context(|| format!("the {} cannot be read from the terminal", lower(question)))?;
    if secret.is_empty() {
        bail!(WrongUse(format!("no {} was given", lower(question))));
    }
    Ok(secret)
}

/// Asks for a new password, twice.
pub(super) fn new_password(question: &str, flag: &str) -> anyhow::Result<String> {
    let password = secret(question, flag)?;
    if secret(&format!("{question} again"), flag)? != password {
        bail!(WrongUse("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(password)
}

/// Reads one line of standard input that holds a secret.
pub(super) fn secret_line(what: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .with_context(|| format!("the {what} cannot be read from standard input"))?;
    let text = line.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!(WrongUse(format!("standard input has no {what}; it must be its first line")));
    }
    Ok(text.to_owned())
}

/// Lets something that cannot be undone happen only if it is wanted: `--yes`, or `expected` typed on the terminal.
pub(super) fn confirm(yes: bool, deed: &str, expected: &str) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!(WrongUse(format!("to {deed} without being asked, add --yes; nothing was changed")));
    }
    let mut first = deed.chars();
    let sentence = first.next().map(|c| c.to_uppercase().collect::<String>() + first.as_str());
    let answer = ask(&format!("{}? Type {expected}: ", sentence.unwrap_or_default()))?;
    if answer != expected {
        bail!("nothing was changed");
    }
    Ok(())
}

fn ask(question: &str) -> anyhow::Result<String> {
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).context("the terminal is gone")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("the terminal cannot be read")?;
    Ok(line.trim().to_owned())
}

fn lower(question: &str) -> String {
    question.to_lowercase()
}
