//! Self-registration: begun in one browser session, confirmed there by the first code.

use super::*;
use crate::identity::decide::enrol::{Begun, begin, confirm};
use crate::identity::decide::{code, step_up};
use crate::identity::enrolment::ENROLMENT_MAX;

fn begun(id: u64, link: Option<LinkHash>) -> Begun {
    Begun { seed: Seed { version: 2, ..seed() }, id: EnrolmentId::from_random(id), link }
}

fn begins(s: &Situation, id: u64, link: Option<LinkHash>, mail: bool) -> (Option<Deny>, Record) {
    ruled(begin(&s.view(), s.person.as_ref().unwrap(), begun(id, link), mail, &s.context()))
}

fn confirms(s: &Situation, id: u64, offset: Option<i8>) -> (Option<Deny>, Record) {
    let id = EnrolmentId::from_random(id);
    ruled(confirm(&s.view(), s.person.as_ref().unwrap(), id, offset, Some(codes(10)), &s.context()))
}

#[test]
fn t12_t13_nobody_begins_who_is_registered_or_out_and_nothing_counts_before_the_code() {
    for mut s in every_state() {
        for link in [None, Some(TOKEN)] {
            let who = s.who().clone();
            let live = who.link.as_ref().is_some_and(|link| link.hash == TOKEN && link.is_live(NOW));
            let expected = if who.standing == Standing::Disabled {
                Some(Deny::Disabled)
            } else if s.halted && who.kind != Kind::Desk {
                Some(Deny::Halted)
            } else if who.kind == Kind::Service {
                Some(Deny::WrongKind)
            } else if who.authenticator.is_registered() {
                Some(Deny::AlreadyRegistered)
            } else if link.is_some() && !live {
                Some(if who.link.is_some_and(|link| link.hash == TOKEN) {
                    Deny::LinkEnded
                } else {
                    Deny::LinkUnknown
                })
            } else {
                None
            };
            let (deny, record) = begins(&s, 5, link, false);
            assert_eq!(deny, expected);
            assert_eq!(record.changes.len(), usize::from(deny.is_none()), "effect and entry in one record");
            let after = s.who().after(&record);
            assert_eq!(after.authenticator.is_registered(), s.who().authenticator.is_registered());
            if deny.is_none() {
                assert_eq!(after.seeds, 2);
                assert_eq!(after.authenticator.comparable(), None, "no door looks at it");
                assert!(after.authenticator.enrolling(EnrolmentId::from_random(5), NOW).is_some());
            }
        }
    }
}

#[test]
fn p11_an_initial_password_is_changed_before_an_authenticator_is_registered() {
    let mut s = newcomer();
    s.who().password = initial_password(NOW + HOUR);
    let (deny, record) = begins(&s, 1, Some(TOKEN), true);
    assert_eq!(deny, Some(Deny::InitialPassword));
    ends_at(record.entry.trace.as_ref(), Check::PasswordOwn);
}

#[test]
fn a_link_is_needed_where_the_firm_says_so_or_else_where_mail_is_set_up() {
    for (policy, mail, needed) in
        [(None, true, true), (None, false, false), (Some(false), true, false), (Some(true), false, true)]
    {
        let mut s = newcomer();
        s.policy.registration_needs_link = policy;
        let deny = needed.then_some(Deny::LinkNeeded);
        assert_eq!(begins(&s, 1, None, mail).0, deny);
        assert_eq!(begins(&s, 1, Some(TOKEN), mail).0, None);
    }
    let mut s = newcomer();
    s.who().auth_system = AuthSystem::Password;
    assert_eq!(begins(&s, 1, Some(TOKEN), true).0, Some(Deny::OtpNotChosen));
}

#[test]
fn t7_k5_the_first_code_registers_uses_the_link_up_and_is_good_nowhere_else() {
    let mut s = newcomer();
    s.who().auth_system = AuthSystem::Password;
    s.policy.otp_demanded = true;
    let record = begins(&s, 1, Some(TOKEN), true).1;
    assert_eq!((record.entry.event, record.entry.factor), (Event::EnrolmentBegun, Factor::Password));
    s.then(&record);
    let (deny, record) = confirms(&s, 1, Some(0));
    assert_eq!((deny, record.entry.event), (None, Event::AuthenticatorConfirmed));
    s.then(&record);
    assert!(s.who().authenticator.is_registered());
    assert_eq!(s.who().auth_system, AuthSystem::Otp);
    assert_eq!(s.who().link.clone().unwrap().state, LinkState::Used { at_us: NOW });
    assert_eq!(s.who().recovery, Some(codes(10)));
    let again = code::code(&s.view(), s.person.as_ref().unwrap(), Some(0), &s.context());
    assert_eq!(again.record.entry.reason, Some(Deny::UsedCode));
    assert_eq!(confirms(&s, 1, Some(1)).0, Some(Deny::EnrolmentEnded), "once");
    assert_eq!(begins(&s, 1, Some(TOKEN), true).0, Some(Deny::AlreadyRegistered));
}

