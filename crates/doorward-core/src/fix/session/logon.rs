//! The first message: what a Logon says, what is wrong with it, and where its stream goes on.

use std::time::Duration;

use super::peer::{incorrect, not_present};
use super::stream::{Settings, StreamState};
use super::write::Party;
use crate::ask::SignedLogon;
use crate::audit::{Actor, Deny};
use crate::fix::build::push_number;
use crate::fix::message::{Message, UtcTimestamp, seq_num, utc_timestamp};
use crate::fix::profile::{Credentials, Expected, InitialReset};
use crate::fix::refusal::Refusal;
use crate::fix::signature::{self, Scheme};
use crate::fix::tag;
use crate::id::{CompId, FaultTolerance, OperatorId};
use crate::time::{Now, Wall};
use crate::trace::Check;

/// Whether a Logon is the first one of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The first message.
    Initial,
    /// On a session whose SenderCompID is known.
    InSession(CompId),
}

/// What a Logon said, as far as it is needed when its bytes are gone.
#[derive(Clone, Debug)]
pub(super) struct Logon {
    pub(super) party: Party,
    pub(super) seq_num: u64,
    pub(super) heart_bt_int: Duration,
    /// ResetSeqNumFlag (141), where it was given.
    pub(super) reset: Option<bool>,
    /// Fields that ours repeats, as bytes.
    pub(super) echo: Box<[u8]>,
    /// What the door itself found wrong, and the words for it.
    pub(super) flaw: Option<Flaw>,
}

/// Something wrong that needs no secret to be seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flaw {
    pub(super) check: Check,
    pub(super) deny: Deny,
    pub(super) text: Vec<u8>,
}

/// The repeated fields of most Logons fit it.
const ECHO_USUAL_BYTES: usize = 64;

impl Flaw {
    fn silent(check: Check, deny: Deny, settings: &Settings) -> Self {
        let text = match settings.profile.credentials {
            Credentials::Signature(_) => Refusal::InvalidLogon,
            Credentials::Password => Refusal::InvalidUser,
        };
        Self { check, deny, text: text.text(&[]) }
    }
}

impl Logon {
    /// Reads a Logon; `None` where it has no SenderCompID (49), so that nobody can be answered. `lengths_lie` where a
    /// data field was not as long as it said.
    pub(super) fn read(
        message: &Message<'_>,
        settings: &Settings,
        place: Place,
        lengths_lie: bool,
    ) -> Option<Self> {
        let sender = message.get(tag::SENDER_COMP_ID).filter(|sender| !sender.is_empty())?;
        let profile = settings.profile;
        let begin_string = profile
            .begin_strings
            .iter()
            .find(|known| known.as_bytes() == message.begin_string())
            .or(profile.begin_strings.first())
            .copied()
            .unwrap_or_default();
        let operator = message.get(tag::SENDER_SUB_ID).and_then(OperatorId::parse);
        let mut echo = Vec::with_capacity(ECHO_USUAL_BYTES);
        for tag in profile.echo {
            if let Some(value) = message.get(*tag).filter(|value| !value.is_empty()) {
                push_number(&mut echo, u64::from(*tag));
                echo.push(b'=');
                echo.extend_from_slice(value);
                echo.push(crate::fix::SOH);
            }
        }
        let heart_s = message.get(tag::HEART_BT_INT).and_then(seq_num).unwrap_or(0);
        Some(Self {
            party: Party { begin_string, comp: sender.into(), operator },
            seq_num: message.get(tag::MSG_SEQ_NUM).and_then(seq_num).unwrap_or(0),
            heart_bt_int: Duration::from_secs(heart_s),
            reset: match message.get(tag::RESET_SEQ_NUM_FLAG) {
                Some(b"Y") => Some(true),
                Some(b"N") => Some(false),
                Some(_) | None => None,
            },
            echo: echo.into(),
            flaw: flaw(message, settings, place, lengths_lie),
        })
    }

