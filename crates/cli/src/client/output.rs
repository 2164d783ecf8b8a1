//! What people and programs read: tables and records, or the server's JSON.
//!
//! Names are made by users, so nothing of the server reaches a terminal before [`plain`] has seen it: control
//! characters would move the cursor, and marks of direction would show a name as another one.

use std::{fmt::Write, io::IsTerminal};

use clap::ValueEnum;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::NOTHING};
use doorward_domain::clock::{TimeSource, Timestamp};
use serde_json::Value;

use crate::system::SystemTime;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables, for people
    #[default]
    Table,
    /// The server's JSON, for programs
    Json,
}

/// Prints the server's JSON as it is. Outside of strings JSON has no character that is escaped here.
pub(super) fn json(text: &str) -> anyhow::Result<()> {
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\r' | '\t' => safe.push(c),
            c if is_unsafe(c) => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe.push('\n');
    crate::print(&safe)
}

/// Prints columns under their titles, as `kubectl` does. Columns named `id` keep their width.
pub(super) fn table(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<()> {
    let mut table = plain_table();
    table.set_header(titles.iter().map(|title| title.replace('_', " ").to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (place, title) in titles.iter().enumerate() {
        if *title == "id"
            && let Some(column) = table.column_mut(place)
        {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    print(&mut table)
}

/// Prints one thing: its members, a line each.
pub(super) fn record(lines: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<()> {
    let mut table = plain_table();
    for (name, value) in lines {
        table.add_row([name.replace('_', " "), value]);
    }
    print(&mut table)
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let stdout = std::io::stdout();
    if stdout.is_terminal()
        && let Ok(size) = rustix::termios::tcgetwinsize(&stdout)
        && size.ws_col >= 40
    {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(size.ws_col);
    }
    table
}

fn print(table: &mut Table) -> anyhow::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    crate::print(&format!("{}\n", table.trim_fmt()))
}

/// The lines of a record: the members named first, in this order, then all others.
pub(super) fn members(value: &Value, first: &[&str], now: Timestamp) -> Vec<(String, String)> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let others = object.keys().map(String::as_str).filter(|name| !first.contains(name));
    let names = first.iter().copied().filter(|name| object.contains_key(*name)).chain(others);
    names.map(|name| (plain(name), member(name, &object[name], now, true))).collect()
}

/// A member as people read it. Times are told from now; `whole` gives their date too.
pub(super) fn member(name: &str, value: &Value, now: Timestamp, whole: bool) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if name.ends_with("_at") || name.ends_with("_until") => {
            let (text, told) = (plain(text), ago(text, now));
            if whole {
                told.map_or(text.clone(), |told| format!("{text} ({told})"))
            } else {
                told.unwrap_or(text)
            }
        }
        Value::String(text) => plain(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => {
            items.iter().map(|item| member(name, item, now, whole)).collect::<Vec<_>>().join(", ")
        }
        Value::Object(_) => plain(&value.to_string()),
    }
}

/// A time as people tell it: `3 minutes ago`, `in 2 days`. Nothing if it is no time.
pub(super) fn ago(time: &str, now: Timestamp) -> Option<String> {
    let millis = time.parse::<jiff::Timestamp>().ok()?.as_millisecond() - now.as_millis();
    let seconds = millis.unsigned_abs().div_ceil(1000);
    if seconds < 2 {
        return Some("now".to_owned());
    }
    let units = [(31_557_600, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    // Two of a unit before it is used: "90 minutes" says more than "1 hour". The nearest number, for what was to be 90
    // days is a second less when it is read.
    let (size, unit) =
        units.into_iter().find(|(size, _)| seconds + size / 2 >= 2 * size).unwrap_or((1, "second"));
    let told = format!("{} {unit}s", (seconds + size / 2) / size);
    Some(if millis < 0 { format!("{told} ago") } else { format!("in {told}") })
}

/// This machine's time.
pub(super) fn now() -> Timestamp {
    SystemTime.wall()
}

/// A text without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if is_unsafe(c) {
            let _ = write!(plain, "\\u{{{:x}}}", u32::from(c));
        } else {
            plain.push(c);
        }
        plain
    })
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}\u{202e}ü\n"), "a\\u{1b}[2Jb\\u{9b}\\u{202e}ü\\u{a}");
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_millis(1_000_000_000_000);
        let told = |time: &str| ago(time, now).unwrap();
        assert_eq!(told("2001-09-09T01:46:40Z"), "now");
        assert_eq!(told("2001-09-09T01:43:40Z"), "3 minutes ago");
        assert_eq!(told("2001-09-09T03:06:40Z"), "in 80 minutes");
        assert_eq!(told("2001-12-08T01:46:39.5Z"), "in 90 days");
        assert_eq!(told("2001-12-08T01:46:40Z"), "in 90 days");
        assert_eq!(ago("yesterday", now), None);
    }

    #[test]
    fn members_come_in_their_order() {
        let value = json!({"b": [], "a": true, "id": "1", "c": null});
        let lines = members(&value, &["id", "c", "none"], Timestamp::from_millis(0));
        let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(lines, ["id=1", "c=-", "a=yes", "b=-"]);
    }
}
