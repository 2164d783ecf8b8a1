-- Evidence: audit records form chains, and it is remembered for a while how sessions ended. There is nothing to carry
-- over: no release wrote records to PostgreSQL before.

-- One row for each chain: for each organisation that something was recorded of, and one, with no bytes for an id, for
-- records that no organisation can be named for. It outlives its organisation, as the records do. Who appends to a chain
-- or ends or issues a session of its organisation locks the row until they commit. One whose number is 0 was only made to
-- be locked.
CREATE TABLE audit_chain (
    organisation   bytea NOT NULL CHECK (octet_length(organisation) IN (0, 16)),
    -- The last record, its digest and its time: no record behind it has an earlier one.
    number         bigint NOT NULL DEFAULT 0,
    digest         bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(digest) = 32),
    at             bigint NOT NULL DEFAULT 0,
    -- The last record that was removed because its time was over, and its digest.
    removed        bigint NOT NULL DEFAULT 0,
    removed_digest bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(removed_digest) = 32),
    CONSTRAINT audit_chain_id PRIMARY KEY (organisation)
);

-- No foreign keys: a record stays when what it tells of is gone.
CREATE TABLE audit (
    -- About the order in which they were appended: the oldest are removed first. It is no part of the evidence.
    place        bigint GENERATED ALWAYS AS IDENTITY,
    organisation bytea NOT NULL,
    number       bigint NOT NULL,
    -- The digest of the record before it.
    previous     bytea NOT NULL,
    at           bigint NOT NULL,
    event        text COLLATE "C" NOT NULL,
    reason       text COLLATE "C" NOT NULL,
    address      text COLLATE "C",
    request_id   text COLLATE "C" NOT NULL,
    unit         bytea,
    "user"       bytea,
    key          bytea,
    -- A text in bytes: what callers send may have the character zero, which PostgreSQL has in no text, and a record is
    -- digested as it was.
    claimed      bytea,
    actor        bytea,
    session      bytea,
    members      text COLLATE "C",
    CONSTRAINT audit_id PRIMARY KEY (place),
    -- Serves the lists of an organisation's records, and the check of its chain.
    CONSTRAINT audit_number UNIQUE (organisation, number)
);

-- What ended all sessions of a scope: those with this number or a lower one.
CREATE TABLE ending (
    number bigint NOT NULL,
    -- The id of the organisation, unit, user or Web API key.
    scope  bytea NOT NULL,
    at     bigint NOT NULL,
    cause  text NOT NULL,
    -- Who did it, if not the operator on the machine itself.
    actor  bytea,
    CONSTRAINT ending_id PRIMARY KEY (number)
);

-- Serves the question what ended a session.
CREATE INDEX ending_scope ON ending (scope, number);

-- Sessions that have ended, for as long as it is remembered how.
CREATE TABLE ended_session (
    -- About the order in which they were found to have ended; the oldest are forgotten first.
    place        bigint GENERATED ALWAYS AS IDENTITY,
    -- The first half of the token's digest.
    session      bytea NOT NULL CHECK (octet_length(session) = 16),
    number       bigint NOT NULL,
    -- Absent if it was deleted with all that is its own before the session was found to have ended.
    organisation bytea,
    unit         bytea NOT NULL,
    "user"       bytea NOT NULL,
    key          bytea,
    issued_at    bigint NOT NULL,
    last_used_at bigint NOT NULL,
    idle_ms      bigint,
    ends_at      bigint NOT NULL,
    -- When it was found to have ended.
    at           bigint NOT NULL,
    -- When it was released, and by whom if not by its holder.
    released_at  bigint,
    released_by  bytea,
    CONSTRAINT ended_session_id PRIMARY KEY (place),
    -- Serves the question what became of a token.
    CONSTRAINT ended_session_session UNIQUE (session)
);
