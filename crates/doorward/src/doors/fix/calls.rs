//! What comes through the mailbox.

use doorward_core::fix::session::{End, StreamState};
use doorward_core::id::SessionId;
use doorward_core::identity::decide::Misuse;
use doorward_core::stream::{Epoch, LeftBehind, Numbers, StreamKey};
use doorward_core::time::Now;
use tokio::sync::oneshot;

use super::connection::Connection;
use super::door::Door;
use super::mailbox::{Command, Unfit, Whose};
use super::seats::Seat;
use crate::gate::fix::{LiveStream, LogonSave, SetNext, StreamInfo};
use crate::streams::StoredMessage;

/// The greatest MsgSeqNum that a stream may be set to: nine digits, as most clients read.
const NEXT_MAX: u64 = 999_999_999;
impl Door {
    pub(super) fn open_mailbox(&mut self, now: Now) {
        let commands: Vec<Command> = self.mailbox.open().collect();
        for command in commands {
            self.carry_out_command(command, now);
        }
    }

    fn carry_out_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Verdict(token, ask, verdict) => {
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.tell(|session| session.verdict(ask, verdict, now));
                    self.drain(token, now);
                }
            }
            Command::Saved(whose, ok) => {
                for (token, ask) in whose {
                    if let Some(connection) = self.connections.get_mut(token) {
                        connection.tell(|session| session.saved(ask, ok, now));
                        self.drain(token, now);
                    }
                }
            }
            Command::End(whose, why) => self.end_those(&whose, why, now),
            Command::SetNext(ask, answer) => self.set_next(ask, answer),
            Command::NumbersSaved { stream, numbers, saved, answer } => {
                let set = self.numbers_saved(&stream, numbers, saved, now);
                // Nobody waits any more.
                let _ = answer.send(set);
            }
            Command::Send { stream, messages, answer } => {
                let sent = self.send_all(&stream, &messages, now);
                let _ = answer.send(sent);
            }
            Command::Stored(wanted, answer) => {
                let _ = answer.send(self.show_stored(&wanted));
            }
            Command::List(session, answer) => {
                let _ = answer.send(self.shown(session));
            }
            Command::Reopened(reopened) => self.reopened(*reopened, now),
            Command::Broken => self.is_broken = true,
            Command::Look => self.look_at = now.mono,
            Command::Stop { drain } => self.stop(now, drain),
        }
    }

    fn stop(&mut self, now: Now, drain: std::time::Duration) {
        self.stopping = Some(now.mono + drain);
        for listener in &mut self.listeners {
            // A socket that cannot be taken out is closed with the thread.
            let _ = self.poll.registry().deregister(&mut listener.socket);
            listener.ready = false;
        }
        for token in self.connections.tokens() {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.session.end(End::Stopping, now);
                self.drain(token, now);
            }
        }
    }

    fn end_those(&mut self, whose: &Whose, why: End, now: Now) {
        let all = match whose {
            Whose::Connection(token) => vec![*token],
            Whose::Session(_) | Whose::Narrowed(_) | Whose::Key(_) | Whose::Firm(_) | Whose::Person(_) => {
                self.connections.tokens()
            }
        };
        for token in all {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            if is_of(connection, whose) {
                connection.session.end(why, now);
                self.drain(token, now);
            }
        }
    }

    /// Sets numbers: they count once they are durable, and nobody gets the stream until then.
    fn set_next(&mut self, ask: SetNext, answer: oneshot::Sender<Result<Numbers, Misuse>>) {
        let stream = ask.stream;
        let numbers = match self.wanted_numbers(&ask) {
            Ok(numbers) => numbers,
            // Nobody waits any more.
            Err(misuse) => return drop(answer.send(Err(misuse))),
        };
        self.shared.setting.push(stream);
        let handle = self.shared.handle.clone();
        let done = move |saved| {
            // The door may have closed meanwhile.
            let _ = handle.tell(Command::NumbersSaved { stream, numbers, saved, answer });
        };
        // The stream log alone decides whether they hold: a record that comes to light later moves nothing.
        let save = LogonSave { record: ask.record, numbers: None };
        self.shared.authority.save(vec![save], Box::new(done));
    }

    fn wanted_numbers(&mut self, ask: &SetNext) -> Result<Numbers, Misuse> {
        let SetNext { stream, next_in, next_out, .. } = ask;
        let Some(settings) = self.settings_of(stream) else {
            return Err(Misuse::conflict("stream", no_listener(stream)));
        };
        if self.shared.setting.contains(stream) || self.shared.failing.is_some() {
            return Err(Misuse::conflict("stream", format!("{stream} cannot be written now; try again")));
        }
        let week = settings.week(self.week.number);
        for (field, number) in [("next_in", next_in), ("next_out", next_out)] {
            if let Some(number) = number.filter(|number| !(1..=NEXT_MAX).contains(number)) {
                return Err(Misuse::invalid(field, format!("{number} is out of range 1..={NEXT_MAX}")));
            }
        }
        if self.shared.seats.get_mut(stream).is_none() {
            self.shared.seats.keep(*stream, StreamState::new(week));
        }
        let Some(Seat::Free(state)) = self.shared.seats.get_mut(stream) else {
            let text = format!("somebody is logged on to {stream}; end the session first");
            return Err(Misuse::conflict("stream", text));
        };
        state.roll(week);
        let (since, wanted) = (state.numbers, moved(state.numbers, *next_in, *next_out)?);
        if self.carried(stream, &since, wanted.epoch).is_none() {
            let text =
                format!("{stream} has more undelivered messages than can be kept with numbers that go back");
            return Err(Misuse::conflict("next_in", text));
        }
        Ok(wanted)
    }

    /// What the client did not fetch and goes on in another epoch under the same numbers; `None` where that is too much,
    /// or cannot be read.
    fn carried(&self, stream: &StreamKey, since: &Numbers, epoch: Epoch) -> Option<Vec<StoredMessage>> {
        if epoch == since.epoch || since.unsent_from == since.unsent_to {
            return Some(Vec::new());
        }
        match self.stored(stream, since.epoch, since.unsent_from..=since.unsent_to - 1) {
            Ok((stored, whole)) => whole.then_some(stored),
            Err(fault) => {
                tracing::error!(%fault, %stream, "stored FIX messages cannot be read");
                None
            }
        }
    }

    fn numbers_saved(
        &mut self,
        stream: &StreamKey,
        numbers: Numbers,
        saved: bool,
        now: Now,
    ) -> Result<Numbers, Misuse> {
        self.shared.booked_since |= saved;
        // What the venue has sent to the stream meanwhile is found in the log then.
        self.settle(now);
        self.shared.setting.retain(|other| other != stream);
        let set = if saved { self.set_numbers(stream, numbers, now) } else { None };
        set.filter(|_| self.shared.failing.is_none()).ok_or_else(|| {
            Misuse::conflict("stream", format!("{stream}: the numbers could not be written; try again"))
        })
    }

    fn set_numbers(&mut self, stream: &StreamKey, set: Numbers, now: Now) -> Option<Numbers> {
        let Some(Seat::Free(state)) = self.shared.seats.get_mut(stream) else { return None };
        let since = state.numbers;
        let numbers = joined(since, set)?;
        let stored = self.carried(stream, &since, numbers.epoch)?;
        if let Some(Seat::Free(state)) = self.shared.seats.get_mut(stream) {
            state.numbers = numbers;
            let left = state.take_left_behind();
            self.left_behind(stream, left);
        }
        self.shared.log.state_with(stream, &numbers, &stored);
        self.settle(now);
        Some(numbers)
    }

    fn send_all(
        &mut self,
        stream: &StreamKey,
        messages: &[(Vec<u8>, Vec<u8>)],
        now: Now,
    ) -> Result<Vec<u64>, Unfit> {
        self.usable(stream)?;
        if matches!(stream, StreamKey::Person(_)) && self.shared.seats.get_mut(stream).is_none() {
            return Err(Unfit::Unknown(format!("{stream}: nobody has logged on to it yet")));
        }
        let mut numbers = Vec::with_capacity(messages.len());
        for (msg_type, body) in messages {
            match self.send(stream, msg_type, body, now) {
                Some(number) => {
                    numbers.push(number);
                    self.settle_if_much(now);
                }
                None if self.settings_of(stream).is_none() => {
                    return Err(Unfit::Unknown(no_listener(stream)));
                }
                None => {
                    let text = format!("somebody is logging on to {stream}; try again");
                    return Err(Unfit::LoggedOn(text));
                }
            }
        }
        self.made_durable(now)?;
        Ok(numbers)
    }

    fn usable(&self, stream: &StreamKey) -> Result<(), Unfit> {
        if self.settings_of(stream).is_none() {
            return Err(Unfit::Unknown(no_listener(stream)));
        }
        match &self.shared.failing {
            Some(fault) => Err(Unfit::NotSaved(fault.to_string())),
            None => Ok(()),
        }
    }

    /// Settles what has come together so far; an error where it could not be written.
    fn made_durable(&mut self, now: Now) -> Result<(), Unfit> {
        self.settle(now);
        match &self.shared.failing {
            Some(fault) => Err(Unfit::NotSaved(fault.to_string())),
            None => Ok(()),
        }
    }

    fn shown(&self, session: Option<SessionId>) -> Vec<StreamInfo> {
        let is_of = |stream: &StreamKey| match (stream, session) {
            (_, None) => true,
            (StreamKey::Session { session: of, .. }, Some(session)) => *of == session,
            (StreamKey::Person(_), Some(_)) => false,
        };
        let mut all: Vec<StreamInfo> = self
            .shared
            .seats
            .iter()
            .filter(|(stream, _)| is_of(stream))
            .filter_map(|(stream, seat)| match seat {
                Seat::Free(state) => Some(self.info(stream, state.numbers, None)),
                Seat::Held { token, .. } => {
                    let connection = self.connections.get(*token)?;
                    let numbers = connection.session.numbers()?;
                    let live = connection.session.is_live().then(|| live(connection));
                    Some(self.info(stream, numbers, live))
                }
            })
            .collect();
        all.sort_by_key(|shown| shown.stream);
        all
    }

    fn info(&self, stream: &StreamKey, numbers: Numbers, live: Option<LiveStream>) -> StreamInfo {
        let undelivered = numbers.unfetched().map_or(0, |LeftBehind { epoch, first, last, count }| {
            // Where the disk does not answer, no less than there is.
            self.shared.log.count(stream, epoch, first..=last).unwrap_or(count)
        });
        StreamInfo { stream: *stream, numbers, undelivered, live }
    }
}

