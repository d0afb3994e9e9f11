//! From a judged Logon to a live session: the claim, the rules of weeks and numbers, the record, the answer.

use super::gap::Gap;
use super::live::{Cx, Live, Who};
use super::logon::{Broken, Logon, in_session_rule, initial_rule, present_week_rule, week_rule};
use super::output::{Claim, Note, Wants};
use super::stream::{Claimed, StreamState};
use super::trader::SessionStatus;
use super::write::{Head, Party};
use super::{Claiming, Judging, Saving, Session, State, later};
use crate::ask::{Granted, Judged, LogonRefusal, SessionGrant};
use crate::audit::{Actor, Deny, Event, Outcome, Record};
use crate::fix::profile::InitialReset;
use crate::fix::refusal::Refusal;
use crate::fix::tag;
use crate::stream::{LeftBehind, Numbers, StreamKey};
use crate::time::Now;
use crate::trace::Check;

/// What proved who it is.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum Proof {
    /// A signature; the record is not yet committed.
    Signed { grant: Box<SessionGrant>, record: Box<Record>, strikes: u8 },
    /// A password; the gate has committed its record.
    Password { granted: Granted, status: Option<SessionStatus> },
}

/// Who is refused.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum From {
    /// Somebody whose stream is not known.
    Stranger(Party),
    /// Somebody whose stream was claimed.
    Claimed { party: Party, stream: StreamKey, state: StreamState },
    /// A session that is logged on.
    Live(Box<Live>),
}

/// What follows when a Logon's record is durable.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum AfterSave {
    /// The refusal is sent.
    Refuse { from: From, text: Vec<u8>, reason: Deny },
    /// The session begins.
    Enter { logon: Logon, live: Box<Live>, before: Numbers, ahead: Option<u64> },
    /// The session goes on with both series at 1.
    Renew { logon: Logon, live: Box<Live> },
}

/// What a Logon expects of its stream.
const NO_OTHER: &str = "no other connection";
/// What it may see instead.
pub(super) const ANOTHER: &str = "another Logon on this connection";

/// A stream that goes back.
type Left = Option<Box<(StreamKey, StreamState)>>;

impl AfterSave {
    pub(super) fn held(&self) -> Option<(StreamKey, &StreamState)> {
        match self {
            Self::Refuse { from: From::Stranger(_), .. } => None,
            Self::Refuse { from: From::Claimed { stream, state, .. }, .. } => Some((*stream, state)),
            Self::Refuse { from: From::Live(live), .. }
            | Self::Enter { live, .. }
            | Self::Renew { live, .. } => Some((live.stream, &live.state)),
        }
    }

    /// The session that was logged on before this Logon came.
    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match self {
            Self::Refuse { from: From::Live(live), .. } | Self::Renew { live, .. } => Some(live),
            Self::Refuse { from: From::Stranger(_) | From::Claimed { .. }, .. } | Self::Enter { .. } => None,
        }
    }

    pub(super) const fn is_in_session(&self) -> bool {
        matches!(self, Self::Renew { .. } | Self::Refuse { from: From::Live(_), .. })
    }

    /// The session that ends, or what else goes back.
    pub(super) fn into_held(self) -> Result<Box<Live>, Left> {
        match self {
            Self::Refuse { from: From::Stranger(_), .. } => Err(None),
            Self::Refuse { from: From::Claimed { stream, state, .. }, .. } => {
                Err(Some(Box::new((stream, state))))
            }
            // The reset was not answered: the old series hold, and the record on its way moves no number.
            Self::Refuse { from: From::Live(live), .. }
            | Self::Enter { live, .. }
            | Self::Renew { live, .. } => Ok(live),
        }
    }

    /// An application message comes from the back end.
    pub(super) fn application(&mut self, cx: &mut Cx<'_>, msg_type: &[u8], body: &[u8]) -> Option<u64> {
        match self {
            Self::Refuse { from: From::Stranger(_), .. } => None,
            Self::Refuse { from: From::Claimed { stream, state, .. }, .. } => {
                let arena = &mut cx.out.arena;
                let start = arena.len();
                let number = state.store_application(cx.settings, stream, (msg_type, body), cx.now, arena);
                let range = start..arena.len();
                cx.out.save_outbound(state.numbers.epoch, number, &range);
                Some(number)
            }
            // Nothing is sent before the Logon (F2).
            Self::Enter { live, .. } => Some(live.application(cx, msg_type, body, false)),
            Self::Refuse { from: From::Live(live), .. } | Self::Renew { live, .. } => {
                Some(live.application(cx, msg_type, body, true))
            }
        }
    }
}

