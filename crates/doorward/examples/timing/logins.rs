//! S1 at the gate, in this process: refused logins of every kind.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use doorward::book::{AuditFilter, Store};
use doorward::clock::Clock;
use doorward::gate::{BreachList, Connection, Gate, Origin, Settings, new_attempt};
use doorward::hashing::{HashParams, HashPool, HashSettings, SourceKey};
use doorward::vault::{ChallengeSettings, SoftVault, Vault};
use doorward_client::password::{Challenge, encrypt};
use doorward_core::ask::{Ask, Declined, Encrypted, GivenPassword, Padding, Verdict};
use doorward_core::audit::{Deny, Door};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::person::{
    KeyCodes, Kind as PersonKind, Password, Person, Phc, Profile, Standing,
};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::identity::token::Tokens;
use doorward_core::secret::Secret;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::people::{KINDS, Kind, People};
use super::{Chance, Fallible, Tries, option, plant, seed};

const RIGHT: &str = "lumen quartz ferry 31";
const WRONG: &str = "lumen quartz ferry 32";
/// The first byte of all sources.
const NETWORK: u8 = 10;

/// How long the hash of the last try took, in nanoseconds.
static HASH_NS: AtomicU64 = AtomicU64::new(0);

struct LastHash;

impl HistogramFn for LastHash {
    fn record(&self, seconds: f64) {
        HASH_NS.store(Duration::from_secs_f64(seconds).as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Hears what the hash pool tells of each hash, and nothing else.
struct Ear;

impl Recorder for Ear {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == "doorward_hash_seconds" {
            Histogram::from_arc(Arc::new(LastHash))
        } else {
            Histogram::noop()
        }
    }
}

/// Where the data lie: the memory of the machine, where there is such a folder, so that the disk does not hide what the
/// gate does.
pub(crate) fn folder() -> Fallible<tempfile::TempDir> {
    let shared = PathBuf::from("/dev/shm");
    let preset = if shared.is_dir() { shared } else { std::env::temp_dir() };
    Ok(tempfile::tempdir_in(option("--folder").map_or(preset, PathBuf::from))?)
}

fn gate(folder: &std::path::Path, people: People) -> Fallible<(tokio::runtime::Runtime, Gate)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let vault: Arc<dyn Vault> = Arc::new(SoftVault::in_memory(ChallengeSettings::default())?);
    let settings = HashSettings {
        threads: 1,
        queue_max: 100,
        queue_per_source_max: 100,
        queue_deadline: Duration::from_secs(30),
        params: HashParams::FLOOR,
    };
    let hashes = HashPool::new(Arc::clone(&vault), settings)?;
    let clock = Arc::new(Clock::system());
    let now = clock.now().wall;
    let source = SourceKey::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let phc = runtime.block_on(hashes.hash(source, Secret::new(RIGHT.as_bytes().to_vec())))?;
    let like = Person {
        id: PersonId::from_random(1),
        userid: UserId::parse("like")?,
        firm: None,
        kind: PersonKind::Trader,
        added_at: now,
        standing: Standing::Active,
        auth_system: AuthSystem::Password,
        password: Password::Own { phc: Phc(phc.to_string()), set_us: now },
        authenticator: Authenticator::None,
        seeds: 0,
        key_codes: KeyCodes::default(),
        link: None,
        links_made: Vec::new(),
        recovery: None,
        notices: Default::default(),
        tokens: Tokens::default(),
        profile: Profile::default(),
        version: 1,
    };
    let store = seed::open(folder)?;
    people.add(&store, &like, NETWORK, now)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let gate = Gate::new(store, vault, hashes, clock, BreachList::default(), Settings::default())?;
    Ok((runtime, gate))
}

/// Encrypts a password, or something that does not open.
fn given(gate: &Gate, kind: Kind, chance: &mut Chance) -> Fallible<Encrypted> {
    let challenge = gate.challenge()?;
    let answer = serde_json::json!({ "key": challenge.spki_base64, "keyid": challenge.key.as_str() });
    let client = Challenge::from_answer(&answer)?;
    let password = if kind == Kind::DisabledRight { RIGHT } else { WRONG };
    let padding = Padding::OaepSha256;
    let mut ciphertext = encrypt(&client, padding, &Secret::new(password.to_owned()))?;
    if kind == Kind::BadCiphertext {
        ciphertext.iter_mut().for_each(|byte| *byte = chance.byte());
        // Below every modulus of this size.
        ciphertext[0] &= 0x7f;
    }
    Ok(Encrypted { key: challenge.key, padding, ciphertext })
}

/// Tries each kind so often.
pub(crate) fn measure(tries: usize, out: &mut Tries) -> Fallible<()> {
    metrics::set_global_recorder(Ear).map_err(|_| "another recorder")?;
    let folder = folder()?;
    let people = People::for_tries(tries);
    let (runtime, gate) = gate(folder.path(), people)?;
    let mut chance = Chance::new();
    let only = option("--only");
    let is_wanted = |number: &usize| only.as_deref().is_none_or(|word| KINDS[*number].1.contains(word));
    let mut kinds: Vec<usize> = (0..KINDS.len()).filter(is_wanted).collect();
    let mut ticked = Instant::now();
    // The first rounds warm up, with tries that count as any other.
    for attempt in 0..tries {
        chance.shuffle(&mut kinds);
        for &number in &kinds {
            let (kind, what) = KINDS[number];
            let userid = people.userid(number, attempt);
            let origin = Origin {
                door: Door::WebSocket,
                source: people.source(NETWORK, number, attempt),
                attempt: new_attempt(),
                connection: Arc::new(Connection::default()),
            };
            let ask = if kind.is_by_token() {
                Ask::TokenLogin { userid, token: Secret::new(WRONG.to_owned()) }
            } else {
                let password = GivenPassword::Encrypted(given(&gate, kind, &mut chance)?);
                Ask::Login { userid, password, code: None }
            };
            HASH_NS.store(0, Ordering::Relaxed);
            let (verdict, took) = runtime.block_on(async {
                let began = Instant::now();
                let verdict = gate.ask(ask, &origin).await;
                if kind == Kind::Planted {
                    plant();
                }
                (verdict, began.elapsed())
            });
            if !matches!(verdict, Verdict::Refused | Verdict::Declined(Declined::InvalidToken)) {
                return Err(format!("{what}: {verdict:?}").into());
            }
            let hash = Duration::from_nanos(HASH_NS.load(Ordering::Relaxed));
            let around = (!hash.is_zero()).then(|| took.saturating_sub(hash));
            out.tell(what, took, around)?;
        }
        if attempt == 0 {
            reasons(&gate)?;
        }
        if ticked.elapsed() > Duration::from_secs(1) {
            runtime.block_on(gate.tick());
            ticked = Instant::now();
        }
    }
    Ok(())
}

/// What the first round was refused for, so that each kind is what it is called.
fn reasons(gate: &Gate) -> Fallible<()> {
    let newest = gate.audit(&AuditFilter::default(), None, KINDS.len())?;
    let mut found: Vec<&str> = newest.iter().filter_map(|(_, entry)| entry.reason).map(Deny::id).collect();
    found.sort_unstable();
    eprintln!("reasons of a round: {}", found.join(", "));
    Ok(())
}
