use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorward_core::ask::KeyId;
use doorward_core::identity::sealed::{Place, Sealed};
use doorward_core::time::Now;
use tokio::task::JoinHandle as Task;

use super::*;
use crate::vault::{
    Challenge, ChallengeSettings, Description, FaultyVault, MacKey, OpenError, OpenPassword, Opened,
    Peppered, SoftVault, TotpQuery,
};

/// A vault whose pepper waits behind a gate; everything else is the soft vault's.
struct GatedVault {
    soft: SoftVault,
    open: Mutex<bool>,
    wake: Condvar,
    entered: AtomicUsize,
}

impl GatedVault {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Self {
            soft: SoftVault::in_memory(ChallengeSettings::default()).unwrap(),
            open: Mutex::new(open),
            wake: Condvar::new(),
            entered: AtomicUsize::new(0),
        })
    }

    fn open_gate(&self) {
        *locked(&self.open) = true;
        self.wake.notify_all();
    }

    fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

impl Vault for GatedVault {
    fn pepper_with(&self, key: &str, hash: &[u8]) -> Result<[u8; 32], Fault> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        let mut open = locked(&self.open);
        while !*open {
            open = self.wake.wait(open).unwrap();
        }
        assert_ne!(key, "soft:panic", "a panic that was asked for");
        self.soft.pepper_with(key, hash)
    }

    fn challenge(&self, now: Now) -> Result<Challenge, Fault> {
        self.soft.challenge(now)
    }

    fn ready_challenge(&self, now: Now) -> Result<Option<Challenge>, Fault> {
        self.soft.ready_challenge(now)
    }
    fn is_live(&self, key: &KeyId, now: Now) -> bool {
        self.soft.is_live(key, now)
    }
    fn forget_ciphertext(&self, key: &KeyId, ciphertext: &[u8]) {
        self.soft.forget_ciphertext(key, ciphertext);
    }

    fn open_password(&self, request: &OpenPassword<'_>, now: Now) -> Result<Opened, OpenError> {
        self.soft.open_password(request, now)
    }
    fn tick(&self, now: Now) -> Result<(), Fault> {
        self.soft.tick(now)
    }
    fn seal(&self, place: &Place, plain: &[u8]) -> Result<Sealed, Fault> {
        self.soft.seal(place, plain)
    }
    fn open(&self, place: &Place, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Fault> {
        self.soft.open(place, sealed)
    }
    fn pepper(&self, hash: &[u8]) -> Result<Peppered, Fault> {
        self.soft.pepper(hash)
    }
    fn totp_match(&self, query: &TotpQuery<'_>) -> Result<Option<usize>, Fault> {
        self.soft.totp_match(query)
    }
    fn new_seed(&self, place: &Place, len: usize) -> Result<(Sealed, Secret<Vec<u8>>), Fault> {
        self.soft.new_seed(place, len)
    }
    fn new_mac_key(&self, place: &Place) -> Result<(Sealed, Secret<Vec<u8>>), Fault> {
        self.soft.new_mac_key(place)
    }
    fn mac_key(&self, place: &Place, sealed: &Sealed) -> Result<MacKey, Fault> {
        self.soft.mac_key(place, sealed)
    }
    fn mac(&self, key: &MacKey, message: &[u8]) -> Result<[u8; 32], Fault> {
        self.soft.mac(key, message)
    }
    fn audit_keys(&self) -> Result<Vec<[u8; 32]>, Fault> {
        self.soft.audit_keys()
    }
    fn audit_sign(&self, key: &[u8; 32], message: &[u8]) -> Result<[u8; 64], Fault> {
        self.soft.audit_sign(key, message)
    }
    fn new_backup_key(&self, id: &str) -> Result<(Sealed, Secret<[u8; 32]>), Fault> {
        self.soft.new_backup_key(id)
    }
    fn backup_key(&self, id: &str, wrapped: &Sealed) -> Result<Secret<[u8; 32]>, Fault> {
        self.soft.backup_key(id, wrapped)
    }
    fn random(&self, out: &mut [u8]) -> Result<(), Fault> {
        self.soft.random(out)
    }
    fn probe(&self) -> Result<(), Fault> {
        self.soft.probe()
    }
    fn describe(&self) -> Description {
        self.soft.describe()
    }
}

