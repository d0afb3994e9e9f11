-- Setup links, last logins, mails that wait, emergency switches.

-- The last setup link of a person, as the document tells it; `signed_in`: there is a row in last_login.
ALTER TABLE person ADD COLUMN locked        INTEGER NOT NULL DEFAULT 0;
ALTER TABLE person ADD COLUMN link_hash     TEXT;
ALTER TABLE person ADD COLUMN link_state    TEXT;
ALTER TABLE person ADD COLUMN link_until_us INTEGER;
ALTER TABLE person ADD COLUMN signed_in     INTEGER NOT NULL DEFAULT 0;

UPDATE person SET locked = 1 WHERE json_extract(doc, '$.authenticator.state') = 'locked';

CREATE INDEX person_by_kind ON person (firm, kind, userid);
CREATE INDEX person_of_kind ON person (kind, userid);
CREATE INDEX person_by_link ON person (link_hash) WHERE link_hash IS NOT NULL;
CREATE INDEX person_by_end  ON person (link_until_us) WHERE link_state = 'live';

-- One a filter: a list of few among very many is walked in the order of its pages.
CREATE INDEX person_unregistered ON person (firm, userid) WHERE registered = 0;
CREATE INDEX person_locked       ON person (firm, userid) WHERE locked = 1;
CREATE INDEX person_never        ON person (firm, userid) WHERE signed_in = 0;
CREATE INDEX person_linked       ON person (firm, userid) WHERE link_state IN ('live', 'expired');
CREATE INDEX person_disabled     ON person (firm, userid) WHERE standing = 'disabled';

-- When somebody was let in last, and where: written over and over, so without documents to be read first.
CREATE TABLE last_login (
    person INTEGER PRIMARY KEY,
    at_us  INTEGER NOT NULL,
    door   TEXT    NOT NULL
) STRICT;

INSERT INTO last_login (person, at_us, door)
    SELECT person, at_us, door FROM audit WHERE no IN (
        SELECT max(no) FROM audit
        WHERE event IN ('login-granted', 'authenticator-confirmed') AND outcome = 'allowed' AND person IS NOT NULL
            AND event NOT IN ('logon-granted', 'logon-refused')
        GROUP BY person);

UPDATE person SET signed_in = 1 WHERE id IN (SELECT person FROM last_login);

-- Mails. `state` is one of waiting, delayed (waiting after a try), sent, given-up; `next_us` is there while it is to be
-- sent; `doc` has no token once it is not.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY,
    state      TEXT    NOT NULL,
    next_us    INTEGER,
    queued_us  INTEGER NOT NULL,
    firm       TEXT,
    about      INTEGER,
    doc        TEXT    NOT NULL,
    mail_state TEXT    NOT NULL
) STRICT;

CREATE INDEX outbox_due      ON outbox (next_us, id) WHERE next_us IS NOT NULL;
CREATE INDEX outbox_by_time  ON outbox (queued_us, id);
CREATE INDEX outbox_by_firm  ON outbox (firm, queued_us, id);
CREATE INDEX outbox_by_about ON outbox (about, queued_us, id) WHERE about IS NOT NULL;
CREATE INDEX outbox_unsent   ON outbox (queued_us, id) WHERE state IN ('waiting', 'delayed', 'given-up');
CREATE INDEX outbox_unsent_of ON outbox (firm, queued_us, id) WHERE state IN ('waiting', 'delayed', 'given-up');

-- Emergency switches that are thrown.
CREATE TABLE halt (
    scope TEXT PRIMARY KEY,
    doc   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
