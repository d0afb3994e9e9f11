//! Signs where the journal stands: every minute or 1,000 records, into a second file and the log (Q6).
//!
//! No decision waits for it. What fails is tried again a minute or 1,000 records later.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward_core::time::{Mono, Now};

use super::Gate;
use crate::fault::Fault;
use crate::journal::{
    Checkpoint, Disk, HEAD_KEYS_FILE, HEADS_FILE, Hash, Head, HeadKey, HeadKind, Heads, SignedHead, holds,
    last_dropped,
};
use crate::metrics;
use crate::vault::Vault;

/// Longest time between two heads, while there are new records.
const EVERY: Duration = Duration::from_secs(60);
/// Records after which there is a head, whatever the time.
const RECORDS: u64 = 1_000;

/// Where heads are written, and when one was last tried; nothing at all until [`Gate::keep_heads`].
#[derive(Default)]
pub(super) struct Checkpoints {
    kept: Mutex<Option<Kept>>,
    /// The number of the head that was tried last, and when, in nanoseconds of the monotonic clock.
    tried: AtomicU64,
    tried_ns: AtomicU64,
    /// The last record that a signed head vouches for.
    anchored: AtomicU64,
}

struct Kept {
    disk: Arc<dyn Disk>,
    heads: Heads,
    key: HeadKey,
    node: String,
    /// Keys to be told beside the heads once one of them is durable, where none was yet.
    untold: Vec<HeadKey>,
    /// The last head that says what was dropped.
    dropped: Option<SignedHead>,
}

impl Checkpoints {
    fn is_due(&self, head: Head, now: Mono) -> bool {
        let new = head.no.saturating_sub(self.tried.load(Ordering::Acquire));
        let since = now.since(Mono::from_ns(self.tried_ns.load(Ordering::Acquire)));
        let unsigned = head.no > self.anchored.load(Ordering::Acquire);
        unsigned && (new >= RECORDS || since >= EVERY)
    }

    /// Signs where the journal stands and writes it; `None` where there is nothing new, or nowhere to write to. Blocks.
    pub(super) fn sign(&self, vault: &dyn Vault, head: Head, now: Now) -> Result<Option<SignedHead>, Fault> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.as_mut().filter(|_| head.no > self.anchored.load(Ordering::Acquire)) else {
            return Ok(None);
        };
        self.tried.store(head.no, Ordering::Release);
        self.tried_ns.store(now.mono.as_ns(), Ordering::Release);
        let signed = kept.say(vault, HeadKind::At, head, now)?;
        self.anchored.store(head.no, Ordering::Release);
        Ok(Some(signed))
    }

    /// Signs up to where records are dropped, and writes it. Blocks.
    pub(super) fn sign_dropping(
        &self,
        vault: &dyn Vault,
        (head, book): (Head, Hash),
        now: Now,
    ) -> Result<Option<SignedHead>, Fault> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.as_mut() else { return Ok(None) };
        let said = kept.say(vault, HeadKind::DroppedTo { book }, head, now)?;
        kept.dropped = Some(said.clone());
        Ok(Some(said))
    }

    /// The last head that says what was dropped.
    pub(super) fn last_dropped(&self) -> Option<SignedHead> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().and_then(|kept| kept.dropped.clone())
    }

    /// The journal's disk, where heads are kept.
    pub(super) fn disk(&self) -> Option<Arc<dyn Disk>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|kept| Arc::clone(&kept.disk))
    }
}

impl Kept {
    fn say(&mut self, vault: &dyn Vault, kind: HeadKind, head: Head, now: Now) -> Result<SignedHead, Fault> {
        let Self { disk, heads, key, node, untold, .. } = self;
        let checkpoint = Checkpoint::new(node, heads.next_count(), kind, head, now.wall);
        let mut write = || {
            let text = checkpoint.text(key);
            let signature = vault.audit_sign(key.public(), text.as_bytes()).inspect_err(|_| {
                metrics::vault_failed("audit_sign");
            })?;
            let signed = SignedHead::new(checkpoint.clone(), key, signature);
            heads.append(signed.clone())?;
            if !untold.is_empty() {
                write_keys(&**disk, untold)?;
                untold.clear();
            }
            Ok(signed)
        };
        write().inspect_err(|_| metrics::journal_head_failed())
    }
}

