//! What tests share: a clock that they move, a whole server in their own process, on real sockets and a real database,
//! a PostgreSQL of their own, a proxy with faults, and a judge of what clients were told. For tests only.

pub mod clock;
pub mod conformance;
pub mod fault_proxy;
pub mod history;
pub mod postgres;
pub mod server;
pub mod world;

pub use clock::TestClock;
pub use fault_proxy::{Fault, FaultProxy};
pub use history::History;
pub use postgres::{PostgresServer, PostgresSession};
pub use server::{Administrator, Answer, Options, TestServer};
pub use world::{Demo, Organisation};

use doorward_domain::random::{NoRandomness, Randomness};

/// The operating system's generator.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }
}
