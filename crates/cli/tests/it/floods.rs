//! Too much at once, and a store that is slow (`security.md` O1).

use std::time::Duration;

use doorward_testkit::{Options, TestServer};

/// O1: while the disk takes its time, logins and releases wait as long as they may and are refused; whoever comes then is not
/// kept waiting; verification notices nothing, and afterwards all goes on.
#[tokio::test]
async fn o1_a_slow_store_is_unavailable_and_verification_goes_on() {
    let mut options = Options::default();
    options.limits.answer_timeout = Duration::from_millis(200);
    let server = TestServer::with(options).await;
    let (kept, wanted) = (server.log_in(&server.demo).await, server.log_in(&server.demo).await);
    let release = async |token: &str| {
        let answer = server.release(token).await;
        (answer.status, answer.code(), answer.header("retry-after").to_owned())
    };
    let unavailable = || (503, "UNAVAILABLE".to_owned(), "1".to_owned());
    let database = rusqlite::Connection::open(server.folder().join("doorward.db")).unwrap();
    // The journal waits for whoever else writes, for five seconds at most.
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(release(&wanted).await, unavailable());
    for _ in 0..20 {
        assert_eq!(release(&wanted).await, unavailable());
        assert_eq!(server.try_key(&server.demo.key).await.status, 503);
        assert_eq!(server.verify(&kept).await.status, 200);
        assert!(server.is_in_force(&wanted).await, "a release that was not done is not in force either");
    }
    database.execute_batch("ROLLBACK").unwrap();
    // The commit under way ends within the time that SQLite lets pass between two tries.
    while server.try_key(&server.demo.key).await.status != 200 {}
    assert_eq!(release(&wanted).await.0, 200);
    assert!(!server.is_in_force(&wanted).await && server.is_in_force(&kept).await);
    let refused =
        server.metric("doorward_requests_total{endpoint=\"release\",outcome=\"UNAVAILABLE\"}").await;
    assert_eq!(refused, 21.0);
}
