//! Retention: records older than the operator keeps them are dropped, whole segments at a time (Q9).
//!
//! The order is that of [`crate::journal`]: where the journal stands is signed, the book is set aside, the dropping is
//! signed with the book's SHA-256, and only then anything goes. What a crash leaves unfinished the next look ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::Event;
use doorward_core::time::{Now, Wall};

use super::Gate;
use super::checkpoints::{Checkpoints, tell};
use crate::book::{AuditFilter, Store};
use crate::fault::Fault;
use crate::journal::{Disk, SignedHead, first_record, last_dropped};
use crate::vault::Vault;

/// How often it is looked for what may go.
const EVERY: Duration = Duration::from_secs(3_600);

/// What was dropped.
struct Dropped {
    said: SignedHead,
    segments: u64,
}

impl Gate {
    /// Drops old records at once and then every hour, until `stopping` is over.
    pub async fn drop_old_records_hourly(&self, stopping: impl Future<Output = ()>) {
        tokio::pin!(stopping);
        let mut looks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                _ = looks.tick() => self.drop_old_records().await,
            }
        }
    }

    /// Drops the segments all of whose records are older than they are kept; ends what a crash left unfinished.
    ///
    /// While the clock cannot be trusted nothing is old.
    pub async fn drop_old_records(&self) {
        let now = self.clock.now();
        let before = self.settings.keep_records.filter(|_| self.clock_good()).map(|keep| now.wall - keep);
        let (checkpoints, vault, store) =
            (Arc::clone(&self.checkpoints), Arc::clone(&self.vault), Arc::clone(&self.store));
        // The book is copied, and signed for over a wire: not on a thread that serves connections.
        let dropping =
            tokio::task::spawn_blocking(move || drop_old(&checkpoints, &*vault, &*store, before, now)).await;
        match dropping {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(Dropped { said, segments }))) => {
                let no = said.checkpoint.head.no;
                let detail = format!("records up to {no}, in {segments} segments");
                self.record_of_node(Event::RecordsDropped, Some((None, detail))).await;
            }
            Ok(Err(fault)) => tracing::warn!(%fault, "old records are not dropped"),
            Err(error) => tracing::error!(%error, "the dropping of old records broke off"),
        }
    }
}

fn drop_old(
    checkpoints: &Checkpoints,
    vault: &dyn Vault,
    store: &dyn Store,
    before: Option<Wall>,
    now: Now,
) -> Result<Option<Dropped>, Fault> {
    let Some(disk) = checkpoints.disk() else { return Ok(None) };
    if let Some(said) = last_dropped(&*disk)?
        && let Some(book) = said.book()
        && first_left(&*disk, store)? <= said.checkpoint.head.no
    {
        match store.drop_to(said.checkpoint.head.no, &book) {
            Ok(segments) => return Ok(Some(Dropped { said, segments })),
            // What is known is all in the book that is in use, so another can be set aside.
            Err(fault @ Fault::Damaged(_)) => tracing::warn!(%fault, "a dropping begins anew"),
            Err(fault) => return Err(fault),
        }
    }
    let Some(before) = before else { return Ok(None) };
    let Some(head) = store.droppable(before)? else { return Ok(None) };
    checkpoints.sign(vault, store.head(), now)?.iter().for_each(tell);
    let book = store.set_aside(head.no)?;
    let Some(said) = checkpoints.sign_dropping(vault, (head, book), now)? else { return Ok(None) };
    tell(&said);
    let segments = store.drop_to(head.no, &book)?;
    Ok(Some(Dropped { said, segments }))
}

/// The first record that journal or book still has.
fn first_left(disk: &dyn Disk, store: &dyn Store) -> Result<u64, Fault> {
    let shown = store.audit_after(&AuditFilter::default(), 0, 1)?;
    Ok(shown.first().map_or(u64::MAX, |(no, _)| *no).min(first_record(disk)?))
}

#[cfg(test)]
mod tests {
    use doorward_core::audit::{Actor, Context, Door, Entry, Record};

    use super::*;
    use crate::book::Batch;
    use crate::gate::testing::{World, world_with};
    use crate::gate::{Settings, new_attempt};
    use crate::journal::{HeadKey, verify_anchored};

    const DAY: Duration = Duration::from_secs(86_400);