const SETTINGS: HashSettings = HashSettings {
    threads: 1,
    queue_max: 8,
    queue_per_source_max: 6,
    queue_deadline: Duration::from_secs(60),
    params: HashParams::tiny(),
};

fn pool(vault: &Arc<GatedVault>, settings: HashSettings) -> Arc<HashPool> {
    let vault: Arc<dyn Vault> = Arc::<GatedVault>::clone(vault);
    Arc::new(HashPool::new(vault, settings).unwrap())
}

fn source(last: u8) -> SourceKey {
    SourceKey::from(IpAddr::from([192, 0, 2, last]))
}

fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

/// Asks in a task of its own and returns once the request waits or was answered.
async fn ask(pool: &Arc<HashPool>, from: u8) -> Task<Result<HashOutcome, Fault>> {
    let (pool_, before) = (Arc::clone(pool), pool.waiting());
    let task = tokio::spawn(async move { pool_.verify(source(from), secret("guess"), None).await });
    while !task.is_finished() && pool.waiting() <= before {
        tokio::task::yield_now().await;
    }
    task
}

/// Keeps the one thread busy at the gate.
async fn occupy(pool: &Arc<HashPool>, vault: &GatedVault) -> Task<Result<HashOutcome, Fault>> {
    let taken = vault.entered();
    let start = || {
        let pool = Arc::clone(pool);
        tokio::spawn(async move { pool.verify(source(250), secret("first"), None).await })
    };
    let mut task = start();
    while vault.entered() == taken {
        if task.is_finished() {
            task = start();
        }
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn p7_p8_a_hash_verifies_only_its_password_and_only_with_the_pepper() {
    let vault = GatedVault::new(true);
    let pool = pool(&vault, SETTINGS);
    let phc = pool.hash(source(1), secret("correct horse")).await.unwrap();
    assert_eq!(phc.pepper_key(), vault.describe().pepper_key);
    let stored = Phc::parse(&phc.to_string()).unwrap();
    let check = async |password: &str, phc: &Phc| {
        pool.verify(source(1), secret(password), Some(phc.clone())).await.map(|outcome| outcome.matches)
    };
    assert!(check("correct horse", &stored).await.unwrap());
    assert!(!check("correct horsf", &stored).await.unwrap());
    assert!(!check("", &stored).await.unwrap());
    let again = pool.hash(source(1), secret("correct horse")).await.unwrap();
    assert_ne!(again.to_string(), phc.to_string(), "a new salt");

    let raw = argon2id(&mut Vec::new(), HashParams::tiny(), b"correct horse", &phc.salt).unwrap();
    assert_ne!(*raw, phc.mac, "what is stored is not the Argon2id output");
    assert_eq!(vault.pepper(&*raw).unwrap().mac, phc.mac);
    let other_vault = GatedVault::new(true);
    let other = super::tests::pool(&other_vault, SETTINGS);
    assert!(other.verify(source(1), secret("correct horse"), Some(phc)).await.is_err(), "no such pepper");
}

#[tokio::test]
async fn s1_a_user_who_does_not_exist_costs_the_same_work_and_never_matches() {
    let vault = GatedVault::new(true);
    let pool = pool(&vault, SETTINGS);
    let phc = pool.hash(source(1), secret("correct horse")).await.unwrap();
    for phc in [None, Some(phc)] {
        let before = vault.entered();
        let outcome = pool.verify(source(1), secret("wrong"), phc).await.unwrap();
        assert!(!outcome.matches && !outcome.needs_rehash);
        assert_eq!(vault.entered(), before + 1, "the pepper too");
    }
    assert_eq!(pool.shared.dummy.params, SETTINGS.params);
    assert_eq!(locked(&pool.shared.samples).len(), 2);
}

#[tokio::test]
async fn p9_a_weaker_hash_is_made_anew_with_the_right_password_only() {
    let vault = GatedVault::new(true);
    let old = pool(&vault, SETTINGS).hash(source(1), secret("correct horse")).await.unwrap();
    let params = HashParams::unchecked(16, 2, 1);
    let pool = pool(&vault, HashSettings { params, ..SETTINGS });
    let wrong = pool.verify(source(1), secret("wrong"), Some(old.clone())).await.unwrap();
    assert!(!wrong.needs_rehash);
    let right = pool.verify(source(1), secret("correct horse"), Some(old)).await.unwrap();
    assert!(right.matches && right.needs_rehash);
    let renewed = pool.hash(source(1), secret("correct horse")).await.unwrap();
    assert_eq!(renewed.params(), params);
    let right = pool.verify(source(1), secret("correct horse"), Some(renewed)).await.unwrap();
    assert!(right.matches && !right.needs_rehash);
}

#[tokio::test]
async fn p9_a_stronger_hash_that_needs_more_memory_verifies_and_stays() {
    let vault = GatedVault::new(true);
    let params = HashParams::unchecked(1_024, 1, 2);
    let large = pool(&vault, HashSettings { params, ..SETTINGS });
    let old = large.hash(source(1), secret("correct horse")).await.unwrap();
    let pool = pool(&vault, SETTINGS);
    let outcome = pool.verify(source(1), secret("correct horse"), Some(old)).await.unwrap();
    assert!(outcome.matches && !outcome.needs_rehash, "stronger stays");
}

#[tokio::test]
async fn s12_a_flooding_source_does_not_starve_another() {
    let vault = GatedVault::new(false);
    let pool = pool(&vault, SETTINGS);
    let first = occupy(&pool, &vault).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for from in [1, 1, 1, 1, 1, 2, 2] {
        let task = ask(&pool, from).await;
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(async move {
            task.await.unwrap().unwrap();
            locked(&order).push(from);
        }));
    }
    assert_eq!(pool.waiting(), 7);
    vault.open_gate();
    first.await.unwrap().unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*locked(&order), [1, 2, 1, 2, 1, 1, 1]);
}

