//! How long pages take with a few people and with many: two servers, looked at in turns by one client.
//!
//! `cargo run --release -p doorward --example bench_pages -- [--people N] [--records N] [--rounds N] [--each N]`
//! after `cargo build --release -p doorward`. See `bench/README.md`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use doorward::book::{Batch, Load, Store, sqlite};
use doorward::http::web::tokens::tag;
use doorward::journal::RealDisk;
use doorward_client::api::AdminClient;
use doorward_client::password::{Challenge, encrypt_labelled};
use doorward_client::totp::Totp;
use doorward_core::ask::Padding;
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Factor, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::change::Change;
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::person::{Kind, Person, Profile};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use doorward_core::trace::{Trace, Walk};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Firms beside the administrator's own, which has half of the people.
const OTHER_FIRMS: u64 = 50;
const BATCH: usize = 500;
const START_S_MAX: u64 = 120;
/// What the administrator chooses in place of the initial password.
const OWN: &str = "amber harbour 62 kites";

/// A server process; killed when dropped.
struct Server {
    child: Child,
    web: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(folder: &Path) -> Fallible<Self> {
        let text = "data_dir = \"data\"\n[log]\nformat = \"json\"\nlevel = \"info\"\n[web]\nlisten = [\"127.0.0.1:0\"]\n\
                    [ws]\nlisten = [\"127.0.0.1:0\"]\n\
                    [metrics]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(folder.join("doorward.toml"), text)?;
        let binary = std::env::current_exe()?.with_file_name("../doorward");
        let mut child = Command::new(binary)
            .args(["serve", "--config", "doorward.toml"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = child.stderr.take().ok_or("its log")?;
        let mut server = Self { child, web: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        let began = Instant::now();
        for line in lines.by_ref() {
            let Ok(line) = serde_json::from_str::<Value>(&line) else { return Err(line.into()) };
            if let Some(address) = line["web"].as_str() {
                server.web = address.parse()?;
            }
            if line["metrics"].is_string() {
                break;
            }
            if began.elapsed() > Duration::from_secs(START_S_MAX) {
                return Err("it does not start".into());
            }
        }
        // The log goes on; somebody has to take it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }

    async fn stop(mut self) -> Fallible<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = tokio::task::spawn_blocking(move || self.child.wait().map(|status| (status, self)));
        let (status, server) = ended.await??;
        drop(server);
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

/// A server's folder, with somebody at the console whose password and seed are known.
struct Site {
    folder: PathBuf,
    password: Secret<String>,
    totp: Totp,
    people: u64,
    records: u64,
}

impl Site {
    async fn make(folder: PathBuf, people: u64, records: u64) -> Fallible<Self> {
        std::fs::create_dir(&folder)?;
        let server = Server::start(&folder)?;
        let api = AdminClient::new(folder.join("data/admin.sock"));
        for firm in 0..=OTHER_FIRMS {
            let new = json!({ "code": firm_code(firm)?, "name": format!("Firm {firm}") });
            api.post("/api/v1/firms", &new).await?;
        }
        let new = json!({
            "userid": "anna", "kind": "admin", "firm": firm_code(0)?, "auth_system": "otp",
            "grant": { "firms": [], "rights": ["view-people", "edit-people", "view-audit"], "sources": [] },
        });
        let added = api.post("/api/v1/people", &new).await?;
        let made = api.post("/api/v1/people/anna/authenticator", &json!({})).await?;
        let text = |value: &Value, name: &str| Ok::<_, String>(value[name].as_str().ok_or(name)?.to_owned());
        let site = Self {
            password: Secret::new(text(&added, "password")?),
            totp: Totp::parse(&text(&made, "seed")?)?,
            folder,
            people,
            records,
        };
        let mut browser = Browser::open(server.web).await?;
        let at = browser.sign_in(&site).await?;
        if at != "/password" {
            return Err(format!("an initial password leads to {at}").into());
        }
        let own = Secret::new(OWN.to_owned());
        let form = browser.sealed("/password", "new", &own).await?;
        browser.send("POST", "/password", encoded(&form)).await?;
        let site = Self { password: own, ..site };
        drop(browser);
        server.stop().await?;
        site.seed()?;
        Ok(site)
    }

    /// Writes people and records into the store, which nobody else has open.
    fn seed(&self) -> Fallible<()> {
        let data = self.folder.join("data");
        let disk = Arc::new(RealDisk::open(&data.join("journal"))?);
        let store = sqlite::open(&data, disk, "node1".into(), &sqlite::Settings::default())?;
        let anna = store.load(&Load::UserId(UserId::parse("anna")?))?.person.ok_or("anna")?;
        // All have the administrator's hash.
        let people: Vec<Person> = (0..self.people).map(|n| person(&anna, n)).collect::<Fallible<_>>()?;
        for chunk in people.chunks(BATCH) {
            commit(&store, chunk.iter().map(added).collect())?;
        }
        let start = anna.added_at.as_us();
        for first in (0..self.records).step_by(BATCH) {
            let numbers = first..self.records.min(first + BATCH as u64);
            commit(&store, numbers.map(|n| record(&people, start, n)).collect::<Fallible<_>>()?)?;
        }
        store.people(&doorward::book::PeopleFilter::default(), None, 1)?;
        Ok(())
    }
}

fn commit(store: &dyn Store, records: Vec<Record>) -> Fallible<()> {
    let (told, hear) = mpsc::channel();
    let done = Box::new(move |answer: Result<_, _>| {
        // Whoever listens waits below.
        let _ = told.send(answer.is_ok());
    });
    store.submit_then(Batch { expects: Vec::new(), records }, done);
    if hear.recv()? { Ok(()) } else { Err("not committed".into()) }
}

fn firm_code(n: u64) -> Fallible<FirmCode> {
    Ok(FirmCode::parse(&format!("FIRM{n:03}"))?)
}

/// The n-th trader: half of them in the administrator's firm, three in ten without an authenticator.
fn person(anna: &Person, n: u64) -> Fallible<Person> {
    let firm = if n.is_multiple_of(2) { 0 } else { 1 + n / 2 % OTHER_FIRMS };
    let userid = UserId::parse(&format!("trader{n:07}"))?;
    let profile = Profile { email: Some(format!("{userid}@firm.example")), ..Profile::default() };
    let authenticator = if n % 10 < 3 { Authenticator::None } else { anna.authenticator.clone() };
    Ok(Person {
        id: PersonId::from_random((n + 1) << 20),
        userid,
        firm: Some(firm_code(firm)?),
        kind: Kind::Trader,
        authenticator,
        profile,
        version: 1,
        ..anna.clone()
    })
}

fn context(at: Wall, n: u64) -> Fallible<Context> {
    let source = Some(format!("192.0.2.{}", n % 250 + 1).parse()?);
    Ok(Context { at, door: Door::WebSocket, source, attempt: doorward::gate::new_attempt() })
}

fn added(person: &Person) -> Record {
    let context = Context {
        at: person.added_at,
        door: Door::Node,
        source: None,
        attempt: doorward::gate::new_attempt(),
    };
    let entry = Entry { firm: person.firm.clone(), ..Entry::new(&context, Event::PersonAdded, Actor::Node) };
    Record { entry, changes: vec![Change::PersonAdded { person: Box::new(person.clone()) }] }
}

/// The n-th record: logins, one in ten refused, of people all over the list.
fn record(people: &[Person], start: i64, n: u64) -> Fallible<Record> {
    let at = (n * 7_919) % people.len() as u64;
    let person = &people[usize::try_from(at)?];
    let context = context(Wall::from_us(start + i64::try_from(n)? * 1_000), n)?;
    let event = if n.is_multiple_of(10) { Event::LoginRefused } else { Event::LoginGranted };
    let actor = Actor::Person { id: person.id, userid: person.userid.clone() };
    let entry = Entry {
        firm: person.firm.clone(),
        factor: Factor::Password,
        trace: Some(Trace::of(Walk::Login)),
        ..Entry::new(&context, event, actor)
    };
    Ok(Record { entry, changes: Vec::new() })
}

/// A browser, as far as these pages are concerned.
struct Browser {
    at: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    cookie: String,
}

struct Seen {
    status: u16,
    location: String,
    body: String,
}

impl Browser {
    async fn open(at: SocketAddr) -> Fallible<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { at, sender, cookie: String::new() })
    }

    async fn send(&mut self, method: &str, path: &str, body: String) -> Fallible<Seen> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.at.to_string())
            .header(ORIGIN, format!("http://{}", self.at))
            .header("sec-fetch-site", "same-origin")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(COOKIE, format!("dw_session={}", self.cookie));
        // The server ends a connection that was not used for a while.
        if self.sender.ready().await.is_err() {
            self.sender = Self::open(self.at).await?.sender;
        }
        let response = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(cookie) = text(SET_COOKIE).strip_prefix("dw_session=") {
            self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        }
        Ok(Seen { status: parts.status.as_u16(), location: text(LOCATION).to_owned(), body })
    }

    async fn challenge(&mut self, page: &str) -> Fallible<Value> {
        Ok(serde_json::from_str(
            &self.send("GET", &format!("/challenge?page={page}"), String::new()).await?.body,
        )?)
    }

    /// The fields of a password for a page, encrypted as its script does.
    async fn sealed(
        &mut self,
        page: &str,
        name: &str,
        password: &Secret<String>,
    ) -> Fallible<Vec<(String, String)>> {
        let challenge = self.challenge(page).await?;
        let text = |name: &str| challenge[name].as_str().unwrap_or_default().to_owned();
        let key = Challenge::from_answer(&json!({ "key": challenge["spki"], "keyid": challenge["keyid"] }))?;
        let plain = Secret::new(format!("{}{}{}", text("nonce"), tag(page, "anna"), password.expose()));
        let sealed = encrypt_labelled(&key, Padding::OaepSha256, b"portal", &plain)?;
        Ok(vec![
            ("csrf".to_owned(), text("csrf")),
            ("keyid".to_owned(), text("keyid")),
            ("userid".to_owned(), "anna".to_owned()),
            (format!("{name}.ciphertext"), data_encoding::BASE64.encode(&sealed)),
        ])
    }

    /// Signs in with a code of a step that was not used; gives where that leads.
    async fn sign_in(&mut self, site: &Site) -> Fallible<String> {
        let form = self.sealed("/signin", "password", &site.password).await?;
        let seen = self.send("POST", "/signin", encoded(&form)).await?;
        if seen.location != "/signin/code" {
            return Err(format!("{} {}", seen.status, seen.body).into());
        }
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
            let now = Wall::from_us(i64::try_from(now)?);
            let csrf = self.challenge("/signin/code").await?["csrf"].as_str().unwrap_or_default().to_owned();
            let form = [("csrf".to_owned(), csrf), ("code".to_owned(), site.totp.code(now))];
            let seen = self.send("POST", "/signin/code", encoded(&form)).await?;
            if seen.status == 303 {
                return Ok(seen.location);
            }
            if !seen.body.contains("used") {
                return Err(format!("{} {}", seen.status, seen.body).into());
            }
            tokio::time::sleep(site.totp.good_for(now)).await;
        }
    }
}

