-- A data folder of 0.1.0, made with its binary: two organisations, users, keys, rules, tokens, a release.
PRAGMA application_id = 1148153714;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'directory_and_journal','2026-11-24T13:52:07.769528335Z','10517824378680545243');
INSERT INTO refinery_schema_history VALUES(2,'administration','2026-11-24T13:52:07.769550296Z','11075674254803983636');
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
INSERT INTO organisation VALUES(X'01a20dd4022e7e1386d523bddba72974','ACME','acme',1,'active',0,1795528327759,1795528328182,'ACME',2);
INSERT INTO organisation VALUES(X'01a20dd404007154a0e15f01f13b59f1','GLOBEX','globex',0,'active',4,1795528328192,1795528328192,'Globex Ltd',1);
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
INSERT INTO unit VALUES(X'01a20dd4022e72f59e8b3b587ae8edb8',X'01a20dd4022e7e1386d523bddba72974','Harbour','harbour','active',0,1795528327759,1795528327759,1);
INSERT INTO unit VALUES(X'01a20dd4038a7f458372c1d99746475f',X'01a20dd4022e7e1386d523bddba72974','Warehouse','warehouse','active',3,1795528328074,1795528328074,1);
INSERT INTO unit VALUES(X'01a20dd404087ec4b86c004c59833163',X'01a20dd404007154a0e15f01f13b59f1','Main','main','active',4,1795528328200,1795528328200,1);
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
INSERT INTO user VALUES(X'01a20dd4022e781f808c3ca10babf4df',X'01a20dd4022e7e1386d523bddba72974','admin','admin','administrator','active','$argon2id$v=19$m=19456,t=2,p=1$xP0VW/vcSEMO3bp+z6Aipw$brADRJvp2wZMJaceNDYOHKsysXHHuhcCmmvVKY+E3bs',0,0,1795528327759,1795528327759,NULL,NULL,NULL,1795528327759,1795528328063,1);
INSERT INTO user VALUES(X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd4022e7e1386d523bddba72974','zoe','zoe','member','active','$argon2id$v=19$m=19456,t=2,p=1$mnVpJ1YC1ZU5G7khrGuByg$5ANmpzO0SLdgDJjolRUL5gv8Os8H9pUo9mhxVIbXz/Y',0,3,1795528328121,1795528328121,'Zoë Quay','zoe@acme.example','zoe@acme.example',1795528328121,1795528328312,1);
INSERT INTO user VALUES(X'01a20dd4041275599de20e9ac5309af6',X'01a20dd404007154a0e15f01f13b59f1','hank','hank','administrator','active','$argon2id$v=19$m=19456,t=2,p=1$vkLRXIhoxgyHgsINj5Hukg$3HolageUPdPZNhkuxcf4VKO1s80WyUT2aN7L6/V5x2I',0,8,1795528328230,1795528328230,NULL,NULL,NULL,1795528328230,1795528328382,1);
INSERT INTO user VALUES(X'01a20dd404507ff48f1aca6aa8fe5da9',X'01a20dd404007154a0e15f01f13b59f1','former','former','member','disabled',NULL,0,5,1795528328272,1795528328283,NULL,NULL,NULL,NULL,NULL,2);
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
INSERT INTO membership VALUES(X'01a20dd4022e781f808c3ca10babf4df',X'01a20dd4022e72f59e8b3b587ae8edb8',X'01a20dd4022e7e1386d523bddba72974',1);
INSERT INTO membership VALUES(X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd4038a7f458372c1d99746475f',X'01a20dd4022e7e1386d523bddba72974',1);
INSERT INTO membership VALUES(X'01a20dd4041275599de20e9ac5309af6',X'01a20dd404087ec4b86c004c59833163',X'01a20dd404007154a0e15f01f13b59f1',1);
INSERT INTO membership VALUES(X'01a20dd404507ff48f1aca6aa8fe5da9',X'01a20dd404087ec4b86c004c59833163',X'01a20dd404007154a0e15f01f13b59f1',1);
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
INSERT INTO session VALUES(1,X'd3f391a31bc0fb202b9d056a4b6b947fb6c770a933f72095270100a43c84f2f7',X'01a20dd4022e781f808c3ca10babf4df',X'01a20dd4022e72f59e8b3b587ae8edb8',NULL,1795528327897,3600000,1798120327897,'127.0.0.1');
INSERT INTO session VALUES(3,X'dd8d4b1dc0f6d539784165e314bfac569b2297911c0f63d9529ee43e65fef1f7',X'01a20dd4022e781f808c3ca10babf4df',X'01a20dd4022e72f59e8b3b587ae8edb8',NULL,1795528328063,3600000,1798120328063,'127.0.0.1');
INSERT INTO session VALUES(4,X'6a25a1f8531204475cd59318b32c4e53a5df1ae8250a0697b6d5ba45d9da283e',X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd4038a7f458372c1d99746475f',X'01a20dd403c8778d80024d6a53c27613',1795528328148,NULL,1795535528148,'127.0.0.1');
INSERT INTO session VALUES(6,X'53fee8867d0ab3ddad219aca101e103d833af20e4a141963dfc6f52b3f5e42f9',X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd4038a7f458372c1d99746475f',NULL,1795528328312,3600000,1798120328312,'127.0.0.1');
INSERT INTO session VALUES(7,X'f893874db9a465f945ed62462e25c6eaed5626cc357f693cec410cd26bbd68f3',X'01a20dd4041275599de20e9ac5309af6',X'01a20dd404087ec4b86c004c59833163',NULL,1795528328342,3600000,1798120328342,'127.0.0.1');
INSERT INTO session VALUES(9,X'ac5eb4f919801d61b73c0a9c79515c456cfd501d95b98a7bf9872a7d678fcf67',X'01a20dd4041275599de20e9ac5309af6',X'01a20dd404087ec4b86c004c59833163',NULL,1795528328382,3600000,1798120328382,'127.0.0.1');
CREATE TABLE session_use (
    number       INTEGER PRIMARY KEY,
    last_used_at INTEGER NOT NULL
) STRICT;
INSERT INTO session_use VALUES(1,1795528327897);
INSERT INTO session_use VALUES(3,1795528328353);
INSERT INTO session_use VALUES(4,1795528328148);
INSERT INTO session_use VALUES(6,1795528328312);
INSERT INTO session_use VALUES(7,1795528328342);
INSERT INTO session_use VALUES(9,1795528328382);
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
INSERT INTO audit VALUES(1,1795528327759,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(2,1795528327759,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(3,1795528327759,'created','ok',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(4,1795528327897,'password_login','ok','127.0.0.1','618b7c7500000000',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4022e72f59e8b3b587ae8edb8',X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL,NULL,X'd3f391a31bc0fb202b9d056a4b6b947f',NULL);
INSERT INTO audit VALUES(5,1795528327938,'password_login','ok','127.0.0.1','618b7c7500000001',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4022e72f59e8b3b587ae8edb8',X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL,NULL,X'd72428d920841c4622d99bd23cfd82e5',NULL);
INSERT INTO audit VALUES(6,1795528327949,'release','ok','127.0.0.1','618b7c7500000002',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4022e72f59e8b3b587ae8edb8',X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL,NULL,X'd72428d920841c4622d99bd23cfd82e5',NULL);
INSERT INTO audit VALUES(7,1795528327977,'password_login','wrong_password','127.0.0.1','618b7c7500000003',X'01a20dd4022e7e1386d523bddba72974',NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(8,1795528327987,'password_login','unknown_user','127.0.0.1','618b7c7500000004',X'01a20dd4022e7e1386d523bddba72974',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO audit VALUES(9,1795528328015,'password_login','unknown_organisation','127.0.0.1','618b7c7500000005',NULL,NULL,NULL,NULL,'NOBODY',NULL,NULL,NULL);
INSERT INTO audit VALUES(10,1795528328063,'password_login','ok','127.0.0.1','618b7c7500000006',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4022e72f59e8b3b587ae8edb8',X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL,NULL,X'dd8d4b1dc0f6d539784165e314bfac56',NULL);
INSERT INTO audit VALUES(11,1795528328074,'created','ok','127.0.0.1','a0d08cd700000002',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4038a7f458372c1d99746475f',NULL,NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(12,1795528328121,'created','ok','127.0.0.1','a0d08cd700000005',X'01a20dd4022e7e1386d523bddba72974',NULL,X'01a20dd403957858ab6fe3422fa15cf9',NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(13,1795528328136,'created','ok','127.0.0.1','a0d08cd700000009',X'01a20dd4022e7e1386d523bddba72974',NULL,X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd403c8778d80024d6a53c27613',NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(14,1795528328148,'web_api_key_login','ok','127.0.0.1','618b7c7500000007',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4038a7f458372c1d99746475f',X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd403c8778d80024d6a53c27613',NULL,NULL,X'6a25a1f8531204475cd59318b32c4e53',NULL);
INSERT INTO audit VALUES(15,1795528328161,'key_rotated','ok','127.0.0.1','a0d08cd70000000c',X'01a20dd4022e7e1386d523bddba72974',NULL,X'01a20dd403957858ab6fe3422fa15cf9',X'01a20dd403c8778d80024d6a53c27613',NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(16,1795528328172,'created','ok','127.0.0.1','a0d08cd70000000f',X'01a20dd4022e7e1386d523bddba72974',NULL,X'01a20dd4022e781f808c3ca10babf4df',X'01a20dd403ec74ec8d931eaeed88a0fb',NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(17,1795528328182,'rules_set','ok','127.0.0.1','a0d08cd700000011',X'01a20dd4022e7e1386d523bddba72974',NULL,NULL,NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,'passwords.min_length,addresses.deny');
INSERT INTO audit VALUES(18,1795528328192,'created','ok','127.0.0.1','a0d08cd700000013',X'01a20dd404007154a0e15f01f13b59f1',NULL,NULL,NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(19,1795528328200,'created','ok','127.0.0.1','a0d08cd700000014',X'01a20dd404007154a0e15f01f13b59f1',X'01a20dd404087ec4b86c004c59833163',NULL,NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(20,1795528328230,'created','ok','127.0.0.1','a0d08cd700000016',X'01a20dd404007154a0e15f01f13b59f1',NULL,X'01a20dd4041275599de20e9ac5309af6',NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(21,1795528328272,'created','ok','127.0.0.1','a0d08cd700000019',X'01a20dd404007154a0e15f01f13b59f1',NULL,X'01a20dd404507ff48f1aca6aa8fe5da9',NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(22,1795528328283,'updated','ok','127.0.0.1','a0d08cd70000001c',X'01a20dd404007154a0e15f01f13b59f1',NULL,X'01a20dd404507ff48f1aca6aa8fe5da9',NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,'status');
INSERT INTO audit VALUES(23,1795528328312,'password_login','ok','127.0.0.1','618b7c7500000008',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4038a7f458372c1d99746475f',X'01a20dd403957858ab6fe3422fa15cf9',NULL,NULL,NULL,X'53fee8867d0ab3ddad219aca101e103d',NULL);
INSERT INTO audit VALUES(24,1795528328342,'password_login','ok','127.0.0.1','618b7c7500000009',X'01a20dd404007154a0e15f01f13b59f1',X'01a20dd404087ec4b86c004c59833163',X'01a20dd4041275599de20e9ac5309af6',NULL,NULL,NULL,X'f893874db9a465f945ed62462e25c6ea',NULL);
INSERT INTO audit VALUES(25,1795528328353,'sessions_ended','ok','127.0.0.1','a0d08cd70000001e',X'01a20dd404007154a0e15f01f13b59f1',NULL,X'01a20dd4041275599de20e9ac5309af6',NULL,NULL,X'01a20dd4022e781f808c3ca10babf4df',NULL,NULL);
INSERT INTO audit VALUES(26,1795528328382,'password_login','ok','127.0.0.1','618b7c750000000a',X'01a20dd404007154a0e15f01f13b59f1',X'01a20dd404087ec4b86c004c59833163',X'01a20dd4041275599de20e9ac5309af6',NULL,NULL,NULL,X'ac5eb4f919801d61b73c0a9c79515c45',NULL);
CREATE TABLE journal_state (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The number that the next session or ending takes; never goes back.
    next_number INTEGER NOT NULL CHECK (next_number > 0),
    -- The latest time in the journal; the clock does not start before it.
    latest      INTEGER,
    kind        TEXT NOT NULL CHECK (kind IN ('demo', 'real'))
) STRICT;
INSERT INTO journal_state VALUES(1,10,1795528328387,'real');
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
INSERT INTO key_secret VALUES(X'70e80d85e3647d0559aa523917a6ca6b04062ffb5fb06c8212106fd2c631c83f',X'01a20dd403ec74ec8d931eaeed88a0fb','1A19',1795528328172,NULL,NULL,NULL);
INSERT INTO key_secret VALUES(X'd1959a5e75122dbe5ec11efd679b2484bb244e61e89ea40bc4eb32d6ba937836',X'01a20dd403c8778d80024d6a53c27613','89BA',1795528328161,NULL,NULL,NULL);
INSERT INTO key_secret VALUES(X'f19c7931de637d4e1176e1c31a3d877a2b9ed9ccdb1201a6e903f087cabf2b5f',X'01a20dd403c8778d80024d6a53c27613','830F',1795528328136,1827064328161,1795528328148,'127.0.0.1');
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
INSERT INTO web_api_key VALUES(X'01a20dd403c8778d80024d6a53c27613',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd403957858ab6fe3422fa15cf9','web shop','SYSTEMIC_KEY','active',0,'127.0.0.1,10.0.0.0/8',NULL,3,2,1795528328136,1795528328161);
INSERT INTO web_api_key VALUES(X'01a20dd403ec74ec8d931eaeed88a0fb',X'01a20dd4022e7e1386d523bddba72974',X'01a20dd4022e781f808c3ca10babf4df','gateway','SYSTEMIC_KEY','active',1,'',NULL,4,1,1795528328172,1795528328172);
CREATE TABLE known_address (
    user         BLOB NOT NULL,
    network      TEXT NOT NULL,
    succeeded_at INTEGER NOT NULL,
    PRIMARY KEY (user, network)
) STRICT, WITHOUT ROWID;
INSERT INTO known_address VALUES(X'01a20dd4022e781f808c3ca10babf4df','127.0.0.1',1795528328063);
INSERT INTO known_address VALUES(X'01a20dd403957858ab6fe3422fa15cf9','127.0.0.1',1795528328312);
INSERT INTO known_address VALUES(X'01a20dd4041275599de20e9ac5309af6','127.0.0.1',1795528328382);
CREATE TABLE organisation_rule (
    organisation BLOB NOT NULL CONSTRAINT organisation_rule_organisation REFERENCES organisation (id),
    rule         TEXT NOT NULL,
    value        TEXT NOT NULL,
    PRIMARY KEY (organisation, rule)
) STRICT, WITHOUT ROWID;
INSERT INTO organisation_rule VALUES(X'01a20dd4022e7e1386d523bddba72974','addresses.deny','192.0.2.0/24');
INSERT INTO organisation_rule VALUES(X'01a20dd4022e7e1386d523bddba72974','passwords.min_length','16');
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
