//! Signing in with a browser, with and without a setup link, and a fresh code.

use super::*;
use crate::identity::decide::link::{self, look};
use crate::identity::decide::sign_in::{may_browse, sign_in};
use crate::identity::decide::step_up::{FACTOR_FRESH, is_fresh, step_up};

fn enter(s: &Situation, link: Option<&LinkHash>) -> Decision {
    let decision = sign_in(&s.view(), &s.facts, link, &s.context());
    sound(&decision.record);
    decision
}

#[test]
fn k4_a_link_gives_nothing_without_the_right_password() {
    let mut s = newcomer();
    assert_eq!(look(&s.view(), &TOKEN, NOW), Ok(()));
    assert!(matches!(enter(&s, Some(&TOKEN)).verdict, Verdict::RegistrationNeeded { .. }));
    s.facts.password_matches = false;
    let decision = enter(&s, Some(&TOKEN));
    assert_eq!((decision.verdict, decision.settle), (Verdict::Refused, Settle::Wrong));
    ends_at(decision.record.entry.trace.as_ref(), Check::PasswordMatches);
    let [Change::Link { link: Some(link), .. }] = &decision.record.changes[..] else { panic!("no count") };
    assert_eq!((link.wrong, link.state), (1, LinkState::Live));
}

#[test]
fn k8_the_fifth_wrong_password_takes_the_link_back_in_the_same_record() {
    let mut s = newcomer();
    s.facts.password_matches = false;
    for wrong in 1..=link::WRONG_MAX {
        let record = enter(&s, Some(&TOKEN)).record;
        assert_eq!(record.entry.reason, Some(Deny::WrongPassword));
        s.then(&record);
        let link = s.who().link.clone().unwrap();
        assert_eq!((link.wrong, link.is_live(NOW)), (wrong, wrong < 5));
    }
    s.facts.password_matches = true;
    let decision = enter(&s, Some(&TOKEN));
    assert_eq!((decision.verdict, decision.settle), (Verdict::Refused, Settle::Neutral));
    assert_eq!(decision.record.entry.reason, Some(Deny::LinkEnded));
    ends_at(decision.record.entry.trace.as_ref(), Check::LinkLive);
    assert!(matches!(enter(&s, None).verdict, Verdict::RegistrationNeeded { .. }), "not without the link");
}

#[test]
fn k8_what_the_attempt_gate_refuses_counts_on_no_link() {
    let mut s = newcomer();
    s.facts.admission = Admission::BackedOff(NOW + HOUR);
    s.facts.password_matches = false;
    let decision = enter(&s, Some(&TOKEN));
    assert_eq!(decision.record.entry.reason, Some(Deny::BackedOff));
    assert!(decision.record.changes.is_empty());
}

#[test]
fn k1_k2_a_token_goes_on_for_its_person_only_while_it_is_live_and_they_are_not_registered() {
    for mut s in every_state() {
        let (registered, link) = (s.who().authenticator.is_registered(), s.who().link.clone());
        let expected = match link {
            Some(link) if link.hash != TOKEN => Err(Deny::LinkUnknown),
            None => Err(Deny::LinkUnknown),
            Some(link) if !link.is_live(NOW) => Err(Deny::LinkEnded),
            Some(_) if registered => Err(Deny::AlreadyRegistered),
            Some(_) => Ok(()),
        };
        assert_eq!(look(&s.view(), &TOKEN, NOW), expected);
        let decision = enter(&s, Some(&TOKEN));
        if let Err(deny) = expected {
            assert_eq!((decision.verdict, decision.record.entry.reason), (Verdict::Refused, Some(deny)));
            assert!(decision.record.changes.is_empty());
        } else {
            assert!(!matches!(decision.verdict, Verdict::Granted(_)), "a link lets nobody in");
        }
    }
    let mut s = newcomer();
    s.person = None;
    assert_eq!(look(&s.view(), &TOKEN, NOW), Err(Deny::LinkUnknown));
    assert_eq!(enter(&s, Some(&TOKEN)).record.entry.reason, Some(Deny::LinkUnknown));
}

