//! SIGKILL at random moments under load: nothing that was acknowledged is ever missing.
//!
//! This process is the load; the node is a process of its own. What was acknowledged is written down here, and held
//! against the node after each kill. `DOORWARD_SIGKILL_KILLS` sets the number of kills (200), `DOORWARD_SIGKILL_SEED`
//! the seed of the moments, which is printed.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/node.rs"]
mod node;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doorward::clock::Clock;
use doorward::journal::{Head, RealDisk, verify};
use doorward_client::api::{AdminClient, ApiError};
use doorward_client::totp::Totp;
use doorward_client::ws::{ChangeAnswer, ConnectOptions, LoginAnswer, WsClient};
use doorward_core::secret::Secret;
use node::{Chance, Serving, doorward_at, told, write_config};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// Kills, unless `DOORWARD_SIGKILL_KILLS` names another number.
const KILLS: u64 = 200;
/// From the moment when all doors listen to the kill, in milliseconds.
const KILL_AFTER_MS: (u64, u64) = (50, 400);
/// People who log in with a password, and people who change theirs.
const PLAIN: usize = 1;
const CHANGING: usize = 2;

/// What a client knows for certain, because it was told so.
#[derive(Default)]
struct Acknowledged {
    /// Granted logins by user id.
    logins: BTreeMap<String, u64>,
    /// Password changes by user id.
    changes: BTreeMap<String, u64>,
    /// People who were added.
    people: Vec<String>,
    /// User id, password and code of logins that were granted since the last kill.
    codes: Vec<(String, String, String)>,
    codes_used: u64,
    /// Heads that the node named.
    head: Option<Head>,
    /// What must never be seen.
    violations: Vec<String>,
}

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Acknowledged>>);

impl Ledger {
    fn with<T>(&self, what: impl FnOnce(&mut Acknowledged) -> T) -> T {
        what(&mut self.0.lock().unwrap())
    }
}

