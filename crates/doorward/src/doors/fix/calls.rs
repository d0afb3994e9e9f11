//! What comes through the mailbox.

use doorward_core::fix::session::{End, StreamState};
use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Now;

use super::connection::Connection;
use super::door::Door;
use super::mailbox::{Command, LiveSession, StreamShown, Unfit, Whose};
use super::seats::Seat;
use super::slab::Token;

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
                    connection.session.verdict(ask, verdict, now);
                    self.drain(token, now);
                }
            }
            Command::Saved(whose, ok) => {
                for (token, ask) in whose {
                    if let Some(connection) = self.connections.get_mut(token) {
                        connection.session.saved(ask, ok, now);
                        self.drain(token, now);
                    }
                }
            }
            Command::End(whose, why, answer) => {
                let ended = self.end_those(&whose, why, now);
                if let Some(answer) = answer {
                    // Nobody waits any more.
                    let _ = answer.send(ended);
                }
            }
            Command::SetNext { stream, next_in, next_out, answer } => {
                let set = self.set_next(&stream, next_in, next_out, now);
                let _ = answer.send(set);
            }
            Command::Send { stream, messages, answer } => {
                let sent = self.send_all(&stream, &messages, now);
                let _ = answer.send(sent);
            }
            Command::List(answer) => {
                let _ = answer.send(self.shown());
            }
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

    fn end_those(&mut self, whose: &Whose, why: End, now: Now) -> usize {
        let all: Vec<Token> = match whose {
            Whose::Connection(token) => vec![*token],
            Whose::Stream(stream) => self.shared.seats.holder(stream).into_iter().collect(),
            Whose::Session(_) | Whose::Key(_) | Whose::Firm(_) => self.connections.tokens(),
        };
        let mut ended = 0;
        for token in all {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            if is_of(connection, whose) {
                ended += 1;
                connection.session.end(why, now);
                self.drain(token, now);
            }
        }
        ended
    }

    fn set_next(
        &mut self,
        stream: &StreamKey,
        next_in: Option<u64>,
        next_out: Option<u64>,
        now: Now,
    ) -> Result<Numbers, Unfit> {
        self.usable(stream)?;
        for (name, number) in [("next inbound", next_in), ("next outbound", next_out)] {
            if let Some(number) = number.filter(|number| !(1..=NEXT_MAX).contains(number)) {
                return Err(Unfit::Numbers(format!("{name} {number} is out of range 1..={NEXT_MAX}")));
            }
        }
        let settings = self.settings_of(stream);
        let Some(settings) = settings else { return Err(no_listener(stream)) };
        if self.shared.seats.get_mut(stream).is_none() {
            self.shared.seats.keep(*stream, StreamState::new(&settings, now));
        }
        let Some(Seat::Free(state)) = self.shared.seats.get_mut(stream) else {
            return Err(Unfit::LoggedOn(format!("somebody is logged on to {stream}; end the session first")));
        };
        state.roll(&settings, now);
        let numbers = moved(state.numbers, next_in, next_out);
        state.numbers = numbers;
        self.shared.log.numbers(stream, &numbers);
        self.made_durable(now)?;
        Ok(numbers)
    }

    fn send_all(
        &mut self,
        stream: &StreamKey,
        messages: &[(Vec<u8>, Vec<u8>)],
        now: Now,
    ) -> Result<Vec<u64>, Unfit> {
        self.usable(stream)?;
        let mut numbers = Vec::with_capacity(messages.len());
        for (msg_type, body) in messages {
            match self.send(stream, msg_type, body, now) {
                Some(number) => numbers.push(number),
                None if self.settings_of(stream).is_none() => return Err(no_listener(stream)),
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
            return Err(no_listener(stream));
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

    fn shown(&self) -> Vec<StreamShown> {
        let mut all: Vec<StreamShown> = self
            .shared
            .seats
            .iter()
            .filter_map(|(stream, seat)| match seat {
                Seat::Free(state) => {
                    Some(StreamShown { stream: *stream, numbers: state.numbers, live: None })
                }
                Seat::Held { token, .. } => {
                    let connection = self.connections.get(*token)?;
                    let numbers = connection.session.numbers()?;
                    let live = connection.session.is_live().then(|| self.live(*stream, numbers, connection));
                    Some(StreamShown { stream: *stream, numbers, live })
                }
            })
            .collect();
        all.sort_by_key(|shown| shown.stream);
        all
    }

    fn live(&self, stream: StreamKey, numbers: Numbers, connection: &Connection) -> LiveSession {
        let who = connection.logging_on.as_deref();
        LiveSession {
            stream,
            listener: self.listeners[connection.listener].name.clone(),
            source: connection.origin.source,
            since: who.map(|who| who.since).unwrap_or_default(),
            operator: who.and_then(|who| who.operator.clone()),
            access_key: who.and_then(|who| who.access_key),
            numbers,
            waiting_bytes: connection.waiting() as u64,
        }
    }
}

fn no_listener(stream: &StreamKey) -> Unfit {
    Unfit::Unknown(format!("no listener serves {stream}; see fix.listeners"))
}

/// Whether a connection is among those that are meant.
fn is_of(connection: &Connection, whose: &Whose) -> bool {
    let who = connection.logging_on.as_deref();
    match whose {
        Whose::Connection(_) => true,
        Whose::Stream(_) => connection.session.is_live(),
        Whose::Session(session) => {
            matches!(connection.stream, Some(StreamKey::Session { session: held, .. }) if held == *session)
        }
        Whose::Key(key) => who.is_some_and(|who| who.access_key == Some(*key)),
        Whose::Firm(firm) => who.is_some_and(|who| who.firm.as_ref() == Some(firm)),
    }
}

/// The numbers of a stream that an operator sets. Where one goes back, a new incarnation begins, so that no number is
/// used twice for different messages.
fn moved(numbers: Numbers, next_in: Option<u64>, next_out: Option<u64>) -> Numbers {
    let (wanted_in, wanted_out) = (next_in.unwrap_or(numbers.next_in), next_out.unwrap_or(numbers.next_out));
    if wanted_in < numbers.next_in || wanted_out < numbers.next_out {
        let Epoch { week, reset } = numbers.epoch;
        return Numbers {
            next_in: wanted_in,
            next_out: wanted_out,
            ceiling: wanted_out,
            unsent_from: wanted_out,
            unsent_to: wanted_out,
            ..Numbers::new(Epoch { week, reset: reset + 1 })
        };
    }
    let ceiling = numbers.ceiling.max(wanted_out);
    Numbers { rev: numbers.rev + 1, next_in: wanted_in, next_out: wanted_out, ceiling, ..numbers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_goes_back_begins_a_new_incarnation() {
        let now = Numbers {
            rev: 7,
            next_in: 5,
            next_out: 9,
            ceiling: 20,
            ..Numbers::new(Epoch { week: 3, reset: 1 })
        };
        let ahead = moved(now, Some(6), None);
        assert_eq!((ahead.epoch, ahead.next_in, ahead.next_out, ahead.ceiling), (now.epoch, 6, 9, 20));
        assert!(ahead.supersedes(&now));
        let back = moved(now, None, Some(2));
        assert_eq!(
            (back.epoch, back.next_in, back.next_out, back.ceiling),
            (Epoch { week: 3, reset: 2 }, 5, 2, 2)
        );
        assert!(back.supersedes(&now));
    }
}
