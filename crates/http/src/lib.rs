//! The front of the house: routes, wire types, metrics and the API document.
//!
//! A handler takes a request apart, makes one call of [`doorward_domain::doorkeeper::Doorkeeper`] or of
//! [`doorward_domain::administration`] and writes the answer. It decides nothing about credentials or tokens. All paths stand together in [`router`].

pub mod basic;
pub mod body;
mod demands;
mod envelope;
mod error;
mod filters;
mod front;
mod json;
pub mod listener;
pub mod metrics;
pub mod origin;
mod problem;
pub mod router;
mod routes;
mod state;
pub mod token_source;
mod wire;

pub use envelope::Envelope;
pub use error::ApiError;
pub use front::Front;
pub use routes::verify::IDENTITY;
pub use state::{Limits, Readiness, State};
