//! How many connections the process has file descriptors for.
//!
//! A process that has none left takes no connection and opens no file, the database's included. So the soft limit, which
//! many systems leave at 1,024, is raised as far as it goes, and the listeners have together no more places than fit below it.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What is left for the database, logs, certificates and whatever else is opened.
const RESERVED: u64 = 256;
/// Places of the admin listener, where there is room: health checks and operators need few.
const ADMIN: u64 = 512;

/// The places of each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Of the API listener, and of Envoy's.
    pub(crate) api: usize,
    /// Of the admin listener. They are its own, so that operators get in whatever goes on at the others.
    pub(crate) admin: usize,
}

/// Raises the limit of open files, and shares it out among the admin listener and `listeners` others that want this many
/// places each.
pub(crate) fn share(wanted: usize, listeners: u64) -> Shares {
    let shares = divide(raise(), wanted, listeners);
    if shares.api < wanted {
        tracing::warn!(
            wanted,
            places = shares.api,
            "the process may open too few files for 'limits.connections'; raise its limit (LimitNOFILE= of systemd, ulimit -n)"
        );
    }
    shares
}

/// The number of files that may be open, once the soft limit is what the hard one allows; `None` if there is no limit.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    }
}

fn divide(files: Option<u64>, wanted: usize, listeners: u64) -> Shares {
    let files = files.unwrap_or(u64::MAX);
    let places = files.saturating_sub(RESERVED.min(files / 4));
    let admin = ADMIN.min(places / 8).max(1);
    let api = ((places - admin.min(places)) / listeners.max(1)).max(1);
    let count = |places: u64| usize::try_from(places).unwrap_or(usize::MAX);
    Shares { api: count(api).min(wanted), admin: count(admin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o3_places_fit_below_the_limit_of_open_files() {
        for (files, wanted, listeners, api, admin) in [
            (None, 10_000, 1, 10_000, 512),
            (Some(1_048_576), 10_000, 2, 10_000, 512),
            (Some(20_000), 10_000, 2, 9_616, 512),
            (Some(4_096), 10_000, 1, 3_360, 480),
            (Some(1_024), 10_000, 1, 672, 96),
            (Some(1_024), 16, 1, 16, 96),
        ] {
            assert_eq!(divide(files, wanted, listeners), Shares { api, admin }, "{files:?}");
        }
        for files in 0..3_000 {
            let Shares { api, admin } = divide(Some(files), 10_000, 2);
            let shared = files - RESERVED.min(files / 4);
            assert!(files < 32 || (2 * api + admin) as u64 <= shared, "{files}: {api} {admin}");
        }
    }
}
