//! Sessions as they are issued and used.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use doorward_domain::{
    address::Network,
    id::KeyId,
    journal::{Entry, KeyUse, Seen},
    session::{Identity, Method, Session, SessionNumber},
};
use tokio_postgres::{Error, types::ToSql};

use super::{connect::Connection, values::big};

/// A session to be added, if its account is still as it was seen.
pub(super) struct Issue<'a> {
    /// The place of its entry in the batch.
    pub(super) place: usize,
    pub(super) number: SessionNumber,
    pub(super) session: &'a Session,
    pub(super) identity: &'a Identity,
    pub(super) seen: &'a Seen,
    /// From where the user is known from now on.
    pub(super) known: Option<Network>,
    pub(super) address: Option<IpAddr>,
}

/// Adds sessions whose marks and names are all as the logins saw them. A row that is not there, or is another
/// organisation's, has neither. A session under an old name would keep it, for a rename reaches the sessions before it
/// alone. The marks cannot move until the transaction commits, because who moves them must lock the chain first.
const ADD: &str = r#"
    WITH added AS (
        INSERT INTO session (number, digest, "user", unit, key, issued_at, idle_ms, ends_at, address)
        SELECT new.number, new.digest, new."user", new.unit, new.key, new.issued_at, new.idle_ms, new.ends_at, new.address
        FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::text[], $6::bytea[], $7::bigint[],
                    $8::text[], $9::bytea[], $10::bigint[], $11::text[], $12::bytea[], $13::bigint[], $14::bigint[],
                    $15::bigint[], $16::bigint[], $17::text[])
             AS new (number, digest, organisation, organisation_mark, code, unit, unit_mark, unit_name, "user", user_mark,
                     username, key, key_mark, issued_at, idle_ms, ends_at, address)
        JOIN organisation ON organisation.id = new.organisation AND organisation.ended = new.organisation_mark
                             AND organisation.code = new.code
        JOIN unit ON unit.id = new.unit AND unit.organisation = new.organisation AND unit.ended = new.unit_mark
                     AND unit.name = new.unit_name
        JOIN "user" ON "user".id = new."user" AND "user".organisation = new.organisation
                       AND "user".ended = new.user_mark AND "user".username = new.username
        LEFT JOIN web_api_key ON web_api_key.id = new.key AND web_api_key."user" = new."user"
                                 AND web_api_key.organisation = new.organisation AND web_api_key.ended = new.key_mark
        WHERE new.key IS NULL AND new.key_mark IS NULL OR web_api_key.id IS NOT NULL
        ORDER BY new.number
        RETURNING number
    ), used AS (
        INSERT INTO session_use (number, last_used_at)
        SELECT added.number, new.last_used_at
        FROM added JOIN unnest($1::bigint[], $18::bigint[]) AS new (number, last_used_at) ON new.number = added.number
        ORDER BY added.number
    )
    SELECT number FROM added"#;

/// Notes the last login with a password of users whose session was added.
const NOTE_LOGIN: &str = r#"
    UPDATE "user" SET last_login_at = greatest(last_login_at, latest.at)
    FROM (SELECT new."user", max(new.at) AS at
          FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS new (number, "user", at)
          JOIN session ON session.number = new.number
          GROUP BY new."user") AS latest
    WHERE "user".id = latest."user""#;

/// Notes from where.
const NOTE_ADDRESS: &str = r#"
    INSERT INTO known_address ("user", network, succeeded_at)
    SELECT new."user", new.network, max(new.at)
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[]) AS new (number, "user", at, network)
    JOIN session ON session.number = new.number
    WHERE new.network IS NOT NULL
    GROUP BY new."user", new.network
    ORDER BY new."user", new.network
    ON CONFLICT ON CONSTRAINT known_address_id
    DO UPDATE SET succeeded_at = greatest(known_address.succeeded_at, excluded.succeeded_at)"#;

/// Forgets all but the latest places that users are known from.
const FORGET_ADDRESSES: &str = r#"
    DELETE FROM known_address
    USING (SELECT "user", network,
                  row_number() OVER (PARTITION BY "user" ORDER BY succeeded_at DESC, network) AS place
           FROM known_address WHERE "user" = ANY ($1)) AS known
    WHERE known.place > $2 AND known_address."user" = known."user" AND known_address.network = known.network"#;

/// From how many places a user is known at most, the latest of them.
const KNOWN_ADDRESSES: i64 = 16;

