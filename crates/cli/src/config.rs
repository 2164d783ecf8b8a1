//! The configuration: which keys there are, where their values come from and what they become.
//!
//! The last layer that has a value wins: the defaults, `doorward.toml`, the environment, the flags. [`load`] is
//! the only way to a [`Config`], so whoever holds one need not check it again. (`::config`, here and below, is the
//! crate that reads TOML and puts values into typed fields.)

mod error;
mod keys;
mod layers;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::config::{Value, ValueKind};
use doorward_domain::{
    address::{AddressRules, Network},
    attempts::LockoutRules,
    lifetimes::Lifetimes,
    passwords::{Argon2Cost, HashingLimits},
    policy::PasswordRules,
    rules::{Rule, Rules},
};
use serde::{Deserialize, Deserializer, de};

pub(crate) use error::ConfigError;
use keys::KEYS;

/// What the server is told, checked. The table in `keys` has the bounds of each field, and their reasons.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Folder of the database; a relative path counts from the working folder.
    pub(crate) data: PathBuf,
    pub(crate) storage: Storage,
    pub(crate) cluster: Cluster,
    pub(crate) listen: Listen,
    pub(crate) addresses: Addresses,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) lockout: Lockout,
    pub(crate) audit: Audit,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
}

/// Where the data are, if they are not in a folder of this machine.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storage {
    /// A PostgreSQL database.
    pub(crate) url: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    /// Connections that read.
    pub(crate) pool: usize,
    #[serde(deserialize_with = "duration")]
    pub(crate) connect_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) statement_timeout: Duration,
}

/// How the instances on one database work together.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "duration")]
    pub(crate) lease: Duration,
    /// Less than half of the lease, so that one renewal may fail.
    #[serde(deserialize_with = "duration")]
    pub(crate) heartbeat: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) poll_interval: Duration,
    /// In MiB.
    pub(crate) memory: u64,
}

/// The listeners.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// Open to callers: the contract, verify, OAuth.
    pub(crate) api: SocketAddr,
    /// For operators alone: metrics, health, the API document.
    pub(crate) admin: SocketAddr,
    /// For Envoys alone: gRPC. Without it there is no such listener.
    pub(crate) ext_authz: Option<SocketAddr>,
    /// Without it the listeners speak plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// Who is believed about where a request comes from.
    #[serde(deserialize_with = "networks")]
    pub(crate) trusted_proxies: Vec<Network>,
}

/// From where one may log in; organisations may have rules of their own instead.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Addresses {
    /// Empty allows all.
    #[serde(deserialize_with = "networks")]
    pub(crate) allow: Vec<Network>,
    /// Wins over what is allowed.
    #[serde(deserialize_with = "networks")]
    pub(crate) deny: Vec<Network>,
}

/// PEM files, read by whoever opens the listeners.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The server's certificate, then those up to a root.
    pub(crate) certificate: PathBuf,
    /// The private key of the certificate.
    pub(crate) key: PathBuf,
}

/// How long tokens live.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tokens {
    /// From the last use of a password login's token to its expiry; fits into 32 bits of milliseconds.
    #[serde(deserialize_with = "duration")]
    pub(crate) password_idle: Duration,
    /// From the issue of a password login's token to its expiry, however much it is used; never below the idle time.
    #[serde(deserialize_with = "duration")]
    pub(crate) password_cap: Duration,
    /// From the issue of an API key's token to its expiry.
    #[serde(deserialize_with = "duration")]
    pub(crate) api_key_lifetime: Duration,
    /// Longest time until a use is in the journal.
    #[serde(deserialize_with = "duration")]
    pub(crate) touch_interval: Duration,
}

