//! The handlers, a file for each resource.

pub mod health;
pub mod introspect;
pub mod key_token;
pub mod release;
pub mod revoke;
pub mod token;
pub mod verify;