impl Session {
    pub(super) fn on_judged(&mut self, judging: Judging, judged: Judged, now: Now) {
        let Judging { mut logon, live, another, .. } = judging;
        let Judged { verdict, strikes, mut record } = judged;
        let from = |live: Option<Box<Live>>, logon: &Logon| match live {
            Some(live) => From::Live(live),
            None => From::Stranger(logon.party.clone()),
        };
        if another {
            let broken = Broken {
                check: Check::StreamFree,
                deny: Deny::LogonInProgress,
                text: Refusal::InProgress.text(&[]),
                expected: NO_OTHER.to_owned(),
                seen: ANOTHER.to_owned(),
            };
            return self.refuse_broken(from(live, &logon), record, strikes, broken, now);
        }
        let grant = match (verdict, &logon.flaw) {
            (Ok(grant), None) => grant,
            // The gate was told of the flaw: a grant can only be a mistake, and lets nobody in.
            (Ok(_) | Err(LogonRefusal::Refused), flaw) => {
                let text = flaw.as_ref().map(|flaw| flaw.text.clone());
                if let Some(flaw) = flaw {
                    let broken = broken_of(flaw.check, flaw.deny);
                    refuse_record(&mut record, &broken);
                }
                let text = text.unwrap_or_else(|| Refusal::InvalidLogon.text(&[]));
                return self.save_refusal(from(live, &logon), record, text, now);
            }
            (Err(LogonRefusal::PortClosed), _) => {
                let text = self.port_closed();
                return self.save_refusal(from(live, &logon), record, text, now);
            }
            (Err(LogonRefusal::TryAgainLater), _) => {
                return self.save_refusal(from(live, &logon), record, later(), now);
            }
        };
        logon.party.operator = Some(grant.operator.clone());
        let proof = Proof::Signed { grant: Box::new(grant), record, strikes };
        match live {
            Some(live) => self.renew(logon, live, proof, now),
            None => {
                let Proof::Signed { grant, record, strikes } = proof else { return };
                if let Some(broken) = week_rule(&self.settings, now) {
                    return self.refuse_broken(From::Stranger(logon.party), record, strikes, broken, now);
                }
                let stream = grant.stream;
                self.claim(logon, stream, Proof::Signed { grant, record, strikes }, now);
            }
        }
    }

    fn port_closed(&self) -> Vec<u8> {
        Refusal::PortClosed.text(&[self.settings.venue.as_bytes()])
    }

    /// A good Logon in session: both sides begin again at 1.
    fn renew(&mut self, logon: Logon, live: Box<Live>, proof: Proof, now: Now) {
        let Proof::Signed { grant, record, strikes } = proof else { return };
        let is_own = grant.stream == live.stream && *logon.party.comp == *live.party.comp;
        let broken = if is_own { in_session_rule(&logon) } else { Some(somebody_else()) };
        if let Some(broken) = broken {
            return self.refuse_broken(From::Live(live), record, strikes, broken, now);
        }
        // Its numbers are stated together with the answer: whoever hears none goes on in the old ones, and so do we.
        let ask = self.out.save_logon(record, None);
        let then = AfterSave::Renew { logon, live };
        self.state = State::Saving(Box::new(Saving { ask, until: None, then }));
    }

    pub(super) fn claim(&mut self, logon: Logon, stream: StreamKey, proof: Proof, now: Now) {
        let wants = match (logon.resets(), self.settings.profile.initial_reset) {
            (false, _) => Wants::ToGoOn,
            (true, InitialReset::Honoured) => Wants::ToBegin,
            (true, InitialReset::Refused) => Wants::Nothing,
        };
        let ask = self.out.claim(Claim { stream, seq_num: logon.seq_num, wants });
        self.claim = Some((ask, stream));
        let until = now.mono + self.settings.profile.verify_max;
        self.state = State::Claiming(Box::new(Claiming { ask, until, logon, stream, proof }));
    }

