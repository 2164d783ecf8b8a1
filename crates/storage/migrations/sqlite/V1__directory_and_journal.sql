-- The directory (who there is) and the journal (which sessions live, what happened), in one database so that a change
-- and the endings it causes are one transaction.
--
-- Ids are 16 bytes, digests 32, times milliseconds since 1970. `ended` is a mark: the sessions below with this number
-- or a lower one have ended. What is found by its id is WITHOUT ROWID: the primary key is the table, one descent finds
-- the row. Sessions and audit records are appended, so their key is the order in which they came.

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

-- Serves no query: there is one operator organisation at most.
CREATE UNIQUE INDEX organisation_operator ON organisation (is_operator) WHERE is_operator = 1;

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

-- Its primary key serves the login: the units of a user.
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

-- Serves no query: a user has one default unit at most.
CREATE UNIQUE INDEX membership_default ON membership (user) WHERE is_default = 1;

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

-- No index but the key: the session table in memory is the index. No foreign keys: issuing compares the marks of all
-- four rows anyway, and a session whose rows are gone counts as ended when sessions are loaded.
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

-- The last use of each session, a row for a row. It is written far more often than the rest, and apart from it three
-- hundred uses stand on one page.
CREATE TABLE session_use (
    number       INTEGER PRIMARY KEY,
    last_used_at INTEGER NOT NULL
) STRICT;

-- No foreign keys: a record stays when what it tells of is gone.
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

-- One row.
CREATE TABLE journal_state (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The number that the next session or ending takes; never goes back.
    next_number INTEGER NOT NULL CHECK (next_number > 0),
    -- The latest time in the journal; the clock does not start before it.
    latest      INTEGER,
    kind        TEXT NOT NULL CHECK (kind IN ('demo', 'real'))
) STRICT;
