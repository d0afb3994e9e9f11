//! A server's folder with as many people and records as wanted.

use std::path::{Path, PathBuf};
use std::time::Instant;

use doorward::book::{Load, Store};
use doorward_client::totp::Totp;
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Factor, Record};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::person::{Password, Person, Profile};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use doorward_core::trace::{Trace, Walk};
use serde_json::json;

use super::Fallible;
use super::seed::{self, BATCH, added, commit};
use super::server::Server;

/// Firms, which people are spread over.
const FIRMS: u64 = 50;
/// Every door, as a server has them; nobody has to log in soon, or to answer a ping.
pub(crate) const DOORS: &str = "[ws]\nlisten = [\"127.0.0.1:0\"]\nlogin_s_max = 600\nping_s = 600\n\
    [web]\nlisten = [\"127.0.0.1:0\"]\n[hashing]\nthreads = 1\n\
    [[fix.listeners]]\nname = \"cgw\"\nlisten = \"127.0.0.1:0\"\n";

/// Somebody who logs in with a code.
pub(crate) struct Coded {
    pub(crate) userid: String,
    pub(crate) totp: Totp,
}

pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    /// Of everybody.
    pub(crate) password: Secret<String>,
    /// How many have a password alone.
    pub(crate) people: u64,
    pub(crate) coded: Vec<Coded>,
}

impl Site {
    /// Makes a folder in which so many people have a password alone, so many a code as well, and there are so many
    /// records of logins.
    pub(crate) async fn make(folder: PathBuf, people: u64, records: u64, coded: u64) -> Fallible<Self> {
        let began = Instant::now();
        let server = Server::start(&folder, DOORS)?;
        for firm in 0..FIRMS {
            let new = json!({ "code": format!("FIRM{firm:03}"), "name": format!("Firm {firm}") });
            server.api().post("/api/v1/firms", &new).await?;
        }
        let new = json!({ "userid": "like", "kind": "trader", "firm": "FIRM000", "auth_system": "password" });
        let answer = server.api().post("/api/v1/people", &new).await?;
        let password = Secret::new(answer["password"].as_str().ok_or("no password")?.to_owned());
        server.process.stop()?;
        let mut site = Self { folder, password, people, coded: Vec::new() };
        site.seed(records, coded)?;
        site.enrol(coded).await?;
        println!(
            "{people} people, {records} records: written in {:.0} s, {} MiB",
            began.elapsed().as_secs_f64(),
            bytes_of(&site.folder)? >> 20
        );
        Ok(site)
    }

    /// Writes people and records into the store; all have the same hash.
    fn seed(&self, records: u64, coded: u64) -> Fallible<()> {
        let store = seed::open(&self.folder.join("data"))?;
        let like = store.load(&Load::UserId(UserId::parse("like")?))?.person.ok_or("nobody")?;
        let start = like.added_at;
        for first in (0..self.people + coded).step_by(BATCH) {
            let numbers = first..(self.people + coded).min(first + BATCH as u64);
            let people = numbers.map(|n| Ok(added(self.person(&like, n)?)));
            commit(&store, people.collect::<Fallible<_>>()?)?;
        }
        for first in (0..records).step_by(BATCH) {
            let numbers = first..records.min(first + BATCH as u64);
            commit(&store, numbers.map(|n| self.record(start, n)).collect::<Fallible<_>>()?)?;
        }
        Ok(())
    }

    /// The n-th person; those behind the people with a password alone get an authenticator later.
    fn person(&self, like: &Person, n: u64) -> Fallible<Person> {
        let userid = if n < self.people { userid(n) } else { format!("coded{:07}", n - self.people) };
        let userid = UserId::parse(&userid)?;
        let profile = Profile { email: Some(format!("{userid}@firm.example")), ..Profile::default() };
        Ok(Person {
            id: PersonId::from_random((n + 1) << 20),
            firm: Some(doorward_core::id::FirmCode::parse(&format!("FIRM{:03}", n % FIRMS))?),
            password: Password::Own { phc: like.password.phc().clone(), set_us: like.added_at },
            userid,
            profile,
            version: 1,
            ..like.clone()
        })
    }

    /// The n-th record: logins, one in ten refused, of people all over the list.
    fn record(&self, start: Wall, n: u64) -> Fallible<Record> {
        let number = n.wrapping_mul(7_919) % self.people;
        let source = Some(format!("192.0.2.{}", n % 250 + 1).parse()?);
        let at = Wall::from_us(start.as_us() + i64::try_from(n)?);
        let context = Context { at, door: Door::WebSocket, source, attempt: doorward::gate::new_attempt() };
        let event = if n.is_multiple_of(10) { Event::LoginRefused } else { Event::LoginGranted };
        let actor = Actor::Person {
            id: PersonId::from_random((number + 1) << 20),
            userid: UserId::parse(&userid(number))?,
        };
        let firm = Some(doorward_core::id::FirmCode::parse(&format!("FIRM{:03}", number % FIRMS))?);
        let trace = Some(Trace::of(Walk::Login));
        let entry = Entry { firm, factor: Factor::Password, trace, ..Entry::new(&context, event, actor) };
        Ok(Record { entry, changes: Vec::new() })
    }

    /// Gives seeds to those who log in with a code; their first one confirms it.
    async fn enrol(&mut self, coded: u64) -> Fallible<()> {
        let server = Server::start(&self.folder, DOORS)?;
        for n in 0..coded {
            let userid = format!("coded{n:07}");
            let answer =
                server.api().post(&format!("/api/v1/people/{userid}/authenticator"), &json!({})).await?;
            let totp = Totp::parse(answer["seed"].as_str().ok_or("no seed")?)?;
            self.coded.push(Coded { userid, totp });
        }
        server.process.stop()
    }
}

/// The n-th person with a password alone.
pub(crate) fn userid(n: u64) -> String {
    format!("trader{n:07}")
}

fn bytes_of(folder: &Path) -> Fallible<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { bytes_of(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}
