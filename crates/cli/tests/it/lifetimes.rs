//! When tokens end, seen from outside, with a clock that the test moves.

use std::time::Duration;

use doorward_domain::{
    clock::{TimeSource, Timestamp},
    lifetimes::Lifetimes,
};
use doorward_testkit::{Options, TestServer};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_password_token_slides_and_a_key_token_does_not() {
    let server = TestServer::start().await;
    let (sliding, fixed) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    for _ in 0..3 {
        server.clock.advance(HOUR - Duration::from_millis(1));
        assert_eq!(server.verify(&sliding).await.status, 200);
    }
    assert_eq!(server.verify(&fixed).await.status, 401);
    server.clock.advance(HOUR);
    assert_eq!(server.verify(&sliding).await.status, 401, "an hour to the millisecond");

    let fixed = server.log_in_with_key(&server.demo).await;
    server.clock.advance(2 * HOUR - Duration::from_millis(1));
    assert_eq!(server.verify(&fixed).await.status, 200, "used for the first time in its last millisecond");
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(server.verify(&fixed).await.status, 401);
}

#[tokio::test]
async fn t5_even_constant_use_ends_at_the_cap() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    let day = Duration::from_secs(24 * 3600);
    let mut uses = 0;
    while server.verify(&token).await.status == 200 {
        server.clock.advance(HOUR - Duration::from_secs(1));
        uses += 1;
        assert!(uses < 1000);
    }
    assert_eq!(uses, (30 * day).as_secs().div_ceil(3599));
}

#[tokio::test]
async fn t4_a_use_in_the_last_moment_and_a_clock_that_jumps() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    server.clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(server.verify(&token).await.header("x-auth-expires"), "2026-11-24T05:36:01.999Z");
    // Set back by a day: no hour is won.
    let now = server.clock.wall();
    server.clock.set_wall(Timestamp::from_millis(now.as_millis() - 24 * 3_600_000));
    server.clock.advance(HOUR);
    assert_eq!(server.verify(&token).await.status, 401);
    // Expired, swept or not, restarted or not, and the clock back at noon: it stays ended.
    server.clock.set_wall(now);
    assert_eq!(server.verify(&token).await.status, 401);
    server.flush(true).await;
    let server = server.crash_and_restart().await;
    server.clock.set_wall(Timestamp::from_millis(now.as_millis() - 24 * 3_600_000));
    assert_eq!(server.verify(&token).await.status, 401);
}

#[tokio::test]
async fn lifetimes_go_down_to_milliseconds() {
    let lifetimes = Lifetimes {
        password_idle: Duration::from_millis(20),
        password_cap: Duration::from_millis(50),
        api_key_lifetime: Duration::from_millis(7),
        touch_interval: Duration::from_millis(10),
    };
    let server = TestServer::with(Options { lifetimes, ..Options::default() }).await;
    let (sliding, fixed) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    server.clock.advance(Duration::from_millis(6));
    assert_eq!(server.verify(&fixed).await.status, 200);
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(server.verify(&fixed).await.status, 401);
    for _ in 0..3 {
        server.clock.advance(Duration::from_millis(12));
        assert_eq!(server.verify(&sliding).await.status, 200);
    }
    server.clock.advance(Duration::from_millis(7));
    assert_eq!(server.verify(&sliding).await.status, 401, "the cap of 50 ms");
}

/// A use is written at most `touch_interval` late, so a crash costs that much idle time at most, and wins none.
#[tokio::test]
async fn uses_survive_a_crash_once_they_are_due() {
    let server = TestServer::start().await;
    let token = server.log_in(&server.demo).await;
    server.clock.advance(Duration::from_secs(20));
    server.verify(&token).await;
    assert_eq!(server.flush(false).await, 0, "what the journal has is not half a minute old");
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(server.flush(false).await, 1);
    assert_eq!(server.flush(false).await, 0);
    let server = server.crash_and_restart().await;
    server.clock.advance(HOUR - Duration::from_secs(11));
    assert!(server.is_in_force(&token).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(!server.is_in_force(&token).await);
}

#[tokio::test]
async fn sweeping_frees_what_has_ended_and_nothing_else() {
    let server = TestServer::start().await;
    let (ended, live) = (server.log_in(&server.demo).await, server.log_in_with_key(&server.demo).await);
    assert_eq!(server.sweep().await, 0);
    server.clock.advance(HOUR);
    assert_eq!(server.metric("doorward_sessions{method=\"password\"}").await, 1.0);
    assert_eq!(server.sweep().await, 1);
    assert_eq!(server.metric("doorward_sessions{method=\"password\"}").await, 0.0);
    assert_eq!(server.metric("doorward_sessions{method=\"web_api_key\"}").await, 1.0);
    // One record of the journal for what was swept, and none for a sweep that finds nothing.
    let written = async || server.metric("doorward_journal_commit_entries_sum").await;
    let before = written().await;
    assert_eq!(server.sweep().await, 0);
    assert_eq!(written().await, before);
    let swept = server.log_in(&server.demo).await;
    server.clock.advance(HOUR - Duration::from_millis(1));
    let before = written().await;
    server.clock.advance(Duration::from_millis(1));
    assert_eq!((server.sweep().await, written().await - before), (2, 1.0), "both deleted by one entry");
    assert!(!server.is_in_force(&swept).await && !server.is_in_force(&live).await);
    let live = server.log_in_with_key(&server.demo).await;
    let server = server.crash_and_restart().await;
    assert!(server.is_in_force(&live).await && !server.is_in_force(&ended).await);
    assert_eq!(server.metric("doorward_sessions{method=\"password\"}").await, 0.0);
}
