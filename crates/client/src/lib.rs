//! What a Rust service uses to get tokens from [Doorward] and to guard its own Web API with them.
//!
//! - A [`Connection`] knows where Doorward is and how long to wait. It logs in, releases, looks at tokens and changes
//!   passwords, one request at a time.
//! - A [`Client`] holds one token for all tasks of a program: it logs in when somebody first asks, renews ahead of the
//!   end, logs in again when the token has ended early, and releases at shutdown.
//! - A [`Verifier`] asks Doorward whom a token speaks for.
//! - A [`GuardLayer`] does so for each request to an axum, tonic or hyper service, and puts the [`Identity`] into the
//!   request's extensions.
//!
//! # Get a token and use it
//!
//! ```no_run
//! use doorward_client::{Client, Connection, Credentials};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::to("https://auth.acme.example").build()?;
//! let client = Client::new(connection, Credentials::key(std::env::var("DOORWARD_KEY")?));
//!
//! let token = client.token().await?; // clones of `client` share one login
//! println!("Authorization: Bearer {}", token.expose());
//!
//! client.shutdown().await?; // releases the token
//! # Ok(())
//! # }
//! ```
//!
//! # Guard an API
//!
//! ```no_run
//! use doorward_client::{Connection, GuardLayer, Identity, Verifier};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! async fn orders(identity: Identity) -> String {
//!     format!("orders of {}", identity.organisation.code)
//! }
//!
//! let connection = Connection::to("https://auth.acme.example").build()?;
//! let verifier = Verifier::with_key(connection, std::env::var("DOORWARD_KEY")?);
//! let app = axum::Router::new()
//!     .route("/orders", axum::routing::get(orders)) // `Identity` is an argument with the feature `axum`
//!     .layer(GuardLayer::new(verifier));
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **An outage is an error**, never "active" and never "inactive": an answer that is not Doorward's own (a proxy's page,
//!   a redirect, half an answer, too much of one) is an error too.
//! - **No answer is remembered.** A token that is released is refused by the next question about it.
//! - **Only what is safe is asked again**: questions and releases after a connection broke or a 503 named a time; a login only
//!   if no connection came about; nothing after a refusal.
//! - **No secret is shown** by `Debug`, in an error or in a log.
//!
//! [Doorward]: Connection

#[cfg(feature = "axum")]
mod axum;
mod client;
mod coalescing;
mod connection;
mod credentials;
mod error;
mod guard;
mod identity;
mod requirements;
mod token;
mod verifier;
mod wire;

pub use secrecy::SecretString;

#[cfg(feature = "axum")]
pub use self::axum::NotGuarded;
pub use self::{
    client::Client,
    connection::{Connection, ConnectionBuilder},
    credentials::Credentials,
    error::{BuildError, Error},
    guard::{Guard, GuardLayer, GuardedBody, Refusal},
    identity::{Identity, Method, Organisation, Unit, User},
    requirements::{Requirements, Role},
    token::{NotAToken, Token},
    verifier::{Access, Verdict, Verifier},
};