#[tokio::test]
async fn p10_a_full_queue_is_busy_at_once_and_a_quiet_source_still_gets_in() {
    let vault = GatedVault::new(false);
    let pool = pool(&vault, SETTINGS);
    let first = occupy(&pool, &vault).await;
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(ask(&pool, 1).await);
    }
    assert!(matches!(pool.verify(source(1), secret("x"), None).await, Err(Fault::Busy(_))), "its share");
    waiting.push(ask(&pool, 2).await);
    waiting.push(ask(&pool, 2).await);
    assert_eq!(pool.waiting(), 8);
    let quiet = {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move { pool.verify(source(3), secret("x"), None).await })
    };
    let displaced = waiting.remove(5).await.unwrap();
    assert!(matches!(displaced, Err(Fault::Busy(_))), "the newest of the busiest");
    assert_eq!(pool.waiting(), 8);
    vault.open_gate();
    for task in waiting.into_iter().chain([first, quiet]) {
        assert!(task.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn p10_who_waits_past_the_deadline_hears_busy() {
    let vault = GatedVault::new(false);
    let pool = pool(&vault, HashSettings { queue_deadline: Duration::ZERO, ..SETTINGS });
    let first = occupy(&pool, &vault).await;
    assert!(matches!(pool.verify(source(1), secret("x"), None).await, Err(Fault::Busy(_))));
    assert!(matches!(pool.pretend(source(1)).await, Err(Fault::Busy(_))));
    assert_eq!(pool.waiting(), 0);
    vault.open_gate();
    assert!(first.await.unwrap().is_ok(), "what a thread has is finished");
}

#[tokio::test]
async fn who_is_gone_leaves_the_queue() {
    let vault = GatedVault::new(false);
    let pool = pool(&vault, SETTINGS);
    let first = occupy(&pool, &vault).await;
    let task = ask(&pool, 1).await;
    assert_eq!(pool.waiting(), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(pool.waiting(), 0);
    vault.open_gate();
    first.await.unwrap().unwrap();
    assert_eq!(vault.entered(), 1);
}

#[tokio::test]
async fn stopping_refuses_what_waits_and_finishes_what_runs() {
    let vault = GatedVault::new(false);
    let pool = pool(&vault, SETTINGS);
    let first = occupy(&pool, &vault).await;
    let task = ask(&pool, 1).await;
    pool.stop();
    assert!(matches!(task.await.unwrap(), Err(Fault::Stopping)));
    assert!(matches!(pool.hash(source(1), secret("x")).await, Err(Fault::Stopping)));
    vault.open_gate();
    assert!(first.await.unwrap().is_ok());
    drop(pool);
}

#[tokio::test]
async fn a_fault_or_a_bug_fails_one_request_and_the_thread_goes_on() {
    let vault = GatedVault::new(true);
    let working = pool(&vault, SETTINGS);
    let mut phc = working.hash(source(1), secret("x")).await.unwrap();
    phc.pepper_key = "soft:panic".into();
    assert!(matches!(working.verify(source(1), secret("x"), Some(phc)).await, Err(Fault::Vault(_))));
    assert!(working.verify(source(1), secret("x"), None).await.is_ok());

    let faulty = Arc::new(FaultyVault::new(vault, false));
    let switchable: Arc<dyn Vault> = Arc::<FaultyVault>::clone(&faulty);
    faulty.set_down(true);
    let pool = HashPool::new(switchable, SETTINGS).unwrap();
    assert!(matches!(pool.verify(source(1), secret("x"), None).await, Err(Fault::Vault(_))));
    faulty.set_down(false);
    assert!(pool.verify(source(1), secret("x"), None).await.is_ok());
}

#[tokio::test]
async fn s1_what_is_not_hashed_takes_as_long_as_one_of_the_last_hashes() {
    let vault = GatedVault::new(true);
    let pool = pool(&vault, SETTINGS);
    assert_eq!(pool.drawn(), PRETENDED_AT_START);
    for ms in 1..=40 {
        pool.shared.sample(Duration::from_millis(ms));
    }
    assert_eq!(locked(&pool.shared.samples).len(), SAMPLES);
    let drawn: BTreeSet<_> = (0..2_000).map(|_| pool.drawn()).collect();
    assert!(drawn.iter().all(|span| (10..=40).contains(&span.as_millis())), "{drawn:?}");
    assert!(drawn.len() > 20, "always the same: {drawn:?}");
    let begun = Instant::now();
    pool.pretend(source(1)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(10));
}

#[tokio::test]
async fn threads_that_hash_stand_behind_all_others_and_those_alone() {
    let pool = pool(&GatedVault::new(true), SETTINGS);
    pool.hash(source(1), Secret::new(b"a password".to_vec())).await.unwrap();
    // `comm` and, as the 19th field of `stat`, the nice value: proc(5).
    let nice = |folder: std::path::PathBuf| {
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let behind_name = stat.rsplit_once(") ")?.1;
        Some((name.trim().to_owned(), behind_name.split(' ').nth(16)?.parse::<i32>().ok()?))
    };
    let threads = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|entry| nice(entry.ok()?.path()));
    let (hashing, others): (Vec<_>, Vec<_>) = threads.partition(|(name, _)| name.starts_with("hash-"));
    let own = others.iter().map(|(_, nice)| *nice).max().unwrap();
    // There are no more than 19 steps.
    assert!(hashing.iter().any(|(_, nice)| *nice == (own + NICE).min(19)), "{hashing:?} {others:?}");
}
