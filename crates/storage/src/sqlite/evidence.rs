//! The proof that no audit record was altered or removed, read from the database beside the process that serves it.

use std::path::Path;

use doorward_domain::{
    audit::chain::{Broken, Chain, ChainCheck, Link},
    id::OrganisationId,
};
use rusqlite::{Connection, OptionalExtension, Result};

use super::{OpenError, audit, error::one_line, folder, schema};

/// What came of checking the audit records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The chains, one for each organisation that something was recorded of, and one of no organisation.
    pub chains: Vec<ChainReport>,
    /// What is wrong with the whole.
    pub problems: Vec<AuditProblem>,
}

impl AuditReport {
    /// Whether no record was altered or removed.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.chains.iter().all(|chain| chain.problem.is_none())
    }
}

/// What came of checking one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// What the store keeps of it.
    pub chain: Chain,
    /// The code of the organisation, if it is still there.
    pub code: Option<String>,
    /// How many records were sound, from the first that is kept.
    pub sound: u64,
    /// What is wrong behind those.
    pub problem: Option<AuditProblem>,
}

/// Something that is wrong with the audit records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditProblem {
    /// A chain is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A record cannot be read: what is stored is not what was written.
    #[error("the record behind {after} cannot be read: {reason}")]
    Unreadable {
        /// The number of the last record that could be read.
        after: u64,
        /// What SQLite says.
        reason: String,
    },
    /// There are records of a chain of which nothing is kept.
    #[error("there are records of an organisation ({0}) whose chain is missing")]
    NoChain(String),
    /// There were more records, or fewer, than the chains have.
    #[error(
        "{written} records were written and the chains have {found}: what is kept of a chain was altered or removed"
    )]
    Count {
        /// How many were written.
        written: u64,
        /// How many the chains have.
        found: u64,
    },
    /// What SQLite finds wrong with the file where the records are.
    #[error("the file is damaged: {0}")]
    Damaged(String),
}

/// Checks all audit records of the database in a folder, which another process may be serving. `noted` are records whose
/// digests were noted elsewhere, with their organisations. Tells `progress` of how many records have been looked at.
pub fn verify_audit(
    folder: &Path,
    noted: &[(Option<OrganisationId>, Link)],
    progress: &mut dyn FnMut(u64, u64),
) -> std::result::Result<AuditReport, OpenError> {
    let database = folder::find_database(folder)?;
    let mut connection = schema::open_beside(&database)?;
    let report = connection.transaction().and_then(|snapshot| verify(&snapshot, noted, progress));
    report.map_err(|error| OpenError::from_sqlite(&database, error))
}

pub(super) fn verify(
    connection: &Connection,
    noted: &[(Option<OrganisationId>, Link)],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport> {
    let (written, chains) = (count_written(connection)?, audit::list_chains(connection)?);
    let kept = chains.iter().map(|chain| chain.last.number.saturating_sub(chain.removed.number)).sum();
    let mut report = AuditReport { chains: Vec::new(), problems: Vec::new() };
    report.problems.extend(find_damage(connection)?.map(AuditProblem::Damaged));
    report.problems.extend(list_strays(connection)?.into_iter().map(AuditProblem::NoChain));
    let found = chains.iter().map(|chain| chain.last.number).fold(0_u64, u64::saturating_add);
    if found != written {
        report.problems.push(AuditProblem::Count { written, found });
    }
    let mut done = 0;
    for chain in chains {
        let mut check = ChainCheck::begin(chain.organisation, chain.removed);
        for (organisation, link) in noted {
            if *organisation == chain.organisation {
                check = check.passes(*link);
            }
        }
        let mut problem = None;
        audit::read_all(connection, chain.organisation, |record| {
            problem = match record {
                Ok(record) => check.next(&record).err().map(AuditProblem::Broken),
                Err(error) => {
                    Some(AuditProblem::Unreadable { after: check.at().number, reason: one_line(error) })
                }
            };
            done += 1;
            if done % STEP == 0 {
                progress(done, kept);
            }
            problem.is_none()
        })?;
        let sound = check.at().number.saturating_sub(chain.removed.number);
        let problem = problem.or_else(|| check.finish(chain.last).err().map(AuditProblem::Broken));
        let code = find_code(connection, chain.organisation)?;
        report.chains.push(ChainReport { chain, code, sound, problem });
    }
    progress(kept, kept);
    Ok(report)
}

/// After how many records progress is told.
const STEP: u64 = 10_000;

fn count_written(connection: &Connection) -> Result<u64> {
    connection.query_row("SELECT records FROM journal_state", [], |row| row.get(0))
}

/// What is wrong with the file where the records are. Opening a store does not look there.
fn find_damage(connection: &Connection) -> Result<Option<String>> {
    let sql = "
        SELECT damage.integrity_check
        FROM sqlite_schema AS checked, pragma_integrity_check(checked.name) AS damage
        WHERE checked.type = 'table' AND checked.name IN ('audit', 'audit_chain') AND damage.integrity_check <> 'ok'
        LIMIT 1";
    connection.query_row(sql, [], |row| row.get(0)).optional()
}

fn list_strays(connection: &Connection) -> Result<Vec<String>> {
    let sql = "
        SELECT DISTINCT hex(organisation) FROM audit
        WHERE organisation NOT IN (SELECT organisation FROM audit_chain) LIMIT 100";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn find_code(connection: &Connection, organisation: Option<OrganisationId>) -> Result<Option<String>> {
    let Some(id) = organisation else { return Ok(None) };
    let sql = "SELECT code FROM organisation WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id.to_bytes()], |row| row.get(0)).optional()
}