    /// The ask for a signed Logon.
    pub(super) fn signed(
        &self,
        message: &Message<'_>,
        settings: &Settings,
        place: Place,
        scheme: &Scheme,
        now: Now,
    ) -> SignedLogon {
        let value = |tag| message.get(tag).unwrap_or_default().to_vec();
        let mut canonical = Vec::with_capacity(128);
        signature::canonical(scheme, message, &mut canonical);
        SignedLogon {
            sender_comp_id: self.party.comp.to_vec(),
            operator_id: value(tag::SENDER_SUB_ID),
            gateway: settings.gateway,
            access_key_id: value(scheme.key_id),
            canonical,
            signature: message.get(scheme.signature).and_then(signature::decode_signature),
            sending_time: message.get(tag::SENDING_TIME).and_then(sending_time_ms),
            seq_num: self.seq_num,
            received: now.wall,
            flaw: self.flaw.as_ref().map(|flaw| (flaw.check, flaw.deny)),
            in_session: match place {
                Place::Initial => None,
                Place::InSession(comp) => Some(comp),
            },
        }
    }

    pub(super) fn resets(&self) -> bool {
        self.reset == Some(true)
    }

    /// Who it says it is, for the audit trail.
    pub(super) fn actor(&self) -> Actor {
        match CompId::parse(&self.party.comp) {
            Some(comp) => Actor::FixSession {
                id: comp.session,
                sender_comp_id: Some(comp),
                operator: self.party.operator.clone(),
                access_key: None,
            },
            None => Actor::unknown(&String::from_utf8_lossy(&self.party.comp)),
        }
    }
}

/// SendingTime (52) of a signed Logon: to the millisecond.
fn sending_time_ms(value: &[u8]) -> Option<Wall> {
    let UtcTimestamp { wall, fraction_digits } = utc_timestamp(value)?;
    (fraction_digits == 3).then_some(wall)
}

/// The first thing wrong with a Logon that can be seen without a secret, in the order of the page.
fn flaw(message: &Message<'_>, settings: &Settings, place: Place, lengths_lie: bool) -> Option<Flaw> {
    ill_formed(message, settings, lengths_lie)
        .or_else(|| missing(message, settings))
        .or_else(|| header(message, settings))
        .or_else(|| heart_bt_int(message, settings))
        .or_else(|| credentials(message, settings))
        .or_else(|| numbers(message, settings))
        .or_else(|| indicator(message, settings, place))
}

/// Two readings of one Logon must not be possible, and nothing unsigned may change what it means (F10, F11).
fn ill_formed(message: &Message<'_>, settings: &Settings, lengths_lie: bool) -> Option<Flaw> {
    let never = [tag::POSS_DUP_FLAG, tag::POSS_RESEND, tag::ORIG_SENDING_TIME];
    let differs = |length: u32| {
        tag::data_of(length).and_then(|data| message.get(data)).is_some_and(|data| {
            message.get(length).is_some_and(|says| seq_num(says) != Some(data.len() as u64))
        })
    };
    let (control, lengths) = match settings.profile.credentials {
        Credentials::Signature(scheme) => {
            (signature::control_character(scheme, message), [scheme.key_id_len, scheme.signature_len])
        }
        Credentials::Password => (None, [tag::RAW_DATA_LENGTH, tag::ENCODED_TEXT_LEN]),
    };
    let deny = if message.has_repeated().is_some() {
        Deny::RepeatedTag
    } else if lengths_lie || lengths.into_iter().any(differs) {
        Deny::LengthDiffers
    } else if control.is_some() {
        Deny::ControlCharacter
    } else if never.into_iter().any(|tag| message.get(tag).is_some()) {
        Deny::TagNotPermitted
    } else {
        return None;
    };
    Some(Flaw::silent(Check::LogonWellFormed, deny, settings))
}

fn missing(message: &Message<'_>, settings: &Settings) -> Option<Flaw> {
    let profile = settings.profile;
    let is_missing = |tag: &u32| message.get(*tag).is_none_or(<[u8]>::is_empty);
    let named = |check, tag: u32| Flaw {
        check,
        deny: Deny::MissingTag,
        text: Refusal::MissingTag.text(&[tag.to_string().as_bytes()]),
    };
    let credentials = profile.credential_tags;
    if !credentials.is_empty() && credentials.iter().all(is_missing) {
        let text = profile.text_without_credentials.as_bytes().to_vec();
        return Some(Flaw { check: Check::CredentialsGiven, deny: Deny::MissingTag, text });
    }
    if let Some(tag) = credentials.iter().find(|tag| is_missing(tag)) {
        return Some(named(Check::CredentialsGiven, *tag));
    }
    profile.required_tags.iter().find(|tag| is_missing(tag)).map(|tag| named(Check::FieldsGiven, *tag))
}

