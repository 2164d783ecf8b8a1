//! The ledger: batches of the journal, each one transaction, few round trips each.
//!
//! A transaction first locks the chains of all organisations that it concerns, in the order of their ids, and draws its
//! numbers under those locks; last of all it takes its places in the release log. So transactions of many instances
//! cannot lock each other out, the numbers of an organisation stand in the order of its commits, and the head of the
//! log, for which all wait, is held only while a commit is under way.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Instant,
    vec,
};

use doorward_domain::{
    audit::AuditRecord,
    change::Change,
    clock::Timestamp,
    cluster::{LogNumber, Notice},
    id::OrganisationId,
    journal::{Committed, Entry, KeyUse, Ledger, LedgerError, Outcome},
    observer::Observer,
    session::{Departed, SessionNumber},
};
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::Error;

use super::{
    audit::{self, Chains},
    change::{self, Moment},
    connect::{Connection, Target, prefer},
    ended::{self, Ended},
    error::{is_conflict, is_of_the_connection, is_undone, not_in_time, nothing_stored, unknown},
    log,
    sessions::{self, Issue},
    values::big,
};
use crate::{Kind, words};

/// Where the journal's batches are made durable.
pub struct PostgresLedger {
    pub(super) writer: Writer,
    /// What carries the connection; the journal's own thread waits for it.
    pub(super) runtime: Handle,
    pub(super) observer: Arc<dyn Observer>,
}

impl Ledger for PostgresLedger {
    /// Must not be called by a thread of the runtime.
    fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        let started = Instant::now();
        let committed = self.runtime.block_on(self.writer.commit(batch))?;
        let took = started.elapsed();
        self.observer.committed(batch.len(), took);
        Ok(Committed { took, ..committed })
    }
}

/// How often a batch is tried again that others were in the way of.
const TRIES: usize = 5;
/// How many statements' time a batch has.
const PATIENCE: u32 = 3;

/// The one connection of an instance that writes batches; made anew when it is lost.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) target: Target,
    pub(super) connection: Option<Connection>,
}

impl Writer {
    pub(super) async fn commit(&mut self, batch: &[Entry]) -> Result<Committed, LedgerError> {
        let committed = self.persist(batch, None).await?;
        // Only a first batch is given up.
        Ok(committed.unwrap_or_else(|| Vec::new().into()))
    }

    /// Commits the first batch of a database, all of it, together with the note what it is for. `None`: it contradicts
    /// itself, and nothing was stored.
    pub(super) async fn commit_first(
        &mut self,
        batch: &[Entry],
        kind: Kind,
    ) -> Result<Option<Committed>, LedgerError> {
        self.persist(batch, Some(kind)).await
    }

    async fn persist(
        &mut self,
        batch: &[Entry],
        kind: Option<Kind>,
    ) -> Result<Option<Committed>, LedgerError> {
        let (mut conflicts, mut is_new) = (0, false);
        let database = self.target.name.clone();
        loop {
            let commit_sent = AtomicBool::new(false);
            let limit = PATIENCE * self.target.statement_timeout;
            let attempt = timeout(limit, self.attempt(batch, kind, &commit_sent)).await;
            let is_sent = commit_sent.load(Ordering::Relaxed);
            let error = match attempt {
                Ok(Ok(committed)) => return Ok(committed),
                Ok(Err(Failure::Sql(error))) if !is_sent || is_undone(&error) => error,
                Ok(Err(Failure::Sql(error))) => {
                    self.connection = None;
                    return Err(unknown(&database, super::error::describe(&error)));
                }
                Ok(Err(Failure::Unreplicated)) => {
                    self.connection = None;
                    return Err(unknown(&database, "its standbys did not confirm it"));
                }
                Err(_) => {
                    self.connection = None;
                    return Err(if is_sent {
                        unknown(&database, "no answer in time")
                    } else {
                        not_in_time(&database)
                    });
                }
            };
            // Nothing is stored, so it may be tried again: by another connection, for this one may be in any state.
            self.connection = None;
            if is_conflict(&error) && conflicts < TRIES {
                conflicts += 1;
            } else if is_of_the_connection(&error) && !is_new {
                is_new = true;
            } else {
                return Err(nothing_stored(&database, &error));
            }
        }
    }