fn live(connection: &Connection) -> LiveStream {
    let who = connection.logging_on.as_deref();
    LiveStream {
        source: connection.origin.source,
        since: who.map(|who| who.since).unwrap_or_default(),
        operator: who.and_then(|who| who.operator.clone()),
        access_key: who.and_then(|who| who.access_key),
    }
}

fn no_listener(stream: &StreamKey) -> String {
    format!("no listener serves {stream}; see fix.listeners")
}

/// The numbers that were set, and what the venue has sent since they were asked for: no number is used twice. `None`
/// where a later epoch has begun since.
fn joined(since: Numbers, set: Numbers) -> Option<Numbers> {
    if since.epoch > set.epoch {
        return None;
    }
    let next_out = set.next_out.max(since.next_out);
    let ceiling = if since.epoch == set.epoch { set.ceiling.max(since.ceiling) } else { set.ceiling };
    let (unsent_from, unsent_to) = if since.unsent_from < since.unsent_to {
        (since.unsent_from, since.unsent_to)
    } else {
        (next_out, next_out)
    };
    let rev = set.rev + 1;
    Some(Numbers { rev, next_out, ceiling: ceiling.max(next_out), unsent_from, unsent_to, ..set })
}

/// Whether a connection is among those that are meant.
fn is_of(connection: &Connection, whose: &Whose) -> bool {
    let who = connection.logging_on.as_deref();
    match whose {
        Whose::Connection(_) => true,
        Whose::Person(person) => connection.stream == Some(StreamKey::Person(*person)),
        // Also whoever waits for a stream of it.
        Whose::Session(session) => who.is_some_and(|who| who.session == Some(*session)),
        Whose::Narrowed(session) => who.is_some_and(|who| {
            let source = connection.origin.source;
            who.session == Some(session.id)
                && !session.keeps(who.comp, who.operator.as_ref(), who.access_key.as_ref(), source)
        }),
        Whose::Key(key) => who.is_some_and(|who| who.access_key == Some(*key)),
        Whose::Firm(firm) => who.is_some_and(|who| who.firm.as_ref() == Some(firm)),
    }
}

