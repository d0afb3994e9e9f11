-- Whose a token is. The document of the person has the tokens; this finds the person.
CREATE TABLE token (
    hash   TEXT    PRIMARY KEY,
    person INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX token_of_person ON token (person);