impl Gate {
    /// Signs heads into the file on the journal's disk from now on, and tells the log the last one that is there.
    ///
    /// [`Fault::Damaged`] where the journal does not hold it: its end was lost, or another journal put in its place; and
    /// where the file is gone or empty in which there were some. [`Fault::Vault`] where no key of the vault has signed it.
    pub fn keep_heads(&self, disk: &Arc<dyn Disk>, node: &str) -> Result<(), Fault> {
        let keys: Vec<HeadKey> = self.vault.audit_keys()?.into_iter().map(HeadKey::new).collect();
        let key = *keys.last().ok_or_else(|| Fault::Vault("there is no audit key".to_owned()))?;
        let was_kept = is_there(&**disk, HEAD_KEYS_FILE)?;
        if was_kept && !is_there(&**disk, HEADS_FILE)? {
            return Err(gone(&**disk));
        }
        let heads = Heads::open(Arc::clone(disk))?;
        if let Some(last) = heads.last().filter(|last| !keys.iter().any(|key| last.is_signed_by(key))) {
            return Err(strange(&**disk, last));
        }
        let untold = match heads.last() {
            Some(_) => {
                write_keys(&**disk, &keys)?;
                Vec::new()
            }
            None if was_kept => return Err(gone(&**disk)),
            None => keys,
        };
        let mut anchored = 0;
        let end = self.store.head();
        // Where the last tells of dropped records, the one before says where the journal stood.
        for last in heads.last().into_iter().chain(heads.last_at()) {
            if !last.checkpoint.is_of(node) || !holds(disk, end, last)? {
                return Err(lost(&**disk, end, last));
            }
        }
        heads.last().into_iter().for_each(tell);
        if let Some(last) = heads.last_at() {
            anchored = last.checkpoint.head.no;
        }
        self.checkpoints.anchored.store(anchored, Ordering::Release);
        self.checkpoints.tried.store(anchored, Ordering::Release);
        let dropped = last_dropped(&**disk)?;
        let kept = Kept { disk: Arc::clone(disk), heads, key, node: node.to_owned(), untold, dropped };
        *self.checkpoints.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }

    /// Signs where the journal stands, if it is time or `now` whatever the time; nobody but the caller waits.
    pub async fn checkpoint(&self, at_once: bool) {
        let (head, now) = (self.store.head(), self.clock.now());
        if at_once || self.checkpoints.is_due(head, now.mono) {
            let (checkpoints, vault) = (Arc::clone(&self.checkpoints), Arc::clone(&self.vault));
            // A signature may come over a wire, and the file is synced: not on a thread that serves connections.
            let signed = tokio::task::spawn_blocking(move || checkpoints.sign(&*vault, head, now)).await;
            match signed {
                Ok(Ok(signed)) => signed.iter().for_each(tell),
                Ok(Err(fault)) => tracing::warn!(%fault, "no head could be signed"),
                Err(error) => tracing::error!(%error, "the signing of a head broke off"),
            }
        }
        metrics::journal_unanchored(
            head.no.saturating_sub(self.checkpoints.anchored.load(Ordering::Acquire)),
        );
    }

    /// Signs a head whenever 1,000 records have come, until `stopping` is over.
    pub async fn checkpoint_by_count(&self, stopping: impl Future<Output = ()>) {
        tokio::pin!(stopping);
        loop {
            let next = self.checkpoints.tried.load(Ordering::Acquire).saturating_add(RECORDS);
            tokio::select! {
                biased;
                () = &mut stopping => return,
                reached = self.store.reached(next) => if reached.is_err() { return },
            }
            self.checkpoint(false).await;
            if self.checkpoints.tried.load(Ordering::Acquire).saturating_add(RECORDS) == next {
                // Nothing is kept, or the signing broke off: the next second's look is enough.
                return;
            }
        }
    }
}

pub(super) fn tell(signed: &SignedHead) {
    tracing::info!(head = %signed, "the journal stands");
}

fn is_there(disk: &dyn Disk, name: &str) -> Result<bool, Fault> {
    match disk.open(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Fault::Disk(format!("{}/{name}: {error}", disk.place()))),
    }
}

/// The keys are written once there is a head: no crash leaves them alone.
fn gone(disk: &dyn Disk) -> Fault {
    let place = disk.place();
    Fault::Damaged(format!(
        "{place}: {HEADS_FILE} is gone or empty, and with it what was signed; put it back, or, where that cannot be, run `doorward \
         audit verify` with copies of it and remove {HEAD_KEYS_FILE}, which begins a new one"
    ))
}

