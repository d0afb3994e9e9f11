//! The database file: opening it, and bringing it to the present schema. Forward only.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::fault::Fault;

/// What to do about a database that cannot be used: it is a view, the journal is the truth.
pub(super) const REMEDY: &str = "stop the server and run `doorward book rebuild`";

/// One step from a schema to the next. Steps that were released never change.
pub(super) struct Migration {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// The steps in order; the first has the number 1.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { name: "first", sql: include_str!("../migrations/0001_first.sql") },
    Migration { name: "fix", sql: include_str!("../migrations/0002_fix.sql") },
    Migration { name: "people", sql: include_str!("../migrations/0003_people.sql") },
    Migration { name: "tokens", sql: include_str!("../migrations/0004_tokens.sql") },
];

/// A fault of SQLite, by what there is to do about it.
pub(super) fn fault(error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Fault::Damaged(format!("book.db: {error}: {REMEDY}"))
        }
        Some(_) | None => Fault::Book(format!("book.db: {error}")),
    }
}

/// Opens the file for writing, making it if need be (mode 0600), and migrates it.
pub(super) fn open_to_write(path: &Path, migrations: &[Migration]) -> Result<Connection, Fault> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|error| Fault::disk(path, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        // WAL with NORMAL: a power cut may take the last commits, never the order of them; the journal has them.
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.pragma_update(None, "cache_size", -16_384)?;
        // What is kept aside to undo one statement needs no file: a write call for each page cost more than the row.
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        // In pages: those that every batch touches go into the file with every fourth megabyte only.
        conn.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
        conn.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
        Ok(conn)
    };
    let conn = open().map_err(|error| fault(&error))?;
    migrate(&conn, path, migrations)?;
    Ok(conn)
}

/// Opens a file that is there for reading beside the writer.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    };
    open().map_err(|error| fault(&error))
}

fn migrate(conn: &Connection, path: &Path, migrations: &[Migration]) -> Result<(), Fault> {
    let there = schema_of(conn).map_err(|error| fault(&error))?;
    if there > migrations.len() {
        let (path, known) = (path.display(), migrations.len());
        return Err(Fault::Book(format!(
            "{path}: has schema {there}, made by a newer release; this one knows {known}: run that release, or \
             {REMEDY} with this one"
        )));
    }
    for (no, migration) in (1..).zip(migrations).skip(there) {
        step(conn, no, migration).map_err(|error| {
            let (path, name) = (path.display(), migration.name);
            Fault::Book(format!("{path}: migration {no} ({name}): {error}: {REMEDY}"))
        })?;
    }
    Ok(())
}

