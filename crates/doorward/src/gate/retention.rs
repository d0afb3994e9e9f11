//! Retention: records older than the operator keeps them are dropped, whole segments at a time (Q9).
//!
//! The order is that of [`crate::journal`]: where the journal stands is signed, the book is set aside, the dropping is
//! signed with the book's SHA-256 and written down, and only then anything goes. What a crash leaves unfinished the next
//! look ends.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorward_core::audit::{Actor, Context, Door, Entry, Event, Record};
use doorward_core::time::{Now, Wall};

use super::checkpoints::{Checkpoints, tell};
use super::{Gate, error_text, new_attempt};
use crate::book::{AuditFilter, Batch, CommitError, Store};
use crate::fault::Fault;
use crate::journal::{Disk, Hash, SignedHead, check_book, first_record, segment_ends};
use crate::vault::Vault;

/// How often it is looked for what may go.
const EVERY: Duration = Duration::from_secs(3_600);
/// The same after nothing was found: to look is to read all that the book holds of years.
const EVERY_WHILE_NOTHING: Duration = Duration::from_secs(24 * 3_600);
/// By how much the clock may be ahead of what the node has lived before it is told of.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

impl Gate {
    /// Drops old records every hour, or after a day where there were none, until `stopping` is over; what is under way
    /// then breaks off soon.
    pub async fn drop_old_records_hourly(&self, stopping: impl Future<Output = ()>) {
        tokio::pin!(stopping);
        let stop = Arc::new(AtomicBool::new(false));
        let mut looks = looks();
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                _ = looks.tick() => {}
            }
            let dropping = self.drop_until(&stop);
            tokio::pin!(dropping);
            tokio::select! {
                biased;
                () = &mut stopping => {
                    stop.store(true, Ordering::Relaxed);
                    dropping.await;
                    return;
                }
                next = &mut dropping => looks.reset_after(next),
            }
        }
    }

    /// Drops the segments all of whose records are older than they are kept; ends what a crash left unfinished.
    ///
    /// While the clock cannot be trusted nothing is old.
    pub async fn drop_old_records(&self) {
        self.drop_until(&Arc::default()).await;
    }

    /// Tells how it went; when to look again.
    async fn drop_until(&self, stop: &Arc<AtomicBool>) -> Duration {
        match self.try_drop(stop).await {
            Ok(next) => return next,
            Err(Fault::Stopping) => {
                tracing::info!("the dropping of old records goes on after the next start");
            }
            Err(fault) => tracing::warn!(%fault, "old records are not dropped"),
        }
        EVERY
    }

    async fn try_drop(&self, stop: &Arc<AtomicBool>) -> Result<Duration, Fault> {
        let Some(disk) = self.checkpoints.disk() else { return Ok(EVERY) };
        let (now, before) = (self.clock.now(), self.old_before());
        let work = Work {
            checkpoints: Arc::clone(&self.checkpoints),
            vault: Arc::clone(&self.vault),
            store: Arc::clone(&self.store),
            disk: Arc::clone(&disk),
            stop: Arc::clone(stop),
        };
        // The book is copied, and signed for over a wire: not on a thread that serves connections.
        let begun = aside(move || match work.unfinished()? {
            Some(said) => Ok(Some(said)),
            None => before.map_or(Ok(None), |(before, lived)| work.begin(before, lived, now)),
        });
        // A clock that cannot be trusted yet was not asked for anything.
        let nothing = if before.is_some() { EVERY_WHILE_NOTHING } else { EVERY };
        let Some((said, book)) = begun.await? else { return Ok(nothing) };
        // Before anything goes: else a crash may leave a dropping of which there is no record.
        self.write_dropping(&said, &*disk).await?;
        let (store, stop, no) = (Arc::clone(&self.store), Arc::clone(stop), said.checkpoint.head.no);
        let segments = aside(move || store.drop_to(no, &book, &stop)).await?;
        tracing::info!(upto = no, segments, "old records were dropped");
        Ok(EVERY)
    }

    /// Before which instant a record is old, and what the node must have lived since; `None` where nothing is old.
    ///
    /// By the wall clock, but never by more than has passed since the newest record of before the start: a clock that is
    /// ahead then is as good as any to [`Gate::clock_good`], and would make everything old.
    fn old_before(&self) -> Option<(Wall, Duration)> {
        let keep = self.settings.keep_records.filter(|_| self.clock_good())?;
        let now = self.clock.now();
        let Some(from) = self.lived_from else {
            return Some((now.wall - keep, if self.settings.demo_clock { Duration::ZERO } else { keep }));
        };
        let lived = from.wall + now.mono.since(from.mono);
        if now.wall.since(lived) > AHEAD_MAX {
            tracing::warn!(
                now = %now.wall,
                %lived,
                "the clock is ahead, or the node stood still: until the next start records are old by when it was left"
            );
        }
        Some((now.wall.min(lived) - keep, keep))
    }

    /// Writes down that records are dropped, unless it is.
    async fn write_dropping(&self, said: &SignedHead, disk: &dyn Disk) -> Result<(), Fault> {
        let no = said.checkpoint.head.no;
        let filter = AuditFilter { event: Some(Event::RecordsDropped), ..AuditFilter::default() };
        let begins = format!("records up to {no},");
        let is_this = |entry: &Entry| entry.detail.as_ref().is_some_and(|told| told.starts_with(&begins));
        if self.store.audit(&filter, None, 1)?.first().is_some_and(|(_, entry)| is_this(entry)) {
            return Ok(());
        }
        let segments = segment_ends(disk)?.iter().filter(|end| end.no <= no).count();
        let context =
            Context { at: self.clock.now().wall, door: Door::Node, source: None, attempt: new_attempt() };
        let mut entry = Entry::new(&context, Event::RecordsDropped, Actor::Node);
        entry.detail = Some(format!("{begins} in {segments} segments"));
        let records = vec![Record { entry, changes: Vec::new() }];
        let written = self.commit(Batch { expects: Vec::new(), records }).await;
        written.map(drop).map_err(|error| match error {
            CommitError::Fault(fault) => fault,
            CommitError::Conflict(_) => Fault::Book(error_text(&error)),
        })
    }
}

