//! The one-time password, with the password or after it.

use super::*;
use crate::identity::decide::code::code;

fn second_step(s: &Situation, offset: Option<i8>) -> Decision {
    let person = s.person.as_ref().unwrap();
    let decision = code(&s.view(), person, offset, &s.context());
    assert_eq!(decision.settle, Settle::Neutral, "the password was settled before");
    sound(&decision.record);
    decision
}

/// The same code at either step; the reason, with the verdict.
fn both_steps(s: &mut Situation, offset: Option<i8>) -> [(Verdict, Option<Deny>, Decision); 2] {
    s.facts.code = CodeFact::Given { offset };
    [s.login(), second_step(s, offset)]
        .map(|decision| (decision.verdict.clone(), decision.record.entry.reason, decision))
}

#[test]
fn rule_8_t5_a_code_is_good_one_step_either_side_at_both_steps() {
    for offset in [-1, 0, 1] {
        for (verdict, reason, _) in both_steps(&mut with_code(), Some(offset)) {
            assert_eq!((verdict, reason), (Verdict::Granted(granted_by_code(false)), None), "{offset}");
        }
    }
}

#[test]
fn rule_5_a_wrong_code_may_be_followed_by_another_and_counts() {
    for offset in [None, Some(2), Some(-2), Some(10)] {
        for (verdict, reason, decision) in both_steps(&mut with_code(), offset) {
            assert_eq!((verdict, reason), (Verdict::CodeRefused(granted(false)), Some(Deny::WrongCode)));
            assert_eq!(decision.record.entry.event, Event::CodeRefused);
            assert_eq!(decision.record.entry.factor, Factor::Password);
            ends_at(decision.record.entry.trace.as_ref(), Check::CodeMatches);
            let [Change::Authenticator { authenticator: Authenticator::Active(factor), .. }] =
                &decision.record.changes[..]
            else {
                panic!("{decision:?}")
            };
            assert_eq!(factor.wrong, 1);
        }
    }
}

#[test]
fn the_trace_tells_a_clock_that_is_off_and_which_way() {
    for (offset, said) in [(5, "150 s ahead"), (-4, "120 s behind")] {
        for (_, _, decision) in both_steps(&mut with_code(), Some(offset)) {
            let seen = decision.record.entry.trace.unwrap().failed.unwrap().seen;
            assert!(seen.contains(said), "{seen}");
        }
    }
}

#[test]
fn rule_8_t6_a_used_or_older_step_is_refused_at_both_steps() {
    for offset in [-1, 0] {
        let mut s = with_code();
        let last_step = Parameters::default().step_at(NOW);
        s.who().authenticator = Authenticator::Active(Registered { last_step, ..registered() });
        for (verdict, reason, decision) in both_steps(&mut s, Some(offset)) {
            assert_eq!((verdict, reason), (Verdict::CodeRefused(granted(false)), Some(Deny::UsedCode)));
            ends_at(decision.record.entry.trace.as_ref(), Check::CodeUnused);
            assert_eq!(decision.record.changes.len(), 1, "a used code counts");
        }
    }
}

#[test]
fn t10_a_backed_off_authenticator_looks_at_no_code_and_counts_none() {
    let mut s = with_code();
    s.who().authenticator = Authenticator::BackedOff { factor: registered(), until_us: NOW + HOUR };
    for (verdict, reason, decision) in both_steps(&mut s, Some(0)) {
        assert_eq!((verdict, reason), (Verdict::CodeRefused(granted(false)), Some(Deny::CodeBackedOff)));
        assert!(decision.record.changes.is_empty());
        ends_at(decision.record.entry.trace.as_ref(), Check::CodeAdmitted);
    }
    s.who().authenticator = Authenticator::BackedOff { factor: registered(), until_us: NOW };
    for (verdict, _, _) in both_steps(&mut s, Some(0)) {
        assert_eq!(verdict, Verdict::Granted(granted_by_code(false)), "the wait is over");
    }
}

#[test]
fn t10_a_locked_authenticator_is_refused_without_a_word_whatever_the_clock() {
    for clock_good in [true, false] {
        let mut s = with_code();
        s.who().authenticator = locked();
        s.clock_good = clock_good;
        for (verdict, reason, decision) in both_steps(&mut s, Some(0)) {
            assert_eq!((verdict, reason), (Verdict::Refused, Some(Deny::Locked)));
            ends_at(decision.record.entry.trace.as_ref(), Check::AuthenticatorUnlocked);
        }
    }
}

#[test]
fn t4_while_the_clock_is_suspect_no_code_is_judged_and_none_counts() {
    for offset in [Some(0), Some(9), None] {
        let mut s = with_code();
        s.clock_good = false;
        for (verdict, reason, decision) in both_steps(&mut s, offset) {
            assert!(matches!(verdict, Verdict::TryAgainLater { .. }), "{verdict:?}");
            assert_eq!(reason, Some(Deny::ClockSuspect));
            assert!(decision.record.changes.is_empty());
            ends_at(decision.record.entry.trace.as_ref(), Check::ClockGood);
        }
    }
}

#[test]
fn what_happened_between_the_steps_counts() {
    type Meanwhile = fn(&mut Situation);
    let table: [(Deny, Check, Meanwhile); 4] = [
        (Deny::Disabled, Check::PersonActive, |s| s.who().standing = Standing::Disabled),
        (Deny::FirmClosed, Check::FirmActive, |s| s.firm.closed = true),
        (Deny::Locked, Check::AuthenticatorUnlocked, |s| s.who().authenticator = locked()),
        (Deny::NotRegistered, Check::AuthenticatorRegistered, |s| {
            s.who().authenticator = Authenticator::Revoked { at_us: NOW };
        }),
    ];
    for (deny, check, meanwhile) in table {
        let mut s = with_code();
        meanwhile(&mut s);
        let decision = second_step(&s, Some(0));
        assert_eq!((decision.verdict, decision.record.entry.reason), (Verdict::Refused, Some(deny)));
        ends_at(decision.record.entry.trace.as_ref(), check);
    }
}

#[test]
fn p11_the_second_step_says_too_that_the_password_must_be_changed() {
    let mut s = with_code();
    s.who().password = initial_password(NOW + HOUR);
    assert_eq!(second_step(&s, Some(0)).verdict, Verdict::Granted(granted_by_code(true)));
    assert_eq!(second_step(&s, None).verdict, Verdict::CodeRefused(granted(true)));
}

#[test]
fn t12_the_second_step_confirms_a_pending_seed_once() {
    let mut s = trader();
    s.who().authenticator = pending();
    let decision = second_step(&s, Some(0));
    assert_eq!(decision.record.entry.event, Event::AuthenticatorConfirmed);
    assert_eq!(decision.record.entry.factor, Factor::Code);
    decision.record.changes.iter().for_each(|change| s.who().apply(change));
    assert_eq!(second_step(&s, Some(0)).record.entry.reason, Some(Deny::UsedCode));
}