/// The number of the last step that was made; 0 in an empty file.
pub(super) fn schema_of(conn: &Connection) -> rusqlite::Result<usize> {
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'";
    if conn.query_row(table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    let last: u32 = conn.query_row("SELECT coalesce(max(no), 0) FROM migration", [], |row| row.get(0))?;
    Ok(last as usize)
}

fn step(conn: &Connection, no: u32, migration: &Migration) -> rusqlite::Result<()> {
    let transaction = conn.unchecked_transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
             no INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
    )?;
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO migration VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
        (no, migration.name),
    )?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Migration = Migration {
        name: "second",
        sql: "ALTER TABLE firm ADD COLUMN note TEXT; UPDATE firm SET note = 'of ' || code;",
    };
    const BROKEN: Migration =
        Migration { name: "broken", sql: "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);" };

    fn first() -> Migration {
        Migration { name: MIGRATIONS[0].name, sql: MIGRATIONS[0].sql }
    }

    fn fix() -> Migration {
        Migration { name: MIGRATIONS[1].name, sql: MIGRATIONS[1].sql }
    }

    fn people() -> Migration {
        Migration { name: MIGRATIONS[2].name, sql: MIGRATIONS[2].sql }
    }

    fn tokens() -> Migration {
        Migration { name: MIGRATIONS[3].name, sql: MIGRATIONS[3].sql }
    }

    #[test]
    fn the_step_to_the_console_takes_locks_and_last_logins_from_what_was_there() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("book.db");
        let conn = open_to_write(&path, &[first(), fix()]).unwrap();
        let rows = r#"
            INSERT INTO person (id, userid, firm, kind, standing, registered, version, doc) VALUES
                (1, 'ana', 'ACME', 'trader', 'active', 1, 1, '{"authenticator":{"state":"locked"}}'),
                (2, 'bea', 'ACME', 'trader', 'active', 1, 1, '{"authenticator":{"state":"active"}}');
            INSERT INTO audit VALUES
                (1, 10, 'login-granted', 'allowed', 2, NULL, NULL, 'ACME', 'websocket', 3, '{}'),
                (2, 20, 'login-granted', 'allowed', 2, NULL, NULL, 'ACME', 'fix', 4, '{}'),
                (3, 30, 'login-refused', 'refused', 1, NULL, NULL, 'ACME', 'websocket', 5, '{}'),
                (4, 40, 'logon-granted', 'allowed', NULL, NULL, 'S01', 'ACME', 'fix', 6, '{}');"#;
        conn.execute_batch(rows).unwrap();
        drop(conn);
        let conn = open_to_write(&path, &[first(), fix(), people()]).unwrap();
        let found = |sql: &str| {
            let mut query = conn.prepare(sql).unwrap();
            let columns = query.column_count();
            let read = query.query_map([], |row| (0..columns).map(|nth| row.get::<_, i64>(nth)).collect());
            read.unwrap().map(Result::unwrap).collect::<Vec<Vec<i64>>>()
        };
        assert_eq!(
            found("SELECT id, locked, signed_in, link_hash IS NULL FROM person"),
            [[1, 1, 0, 1], [2, 0, 1, 1]]
        );
        assert_eq!(found("SELECT person, at_us, door = 'fix' FROM last_login"), [[2, 20, 1]]);
        for table in ["outbox", "halt"] {
            assert_eq!(found(&format!("SELECT count(*) FROM {table}")), [[0]], "{table}");
        }
        assert_eq!(schema_of(&conn).unwrap(), 3);
    }

    #[test]
    fn the_step_to_fix_sessions_keeps_what_was_there_and_adds_them() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("book.db");
        let conn = open_to_write(&path, &[first()]).unwrap();
        let rows = "INSERT INTO firm VALUES ('ACME', 1, '{}');
            INSERT INTO audit VALUES (1, 2, 'firm-added', 'allowed', NULL, NULL, NULL, 'ACME', 'local', 3, '{}')";
        conn.execute_batch(rows).unwrap();
        drop(conn);
        let conn = open_to_write(&path, &[first(), fix()]).unwrap();
        let found = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(found("SELECT count(*) FROM firm"), 1);
        assert_eq!(found("SELECT no FROM audit WHERE event = 'firm-added'"), 1);
        assert_eq!(found("SELECT no FROM week"), 0);
        for table in ["fix_session", "access_key", "session_lock", "key_use", "stream"] {
            assert_eq!(found(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
        }
        assert_eq!(schema_of(&conn).unwrap(), 2);
    }

    fn tables(conn: &Connection) -> Vec<String> {
        let mut query =
            conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1").unwrap();
        let names = query.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    #[test]
    fn a_database_of_the_version_before_keeps_its_rows() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("book.db");
        let conn = open_to_write(&path, &[first()]).unwrap();
        conn.execute("INSERT INTO firm VALUES ('ACME', 1, '{}')", []).unwrap();
        drop(conn);
        for _ in 0..2 {
            let conn = open_to_write(&path, &[first(), SECOND]).unwrap();
            let note: String = conn.query_row("SELECT note FROM firm", [], |row| row.get(0)).unwrap();
            assert_eq!((note.as_str(), schema_of(&conn).unwrap()), ("of ACME", 2));
        }
    }

    #[test]
    fn a_database_of_a_newer_release_is_refused_unchanged() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("book.db");
        drop(open_to_write(&path, &[first(), fix(), people(), tokens(), SECOND]).unwrap());
        let refused = open_to_write(&path, MIGRATIONS).err().unwrap().to_string();
        assert!(refused.contains("has schema 5") && refused.contains("knows 4"), "{refused}");
        open_to_write(&path, &[first(), fix(), people(), tokens(), SECOND]).unwrap();
    }

    #[test]
    fn a_migration_is_made_whole_or_not_at_all() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("book.db");
        let refused = open_to_write(&path, &[first(), BROKEN]).err().unwrap().to_string();
        assert!(refused.contains("migration 2 (broken)"), "{refused}");
        let conn = open_to_write(&path, &[first()]).unwrap();
        assert_eq!(tables(&conn), ["access", "audit", "firm", "mark", "migration", "person", "venue"]);
        assert_eq!(schema_of(&conn).unwrap(), 1);
    }
}