    async fn attempt(
        &mut self,
        batch: &[Entry],
        kind: Option<Kind>,
        commit_sent: &AtomicBool,
    ) -> Result<Option<Committed>, Failure> {
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => {
                let connection = self.target.connect().await?;
                // One entry wants another plan than two thousand, and large tables another than small ones.
                prefer(&connection.client, "SET plan_cache_mode = force_custom_plan").await?;
                connection
            }
        };
        let connection = self.connection.insert(connection);
        write(connection, batch, kind, commit_sent).await
    }
}

/// Why an attempt did not succeed.
enum Failure {
    Sql(Error),
    /// The transaction is on the primary, and waiting for the standbys was broken off.
    Unreplicated,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

/// Writes a batch as one transaction.
async fn write(
    connection: &mut Connection,
    batch: &[Entry],
    kind: Option<Kind>,
    commit_sent: &AtomicBool,
) -> Result<Option<Committed>, Failure> {
    let mut organisations: BTreeSet<Option<OrganisationId>> =
        batch.iter().flat_map(concerns).flatten().collect();
    for entry in batch {
        if let Entry::ForgetRecords { before, limit } = entry {
            organisations.extend(audit::list_old(connection, *before, *limit).await?);
        }
    }
    let (mut chains, mut numbers) = loop {
        let begun = begin(connection, batch, kind, &organisations).await?;
        if begun.0.len() == organisations.len() {
            break begun;
        }
        // A row made inside the transaction would be locked out of turn.
        connection.client.batch_execute("ROLLBACK").await?;
        audit::make_chains(connection, &organisations).await?;
    };
    let mut work = Work { outcomes: vec![Outcome::Committed(None); batch.len()], ..Work::default() };
    for (place, entry) in batch.iter().enumerate() {
        work.write(connection, &mut chains, place, entry, &mut numbers).await?;
    }
    work.finish_run(connection).await?;

    if kind.is_some() && work.outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Committed(_))) {
        connection.client.batch_execute("ROLLBACK").await?;
        return Ok(None);
    }
    let records = audit::chain(&mut chains, &work.records(batch));
    let notices = notices(batch, &work.outcomes);
    let latest =
        batch.iter().filter_map(|entry| if let Entry::Tick(at) = entry { Some(*at) } else { None }).max();
    let logged =
        finish(connection, &chains, &records, &notices, &work.forgotten, latest, commit_sent).await?;
    if logged.is_some() {
        notify(connection);
    }
    Ok(Some(Committed { logged, ..work.outcomes.into() }))
}

/// Begins a transaction: locks the chains that are there, writes uses and locks what else is changed of them, and draws
/// a number for each entry that may need one.
async fn begin(
    connection: &mut Connection,
    batch: &[Entry],
    kind: Option<Kind>,
    organisations: &BTreeSet<Option<OrganisationId>>,
) -> Result<(Chains, Numbers), Error> {
    let lock = connection.prepare(audit::LOCK).await?;
    let touch = connection.prepare(sessions::TOUCH).await?;
    let draw =
        connection.prepare("SELECT nextval('session_number') FROM generate_series(1::bigint, $1)").await?;
    let ids: Vec<_> = organisations.iter().map(|organisation| audit::chain_id(*organisation)).collect();
    let (touched, used_at) = sessions::touched(batch);
    let drawn = big(batch.iter().filter(|entry| draws(entry)).count() as u64);
    let last = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM session_number";
    let last = connection.prepare(last).await?;
    let client = &connection.client;
    let (_, _, locked, _, last, drawn) = tokio::try_join!(
        biased;
        client.batch_execute("BEGIN"),
        async {
            let Some(kind) = kind else { return Ok(0) };
            let sql = "INSERT INTO journal_state (one, kind, oldest_reader) VALUES (1, $1, $2)";
            let oldest_reader = i32::try_from(super::schema::known()).unwrap_or(i32::MAX);
            client.execute(sql, &[&words::kind(kind), &oldest_reader]).await
        },
        async { if ids.is_empty() { Ok(Vec::new()) } else { client.query(&lock, &[&ids]).await } },
        async { if touched.is_empty() { Ok(0) } else { client.execute(&touch, &[&touched, &used_at]).await } },
        client.query_one(&last, &[]),
        async { if drawn == 0 { Ok(Vec::new()) } else { client.query(&draw, &[&drawn]).await } },
    )?;
    let chains = locked.iter().map(audit::read_end).collect::<Result<_, _>>()?;
    let mut numbers = drawn.iter().map(|row| row.try_get::<_, i64>(0)).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    let drawn: Vec<_> = numbers.into_iter().map(|number| SessionNumber(number.unsigned_abs())).collect();
    let last = SessionNumber(last.try_get::<_, i64>(0)?.unsigned_abs());
    Ok((chains, Numbers { last, drawn: drawn.into_iter() }))
}

