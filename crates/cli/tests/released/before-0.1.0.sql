-- A data folder of the last state before schema 2, made with its binary: init, logins, a release.
PRAGMA application_id = 1148153714;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'directory_and_journal','2026-11-24T13:52:07.201433238Z','10517824378680545243');
CREATE TABLE organisation (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    code        TEXT NOT NULL,
    canonical   TEXT NOT NULL,
    is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
    status      TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    ended       INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- Serves the login: an organisation by its code.
    CONSTRAINT organisation_canonical UNIQUE (canonical)
) STRICT, WITHOUT ROWID;
INSERT INTO organisation VALUES(X'01a20dd3fff77d0a8283e0563ffc17cb','ACME','acme',1,'active',0,1795528327191,1795528327191);
CREATE TABLE unit (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    organisation BLOB NOT NULL CONSTRAINT unit_organisation REFERENCES organisation (id),
    name         TEXT NOT NULL,
    canonical    TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    ended        INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- Serves the list of an organisation's units, by name.
    CONSTRAINT unit_canonical UNIQUE (organisation, canonical),
    -- Serves the foreign key of memberships.
    CONSTRAINT unit_of_organisation UNIQUE (organisation, id)
) STRICT, WITHOUT ROWID;
INSERT INTO unit VALUES(X'01a20dd3fff7786c9fd519a57f697d69',X'01a20dd3fff77d0a8283e0563ffc17cb','Harbour','harbour','active',0,1795528327191,1795528327191);
CREATE TABLE user (
    id                   BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    organisation         BLOB NOT NULL CONSTRAINT user_organisation REFERENCES organisation (id),
    username             TEXT NOT NULL,
    canonical            TEXT NOT NULL,
    role                 TEXT NOT NULL CHECK (role IN ('member', 'administrator')),
    status               TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    password_hash        TEXT,
    must_change_password INTEGER NOT NULL CHECK (must_change_password IN (0, 1)),
    ended                INTEGER NOT NULL DEFAULT 0,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    -- Serves the login: a user by username.
    CONSTRAINT user_canonical UNIQUE (organisation, canonical),
    -- Serves the foreign keys of memberships and Web API keys.
    CONSTRAINT user_of_organisation UNIQUE (organisation, id)
) STRICT, WITHOUT ROWID;
INSERT INTO user VALUES(X'01a20dd3fff77dbe9481fdb8b1d60639',X'01a20dd3fff77d0a8283e0563ffc17cb','admin','admin','administrator','active','$argon2id$v=19$m=19456,t=2,p=1$opK/ctP7iIPuxWRQuYD50w$y7jwzSv+4St9/MuR5n7CEXlifJzHrkzOhmVZpuzQ+8c',0,0,1795528327191,1795528327191);
CREATE TABLE membership (
    user         BLOB NOT NULL,
    unit         BLOB NOT NULL,
    organisation BLOB NOT NULL,
    is_default   INTEGER NOT NULL CHECK (is_default IN (0, 1)),
    PRIMARY KEY (user, unit),
    -- With the organisation in both keys, nobody works in another organisation's unit.
    CONSTRAINT membership_user FOREIGN KEY (organisation, user) REFERENCES user (organisation, id),
    CONSTRAINT membership_unit FOREIGN KEY (organisation, unit) REFERENCES unit (organisation, id)
) STRICT, WITHOUT ROWID;
INSERT INTO membership VALUES(X'01a20dd3fff77dbe9481fdb8b1d60639',X'01a20dd3fff7786c9fd519a57f697d69',X'01a20dd3fff77d0a8283e0563ffc17cb',1);
CREATE TABLE web_api_key (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    organisation BLOB NOT NULL,
    user         BLOB NOT NULL,
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    status       TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    expires_at   INTEGER,
    ended        INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CONSTRAINT web_api_key_user FOREIGN KEY (organisation, user) REFERENCES user (organisation, id),
    -- Serves the login with a key.
    CONSTRAINT web_api_key_digest UNIQUE (digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE session (
    number       INTEGER PRIMARY KEY,
    digest       BLOB NOT NULL,
    user         BLOB NOT NULL,
    unit         BLOB NOT NULL,
    key          BLOB,
    issued_at    INTEGER NOT NULL,
    idle_ms      INTEGER,
    ends_at      INTEGER NOT NULL
) STRICT;
INSERT INTO session VALUES(1,X'74fa822038fbdd494fb5e5bd42746e6194c8a4ced372be532ec690e5091bf0a2',X'01a20dd3fff77dbe9481fdb8b1d60639',X'01a20dd3fff7786c9fd519a57f697d69',NULL,1795528327315,3600000,1798120327315);
CREATE TABLE session_use (
    number       INTEGER PRIMARY KEY,
    last_used_at INTEGER NOT NULL
) STRICT;
INSERT INTO session_use VALUES(1,1795528327315);
CREATE TABLE audit (
    number       INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    event        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    address      TEXT,
    request_id   TEXT NOT NULL,
    organisation BLOB,
    unit         BLOB,
    user         BLOB,
    key          BLOB,
    claimed      TEXT
) STRICT;
INSERT INTO audit VALUES(1,1795528327191,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(2,1795528327191,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(3,1795528327191,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(4,1795528327315,'password_login','ok','127.0.0.1','f4d99d6700000000',X'01a20dd3fff77d0a8283e0563ffc17cb',X'01a20dd3fff7786c9fd519a57f697d69',X'01a20dd3fff77dbe9481fdb8b1d60639',NULL,NULL);
INSERT INTO audit VALUES(5,1795528327360,'password_login','ok','127.0.0.1','f4d99d6700000001',X'01a20dd3fff77d0a8283e0563ffc17cb',X'01a20dd3fff7786c9fd519a57f697d69',X'01a20dd3fff77dbe9481fdb8b1d60639',NULL,NULL);
INSERT INTO audit VALUES(6,1795528327372,'release','ok','127.0.0.1','f4d99d6700000002',X'01a20dd3fff77d0a8283e0563ffc17cb',X'01a20dd3fff7786c9fd519a57f697d69',X'01a20dd3fff77dbe9481fdb8b1d60639',NULL,NULL);
INSERT INTO audit VALUES(7,1795528327412,'password_login','wrong_password','127.0.0.1','f4d99d6700000003',X'01a20dd3fff77d0a8283e0563ffc17cb',NULL,X'01a20dd3fff77dbe9481fdb8b1d60639',NULL,NULL);
INSERT INTO audit VALUES(8,1795528327422,'password_login','unknown_user','127.0.0.1','f4d99d6700000004',X'01a20dd3fff77d0a8283e0563ffc17cb',NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(9,1795528327462,'password_login','unknown_organisation','127.0.0.1','f4d99d6700000005',NULL,NULL,NULL,NULL,'NOBODY');
CREATE TABLE journal_state (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The number that the next session or ending takes; never goes back.
    next_number INTEGER NOT NULL CHECK (next_number > 0),
    -- The latest time in the journal; the clock does not start before it.
    latest      INTEGER,
    kind        TEXT NOT NULL CHECK (kind IN ('demo', 'real'))
) STRICT;
INSERT INTO journal_state VALUES(1,3,1795528327496,'real');
CREATE UNIQUE INDEX organisation_operator ON organisation (is_operator) WHERE is_operator = 1;
CREATE UNIQUE INDEX membership_default ON membership (user) WHERE is_default = 1;
COMMIT;
