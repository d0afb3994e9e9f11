//! Carries out what one machine wants.

use std::sync::Arc;

use doorward_core::ask::{Ask, AskId, Judged, SignedLogon};
use doorward_core::audit::Deny;
use doorward_core::fix::message::Message;
use doorward_core::fix::session::{Note, Output};
use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Now;
use doorward_core::trace::Check;

use super::connection::{Connection, LoggedOn};
use super::door::{Delayed, Door, Job, Shared};
use super::mailbox::Command;
use super::recovery::later;
use super::slab::Token;
use crate::backend::From;
use crate::gate::Origin;
use crate::gate::fix::LogonSave;

impl Door {
    /// Carries out everything that a connection's machine wants by now, and what comes of it for others.
    pub(super) fn drain(&mut self, token: Token, now: Now) {
        self.carry_out(token, now);
        while let Some(job) = self.shared.jobs.pop_front() {
            match job {
                Job::Claim(token, ask, claim) => self.claim(token, ask, claim, now),
                Job::Closed(token) => self.release(token, now),
                Job::Broken(token) => self.broke_off(token, now),
            }
        }
    }

    /// The same without the jobs, for whoever carries these out.
    pub(super) fn carry_out(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        carry_out(connection, token, &mut self.shared, now);
        if connection.is_broken {
            return;
        }
        if connection.session.is_live() && !connection.counted {
            connection.counted = true;
            self.listeners[connection.listener].silent.logged_on(&mut connection.rank);
        }
        if self.shared.replies.is_empty() {
            return self.arm(token);
        }
        self.say_replies(now);
        self.arm(token);
    }

    /// Gives what the back end said to the streams that it is for; what is for one of them in a row is carried out at
    /// once.
    pub(super) fn say_replies(&mut self, now: Now) {
        let mut replies = std::mem::take(&mut self.shared.replies);
        let (mut at, mut told): (_, Option<(StreamKey, Token)>) = (0, None);
        while let Some((stream, msg_type, body)) = replies.at(at) {
            at += 1;
            if told.is_none_or(|(to, _)| to != stream) {
                self.was_told(told.take(), now);
                told = self.shared.seats.holder(&stream).map(|holder| (stream, holder));
            }
            if let Some((_, holder)) = told
                && let Some(connection) = self.connections.get_mut(holder)
                && connection.session.send_application(msg_type, body, now).is_some()
            {
                continue;
            }
            self.was_told(told.take(), now);
            if self.store(&stream, msg_type, body, now).is_none() {
                tracing::error!(%stream, "a message of the venue has no listener to be sent by");
            }
        }
        self.was_told(told, now);
        replies.clear();
        self.shared.replies = replies;
    }

    /// Carries out what a connection's machine made of messages of the back end.
    fn was_told(&mut self, told: Option<(StreamKey, Token)>, now: Now) {
        if let Some((_, holder)) = told
            && let Some(connection) = self.connections.get_mut(holder)
        {
            carry_out(connection, holder, &mut self.shared, now);
            self.arm(holder);
        }
    }

    /// Sends an application message to a stream, or stores it there; its number. `None` where no listener serves it.
    pub(super) fn send(&mut self, stream: &StreamKey, msg_type: &[u8], body: &[u8], now: Now) -> Option<u64> {
        if let Some(holder) = self.shared.seats.holder(stream)
            && let Some(connection) = self.connections.get_mut(holder)
            && let Some(number) = connection.session.send_application(msg_type, body, now)
        {
            self.was_told(Some((*stream, holder)), now);
            return Some(number);
        }
        self.store(stream, msg_type, body, now)
    }
}

