//! A gate over real parts in a folder of its own, for tests of the gate and of what stands on it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use doorward_client::password::{Challenge as ClientChallenge, encrypt};
use doorward_client::totp::Totp;
use doorward_core::ask::{Ask, Encrypted, GivenPassword, Padding, Verdict};
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::change::Change;
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::link::SetupLink;
use doorward_core::identity::mail::Mail;
use doorward_core::identity::person::{Kind, Person, Profile};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::identity::restore::restored;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use tempfile::TempDir;

use super::admin::{NewPassword, NewPerson};
use super::rival::{Rival, RivalledStore};
use super::{BreachList, Connection, Gate, Origin, Settings, new_attempt};
use crate::book::{AuditFilter, Batch, Expect, sqlite};
use crate::clock::Clock;
use crate::hashing::{HashParams, HashPool, HashSettings};
use crate::journal::{Disk, FullDisk, RealDisk};
use crate::vault::{ChallengeSettings, FaultyVault, SoftVault, Vault};

/// The longest that a test waits for what must happen.
pub(crate) const TEST_MAX: Duration = Duration::from_secs(30);

/// A password that keeps every rule.
pub(crate) const GOOD: &str = "lumen quartz ferry 31";

/// The parts; the folder goes when this does.
pub(crate) struct World {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) folder: TempDir,
    /// The journal's.
    pub(crate) disk: Arc<dyn Disk>,
    vault: Arc<FaultyVault>,
    full: Arc<AtomicBool>,
    rival: Arc<Rival>,
}

/// A gate with nobody in it.
pub(crate) fn world() -> World {
    world_with(Settings::default())
}

/// The same with settings.
pub(crate) fn world_with(settings: Settings) -> World {
    let soft: Arc<dyn Vault> = Arc::new(SoftVault::in_memory(ChallengeSettings::default()).unwrap());
    let vault = Arc::new(FaultyVault::new(soft, false));
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(Clock::system());
    let full = Arc::new(AtomicBool::new(false));
    let rival = Arc::new(Rival::default());
    let (gate, disk) = open(folder.path(), &vault, &clock, (&full, &rival), HashParams::tiny(), settings);
    World { gate, clock, folder, disk, vault, full, rival }
}

fn open(
    folder: &Path,
    vault: &Arc<FaultyVault>,
    clock: &Arc<Clock>,
    (full, rival): (&Arc<AtomicBool>, &Arc<Rival>),
    params: HashParams,
    settings: Settings,
) -> (Arc<Gate>, Arc<dyn Disk>) {
    let disk = Arc::new(RealDisk::open(&folder.join("journal")).unwrap());
    let disk: Arc<dyn Disk> = Arc::new(FullDisk::new(disk, Arc::clone(full)));
    let small = sqlite::Settings { segment_bytes: 1 << 20, ..sqlite::Settings::default() };
    let store = sqlite::open(folder, Arc::clone(&disk), "node1".to_owned(), &small).unwrap();
    let pool = HashSettings {
        threads: 2,
        queue_max: 400,
        queue_per_source_max: 400,
        queue_deadline: TEST_MAX,
        params,
    };
    let hashes = HashPool::new(Arc::<FaultyVault>::clone(vault), pool).unwrap();
    let shared: Arc<dyn Vault> = Arc::<FaultyVault>::clone(vault);
    let breached = BreachList::default();
    let store = RivalledStore::new(Arc::new(store), rival);
    let gate = Gate::new(Arc::new(store), shared, hashes, Arc::clone(clock), breached, settings).unwrap();
    (Arc::new(gate), disk)
}

impl World {
    /// Moves the wall clock on to the beginning of the next step of one-time passwords, as agreed: the next code is
    /// another one, and stays the present one for a whole step.
    pub(crate) fn next_step(&self) {
        const STEP_US: i64 = 30_000_000;
        let into = self.now().as_us().rem_euclid(STEP_US);
        self.clock.advance(Duration::from_micros((STEP_US - into).unsigned_abs()));
        self.gate.clock_moved();
    }

    pub(crate) fn vault_down(&self, down: bool) {
        self.vault.set_down(down);
    }

    pub(crate) fn disk_full(&self, full: bool) {
        self.full.store(full, std::sync::atomic::Ordering::Relaxed);
    }

