-- What administrators see and change, what logins leave behind for them, and the rules of organisations.

CREATE TABLE web_api_key (
    id                bytea NOT NULL CHECK (octet_length(id) = 16),
    organisation      bytea NOT NULL,
    "user"            bytea NOT NULL,
    name              text COLLATE "C" NOT NULL,
    classification    text COLLATE "C" NOT NULL
                      CHECK (classification IN ('SYSTEMIC_KEY', 'CONSUMER_APPLICATION_KEY')),
    status            text COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled')),
    verifier          boolean NOT NULL,
    -- Networks with commas between them; none for every address.
    allowed_addresses text NOT NULL,
    expires_at        bigint,
    ended             bigint NOT NULL DEFAULT 0,
    revision          bigint NOT NULL DEFAULT 1,
    created_at        bigint NOT NULL,
    updated_at        bigint NOT NULL,
    CONSTRAINT web_api_key_id PRIMARY KEY (id),
    CONSTRAINT web_api_key_user FOREIGN KEY (organisation, "user") REFERENCES "user" (organisation, id)
);

-- Serves the list of an organisation's keys.
CREATE INDEX web_api_key_organisation ON web_api_key (organisation, id);
-- Serves the list of a user's keys, and their deletion with the user.
CREATE INDEX web_api_key_of_user ON web_api_key (organisation, "user", id);

-- A key may have several secrets while one replaces another.
CREATE TABLE key_secret (
    digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
    key            bytea NOT NULL,
    -- The last four characters, to tell secrets apart.
    hint           text,
    created_at     bigint NOT NULL,
    -- From when on it is not accepted: set when another replaces it.
    ends_at        bigint,
    -- Written lazily.
    last_used_at   bigint,
    last_used_from text,
    -- Serves the login with a key.
    CONSTRAINT key_secret_digest PRIMARY KEY (digest)
);

-- Serves the lists of keys; there is one secret in use for each.
CREATE INDEX key_secret_key ON key_secret (key, last_used_at);
CREATE UNIQUE INDEX key_secret_in_use ON key_secret (key) WHERE ends_at IS NULL;

-- From where users logged in lately; its primary key serves the login.
CREATE TABLE known_address (
    "user"       bytea NOT NULL,
    network      text COLLATE "C" NOT NULL,
    succeeded_at bigint NOT NULL,
    CONSTRAINT known_address_id PRIMARY KEY ("user", network)
);

-- What organisations override of the rules; its primary key serves the login.
CREATE TABLE organisation_rule (
    organisation bytea NOT NULL CONSTRAINT organisation_rule_organisation REFERENCES organisation (id),
    rule         text COLLATE "C" NOT NULL,
    value        text COLLATE "C" NOT NULL,
    CONSTRAINT organisation_rule_id PRIMARY KEY (organisation, rule)
);

-- What was created at the request of callers who sent an Idempotency-Key, for as long as they may repeat it.
CREATE TABLE once (
    caller  bytea NOT NULL,
    key     bytea NOT NULL CHECK (octet_length(key) = 32),
    request bytea NOT NULL CHECK (octet_length(request) = 32),
    made    bytea NOT NULL,
    at      bigint NOT NULL,
    CONSTRAINT once_id PRIMARY KEY (caller, key)
);

-- Serves forgetting.
CREATE INDEX once_at ON once (at);

-- Failures that all instances count together, so that guessing is not faster for being spread over them. Each row is read
-- and replaced as a whole, by the rules of `attempts` in the domain. Times are the instances', whose clocks follow the
-- database's.
CREATE TABLE login_attempt (
    -- What is counted: the logins of the user with this id; of a user from a network, whose text stands behind the id; or
    -- those of names with no account, which share gates of two bytes.
    gate         bytea NOT NULL,
    failures     bigint NOT NULL,
    -- When the failures are forgotten.
    window_ends  bigint NOT NULL,
    locked_until bigint NOT NULL,
    -- How often it was locked in a row; each time takes longer than the last.
    locks        bigint NOT NULL,
    -- The attempts that are not settled, in the order in which they began, and from when on each counts as a failure.
    under_way    bigint[] NOT NULL,
    overdue_at   bigint[] NOT NULL,
    -- From when on the row says nothing any more.
    stale_at     bigint NOT NULL,
    CONSTRAINT login_attempt_id PRIMARY KEY (gate)
);

-- Serves forgetting.
CREATE INDEX login_attempt_stale_at ON login_attempt (stale_at);

-- One row, made by the first instance: the secret that chooses the gates of names with no account.
CREATE TABLE gate_key (
    one integer NOT NULL CHECK (one = 1),
    key bytea NOT NULL CHECK (octet_length(key) = 16),
    CONSTRAINT gate_key_id PRIMARY KEY (one)
);
