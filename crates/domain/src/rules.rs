//! The rules that an organisation may have of its own: passwords, lockout, addresses, lifetimes.
//!
//! The configuration says what holds for everybody; an organisation overrides what it wants ([`Overrides`]). Rules are
//! named as the configuration names them. One table, [`Rule`], says which there are and what values each takes; the
//! wire and storage know only names and [`RuleValue`]s.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use crate::{
    address::{AddressRules, Network},
    attempts::LockoutRules,
    lifetimes::Lifetimes,
    policy::PasswordRules,
};

/// All rules with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// What passwords must be like.
    pub passwords: PasswordRules,
    /// When failed logins lock an account.
    pub lockout: LockoutRules,
    /// From where logins are accepted.
    pub addresses: AddressRules,
    /// How long tokens live.
    pub lifetimes: Lifetimes,
}

/// What is overridden of the rules.
pub type Overrides = BTreeMap<Rule, RuleValue>;

/// The value of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleValue {
    /// A number.
    Number(u32),
    /// Yes or no.
    Flag(bool),
    /// A time.
    Time(Duration),
    /// A time without end.
    Never,
    /// Sets of addresses.
    Networks(Vec<Network>),
}

impl fmt::Display for RuleValue {
    /// The form in which storage and the configuration have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Time(time) => InDays(*time).fmt(f),
            Self::Never => f.write_str("never"),
            Self::Networks(networks) => {
                let texts: Vec<_> = networks.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// Writes a time with the day as its largest unit, for nobody says ninety days as "2months 29days 2h 52m 48s".
struct InDays(Duration);

impl fmt::Display for InDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let days = self.0.as_secs() / DAY.as_secs();
        let rest = self.0 - Duration::from_secs(days * DAY.as_secs());
        match days {
            0 => {}
            1 => f.write_str("1day")?,
            _ => write!(f, "{days}days")?,
        }
        match (days, rest) {
            (0, _) => humantime::format_duration(rest).fmt(f),
            (_, Duration::ZERO) => Ok(()),
            _ => write!(f, " {}", humantime::format_duration(rest)),
        }
    }
}

/// A value that a rule does not take. The text says what it must be, as in "it must be ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRule(pub String);

/// A rule that an organisation can have of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The fewest characters of a password.
    PasswordsMinLength,
    /// Whether a password must have a letter.
    PasswordsRequireAlphabetic,
    /// Whether a password must have a digit.
    PasswordsRequireDigit,
    /// Whether a password must have a character that is neither.
    PasswordsRequireSpecial,
    /// Whether common and breached passwords are refused.
    PasswordsBlocklist,
    /// The age at which a password must be changed.
    PasswordsMaxAge,
    /// How many failures lock an account.
    LockoutFailures,
    /// The time within which they are counted together.
    LockoutWindow,
    /// The length of the first lock.
    LockoutLock,
    /// The length up to which locks grow.
    LockoutLongestLock,
    /// From where logins are accepted.
    AddressesAllow,
    /// From where they are not.
    AddressesDeny,
    /// How long a password login's token lives without a use.
    TokensPasswordIdle,
    /// How long it lives at most.
    TokensPasswordCap,
    /// How long a Web API key's token lives.
    TokensApiKeyLifetime,
}

/// What values a rule takes.
enum Kind {
    Number(u32, u32),
    Flag,
    Time(Duration, Duration),
    TimeOrNever(Duration, Duration),
    Networks,
}