    /// The next commit meets a conflict, and the look-up behind it a fault.
    pub(crate) fn plant_rival(&self) {
        self.rival.planted.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// How often somebody was looked up.
    pub(crate) fn people_loaded(&self) -> u64 {
        self.rival.people.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// How many HMACs of Logons were computed.
    pub(crate) fn macs(&self) -> u64 {
        self.vault.macs()
    }

    /// The same data under a new gate with other hashing parameters.
    pub(crate) fn reopened(self, params: HashParams) -> Self {
        self.reopened_with(params, Settings::default())
    }

    /// The same with settings.
    pub(crate) fn reopened_with(self, params: HashParams, settings: Settings) -> Self {
        let Self { gate, clock, folder, disk, vault, full, rival } = self;
        drop((gate, disk));
        let (gate, disk) = open(folder.path(), &vault, &clock, (&full, &rival), params, settings);
        Self { gate, clock, folder, disk, vault, full, rival }
    }

    /// Adds somebody of the firm ACME with the password [`GOOD`].
    pub(crate) async fn person(&self, userid: &str, auth_system: AuthSystem, initial: bool) -> Person {
        let code = FirmCode::parse("ACME").unwrap();
        if self.gate.firm(&code).is_err() {
            self.gate.add_firm(code.clone(), "Acme Derivatives", Actor::Node).await.unwrap();
        }
        let new = NewPerson {
            userid: UserId::parse(userid).unwrap(),
            kind: Kind::Trader,
            firm: Some(code),
            auth_system: Some(auth_system),
            password: NewPassword::Clear(Secret::new(GOOD.to_owned())),
            initial,
            profile: Profile::default(),
        };
        self.gate.add_person(new, Actor::Node).await.unwrap().0
    }

    /// Gives somebody a seed; it is pending until its first good code.
    pub(crate) async fn seed(&self, userid: &str) -> Totp {
        let seed = self.gate.issue_authenticator(&UserId::parse(userid).unwrap(), Actor::Node).await.unwrap();
        Totp::parse(seed.base32.expose()).unwrap()
    }

    /// Queues a mail, with nothing that it tells of.
    pub(crate) async fn queue(&self, mail: Mail) {
        self.commit(Event::MailQueued, Vec::new(), Change::MailQueued { mail: Box::new(mail) }).await;
    }

    /// Gives somebody a setup link.
    pub(crate) async fn set_link(&self, person: &Person, link: SetupLink) {
        let change = Change::Link { person: person.id, link: Some(link), made: Vec::new() };
        self.commit(Event::LinkMade, vec![Expect::Person(person.id, person.version)], change).await;
    }

    /// Writes down a FIX session and, behind it, a restore whose data reach to now; to be reopened.
    pub(crate) async fn put_back(&self, session: FixSession) {
        let expects = vec![Expect::NoFixSession(session.id)];
        let added = Change::FixSession { session: Box::new(session) };
        self.commit(Event::FixSessionAdded, expects, added).await;
        let context = Context { at: self.now(), door: Door::Local, source: None, attempt: new_attempt() };
        let records = restored(self.now(), "a test", Vec::new(), &Actor::Node, &context);
        self.gate.commit(Batch { expects: Vec::new(), records }).await.unwrap();
    }

    async fn commit(&self, event: Event, expects: Vec<Expect>, change: Change) {
        let context = Context { at: self.now(), door: Door::Node, source: None, attempt: new_attempt() };
        let record = Record { entry: Entry::new(&context, event, Actor::Node), changes: vec![change] };
        self.gate.commit(Batch { expects, records: vec![record] }).await.unwrap();
    }

    pub(crate) fn now(&self) -> Wall {
        self.clock.now().wall
    }

    /// A password, encrypted with the present challenge key.
    pub(crate) fn encrypted(&self, password: &str, padding: Padding) -> Encrypted {
        let challenge = self.gate.challenge().unwrap();
        let answer = serde_json::json!({ "key": challenge.spki_base64, "keyid": challenge.key.as_str() });
        let client = ClientChallenge::from_answer(&answer).unwrap();
        let ciphertext = encrypt(&client, padding, &Secret::new(password.to_owned())).unwrap();
        Encrypted { key: challenge.key, padding, ciphertext }
    }

    /// Logs in from a source address of loopback.
    pub(crate) async fn login_from(
        &self,
        source: u8,
        userid: &str,
        password: &str,
        code: Option<&str>,
    ) -> Verdict {
        let password = GivenPassword::Encrypted(self.encrypted(password, Padding::OaepSha256));
        self.ask(source, Ask::Login { userid: userid.to_owned(), password, code: code.map(secret) }).await
    }

    pub(crate) async fn login(&self, userid: &str, password: &str, code: Option<&str>) -> Verdict {
        self.login_from(1, userid, password, code).await
    }

    pub(crate) async fn ask(&self, source: u8, ask: Ask) -> Verdict {
        self.gate.ask(ask, &origin(source)).await
    }

    /// The newest audit entries, newest first.
    pub(crate) fn entries(&self, count: usize) -> Vec<Entry> {
        let all = self.gate.audit(&AuditFilter::default(), None, count).unwrap();
        all.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// What a step comes to that has to wait for another one on the same person until its asker was told that nothing was
/// decided.
pub(crate) async fn behind_a_long_step(
    world: &World,
    person: PersonId,
    step: impl Future<Output = Verdict>,
) -> Verdict {
    let underway = world.gate.person_lock(person).await;
    let mut step = Box::pin(step);
    tokio::select! {
        biased;
        verdict = &mut step => panic!("{verdict:?} beside another step"),
        () = std::future::ready(()) => {}
    }
    world.clock.wait(doorward_core::ws::login::ASK_MAX);
    drop(underway);
    step.await
}

pub(crate) fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// A connection from `127.0.0.<source>`.
pub(crate) fn origin(source: u8) -> Origin {
    Origin {
        door: Door::WebSocket,
        source: IpAddr::V4(Ipv4Addr::new(127, 0, 0, source)),
        attempt: new_attempt(),
        connection: Arc::new(Connection::default()),
    }
}
