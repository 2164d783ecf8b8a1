//! The server of the tests does what tests need of it.

use doorward_testkit::PostgresServer;

#[test]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
fn it_outlives_a_kill_and_a_stop_and_a_standby_takes_its_place() {
    let primary = PostgresServer::start();
    let database = primary.create_database();
    primary.sql(&database, "CREATE TABLE kept (number bigint)");
    let standby = primary.start_standby("second");
    primary.wait_for_standbys("second");
    primary.sql(&database, "INSERT INTO kept VALUES (7)");

    primary.kill();
    assert!(primary.try_sql(&database, "SELECT 1").is_err());
    primary.run();
    primary.stop();
    primary.run();
    assert_eq!(primary.sql(&database, "SELECT number, 'a' < 'B' FROM kept"), "7|t");

    primary.kill();
    standby.promote();
    assert_eq!(standby.sql("test_0", "SELECT number FROM kept"), "7");
}