/// Whether an entry needs a number, if it is committed.
fn draws(entry: &Entry) -> bool {
    match entry {
        Entry::Issue { .. } => true,
        Entry::Change { change, .. } => change.ends().is_some(),
        _ => false,
    }
}

/// The numbers of a batch.
struct Numbers {
    /// The last that anybody has taken for the batch's organisations.
    last: SessionNumber,
    drawn: vec::IntoIter<SessionNumber>,
}

impl Numbers {
    /// The number for an entry, or none; and the last that was taken before it.
    fn take(&mut self, entry: &Entry) -> (Option<SessionNumber>, SessionNumber) {
        let before = self.last;
        // There are as many as entries that need one.
        let number = if draws(entry) { self.drawn.next() } else { None };
        self.last = number.unwrap_or(before);
        (number, before)
    }
}

/// The chains of the organisations that an entry concerns. Whatever concerns one of them waits until the transaction has
/// committed.
fn concerns(entry: &Entry) -> [Option<Option<OrganisationId>>; 2] {
    match entry {
        Entry::Issue { identity, audit, .. } => [Some(Some(identity.organisation)), Some(audit.organisation)],
        Entry::Release { audit, .. } | Entry::Record(audit) => [Some(audit.organisation), None],
        Entry::Change { change, audit, .. } => [Some(Some(organisation(change))), Some(audit.organisation)],
        Entry::Rehash { organisation, .. } => [Some(Some(*organisation)), None],
        Entry::DeleteUsers { organisation, audit, .. } => {
            [Some(Some(*organisation)), Some(audit.organisation)]
        }
        // What these write, others may write too in whatever order.
        Entry::Uses(_)
        | Entry::KeyUses(_)
        | Entry::Forget { .. }
        | Entry::ForgetRecords { .. }
        | Entry::Tick(_)
        | Entry::ForgetOnce(_) => [None, None],
    }
}

/// The organisation that a change is of.
fn organisation(change: &Change) -> OrganisationId {
    match change {
        Change::CreateOrganisation(organisation) | Change::UpdateOrganisation { organisation, .. } => {
            organisation.id
        }
        Change::DeleteOrganisation { id, .. } => *id,
        Change::SetRules { organisation, .. }
        | Change::CreateUnit { organisation, .. }
        | Change::UpdateUnit { organisation, .. }
        | Change::DeleteUnit { organisation, .. }
        | Change::CreateUser { organisation, .. }
        | Change::UpdateUser { organisation, .. }
        | Change::DeleteUser { organisation, .. }
        | Change::SetPassword { organisation, .. }
        | Change::CreateKey { organisation, .. }
        | Change::UpdateKey { organisation, .. }
        | Change::RotateKey { organisation, .. }
        | Change::DeleteKey { organisation, .. }
        | Change::EndSessions { organisation, .. } => *organisation,
    }
}

/// How far a batch has come.
#[derive(Default)]
struct Work<'a> {
    outcomes: Vec<Outcome>,
    /// What needs no order among itself and waits to be written by one statement for each kind.
    issues: Vec<Issue<'a>>,
    ended: Vec<Ended>,
    key_uses: Vec<KeyUse>,
    /// Deletions of users that found none, and have nothing to record.
    idle: BTreeSet<usize>,
    forgotten: Forgotten,
}