/// The cost of a password hash (Argon2id), the threads that pay it, and which passwords may be chosen.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passwords {
    /// Argon2's `m`.
    pub(crate) memory_kib: u32,
    /// Argon2's `t`.
    pub(crate) iterations: u32,
    /// Argon2's `p`.
    pub(crate) parallelism: u32,
    /// Size of the pool; 0 stands for one per core.
    pub(crate) threads: usize,
    /// Logins waiting for a thread before the next is turned away.
    pub(crate) queue: usize,
    /// Fewest characters of a new password. This and what follows stands where an organisation has no rule of its own.
    pub(crate) min_length: u32,
    /// Whether a new password must have a letter.
    pub(crate) require_alphabetic: bool,
    /// Whether a new password must have a digit.
    pub(crate) require_digit: bool,
    /// Whether a new password must have a character of neither kind.
    pub(crate) require_special: bool,
    /// Whether what is easily guessed is refused.
    pub(crate) blocklist: bool,
    /// The list of leaked passwords. For all organisations alike, and so not part of [`Self::rules`].
    pub(crate) breached_file: Option<PathBuf>,
    /// Age after which a password must be changed.
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) max_age: Option<Duration>,
}

/// When failed logins lock an account, and for how long.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lockout {
    /// Failures within the window that lock.
    pub(crate) failures: u32,
    /// Time within which failures are counted together.
    #[serde(deserialize_with = "duration")]
    pub(crate) window: Duration,
    /// The first lock; each further one in a row is twice as long.
    #[serde(deserialize_with = "duration")]
    pub(crate) lock: Duration,
    /// Where the doubling ends; never below the first lock.
    #[serde(deserialize_with = "duration")]
    pub(crate) longest_lock: Duration,
}

/// What is recorded, and for how long.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    /// The age from which records are removed.
    #[serde(deserialize_with = "duration")]
    pub(crate) retention: Duration,
}

/// What is logged and how.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    /// The least severity that is logged.
    pub(crate) level: LogLevel,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Severities, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What a request may take of the server.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Largest body that is read.
    pub(crate) body_bytes: usize,
    /// Time for the head of a request to arrive.
    #[serde(deserialize_with = "duration")]
    pub(crate) header_timeout: Duration,
    /// Time for the body of a request to arrive.
    #[serde(deserialize_with = "duration")]
    pub(crate) body_timeout: Duration,
    /// Time in which a login or a release must be done.
    #[serde(deserialize_with = "duration")]
    pub(crate) answer_timeout: Duration,
    /// Time in which a client must take something of what is sent to it.
    #[serde(deserialize_with = "duration")]
    pub(crate) write_timeout: Duration,
    /// Connections at a time of the API listener, and of Envoy's.
    pub(crate) connections: usize,
}

/// Where to look besides the environment.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// What `--config` names; it must exist.
    pub(crate) file: Option<PathBuf>,
    /// Where `doorward.toml` is looked for when no file is named.
    pub(crate) folder: PathBuf,
    /// Flags as given: the flag's text (`--listen-api`), its key (`listen.api`) and its value.
    pub(crate) flags: Vec<(String, String, String)>,
}

/// A configuration and how it came about.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Every key, in the order of the table.
    pub(crate) settings: Vec<Setting>,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
}

/// A key as `doorward config show` shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    /// As it was written, or `(not set)`.
    pub(crate) value: String,
    /// `default`, the file, the variable or the flag.
    pub(crate) origin: String,
}

