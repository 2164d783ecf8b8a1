//! The example does what it says.

#[expect(dead_code, reason = "the test calls what `main` calls")]
#[path = "../../examples/clients.rs"]
mod clients;

use doorward_testkit::TestServer;

use crate::{connect, password};

#[tokio::test]
async fn the_example_logs_in_uses_verifies_and_releases() {
    let server = TestServer::start().await;
    let (connection, user) = (connect(&server), password(&server.demo));
    let told = clients::log_in_use_verify_release(connection, user, &server.demo.key).await.unwrap();
    assert_eq!(told, ["used: 200", "active: mpadministrator of CRMDEMO", "released"]);
}
