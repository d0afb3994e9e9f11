//! `verifylogin` (rule 9).

use super::*;
use crate::ask::{Declined, OnceShown};
use crate::identity::decide::verify::{Facts, NewToken, looks_at_code, verify};
use crate::secret::Secret;

const VALID: Duration = Duration::from_secs(12 * 3_600);

fn new_token() -> NewToken {
    let shown = OnceShown::new(Secret::new("dG9rZW4".to_owned()));
    NewToken { hash: HASHED, shown, valid: VALID }
}

/// Decides the situation's login for a program.
fn verified(program: &Person, s: &Situation, wants_token: bool) -> Decision {
    let token = wants_token.then(new_token);
    let facts = Facts { login: s.facts.clone(), source: Some(IpAddr::from([198, 51, 100, 7])), token };
    let decision = verify(&agent(program), &s.view(), &facts, &s.context());
    sound(&decision.record);
    let entry = &decision.record.entry;
    assert_eq!(entry.actor.person(), Some(program.id), "the program did it");
    assert!(!serde_json::to_string(&decision.record).unwrap().contains("dG9rZW4"), "only its hash is kept");
    decision
}

fn told(decision: &Decision) -> &crate::ask::Verified {
    match &decision.verdict {
        Verdict::Verified(told) => told,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rule_9_a_right_password_alone_is_level_0_and_a_code_beside_it_level_1() {
    let program = program(&[Right::Verify]);
    let mut s = trader();
    let decision = verified(&program, &s, false);
    let expected = (true, 0, None, false, false);
    let of = |told: &crate::ask::Verified| {
        (told.active, told.level, told.token.clone(), told.must_register, told.must_change)
    };
    assert_eq!(of(told(&decision)), expected);
    assert_eq!((decision.settle, decision.record.changes.len()), (Settle::Right, 0));
    assert_eq!(decision.record.entry.event, Event::LoginVerified);
    assert!(decision.record.entry.detail.as_ref().unwrap().contains("198.51.100.7"));
    s = with_code();
    s.facts.code = CodeFact::NotGiven;
    assert_eq!(of(told(&verified(&program, &s, false))), expected, "with an authenticator, too");
    s = with_code();
    let decision = verified(&program, &s, false);
    assert_eq!(of(told(&decision)), (true, 1, None, false, false));
    s.then(&decision.record);
    let again = verified(&program, &s, false);
    assert_eq!(again.verdict, Verdict::Declined(Declined::InvalidToken), "T6: a step is good once");
    assert_eq!(again.record.entry.reason, Some(Deny::UsedCode));
}

#[test]
fn rule_4_what_must_not_be_told_apart_is_one_answer() {
    type Wrong = (Deny, Settle, fn(&mut Situation));
    let cases: [Wrong; 10] = [
        (Deny::UnknownUser, Settle::Wrong, |s| s.person = None),
        (Deny::UnknownUser, Settle::Wrong, |s| s.person = Some(of_another_firm(person(Kind::Trader)))),
        (Deny::UnknownUser, Settle::Wrong, |s| s.person = Some(person(Kind::Administrator))),
        (Deny::WrongPassword, Settle::Wrong, |s| s.facts.password_matches = false),
        (Deny::BadCiphertext, Settle::Wrong, |s| s.facts.opened = Opened::Bad),
        (Deny::ReplayedCiphertext, Settle::Wrong, |s| s.facts.opened = Opened::Replayed),
        (Deny::BackedOff, Settle::Neutral, |s| s.facts.admission = Admission::BackedOff(NOW + HOUR)),
        (Deny::FirmClosed, Settle::Neutral, |s| s.firm.closed = true),
        (Deny::Halted, Settle::Neutral, |s| s.halted = true),
        (Deny::Locked, Settle::Neutral, |s| s.who().authenticator = locked()),
    ];
    for (deny, settle, spoil) in cases {
        let mut s = with_code();
        spoil(&mut s);
        for wants_token in [false, true] {
            let decision = verified(&program(&ALL), &s, wants_token);
            assert_eq!(decision.verdict, Verdict::Refused, "{deny}");
            assert_eq!((decision.settle, decision.record.entry.reason), (settle, Some(deny)));
            assert!(decision.record.changes.is_empty());
        }
    }
}

#[test]
fn rule_9_a_disabled_customers_right_password_is_told_and_a_wrong_one_is_not() {
    let mut s = with_code();
    s.who().standing = Standing::Disabled;
    let decision = verified(&program(&ALL), &s, true);
    let told = told(&decision);
    assert_eq!((told.active, told.level, &told.token), (false, 0, &None));
    assert!(decision.record.changes.is_empty(), "the code was not looked at");
    assert!(!looks_at_code(&s.view(), s.person.as_ref().unwrap(), &s.context()));
    s.facts.password_matches = false;
    assert_eq!(verified(&program(&ALL), &s, true).verdict, Verdict::Refused);
}

#[test]
fn rule_9_who_must_register_or_change_is_level_0_without_a_token() {
    let mut s = trader();
    s.who().auth_system = AuthSystem::Otp;
    let decision = verified(&program(&ALL), &s, true);
    assert_eq!((told(&decision).must_register, &told(&decision).token), (true, &None));
    let mut s = with_code();
    s.who().password = initial_password(NOW + HOUR);
    let decision = verified(&program(&ALL), &s, true);
    assert_eq!(
        (told(&decision).must_change, told(&decision).level, &told(&decision).token),
        (true, 0, &None)
    );
    assert!(decision.record.changes.is_empty(), "the code is not used up");
}

#[test]
fn rule_9_a_token_is_made_by_a_code_and_by_a_password_only_where_the_desk_allows_it() {
    let some = program(&[Right::Verify, Right::Token]);
    let mut s = with_code();
    let decision = verified(&some, &s, true);
    let made = told(&decision).token.clone().unwrap();
    assert_eq!((made.token.expose().as_str(), made.expires), ("dG9rZW4", NOW + VALID));
    s.then(&decision.record);
    let token = s.who().tokens.live(&HASHED, NOW).unwrap();
    assert_eq!((token.level, token.by, token.expires_at), (1, some.id, NOW + VALID));
    s = with_code();
    s.facts.code = CodeFact::NotGiven;
    for program in [&some, &program(&ALL)] {
        let decision = verified(program, &s, true);
        assert_eq!(decision.verdict, Verdict::Declined(Declined::CodeMissing), "never by a password alone");
        assert!(decision.record.changes.is_empty());
    }
    let s = trader();
    assert_eq!(verified(&some, &s, true).verdict, Verdict::Declined(Declined::CodeMissing));
    let decision = verified(&program(&ALL), &s, true);
    assert!(told(&decision).token.is_some() && told(&decision).level == 0);
}

#[test]
fn t7_t12_the_code_that_registers_makes_a_token_that_stays() {
    let mut s = with_code();
    s.who().authenticator = pending();
    give_token(s.who(), 0);
    let decision = verified(&program(&ALL), &s, true);
    assert_eq!(decision.record.entry.event, Event::AuthenticatorConfirmed);
    s.then(&decision.record);
    assert!(s.who().authenticator.is_registered());
    let tokens: Vec<u8> = s.who().tokens.iter().map(|token| token.level).collect();
    assert_eq!(tokens, [1], "the one of before ended with the change of 2FA");
}

#[test]
fn rule_9_a_wrong_code_counts_and_is_an_invalid_token() {
    let mut s = with_code();
    s.facts.code = CodeFact::Given { offset: None };
    let decision = verified(&program(&ALL), &s, true);
    assert_eq!(decision.verdict, Verdict::Declined(Declined::InvalidToken));
    s.then(&decision.record);
    assert!(matches!(&s.who().authenticator, Authenticator::Active(factor) if factor.wrong == 1));
    assert!(s.who().tokens.is_empty());
}

#[test]
fn rule_9_only_a_program_with_the_right_verifies() {
    for (deny, spoil) in NOT_HEARD {
        let (mut program, mut s) = (program(&ALL), trader());
        spoil(&mut program, &mut s);
        let decision = verified(&program, &s, false);
        assert_eq!(decision.verdict, Verdict::Declined(Declined::NotPermitted { field: None }), "{deny}");
        assert_eq!((decision.settle, decision.record.entry.reason), (Settle::Neutral, Some(deny)));
        ends_at(decision.record.entry.trace.as_ref(), Check::AskerAllowed);
    }
    let decision = verified(&program(&[Right::Verify]), &with_code(), true);
    assert_eq!(decision.verdict, Verdict::Declined(Declined::NotPermitted { field: Some("gentoken") }));
    for asker in [firms_administrator(), person(Kind::Trader)] {
        let decision = verified(&asker, &trader(), false);
        assert_eq!(decision.verdict, Verdict::Declined(Declined::NotPermitted { field: None }));
    }
}
