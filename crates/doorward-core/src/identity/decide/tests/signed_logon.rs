//! Signed Logons: every check of the page from 5 to 8, in its order, and what the peer sees of it.

use super::key_pair::{new_pair, session};
use super::*;
use crate::ask::{Judged, LogonRefusal, SignedLogon};
use crate::id::{CompId, SessionId};
use crate::identity::decide::fix_session::struck;
use crate::identity::decide::signed_logon::{LogonFacts, LogonView, signed_logon, unavailable};
use crate::identity::fix_session::FixSession;
use crate::identity::key_pair::{Kept, KeyPair};
use crate::stream::Gateway;
use crate::trace::Walk;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const CANONICAL: &[u8] = b"1\nABC001N\nOP1\n20270115-08:00:00.000\nG\n30\nUS,IL\n\nTestSys\n1.0\nTest";

/// A signed Logon that goes well, for a test to spoil.
struct Case {
    session: Option<FixSession>,
    key: Option<(FixSession, KeyPair)>,
    firm_closed: bool,
    halted: bool,
    locked: Option<Wall>,
    logon: SignedLogon,
    facts: LogonFacts,
    source: Option<IpAddr>,
}

fn pair() -> KeyPair {
    let new = new_pair(1);
    KeyPair {
        id: new.id,
        made_at: NOW - DAY,
        ends_at: NOW + DAY * 300,
        replaced: false,
        noted_at: NOW - DAY,
        secret: Kept::Secret { sealed: new.sealed },
    }
}

fn logon() -> SignedLogon {
    SignedLogon {
        sender_comp_id: b"ABC001N".to_vec(),
        operator_id: b"op1".to_vec(),
        gateway: Gateway::Cgw,
        access_key_id: new_pair(1).id.as_bytes().to_vec(),
        canonical: CANONICAL.to_vec(),
        signature: Some([7; 32]),
        sending_time: Some(NOW),
        seq_num: 1,
        received: NOW,
        flaw: None,
        in_session: None,
    }
}

fn good() -> Case {
    let session = FixSession { pairs: vec![pair()], ..session() };
    let listening_since = NOW - HOUR;
    Case {
        key: Some((session.clone(), pair())),
        session: Some(session),
        firm_closed: false,
        halted: false,
        locked: None,
        logon: logon(),
        facts: LogonFacts { signature_matches: true, replayed: false, listening_since, strikes: 0 },
        source: Some(IpAddr::from([192, 0, 2, 7])),
    }
}

impl Case {
    fn context(&self) -> Context {
        Context { at: NOW, door: Door::Fix, source: self.source, attempt: AttemptId(1) }
    }