/// When it is looked: not at the start, at which a clock may just have been set wrong.
fn looks() -> tokio::time::Interval {
    let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    looks
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Fault::Book(format!("the dropping of old records broke off: {error}"))))
}

/// What dropping works with; all of it blocks.
struct Work {
    checkpoints: Arc<Checkpoints>,
    vault: Arc<dyn Vault>,
    store: Arc<dyn Store>,
    disk: Arc<dyn Disk>,
    stop: Arc<AtomicBool>,
}

impl Work {
    /// A dropping that was signed, and of which something is left to be dropped.
    fn unfinished(&self) -> Result<Option<(SignedHead, Hash)>, Fault> {
        let Some(said) = self.checkpoints.last_dropped() else { return Ok(None) };
        let no = said.checkpoint.head.no;
        let Some(book) = said.book().filter(|_| no > 0) else { return Ok(None) };
        if self.first_left()? > no {
            return Ok(None);
        }
        match check_book(&*self.disk, no, &book, &self.stop) {
            Ok(()) => Ok(Some((said, book))),
            // What is known is all in the book that is in use, so another can be set aside.
            Err(fault @ Fault::Damaged(_)) => {
                tracing::warn!(%fault, "a dropping begins anew");
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Sets aside and signs what is to be dropped, where there is anything.
    fn begin(&self, before: Wall, lived: Duration, now: Now) -> Result<Option<(SignedHead, Hash)>, Fault> {
        let Self { checkpoints, vault, store, stop, .. } = self;
        let Some(head) = store.droppable(before, lived, stop)? else { return Ok(None) };
        checkpoints.sign(&**vault, store.head(), now)?.iter().for_each(tell);
        let book = store.set_aside(head.no, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Err(Fault::Stopping);
        }
        let Some(said) = checkpoints.sign_dropping(&**vault, (head, book), now)? else { return Ok(None) };
        tell(&said);
        Ok(Some((said, book)))
    }

    /// The first record that journal or book still has.
    fn first_left(&self) -> Result<u64, Fault> {
        let shown = self.store.audit_after(&AuditFilter::default(), 0, 1)?;
        Ok(shown.first().map_or(u64::MAX, |(no, _)| *no).min(first_record(&*self.disk)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Settings;
    use crate::gate::testing::{World, world_with};
    use crate::hashing::HashParams;
    use crate::journal::{Head, HeadKey, verify_anchored};

    const DAY: Duration = Duration::from_secs(86_400);

    /// Records are kept for 30 days.
    fn settings(demo_clock: bool) -> Settings {
        Settings { keep_records: Some(30 * DAY), demo_clock, ..Settings::default() }
    }

    /// A node that keeps records for 30 days by a clock that moves as agreed, and signs heads beside its journal.
    fn keeping() -> World {
        heads_kept(world_with(settings(true)))
    }

    fn heads_kept(world: World) -> World {
        world.gate.keep_heads(&world.disk, "node1").unwrap();
        world
    }

    /// The same node after another start, by a clock that it has to trust.
    fn started_anew(world: World) -> World {
        heads_kept(world.reopened_with(HashParams::tiny(), settings(false)))
    }

    /// Writes some megabytes, so that a segment or two are full.
    async fn fill(world: &World) {
        fill_at(world, [world.now(); 5]).await;
    }

    /// Writes a record of 400 kB at each of these instants.
    async fn fill_at(world: &World, instants: impl IntoIterator<Item = Wall>) {
        for at in instants {
            let context = Context { at, door: Door::Node, source: None, attempt: new_attempt() };
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

    /// How many records tell of a dropping.
    fn droppings(world: &World) -> usize {
        let filter = AuditFilter { event: Some(Event::RecordsDropped), ..AuditFilter::default() };
        world.gate.store.audit(&filter, None, 9).unwrap().len()
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
    async fn q9_t4_a_clock_that_is_ahead_at_the_start_makes_nothing_old() {
        let world = heads_kept(world_with(settings(false)));
        fill(&world).await;
        world.clock.advance(3_650 * DAY);
        let world = started_anew(world);
        assert!(world.gate.clock_good(), "nothing to compare it with");
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1);
        // What it writes is the newest with the next start.
        world.gate.record_start(true).await;
        for _ in 0..2 {
            fill(&world).await;
        }
        let world = started_anew(world);
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1, "the node has lived for a week since at most");
    }

    #[tokio::test]
    async fn q9_what_is_old_by_the_clock_and_by_what_the_node_has_lived_is_dropped() {
        let world = heads_kept(world_with(settings(false)));
        let now = world.now();
        fill_at(&world, (0..=12).rev().map(|nth| now - nth * 5 * DAY)).await;
        let world = started_anew(world);
        world.gate.drop_old_records().await;
        let first = oldest(&world);
        let left = world.gate.store.audit_after(&AuditFilter::default(), 0, 1).unwrap().remove(0).1;
        assert!(first > 1 && first_record(&*world.disk).unwrap() == first, "{first}");
        assert!(left.at >= now - 40 * DAY && left.at <= now - 30 * DAY, "{}", left.at);
    }

    #[tokio::test]
    async fn q9_nothing_is_dropped_at_the_start_itself() {
        let mut looks = looks();
        let looked = tokio::select! {
            biased;
            _ = looks.tick() => true,
            () = std::future::ready(()) => false,
        };
        assert!(!looked);
    }

    #[tokio::test]
    async fn q9_where_nothing_is_old_it_is_looked_again_after_a_day_and_else_after_an_hour() {
        let world = keeping();
        fill(&world).await;
        let hour = DAY / 24;
        let next = async || world.gate.drop_until(&Arc::default()).await;
        assert_eq!(next().await, DAY);
        world.clock.advance(31 * DAY);
        world.gate.clock_moved();
        world.vault_down(true);
        assert_eq!(next().await, hour, "what cannot be signed is tried again");
        world.vault_down(false);
        assert_eq!((next().await, droppings(&world)), (hour, 1));
        assert_eq!(next().await, DAY);
        world.clock.advance(31 * DAY);
        assert_eq!(next().await, hour, "the clock stepped: it was not looked");
    }

    #[tokio::test]
    async fn q9_a_node_that_stops_does_not_wait_for_its_dropping() {
        let world = keeping();
        fill(&world).await;
        world.clock.advance(31 * DAY);
        world.gate.clock_moved();
        let stop = Arc::new(AtomicBool::new(true));
        assert!(matches!(world.gate.try_drop(&stop).await, Err(Fault::Stopping)));
        assert_eq!((oldest(&world), droppings(&world)), (1, 0));
        stop.store(false, Ordering::Relaxed);
        world.gate.try_drop(&stop).await.unwrap();
        assert!(oldest(&world) > 1);
    }

    /// Signs the dropping of all that may go; the last record of it.
    async fn signed_dropping(world: &World) -> (Head, SignedHead) {
        let (store, going_on) = (&world.gate.store, AtomicBool::new(false));
        let head = store.droppable(world.now() + DAY, Duration::ZERO, &going_on).unwrap().unwrap();
        world.gate.checkpoint(true).await;
        let book = store.set_aside(head.no, &going_on).unwrap();
        let said = world.gate.checkpoints.sign_dropping(&*world.gate.vault, (head, book), world.gate.now());
        (head, said.unwrap().unwrap())
    }

    #[tokio::test]
    async fn q9_q5_nothing_is_dropped_before_it_is_written_down_and_that_once() {
        let world = keeping();
        fill(&world).await;
        let (head, said) = signed_dropping(&world).await;
        world.disk_full(true);
        world.gate.drop_old_records().await;
        assert_eq!((oldest(&world), droppings(&world)), (1, 0), "signed, but not written down");
        world.disk_full(false);
        world.gate.write_dropping(&said, &*world.disk).await.unwrap();
        assert_eq!((oldest(&world), droppings(&world)), (1, 1), "written down, and the node crashed");
        world.gate.drop_old_records().await;
        assert_eq!((oldest(&world), droppings(&world)), (head.no + 1, 1));
    }

    #[tokio::test]
    async fn q9_a_dropping_that_broke_off_is_ended_though_nothing_is_old_any_more() {
        let world = keeping();
        fill(&world).await;
        let (head, _) = signed_dropping(&world).await;
        assert_eq!(oldest(&world), 1, "signed, and the node crashed");
        world.gate.drop_old_records().await;
        assert_eq!((oldest(&world), first_record(&*world.disk).unwrap()), (head.no + 1, head.no + 1));
        let (report, _) = verified(&world);
        assert!(report.intact, "{:?}", report.findings);
    }

    #[tokio::test]
    async fn q9_without_a_time_to_keep_records_they_stay_for_ever() {
        let world = heads_kept(world_with(Settings { demo_clock: true, ..Settings::default() }));
        fill(&world).await;
        world.clock.advance(10_000 * DAY);
        world.gate.clock_moved();
        world.gate.drop_old_records().await;
        assert_eq!(oldest(&world), 1);
    }
}
