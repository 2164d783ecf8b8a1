-- The demo's data folder of 0.1.0, made with its binary: tokens by key and by password.
PRAGMA application_id = 1148153714;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'directory_and_journal','2026-11-24T13:52:08.450983379Z','10517824378680545243');
INSERT INTO refinery_schema_history VALUES(2,'administration','2026-11-24T13:52:08.451003066Z','11075674254803983636');
CREATE TABLE organisation (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    code        TEXT NOT NULL,
    canonical   TEXT NOT NULL,
    is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
    status      TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    ended       INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL, name TEXT NOT NULL DEFAULT '', revision INTEGER NOT NULL DEFAULT 1,
    -- Serves the login: an organisation by its code.
    CONSTRAINT organisation_canonical UNIQUE (canonical)
) STRICT, WITHOUT ROWID;
INSERT INTO organisation VALUES(X'01a20dd404da7fb69782d82380ece4de','CRMDEMO','crmdemo',1,'active',0,1795528328441,1795528328441,'CRMDEMO',1);
CREATE TABLE unit (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    organisation BLOB NOT NULL CONSTRAINT unit_organisation REFERENCES organisation (id),
    name         TEXT NOT NULL,
    canonical    TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    ended        INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL, revision INTEGER NOT NULL DEFAULT 1,
    -- Serves the list of an organisation's units, by name.
    CONSTRAINT unit_canonical UNIQUE (organisation, canonical),
    -- Serves the foreign key of memberships.
    CONSTRAINT unit_of_organisation UNIQUE (organisation, id)
) STRICT, WITHOUT ROWID;
INSERT INTO unit VALUES(X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404da7fb69782d82380ece4de','Marketplace','marketplace','active',0,1795528328441,1795528328441,1);
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
    updated_at           INTEGER NOT NULL, person_name TEXT, email TEXT, email_canonical TEXT, password_set_at INTEGER, last_login_at INTEGER, revision INTEGER NOT NULL DEFAULT 1,
    -- Serves the login: a user by username.
    CONSTRAINT user_canonical UNIQUE (organisation, canonical),
    -- Serves the foreign keys of memberships and Web API keys.
    CONSTRAINT user_of_organisation UNIQUE (organisation, id)
) STRICT, WITHOUT ROWID;
INSERT INTO user VALUES(X'01a20dd404da71d98e919610bb1bc427',X'01a20dd404da7fb69782d82380ece4de','mpadministrator','mpadministrator','administrator','active','$argon2id$v=19$m=19456,t=2,p=1$OqoLdMT6nCOkEQbVlE0XJg$eRRAevXPhoUMVWS8sXKAYl1qXpPn7c4Ouj+gFa4BfDQ',0,0,1795528328441,1795528328441,NULL,NULL,NULL,1795528328441,1795528328587,1);
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
INSERT INTO membership VALUES(X'01a20dd404da71d98e919610bb1bc427',X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404da7fb69782d82380ece4de',1);
CREATE TABLE session (
    number       INTEGER PRIMARY KEY,
    digest       BLOB NOT NULL,
    user         BLOB NOT NULL,
    unit         BLOB NOT NULL,
    key          BLOB,
    issued_at    INTEGER NOT NULL,
    idle_ms      INTEGER,
    ends_at      INTEGER NOT NULL
, address TEXT) STRICT;
INSERT INTO session VALUES(1,X'9a710bd46c85a25ab85312189c19cca01e60901faf2d06ecaed7686eb2878044',X'01a20dd404da71d98e919610bb1bc427',X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404f97faa9ce3102dbd5df7dd',1795528328523,NULL,1795535528523,'127.0.0.1');
INSERT INTO session VALUES(3,X'c80d0ffb6145e25a45bab1b8547343210c750a960ef9850e63b7c8587af00f85',X'01a20dd404da71d98e919610bb1bc427',X'ee63a82c4febe02ff34e90dd1eba5abe',NULL,1795528328587,3600000,1798120328587,'127.0.0.1');
CREATE TABLE session_use (
    number       INTEGER PRIMARY KEY,
    last_used_at INTEGER NOT NULL
) STRICT;
INSERT INTO session_use VALUES(1,1795528328523);
INSERT INTO session_use VALUES(3,1795528328587);
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
, actor BLOB, session BLOB, members TEXT) STRICT;
INSERT INTO audit VALUES(1,1795528328441,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(2,1795528328441,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(3,1795528328441,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(4,1795528328441,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(5,1795528328523,'web_api_key_login','ok','127.0.0.1','973e3b9c00000000',X'01a20dd404da7fb69782d82380ece4de',X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404da71d98e919610bb1bc427',X'01a20dd404f97faa9ce3102dbd5df7dd',NULL,NULL,X'9a710bd46c85a25ab85312189c19cca0',NULL);
INSERT INTO audit VALUES(6,1795528328535,'web_api_key_login','ok','127.0.0.1','973e3b9c00000001',X'01a20dd404da7fb69782d82380ece4de',X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404da71d98e919610bb1bc427',X'01a20dd404f97faa9ce3102dbd5df7dd',NULL,NULL,X'7213525807c78092b8bd050100548a1d',NULL);
INSERT INTO audit VALUES(7,1795528328546,'release','ok','127.0.0.1','973e3b9c00000002',X'01a20dd404da7fb69782d82380ece4de',X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404da71d98e919610bb1bc427',X'01a20dd404f97faa9ce3102dbd5df7dd',NULL,NULL,X'7213525807c78092b8bd050100548a1d',NULL);
INSERT INTO audit VALUES(8,1795528328587,'password_login','ok','127.0.0.1','973e3b9c00000003',X'01a20dd404da7fb69782d82380ece4de',X'ee63a82c4febe02ff34e90dd1eba5abe',X'01a20dd404da71d98e919610bb1bc427',NULL,NULL,NULL,X'c80d0ffb6145e25a45bab1b854734321',NULL);
CREATE TABLE journal_state (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The number that the next session or ending takes; never goes back.
    next_number INTEGER NOT NULL CHECK (next_number > 0),
    -- The latest time in the journal; the clock does not start before it.
    latest      INTEGER,
    kind        TEXT NOT NULL CHECK (kind IN ('demo', 'real'))
) STRICT;
INSERT INTO journal_state VALUES(1,4,1795528328592,'demo');
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
INSERT INTO key_secret VALUES(X'b030ed3e6257d402be214383283d4bbfc86febc839ccffe9382a8510bf91911b',X'01a20dd404f97faa9ce3102dbd5df7dd','2192',1795528328441,NULL,1795528328535,'127.0.0.1');
CREATE TABLE IF NOT EXISTS "web_api_key" (
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
INSERT INTO web_api_key VALUES(X'01a20dd404f97faa9ce3102dbd5df7dd',X'01a20dd404da7fb69782d82380ece4de',X'01a20dd404da71d98e919610bb1bc427','Example of the reference','SYSTEMIC_KEY','active',1,'',NULL,0,1,1795528328441,1795528328441);
CREATE TABLE known_address (
    user         BLOB NOT NULL,
    network      TEXT NOT NULL,
    succeeded_at INTEGER NOT NULL,
    PRIMARY KEY (user, network)
) STRICT, WITHOUT ROWID;
INSERT INTO known_address VALUES(X'01a20dd404da71d98e919610bb1bc427','127.0.0.1',1795528328587);
CREATE TABLE organisation_rule (
    organisation BLOB NOT NULL CONSTRAINT organisation_rule_organisation REFERENCES organisation (id),
    rule         TEXT NOT NULL,
    value        TEXT NOT NULL,
    PRIMARY KEY (organisation, rule)
) STRICT, WITHOUT ROWID;
CREATE TABLE once (
    caller  BLOB NOT NULL,
    key     BLOB NOT NULL CHECK (length(key) = 32),
    request BLOB NOT NULL CHECK (length(request) = 32),
    made    BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX organisation_operator ON organisation (is_operator) WHERE is_operator = 1;
CREATE UNIQUE INDEX membership_default ON membership (user) WHERE is_default = 1;
CREATE INDEX user_status ON user (organisation, status, canonical);
CREATE INDEX user_email ON user (organisation, email_canonical, canonical) WHERE email_canonical IS NOT NULL;
CREATE INDEX membership_unit ON membership (unit, user);
CREATE INDEX key_secret_key ON key_secret (key, last_used_at);
CREATE UNIQUE INDEX key_secret_in_use ON key_secret (key) WHERE ends_at IS NULL;
CREATE INDEX web_api_key_organisation ON web_api_key (organisation, id);
CREATE INDEX web_api_key_of_user ON web_api_key (organisation, user, id);
CREATE INDEX once_at ON once (at);
COMMIT;
