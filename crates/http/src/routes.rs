//! The handlers, a file for each resource.

pub mod admin;
pub mod batch;
pub mod ext_authz;
pub mod health;
pub mod introspect;
pub mod key_token;
pub mod password;
pub mod release;
pub mod revoke;
pub mod token;
pub mod verify;
