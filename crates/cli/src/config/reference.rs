//! `docs/configuration.md`, made from the table of keys so that it cannot lag behind it.

use std::fmt::Write;

use super::error::as_toml;
use super::keys::{KEYS, Key};

const INTRODUCTION: &str = "\
<!-- Generated from crates/cli/src/config/keys.rs: UPDATE_DOCS=1 cargo test -p doorward reference -->
# Configuration

Doorward runs without any configuration. `doorward config show` prints every key with its value and where the value comes
from.

## Layers

A value is taken from the last of these that has one:

1. the built-in default;
2. the file that `--config FILE` or else the variable `DOORWARD_CONFIG` names, which must exist; when neither is given,
   `doorward.toml` in the working folder, if it is there;
3. the environment: `DOORWARD_` and the key in capitals, with `__` between its levels, so that
   `DOORWARD_TOKENS__PASSWORD_IDLE=1h` sets `tokens.password_idle`;
4. flags.

Unknown keys are refused in every layer, and so are wrong values, even where a later layer covers them. This holds for
every variable that begins with `DOORWARD_`, save `DOORWARD_CONFIG`, `DOORWARD_SERVER` and `DOORWARD_TOKEN`, which are not
keys. (Kubernetes adds variables such as `DOORWARD_SERVICE_HOST` to pods beside a Service named `doorward`: name it
otherwise, or set `enableServiceLinks: false`.)

Durations are written `500ms`, `30s`, `15m`, `1h 30m`, `2h` or `30d`. Relative paths count from the working folder. Lists are
arrays in the file, and texts with commas in variables and flags: `--set addresses.allow=10.1.2.3,2001:db8::/32`. Networks
are written `10.0.0.0/8`, `2001:db8::/32` or, for IPv4, with stars at the end: `10.0.*.*`.
";

/// The whole document.
pub(super) fn render() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut example = String::new();
    for keys in KEYS.chunk_by(|a, b| section(a) == section(b)) {
        let section = section(&keys[0]);
        let title = section.map_or("General".to_owned(), |section| format!("`[{section}]`"));
        let _ = write!(text, "\n## {title}\n\n| Key | Default | Must be | Meaning |\n|---|---|---|---|\n");
        if let Some(section) = section {
            let _ = write!(example, "\n[{section}]\n");
        }
        for key in keys {
            let default = match key.default {
                None => "not set".to_owned(),
                Some("") => "empty".to_owned(),
                Some(default) => format!("`{default}`"),
            };
            let _ = writeln!(text, "| `{}` | {default} | {} | {} |", key.name, key.kind, key.meaning);
            example += &example_line(key);
        }
    }
    text + "\n## Example\n\nA file with every key at its default:\n\n```toml\n" + &example + "```\n"
}

fn section(key: &Key) -> Option<&'static str> {
    Some(key.name.split_once('.')?.0)
}

fn example_line(key: &Key) -> String {
    let name = key.name.split_once('.').map_or(key.name, |(_, name)| name);
    let mark = if key.default.is_some() { "" } else { "# " };
    format!("{mark}{name} = {}\n", as_toml(&key.default_value().unwrap_or_else(|| key.example_value())))
}

#[test]
fn reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(path, render()).expect("docs/configuration.md can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == render(),
        "docs/configuration.md differs from the table of keys: run `UPDATE_DOCS=1 cargo test -p doorward reference`"
    );
}