fn header(message: &Message<'_>, settings: &Settings) -> Option<Flaw> {
    let profile = settings.profile;
    let wrong = |text| Some(Flaw { check: Check::HeaderRight, deny: Deny::WrongHeader, text });
    let begin_string = message.begin_string();
    if !profile.begin_strings.iter().any(|known| known.as_bytes() == begin_string) {
        let expected = profile.begin_strings.join(" or ");
        return wrong(incorrect(tag::BEGIN_STRING, begin_string, expected.as_bytes()));
    }
    for (tag, expected) in profile.header.iter().copied() {
        let Some(seen) = message.get(tag).filter(|seen| !seen.is_empty()) else {
            return wrong(not_present(tag));
        };
        let expected = match expected {
            Expected::Given => continue,
            Expected::Venue => settings.venue.as_bytes(),
            Expected::Gateway => settings.gateway.sub_id(),
        };
        if seen != expected {
            return wrong(incorrect(tag, seen, expected));
        }
    }
    if profile.encrypt_method {
        match message.get(tag::ENCRYPT_METHOD) {
            None | Some([]) => return wrong(not_present(tag::ENCRYPT_METHOD)),
            Some(b"0") => {}
            Some(other) => return wrong(incorrect(tag::ENCRYPT_METHOD, other, b"0")),
        }
    }
    None
}

fn heart_bt_int(message: &Message<'_>, settings: &Settings) -> Option<Flaw> {
    let (least, most) = settings.profile.heart_bt_int_s;
    let text = match message.get(tag::HEART_BT_INT) {
        None | Some([]) => Refusal::HeartBtIntMissing.text(&[]),
        Some(value) if seq_num(value).is_some_and(|s| (least..=most).contains(&s)) => return None,
        Some(value) => Refusal::HeartBtIntRange.text(&[value, format!("{least}-{most}").as_bytes()]),
    };
    Some(Flaw { check: Check::HeartBtIntRight, deny: Deny::WrongHeartBtInt, text })
}

fn credentials(message: &Message<'_>, settings: &Settings) -> Option<Flaw> {
    let Credentials::Signature(scheme) = settings.profile.credentials else { return None };
    if message.get(scheme.method) != Some(scheme.name.as_bytes()) {
        let text = Refusal::WrongScheme.text(&[]);
        return Some(Flaw { check: Check::SchemeNamed, deny: Deny::WrongScheme, text });
    }
    let decodes = message.get(scheme.signature).and_then(signature::decode_signature).is_some();
    (!decodes).then(|| Flaw::silent(Check::SignatureDecodes, Deny::BadSignature, settings))
}

/// MsgSeqNum (34) must be a number from 1, and no field empty.
fn numbers(message: &Message<'_>, settings: &Settings) -> Option<Flaw> {
    let number = message.get(tag::MSG_SEQ_NUM).and_then(seq_num).unwrap_or(0);
    let wrong = number == 0 || message.first_empty().is_some();
    wrong.then(|| Flaw::silent(Check::FieldsGiven, Deny::MissingTag, settings))
}

fn indicator(message: &Message<'_>, settings: &Settings, place: Place) -> Option<Flaw> {
    if !settings.profile.indicator {
        return None;
    }
    let comp = CompId::parse(message.get(tag::SENDER_COMP_ID).unwrap_or_default())?;
    let seen = [comp.indicator.as_byte()];
    let text = match (place, comp.indicator) {
        (Place::InSession(own), indicator) if own.indicator == indicator => return None,
        (Place::InSession(_), _) => Refusal::WrongIndicator.text(&[&seen]),
        (Place::Initial, FaultTolerance::Without) => return None,
        (Place::Initial, FaultTolerance::Primary | FaultTolerance::Backup) => {
            Refusal::InitialIndicator.text(&[&seen])
        }
        // Not before there are primaries and backups.
        (Place::Initial, FaultTolerance::Undefined) => Refusal::InvalidLogon.text(&[]),
    };
    Some(Flaw { check: Check::IndicatorPermitted, deny: Deny::WrongIndicator, text })
}

