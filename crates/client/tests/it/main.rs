//! The client against a whole server in this process, and against servers that are none of Doorward's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod door;
mod examples;
mod guarding;
mod hostile;
mod sharing;
mod verifying;

use doorward_client::{Connection, Credentials, Token};
use doorward_testkit::{Organisation, TestServer};

/// A connection to a test's server.
fn connect(server: &TestServer) -> Connection {
    Connection::to(format!("http://{}", server.api)).build().unwrap()
}

fn password(organisation: &Organisation) -> Credentials {
    Credentials::password(&organisation.code, &organisation.username, &*organisation.password)
}

fn key(organisation: &Organisation) -> Credentials {
    Credentials::key(&*organisation.key)
}

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

/// How many logins the server has judged.
async fn logins(server: &TestServer) -> usize {
    server.audit().await.iter().filter(|record| record.event.ends_with("_login")).count()
}
