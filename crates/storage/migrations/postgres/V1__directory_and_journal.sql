-- The directory (who there is) and the journal (which sessions live, what ended them), in one database so that a change
-- and the endings it causes are one transaction. The tables and columns are those of SQLite, where each migration stands
-- as it was released; no release wrote to PostgreSQL before the third, so here each table is made as it is after that.
--
-- Ids are 16 bytes, digests 32, times milliseconds since 1970. `ended` is a mark: the sessions below with this number
-- or a lower one have ended. Texts are compared byte by byte, as Rust does, whatever the database's own order is.

CREATE TABLE organisation (
    id          bytea NOT NULL CHECK (octet_length(id) = 16),
    code        text COLLATE "C" NOT NULL,
    canonical   text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    is_operator boolean NOT NULL,
    status      text COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled')),
    ended       bigint NOT NULL DEFAULT 0,
    -- Counts the changes that administrators make of a row; it tells two of them who work on the same state.
    revision    bigint NOT NULL DEFAULT 1,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    CONSTRAINT organisation_id PRIMARY KEY (id),
    -- Serves the login: an organisation by its code.
    CONSTRAINT organisation_canonical UNIQUE (canonical)
);

-- Serves no query: there is one operator organisation at most.
CREATE UNIQUE INDEX organisation_operator ON organisation (is_operator) WHERE is_operator;

CREATE TABLE unit (
    id           bytea NOT NULL CHECK (octet_length(id) = 16),
    organisation bytea NOT NULL CONSTRAINT unit_organisation REFERENCES organisation (id),
    name         text COLLATE "C" NOT NULL,
    canonical    text COLLATE "C" NOT NULL,
    status       text COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled')),
    ended        bigint NOT NULL DEFAULT 0,
    revision     bigint NOT NULL DEFAULT 1,
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    CONSTRAINT unit_id PRIMARY KEY (id),
    -- Serves the list of an organisation's units, by name.
    CONSTRAINT unit_canonical UNIQUE (organisation, canonical),
    -- Serves the foreign key of memberships.
    CONSTRAINT unit_of_organisation UNIQUE (organisation, id)
);

CREATE TABLE "user" (
    id                   bytea NOT NULL CHECK (octet_length(id) = 16),
    organisation         bytea NOT NULL CONSTRAINT user_organisation REFERENCES organisation (id),
    username             text COLLATE "C" NOT NULL,
    canonical            text COLLATE "C" NOT NULL,
    person_name          text COLLATE "C",
    email                text COLLATE "C",
    -- In small letters, to be found by.
    email_canonical      text COLLATE "C",
    role                 text COLLATE "C" NOT NULL CHECK (role IN ('member', 'administrator')),
    status               text COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled')),
    password_hash        text COLLATE "C",
    must_change_password boolean NOT NULL,
    -- When the password was set; the age of a password counts from here.
    password_set_at      bigint,
    last_login_at        bigint,
    ended                bigint NOT NULL DEFAULT 0,
    revision             bigint NOT NULL DEFAULT 1,
    created_at           bigint NOT NULL,
    updated_at           bigint NOT NULL,
    CONSTRAINT user_id PRIMARY KEY (id),
    -- Serves the login: a user by username.
    CONSTRAINT user_canonical UNIQUE (organisation, canonical),
    -- Serves the foreign keys of memberships and Web API keys.
    CONSTRAINT user_of_organisation UNIQUE (organisation, id)
);

-- Serves the list of an organisation's users of one status, by username.
CREATE INDEX user_status ON "user" (organisation, status, canonical);
-- Serves the search for users by e-mail address, by username.
CREATE INDEX user_email ON "user" (organisation, email_canonical, canonical) WHERE email_canonical IS NOT NULL;

-- Its primary key serves the login: the units of a user.
CREATE TABLE membership (
    "user"       bytea NOT NULL,
    unit         bytea NOT NULL,
    organisation bytea NOT NULL,
    is_default   boolean NOT NULL,
    CONSTRAINT membership_id PRIMARY KEY ("user", unit),
    -- With the organisation in both keys, nobody works in another organisation's unit.
    CONSTRAINT membership_user FOREIGN KEY (organisation, "user") REFERENCES "user" (organisation, id),
    CONSTRAINT membership_unit FOREIGN KEY (organisation, unit) REFERENCES unit (organisation, id)
);