/// The numbers of a stream that an administrator sets. Where the client's goes back, a new incarnation begins, in which
/// ours go on: no number is used twice for different messages.
fn moved(numbers: Numbers, next_in: Option<u64>, next_out: Option<u64>) -> Result<Numbers, Misuse> {
    let (wanted_in, wanted_out) = (next_in.unwrap_or(numbers.next_in), next_out.unwrap_or(numbers.next_out));
    if wanted_out < numbers.next_out {
        let text = format!("{wanted_out} is below {}: a number is never used twice", numbers.next_out);
        return Err(Misuse::invalid("next_out", text));
    }
    if wanted_in < numbers.next_in {
        let Epoch { week, reset } = numbers.epoch;
        return Ok(Numbers {
            next_in: wanted_in,
            next_out: wanted_out,
            ceiling: wanted_out,
            unsent_from: wanted_out,
            unsent_to: wanted_out,
            ..Numbers::new(Epoch { week, reset: reset + 1 })
        });
    }
    let ceiling = numbers.ceiling.max(wanted_out);
    Ok(Numbers { rev: numbers.rev + 1, next_in: wanted_in, next_out: wanted_out, ceiling, ..numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_the_clients_that_goes_back_begins_a_new_incarnation_and_ours_never_do() {
        let now = Numbers {
            rev: 7,
            next_in: 5,
            next_out: 9,
            ceiling: 20,
            ..Numbers::new(Epoch { week: 3, reset: 1 })
        };
        let ahead = moved(now, Some(6), None).unwrap();
        assert_eq!((ahead.epoch, ahead.next_in, ahead.next_out, ahead.ceiling), (now.epoch, 6, 9, 20));
        assert!(ahead.supersedes(&now));
        let back = moved(now, Some(2), None).unwrap();
        assert_eq!(
            (back.epoch, back.next_in, back.next_out, back.ceiling),
            (Epoch { week: 3, reset: 2 }, 2, 9, 9)
        );
        assert!(back.supersedes(&now));
        assert_eq!(moved(now, None, Some(8)).unwrap_err().text, "8 is below 9: a number is never used twice");
    }

    #[test]
    fn f8_what_was_sent_while_numbers_were_set_keeps_its_numbers() {
        let before =
            Numbers { rev: 7, next_in: 5, next_out: 9, ceiling: 9, ..Numbers::new(Epoch::default()) };
        let since = Numbers { next_out: 11, ceiling: 11, unsent_from: 9, unsent_to: 11, ..before };
        for next_in in [2, 6] {
            let set = moved(before, Some(next_in), None).unwrap();
            let both = joined(since, set).unwrap();
            assert_eq!((both.epoch, both.next_in, both.next_out), (set.epoch, next_in, 11));
            assert_eq!((both.ceiling, both.unsent_from, both.unsent_to), (11, 9, 11));
            assert!(both.supersedes(&set) && both.supersedes(&since));
        }
        let next_week = Numbers::new(Epoch { week: 1, reset: 0 });
        assert_eq!(joined(next_week, moved(before, Some(2), None).unwrap()), None);
    }
}