    pub(super) fn on_claimed(&mut self, claiming: Claiming, claimed: Claimed, now: Now) {
        let Claiming { logon, stream, proof, .. } = claiming;
        self.claim = None;
        let (deny, text, seen) = match claimed {
            Claimed::Yours(state) => return self.on_yours(logon, stream, state, proof, now),
            Claimed::Live => {
                let text = Refusal::AlreadyLoggedOn.text(&[]);
                (Deny::AlreadyLoggedOn, text, "one that is logged on")
            }
            Claimed::InProgress => {
                let text = Refusal::InProgress.text(&[]);
                (Deny::LogonInProgress, text, "a Logon that is being verified")
            }
            Claimed::Unavailable => (Deny::NotVerified, later(), "it could not be told"),
        };
        let expected = NO_OTHER.to_owned();
        let broken = Broken { check: Check::StreamFree, deny, text, expected, seen: seen.to_owned() };
        self.refuse_proved(From::Stranger(logon.party), proof, broken, now);
    }

    fn on_yours(&mut self, logon: Logon, stream: StreamKey, mut state: StreamState, proof: Proof, now: Now) {
        if let Some(broken) = present_week_rule(&self.settings, &state, now) {
            let from = From::Claimed { party: logon.party, stream, state };
            return self.refuse_proved(from, proof, broken, now);
        }
        let before = state.numbers;
        let ahead = match initial_rule(&logon, &self.settings, &mut state) {
            Ok(ahead) => ahead,
            Err(broken) => {
                let from = From::Claimed { party: logon.party.clone(), stream, state };
                return self.refuse_proved(from, proof, broken, now);
            }
        };
        state.operator.clone_from(&logon.party.operator);
        reserve(&mut state.numbers);
        let numbers = state.numbers;
        let who = Box::new(who(&proof));
        let live = Box::new(Live::new(logon.party.clone(), who, stream, state, logon.heart_bt_int, now));
        match proof {
            Proof::Signed { record, .. } => {
                let ask = self.out.save_logon(record, Some(numbers));
                let until = Some(now.mono + self.settings.profile.verify_max);
                let then = AfterSave::Enter { logon, live, before, ahead };
                self.state = State::Saving(Box::new(Saving { ask, until, then }));
            }
            Proof::Password { status, .. } => {
                self.out.save_numbers(numbers, true);
                self.enter(&logon, live, ahead, status, now);
            }
        }
    }

    /// A Logon that somebody proved to have sent, refused by a rule.
    fn refuse_proved(&mut self, from: From, proof: Proof, broken: Broken, now: Now) {
        match proof {
            Proof::Signed { record, strikes, .. } => self.refuse_broken(from, record, strikes, broken, now),
            Proof::Password { granted, .. } => {
                self.out.note(Note {
                    event: Event::LogonRefused,
                    actor: Actor::Person { id: granted.person, userid: granted.userid },
                    firm: None,
                    stream: None,
                    reason: Some(broken.deny),
                    left: None,
                });
                self.refuse_from(from, &broken.text, broken.deny, now);
            }
        }
    }

    /// Refuses a Logon whose stream is being claimed.
    pub(super) fn refuse_claiming(
        &mut self,
        claiming: Claiming,
        text: Vec<u8>,
        deny: Deny,
        seen: &str,
        now: Now,
    ) {
        let (check, expected) = (Check::StreamFree, NO_OTHER.to_owned());
        let broken = Broken { check, deny, text, expected, seen: seen.to_owned() };
        self.refuse_proved(From::Stranger(claiming.logon.party), claiming.proof, broken, now);
    }

    /// Has it written down that a Logon that somebody proved to have sent led to nothing; nobody waits for that.
    pub(super) fn drop_proved(&mut self, logon: &Logon, proof: Proof, reason: Option<Deny>, seen: &str) {
        match proof {
            Proof::Signed { mut record, .. } => {
                let (check, deny) = (Check::StreamFree, reason.unwrap_or(Deny::NotVerified));
                let (text, expected) = (Vec::new(), NO_OTHER.to_owned());
                refuse_record(&mut record, &Broken { check, deny, text, expected, seen: seen.to_owned() });
                self.out.save_logon(record, None);
            }
            Proof::Password { .. } => self.refused_note(Some(logon), reason),
        }
    }