/// A Logon whose credentials were good, refused by a rule of weeks or numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    pub(super) check: Check,
    pub(super) deny: Deny,
    pub(super) text: Vec<u8>,
    pub(super) expected: String,
    pub(super) seen: String,
}

/// Whether the week is open for a new login.
pub(super) fn week_rule(settings: &Settings, now: Now) -> Option<Broken> {
    if !settings.profile.weekly || settings.calendar.is_open(now.wall) {
        return None;
    }
    let opens = settings.calendar.next_open(now.wall).to_string();
    Some(Broken {
        check: Check::WeekOpen,
        deny: Deny::WeekClosed,
        text: Refusal::ClosedUntil.text(&[opens.as_bytes()]),
        expected: "an open week".to_owned(),
        seen: format!("closed until {opens}"),
    })
}

/// Whether the shell is in the week that the clock shows. It begins none by a clock that may be wrong (T4), and till
/// then no Logon of that week may be held against the numbers of an earlier one.
pub(super) fn present_week_rule(settings: &Settings, state: &StreamState, now: Now) -> Option<Broken> {
    let (week, begun) = (settings.calendar.week(now.wall), state.numbers.epoch.week);
    (settings.profile.weekly && week > begun).then(|| Broken {
        check: Check::WeekOpen,
        deny: Deny::NotVerified,
        text: Refusal::TryAgainLater.text(&[]),
        expected: format!("week {week}, as the clock shows"),
        seen: format!("week {begun}, which the clock has not been trusted to end"),
    })
}

/// Applies the rules of numbers to an initial Logon and moves the stream on: the first message that is missing, where
/// the client is ahead.
pub(super) fn initial_rule(
    logon: &Logon,
    settings: &Settings,
    state: &mut StreamState,
) -> Result<Option<u64>, Broken> {
    let seen = logon.seq_num;
    let broken = |check, deny, refusal: Refusal, values: &[&[u8]], expected: String, seen: String| Broken {
        check,
        deny,
        text: refusal.text(values),
        expected,
        seen,
    };
    if logon.resets() {
        match settings.profile.initial_reset {
            InitialReset::Refused => {
                let (expected, seen) = ("141 absent or N".to_owned(), "141=Y".to_owned());
                let (check, deny) = (Check::ResetFlagRight, Deny::ResetNotPermitted);
                return Err(broken(check, deny, Refusal::ResetFlag, &[], expected, seen));
            }
            InitialReset::Honoured => state.reset(),
        }
    }
    let next = state.numbers.next_in;
    if settings.profile.weekly && state.numbers.is_unused() && seen != 1 {
        let (check, deny) = (Check::SequenceRight, Deny::FirstOfWeek);
        return Err(broken(check, deny, Refusal::FirstOfWeek, &[], "34=1".to_owned(), format!("34={seen}")));
    }
    if seen < next {
        let values = [next.to_string(), seen.to_string()];
        let values = [values[0].as_bytes(), values[1].as_bytes()];
        let (check, deny) = (Check::SequenceRight, Deny::SequenceTooLow);
        return Err(broken(
            check,
            deny,
            Refusal::TooLow,
            &values,
            format!("34={next}"),
            format!("34={seen}"),
        ));
    }
    if seen == next {
        state.numbers.next_in += 1;
        return Ok(None);
    }
    Ok(Some(seen))
}

/// Applies the rules of numbers to a Logon in session.
pub(super) fn in_session_rule(logon: &Logon) -> Option<Broken> {
    let (check, deny, refusal, expected, seen) = if logon.seq_num != 1 {
        let seen = format!("34={}", logon.seq_num);
        (Check::SequenceRight, Deny::InSessionSequence, Refusal::InSessionSequence, "34=1", seen)
    } else if !logon.resets() {
        let seen = "141 absent or N".to_owned();
        (Check::ResetFlagRight, Deny::ResetNotPermitted, Refusal::InSessionReset, "141=Y", seen)
    } else {
        return None;
    };
    Some(Broken { check, deny, text: refusal.text(&[]), expected: expected.to_owned(), seen })
}
