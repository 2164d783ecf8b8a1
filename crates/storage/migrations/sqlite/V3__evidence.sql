-- Evidence: audit records form chains, and it is remembered for a while how sessions ended.

-- One row for each chain: for each organisation that something was recorded of, and one, with no bytes for an id, for
-- records that no organisation can be named for. It outlives its organisation, as the records do.
CREATE TABLE audit_chain (
    organisation   BLOB NOT NULL PRIMARY KEY CHECK (length(organisation) IN (0, 16)),
    -- The last record and its digest.
    number         INTEGER NOT NULL,
    digest         BLOB NOT NULL CHECK (length(digest) = 32),
    -- The last record that was removed because its time was over, and its digest.
    removed        INTEGER NOT NULL DEFAULT 0,
    removed_digest BLOB NOT NULL DEFAULT (zeroblob(32)) CHECK (length(removed_digest) = 32)
) STRICT, WITHOUT ROWID;

-- No foreign keys: a record stays when what it tells of is gone.
CREATE TABLE new_audit (
    -- Only the order in which they were appended: the oldest are removed first. It is no part of the evidence.
    place        INTEGER PRIMARY KEY,
    organisation BLOB NOT NULL,
    number       INTEGER NOT NULL,
    -- The digest of the record before it.
    previous     BLOB NOT NULL,
    at           INTEGER NOT NULL,
    event        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    address      TEXT,
    request_id   TEXT NOT NULL,
    unit         BLOB,
    user         BLOB,
    key          BLOB,
    claimed      TEXT,
    actor        BLOB,
    session      BLOB,
    members      TEXT,
    -- Serves the lists of an organisation's records, and the check of its chain.
    CONSTRAINT audit_number UNIQUE (organisation, number)
) STRICT;

-- Records of earlier versions are chained now. Both functions are the program's own: the first takes record after record
-- of a chain and gives the digest of the one before it, the second gives the digest of the last one that was taken.
INSERT INTO new_audit (place, organisation, number, previous, at, event, reason, address, request_id, unit, user, key,
                       claimed, actor, session, members)
SELECT place, chain, number,
       doorward_chain(chain, number, at, event, reason, address, request_id, unit, user, key, claimed, actor, session,
                      members),
       at, event, reason, address, request_id, unit, user, key, claimed, actor, session, members
FROM (SELECT audit.number AS place, coalesce(organisation, x'') AS chain,
             row_number() OVER (PARTITION BY coalesce(organisation, x'') ORDER BY number) AS number,
             at, event, reason, address, request_id, unit, user, key, claimed, actor, session, members
      FROM audit);
INSERT INTO audit_chain (organisation, number, digest)
SELECT organisation, max(number), doorward_chain_end(organisation) FROM new_audit GROUP BY organisation;
DROP TABLE audit;
ALTER TABLE new_audit RENAME TO audit;

-- How many records there ever were, of all chains.
ALTER TABLE journal_state ADD COLUMN records INTEGER NOT NULL DEFAULT 0;
UPDATE journal_state SET records = (SELECT count(*) FROM audit);

-- What ended all sessions of a scope: those with this number or a lower one.
CREATE TABLE ending (
    number INTEGER PRIMARY KEY,
    -- The id of the organisation, unit, user or Web API key.
    scope  BLOB NOT NULL,
    at     INTEGER NOT NULL,
    cause  TEXT NOT NULL,
    -- Who did it, if not the operator on the machine itself.
    actor  BLOB
) STRICT;

-- Serves the question what ended a session.
CREATE INDEX ending_scope ON ending (scope, number);

-- Sessions that have ended, for as long as it is remembered how.
CREATE TABLE ended_session (
    -- The order in which they were found to have ended; the oldest are forgotten first.
    place        INTEGER PRIMARY KEY,
    -- The first half of the token's digest.
    session      BLOB NOT NULL,
    number       INTEGER NOT NULL,
    -- Absent if it was deleted with all that is its own before the session was found to have ended.
    organisation BLOB,
    unit         BLOB NOT NULL,
    user         BLOB NOT NULL,
    key          BLOB,
    issued_at    INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    idle_ms      INTEGER,
    ends_at      INTEGER NOT NULL,
    -- When it was found to have ended.
    at           INTEGER NOT NULL,
    -- When it was released, and by whom if not by its holder.
    released_at  INTEGER,
    released_by  BLOB
) STRICT;

-- Serves the question what became of a token.
CREATE UNIQUE INDEX ended_session_session ON ended_session (session);