    fn refuse_broken(&mut self, from: From, mut record: Box<Record>, strikes: u8, broken: Broken, now: Now) {
        refuse_record(&mut record, &broken);
        let closes =
            is_counted(broken.deny) && strikes.checked_add(1) == Some(self.settings.profile.refusals_max);
        let text = if closes { self.port_closed() } else { broken.text };
        self.save_refusal(from, record, text, now);
    }

    fn save_refusal(&mut self, from: From, record: Box<Record>, text: Vec<u8>, now: Now) {
        let reason = record.entry.reason.unwrap_or(Deny::NotVerified);
        let ask = self.out.save_logon(record, None);
        let until = Some(now.mono + self.settings.profile.verify_max);
        let then = AfterSave::Refuse { from, text, reason };
        self.state = State::Saving(Box::new(Saving { ask, until, then }));
    }

    pub(super) fn on_saved(&mut self, then: AfterSave, ok: bool, now: Now) {
        match then {
            AfterSave::Refuse { from, text, reason } => {
                let text = if ok { text } else { later() };
                self.refuse_from(from, &text, reason, now);
            }
            AfterSave::Enter { logon, live, ahead, .. } if ok => self.enter(&logon, live, ahead, None, now),
            AfterSave::Enter { logon, live, before, .. } => {
                let Live { mut state, stream, .. } = *live;
                // A refused Logon moves nothing, even where its record comes to light later.
                state.numbers.next_in = before.next_in;
                state.numbers.rev += 1;
                self.out.save_numbers(state.numbers, false);
                self.refused_note(Some(&logon), Some(Deny::NotVerified));
                let from = From::Claimed { party: logon.party, stream, state };
                self.refuse_from(from, &later(), Deny::NotVerified, now);
            }
            AfterSave::Renew { logon, mut live } if ok => {
                let mut next = live.state.clone();
                next.reset();
                next.operator.clone_from(&logon.party.operator);
                next.numbers.next_in = 2;
                reserve(&mut next.numbers);
                let left = next.take_left_behind();
                self.out.save_numbers(next.numbers, true);
                live.renew(next, logon.party.clone(), logon.heart_bt_int);
                let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
                live.note(cx, Event::StreamReset, None, None);
                note_left(&live, &left, cx);
                live.logon(cx, &logon, None);
                self.state = State::Live(live);
                self.late_end(now);
            }
            AfterSave::Renew { live, .. } => self.log_out_now(live, &later(), Deny::NotVerified, now),
        }
    }

    /// Answers a good Logon; the session is live.
    fn enter(
        &mut self,
        logon: &Logon,
        mut live: Box<Live>,
        ahead: Option<u64>,
        status: Option<SessionStatus>,
        now: Now,
    ) {
        let left = live.state.take_left_behind();
        let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
        if logon.resets() {
            live.note(cx, Event::StreamReset, None, None);
        }
        note_left(&live, &left, cx);
        live.logon(cx, logon, status);
        if cx.settings.profile.test_request_at_logon {
            live.test_request(cx);
        }
        if let Some(seen) = ahead {
            live.open_gap(seen, cx);
            // The Logon itself was dealt with.
            live.gap.get_or_insert_with(|| Box::new(Gap::new(seen - 1, now.mono))).keep(seen, &[]);
        }
        self.state = State::Live(live);
        self.entered = true;
        self.late_end(now);
    }

    /// The end that came while the Logon was being written down.
    fn late_end(&mut self, now: Now) {
        if let Some(why) = self.ending.take() {
            self.end(why, now);
        }
    }

    /// Sends a refusal and closes.
    fn refuse_from(&mut self, from: From, text: &[u8], reason: Deny, now: Now) {
        self.send_refusal(&from, text, now);
        match from {
            From::Stranger(_) => {}
            From::Claimed { stream, state, .. } => self.left = Some(Box::new((stream, state))),
            From::Live(live) => return self.log_out_now(live, text, reason, now),
        }
        self.close(Some(reason));
    }

    /// Refuses a Logon whose refusal the gate has written down.
    pub(super) fn refuse_decided(&mut self, logon: &Logon, text: &[u8], reason: Deny, now: Now) {
        self.refuse_from(From::Stranger(logon.party.clone()), text, reason, now);
    }

