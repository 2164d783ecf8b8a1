-- What administrators see and change, what logins leave behind for them, and the rules of organisations.
--
-- `revision` counts the changes that administrators make of a row; it tells two of them who work on the same state.

ALTER TABLE organisation ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE organisation ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
UPDATE organisation SET name = code;

ALTER TABLE unit ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

ALTER TABLE user ADD COLUMN person_name TEXT;
ALTER TABLE user ADD COLUMN email TEXT;
-- In small letters, to be found by.
ALTER TABLE user ADD COLUMN email_canonical TEXT;
-- When the password was set; the age of a password counts from here.
ALTER TABLE user ADD COLUMN password_set_at INTEGER;
ALTER TABLE user ADD COLUMN last_login_at INTEGER;
ALTER TABLE user ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
UPDATE user SET password_set_at = updated_at WHERE password_hash IS NOT NULL;

-- Serves the list of an organisation's users of one status, by username.
CREATE INDEX user_status ON user (organisation, status, canonical);
-- Serves the search for users by e-mail address, by username.
CREATE INDEX user_email ON user (organisation, email_canonical, canonical) WHERE email_canonical IS NOT NULL;

-- Serves the list of a unit's users, and tells whose default a unit is.
CREATE INDEX membership_unit ON membership (unit, user);

-- A key may have several secrets while one replaces another, so they move to a table of their own.
CREATE TABLE key_secret (
    digest         BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    key            BLOB NOT NULL,
    -- The last four characters, to tell secrets apart; unknown for those stored before there were hints.
    hint           TEXT,
    created_at     INTEGER NOT NULL,
    -- From when on it is not accepted: set when another replaces it.
    ends_at        INTEGER,
    -- Written lazily.
    last_used_at   INTEGER,
    last_used_from TEXT
) STRICT, WITHOUT ROWID;

INSERT INTO key_secret (digest, key, created_at) SELECT digest, id, created_at FROM web_api_key;

-- Serves the lists of keys; there is one secret in use for each.
CREATE INDEX key_secret_key ON key_secret (key, last_used_at);
CREATE UNIQUE INDEX key_secret_in_use ON key_secret (key) WHERE ends_at IS NULL;

CREATE TABLE new_web_api_key (
    id                BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    organisation      BLOB NOT NULL,
    user              BLOB NOT NULL,
    name              TEXT NOT NULL,
    classification    TEXT NOT NULL CHECK (classification IN ('SYSTEMIC_KEY', 'CONSUMER_APPLICATION_KEY')),
    status            TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    verifier          INTEGER NOT NULL CHECK (verifier IN (0, 1)),
    -- Networks with commas between them; none for every address.
    allowed_addresses TEXT NOT NULL,
    expires_at        INTEGER,
    ended             INTEGER NOT NULL DEFAULT 0,
    revision          INTEGER NOT NULL DEFAULT 1,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CONSTRAINT web_api_key_user FOREIGN KEY (organisation, user) REFERENCES user (organisation, id)
) STRICT, WITHOUT ROWID;

-- Keys could introspect before there was a right to it.
INSERT INTO new_web_api_key (id, organisation, user, name, classification, status, verifier, allowed_addresses,
                             expires_at, ended, created_at, updated_at)
SELECT id, organisation, user, name, 'SYSTEMIC_KEY', status, 1, '', expires_at, ended, created_at, updated_at
FROM web_api_key;
DROP TABLE web_api_key;
ALTER TABLE new_web_api_key RENAME TO web_api_key;

-- Serves the list of an organisation's keys.
CREATE INDEX web_api_key_organisation ON web_api_key (organisation, id);
-- Serves the list of a user's keys, and their deletion with the user.
CREATE INDEX web_api_key_of_user ON web_api_key (organisation, user, id);

-- From where users logged in lately; its primary key serves the login.
CREATE TABLE known_address (
    user         BLOB NOT NULL,
    network      TEXT NOT NULL,
    succeeded_at INTEGER NOT NULL,
    PRIMARY KEY (user, network)
) STRICT, WITHOUT ROWID;

-- What organisations override of the rules; its primary key serves the login.
CREATE TABLE organisation_rule (
    organisation BLOB NOT NULL CONSTRAINT organisation_rule_organisation REFERENCES organisation (id),
    rule         TEXT NOT NULL,
    value        TEXT NOT NULL,
    PRIMARY KEY (organisation, rule)
) STRICT, WITHOUT ROWID;

-- What was created at the request of callers who sent an Idempotency-Key, for as long as they may repeat it.
CREATE TABLE once (
    caller  BLOB NOT NULL,
    key     BLOB NOT NULL CHECK (length(key) = 32),
    request BLOB NOT NULL CHECK (length(request) = 32),
    made    BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;

-- Serves forgetting.
CREATE INDEX once_at ON once (at);

-- From where the token was got.
ALTER TABLE session ADD COLUMN address TEXT;

-- Who did it, where that is somebody else than whom it was done to.
ALTER TABLE audit ADD COLUMN actor BLOB;
-- The first half of the digest of the token, where one session is concerned.
ALTER TABLE audit ADD COLUMN session BLOB;
-- The members that were changed, with commas between them.
ALTER TABLE audit ADD COLUMN members TEXT;