/// How many sets of addresses a rule may have.
const MOST_NETWORKS: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);
/// The shortest lifetime of tokens that an organisation may choose: their uses must still be stored in time.
pub const SHORTEST_OWN_LIFETIME: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LONG: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Rule {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::PasswordsMinLength,
        Self::PasswordsRequireAlphabetic,
        Self::PasswordsRequireDigit,
        Self::PasswordsRequireSpecial,
        Self::PasswordsBlocklist,
        Self::PasswordsMaxAge,
        Self::LockoutFailures,
        Self::LockoutWindow,
        Self::LockoutLock,
        Self::LockoutLongestLock,
        Self::AddressesAllow,
        Self::AddressesDeny,
        Self::TokensPasswordIdle,
        Self::TokensPasswordCap,
        Self::TokensApiKeyLifetime,
    ];

    /// The name, which is that of the key of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordsMinLength => "passwords.min_length",
            Self::PasswordsRequireAlphabetic => "passwords.require_alphabetic",
            Self::PasswordsRequireDigit => "passwords.require_digit",
            Self::PasswordsRequireSpecial => "passwords.require_special",
            Self::PasswordsBlocklist => "passwords.blocklist",
            Self::PasswordsMaxAge => "passwords.max_age",
            Self::LockoutFailures => "lockout.failures",
            Self::LockoutWindow => "lockout.window",
            Self::LockoutLock => "lockout.lock",
            Self::LockoutLongestLock => "lockout.longest_lock",
            Self::AddressesAllow => "addresses.allow",
            Self::AddressesDeny => "addresses.deny",
            Self::TokensPasswordIdle => "tokens.password_idle",
            Self::TokensPasswordCap => "tokens.password_cap",
            Self::TokensApiKeyLifetime => "tokens.api_key_lifetime",
        }
    }

    /// The rule of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == name)
    }

    fn kind(self) -> Kind {
        match self {
            Self::PasswordsMinLength => Kind::Number(8, 64),
            Self::PasswordsRequireAlphabetic
            | Self::PasswordsRequireDigit
            | Self::PasswordsRequireSpecial
            | Self::PasswordsBlocklist => Kind::Flag,
            Self::PasswordsMaxAge => Kind::TimeOrNever(DAY, LONG),
            Self::LockoutFailures => Kind::Number(1, 100),
            Self::LockoutWindow | Self::LockoutLock | Self::LockoutLongestLock => Kind::Time(SECOND, LONG),
            Self::AddressesAllow | Self::AddressesDeny => Kind::Networks,
            Self::TokensPasswordIdle => Kind::Time(SHORTEST_OWN_LIFETIME, 49 * DAY),
            Self::TokensPasswordCap | Self::TokensApiKeyLifetime => Kind::Time(SHORTEST_OWN_LIFETIME, LONG),
        }
    }

    /// Whether the value is a list.
    pub fn is_list(self) -> bool {
        matches!(self.kind(), Kind::Networks)
    }

    /// Reads a value from its text: `15`, `true`, `1h 30m`, `never`, `10.0.0.0/8,10.1.*.*`.
    pub fn read(self, text: &str) -> Result<RuleValue, InvalidRule> {
        let value = match self.kind() {
            Kind::Number(..) => text.parse().ok().map(RuleValue::Number),
            Kind::Flag => text.parse().ok().map(RuleValue::Flag),
            Kind::TimeOrNever(..) if text == "never" => Some(RuleValue::Never),
            Kind::Time(..) | Kind::TimeOrNever(..) => {
                humantime::parse_duration(text).ok().map(RuleValue::Time)
            }
            Kind::Networks => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                let read = |text: &str| {
                    Network::from_str(text).map_err(|error| {
                        InvalidRule(format!("it is not a list of addresses: '{text}' {error}"))
                    })
                };
                Some(RuleValue::Networks(texts.map(read).collect::<Result<_, _>>()?))
            }
        };
        value
            .filter(|value| self.takes(value))
            .ok_or_else(|| InvalidRule(format!("it must be {}", self.kind())))
    }

    fn takes(self, value: &RuleValue) -> bool {
        let is_whole = |time: &Duration| time.subsec_nanos().is_multiple_of(1_000_000);
        match (self.kind(), value) {
            (Kind::Number(least, most), RuleValue::Number(number)) => (least..=most).contains(number),
            (Kind::Time(least, most) | Kind::TimeOrNever(least, most), RuleValue::Time(time)) => {
                (least..=most).contains(time) && is_whole(time)
            }
            (Kind::Flag, RuleValue::Flag(_)) | (Kind::TimeOrNever(..), RuleValue::Never) => true,
            (Kind::Networks, RuleValue::Networks(networks)) => networks.len() <= MOST_NETWORKS,
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    /// Completes the sentence "it must be ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = InDays;
        match self {
            Self::Number(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Flag => f.write_str("true or false"),
            Self::Time(least, most) => {
                write!(f, "a duration such as 30m or 2h, from {} to {}", time(*least), time(*most))
            }
            Self::TimeOrNever(least, most) => {
                write!(f, "never, or a duration such as 90d, from {} to {}", time(*least), time(*most))
            }
            Self::Networks => write!(f, "a list of up to {MOST_NETWORKS} addresses, such as 10.0.0.0/8"),
        }
    }
}

impl Rules {
    /// The rules with what is overridden.
    #[must_use]
    pub fn with(&self, overrides: &Overrides) -> Self {
        let mut rules = self.clone();
        for (rule, value) in overrides {
            rules.set(*rule, value);
        }
        rules
    }

    /// The value of a rule.
    pub fn get(&self, rule: Rule) -> RuleValue {
        let Self { passwords, lockout, addresses, lifetimes } = self;
        match rule {
            Rule::PasswordsMinLength => RuleValue::Number(passwords.min_length),
            Rule::PasswordsRequireAlphabetic => RuleValue::Flag(passwords.require_alphabetic),
            Rule::PasswordsRequireDigit => RuleValue::Flag(passwords.require_digit),
            Rule::PasswordsRequireSpecial => RuleValue::Flag(passwords.require_special),
            Rule::PasswordsBlocklist => RuleValue::Flag(passwords.blocklist),
            Rule::PasswordsMaxAge => passwords.max_age.map_or(RuleValue::Never, RuleValue::Time),
            Rule::LockoutFailures => RuleValue::Number(lockout.failures),
            Rule::LockoutWindow => RuleValue::Time(lockout.window),
            Rule::LockoutLock => RuleValue::Time(lockout.lock),
            Rule::LockoutLongestLock => RuleValue::Time(lockout.longest_lock),
            Rule::AddressesAllow => RuleValue::Networks(addresses.allow.clone()),
            Rule::AddressesDeny => RuleValue::Networks(addresses.deny.clone()),
            Rule::TokensPasswordIdle => RuleValue::Time(lifetimes.password_idle),
            Rule::TokensPasswordCap => RuleValue::Time(lifetimes.password_cap),
            Rule::TokensApiKeyLifetime => RuleValue::Time(lifetimes.api_key_lifetime),
        }
    }

    /// A value of another kind than the rule's changes nothing; [`Rule::read`] makes none.
    fn set(&mut self, rule: Rule, value: &RuleValue) {
        let Self { passwords, lockout, addresses, lifetimes } = self;
        match value {
            RuleValue::Number(number) => match rule {
                Rule::PasswordsMinLength => passwords.min_length = *number,
                Rule::LockoutFailures => lockout.failures = *number,
                _ => {}
            },
            RuleValue::Flag(flag) => match rule {
                Rule::PasswordsRequireAlphabetic => passwords.require_alphabetic = *flag,
                Rule::PasswordsRequireDigit => passwords.require_digit = *flag,
                Rule::PasswordsRequireSpecial => passwords.require_special = *flag,
                Rule::PasswordsBlocklist => passwords.blocklist = *flag,
                _ => {}
            },
            RuleValue::Time(time) => match rule {
                Rule::PasswordsMaxAge => passwords.max_age = Some(*time),
                Rule::LockoutWindow => lockout.window = *time,
                Rule::LockoutLock => lockout.lock = *time,
                Rule::LockoutLongestLock => lockout.longest_lock = *time,
                Rule::TokensPasswordIdle => lifetimes.password_idle = *time,
                Rule::TokensPasswordCap => lifetimes.password_cap = *time,
                Rule::TokensApiKeyLifetime => lifetimes.api_key_lifetime = *time,
                _ => {}
            },
            RuleValue::Never => {
                if rule == Rule::PasswordsMaxAge {
                    passwords.max_age = None;
                }
            }
            RuleValue::Networks(networks) => match rule {
                Rule::AddressesAllow => addresses.allow.clone_from(networks),
                Rule::AddressesDeny => addresses.deny.clone_from(networks),
                _ => {}
            },
        }
    }

    /// The first two rules that contradict each other, the one that must not be shorter first.
    pub fn contradiction(&self) -> Option<(Rule, Rule)> {
        let Self { lockout, lifetimes, .. } = self;
        if lockout.longest_lock < lockout.lock {
            Some((Rule::LockoutLongestLock, Rule::LockoutLock))
        } else if lifetimes.password_cap < lifetimes.password_idle {
            Some((Rule::TokensPasswordCap, Rule::TokensPasswordIdle))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that differs from the default of every rule of its kind.
    fn other(rule: Rule) -> RuleValue {
        match rule.kind() {
            Kind::Number(_, most) => RuleValue::Number(most),
            Kind::Flag => match Rules::default().get(rule) {
                RuleValue::Flag(flag) => RuleValue::Flag(!flag),
                value => panic!("{value:?}"),
            },
            Kind::Time(least, _) | Kind::TimeOrNever(least, _) => RuleValue::Time(least + least / 2),
            Kind::Networks => {
                RuleValue::Networks(vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()])
            }
        }
    }

    #[test]
    fn an_override_changes_its_rule_and_no_other() {
        for rule in Rule::ALL {
            let rules = Rules::default().with(&Overrides::from([(rule, other(rule))]));
            for each in Rule::ALL {
                let wanted = if each == rule { other(rule) } else { Rules::default().get(each) };
                assert_eq!(rules.get(each), wanted, "{} after {}", each.as_str(), rule.as_str());
            }
        }
    }

    #[test]
    fn names_and_values_are_read_as_they_are_written() {
        for rule in Rule::ALL {
            assert_eq!(Rule::find(rule.as_str()), Some(rule));
            for value in [other(rule), Rules::default().get(rule)] {
                assert_eq!(rule.read(&value.to_string()), Ok(value));
            }
        }
        assert_eq!(Rule::find("passwords.queue"), None);
        assert_eq!(Rule::PasswordsMaxAge.read("never"), Ok(RuleValue::Never));
    }

    #[test]
    fn times_are_written_as_people_say_them() {
        for text in ["10m", "23h 59m 59s", "1day", "1day 30m", "40days", "48days 1h 30m"] {
            assert_eq!(
                Rule::TokensPasswordIdle.read(text).map(|value| value.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_the_bounds() {
        for (rule, text, part) in [
            (Rule::PasswordsMinLength, "7", "from 8 to 64"),
            (Rule::PasswordsMinLength, "65", "from 8 to 64"),
            (Rule::PasswordsMinLength, "many", "a whole number"),
            (Rule::PasswordsBlocklist, "yes", "true or false"),
            (Rule::LockoutFailures, "0", "from 1 to 100"),
            (Rule::TokensPasswordIdle, "59s", "from 1m"),
            (Rule::TokensPasswordIdle, "50d", "49days"),
            (Rule::TokensPasswordIdle, "never", "a duration"),
            (Rule::TokensPasswordCap, "1h 1us", "a duration"),
            (Rule::PasswordsMaxAge, "0s", "never, or"),
            (Rule::AddressesDeny, "10.0.0.0/8,x", "'x'"),
        ] {
            let error = rule.read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_contradicts_is_found() {
        assert_eq!(Rules::default().contradiction(), None);
        let with = |rule: Rule, text: &str| {
            Rules::default().with(&Overrides::from([(rule, rule.read(text).unwrap())]))
        };
        assert_eq!(
            with(Rule::LockoutLock, "2h").contradiction(),
            Some((Rule::LockoutLongestLock, Rule::LockoutLock))
        );
        assert_eq!(
            with(Rule::TokensPasswordIdle, "31d").contradiction(),
            Some((Rule::TokensPasswordCap, Rule::TokensPasswordIdle))
        );
    }
}