/// What may be forgotten when a batch is done.
#[derive(Default)]
struct Forgotten {
    /// The latest time that the batch tells of.
    now: Option<Timestamp>,
    limit: usize,
}

impl Forgotten {
    fn add(&mut self, now: Timestamp, limit: usize) {
        self.now = self.now.max(Some(now));
        self.limit += limit;
    }
}

impl<'a> Work<'a> {
    async fn write(
        &mut self,
        connection: &mut Connection,
        chains: &mut Chains,
        place: usize,
        entry: &'a Entry,
        numbers: &mut Numbers,
    ) -> Result<(), Error> {
        let (taken, before) = numbers.take(entry);
        let number = taken.unwrap_or_default();
        match entry {
            Entry::Issue { session, identity, seen, known, audit } => {
                let address = audit.origin.address;
                self.issues.push(Issue { place, number, session, identity, seen, known: *known, address });
            }
            Entry::Release { number, last_used_at, audit, .. } => {
                // A session that is gone already has ended too.
                self.ended.push(Ended {
                    number: *number,
                    at: audit.at,
                    organisation: audit.organisation,
                    last_used_at: *last_used_at,
                    released: Some(audit.actor),
                });
                self.forgotten.add(audit.at, 2);
            }
            Entry::Forget { sessions, at } => {
                for Departed { number, organisation, last_used_at } in sessions.iter().copied() {
                    self.ended.push(Ended { number, at: *at, organisation, last_used_at, released: None });
                }
                // Twice as many as come, so that the oldest go however many there are.
                self.forgotten.add(*at, 2 * sessions.len());
            }
            Entry::KeyUses(uses) => self.key_uses.extend_from_slice(uses),
            Entry::Tick(at) => self.forgotten.add(*at, FORGOTTEN_A_TICK),
            Entry::Change { change, once, audit } => {
                self.finish_run(connection).await?;
                let moment = Moment::new(audit.at, number, before);
                let outcome = change::apply(connection, change, once.as_ref(), moment).await?;
                self.outcomes[place] = outcome;
                if outcome == Outcome::Committed(None) && taken.is_some() {
                    ended::note_ending(connection, change, number, audit.at, audit.actor).await?;
                    self.outcomes[place] = Outcome::Committed(Some(number));
                }
            }
            Entry::Rehash { organisation, user, from, to } => {
                self.finish_run(connection).await?;
                if !change::rehash(connection, *organisation, *user, from, to).await? {
                    self.outcomes[place] = Outcome::Refused;
                }
            }
            Entry::DeleteUsers { organisation, limit, .. } => {
                self.finish_run(connection).await?;
                if !change::delete_users(connection, *organisation, *limit).await? {
                    self.idle.insert(place);
                }
            }
            Entry::ForgetRecords { before, limit } => {
                audit::remove(connection, chains, *before, *limit).await?
            }
            Entry::ForgetOnce(before) => change::forget_once(connection, *before).await?,
            // Written when the transaction began, and when it ends.
            Entry::Uses(_) | Entry::Record(_) => {}
        }
        Ok(())
    }

    /// Writes what waits.
    async fn finish_run(&mut self, connection: &mut Connection) -> Result<(), Error> {
        if !self.issues.is_empty() {
            let issues = std::mem::take(&mut self.issues);
            let issued = sessions::add(connection, &issues).await?;
            for issue in issues {
                self.outcomes[issue.place] = if issued.contains(&issue.number) {
                    Outcome::Committed(Some(issue.number))
                } else {
                    Outcome::Refused
                };
            }
        }
        ended::end(connection, std::mem::take(&mut self.ended)).await?;
        sessions::note_key_uses(connection, std::mem::take(&mut self.key_uses)).await
    }