/// Carries out what a machine wants. What concerns other connections is put into `jobs`, what the back end says into
/// `replies`.
pub(super) fn carry_out(connection: &mut Connection, token: Token, shared: &mut Shared, now: Now) {
    // Set as long as the machine has something to write down.
    let stream = connection.stream;
    let mut given = None;
    while !connection.is_broken
        && let Some(output) = connection.session.poll()
    {
        match (output, stream) {
            (Output::Send(bytes), _) => {
                shared.pool.append(&mut connection.out, bytes);
                shared.counts.sent += 1;
            }
            (Output::SaveNumbers { numbers, durable }, Some(stream)) => {
                save_numbers(connection, token, (&stream, numbers, durable), shared);
            }
            (Output::SaveOutbound { epoch, number, message }, Some(stream)) => {
                connection.waits = true;
                shared.store_outbound(&stream, (epoch, number), message, now);
            }
            (Output::SaveInbound { epoch, number, message }, Some(stream)) => {
                connection.waits = true;
                shared.store_inbound(&stream, (epoch, number), message, now);
            }
            (Output::Deliver { epoch, number, message }, Some(stream)) => {
                connection.waits = true;
                let from = From { stream: &stream, epoch, number, at: now.wall };
                given = given.max(shared.deliver(&from, &message));
            }
            (Output::Judge(ask, logon), _) => judge(connection, token, ask, &logon, shared, now),
            (Output::SaveLogon(ask, record, numbers), _) => {
                connection.stated = numbers.or(connection.stated);
                shared.decided.push(LogonSave { record, numbers: connection.stream.zip(numbers) });
                shared.deciding.push((token, ask));
            }
            (Output::Ask(ask, question), _) => ask_gate(connection, token, ask, *question, shared, now),
            (Output::Claim(ask, claim), _) => shared.jobs.push_back(Job::Claim(token, ask, claim)),
            (Output::Read(ask, range), _) => shared.reads.push((token, ask, range)),
            (Output::Note(note), _) => shared.note(*note, &connection.origin),
            (Output::Close(close), _) => {
                connection.closing = Some(close.reason.is_some());
                shared.jobs.push_back(Job::Closed(token));
            }
            (
                Output::SaveOutbound { .. }
                | Output::SaveInbound { .. }
                | Output::Deliver { .. }
                | Output::SaveNumbers { .. },
                None,
            ) => tracing::error!("a FIX connection without a stream has something to store"),
        }
    }
    if let (Some(stream), Some((epoch, number))) = (stream, given) {
        // The back end has them, since all lie in one batch; of several the last one says it.
        shared.log.acknowledged(&stream, epoch, number);
    }
    if connection.is_broken {
        return shared.jobs.push_back(Job::Broken(token));
    }
    let has_work = connection.waiting() > 0 || connection.waits || connection.closing.is_some();
    if has_work && !connection.touched {
        connection.touched = true;
        shared.touched.push(token);
    }
}

/// Puts numbers into the batch; what they were before a reset stays known until that is durable.
fn save_numbers(
    connection: &mut Connection,
    token: Token,
    (stream, numbers, durable): (&StreamKey, Numbers, bool),
    shared: &mut Shared,
) {
    if durable && numbers.epoch.reset > 0 {
        let known = shared.known(stream, connection.stated);
        let resets = known.is_some_and(|known| known.epoch < numbers.epoch);
        connection.before = known.filter(|_| resets).map(Box::new).or(connection.before.take());
    }
    connection.stated = Some(numbers);
    connection.waits |= durable || shared.failing.is_some();
    if !durable {
        shared.lazily.push(token);
    }
    shared.state(stream, &numbers);
}

/// Has a signed Logon judged; a drill holds the answer back.
fn judge(
    connection: &mut Connection,
    token: Token,
    ask: AskId,
    logon: &SignedLogon,
    shared: &mut Shared,
    now: Now,
) {
    let judged = shared.authority.judge(logon, &connection.origin);
    if let Ok(grant) = &judged.verdict {
        connection.logging_on = Some(Box::new(LoggedOn {
            since: now.wall,
            comp: Some(grant.comp),
            operator: Some(grant.operator.clone()),
            access_key: Some(grant.access_key),
            firm: Some(grant.firm_code.clone()),
            session: Some(grant.comp.session),
        }));
    }
    if shared.delay.is_zero() {
        connection.tell(|session| session.judged(ask, judged, now));
    } else {
        let due = now.mono + shared.delay;
        shared.delayed.push_back(Delayed { due, token, ask, judged, overtaken: false });
    }
}