-- Serves no query: a user has one default unit at most.
CREATE UNIQUE INDEX membership_default ON membership ("user") WHERE is_default;
-- Serves the list of a unit's users, and tells whose default a unit is.
CREATE INDEX membership_of_unit ON membership (unit, "user");

-- The numbers of sessions and of what ends them. Who draws one holds the lock of the organisation's chain until they
-- commit, so within an organisation numbers stand in the order of commits. It must not hand out numbers in advance.
CREATE SEQUENCE session_number CACHE 1;

-- No foreign keys: issuing compares the marks of all four rows anyway, and a session whose rows are gone counts as
-- ended when it is looked for.
CREATE TABLE session (
    number       bigint NOT NULL,
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    "user"       bytea NOT NULL,
    unit         bytea NOT NULL,
    key          bytea,
    issued_at    bigint NOT NULL,
    idle_ms      bigint,
    ends_at      bigint NOT NULL,
    -- From where the token was got.
    address      text,
    CONSTRAINT session_id PRIMARY KEY (number),
    -- Serves instances that meet a token for the first time. A session's id is the first half of its digest.
    CONSTRAINT session_digest UNIQUE (digest)
);

-- Serves the list of an organisation's sessions by user, unit and key, those with no key first.
CREATE INDEX session_place ON session ("user", unit, coalesce(key, ''), number);

-- The last use of each session, a row for a row. It is written far more often than the rest, and no index has to be
-- written with it.
CREATE TABLE session_use (
    number       bigint NOT NULL,
    last_used_at bigint NOT NULL,
    CONSTRAINT session_use_id PRIMARY KEY (number)
);

-- One row.
CREATE TABLE journal_state (
    one           integer NOT NULL CHECK (one = 1),
    -- The last number of the release log. Locked from when a transaction draws the next number until it commits.
    head          bigint NOT NULL DEFAULT 0,
    -- With those of the instances, the latest time that any instance has recorded; no clock starts before it.
    latest        bigint,
    kind          text NOT NULL CHECK (kind IN ('demo', 'real')),
    -- The oldest schema whose program may still work with this database. A migration that the release before does not
    -- stand raises it; one that only adds leaves it alone, so that both work side by side during an upgrade.
    oldest_reader integer NOT NULL,
    CONSTRAINT journal_state_id PRIMARY KEY (one)
);

-- What instances must know of each other's commits, numbered without gaps in the order of commits.
CREATE TABLE release_log (
    number       bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('released', 'ended', 'renamed', 'changed')),
    -- What was ended or renamed.
    scope        text CHECK (scope IN ('organisation', 'unit', 'user', 'key')),
    -- Its id, or that of the session that was released.
    id           bytea CHECK (octet_length(id) = 16),
    -- The user of a Web API key.
    "user"       bytea CHECK (octet_length("user") = 16),
    -- The number up to which sessions have ended.
    through      bigint,
    -- The organisation of what was renamed, and the new name.
    organisation bytea CHECK (octet_length(organisation) = 16),
    name         text,
    CONSTRAINT release_log_id PRIMARY KEY (number)
);

-- The instances that answer, or did until a lease ago. An id is never given twice.
CREATE TABLE instance (
    id            bigint GENERATED ALWAYS AS IDENTITY,
    name          text NOT NULL,
    -- Its `cluster.lease`.
    lease_ms      bigint NOT NULL,
    -- How far it has applied the release log.
    applied       bigint NOT NULL,
    -- How often it has renewed its lease; who removes it names the count.
    renewals      bigint NOT NULL DEFAULT 0,
    -- The latest time that it has told anybody. In a row of its own, so that renewing waits for nobody.
    latest        bigint,
    -- For operators, by the database's clock. Nothing is decided by them.
    registered_at bigint NOT NULL,
    renewed_at    bigint NOT NULL,
    CONSTRAINT instance_id PRIMARY KEY (id)
);

-- One row: how far the search for sessions that have expired has come.
CREATE TABLE sweep (
    one     integer NOT NULL CHECK (one = 1),
    -- The number at which the next search begins.
    next    bigint NOT NULL,
    -- When the last one that reached the end did, by the database's clock.
    done_at bigint,
    CONSTRAINT sweep_id PRIMARY KEY (one)
);
INSERT INTO sweep (one, next) VALUES (1, 0);