    /// The same with SessionStatus (1409).
    pub(super) fn refuse_with_status(&mut self, logon: &Logon, text: &[u8], status: SessionStatus, now: Now) {
        let head = Head { number: 1, processed: None, orig: None, at: now.wall };
        let builder = logon.party.begin(&self.settings, &mut self.out.arena, b"5", &head);
        let range = builder.field(tag::TEXT, text).number(tag::SESSION_STATUS, status.number()).finish();
        self.out.send(&range);
        self.close(Some(Deny::PasswordRule));
    }

    /// The Logout of a Logon that is refused. It uses no number up: 1 to a stranger, the next one of a stream that is
    /// known.
    pub(super) fn send_refusal(&mut self, from: &From, text: &[u8], now: Now) {
        let (party, number, expected) = match from {
            From::Stranger(party) => (party, 1, None),
            From::Claimed { party, state, .. } => {
                (party, state.numbers.next_out, Some(state.numbers.next_in))
            }
            From::Live(_) => return,
        };
        let head = Head { number, processed: expected.map(|next| next - 1), orig: None, at: now.wall };
        let expected = expected.filter(|_| self.settings.profile.next_expected);
        let range = party
            .begin(&self.settings, &mut self.out.arena, b"5", &head)
            .field(tag::TEXT, text)
            .maybe_number(tag::NEXT_EXPECTED_MSG_SEQ_NUM, expected)
            .finish();
        self.out.send(&range);
    }
}

impl Live {
    /// Our Logon.
    fn logon(&mut self, cx: &mut Cx<'_>, logon: &Logon, status: Option<SessionStatus>) {
        let encrypt = cx.settings.profile.encrypt_method.then_some("0");
        let reset = logon.reset.map(|reset| if reset { "Y" } else { "N" });
        self.send(cx, b"A", |builder| {
            builder
                .maybe(tag::ENCRYPT_METHOD, encrypt)
                .number(tag::HEART_BT_INT, logon.heart_bt_int.as_secs())
                .maybe(tag::RESET_SEQ_NUM_FLAG, reset)
                .maybe_number(tag::SESSION_STATUS, status.map(SessionStatus::number))
                .raw(&logon.echo)
        });
    }
}

/// A good Logon in session, of another session than the one that is logged on.
fn somebody_else() -> Broken {
    Broken {
        check: Check::CompIdKnown,
        deny: Deny::UnknownCompId,
        text: Refusal::InvalidLogon.text(&[]),
        expected: "the SenderCompID in session".to_owned(),
        seen: "another one".to_owned(),
    }
}

/// Reserves numbers ahead, in a new statement.
fn reserve(numbers: &mut Numbers) {
    numbers.ceiling = numbers.ceiling.max(numbers.next_out + Numbers::RESERVED);
    numbers.rev += 1;
}

fn note_left(live: &Live, left: &[LeftBehind], cx: &mut Cx<'_>) {
    for left in left {
        live.note(cx, Event::UndeliveredLeft, None, Some(*left));
    }
}

fn who(proof: &Proof) -> Who {
    match proof {
        Proof::Signed { grant, .. } => Who {
            actor: Actor::FixSession {
                id: grant.comp.session,
                sender_comp_id: Some(grant.comp),
                operator: Some(grant.operator.clone()),
                access_key: Some(grant.access_key),
            },
            firm: Some(grant.firm_code.clone()),
        },
        Proof::Password { granted, .. } => {
            Who { actor: Actor::Person { id: granted.person, userid: granted.userid.clone() }, firm: None }
        }
    }
}

/// Refusals that count towards the closure of the port; the others are nobody's attempt to guess.
const fn is_counted(deny: Deny) -> bool {
    matches!(
        deny,
        Deny::UnknownCompId
            | Deny::FirstOfWeek
            | Deny::ResetNotPermitted
            | Deny::SequenceTooLow
            | Deny::InSessionSequence
    )
}

fn broken_of(check: Check, deny: Deny) -> Broken {
    Broken { check, deny, text: Vec::new(), expected: check.doc().to_owned(), seen: deny.doc().to_owned() }
}

/// Makes a record one of a refusal; one that the gate refused stays as it is.
fn refuse_record(record: &mut Record, broken: &Broken) {
    if record.entry.outcome != Outcome::Refused {
        record.refuse_logon(broken.check, broken.deny, broken.expected.as_str(), broken.seen.as_str());
    }
}
