//! What tests share: a clock that they move, a whole server in their own process, on real sockets and a real database,
//! and a PostgreSQL of their own. For tests only.

pub mod clock;
pub mod conformance;
pub mod postgres;
pub mod server;
pub mod world;

pub use clock::TestClock;
pub use postgres::PostgresServer;
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
