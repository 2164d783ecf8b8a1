//! The stores through their public interfaces: the conformance suite over each of them.

#![expect(
    clippy::unwrap_used,
    reason = "the suite's stores are part of tests: what they do not expect ends them"
)]

mod alike;
mod postgres;
mod postgres_attempts;
mod postgres_ledger;
mod postgres_opening;
mod postgres_roster;
mod postgres_testing;
mod sqlite;
