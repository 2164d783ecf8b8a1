//! Black-box tests: a whole server over HTTP, in this process or as the real binary. The modules follow the URLs;
//! a test that proves a row of the security requirements is named after it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod apply;
mod audit;
mod backup;
mod binary;
mod client;
mod clients;
mod cluster;
mod compat;
mod errors;
mod ext_authz;
mod faults;
mod floods;
mod gateway;
mod golden;
mod guarded;
mod hashes;
mod http;
mod import;
mod kill;
mod lifetimes;
mod lockout;
mod migrate;
mod oauth;
mod operations;
mod origin;
mod program;
mod proxies;
mod recover;
mod release;
mod released;
mod requirements;
mod secrets;
mod start;
mod token;
mod verify;
mod web_api_key;
