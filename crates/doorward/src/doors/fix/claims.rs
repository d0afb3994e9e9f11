//! Who gets a stream: the first comes first, a live one is asked whether it is still there.

use doorward_core::ask::AskId;
use doorward_core::fix::session::{Claim, Claimed, Settings, StreamState};
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Now;

use super::door::{Door, Job};
use super::drive::carry_out;
use super::seats::{Challenger, Seat};
use super::slab::Token;

impl Door {
    /// Answers a claim, now or once the present holder was heard of.
    pub(super) fn claim(&mut self, token: Token, ask: AskId, claim: Claim, now: Now) {
        let overtaken = self.shared.overtaken.iter().position(|other| *other == token);
        let overtaken = overtaken.map(|at| self.shared.overtaken.swap_remove(at)).is_some();
        if self.shared.failing.is_some() || self.shared.setting.contains(&claim.stream) {
            return self.claimed(token, ask, Claimed::Unavailable, now);
        }
        if overtaken {
            return self.claimed(token, ask, Claimed::InProgress, now);
        }
        self.free_orphan(&claim.stream, None, now);
        match self.shared.seats.holder(&claim.stream) {
            None => self.seat(token, ask, claim.stream, now),
            Some(holder) => self.challenge(holder, Challenger { token, ask }, claim, now),
        }
    }

    /// Gives a free stream to a connection.
    fn seat(&mut self, token: Token, ask: AskId, stream: StreamKey, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let week = self.listeners[connection.listener].settings.week(self.week.number);
        let state = self.shared.seats.take(stream, token, || StreamState::new(week));
        let Some(mut state) = state else { return };
        state.roll(week);
        connection.stream = Some(stream);
        for delayed in &mut self.shared.delayed {
            let wanted = delayed.judged.verdict.as_ref().is_ok_and(|grant| grant.stream == stream);
            delayed.overtaken |= wanted && delayed.token != token;
        }
        self.claimed(token, ask, Claimed::Yours(state), now);
    }

    fn challenge(&mut self, holder: Token, challenger: Challenger, claim: Claim, now: Now) {
        let Challenger { token, ask } = challenger;
        let Some(Seat::Held { challenger: waiting, .. }) = self.shared.seats.get_mut(&claim.stream) else {
            return;
        };
        // One that waited, and was refused or has gone meanwhile, waits no more.
        let is_there = |token| self.connections.get(token).is_some_and(|other| !other.session.is_closed());
        *waiting = waiting.filter(|waiting| is_there(waiting.token));
        let Some(live) = self.connections.get_mut(holder) else { return };
        let numbers = live.session.numbers().filter(|_| holder != token);
        let answer = match numbers {
            // Its Logon is not answered yet.
            _ if !live.session.is_live() && live.closing.is_none() => Claimed::InProgress,
            _ if live.session.is_renewing() => Claimed::InProgress,
            _ if waiting.is_some() => Claimed::InProgress,
            Some(numbers) if claim.deserves_probe(&numbers) => {
                *waiting = Some(challenger);
                live.challenged = true;
                live.session.probe(now);
                carry_out(live, holder, &mut self.shared, now);
                return self.arm(holder);
            }
            Some(_) | None => Claimed::Live,
        };
        self.claimed(token, ask, answer, now);
    }

    fn claimed(&mut self, token: Token, ask: AskId, claimed: Claimed, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.tell(|session| session.claimed(ask, claimed, now));
        self.carry_out(token, now);
        // A connection that has ended gives it back at once.
        self.shared.jobs.push_back(Job::Closed(token));
    }

    /// Something came from a connection whose peer was asked whether it is there.
    pub(super) fn heard_of(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if !connection.challenged || connection.session.is_probed() || connection.session.is_closed() {
            return;
        }
        connection.challenged = false;
        let Some(stream) = connection.stream else { return };
        let Some(Seat::Held { challenger, .. }) = self.shared.seats.get_mut(&stream) else { return };
        if let Some(Challenger { token, ask }) = challenger.take() {
            self.claimed(token, ask, Claimed::Live, now);
            self.drain(token, now);
        }
    }

    /// Takes back the stream of a connection that has closed.
    pub(super) fn release(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let Some((stream, state)) = connection.session.release() else { return };
        connection.stream = None;
        connection.challenged = false;
        self.pass_on(stream, state, now);
    }

    /// Keeps a stream, or gives it to whoever waited for it.
    pub(super) fn pass_on(&mut self, stream: StreamKey, state: StreamState, now: Now) {
        let waiting = self.shared.seats.keep(stream, state);
        match waiting {
            Some(Challenger { token, ask }) if self.shared.failing.is_some() => {
                self.claimed(token, ask, Claimed::Unavailable, now);
            }
            Some(Challenger { token, ask }) => self.seat(token, ask, stream, now),
            None => {}
        }
    }

    /// Frees a stream whose holder has gone without giving it back: it goes on as after a crash. `stated`: the numbers
    /// that the holder stated last.
    pub(super) fn free_orphan(&mut self, stream: &StreamKey, stated: Option<Numbers>, now: Now) {
        let Some(holder) = self.shared.seats.holder(stream) else { return };
        if self.connections.get(holder).is_some() {
            return;
        }
        tracing::error!(%stream, "a FIX connection has gone without its stream, which goes on as after a crash");
        let numbers = match self.shared.known(stream, stated) {
            Some(numbers) => numbers,
            // Never was a number of it stated.
            None => match self.settings_of(stream) {
                Some(settings) => StreamState::new(settings.week(self.week.number)).numbers,
                None => return,
            },
        };
        self.pass_on(*stream, StreamState::with(numbers.after_crash()), now);
    }

    /// What streams of a kind are written with; `None` where no listener serves them.
    pub(super) fn settings_of(&self, stream: &StreamKey) -> Option<std::sync::Arc<Settings>> {
        let serves = |settings: &Settings| match stream {
            StreamKey::Session { gateway, .. } => settings.profile.weekly && settings.gateway == *gateway,
            StreamKey::Person(_) => !settings.profile.weekly,
        };
        let listener = self.listeners.iter().find(|listener| serves(&listener.settings))?;
        Some(std::sync::Arc::clone(&listener.settings))
    }

    /// Numbers and stores an application message for a stream that nobody is logged on to.
    pub(super) fn store(
        &mut self,
        stream: &StreamKey,
        msg_type: &[u8],
        body: &[u8],
        now: Now,
    ) -> Option<u64> {
        let settings = self.settings_of(stream)?;
        self.free_orphan(stream, None, now);
        let week = settings.week(self.week.number);
        if self.shared.seats.get_mut(stream).is_none() {
            self.shared.seats.keep(*stream, StreamState::new(week));
        }
        let Some(Seat::Free(state)) = self.shared.seats.get_mut(stream) else { return None };
        let mut bytes = std::mem::take(&mut self.shared.scratch);
        bytes.clear();
        state.roll(week);
        let number = state.store_application(&settings, stream, (msg_type, body), now, &mut bytes);
        let numbers = state.numbers;
        let left = state.take_left_behind();
        self.shared.log.outbound(stream, numbers.epoch, number, now.wall, &bytes);
        self.shared.log.numbers(stream, &numbers);
        self.shared.counts.application_out += 1;
        self.shared.scratch = bytes;
        self.left_behind(stream, left);
        Some(number)
    }
}
