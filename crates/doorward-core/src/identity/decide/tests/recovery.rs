//! Recovery codes: each good once, counted like one-time passwords.

use super::*;
use crate::identity::decide::recovery::{make, use_code};

fn owner() -> Situation {
    let mut s = with_code();
    s.who().recovery = Some(codes(3));
    s
}

fn uses(s: &Situation, at: Option<usize>) -> Decision {
    let decision = use_code(&s.view(), s.person.as_ref().unwrap(), at, &s.context());
    sound(&decision.record);
    decision
}

#[test]
fn t16_a_recovery_code_lets_in_once_and_is_gone() {
    let mut s = owner();
    let decision = uses(&s, Some(1));
    assert_eq!(decision.verdict, Verdict::Granted(granted(false)));
    let entry = &decision.record.entry;
    assert_eq!((entry.event, entry.factor), (Event::RecoveryCodeUsed, Factor::RecoveryCode));
    s.then(&decision.record);
    let left = s.who().recovery.clone().unwrap().unused;
    assert_eq!(left, [codes(3).unused[0].clone(), codes(3).unused[2].clone()]);
    assert_eq!(s.who().authenticator, active(), "no step is used up");
    assert_eq!(uses(&s, Some(2)).record.entry.reason, Some(Deny::WrongRecoveryCode), "there is no third");
    s.who().recovery = None;
    assert_eq!(uses(&s, Some(0)).record.entry.reason, Some(Deny::WrongRecoveryCode));
}

#[test]
fn t10_a_wrong_recovery_code_counts_like_a_wrong_code_and_a_good_one_ends_the_count() {
    let mut s = owner();
    for wrong in 1..=10 {
        let decision = uses(&s, None);
        assert_eq!(decision.record.entry.reason, Some(Deny::WrongRecoveryCode));
        ends_at(decision.record.entry.trace.as_ref(), Check::RecoveryCodeMatches);
        s.then(&decision.record);
        let state = s.who().authenticator.clone();
        assert_eq!(
            state.state(),
            match wrong {
                1..=4 => "active",
                5..=9 => "backed-off",
                _ => "locked",
            }
        );
        if let Authenticator::BackedOff { factor, .. } = state {
            let waits = uses(&s, Some(0));
            assert_eq!(waits.record.entry.reason, Some(Deny::CodeBackedOff));
            assert!(waits.record.changes.is_empty(), "a good code is not used up while it waits");
            s.who().authenticator = Authenticator::BackedOff { factor, until_us: NOW };
        }
    }
    let decision = uses(&s, Some(0));
    assert_eq!((decision.verdict, decision.record.entry.reason), (Verdict::Refused, Some(Deny::Locked)));
    s.who().authenticator = Authenticator::Active(Registered { wrong: 4, ..registered() });
    let decision = uses(&s, Some(0));
    s.then(&decision.record);
    assert_eq!(s.who().authenticator, active());
}

#[test]
fn t16_a_firm_that_switches_recovery_codes_off_takes_none() {
    let mut s = owner();
    s.policy.recovery_codes = false;
    let decision = uses(&s, Some(0));
    assert_eq!(decision.record.entry.reason, Some(Deny::RecoveryOff));
    assert_eq!(decision.verdict, Verdict::CodeRefused(granted(false)));
    let ruling = make(&s.view(), s.person.as_ref().unwrap(), codes(10), Some(NOW), &s.context());
    assert_eq!(ruled(ruling).0, Some(Deny::RecoveryOff));
}

#[test]
fn a_recovery_code_lets_in_only_those_who_may_come_in_and_are_registered() {
    for mut s in every_state() {
        s.who().recovery = Some(codes(1));
        let who = s.who().clone();
        let able = match &who.authenticator {
            Authenticator::Active(_) => true,
            Authenticator::BackedOff { until_us, .. } => *until_us <= NOW,
            Authenticator::None
            | Authenticator::Pending { .. }
            | Authenticator::Locked { .. }
            | Authenticator::Revoked { .. } => false,
        };
        let lets = able
            && who.standing == Standing::Active
            && who.kind != Kind::Service
            && (!s.halted || who.kind == Kind::Desk);
        let decision = uses(&s, Some(0));
        assert_eq!(matches!(decision.verdict, Verdict::Granted(_)), lets, "{decision:?}");
        assert_eq!(decision.record.changes.is_empty(), !lets, "effect and entry in one record");
    }
}

#[test]
fn t14_codes_are_made_anew_only_with_a_fresh_one_time_password() {
    let mut s = owner();
    let stale = NOW - Duration::from_secs(301);
    for factor_at in [None, Some(stale)] {
        let (deny, record) =
            ruled(make(&s.view(), s.person.as_ref().unwrap(), codes(10), factor_at, &s.context()));
        assert_eq!((deny, record.changes.len()), (Some(Deny::FactorStale), 0));
        ends_at(record.entry.trace.as_ref(), Check::FactorFresh);
    }
    let ruling = make(&s.view(), s.person.as_ref().unwrap(), codes(10), Some(NOW), &s.context());
    let (deny, record) = ruled(ruling);
    assert_eq!((deny, record.entry.event), (None, Event::RecoveryCodesMade));
    s.then(&record);
    assert_eq!(s.who().recovery, Some(codes(10)));
    s.who().authenticator = Authenticator::None;
    let ruling = make(&s.view(), s.person.as_ref().unwrap(), codes(10), Some(NOW), &s.context());
    assert_eq!(ruled(ruling).0, Some(Deny::NotRegistered));
}
