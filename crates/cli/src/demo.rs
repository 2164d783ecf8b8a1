//! `serve --demo`: the organisation, unit, user and Web API key of the examples in CRM.COM's documentation, with
//! exactly those values, so that each example can be pasted and answers as documented.

use std::net::SocketAddr;

use anyhow::Context;
use doorward_domain::{
    change::Change,
    clock::Clock,
    credential::{Password, PlainKey},
    directory::Status,
    id::KeyId,
    journal::Entry,
    passwords::Argon2Cost,
    resource::{Classification, Key, NewSecret},
};

use crate::{
    init::{self, Founding},
    system::{SystemRandomness, SystemTime},
};

const ORGANISATION: &str = "CRMDEMO";
const UNIT: &str = "EE63A82C4FEBE02FF34E90DD1EBA5ABE";
const USERNAME: &str = "mpadministrator";
const PASSWORD: &str = "1234";
const KEY: &str = "EE73C0AE64524371B5DDEFF5F7BB2192";

/// What the demo begins with.
pub(crate) fn entries(cost: Argon2Cost) -> anyhow::Result<Vec<Entry>> {
    let (clock, random) = (&Clock::new(SystemTime), &SystemRandomness);
    let founding = Founding {
        organisation: ORGANISATION,
        unit_id: Some(UNIT.parse().context("the demo's unit")?),
        unit: "Marketplace",
        username: USERNAME,
        password: Password::parse(PASSWORD).context("the demo's password")?,
    };
    let founded = init::found(&founding, cost, clock, random)?;
    let secret = PlainKey::parse(KEY).context("the demo's key")?;
    let key = Change::CreateKey {
        organisation: founded.organisation,
        key: Key {
            id: KeyId::generate(clock.now(), random)?,
            user: founded.user,
            name: "Example of the reference".into(),
            classification: Classification::SystemicKey,
            status: Status::Active,
            verifier: true,
            allowed_addresses: Vec::new(),
            expires_at: None,
        },
        secret: NewSecret { digest: secret.digest(), hint: secret.hint() },
    };
    Ok(init::entries(founded.changes.into_iter().chain([key]), clock))
}

/// What the demo tells whoever started it.
pub(crate) fn greeting(data: &str, api: SocketAddr, admin: SocketAddr) -> String {
    let (port, admin_port) = (api.port(), admin.port());
    format!(
        r#"
Doorward is running its demo. These values are public, so it listens on this machine only.

  organisation  {ORGANISATION}
  unit          {UNIT}
  user          {USERNAME}, password {PASSWORD}
  Web API key   {KEY}
  data          {data}

Paste into another terminal:

  # log in with a password, and keep the token
  TOKEN=$(curl -s localhost:{port}/authentication/token -d '{{"username":"{USERNAME}","password":"{PASSWORD}","organisation":"{ORGANISATION}","unit":"{UNIT}"}}' | grep -o '[0-9A-F]\{{32\}}'); echo $TOKEN

  # log in with a Web API key
  curl -s -X POST localhost:{port}/authentication/web_api_key/token -u {KEY}:

  # use the token, as a reverse proxy does
  curl -si localhost:{port}/verify -H "Authorization: Bearer $TOKEN"

  # release it; from then on nothing accepts it
  curl -s localhost:{port}/authentication/token/release -d "{{\"token\":\"$TOKEN\"}}"

API document: http://localhost:{admin_port}/docs   metrics: http://localhost:{admin_port}/metrics   Ctrl-C stops.
"#
    )
}