/// Says which sessions were added, by their numbers.
pub(super) async fn add(
    connection: &mut Connection,
    issues: &[Issue<'_>],
) -> Result<HashSet<SessionNumber>, Error> {
    fn each<'a, T>(issues: &'a [Issue<'a>], value: impl Fn(&'a Issue<'a>) -> T) -> Vec<T> {
        issues.iter().map(value).collect()
    }
    let with_password: Vec<_> =
        issues.iter().filter(|issue| issue.identity.method == Method::Password).collect();
    let add = connection.prepare(ADD).await?;
    let note_login = connection.prepare(NOTE_LOGIN).await?;
    let note_address = connection.prepare(NOTE_ADDRESS).await?;
    let forget_addresses = connection.prepare(FORGET_ADDRESSES).await?;

    let numbers = each(issues, |issue| big(issue.number.0));
    let digests = each(issues, |issue| issue.session.digest.as_bytes().as_slice());
    let organisations = each(issues, |issue| issue.identity.organisation.to_bytes().to_vec());
    let organisation_marks = each(issues, |issue| big(issue.seen.organisation.0));
    let codes = each(issues, |issue| issue.identity.organisation_code.as_str());
    let units = each(issues, |issue| issue.identity.unit.to_bytes().to_vec());
    let unit_marks = each(issues, |issue| big(issue.seen.unit.0));
    let unit_names = each(issues, |issue| issue.identity.unit_name.as_str());
    let users = each(issues, |issue| issue.identity.user.to_bytes().to_vec());
    let user_marks = each(issues, |issue| big(issue.seen.user.0));
    let usernames = each(issues, |issue| issue.identity.username.as_str());
    let keys = each(issues, |issue| issue.identity.method.key().map(KeyId::to_bytes).map(Vec::from));
    let key_marks = each(issues, |issue| issue.seen.key.map(|mark| big(mark.0)));
    let issued_at = each(issues, |issue| issue.session.issued_at.as_millis());
    let idle = each(issues, |issue| issue.session.idle.map(|idle| idle.as_millis() as i64));
    let ends_at = each(issues, |issue| issue.session.ends_at.as_millis());
    let addresses = each(issues, |issue| issue.address.map(|address| address.to_string()));
    let last_used_at = each(issues, |issue| issue.session.last_used_at.as_millis());

    let login_numbers: Vec<_> = with_password.iter().map(|issue| big(issue.number.0)).collect();
    let login_users: Vec<_> =
        with_password.iter().map(|issue| issue.identity.user.to_bytes().to_vec()).collect();
    let logins_at: Vec<_> = with_password.iter().map(|issue| issue.session.issued_at.as_millis()).collect();
    let networks: Vec<_> =
        with_password.iter().map(|issue| issue.known.map(|network| network.to_string())).collect();
    let have_logins = !login_numbers.is_empty();
    let have_networks = networks.iter().any(Option::is_some);

    let row: &[&(dyn ToSql + Sync)] = &[
        &numbers,
        &digests,
        &organisations,
        &organisation_marks,
        &codes,
        &units,
        &unit_marks,
        &unit_names,
        &users,
        &user_marks,
        &usernames,
        &keys,
        &key_marks,
        &issued_at,
        &idle,
        &ends_at,
        &addresses,
        &last_used_at,
    ];
    let client = &connection.client;
    let (added, ..) = tokio::try_join!(
        biased;
        client.query(
            &add,
            row,
        ),
        async {
            if !have_logins {
                return Ok(0);
            }
            client.execute(&note_login, &[&login_numbers, &login_users, &logins_at]).await
        },
        async {
            if !have_networks {
                return Ok(0);
            }
            client.execute(&note_address, &[&login_numbers, &login_users, &logins_at, &networks]).await
        },
        async {
            if !have_networks {
                return Ok(0);
            }
            client.execute(&forget_addresses, &[&login_users, &KNOWN_ADDRESSES]).await
        },
    )?;
    added.iter().map(|row| Ok(SessionNumber(row.try_get::<_, i64>(0)?.unsigned_abs()))).collect()
}

/// Writes later uses, those of sessions that are there; and locks, in the order of numbers, all rows of uses that the
/// transaction is going to change, so that no other can hold one of them and wait for another.
pub(super) const TOUCH: &str = "
    WITH wanted AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS wanted (number, used_at)
    ), locked AS (
        SELECT session_use.number FROM session_use JOIN wanted ON wanted.number = session_use.number
        ORDER BY session_use.number FOR UPDATE OF session_use
    )
    UPDATE session_use SET last_used_at = greatest(last_used_at, wanted.used_at)
    FROM wanted JOIN locked ON locked.number = wanted.number
    WHERE session_use.number = wanted.number AND wanted.used_at IS NOT NULL";

/// The sessions whose uses a batch writes or deletes, by number, and the latest use that it tells of each.
pub(super) fn touched(batch: &[Entry]) -> (Vec<i64>, Vec<Option<i64>>) {
    let mut touched: BTreeMap<i64, Option<i64>> = BTreeMap::new();
    let mut touch = |number: SessionNumber, used_at: Option<i64>| {
        let latest = touched.entry(big(number.0)).or_default();
        *latest = (*latest).max(used_at);
    };
    for entry in batch {
        match entry {
            Entry::Uses(uses) => {
                uses.iter().for_each(|used| touch(used.number, Some(used.last_used_at.as_millis())));
            }
            Entry::Release { number, .. } => touch(*number, None),
            Entry::Forget { sessions, .. } => sessions.iter().for_each(|session| touch(session.number, None)),
            _ => {}
        }
    }
    touched.into_iter().unzip()
}

/// Notes later uses of secrets. One that is not there stays away.
pub(super) async fn note_key_uses(connection: &mut Connection, uses: Vec<KeyUse>) -> Result<(), Error> {
    if uses.is_empty() {
        return Ok(());
    }
    let sql = "
        UPDATE key_secret SET last_used_at = latest.at, last_used_from = latest.address
        FROM (SELECT DISTINCT ON (digest) digest, at, address
              FROM unnest($1::bytea[], $2::bigint[], $3::text[]) WITH ORDINALITY AS used (digest, at, address, place)
              ORDER BY digest, at DESC, place DESC) AS latest
        WHERE key_secret.digest = latest.digest AND coalesce(key_secret.last_used_at, latest.at) <= latest.at";
    let statement = connection.prepare(sql).await?;
    let digests: Vec<_> = uses.iter().map(|used| used.secret.as_bytes().as_slice()).collect();
    let at: Vec<_> = uses.iter().map(|used| used.at.as_millis()).collect();
    let addresses: Vec<_> = uses.iter().map(|used| used.from.map(|address| address.to_string())).collect();
    connection.client.execute(&statement, &[&digests, &at, &addresses]).await?;
    Ok(())
}