/// Asks about a password, on a task of its own: the attempt is decided and written down even if the peer goes away.
fn ask_gate(connection: &mut Connection, token: Token, id: AskId, ask: Ask, shared: &mut Shared, now: Now) {
    let (authority, handle) = (Arc::clone(&shared.authority), shared.handle.clone());
    let origin = connection.origin.clone();
    connection.logging_on = Some(Box::new(LoggedOn { since: now.wall, ..LoggedOn::default() }));
    connection.asked = true;
    if connection.watch.is_none() {
        let (handle, ended) = (handle.clone(), Arc::clone(&origin.connection));
        connection.watch = Some(shared.runtime.spawn(async move {
            ended.ended().await;
            handle.end_person(token);
        }));
    }
    shared.runtime.spawn(async move {
        let verdict = authority.ask(ask, origin).await;
        // The door may have closed meanwhile.
        let _ = handle.tell(Command::Verdict(token, id, verdict));
    });
}

impl Shared {
    /// Has something written down that a machine saw, with what its client left behind as the log counts it.
    fn note(&mut self, mut note: Note, origin: &Origin) {
        if let (Some(stream), Some(left)) = (note.stream, note.left) {
            note.left = self.tell_left_behind(&stream, left);
            if note.left.is_none() {
                return;
            }
        }
        if let Some(record) = self.authority.record(note, origin) {
            self.decided.push(LogonSave { record: Box::new(record), numbers: None });
        }
    }

    /// Has a judgement written down for which nobody waits any more.
    pub(super) fn write_down(&mut self, judged: Judged) {
        let mut record = judged.record;
        if judged.verdict.is_ok() {
            let (check, deny) = (Check::StreamFree, Deny::NotVerified);
            record.refuse_logon(check, deny, "a connection that waits", "one that has ended");
        }
        self.decided.push(LogonSave { record, numbers: None });
    }

    /// Puts numbers into the batch. A log that failed takes nothing: the commit of this turn fails.
    fn state(&mut self, stream: &StreamKey, numbers: &Numbers) {
        if self.failing.is_none() {
            self.log.numbers(stream, numbers);
        }
    }

    /// A stream's numbers, by the log's account and another one.
    pub(super) fn known(&self, stream: &StreamKey, stated: Option<Numbers>) -> Option<Numbers> {
        match (self.log.numbers_of(stream), stated) {
            (Some(logged), Some(stated)) => Some(later(logged, stated)),
            (numbers, None) | (None, numbers) => numbers,
        }
    }

    /// Puts a message to the client into the batch, where the log takes it.
    fn store_outbound(
        &mut self,
        stream: &StreamKey,
        (epoch, number): (Epoch, u64),
        message: &[u8],
        now: Now,
    ) {
        if self.failing.is_none() {
            self.log.outbound(stream, epoch, number, now.wall, message);
            self.counts.application_out += 1;
        }
    }

    /// The same for a message from the client.
    fn store_inbound(&mut self, stream: &StreamKey, (epoch, number): (Epoch, u64), message: &[u8], now: Now) {
        if self.failing.is_none() {
            self.log.inbound(stream, epoch, number, now.wall, message);
            self.counts.application_in += 1;
        }
    }

    /// Gives a message to the back end; which one it then has.
    fn deliver(&mut self, from: &From<'_>, message: &Message<'_>) -> Option<(Epoch, u64)> {
        if self.failing.is_some() {
            return None;
        }
        self.backend.deliver(from, message, &mut self.replies);
        Some((from.epoch, from.number))
    }
}
