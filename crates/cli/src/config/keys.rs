//! The one table of keys. Checking, typing errors, defaults, `doorward config show` and `docs/configuration.md`
//! all read it, so a key is described here and, as a typed field, in [`super::Config`], and nowhere else.

use std::fmt;
use std::net::SocketAddr;

use ::config::{Value, ValueKind};

use doorward_domain::address::Network;

use self::Kind::{Address, Choice, Database, Duration, Flag, Integer, Name, Networks, Path};
use super::error::ConfigError;

/// A key of the configuration.
pub(super) struct Key {
    /// How the file and the flags spell it: `tokens.password_idle`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As text, in the form the environment would give it; without one the key starts unset.
    pub(super) default: Option<&'static str>,
    /// A value that shows the form, as text: the default, if there is one.
    example: &'static str,
    /// What the key sets, as a phrase that documentation and errors can hold.
    pub(super) meaning: &'static str,
}

/// The values a key takes. As text (`Display`) it completes the sentence "it must be ...".
pub(super) enum Kind {
    Path,
    Address,
    /// Where a PostgreSQL database is; no password in it, for it is shown.
    Database,
    /// A short text for people.
    Name,
    /// A duration of whole milliseconds, neither zero nor longer than this.
    Duration(&'static str),
    /// From the first to the second, both included.
    Integer(i64, i64),
    Choice(&'static [&'static str]),
    /// As text they are parted by commas.
    Networks,
    /// Yes or no.
    Flag,
}

/// Where a value comes from that nobody has set.
pub(super) const DEFAULT_ORIGIN: &str = "default";

/// For what needs no bound but one that keeps sums of times far from overflow.
const LONG: Kind = Duration("100 years");