impl Setting {
    fn new(key: &'static str, value: Option<&Value>) -> Self {
        let shown = value.map_or("(not set)".to_owned(), |value| match value.kind {
            ValueKind::Array(_) => error::as_toml(value),
            _ => error::one_line(&value.to_string()),
        });
        let origin = value.and_then(Value::origin).unwrap_or(keys::DEFAULT_ORIGIN);
        Self { key, value: shown, origin: origin.to_owned() }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` = {} ({})", self.key, self.value, self.origin)
    }
}

/// Reads every layer, refuses what is unknown or wrong in any of them, and puts them together.
///
/// Reads one file and nothing else: the environment is what the caller passes.
pub(crate) fn load(
    sources: &Sources,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let mut variables = layers::own_variables(environment);
    let (file, file_layer) = layers::read_file(sources, variables.remove(layers::FILE_VARIABLE))?;
    let mut values: HashMap<&str, Value> = keys::defaults().collect();
    values.extend(file_layer);
    values.extend(layers::read_variables(variables)?);
    values.extend(layers::read_flags(&sources.flags)?);

    let setting = |key| Setting::new(key, values.get(key));
    let [certificate, key] = ["listen.tls.certificate", "listen.tls.key"];
    for (set, missing) in [(certificate, key), (key, certificate)] {
        if values.contains_key(set) && !values.contains_key(missing) {
            return Err(ConfigError::HalfTls { missing, set: setting(set).to_string() });
        }
    }
    let config: Config = values
        .iter()
        .try_fold(::config::Config::builder(), |builder, (key, value)| {
            builder.set_override(key, value.clone())
        })
        .and_then(|builder| builder.build()?.try_deserialize())
        .expect("what passes the table of keys fits the typed fields");
    if let Some((longer, shorter)) = config.rules().contradiction() {
        let [longer, shorter] = [longer, shorter].map(|rule| setting(rule.as_str()).to_string());
        return Err(ConfigError::Order { longer, shorter });
    }
    let Cluster { lease, heartbeat, poll_interval, .. } = config.cluster;
    for (shorter, is_in_order) in
        [("cluster.heartbeat", heartbeat * 2 < lease), ("cluster.poll_interval", poll_interval < lease)]
    {
        if !is_in_order {
            let [longer, shorter] = ["cluster.lease", shorter].map(|key| setting(key).to_string());
            return Err(ConfigError::Lease { longer, shorter });
        }
    }
    let settings = KEYS.iter().map(|key| setting(key.name)).collect();
    Ok(Loaded { config, settings, file })
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

impl Config {
    /// The rules that hold where an organisation has none of its own.
    pub(crate) fn rules(&self) -> Rules {
        let Self { passwords, lockout, addresses, tokens, .. } = self;
        Rules {
            passwords: passwords.rules(),
            lockout: lockout.rules(),
            addresses: AddressRules { allow: addresses.allow.clone(), deny: addresses.deny.clone() },
            lifetimes: tokens.lifetimes(),
        }
    }
}

impl Loaded {
    /// The rules that somebody has set.
    pub(crate) fn configured_rules(&self) -> BTreeSet<Rule> {
        let set = self.settings.iter().filter(|setting| setting.origin != keys::DEFAULT_ORIGIN);
        set.filter_map(|setting| Rule::find(setting.key)).collect()
    }
}

impl Passwords {
    /// What a hash costs, as the rules have it.
    pub(crate) fn cost(&self) -> Argon2Cost {
        Argon2Cost { memory_kib: self.memory_kib, iterations: self.iterations, parallelism: self.parallelism }
    }

    /// How much hashing may go on, as the rules have it.
    pub(crate) fn limits(&self) -> HashingLimits {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        HashingLimits { threads: if self.threads == 0 { cores } else { self.threads }, queue: self.queue }
    }

    /// Which passwords may be chosen where an organisation has no rules of its own.
    pub(crate) fn rules(&self) -> PasswordRules {
        let Self {
            min_length, require_alphabetic, require_digit, require_special, blocklist, max_age, ..
        } = *self;
        PasswordRules { min_length, require_alphabetic, require_digit, require_special, blocklist, max_age }
    }
}

impl Tokens {
    /// The lifetimes, as the rules have them.
    pub(crate) fn lifetimes(&self) -> Lifetimes {
        let Self { password_idle, password_cap, api_key_lifetime, touch_interval } = *self;
        Lifetimes { password_idle, password_cap, api_key_lifetime, touch_interval }
    }
}

impl Lockout {
    /// The limit on failed logins, as the rules have it.
    pub(crate) fn rules(&self) -> LockoutRules {
        let Self { failures, window, lock, longest_lock } = *self;
        LockoutRules { failures, window, lock, longest_lock }
    }
}
