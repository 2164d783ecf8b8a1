//! Which passwords may be chosen (`security.md` C1-C3; NIST SP 800-63B-4, 3.1.1.2).
//!
//! Length counts, not a mixture of kinds of characters; what attackers try first is refused. [`PasswordRules::check`]
//! decides all but one thing by itself; the list of leaked passwords is too large for memory and comes in as
//! [`BreachedPasswords`].
//!
//! Guessability is estimated by `zxcvbn`, which was made for short texts. It is therefore never handed a whole long
//! password, but windows of one from which names and repetitions have been taken out. It asks the machine for the year,
//! to which nearby years count as easier; that is the one clock in this crate that is not handed in.

use std::time::Duration;

use zxcvbn::zxcvbn;

use crate::{credential::Password, name};

/// What a password must be when it is chosen. Passwords that were stored before are not looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    /// The fewest characters (Unicode code points of the NFC text).
    pub min_length: u32,
    /// Whether there must be a letter, of any script.
    pub require_alphabetic: bool,
    /// Whether there must be a digit, of any script.
    pub require_digit: bool,
    /// Whether there must be a character that is neither a letter nor a digit; a space is one.
    pub require_special: bool,
    /// Whether what is easily guessed is refused: [`Weakness::Common`].
    pub blocklist: bool,
    /// The age after which a password must be changed. NIST says not to ask for it; [`Self::check`] cannot look at it.
    pub max_age: Option<Duration>,
}

impl Default for PasswordRules {
    /// What NIST SP 800-63B-4 asks for where the password is the only factor, and nothing that it says not to ask for.
    fn default() -> Self {
        Self {
            min_length: 15,
            require_alphabetic: false,
            require_digit: false,
            require_special: false,
            blocklist: true,
            max_age: None,
        }
    }
}

/// Why a password may not be chosen. The text completes "the password ..." and holds nothing of the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Fewer characters than [`PasswordRules::min_length`].
    #[error("has {has} of at least {needs} characters; make it longer, with another word for example")]
    TooShort {
        /// The characters it has.
        has: u32,
        /// The characters it must have.
        needs: u32,
    },
    /// See [`PasswordRules::require_alphabetic`].
    #[error("has no letter; add at least 1")]
    NoLetter,
    /// See [`PasswordRules::require_digit`].
    #[error("has no digit; add at least 1")]
    NoDigit,
    /// See [`PasswordRules::require_special`].
    #[error("has no special character, such as a space or a punctuation mark; add at least 1")]
    NoSpecial,
    /// Attackers would find it among the first 10^8 that they try.
    #[error(
        "is easy to guess: it is a common password or made of few common words, repetitions, dates, keyboard \
         patterns or the names of the user, the organisation or the product; choose at least 4 words that have \
         nothing to do with each other, or have a password generated"
    )]
    Common,
    /// It is in the list of leaked passwords.
    #[error("is in a list of leaked passwords, which attackers try first; choose another")]
    Breached,
}

/// Passwords that have leaked somewhere and are therefore tried everywhere. Implemented over a file in `cli`.
pub trait BreachedPasswords: Send + Sync {
    /// Whether this password is in the list. May wait for a disk, so it belongs on the threads that hash. The error
    /// tells the operator what to mend.
    fn contains(&self, password: &Password) -> Result<bool, String>;
}

/// The name of the product, which passwords of all organisations are likely to contain.
const PRODUCT: &str = "doorward";

/// Names that are shorter are found in any text, and mean nothing there.
const SHORTEST_NAME: usize = 3;

/// Parts of names (`ann`, `smith` and `example` of `ann.smith@example.com`) that are shorter are no names.
const SHORTEST_PART: usize = 4;

/// What may be guessed in so many tries is refused: `zxcvbn`'s bound of "safely unguessable". More is not asked, for
/// logins are counted (`security.md` L1), hashes are slow, and a blocklist that refuses too much makes people invent what
/// it does not know.
const EASY_GUESSES: f64 = 1e8;

/// Characters that `zxcvbn` looks at in one go. Its worst case grows with their square and, where all its letters
/// have several stand-ins (`@` and `4` for `a`), to 60 ms; and up to here none of its sums and products overflow.
const WINDOW: usize = 32;

/// The most windows of one password that are looked at, so that there is an end to it. Only one that is strong
/// nowhere in this many characters that do not repeat gets here.
const MOST_WINDOWS: usize = 8;

impl PasswordRules {
    /// Refuses a password that these rules do not allow. `known` is what an attacker knows of the account: username,
    /// e-mail address, organisation; the name of the product is always known.
    ///
    /// Reads no file and keeps nothing. Takes about half a millisecond with [`Self::blocklist`], half a second for
    /// what is made to take long, and 15 ms more when it is first called.
    pub fn check(&self, password: &Password, known: &[&str]) -> Result<(), Weakness> {
        let text = password.expose();
        let has = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        if has < self.min_length {
            return Err(Weakness::TooShort { has, needs: self.min_length });
        }
        let lacks = |kind: fn(char) -> bool| !text.chars().any(kind);
        if self.require_alphabetic && lacks(char::is_alphabetic) {
            return Err(Weakness::NoLetter);
        }
        if self.require_digit && lacks(char::is_numeric) {
            return Err(Weakness::NoDigit);
        }
        if self.require_special && lacks(|c| !c.is_alphanumeric()) {
            return Err(Weakness::NoSpecial);
        }
        if self.blocklist && is_common(text, known) { Err(Weakness::Common) } else { Ok(()) }
    }
}

