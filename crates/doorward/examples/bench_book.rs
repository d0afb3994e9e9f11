//! What the record of an accepted Logon costs in the journal and in the book, in processor time.
//!
//! `cargo run --release -p doorward --example bench_book -- [RECORDS] [BATCH]`

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use doorward::book::{Batch, Store, sqlite};
use doorward::journal::RealDisk;
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Factor, Record};
use doorward_core::id::{AccessKeyId, CompId, FirmCode, OperatorId};
use doorward_core::identity::change::Change;
use doorward_core::identity::key_pair::LastUse;
use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;
use doorward_core::trace::{Trace, Walk};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Processor time of all threads of this process, in microseconds.
fn cpu_us() -> Fallible<f64> {
    let mut ns = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        ns += text.split(' ').next().ok_or("schedstat")?.parse::<f64>()?;
    }
    Ok(ns / 1_000.0)
}

/// The record of the n-th Logon, of one of a hundred sessions.
fn record(n: u64) -> Fallible<Record> {
    let source: IpAddr = "192.0.2.17".parse()?;
    let at = Wall::from_us(1_795_291_200_250_000 + i64::try_from(n)? * 50);
    let context =
        Context { at, door: Door::Fix, source: Some(source), attempt: doorward::gate::new_attempt() };
    let comp = CompId::parse(format!("S{:02}004N", n % 100).as_bytes()).ok_or("a SenderCompID")?;
    let key = AccessKeyId::parse(format!("T{:019}", n % 100).as_bytes()).ok_or("an access key")?;
    let operator = OperatorId::parse(b"0J4L");
    let actor =
        Actor::FixSession { id: comp.session, sender_comp_id: Some(comp), operator, access_key: Some(key) };
    let stream = StreamKey::parse(&format!("cgw/{}/004", comp.session)).ok_or("a stream")?;
    let entry = Entry {
        firm: FirmCode::parse("ACME").ok(),
        session: Some(comp.session),
        factor: Factor::Signature,
        trace: Some(Trace::of(Walk::SignedLogon)),
        ..Entry::new(&context, Event::LogonGranted, actor)
    };
    let used = LastUse { at, source, sender_comp_id: comp };
    let rev = u32::try_from(n)?;
    let numbers = Numbers { rev, next_in: n + 2, ..Numbers::new(Epoch { week: 2_900, reset: 0 }) };
    let changes = vec![
        Change::KeyUsed { session: comp.session, access_key: key, used },
        Change::Stream { stream, numbers },
    ];
    Ok(Record { entry: entry.with_detail(stream.to_string()), changes })
}

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let records: u64 = args.next().map_or(Ok(200_000), |text| text.parse())?;
    let size: usize = args.next().map_or(Ok(50), |text| text.parse())?;
    let folder = tempfile::tempdir_in(".")?;
    let disk = Arc::new(RealDisk::open(&folder.path().join("journal"))?);
    let store = sqlite::open(folder.path(), disk, "bench".into(), &sqlite::Settings::default())?;
    let made: Vec<Record> = (0..records).map(record).collect::<Fallible<_>>()?;
    let bytes = serde_json::to_vec(&made[0])?.len();
    let mut chunks: Vec<Vec<Record>> = made.chunks(size).map(<[Record]>::to_vec).collect();
    drop(made);
    let (cpu, began) = (cpu_us()?, Instant::now());
    for records in chunks.drain(..) {
        let (told, hear) = mpsc::channel();
        let done = Box::new(move |answer: Result<_, _>| {
            // Whoever listens waits below.
            let _ = told.send(answer.is_ok());
        });
        store.submit_then(Batch { expects: Vec::new(), records }, done);
        if !hear.recv()? {
            return Err("not committed".into());
        }
    }
    let appended = cpu_us()? - cpu;
    store.streams()?;
    let each = |us: f64| us / records as f64;
    println!(
        "{records} records of {bytes} bytes in batches of {size}: {:.2} us of processor time each, {:.2} before the last are \
         applied, {:.2} us of time; {}",
        each(cpu_us()? - cpu),
        each(appended),
        each(began.elapsed().as_micros() as f64),
        sizes(folder.path())?,
    );
    Ok(())
}

fn sizes(folder: &Path) -> Fallible<String> {
    let book = std::fs::metadata(folder.join("book.db"))?.len() / 1024;
    Ok(format!("book.db has {book} KiB"))
}