pub(super) const KEYS: &[Key] = &[
    key("data", Path, "doorward-data", "folder of the database; not used where `storage.url` is set"),
    unset(
        "storage.url",
        Database,
        "postgres://doorward@db1:5432,db2:5432/doorward?sslmode=require&target_session_attrs=read-write",
        "PostgreSQL database that all instances of Doorward work on; not set means SQLite in the folder `data`, for one \
         instance",
    ),
    unset("storage.password_file", Path, "/run/secrets/postgres", "file with the password for `storage.url`"),
    unset(
        "storage.ca_file",
        Path,
        "postgres-ca.pem",
        "PEM file with the certificates that PostgreSQL's must come from; not set means those that the system trusts",
    ),
    key(
        "storage.pool",
        Integer(1, 1_000),
        "8",
        "connections to PostgreSQL that read; an instance has three more",
    ),
    key(
        "storage.connect_timeout",
        Duration("5m"),
        "2s",
        "time within which a connection to a host of PostgreSQL must be made",
    ),
    key(
        "storage.statement_timeout",
        Duration("5m"),
        "5s",
        "time within which PostgreSQL must answer a statement",
    ),
    unset(
        "cluster.name",
        Name,
        "berlin-1",
        "what logs and other instances call this one; not set means the host's name and the port of `listen.api`",
    ),
    key(
        "cluster.lease",
        Duration("5m"),
        "5s",
        "how long an instance may answer after its last contact with PostgreSQL, and how long a release may have to wait \
         for an instance that died; the same on all instances",
    ),
    key(
        "cluster.heartbeat",
        Duration("5m"),
        "1s",
        "how often an instance renews its lease; less than half of `cluster.lease`",
    ),
    key(
        "cluster.poll_interval",
        Duration("5m"),
        "100ms",
        "how often an instance looks for releases that PostgreSQL did not notify it of; less than `cluster.lease`",
    ),
    key(
        "cluster.memory",
        Integer(16, 16_777_216),
        "1024",
        "memory for sessions in MiB; those used the longest ago are forgotten and asked for again",
    ),
    key("listen.api", Address, "127.0.0.1:8080", "where the API answers"),
    key("listen.admin", Address, "127.0.0.1:8081", "where metrics, health and the API document answer"),
    unset(
        "listen.ext_authz",
        Address,
        "127.0.0.1:8082",
        "where Envoy's gRPC external authorisation is answered, for Envoys alone; not set means nowhere",
    ),
    unset(
        "listen.tls.certificate",
        Path,
        "tls-certificate.pem",
        "PEM file with the certificate chain; together with `listen.tls.key` it turns TLS on",
    ),
    unset("listen.tls.key", Path, "tls-key.pem", "PEM file with the private key of the certificate"),
    networks(
        "listen.trusted_proxies",
        "addresses of the reverse proxies whose `X-Forwarded-For` is believed; none by default",
    ),
    networks(
        "addresses.allow",
        "addresses from which one may log in; an empty list allows all, and an organisation may have its own",
    ),
    networks(
        "addresses.deny",
        "addresses from which nobody may log in, even where `addresses.allow` has them; an organisation may have its own",
    ),
    key(
        "tokens.password_idle",
        Duration("49 days"),
        "1h",
        "how long the token of a password login lives after its last use",
    ),
    key(
        "tokens.password_cap",
        LONG,
        "30d",
        "how long the token of a password login lives at most, however much it is used; \
         not less than `tokens.password_idle`",
    ),
    key("tokens.api_key_lifetime", LONG, "2h", "how long the token of an API key lives"),
    key(
        "tokens.touch_interval",
        LONG,
        "30s",
        "how late the use of a token is stored at most; after a crash a token may die that much early",
    ),
    key(
        "passwords.memory_kib",
        Integer(19_456, 4_194_304),
        "19456",
        "memory of one Argon2id password hash in KiB; less than 19 MiB is unsafe and refused",
    ),
    key(
        "passwords.iterations",
        Integer(2, 1_000),
        "2",
        "passes of a password hash over its memory; fewer than 2 are unsafe and refused",
    ),
    key("passwords.parallelism", Integer(1, 16), "1", "lanes of a password hash"),
    key("passwords.threads", Integer(0, 256), "0", "threads that hash passwords; 0 takes one per core"),
    key(
        "passwords.queue",
        Integer(1, 100_000),
        "64",
        "logins that may wait for a hash; one more is answered 503",
    ),
    key(
        "passwords.min_length",
        Integer(8, 64),
        "15",
        "fewest characters of a new password; NIST SP 800-63B asks for 15; organisations may override it",
    ),
    key(
        "passwords.require_alphabetic",
        Flag,
        "false",
        "whether a new password must have a letter; NIST SP 800-63B says not to; organisations may override it",
    ),
    key(
        "passwords.require_digit",
        Flag,
        "false",
        "whether a new password must have a digit; NIST SP 800-63B says not to; organisations may override it",
    ),
    key(
        "passwords.require_special",
        Flag,
        "false",
        "whether a new password must have a character that is neither a letter nor a digit; NIST SP 800-63B says not to; \
         organisations may override it",
    ),
    key(
        "passwords.blocklist",
        Flag,
        "true",
        "whether a new password is refused that is common, made of common words and patterns, or of the names of its \
         user, the organisation or the product; organisations may override it",
    ),
    unset(
        "passwords.breached_file",
        Path,
        "breached-passwords.txt",
        "list of leaked passwords, which are refused as new ones: a local file of lines `SHA1[:count]` in upper-case \
         hexadecimal, sorted, as Have I Been Pwned distributes it; nothing is sent anywhere",
    ),
    unset(
        "passwords.max_age",
        LONG,
        "365d",
        "age after which a password must be changed; not set means never, as NIST SP 800-63B says; organisations may \
         override it",
    ),
    key(
        "lockout.failures",
        Integer(1, 100),
        "10",
        "failed logins within the window that lock an account; NIST SP 800-63B allows at most 100",
    ),
    key("lockout.window", LONG, "15m", "time within which failed logins are counted together"),
    key("lockout.lock", LONG, "1m", "length of the first lock; it doubles with each further one in a row"),
    key(
        "lockout.longest_lock",
        LONG,
        "1h",
        "length up to which the lock doubles; not less than `lockout.lock`",
    ),
    key(
        "audit.retention",
        LONG,
        "400d",
        "age from which audit records are removed; more than a year by default",
    ),
    key("log.format", Choice(&["text", "json"]), "text", "form of the log lines"),
    key(
        "log.level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "least severity that is logged",
    ),
    key(
        "limits.body_bytes",
        Integer(1_024, 16_777_216),
        "65536",
        "size of the largest request body that is read",
    ),
    key(
        "limits.header_timeout",
        LONG,
        "30s",
        "time within which the head of a request must arrive, and for which a connection may be idle",
    ),
    key("limits.body_timeout", LONG, "10s", "time within which the body of a request must arrive"),
    key(
        "limits.answer_timeout",
        LONG,
        "10s",
        "time after which a login or a release that is not done is answered 503, because the disk or the database is slow \
         say; longer than `cluster.lease`, for which a release waits when an instance has died",
    ),
    key(
        "limits.write_timeout",
        LONG,
        "30s",
        "time for which a client may take nothing of what is sent to it before its connection is closed",
    ),
    key(
        "limits.connections",
        Integer(16, 1_000_000),
        "10000",
        "connections that `listen.api` may have at a time, and `listen.ext_authz` as many again; beyond it the \
         longest idle one is closed for a new one, or the new one if none is idle; lowered to what the process's limit \
         of open files has room for. `listen.admin` has places of its own",
    ),
];

const fn key(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default: Some(default), example: default, meaning }
}