    /// The audit records of what was committed, in order.
    fn records(&self, batch: &'a [Entry]) -> Vec<&'a AuditRecord> {
        let records =
            batch.iter().zip(&self.outcomes).enumerate().filter_map(
                |(place, (entry, outcome))| match entry {
                    Entry::Issue { audit, .. }
                    | Entry::Release { audit, .. }
                    | Entry::Change { audit, .. }
                    | Entry::Record(audit) => matches!(outcome, Outcome::Committed(_)).then_some(audit),
                    Entry::DeleteUsers { audit, .. } => (!self.idle.contains(&place)).then_some(audit),
                    _ => None,
                },
            );
        records.collect()
    }
}

/// How many sessions that ended long ago are forgotten with each tick, when nothing else ends.
const FORGOTTEN_A_TICK: usize = 500;

/// What other instances must know of a batch.
fn notices(batch: &[Entry], outcomes: &[Outcome]) -> Vec<Notice> {
    let mut notices = Vec::new();
    for (entry, outcome) in batch.iter().zip(outcomes) {
        let Outcome::Committed(number) = outcome else { continue };
        match entry {
            Entry::Release { session, .. } => notices.push(Notice::Released(*session)),
            Entry::Change { change, .. } => {
                let before = notices.len();
                if let (Some(scope), Some(number)) = (change.ends(), number) {
                    notices.push(Notice::Ended(scope, *number));
                }
                if let Some((organisation, scope, name)) = change.renames() {
                    notices.push(Notice::Renamed { organisation, scope, name: name.to_owned() });
                }
                if notices.len() == before {
                    notices.push(Notice::Changed);
                }
            }
            _ => {}
        }
    }
    notices
}

/// Writes what a batch ends with, and commits. Returns the last number of the release log that it took.
async fn finish(
    connection: &mut Connection,
    chains: &Chains,
    records: &[audit::Record],
    notices: &[Notice],
    forgotten: &Forgotten,
    latest: Option<Timestamp>,
    commit_sent: &AtomicBool,
) -> Result<Option<LogNumber>, Failure> {
    let append = connection.prepare(audit::APPEND).await?;
    let save = connection.prepare(audit::SAVE).await?;
    let forget_sessions = connection.prepare(ended::FORGET_SESSIONS).await?;
    let forget_endings = connection.prepare(ended::FORGET_ENDINGS).await?;
    let note = connection.prepare(log::APPEND).await?;
    let tick = connection.prepare("UPDATE journal_state SET latest = greatest(latest, $1)").await?;
    let (records, ends) = (audit::Columns::of(records), audit::Ends::of(chains));
    let notices = log::Columns::of(notices);
    let before = forgotten.now.map(ended::forgotten_before);
    let limit = big(forgotten.limit as u64);
    let latest = latest.map(Timestamp::as_millis);
    let warnings = connection.warnings();
    commit_sent.store(true, Ordering::Relaxed);
    let client = &connection.client;
    let (.., head, _, _) = tokio::try_join!(
        biased;
        async { if records.is_empty() { Ok(0) } else { client.execute(&append, &records.parameters()).await } },
        async { if records.is_empty() { Ok(0) } else { client.execute(&save, &ends.parameters()).await } },
        async {
            let Some((sessions, _)) = before else { return Ok(0) };
            client.execute(&forget_sessions, &[&limit, &sessions]).await
        },
        async {
            let Some((_, endings)) = before else { return Ok(0) };
            client.execute(&forget_endings, &[&limit, &endings]).await
        },
        async {
            if notices.is_empty() {
                return Ok(None);
            }
            client.query_one(&note, &notices.parameters()).await.map(Some)
        },
        async { if latest.is_none() { Ok(0) } else { client.execute(&tick, &[&latest]).await } },
        client.batch_execute("COMMIT"),
    )?;
    if connection.warnings() != warnings {
        return Err(Failure::Unreplicated);
    }
    let head = head.map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(head.map(|head| LogNumber(head.unsigned_abs())))
}

/// Wakes who listens, without waiting. Lost, it only delays them, so it need not be durable.
fn notify(connection: &Connection) {
    // One transaction, which nothing is left of if the server knows no NOTIFY.
    let sql = "SET LOCAL synchronous_commit = off; NOTIFY doorward_log";
    let sent = pin!(connection.client.batch_execute(sql));
    // Asked once, it is sent. The answer is nobody's.
    let _ = sent.poll(&mut Context::from_waker(Waker::noop()));
}
