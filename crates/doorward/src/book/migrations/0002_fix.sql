-- FIX sessions, their key pairs and the numbers of their streams.

CREATE TABLE fix_session (
    id      TEXT    PRIMARY KEY,
    firm    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    doc     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Every Access Key ID that there ever was, with its session: it is never given out again.
CREATE TABLE access_key (
    id      TEXT PRIMARY KEY,
    session TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What Logons do to sessions: written over and over, so without documents to be read first.
CREATE TABLE session_lock (
    session   TEXT    PRIMARY KEY,
    locked_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key_use (
    access_key TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    doc        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Of two statements about a stream the one with the greater (week, reset, rev) holds.
CREATE TABLE stream (
    name  TEXT    PRIMARY KEY,
    week  INTEGER NOT NULL,
    reset INTEGER NOT NULL,
    rev   INTEGER NOT NULL,
    doc   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- The trading week that was rolled to last; 0: none was.
CREATE TABLE week (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    no  INTEGER NOT NULL
) STRICT;

INSERT INTO week (one, no) VALUES (1, 0);

-- Accepted and refused Logons come by the thousand: they are found by firm, by `name`, which for them is the
-- Session ID, or by going back from the newest. All other events keep their index.
DROP INDEX audit_by_event;
CREATE INDEX audit_by_event ON audit (event, no) WHERE event NOT IN ('logon-granted', 'logon-refused');