fn strange(disk: &dyn Disk, last: &SignedHead) -> Fault {
    let (place, key) = (disk.place(), &last.key);
    Fault::Vault(format!(
        "no key of this vault has signed the last head in {place}/{HEADS_FILE}, which names the key {key}: put back the keys \
         of this node (vault.key_file), or, where these are they, run `doorward audit verify`"
    ))
}

fn lost(disk: &dyn Disk, end: Head, last: &SignedHead) -> Fault {
    let (place, ends, no) = (disk.place(), end.no, last.checkpoint.head.no);
    Fault::Damaged(format!(
        "{place}: the journal ends with record {ends} and does not hold the signed head of record {no}, which stands last \
         in {HEADS_FILE}: its end was lost, or another journal was put in its place; run `doorward audit verify`"
    ))
}

/// Has the public keys of this vault beside the heads, for whoever verifies on this machine.
fn write_keys(disk: &dyn Disk, keys: &[HeadKey]) -> Result<(), Fault> {
    let pem: String = keys.iter().map(HeadKey::pem).collect();
    let write = || {
        match disk.open(HEAD_KEYS_FILE) {
            Ok(file) => {
                let mut found = vec![0; pem.len() + 1];
                let read = file.read_at(0, &mut found)?;
                if &found[..read] == pem.as_bytes() {
                    return Ok(());
                }
                disk.remove(HEAD_KEYS_FILE)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = disk.create(HEAD_KEYS_FILE)?;
        file.write_at(0, pem.as_bytes())?;
        file.sync_data()?;
        disk.sync_dir()
    };
    write().map_err(|error: io::Error| Fault::Disk(format!("{}/{HEAD_KEYS_FILE}: {error}", disk.place())))
}

#[cfg(test)]
mod tests {
    use doorward_core::audit::Event;

    use crate::gate::testing::world;
    use crate::journal::parts::read_whole;
    use crate::journal::{Noted, PowerDisk, verify_anchored};

    use super::*;

    /// A disk apart from the world's journal: only the heads lie there.
    fn kept(gate: &Gate) -> PowerDisk {
        let disk = PowerDisk::new();
        gate.keep_heads(&(Arc::new(disk.clone()) as Arc<dyn Disk>), "node1").unwrap();
        disk
    }

    fn lines(disk: &PowerDisk) -> Vec<SignedHead> {
        let text = String::from_utf8(disk.bytes_of(HEADS_FILE).unwrap()).unwrap();
        text.lines().map(|line| SignedHead::parse(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn q6_a_head_is_signed_after_a_minute_and_only_where_there_is_something_new() {
        let world = world();
        let disk = kept(&world.gate);
        world.gate.record_of_node(Event::ClockGood, None).await;
        world.gate.checkpoint(true).await;
        let head = world.gate.store.head();
        assert_eq!(lines(&disk).iter().map(|signed| signed.checkpoint.head).collect::<Vec<_>>(), [head]);
        world.gate.checkpoint(true).await;
        world.gate.checkpoint(false).await;
        assert_eq!(lines(&disk).len(), 1, "nothing new");
        world.gate.record_of_node(Event::ClockGood, None).await;
        world.gate.checkpoint(false).await;
        assert_eq!(lines(&disk).len(), 1, "not yet a minute");
        let new = world.gate.store.head();
        let later = Mono::from_ns(world.gate.checkpoints.tried_ns.load(Ordering::Acquire)) + EVERY;
        assert!(world.gate.checkpoints.is_due(new, later));
        assert!(!world.gate.checkpoints.is_due(head, later), "signed already");
        let many = Head { no: head.no + RECORDS, ..new };
        assert!(world.gate.checkpoints.is_due(many, world.gate.clock.now().mono), "a thousand records");
    }

    #[tokio::test]
    async fn q6_a_vault_that_is_down_keeps_nobody_from_deciding() {
        let world = world();
        let disk = kept(&world.gate);
        world.vault_down(true);
        world.gate.record_of_node(Event::ClockGood, None).await;
        world.gate.checkpoint(true).await;
        assert!(lines(&disk).is_empty());
        assert!(world.gate.store.head().no > 0, "written down all the same");
        world.vault_down(false);
        world.gate.checkpoint(true).await;
        assert_eq!(lines(&disk).len(), 1);
    }

    #[tokio::test]
    async fn q7_what_a_node_signs_verifies_with_the_keys_beside_it() {
        let world = world();
        let disk = Arc::clone(&world.disk);
        world.gate.keep_heads(&disk, "node1").unwrap();
        for _ in 0..3 {
            world.gate.record_of_node(Event::ClockGood, None).await;
            world.gate.checkpoint(true).await;
        }
        let mut pem = vec![0; 4096];
        let read = disk.open(HEAD_KEYS_FILE).unwrap().read_at(0, &mut pem).unwrap();
        let keys = HeadKey::parse_all(&pem[..read]).unwrap();
        let mut text = vec![0; 4096];
        let read = disk.open(HEADS_FILE).unwrap().read_at(0, &mut text).unwrap();
        let text = String::from_utf8(text[..read].to_vec()).unwrap();
        let noted: Vec<_> =
            text.lines().map(|line| Noted::Signed(SignedHead::parse(line).unwrap())).collect();
        let (report, anchoring) = verify_anchored(&*disk, &noted, &keys).unwrap();
        assert!(report.intact, "{:?}", report.findings);
        assert_eq!((anchoring.good, report.anchored), (6, Some(report.head.no)));
    }

    #[tokio::test]
    async fn q6_a_node_whose_signed_heads_are_gone_does_not_go_on() {
        let world = world();
        world.gate.record_of_node(Event::ClockGood, None).await;
        let disk = kept(&world.gate);
        world.gate.checkpoint(true).await;
        let refused = || {
            let fault =
                world.gate.keep_heads(&(Arc::new(disk.clone()) as Arc<dyn Disk>), "node1").unwrap_err();
            assert!(
                matches!(&fault, Fault::Damaged(text) if text.contains("heads is gone or empty")),
                "{fault}"
            );
        };
        for emptied in [&b""[..], b"\n\n", b"doorward-head-1 node1 1 at"] {
            disk.tamper(HEADS_FILE, emptied.to_vec());
            refused();
        }
        disk.lose(HEADS_FILE);
        refused();
        disk.lose(HEAD_KEYS_FILE);
        world.gate.keep_heads(&(Arc::new(disk) as Arc<dyn Disk>), "node1").unwrap();
    }

    #[tokio::test]
    async fn v9_a_node_does_not_go_on_with_the_keys_of_another() {
        let world = world();
        world.gate.keep_heads(&world.disk, "node1").unwrap();
        world.gate.record_of_node(Event::ClockGood, None).await;
        world.gate.checkpoint(true).await;
        let files =
            || [HEADS_FILE, HEAD_KEYS_FILE].map(|name| read_whole(&*world.disk, name, 9_999).unwrap());
        let before = files();
        let other = crate::gate::testing::world();
        let fault = other.gate.keep_heads(&world.disk, "node1").unwrap_err();
        assert!(matches!(&fault, Fault::Vault(text) if text.contains("vault.key_file")), "{fault}");
        assert_eq!(files(), before, "as it was");
        world.gate.keep_heads(&world.disk, "node1").unwrap();
    }

    #[tokio::test]
    async fn q6_the_keys_lie_beside_the_heads_once_there_is_a_head() {
        let world = world();
        let is_told = || is_there(&*world.disk, HEAD_KEYS_FILE).unwrap();
        // Before its first head a node may crash: it goes on.
        for _ in 0..2 {
            world.gate.keep_heads(&world.disk, "node1").unwrap();
            assert!(!is_told());
        }
        world.gate.record_of_node(Event::ClockGood, None).await;
        world.gate.checkpoint(true).await;
        assert!(is_told());
        world.disk.remove(HEAD_KEYS_FILE).unwrap();
        world.gate.keep_heads(&world.disk, "node1").unwrap();
        assert!(is_told(), "or crash between the two");
    }

    #[tokio::test]
    async fn q6_a_node_whose_journal_lost_its_end_does_not_go_on() {
        let world = world();
        world.gate.record_of_node(Event::ClockGood, None).await;
        let disk = kept(&world.gate);
        world.gate.checkpoint(true).await;
        let signed = lines(&disk).remove(0);
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let ahead = Head { no: signed.checkpoint.head.no + 1, ..signed.checkpoint.head };
        let key = HeadKey::new(world.gate.vault.audit_keys().unwrap()[0]);
        let checkpoint = Checkpoint::new("node1", 2, HeadKind::At, ahead, signed.checkpoint.at);
        let signature = world.gate.vault.audit_sign(key.public(), checkpoint.text(&key).as_bytes()).unwrap();
        Heads::open(Arc::clone(&disk)).unwrap().append(SignedHead::new(checkpoint, &key, signature)).unwrap();
        let fault = world.gate.keep_heads(&disk, "node1").unwrap_err();
        assert!(matches!(&fault, Fault::Damaged(text) if text.contains("audit verify")), "{fault}");
    }
}