    fn view(&self) -> LogonView<'_> {
        LogonView {
            session: self.session.as_ref(),
            firm_closed: self.firm_closed,
            halted: self.halted,
            locked: self.locked,
            key: self.key.as_ref().map(|(session, pair)| (session, pair)),
        }
    }

    fn judge(&self) -> Judged {
        let judged = signed_logon(&self.view(), &self.logon, &self.facts, &self.context());
        sound(&judged.record);
        let entry = serde_json::to_string(&judged.record.entry).unwrap();
        assert!(!entry.contains("c2VhbGVk"), "a secret in {entry}");
        judged
    }

    fn session(&mut self) -> &mut FixSession {
        self.session.as_mut().unwrap()
    }

    fn pair(&mut self) -> &mut KeyPair {
        &mut self.key.as_mut().unwrap().1
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn other_session() -> FixSession {
    FixSession { id: SessionId::parse(b"XYZ").unwrap(), ..session() }
}

type Spoil = fn(&mut Case);

/// Everything that can be wrong on its own, in the page's order.
fn spoilers() -> Vec<(Check, Deny, Spoil)> {
    vec![
        (Check::SchemeNamed, Deny::WrongScheme, |c| {
            c.logon.flaw = Some((Check::SchemeNamed, Deny::WrongScheme));
        }),
        (Check::CompIdKnown, Deny::UnknownCompId, |c| c.session = None),
        (Check::CompIdKnown, Deny::UnknownCompId, |c| c.logon.sender_comp_id = b"ABC009N".to_vec()),
        (Check::CompIdKnown, Deny::UnknownCompId, |c| c.logon.sender_comp_id = b"\xff\0;".to_vec()),
        (Check::IndicatorPermitted, Deny::WrongIndicator, |c| c.logon.sender_comp_id = b"ABC001U".to_vec()),
        (Check::IndicatorPermitted, Deny::WrongIndicator, |c| c.logon.sender_comp_id = b"ABC001P".to_vec()),
        (Check::IndicatorPermitted, Deny::WrongIndicator, |c| {
            c.logon.in_session = CompId::parse(b"ABC002N");
        }),
        (Check::SessionActive, Deny::SessionDisabled, |c| c.session().standing = Standing::Disabled),
        (Check::FirmActive, Deny::FirmClosed, |c| c.firm_closed = true),
        (Check::DoorsOpen, Deny::Halted, |c| c.halted = true),
        (Check::AccessKeyKnown, Deny::UnknownAccessKey, |c| {
            (c.key, c.facts.signature_matches) = (None, false);
        }),
        (Check::AccessKeyKnown, Deny::UnknownAccessKey, |c| c.key = Some((other_session(), pair()))),
        (Check::AccessKeyLive, Deny::AccessKeyExpired, |c| c.pair().ends_at = NOW),
        (Check::AccessKeyLive, Deny::AccessKeyDeleted, |c| c.pair().secret = Kept::Deleted { at_us: NOW }),
        (Check::SessionUnlocked, Deny::SessionLocked, |c| c.locked = Some(NOW - HOUR)),
        (Check::OperatorPermitted, Deny::OperatorNotPermitted, |c| c.logon.operator_id = b"OP2".to_vec()),
        (Check::OperatorPermitted, Deny::OperatorNotPermitted, |c| c.logon.operator_id = b"*".to_vec()),
        (Check::SourcePermitted, Deny::SourceNotPermitted, |c| {
            c.session().sources = vec![Network::parse("192.0.2.8/32").unwrap()];
        }),
        (Check::SendingTimeFresh, Deny::SendingTimeStale, |c| c.logon.sending_time = Some(NOW - ms(5_001))),
        (Check::SendingTimeFresh, Deny::SendingTimeAhead, |c| c.logon.sending_time = Some(NOW + ms(1_001))),
        (Check::SendingTimeFresh, Deny::SendingTimeAhead, |c| c.logon.sending_time = None),
        (Check::SignatureMatches, Deny::SignatureDiffers, |c| c.facts.signature_matches = false),
        (Check::SignatureMatches, Deny::SignatureDiffers, |c| c.logon.signature = None),
        (Check::LogonUnseen, Deny::ReplayedLogon, |c| c.facts.replayed = true),
        (Check::AfterListening, Deny::BeforeListening, |c| c.facts.listening_since = NOW + ms(1)),
    ]
}

#[test]
fn a_signed_logon_that_passes_is_granted_and_its_key_is_noted_as_used() {
    let judged = good().judge();
    let grant = judged.verdict.unwrap();
    assert_eq!((grant.comp.to_string(), grant.stream.to_string()), ("ABC001N".into(), "cgw/ABC/001".into()));
    assert_eq!((grant.operator.as_str(), grant.firm_code, grant.access_key), ("OP1", firm().code, pair().id));
    let record = *judged.record;
    let [Change::KeyUsed { session, access_key, used }] = &record.changes[..] else { panic!("{record:?}") };
    assert_eq!((session.to_string(), *access_key), ("ABC".to_owned(), pair().id));
    assert_eq!((used.at, used.source, used.sender_comp_id), (NOW, [192, 0, 2, 7].into(), grant.comp));
    let entry = record.entry;
    assert_eq!(
        (entry.event, entry.outcome, entry.factor),
        (Event::LogonGranted, Outcome::Allowed, Factor::Signature)
    );
    assert_eq!(
        (entry.session, entry.firm, entry.door),
        (Some(session.to_owned()), Some(firm().code), Door::Fix)
    );
    assert_eq!(entry.trace, Some(Trace::of(Walk::SignedLogon)));
    let mut again = good();
    again.logon.in_session = CompId::parse(b"ABC001N");
    assert!(again.judge().verdict.is_ok(), "in session, with the indicator in force");
}

#[test]
fn f3_h6_every_failure_looks_the_same_and_the_audit_says_which_it_was() {
    for (check, deny, spoil) in spoilers() {
        let mut case = good();
        spoil(&mut case);
        let judged = case.judge();
        let expected = match deny {
            Deny::SessionLocked => LogonRefusal::PortClosed, // its signature was good
            _ => LogonRefusal::Refused,
        };
        assert_eq!(judged.verdict, Err(expected), "{deny}");
        let record = &judged.record;
        assert_eq!((record.entry.event, record.entry.reason), (Event::LogonRefused, Some(deny)));
        ends_at(record.entry.trace.as_ref(), check);
    }
}

#[test]
fn f1_a_refused_logon_changes_nothing() {
    for (_, deny, spoil) in spoilers() {
        let mut case = good();
        spoil(&mut case);
        assert_eq!(case.judge().record.changes, [], "{deny}");
    }
}

#[test]
fn the_first_failure_in_the_pages_order_is_the_recorded_one() {
    let all = spoilers();
    for (n, (_, first, spoil)) in all.iter().enumerate() {
        for (check, second, spoil_too) in &all[n + 1..] {
            let mut case = good();
            spoil_too(&mut case);
            spoil(&mut case);
            let reason = case.judge().record.entry.reason.unwrap();
            // Two that spoil the same field leave only the one that came last, which is the first of the page.
            let possible = [*first, *second];
            assert!(possible.contains(&reason), "{first}, {second}: {reason}");
            let place = |of: Deny| all.iter().position(|(_, deny, _)| *deny == of);
            assert!(place(reason) <= place(*second), "{first} and {second} at {check}: {reason}");
        }
    }
}

#[test]
fn h5_sending_time_may_be_five_seconds_old_and_one_ahead() {
    for (sent, good_time) in [
        (NOW - ms(5_000), true),
        (NOW - ms(5_000) - Duration::from_micros(1), false),
        (NOW + ms(1_000), true),
        (NOW + ms(1_000) + Duration::from_micros(1), false),
        (NOW, true),
        (NOW - DAY * 2_000, false),
        (NOW + DAY * 365, false),
    ] {
        let mut case = good();
        (case.logon.sending_time, case.facts.listening_since) = (Some(sent), NOW - DAY * 3_000);
        assert_eq!(case.judge().verdict.is_ok(), good_time, "{sent}");
    }
}

#[test]
fn f5_h5_a_replayed_logon_is_refused() {
    let mut case = good();
    case.facts.replayed = true;
    let judged = case.judge();
    assert_eq!(judged.verdict, Err(LogonRefusal::Refused));
    assert_eq!(judged.record.entry.reason, Some(Deny::ReplayedLogon));
}

#[test]
fn f9_a_logon_from_before_this_process_listened_is_refused() {
    for (since, good_time) in [(NOW, true), (NOW + Duration::from_micros(1), false)] {
        let mut case = good();
        case.facts.listening_since = since;
        assert_eq!(case.judge().verdict.is_ok(), good_time);
    }
}

#[test]
fn f10_what_the_door_found_wrong_is_the_reason_even_where_all_else_is_right() {
    for (check, deny) in [
        (Check::LogonWellFormed, Deny::RepeatedTag),
        (Check::LogonWellFormed, Deny::ControlCharacter),
        (Check::LogonWellFormed, Deny::TagNotPermitted),
        (Check::LogonWellFormed, Deny::LengthDiffers),
        (Check::CredentialsGiven, Deny::MissingTag),
        (Check::FieldsGiven, Deny::MissingTag),
        (Check::HeaderRight, Deny::WrongHeader),
        (Check::HeartBtIntRight, Deny::WrongHeartBtInt),
        (Check::SignatureDecodes, Deny::BadSignature),
    ] {
        let mut case = good();
        case.logon.flaw = Some((check, deny));
        let judged = case.judge();
        assert_eq!(judged.verdict, Err(LogonRefusal::Refused));
        assert_eq!(judged.record.entry.reason, Some(deny));
        ends_at(judged.record.entry.trace.as_ref(), check);
    }
}

#[test]
fn f4_the_fifth_refusal_that_names_a_key_closes_the_port_and_later_ones_hear_no_more_of_it() {
    let mut case = good();
    case.facts.signature_matches = false;
    for strikes in 0..8 {
        case.facts.strikes = strikes;
        let judged = case.judge();
        let expected = if strikes == 4 { LogonRefusal::PortClosed } else { LogonRefusal::Refused };
        assert_eq!((judged.verdict, judged.strikes), (Err(expected), strikes));
        assert_eq!(struck(&judged.record), Some(session().id));
    }
    case.locked = Some(NOW);
    let judged = case.judge();
    assert_eq!(judged.verdict, Err(LogonRefusal::Refused), "locked, and the signature is wrong");
    assert_eq!(struck(&judged.record), None);
    case.facts.signature_matches = true;
    assert_eq!(case.judge().verdict, Err(LogonRefusal::PortClosed), "whoever has the key is told");
    case.facts.replayed = true;
    assert_eq!(case.judge().verdict, Err(LogonRefusal::Refused), "a replay proves nothing");
}

#[test]
fn f4_strangers_count_against_nobody() {
    for spoil in [
        (|c| c.session = None) as Spoil,
        |c| c.logon.sender_comp_id = b"ABC009N".to_vec(),
        |c| c.facts.signature_matches = false,
    ] {
        let mut case = good();
        (case.key, case.facts.strikes) = (None, 4);
        spoil(&mut case);
        let judged = case.judge();
        assert_eq!((judged.verdict, struck(&judged.record)), (Err(LogonRefusal::Refused), None));
    }
    let granted = good().judge();
    assert_eq!(struck(&granted.record), None);
}

#[test]
fn f4_a_key_under_another_sessions_name_counts_against_its_owner() {
    let mut case = good();
    case.key = Some((other_session(), pair()));
    let judged = case.judge();
    assert_eq!(struck(&judged.record), Some(other_session().id));
    assert_eq!(judged.record.entry.session, Some(other_session().id), "whose key it is is told");
}

#[test]
fn f4_what_the_peer_has_no_part_in_does_not_count() {
    let case = good();
    for (deny, counts) in [
        (Deny::WeekClosed, false),
        (Deny::Stopping, false),
        (Deny::LogonInProgress, false),
        (Deny::AlreadyLoggedOn, false),
        (Deny::SequenceTooLow, true),
        (Deny::FirstOfWeek, true),
        (Deny::ResetNotPermitted, true),
        (Deny::InSessionSequence, true),
    ] {
        let mut record = case.judge().record;
        record.refuse_logon(Check::SequenceRight, deny, "7", "3");
        sound(&record);
        assert_eq!(struck(&record).is_some(), counts, "{deny}");
        assert_eq!(record.changes, []);
        ends_at(record.entry.trace.as_ref(), Check::SequenceRight);
    }
    let judged = unavailable(&case.view(), &case.logon, 4, &case.context());
    sound(&judged.record);
    assert_eq!((judged.verdict, judged.strikes), (Err(LogonRefusal::TryAgainLater), 4));
    assert_eq!(struck(&judged.record), None);
}

#[test]
fn h6_a_signature_that_differs_leaves_the_canonical_message_in_the_audit_alone() {
    let mut case = good();
    case.facts.signature_matches = false;
    let detail = case.judge().record.entry.detail.clone().unwrap();
    assert!(detail.contains(r"1\nABC001N\nOP1\n"), "{detail}");
    case.logon.canonical = b"\x1b[31m\xff".repeat(1_000);
    let detail = case.judge().record.entry.detail.clone().unwrap();
    assert!(detail.is_ascii() && !detail.contains('\x1b') && detail.len() < 5_000, "{detail}");
    for (_, deny, spoil) in spoilers().into_iter().filter(|(check, ..)| *check != Check::SignatureMatches) {
        let mut case = good();
        spoil(&mut case);
        assert_eq!(case.judge().record.entry.detail, None, "{deny}");
    }
}

#[test]
fn f7_a_signed_logon_prints_without_its_credentials() {
    let shown = format!("{:?}", logon());
    assert!(shown.contains("ABC001N") && !shown.contains("7, 7") && !shown.contains("TestSys"), "{shown}");
    assert!(!shown.contains(&new_pair(1).id.to_string()), "{shown}");
}

#[test]
fn h7_a_key_pair_is_good_up_to_its_end_and_not_from_then_on() {
    let of = |spoil: Spoil| {
        let mut case = good();
        spoil(&mut case);
        let judged = case.judge();
        (judged.verdict.is_ok(), judged.record.entry.reason)
    };
    assert_eq!(of(|c| c.pair().ends_at = NOW + ms(1)), (true, None));
    assert_eq!(of(|c| c.pair().ends_at = NOW), (false, Some(Deny::AccessKeyExpired)));
    assert_eq!(of(|c| c.pair().ends_at = NOW - DAY), (false, Some(Deny::AccessKeyExpired)));
    assert_eq!(of(|c| c.pair().secret = Kept::Expired), (false, Some(Deny::AccessKeyExpired)));
    let deleted = of(|c| c.pair().secret = Kept::Deleted { at_us: NOW });
    assert_eq!(deleted, (false, Some(Deny::AccessKeyDeleted)));
}
