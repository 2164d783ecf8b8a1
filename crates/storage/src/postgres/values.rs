//! What Rust has and PostgreSQL has not: numbers without a sign, and texts with the character zero.

/// A number for PostgreSQL. None that is counted ever reaches the end.
pub(super) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A text for PostgreSQL, which cannot keep the character zero: what callers send may have it, and one entry must not be
/// the end of its batch.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