/// Whether [`EASY_GUESSES`] find the text. Neither case nor names nor repetitions count as strength: what is left
/// without them must be strong by itself.
fn is_common(text: &str, known: &[&str]) -> bool {
    let names = names(known);
    let mut characters: Vec<char> = name::fold(text).chars().collect();
    if remove_names(&mut characters, &names) {
        // What joins a name to a year is no strength either.
        characters.retain(|c| !c.is_whitespace() && !"-_.,!".contains(*c));
    }
    collapse_repetitions(&mut characters);

    // `zxcvbn` is told the names too, for it finds them spelt backwards.
    let names: Vec<String> = names.iter().map(|name| name.iter().take(WINDOW).collect()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // A password is as hard to guess as its hardest part, at least. (Half a word, where a later window begins, may look
    // harder than the word. Then as many characters that do not repeat stand before it, which is no common password.)
    !characters
        .chunks(WINDOW)
        .take(MOST_WINDOWS)
        .any(|window| guesses(&window.iter().collect::<String>(), &names) > EASY_GUESSES)
}

/// How many guesses find a window: those of its parts, in any order of the parts.
///
/// `zxcvbn` itself adds 10^8 for whatever has three parts, as if attackers tried everything of two parts first. So it
/// would take `Password12345678!` for good.
fn guesses(window: &str, names: &[&str]) -> f64 {
    let estimate = zxcvbn(window, names);
    (1_u32..)
        .zip(estimate.sequence())
        .map(|(place, part)| f64::from(place) * part.guesses.map_or(1.0, |guesses| guesses as f64))
        .product()
}

/// The names and their parts, folded, the longest first.
fn names(known: &[&str]) -> Vec<Vec<char>> {
    let mut names: Vec<Vec<char>> = known
        .iter()
        .chain(&[PRODUCT])
        .flat_map(|name| {
            let folded = name::fold(name);
            let parts = folded.split(|c: char| !c.is_alphanumeric());
            let mut names: Vec<Vec<char>> = parts
                .map(|part| part.chars().collect())
                .filter(|part: &Vec<_>| part.len() >= SHORTEST_PART)
                .collect();
            names.push(folded.trim().chars().collect());
            names
        })
        .filter(|name| name.len() >= SHORTEST_NAME)
        .collect();
    names.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    names.dedup();
    names
}

/// Takes every name out of the text, also where digits and signs stand in for letters. Answers whether one was there.
fn remove_names(text: &mut Vec<char>, names: &[Vec<char>]) -> bool {
    let before = text.len();
    for name in names {
        let mut rest = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let is_here = text[at..].len() >= name.len()
                && text[at..].iter().zip(name).all(|(&written, &meant)| stands_for(written, meant));
            if is_here {
                at += name.len();
            } else {
                rest.push(text[at]);
                at += 1;
            }
        }
        *text = rest;
    }
    text.len() < before
}

/// Whether one character is written for another: the table of `zxcvbn`.
fn stands_for(written: char, meant: char) -> bool {
    let stand_ins = match meant {
        'a' => "4@",
        'b' => "8",
        'c' => "({[<",
        'e' => "3",
        'g' => "69",
        'i' => "1!|",
        'l' => "1|7",
        'o' => "0",
        's' => "$5",
        't' => "+7",
        'x' => "%",
        'z' => "2",
        _ => "",
    };
    written == meant || stand_ins.contains(written)
}

/// Leaves two of whatever stands three or more times in a row, and one where nothing else is there, so that neither
/// a repetition counts as length nor a window begins in the middle of one. Of single characters four are left: years
/// such as 1999 must stay what they are.
fn collapse_repetitions(text: &mut Vec<char>) {
    let mut period = 1;
    while period < text.len() {
        let mut kept: Vec<char> = Vec::with_capacity(text.len());
        let copies = if period == 1 { 4 } else { 2 };
        // How many characters up to here equal those one period before.
        let mut same = 0;
        for &character in text.iter() {
            let is_same = kept.len() >= period && kept[kept.len() - period] == character;
            same = if is_same { same + 1 } else { 0 };
            kept.push(character);
            if same == copies * period {
                kept.truncate(kept.len() - period);
                same -= period;
            }
        }
        // All of it repeats the first period. The last repetition may be cut short, and be the only one.
        if same + period == kept.len() {
            kept.truncate(period);
        }
        *text = kept;
        period += 1;
    }
}

#[cfg(test)]
mod tests;