fn encoded(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The pages, the same for both servers; `people` and `records` are of the server that is looked at.
fn pages(people: u64, records: u64) -> Vec<(&'static str, String)> {
    let half = format!("trader{:07}", people / 2);
    let id = PersonId::from_random((people / 2 / 2 * 2 + 1) << 20);
    vec![
        ("change of the password", "/password".to_owned()),
        ("my account", "/account".to_owned()),
        ("home of the console", "/console".to_owned()),
        ("people, first page", "/console/people".to_owned()),
        ("people, from the middle on", format!("/console/people?q=&show=&after={half}")),
        ("people, searched by name", format!("/console/people?q={half}&show=")),
        ("people, not registered", "/console/people?q=&show=not-registered".to_owned()),
        ("people, locked (nobody)", "/console/people?q=&show=locked".to_owned()),
        ("people, never signed in", "/console/people?q=&show=never".to_owned()),
        ("one person", format!("/console/people/{id}")),
        ("events, newest", "/console/events".to_owned()),
        ("events, from the middle on", format!("/console/events?user=&before={}", records / 2)),
        ("events of one user name", format!("/console/events?user=trader{:07}", people / 2 / 2 * 2)),
        ("attempts, newest", "/console/events?attempts=1".to_owned()),
    ]
}

/// Microseconds of a page on each of the servers.
struct Times {
    name: &'static str,
    of: [Histogram<u64>; 2],
    bytes: usize,
}

async fn measure(
    browsers: &mut [Browser; 2],
    sites: &[Site; 2],
    rounds: usize,
    each: usize,
) -> Fallible<Vec<Times>> {
    let all = [0, 1].map(|no: usize| pages(sites[no].people, sites[no].records));
    let mut times: Vec<Times> = Vec::new();
    for (name, _) in &all[0] {
        times.push(Times { name, of: [Histogram::new(3)?, Histogram::new(3)?], bytes: 0 });
    }
    for round in 0..=rounds {
        for (page, times) in times.iter_mut().enumerate() {
            for no in [0, 1] {
                for _ in 0..each {
                    let began = Instant::now();
                    let seen = browsers[no].send("GET", &all[no][page].1, String::new()).await?;
                    let took = u64::try_from(began.elapsed().as_micros())?;
                    if seen.status != 200 {
                        return Err(format!("{}: {} {}", all[no][page].1, seen.status, seen.body).into());
                    }
                    times.bytes = times.bytes.max(seen.body.len());
                    // The first round warms up.
                    if round > 0 {
                        times.of[no].record(took)?;
                    }
                }
            }
        }
    }
    Ok(times)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let mut given: HashMap<String, u64> =
        [("--people", 100_000), ("--records", 1_000_000), ("--rounds", 10), ("--each", 20)]
            .map(|(name, number)| (name.to_owned(), number))
            .into();
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let number = args.next().ok_or("a number behind each option")?.parse()?;
        *given.get_mut(&name).ok_or_else(|| format!("{name} is unknown"))? = number;
    }
    let folder = tempfile::tempdir_in(".")?;
    let (few, many) = ((1_000, 10_000), (given["--people"], given["--records"]));
    let began = Instant::now();
    let sites = [
        Site::make(folder.path().join("few"), few.0, few.1).await?,
        Site::make(folder.path().join("many"), many.0, many.1).await?,
    ];
    println!("seeded in {:.0} s", began.elapsed().as_secs_f64());
    let mut servers = Vec::new();
    for site in &sites {
        let began = Instant::now();
        servers.push(Server::start(&site.folder)?);
        println!("{} people: all doors listen after {:.2} s", site.people, began.elapsed().as_secs_f64());
    }
    let mut browsers = [Browser::open(servers[0].web).await?, Browser::open(servers[1].web).await?];
    for (browser, site) in browsers.iter_mut().zip(&sites) {
        browser.sign_in(site).await?;
    }
    let (rounds, each) = (usize::try_from(given["--rounds"])?, usize::try_from(given["--each"])?);
    let times = measure(&mut browsers, &sites, rounds, each).await?;
    println!("| page | KiB | p50 ms | p99 ms | p50 with {} people, {} records | ratio |", few.0, few.1);
    println!("|---|---|---|---|---|---|");
    for Times { name, of: [small, large], bytes } in &times {
        #[allow(clippy::cast_precision_loss, reason = "microseconds of a page")]
        let ms =
            |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let (slow, fast) = (ms(large, 0.5), ms(small, 0.5));
        println!(
            "| {name} | {} | {slow:.2} | {:.2} | {fast:.2} | {:.2} |",
            bytes / 1024,
            ms(large, 0.99),
            slow / fast
        );
    }
    for server in servers {
        server.stop().await?;
    }
    Ok(())
}
