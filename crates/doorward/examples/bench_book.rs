//! What a logon's record costs in the journal and in the book, in processor time.
//!
//! `cargo run --release -p doorward --example bench_book -- [RECORDS] [BATCH]`

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use doorward::book::{Batch, Store as _, sqlite};
use doorward::journal::RealDisk;
use doorward_core::audit::{Actor, AttemptId, Context, Door, Entry, Event, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::attempt::Tally;
use doorward_core::identity::change::Change;
use doorward_core::time::Wall;
use doorward_core::trace::{Trace, Walk};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn cpu_us() -> Fallible<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let _ = stat;
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().ok_or("schedstat")?.parse::<f64>()? / 1000.0;
    }
    Ok(total)
}

fn record(n: u64) -> Fallible<Record> {
    let source: IpAddr = "192.0.2.17".parse()?;
    let at = Wall::from_us(1_795_291_200_250_000 + n as i64 * 50);
    let attempt = AttemptId(doorward::gate::new_attempt().0);
    let context = Context { at, door: Door::WebSocket, source: Some(source), attempt };
    let id = PersonId::from_random((n % 100) << 1);
    let actor =
        Actor::Person { id, userid: UserId::parse(&format!("user{}", n % 100)).map_err(|_| "userid")? };
    let mut entry = Entry::new(&context, Event::LoginGranted, actor);
    entry.firm = FirmCode::parse("ACME").ok();
    entry.trace = Some(Trace::of(Walk::Login));
    let tally = Tally { last_at: at, ..Tally::default() };
    Ok(Record { entry, changes: vec![Change::Attempt { person: id, source, tally, wrong: 0 }] })
}

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let records: u64 = args.next().map_or(Ok(200_000), |text| text.parse())?;
    let size: u64 = args.next().map_or(Ok(50), |text| text.parse())?;
    let folder = tempfile::tempdir_in(".")?;
    let open = || -> Fallible<sqlite::SqliteStore> {
        let disk = Arc::new(RealDisk::open(&folder.path().join("journal"))?);
        Ok(sqlite::open(folder.path(), disk, "bench".into(), &sqlite::Settings::default())?)
    };
    drop(open()?);
    if let Ok(sql) = std::env::var("BENCH_SQL") {
        rusqlite::Connection::open(folder.path().join("book.db"))?.execute_batch(&sql)?;
    }
    let store = open()?;
    let made: Vec<Record> = (0..records).map(record).collect::<Fallible<_>>()?;
    println!("{} bytes a record", serde_json::to_vec(&made[0])?.len());
    let (cpu, began) = (cpu_us()?, Instant::now());
    for chunk in made.chunks(usize::try_from(size)?) {
        let batch = Batch { expects: Vec::new(), records: chunk.to_vec() };
        store.submit(batch).blocking_recv()??;
    }
    let appended = cpu_us()? - cpu;
    store.accesses()?;
    let all = cpu_us()? - cpu;
    let each = |us: f64| us / records as f64;
    println!(
        "{records} in batches of {size}: {:.2} us cpu each ({:.2} before the last drain), {:.2} us wall",
        each(all),
        each(appended),
        began.elapsed().as_micros() as f64 / records as f64
    );
    println!("book.db {} KiB", std::fs::metadata(folder.path().join("book.db"))?.len() / 1024);
    Ok(())
}