#[test]
fn s1_a_program_does_not_sign_in_with_a_browser_and_is_told_nothing() {
    let mut s = service(&["192.0.2.0/24"]);
    s.facts.padding = Some(Padding::OaepSha256);
    let decision = enter(&s, None);
    assert_eq!((decision.verdict, decision.record.entry.reason), (Verdict::Refused, Some(Deny::WrongKind)));
    ends_at(decision.record.entry.trace.as_ref(), Check::KindPermitted);
    s.facts.password_matches = false;
    assert_eq!(enter(&s, None).verdict, Verdict::Refused);
}

#[test]
fn while_the_switch_is_thrown_nobody_but_the_desk_comes_in_at_any_step() {
    for kind in [Kind::Trader, Kind::Administrator, Kind::Desk] {
        let mut s = with_code();
        s.person = Some(Person { authenticator: active(), ..person(kind) });
        s.halted = true;
        let decisions = [
            s.login(),
            enter(&s, None),
            crate::identity::decide::code::code(&s.view(), s.person.as_ref().unwrap(), Some(0), &s.context()),
        ];
        for decision in decisions {
            if kind == Kind::Desk {
                assert!(matches!(decision.verdict, Verdict::Granted(_)), "{decision:?}");
            } else {
                let reason = decision.record.entry.reason;
                assert_eq!((decision.verdict, reason), (Verdict::Refused, Some(Deny::Halted)));
                ends_at(decision.record.entry.trace.as_ref(), Check::DoorsOpen);
            }
        }
        assert!(may_browse(&s.view(), &s.context()), "it ends no session by itself");
    }
}

#[test]
fn s8_a_browser_session_ends_with_its_person_or_firm() {
    let mut s = with_code();
    assert!(may_browse(&s.view(), &s.context()));
    s.firm.closed = true;
    assert!(!may_browse(&s.view(), &s.context()));
    s.firm.closed = false;
    s.who().standing = Standing::Disabled;
    assert!(!may_browse(&s.view(), &s.context()));
    s.person = None;
    assert!(!may_browse(&s.view(), &s.context()));
}

#[test]
fn t17_a_used_code_is_told_only_after_a_right_password() {
    let mut s = with_code();
    s.facts.padding = Some(Padding::OaepSha256);
    let last_step = Parameters::default().step_at(NOW);
    s.who().authenticator = Authenticator::Active(Registered { last_step, ..registered() });
    assert_eq!(enter(&s, None).record.entry.reason, Some(Deny::UsedCode));
    s.facts.password_matches = false;
    let decision = enter(&s, None);
    assert_eq!(decision.record.entry.reason, Some(Deny::WrongPassword));
    assert_eq!(decision.verdict, Verdict::Refused);
}

#[test]
fn t14_a_fresh_code_is_five_minutes_old_at_most_and_used_up() {
    let mut s = with_code();
    let decision = step_up(&s.view(), s.person.as_ref().unwrap(), Some(0), &s.context());
    assert_eq!(decision.verdict, Verdict::Granted(granted_by_code(false)));
    assert_eq!(
        (decision.record.entry.event, decision.record.entry.factor),
        (Event::FactorProved, Factor::Code)
    );
    s.then(&decision.record);
    let again = step_up(&s.view(), s.person.as_ref().unwrap(), Some(0), &s.context());
    sound(&again.record);
    assert_eq!(again.record.entry.reason, Some(Deny::UsedCode));
    assert!(is_fresh(Some(NOW), NOW) && is_fresh(Some(NOW), NOW + FACTOR_FRESH));
    assert!(!is_fresh(Some(NOW), NOW + FACTOR_FRESH + Duration::from_micros(1)));
    assert!(!is_fresh(Some(NOW + HOUR), NOW), "a clock that went back makes nothing fresh");
    assert!(!is_fresh(None, NOW));
}
