-- The view of the journal: documents as JSON, beside them the columns that are searched.

CREATE TABLE venue (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    doc     TEXT    NOT NULL
) STRICT;

INSERT INTO venue (one, version, doc) VALUES (1, 0, '{"version":0}');

CREATE TABLE firm (
    code    TEXT    PRIMARY KEY,
    version INTEGER NOT NULL,
    doc     TEXT    NOT NULL
) STRICT;

CREATE TABLE person (
    id         INTEGER PRIMARY KEY,
    userid     TEXT    NOT NULL UNIQUE,
    firm       TEXT,
    kind       TEXT    NOT NULL,
    standing   TEXT    NOT NULL,
    registered INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    doc        TEXT    NOT NULL
) STRICT;

CREATE INDEX person_by_firm ON person (firm, userid);

-- Attempts, only of persons of whom there is something to remember.
CREATE TABLE access (
    person INTEGER PRIMARY KEY,
    doc    TEXT    NOT NULL
) STRICT;

-- `name` is what a stranger tried as a user id, as the record tells it; `attempt` is the id's 64 bits, signed.
CREATE TABLE audit (
    no      INTEGER PRIMARY KEY,
    at_us   INTEGER NOT NULL,
    event   TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    person  INTEGER,
    subject INTEGER,
    name    TEXT,
    firm    TEXT,
    door    TEXT    NOT NULL,
    attempt INTEGER NOT NULL,
    entry   TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_by_person  ON audit (person, no)  WHERE person IS NOT NULL;
CREATE INDEX audit_by_subject ON audit (subject, no) WHERE subject IS NOT NULL;
CREATE INDEX audit_by_name    ON audit (name, no)    WHERE name IS NOT NULL;
CREATE INDEX audit_by_firm    ON audit (firm, no)    WHERE firm IS NOT NULL;
CREATE INDEX audit_by_event   ON audit (event, no);
CREATE INDEX audit_by_attempt ON audit (attempt, no);

-- Up to which record of the journal all of this is.
CREATE TABLE mark (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    no   INTEGER NOT NULL,
    hash BLOB    NOT NULL
) STRICT;

INSERT INTO mark (one, no, hash) VALUES (1, 0, zeroblob(32));