#[test]
fn k9_another_browser_session_and_every_door_know_nothing_of_a_pending_enrolment() {
    let mut s = newcomer();
    s.who().authenticator = enrolling(1, Some(TOKEN));
    let (deny, record) = confirms(&s, 2, Some(0));
    assert_eq!(deny, Some(Deny::EnrolmentEnded));
    ends_at(record.entry.trace.as_ref(), Check::EnrolmentLive);
    s.facts.code = CodeFact::Given { offset: Some(0) };
    assert!(matches!(s.login().verdict, Verdict::RegistrationNeeded { .. }));
    for decision in [
        code::code(&s.view(), s.person.as_ref().unwrap(), Some(0), &s.context()),
        step_up::step_up(&s.view(), s.person.as_ref().unwrap(), Some(0), &s.context()),
    ] {
        assert_eq!(
            (decision.verdict, decision.record.entry.reason),
            (Verdict::Refused, Some(Deny::NotRegistered))
        );
        assert!(decision.record.changes.is_empty());
    }
    let record = begins(&s, 2, Some(TOKEN), true).1;
    s.then(&record);
    assert_eq!(confirms(&s, 1, Some(0)).0, Some(Deny::EnrolmentEnded), "the later one took its place");
    assert_eq!(confirms(&s, 2, Some(0)).0, None);
}

#[test]
fn k5_an_enrolment_lasts_fifteen_minutes() {
    let s = newcomer();
    let started = s.person.clone().unwrap().after(&begins(&s, 1, Some(TOKEN), true).1);
    let id = EnrolmentId::from_random(1);
    for (at, good) in [
        (NOW, true),
        (NOW + (ENROLMENT_MAX - Duration::from_secs(1)), true),
        (NOW + ENROLMENT_MAX, false),
        (NOW - Duration::from_secs(1), false),
    ] {
        let context = Context { at, ..s.context() };
        let ruling = confirm(&s.view(), &started, id, Some(0), None, &context);
        assert_eq!(ruled(ruling).0.is_none(), good, "{at}");
    }
}

#[test]
fn k2_a_link_that_is_taken_back_takes_the_enrolment_along_and_one_that_came_to_its_end_does_not() {
    let at_us = NOW;
    for (link, deny) in [
        (Some(link_in(LinkState::Live)), None),
        (Some(SetupLink { expires_at: NOW, ..link_in(LinkState::Live) }), None),
        (Some(link_in(LinkState::Expired { at_us })), None),
        (Some(link_in(LinkState::Revoked { at_us })), Some(Deny::LinkEnded)),
        (Some(SetupLink { hash: LinkHash([8; 32]), ..link_in(LinkState::Live) }), Some(Deny::LinkEnded)),
        (None, Some(Deny::LinkEnded)),
    ] {
        let mut s = newcomer();
        s.who().link = link;
        s.who().authenticator = enrolling(1, Some(TOKEN));
        assert_eq!(confirms(&s, 1, Some(0)).0, deny);
        s.who().authenticator = enrolling(1, None);
        assert_eq!(confirms(&s, 1, Some(0)).0, None, "one that began without a link");
    }
}

#[test]
fn t12_wrong_codes_count_and_the_fifth_ends_the_enrolment() {
    let mut s = newcomer();
    s.who().authenticator = enrolling(1, Some(TOKEN));
    for wrong in 1..=5 {
        let (deny, record) = confirms(&s, 1, None);
        assert_eq!((deny, record.entry.event), (Some(Deny::WrongCode), Event::CodeRefused));
        ends_at(record.entry.trace.as_ref(), Check::CodeMatches);
        s.then(&record);
        let state = if wrong < 5 { "pending" } else { "revoked" };
        assert_eq!(s.who().authenticator.state(), state);
    }
    assert_eq!(confirms(&s, 1, Some(0)).0, Some(Deny::EnrolmentEnded));
    assert_eq!(begins(&s, 1, Some(TOKEN), true).0, None, "the link works until it is used or expired");
}

#[test]
fn t4_while_the_clock_is_suspect_no_confirming_code_is_judged() {
    let mut s = newcomer();
    s.who().authenticator = enrolling(1, Some(TOKEN));
    s.clock_good = false;
    for offset in [Some(0), None] {
        let (deny, record) = confirms(&s, 1, offset);
        assert_eq!((deny, record.changes.len()), (Some(Deny::ClockSuspect), 0));
    }
}

#[test]
fn what_happened_meanwhile_stops_a_confirmation() {
    type Meanwhile = fn(&mut Situation);
    let table: [(Deny, Meanwhile); 4] = [
        (Deny::Disabled, |s| s.who().standing = Standing::Disabled),
        (Deny::FirmClosed, |s| s.firm.closed = true),
        (Deny::Halted, |s| s.halted = true),
        (Deny::EnrolmentEnded, |s| s.who().authenticator = Authenticator::Revoked { at_us: NOW }),
    ];
    for (expected, meanwhile) in table {
        let mut s = newcomer();
        s.who().authenticator = enrolling(1, Some(TOKEN));
        meanwhile(&mut s);
        let (deny, record) = confirms(&s, 1, Some(0));
        assert_eq!((deny, record.changes.len()), (Some(expected), 0));
    }
}

#[test]
fn t16_recovery_codes_come_with_the_registration_unless_the_firm_has_them_off() {
    let mut s = newcomer();
    s.who().authenticator = enrolling(1, None);
    s.who().recovery = Some(codes(3));
    s.policy.recovery_codes = false;
    let record = confirms(&s, 1, Some(0)).1;
    s.then(&record);
    assert_eq!(s.who().recovery, None, "those of an earlier authenticator are gone");
}

#[test]
fn a_seed_from_the_command_line_is_confirmed_at_any_door_and_ends_the_link() {
    let mut s = newcomer();
    s.who().authenticator = pending();
    s.facts.code = CodeFact::Given { offset: Some(0) };
    let decision = s.login();
    assert_eq!(decision.record.entry.event, Event::AuthenticatorConfirmed);
    s.then(&decision.record);
    assert_eq!(s.who().link.clone().unwrap().state, LinkState::Revoked { at_us: NOW });
}
