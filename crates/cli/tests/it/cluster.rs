//! Many instances on one PostgreSQL, all of them real processes: what they promise, whatever befalls them.
//!
//! Clients issue, verify and release tokens at all instances at once and write down what they are told, while something
//! breaks; then it is judged whether all of it can be true ([`doorward_testkit::history`]), and all must serve again by
//! themselves. `cluster.lease` is short, so that a test sees many of them; no test relies on a machine that is fast.

mod clocks;
mod endings;
mod failover;
mod idle;
mod instances;
mod load;
mod nemesis;
mod outage;
mod rolling;
mod soak;
mod starting;

use std::{future::Future, time::Duration};

pub use self::{
    instances::{Cluster, INSTANCES, LEASE},
    load::Load,
};

/// Longer than anything takes that happens at all.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for something that must happen.
#[track_caller]
pub fn soon<T>(what: &str, event: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let Ok(value) = tokio::time::timeout(PATIENCE, event).await else { panic!("{place}: never: {what}") };
        value
    }
}

/// Only two clusters at a time: a machine that is too busy for leases shows nothing.
pub async fn place() -> tokio::sync::SemaphorePermit<'static> {
    static PLACES: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);
    PLACES.acquire().await.unwrap()
}

/// A number below this one.
pub fn below(bound: usize) -> usize {
    use doorward_domain::random::Randomness;
    let random: &dyn Randomness = &doorward_testkit::SystemRandomness;
    usize::from_le_bytes(random.bytes::<8>().unwrap()) % bound
}
