//! Clocks that are apart, and that jump: those of the instances' machines, which decide nothing, and that of the
//! database, which all instances go by.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use doorward_testkit::PostgresServer;
use tokio::{task::block_in_place, time::sleep};

use super::{INSTANCES, Load, idle, place, soon};

/// Makes a database whose clock can be set: what asks it for the time finds this function first.
const CLOCK: &str = "
    CREATE SCHEMA clock;
    CREATE TABLE clock.jump (by interval NOT NULL);
    INSERT INTO clock.jump VALUES ('0 s');
    CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT pg_catalog.clock_timestamp() + (SELECT by FROM clock.jump)';
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = clock, pg_catalog', current_database());
    END $$;";

/// How far the clocks of the instances' machines are from the time.
const MACHINES: [&str; INSTANCES] = ["+7m", "-9m", "+3h"];

fn preloaded() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(any(missing_postgres, missing_faketime), ignore = "needs PostgreSQL and faketime")]
async fn clocks_are_apart_and_jump() {
    let _place = place().await;
    let database = PostgresServer::shared();
    let url = block_in_place(|| {
        let url = database.create_database();
        database.sql(&url, CLOCK);
        url
    });
    let cluster = idle::cluster_on(&url, database).await;
    let library = preloaded().unwrap();
    for (number, offset) in MACHINES.iter().enumerate() {
        cluster.instances[number].stop();
        cluster.instances[number].set_environment(&[
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME", offset),
            // Nobody sets a steady clock.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        cluster.run(number);
    }
    let cluster = Arc::new(cluster);
    let load = Load::start(&cluster);
    load.progress(10).await;
    // Together less than a token of the load lives.
    for jump in ["10 min", "-2 h"] {
        block_in_place(|| database.sql(&url, &format!("UPDATE clock.jump SET by = '{jump}'")));
        load.progress(10).await;
        until_all_know(database, &url).await;
    }
    // All go by the database's clock while that goes forward, and are not set back with it. One that was not there before
    // must not be behind the others.
    cluster.instances[1].kill();
    cluster.run(1);
    idle::is_kept(&cluster).await;
    eprintln!("clocks: {}", load.judge().await);
}

/// Waits until all instances have asked the database for the time.
async fn until_all_know(database: &PostgresServer, url: &str) {
    let renewals = || {
        let rows = "SELECT id, renewals FROM instance ORDER BY id";
        let rows = block_in_place(|| database.sql(url, rows));
        rows.lines().map(|row| row.split_once('|').unwrap().1.parse().unwrap()).collect::<Vec<u64>>()
    };
    let before = renewals();
    assert_eq!(before.len(), INSTANCES);
    soon("all renew their leases", async {
        // The first may have been under way.
        while !renewals().iter().zip(&before).all(|(now, before)| *now >= before + 2) {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
