//! A stream as a connection holds it, and as the shell keeps it while nobody is logged on.

use std::sync::Arc;

use super::write::{Head, Party};
use crate::calendar::Calendar;
use crate::fix::profile::Profile;
use crate::id::{FaultTolerance, OperatorId};
use crate::stream::{Epoch, Gateway, LeftBehind, Numbers, StreamKey};
use crate::time::Now;

/// What a listener's sessions have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What differs between kinds of listeners.
    pub profile: &'static Profile,
    /// Which gateway the listener is.
    pub gateway: Gateway,
    /// The venue's name: 49 of our messages, 56 of the client's.
    pub venue: String,
    /// Where somebody registers an authenticator.
    pub portal: Option<String>,
    /// The trading week.
    pub calendar: Arc<Calendar>,
    /// The tag of the one-time password, for profiles with one.
    pub code_tag: u32,
}

impl Settings {
    /// The tag of the one-time password where configuration says nothing.
    pub const CODE_TAG: u32 = 20_030;

    /// The week that its streams belong to while the shell is in `present`.
    pub const fn week(&self, present: u32) -> u32 {
        if self.profile.weekly { present } else { 0 }
    }
}

/// The answer to a [`Claim`](super::Claim).
#[derive(Clone, Debug)]
pub enum Claimed {
    /// The stream is this connection's from now on, until [`Session::release`](super::Session::release).
    Yours(StreamState),
    /// Another connection holds it: it answered the probe, or the claim deserved none.
    Live,
    /// Another connection's Logon for it is being verified.
    InProgress,
    /// It cannot be told.
    Unavailable,
}

/// Where a stream stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamState {
    /// Its numbers.
    pub numbers: Numbers,
    /// The operator who was logged on last.
    pub operator: Option<OperatorId>,
    left_behind: Vec<LeftBehind>,
}

impl StreamState {
    /// A stream that nobody has used yet, in a week as [`Settings::week`] says it.
    pub const fn new(week: u32) -> Self {
        Self::with(Numbers::new(Epoch { week, reset: 0 }))
    }

    /// A stream that goes on with these numbers.
    pub const fn with(numbers: Numbers) -> Self {
        Self { numbers, operator: None, left_behind: Vec::new() }
    }

    /// Begins a week, as [`Settings::week`] says it, where the stream is still in an earlier one; says whether it did.
    ///
    /// To be called before each use of a stream that nobody holds. The roll is told of with the next statement of
    /// numbers; until then it comes out the same after a crash.
    pub fn roll(&mut self, week: u32) -> bool {
        let rolls = week > self.numbers.epoch.week;
        if rolls {
            self.begin(Epoch { week, reset: 0 });
        }
        rolls
    }

    /// Begins the next incarnation in the same week.
    pub(super) fn reset(&mut self) {
        let Epoch { week, reset } = self.numbers.epoch;
        self.begin(Epoch { week, reset: reset + 1 });
    }

    fn begin(&mut self, epoch: Epoch) {
        self.left_behind.extend(self.numbers.unfetched());
        self.numbers = Numbers::new(epoch);
    }

    /// What was not fetched before the numbers began anew, since this was last asked.
    pub fn take_left_behind(&mut self) -> Vec<LeftBehind> {
        std::mem::take(&mut self.left_behind)
    }

    /// Numbers and builds an application message for a client that is not logged on, behind what `out` holds. It is
    /// to be stored under the number that comes back, in the epoch that [`Self::numbers`] then has.
    pub fn store_application(
        &mut self,
        settings: &Settings,
        stream: &StreamKey,
        (msg_type, body): (&[u8], &[u8]),
        now: Now,
        out: &mut Vec<u8>,
    ) -> u64 {
        let party = Party {
            begin_string: settings.profile.begin_strings.first().copied().unwrap_or_default(),
            comp: match stream {
                StreamKey::Session { session, firm, .. } => {
                    let comp = crate::id::CompId {
                        session: *session,
                        firm: *firm,
                        indicator: FaultTolerance::Without,
                    };
                    comp.to_bytes().into()
                }
                // Written when it is sent again.
                StreamKey::Person(_) => Box::default(),
            },
            operator: self.operator.clone(),
        };
        let number = self.number_unsent();
        let head = Head { number, processed: Some(self.numbers.next_in - 1), orig: None, at: now.wall };
        party.begin(settings, out, msg_type, &head).raw(body).finish();
        number
    }

    /// A number for a message that is stored and not sent now.
    pub(super) fn number_unsent(&mut self) -> u64 {
        let numbers = &mut self.numbers;
        let number = numbers.next_out;
        if numbers.unsent_from == numbers.unsent_to {
            numbers.unsent_from = number;
        }
        numbers.next_out += 1;
        numbers.unsent_to = numbers.next_out;
        numbers.ceiling = numbers.ceiling.max(numbers.next_out);
        number
    }

    /// The number of a message of ours goes out again, or what lies before it is filled.
    pub(super) const fn sent_up_to(&mut self, number: u64) {
        let numbers = &mut self.numbers;
        if numbers.unsent_from <= number {
            let from = number + 1;
            numbers.unsent_from = if from < numbers.unsent_to { from } else { numbers.unsent_to };
        }
    }
}

/// Why the shell ends a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The trading week closes. Sessions of a profile without weeks go on.
    WeekClosed,
    /// The node stops.
    Stopping,
    /// The key pair was deleted.
    KeyEnded,
    /// The FIX session was disabled.
    SessionEnded,
    /// The person was disabled, or lost password or authenticator.
    PersonEnded,
    /// An operator ended the session.
    ByOperator,
    /// The stream could not be written down: closes without a word.
    NotSaved,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_a_week_begins_once_and_never_again() {
        let mut state = StreamState::new(7);
        state.numbers.next_in = 5;
        state.numbers.next_out = 9;
        let used = state.numbers;
        assert!(!state.roll(7), "it is in that week already");
        assert!(!state.roll(6), "a week that is over does not come again");
        assert_eq!(state.numbers, used);
        assert!(state.roll(8));
        assert_eq!(state.numbers, Numbers::new(Epoch { week: 8, reset: 0 }));
        state.numbers.next_out = 3;
        let used = state.numbers;
        assert!(!state.roll(8));
        assert_eq!(state.numbers, used);
    }
}