/// A list that is empty by default.
const fn networks(name: &'static str, meaning: &'static str) -> Key {
    Key { name, kind: Networks, default: Some(""), example: "10.1.2.3,2001:db8::/32", meaning }
}

const fn unset(name: &'static str, kind: Kind, example: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default: None, example, meaning }
}

/// The built-in values of the keys that have one.
pub(super) fn defaults() -> impl Iterator<Item = (&'static str, Value)> {
    KEYS.iter().filter_map(|key| Some((key.name, key.default_value()?)))
}

impl Key {
    /// The environment variable that sets the key: `DOORWARD_TOKENS__PASSWORD_IDLE`.
    pub(super) fn variable(&self) -> String {
        format!("DOORWARD_{}", self.name.to_uppercase().replace('.', "__"))
    }

    pub(super) fn default_value(&self) -> Option<Value> {
        Some(self.read(DEFAULT_ORIGIN, self.default?))
    }

    /// A value that the key takes.
    pub(super) fn example_value(&self) -> Value {
        self.read(DEFAULT_ORIGIN, self.example)
    }

    /// The value behind a text, which only the key can tell: `8080` is a number for one and a path for another.
    pub(super) fn read(&self, origin: &str, text: &str) -> Value {
        let origin = Some(&origin.to_owned());
        match (&self.kind, text.parse::<i64>(), text.parse::<bool>()) {
            (Integer(..), Ok(number), _) => Value::new(origin, number),
            (Flag, _, Ok(flag)) => Value::new(origin, flag),
            (Networks, ..) if text.trim().is_empty() => Value::new(origin, ValueKind::Array(Vec::new())),
            (Networks, ..) => Value::new(origin, text.split(',').map(str::trim).collect::<Vec<_>>()),
            _ => Value::new(origin, text),
        }
    }

    /// Lets a value pass that the key takes.
    pub(super) fn check(&'static self, value: Value) -> Result<(&'static str, Value), ConfigError> {
        if let (Networks, ValueKind::Array(elements)) = (&self.kind, &value.kind) {
            for element in elements {
                let ValueKind::String(text) = &element.kind else {
                    return Err(ConfigError::value(self, &value));
                };
                text.parse::<Network>().map_err(|reason| ConfigError::network(self, &value, text, reason))?;
            }
        }
        if self.kind.takes(&value.kind) {
            Ok((self.name, value))
        } else {
            Err(ConfigError::value(self, &value))
        }
    }
}

/// A URL as it may be shown: with stars for the password, if somebody wrote one into it.
pub(super) fn without_password(url: &str) -> String {
    let hide = || {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (user, hosts) = rest[..end].rsplit_once('@')?;
        let (user, _) = user.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{hosts}{}", &rest[end..]))
    };
    let shown = hide().unwrap_or_else(|| url.to_owned());
    match shown.split_once("password=") {
        Some((before, after)) => {
            let end = after.find('&').unwrap_or(after.len());
            format!("{before}password=***{}", &after[end..])
        }
        None => shown,
    }
}

impl Kind {
    fn takes(&self, value: &ValueKind) -> bool {
        match (self, value) {
            (Path, ValueKind::String(text)) => !text.is_empty(),
            (Database, ValueKind::String(text)) => {
                let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
                rest.is_some_and(|rest| !rest.is_empty()) && without_password(text) == *text
            }
            (Name, ValueKind::String(text)) => {
                (1..=64).contains(&text.chars().count()) && !text.contains(char::is_control)
            }
            (Address, ValueKind::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Duration(longest), ValueKind::String(text)) => {
                humantime::parse_duration(text).is_ok_and(|duration| {
                    let longest =
                        humantime::parse_duration(longest).expect("the table of keys holds valid durations");
                    !duration.is_zero() && duration.subsec_nanos() % 1_000_000 == 0 && duration <= longest
                })
            }
            (Integer(least, most), ValueKind::I64(number)) => (least..=most).contains(&number),
            (Choice(names), ValueKind::String(text)) => names.contains(&text.as_str()),
            // Its elements have refusals of their own.
            (Networks, ValueKind::Array(_)) => true,
            (Flag, ValueKind::Boolean(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path => write!(f, "a path"),
            Address => write!(f, "an IP address with a port"),
            Database => {
                write!(f, "a URL of PostgreSQL without a password, which goes into `storage.password_file`")
            }
            Name => write!(f, "a text of 1 to 64 characters"),
            Duration(longest) => write!(f, "a duration of whole milliseconds from 1ms to {longest}"),
            Integer(least, most) => write!(f, "a whole number from {least} to {most}"),
            Choice(names) => write!(f, "one of {}", names.join(", ")),
            Networks => write!(f, "a list of IP addresses and networks"),
            Flag => write!(f, "true or false"),
        }
    }
}
