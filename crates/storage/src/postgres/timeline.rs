//! Which primary a connection leads to. When a standby takes over, the old primary may live on, cut off from its
//! standbys: it commits nothing for anybody that waits for them, but it is still read from by whoever is connected, and
//! what it has is of before. PostgreSQL numbers its *timelines*: each promotion begins a higher one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::error::is_undone;

/// The connections of this process, all of them to the newest primary that any of them has met.
#[derive(Clone, Debug, Default)]
pub(super) struct Timelines(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    newest: u32,
    /// What carries the connections to that primary.
    drivers: Vec<AbortHandle>,
}

impl Timelines {
    /// Notes a connection, and ends all to older primaries. `false`: it leads to one of those itself.
    pub(super) fn admit(&self, timeline: u32, driver: AbortHandle) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timeline < known.newest {
            return false;
        }
        if timeline > known.newest {
            known.newest = timeline;
            known.drivers.drain(..).for_each(|driver| driver.abort());
        }
        known.drivers.retain(|driver| !driver.is_finished());
        known.drivers.push(driver);
        true
    }
}

/// Asks for the number of the timeline; zero where there is none to be known.
pub(super) async fn read(client: &Client) -> Result<u32, Error> {
    // Its first eight digits are the timeline. There is a function that gives the number alone, but it gives that of the
    // last checkpoint, which may have been before the promotion.
    let rows = match client.simple_query("SELECT pg_walfile_name(pg_current_wal_lsn())").await {
        Err(error) if is_undone(&error) => return Ok(0),
        rows => rows?,
    };
    let name = rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(name.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_primary_ends_the_connections_to_older_ones() {
        let timelines = Timelines::default();
        let driver = || tokio::spawn(std::future::pending::<()>());
        let (first, second, third, fourth) = (driver(), driver(), driver(), driver());
        assert!(timelines.admit(0, first.abort_handle()));
        assert!(timelines.admit(1, second.abort_handle()));
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(timelines.admit(1, third.abort_handle()));
        assert!(!second.is_finished() && !third.is_finished());
        assert!(timelines.admit(3, fourth.abort_handle()));
        assert!(second.await.is_err() && third.await.is_err());
        assert!(!timelines.admit(2, driver().abort_handle()));
        assert!(!fourth.is_finished());
    }
}
