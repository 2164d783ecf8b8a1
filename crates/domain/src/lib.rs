//! The rules of Doorward: who may log in, what a token is, when it ends.
//!
//! This room decides and remembers; it speaks to nobody. It knows no HTTP and no SQL, and takes time, randomness and
//! storage as parameters ([`clock::TimeSource`], [`random::Randomness`], [`directory::Directory`],
//! [`journal::Ledger`]), so that every rule can be tested without a server, a disk or a wait.
//!
//! A verification is readable in two files of it: [`doorkeeper`] and [`session_table`].

pub mod address;
pub mod administration;
pub mod attempts;
pub mod audit;
pub mod catalogue;
pub mod change;
pub mod clock;
pub mod cluster;
pub mod credential;
pub mod directory;
pub mod doorkeeper;
mod hex;
pub mod id;
pub mod instance;
pub mod journal;
pub mod lifetimes;
pub mod name;
pub mod observer;
pub mod passwords;
pub mod policy;
pub mod random;
pub mod recovery;
pub mod requirement;
pub mod resource;
pub mod rules;
pub mod session;
pub mod session_table;
pub mod sessions;
mod sync;
