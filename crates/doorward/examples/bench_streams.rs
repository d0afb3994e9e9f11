//! What the stream log costs for each message, beside a disk that does nothing and on a real one.
//!
//! `cargo run --release -p doorward --example bench_streams -- [--messages N] [--batch N] [--streams N] [--dir FOLDER]`
//!
//! A message has 200 bytes; every second one is outbound. With `--dir` the log is made in that folder, which must be
//! new, and each commit waits for the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward::journal::{Disk, DiskFile, RealDisk};
use doorward::streams::{Settings, StreamLog};
use doorward_core::stream::{Epoch, StreamKey};
use doorward_core::time::Wall;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Takes all and keeps nothing.
struct NoDisk;

impl Disk for NoDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn open(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self))
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    fn place(&self) -> String {
        "nowhere".to_owned()
    }
}

impl DiskFile for NoDisk {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
}

struct Options {
    messages: u64,
    batch: u64,
    streams: u64,
    dir: Option<String>,
}

fn options() -> Fallible<Options> {
    let mut options = Options { messages: 2_000_000, batch: 100, streams: 100, dir: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word}: needs a value"))?;
        match word.as_str() {
            "--messages" => options.messages = value.parse()?,
            "--batch" => options.batch = value.parse::<u64>()?.max(1),
            "--streams" => options.streams = value.parse::<u64>()?.clamp(1, 36 * 36),
            "--dir" => options.dir = Some(value),
            _ => return Err(format!("{word}: unknown").into()),
        }
    }
    Ok(options)
}

fn main() -> Fallible<()> {
    let options = options()?;
    let disk: Arc<dyn Disk> = match &options.dir {
        Some(dir) => Arc::new(RealDisk::open(Path::new(dir))?),
        None => Arc::new(NoDisk),
    };
    let (mut log, _) = StreamLog::open(disk, Settings::new("bench"))?;
    let letter = |n: u64| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[(n % 36) as usize]);
    let keys =
        (0..options.streams).map(|n| StreamKey::parse(&format!("cgw/A{}{}/001", letter(n / 36), letter(n))));
    let keys: Vec<StreamKey> = keys.collect::<Option<_>>().ok_or("a stream's name")?;
    let (epoch, message) = (Epoch { week: 2_900, reset: 0 }, [b'x'; 200]);
    let (mut pushing, mut committing) = (Vec::new(), Vec::new());
    let mut number = 0;
    while number < options.messages {
        let begun = Instant::now();
        for _ in 0..options.batch {
            let key = &keys[(number % options.streams) as usize];
            let at = Wall::from_us(1_795_291_200_000_000 + number as i64);
            if number % 2 == 0 {
                log.inbound(key, epoch, number + 2, at, &message);
            } else {
                log.outbound(key, epoch, number + 2, at, &message);
            }
            number += 1;
        }
        let pushed = Instant::now();
        log.commit()?;
        pushing.push(pushed - begun);
        committing.push(pushed.elapsed());
    }
    println!("{number} messages of 200 bytes in batches of {}, {} streams", options.batch, options.streams);
    println!("put into the batch: {}", of_a_message(&mut pushing, options.batch));
    println!("commit: {}", of_a_message(&mut committing, options.batch));
    println!("{:?}", log.status());
    Ok(())
}

/// Median and 99th percentile of the batches, for one message; the slowest batch whole.
fn of_a_message(batches: &mut [Duration], messages: u64) -> String {
    batches.sort_unstable();
    let at = |percent: usize| batches.get(batches.len() * percent / 100).copied().unwrap_or_default();
    let each = |span: Duration| span.as_nanos() as f64 / messages as f64;
    let slowest = batches.last().copied().unwrap_or_default();
    format!("{:.0} ns a message (p99 {:.0}), the slowest batch {slowest:?}", each(at(50)), each(at(99)))
}
