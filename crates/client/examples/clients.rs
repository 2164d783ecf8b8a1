//! Logs in, uses the token, verifies it as a service does, and releases it.
//!
//! Set DOORWARD_URL, DOORWARD_KEY (a Web API key with the right `verifier`), and DOORWARD_ORGANISATION,
//! DOORWARD_USERNAME and DOORWARD_PASSWORD; then `cargo run --example clients`.

use std::env::var;

use doorward_client::{Client, Connection, Credentials, Error, Verdict, Verifier};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = Connection::to(var("DOORWARD_URL")?).build()?;
    let (organisation, username) = (var("DOORWARD_ORGANISATION")?, var("DOORWARD_USERNAME")?);
    let user = Credentials::password(organisation, username, var("DOORWARD_PASSWORD")?);
    for line in log_in_use_verify_release(connection, user, &var("DOORWARD_KEY")?).await? {
        println!("{line}");
    }
    Ok(())
}

/// What a program does with a token, and what the service does that it calls.
pub async fn log_in_use_verify_release(
    connection: Connection,
    user: Credentials,
    key: &str,
) -> Result<Vec<String>, Error> {
    // Log in. A client is made once and cloned: its tasks share one token.
    let client = Client::new(connection.clone(), user);
    let token = client.token().await?;

    // Use the token. Any guarded API takes it in this header; Doorward's own tells whose it is.
    let header = format!("Bearer {}", token.expose());
    let response = reqwest::Client::new()
        .get(format!("{}/authentication/token", connection.address()))
        .header("Authorization", header)
        .send();
    let status = response.await.map_or(0, |response| response.status().as_u16());
    let mut told = vec![format!("used: {status}")];

    // Verify it, as the service does that is called; `GuardLayer` does so for each request.
    let verifier = Verifier::with_key(connection, key);
    if let Verdict::Active(identity) = verifier.verify(&token).await? {
        told.push(format!("active: {} of {}", identity.user.name, identity.organisation.code));
    }

    // Release it: from now on nobody accepts it.
    client.shutdown().await?;
    if verifier.verify(&token).await? == Verdict::Inactive {
        told.push("released".to_owned());
    }
    Ok(told)
}