    /// A node that keeps records for 30 days and signs heads beside its journal.
    fn keeping() -> World {
        let world = world_with(Settings { keep_records: Some(30 * DAY), ..Settings::default() });
        world.gate.keep_heads(&world.disk, "node1").unwrap();
        world
    }

    /// Writes some megabytes, so that a segment or two are full.
    async fn fill(world: &World) {
        for _ in 0..5 {
            let context = Context { at: world.now(), door: Door::Node, source: None, attempt: new_attempt() };
            let mut entry = Entry::new(&context, Event::ClockGood, Actor::Node);
            entry.detail = Some("x".repeat(400_000));
            let records = vec![Record { entry, changes: Vec::new() }];
            world.gate.commit(Batch { expects: Vec::new(), records }).await.unwrap();
        }
    }

    fn verified(world: &World) -> (crate::journal::Report, crate::journal::Anchoring) {
        let keys: Vec<HeadKey> =
            world.gate.vault.audit_keys().unwrap().into_iter().map(HeadKey::new).collect();
        verify_anchored(&*world.disk, &[], &keys).unwrap()
    }

    fn oldest(world: &World) -> u64 {
        world.gate.store.audit_after(&AuditFilter::default(), 0, 1).unwrap()[0].0
    }

    #[tokio::test]
    async fn q9_old_records_are_dropped_by_segment_and_what_they_made_stays() {
        let world = keeping();
        let ana = world.person("ana", doorward_core::identity::policy::AuthSystem::Otp, false).await;
        fill(&world).await;
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1, "nothing is old");
        world.clock.advance(31 * DAY);
        world.gate.clock_moved();
        world.vault_down(true);
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1, "what cannot be signed is not dropped");
        world.vault_down(false);
        world.gate.drop_old_records().await;

        let first = first_record(&*world.disk).unwrap();
        assert!(first > 1, "a segment went");
        assert_eq!(oldest(&world), first, "and its rows");
        let (report, anchoring) = verified(&world);
        assert!(report.intact, "{:?}", report.findings);
        assert_eq!(
            (report.first, anchoring.dropped.map(|said| said.checkpoint.head.no + 1)),
            (first, Some(first))
        );
        let newest = world.gate.store.audit(&AuditFilter::default(), None, 1).unwrap().remove(0).1;
        assert_eq!(newest.event, Event::RecordsDropped);
        assert!(newest.detail.unwrap().starts_with(&format!("records up to {}", first - 1)));
        let kept = world.gate.store.load(&crate::book::Load::Person(ana.id)).unwrap().person;
        assert_eq!(kept.map(|person| person.userid), Some(ana.userid));

        // Later records are young: a day on nothing more goes.
        world.gate.drop_old_records().await;
        assert_eq!(first_record(&*world.disk).unwrap(), first);
    }

    #[tokio::test]
    async fn q9_t4_a_clock_that_stepped_makes_nothing_old() {
        let world = keeping();
        fill(&world).await;
        world.clock.advance(31 * DAY);
        assert!(!world.gate.clock_good());
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1);
    }

    #[tokio::test]
    async fn q9_a_dropping_that_broke_off_is_ended_though_nothing_is_old_any_more() {
        let world = keeping();
        fill(&world).await;
        let store = &world.gate.store;
        let head = store.droppable(world.now() + DAY).unwrap().unwrap();
        world.gate.checkpoint(true).await;
        let book = store.set_aside(head.no).unwrap();
        world.gate.checkpoints.sign_dropping(&*world.gate.vault, (head, book), world.gate.now()).unwrap();
        assert_eq!(oldest(&world), 1, "signed, and the node crashed");
        world.gate.drop_old_records().await;
        assert_eq!((oldest(&world), first_record(&*world.disk).unwrap()), (head.no + 1, head.no + 1));
        let (report, _) = verified(&world);
        assert!(report.intact, "{:?}", report.findings);
    }

    #[tokio::test]
    async fn q9_without_a_time_to_keep_records_they_stay_for_ever() {
        let world = world_with(Settings::default());
        world.gate.keep_heads(&world.disk, "node1").unwrap();
        fill(&world).await;
        world.clock.advance(10_000 * DAY);
        world.gate.clock_moved();
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1);
    }
}