/// Somebody whose password changes; `pending` was sent and not answered.
#[derive(Clone)]
struct Changing {
    userid: String,
    password: String,
    pending: Option<String>,
    /// Changes that were sent, so that no password comes twice.
    sent: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q5_what_was_acknowledged_outlives_a_kill_at_any_moment() {
    let kills = number("DOORWARD_SIGKILL_KILLS").unwrap_or(KILLS);
    let seed =
        number("DOORWARD_SIGKILL_SEED").unwrap_or_else(|| Clock::system().now().wall.as_us().unsigned_abs());
    println!("{kills} kills, DOORWARD_SIGKILL_SEED={seed}");
    let mut chance = Chance::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    write_config(folder, "");
    let ledger = Ledger::default();
    let names = Arc::new(AtomicU64::new(0));

    let first = Serving::start(folder);
    let (plain, changing) = people(&AdminClient::new(&first.socket), &ledger).await;
    let changing: Vec<_> = changing.into_iter().map(|one| Arc::new(tokio::sync::Mutex::new(one))).collect();
    first.process.kill();

    let began = Instant::now();
    let mut torn = 0;
    for kill in 1..=kills {
        torn += u64::from(journal_is_whole(folder, &ledger, kill));
        let serving = Serving::start(folder);
        let admin = AdminClient::new(&serving.socket);
        nobody_is_missing(&admin, &ledger).await;
        let mut load = tokio::task::JoinSet::new();
        for (userid, password) in &plain {
            load.spawn(log_in(serving.url.clone(), userid.clone(), password.clone(), ledger.clone()));
        }
        for one in &changing {
            load.spawn(change_passwords(serving.url.clone(), Arc::clone(one), ledger.clone()));
        }
        load.spawn(add_people(serving.url.clone(), admin, Arc::clone(&names), ledger.clone()));
        let (from, to) = KILL_AFTER_MS;
        let span = Duration::from_millis(chance.between(from, to));
        tokio::task::spawn_blocking(move || serving.process.kill_after(span)).await.unwrap();
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
        let violations = ledger.with(|told| told.violations.clone());
        assert!(violations.is_empty(), "after kill {kill} (seed {seed}): {violations:#?}");
    }
    let took = began.elapsed();
    journal_is_whole(folder, &ledger, kills);
    let records = the_book_catches_up(folder, &ledger, &changing).await;
    let told = ledger.0.lock().unwrap();
    println!(
        "{kills} kills in {} s, {torn} torn tails, {records} records; acknowledged: {} logins, {} codes, {} password \
         changes, {} people added; all there",
        took.as_secs(),
        told.logins.values().sum::<u64>(),
        told.codes_used,
        told.changes.values().sum::<u64>(),
        told.people.len(),
    );
    assert!(told.logins.values().sum::<u64>() > kills / 4, "too little load for a test");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Adds somebody; gives back the password that the node made.
async fn add(admin: &AdminClient, userid: &str, auth_system: &str) -> Result<String, ApiError> {
    let new = json!({ "userid": userid, "kind": "trader", "firm": "NORTH", "auth_system": auth_system });
    Ok(admin.post("/api/v1/people", &new).await?["password"].as_str().unwrap().to_owned())
}

/// Adds a program, whose password is not for one login only.
async fn add_program(admin: &AdminClient, userid: &str) -> String {
    let grant = json!({ "firms": ["NORTH"], "rights": ["verify"], "sources": ["127.0.0.0/8"] });
    let new = json!({ "userid": userid, "kind": "service", "initial": false, "grant": grant });
    admin.post("/api/v1/people", &new).await.unwrap()["password"].as_str().unwrap().to_owned()
}

async fn people(admin: &AdminClient, ledger: &Ledger) -> (Vec<(String, String)>, Vec<Changing>) {
    admin.post("/api/v1/firms", &json!({ "code": "NORTH", "name": "Northwind" })).await.unwrap();
    let (mut plain, mut changing) = (Vec::new(), Vec::new());
    for n in 0..PLAIN {
        let userid = format!("plain{n}");
        plain.push((userid.clone(), add_program(admin, &userid).await));
    }
    for n in 0..CHANGING {
        let userid = format!("changing{n}");
        let password = add(admin, &userid, "password").await.unwrap();
        changing.push(Changing { userid, password, pending: None, sent: 0 });
    }
    ledger.with(|told| {
        told.people.extend(plain.iter().map(|(userid, _)| userid.clone()));
        told.people.extend(changing.iter().map(|one| one.userid.clone()));
    });
    (plain, changing)
}

/// One login; `None` where the node went away before it answered.
async fn login(
    url: &str,
    userid: &str,
    password: &str,
    code: Option<&str>,
) -> Option<(WsClient, LoginAnswer)> {
    let mut client = WsClient::connect(url, &ConnectOptions::default()).await.ok()?;
    let answer = client.login(userid, &Secret::new(password.to_owned()), code).await.ok()?.answer;
    Some((client, answer))
}

/// Writes a granted login down; anything else is a violation.
fn granted(ledger: &Ledger, userid: &str, answer: &LoginAnswer) -> bool {
    let granted = matches!(answer, LoginAnswer::In { .. });
    ledger.with(|told| {
        if granted {
            *told.logins.entry(userid.to_owned()).or_default() += 1;
        } else {
            told.violations.push(format!("{userid}, whose login is right, was answered {answer:?}"));
        }
    });
    granted
}

async fn log_in(url: String, userid: String, password: String, ledger: Ledger) {
    while let Some((client, answer)) = login(&url, &userid, &password, None).await {
        if !granted(&ledger, &userid, &answer) || client.logout().await.is_err() {
            return;
        }
    }
}

async fn change_passwords(url: String, one: Arc<tokio::sync::Mutex<Changing>>, ledger: Ledger) {
    let mut one = one.lock().await;
    let Some(mut client) = log_in_with_either(&url, &mut one, &ledger).await else { return };
    loop {
        one.sent += 1;
        let new = format!("spring tide {} at the harbour wall", one.sent);
        one.pending = Some(new.clone());
        let old = Secret::new(one.password.clone());
        let Ok(reply) = client.change_password(&old, &Secret::new(new.clone())).await else { return };
        one.pending = None;
        if reply.answer != ChangeAnswer::Changed {
            let text = format!("{}: a password change was answered {:?}", one.userid, reply.answer);
            ledger.with(|told| told.violations.push(text));
            return;
        }
        ledger.with(|told| *told.changes.entry(one.userid.clone()).or_default() += 1);
        one.password = new;
    }
}

/// Adds people with an authenticator, each of whom logs in once with a code, which registers it.
async fn add_people(url: String, admin: AdminClient, names: Arc<AtomicU64>, ledger: Ledger) {
    if used_codes_stay_used(&url, &ledger).await.is_none() {
        return;
    }
    let clock = Clock::system();
    loop {
        let userid = format!("trader{}", names.fetch_add(1, Ordering::Relaxed));
        let Ok(password) = add(&admin, &userid, "otp").await else { return };
        ledger.with(|told| told.people.push(userid.clone()));
        let path = format!("/api/v1/people/{userid}/authenticator");
        let Ok(issued) = admin.post(&path, &json!({})).await else { return };
        let code = Totp::parse(issued["seed"].as_str().unwrap()).unwrap().code(clock.now().wall).to_string();
        let Some((client, answer)) = login(&url, &userid, &password, Some(&code)).await else { return };
        if !granted(&ledger, &userid, &answer) {
            return;
        }
        ledger.with(|told| {
            told.codes_used += 1;
            told.codes.push((userid, password, code));
        });
        drop(client);
        let Ok(status) = admin.get("/api/v1/status").await else { return };
        note_head(&status, &ledger);
    }
}

/// Writes down where the node says its journal stands.
fn note_head(status: &Value, ledger: &Ledger) {
    let text = format!("{}:{}", status["head"]["no"], status["head"]["hash"].as_str().unwrap());
    let head = Head::parse(&text).unwrap();
    ledger.with(|told| {
        if told.head.is_none_or(|noted| noted.no < head.no) {
            told.head = Some(head);
        }
    });
}

/// The chain verifies and holds the last head that was named; whether its tail is torn.
fn journal_is_whole(folder: &Path, ledger: &Ledger, kill: u64) -> bool {
    let noted: Vec<Head> = ledger.with(|told| told.head).into_iter().collect();
    let disk = RealDisk::open_to_read(&folder.join("data/journal")).unwrap();
    let report = verify(&disk, &noted).unwrap();
    assert!(report.intact, "kill {kill}: {:#?}", report.findings);
    // The command says the same; now and then, as it is a process of its own.
    if kill.is_multiple_of(20) {
        let output = doorward_at(folder, &["audit", "verify", "--config", "doorward.toml"]);
        assert!(output.status.success(), "kill {kill}: {}", told(&output));
    }
    report.torn_tail.is_some()
}

/// Those who were added last are there; the others are counted at the end.
async fn nobody_is_missing(admin: &AdminClient, ledger: &Ledger) {
    let people = ledger.with(|told| told.people[told.people.len().saturating_sub(4)..].to_vec());
    for userid in people {
        let person = admin.get(&format!("/api/v1/people/{userid}")).await;
        assert!(person.is_ok(), "{userid} was added and is missing: {person:?}");
    }
}

/// T6: a code whose login was granted before a kill is refused after it. `None` where the node went away.
async fn used_codes_stay_used(url: &str, ledger: &Ledger) -> Option<()> {
    while let Some((userid, password, code)) = ledger.with(|told| told.codes.last().cloned()) {
        let (_, answer) = login(url, &userid, &password, Some(&code)).await?;
        ledger.with(|told| {
            told.codes.pop();
            if answer != LoginAnswer::InvalidToken {
                told.violations.push(format!("{userid}: a used code was answered {answer:?}"));
            }
        });
    }
    Some(())
}

/// Logs in with the last acknowledged password, or with the one whose change was cut short. `None` where the node
/// went away, or neither is taken.
async fn log_in_with_either(url: &str, one: &mut Changing, ledger: &Ledger) -> Option<WsClient> {
    if let Some(pending) = one.pending.clone() {
        let (client, answer) = login(url, &one.userid, &pending, None).await?;
        one.pending = None;
        if matches!(answer, LoginAnswer::In { .. }) {
            granted(ledger, &one.userid, &answer);
            one.password = pending;
            return Some(client);
        }
    }
    let (client, answer) = login(url, &one.userid, &one.password, None).await?;
    granted(ledger, &one.userid, &answer).then_some(client)
}

/// After an orderly end the book stands where the journal does and shows all that was acknowledged.
async fn the_book_catches_up(
    folder: &Path,
    ledger: &Ledger,
    changing: &[Arc<tokio::sync::Mutex<Changing>>],
) -> i64 {
    let mut serving = Serving::start(folder);
    used_codes_stay_used(&serving.url, ledger).await.unwrap();
    for one in changing {
        log_in_with_either(&serving.url, &mut *one.lock().await, ledger).await.unwrap();
    }
    let (status, _) = serving.process.stop();
    assert!(status.success());
    let output = doorward_at(folder, &["audit", "verify", "--config", "doorward.toml", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let head = Head::parse(report["head"].as_str().unwrap()).unwrap();

    let book =
        Connection::open_with_flags(folder.join("data/book.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mark: (i64, Vec<u8>) =
        book.query_row("SELECT no, hash FROM mark", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let head_no = i64::try_from(head.no).unwrap();
    assert_eq!(mark, (head_no, head.hash.to_vec()), "the book is behind the journal");
    let rows: (i64, i64) = book
        .query_row("SELECT count(*), max(no) FROM audit", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(rows, (head_no, head_no), "the numbers have gaps");

    let told = ledger.0.lock().unwrap();
    assert!(told.violations.is_empty(), "{:#?}", told.violations);
    // The login with the first code is told as what registered the authenticator.
    let shown = |userid: &str, event: &str| -> u64 {
        let sql = "SELECT count(*) FROM audit JOIN person ON person.id = audit.person WHERE userid = ?1 AND event = ?2";
        book.query_row(sql, [userid, event], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    };
    for (userid, count) in &told.logins {
        assert!(
            shown(userid, "login-granted") + shown(userid, "authenticator-confirmed") >= *count,
            "{userid}: {count} logins were acknowledged"
        );
    }
    for (userid, count) in &told.changes {
        assert!(shown(userid, "password-changed") >= *count, "{userid}: {count} changes were acknowledged");
    }
    for userid in &told.people {
        let there: i64 = book
            .query_row("SELECT count(*) FROM person WHERE userid = ?1", [userid], |row| row.get(0))
            .unwrap();
        assert_eq!(there, 1, "{userid} was added");
    }
    head_no
}
