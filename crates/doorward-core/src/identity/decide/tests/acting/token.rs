//! Tokens: the login with one, and what the program does with it.

use super::*;
use crate::ask::Declined;
use crate::identity::decide::token::{Facts, check, login, revoke};

fn by_token(s: &Situation, hash: TokenHash) -> Decision {
    let facts = Facts { userid: USERID, admission: s.facts.admission, hash };
    let decision = login(&s.view(), &facts, &s.context());
    sound(&decision.record);
    decision
}

fn with_token() -> Situation {
    let mut s = with_code();
    give_token(s.who(), 1);
    s
}

const INVALID: Verdict = Verdict::Declined(Declined::InvalidToken);

#[test]
fn rule_9_a_token_lets_its_owner_in_until_its_end() {
    let s = with_token();
    let decision = by_token(&s, HASHED);
    assert_eq!(decision.verdict, Verdict::Granted(granted(false)));
    assert_eq!((decision.record.entry.factor, decision.settle), (Factor::Token, Settle::Neutral));
    let wrong = by_token(&s, TokenHash([1; 32]));
    assert_eq!((wrong.verdict, wrong.settle), (INVALID, Settle::Wrong));
    let nobody = by_token(&Situation { person: None, ..with_token() }, HASHED);
    assert_eq!((nobody.verdict, nobody.settle), (INVALID, Settle::Wrong));
}

#[test]
fn rule_9_whatever_keeps_the_owner_out_keeps_the_token_out() {
    type Case = (Deny, Check, fn(&mut Situation));
    let cases: [Case; 7] = [
        (Deny::BackedOff, Check::AttemptAdmitted, |s| s.facts.admission = Admission::BackedOff(NOW + HOUR)),
        (Deny::PersonLimit, Check::AttemptAdmitted, |s| s.facts.admission = Admission::PersonLimit),
        (Deny::Disabled, Check::PersonActive, |s| s.who().standing = Standing::Disabled),
        (Deny::FirmClosed, Check::FirmActive, |s| s.firm.closed = true),
        (Deny::Halted, Check::DoorsOpen, |s| s.halted = true),
        (Deny::Locked, Check::AuthenticatorUnlocked, |s| s.who().authenticator = locked()),
        (Deny::InitialPassword, Check::PasswordOwn, |s| s.who().password = initial_password(NOW + HOUR)),
    ];
    for (deny, check, spoil) in cases {
        let mut s = with_token();
        spoil(&mut s);
        let decision = by_token(&s, HASHED);
        assert_eq!((decision.verdict, decision.settle), (INVALID, Settle::Neutral), "{deny}");
        ends_at(decision.record.entry.trace.as_ref(), check);
    }
    let mut s = trader();
    give_token(s.who(), 0);
    assert_eq!(by_token(&s, HASHED).verdict, Verdict::Granted(granted(false)));
    s.policy.otp_demanded = true;
    assert_eq!(by_token(&s, HASHED).verdict, INVALID, "it proved less than is asked now");
}

#[test]
fn s8_rule_9_password_factor_lock_and_disabling_end_tokens_whatever_the_way() {
    let changes: [fn(&Person) -> Change; 5] = [
        |p| Change::Password { person: p.id, password: Password::Own { phc: phc(), set_us: NOW } },
        |p| Change::Standing { person: p.id, standing: Standing::Disabled },
        |p| Change::AuthSystem { person: p.id, auth_system: AuthSystem::Password },
        |p| Change::Authenticator { person: p.id, authenticator: locked(), seeds: 1 },
        |p| Change::Authenticator { person: p.id, authenticator: Authenticator::None, seeds: 1 },
    ];
    for change in changes {
        let mut s = with_token();
        let change = change(s.who());
        s.who().apply(&change);
        assert!(s.who().tokens.is_empty(), "{change:?}");
    }
    let mut s = with_token();
    let rehashed = s.who().password.rehashed(Phc("$argon2id$new".into()));
    let id = s.who().id;
    s.who().apply(&Change::Password { person: id, password: rehashed });
    s.who().apply(&Change::Profile { person: id, profile: Box::default() });
    assert!(!s.who().tokens.is_empty(), "P9: a hash made anew is the same password");
}

#[test]
fn rule_9_the_program_looks_at_a_token_and_ends_it() {
    let (program, mut s) = (program(&[Right::Token]), with_token());
    let expected = Verdict::TokenKnown { userid: UserId::parse(USERID).unwrap(), expires: NOW + HOUR };
    for named in [None, Some("Julian@Example.com")] {
        let looked = check(&agent(&program), &s.view(), &HASHED, named, &s.context());
        assert_eq!(looked, (expected.clone(), None), "a reading");
    }
    for (hash, named) in [(TokenHash([1; 32]), None), (HASHED, Some("andrea"))] {
        assert_eq!(check(&agent(&program), &s.view(), &hash, named, &s.context()).0, INVALID);
        assert_eq!(revoke(&agent(&program), &s.view(), &hash, named, &s.context()), (INVALID, None));
    }
    let (verdict, record) = revoke(&agent(&program), &s.view(), &HASHED, None, &s.context());
    assert_eq!(verdict, expected);
    s.then(&record.unwrap());
    assert!(s.who().tokens.is_empty());
    assert_eq!(check(&agent(&program), &s.view(), &HASHED, None, &s.context()).0, INVALID);
}

#[test]
fn rule_9_a_token_that_sleeps_is_ended_as_well_and_does_not_wake() {
    let sleeps: [fn(&mut Situation, bool); 3] = [
        |s, sleeps| s.firm.closed = sleeps,
        |s, sleeps| s.policy.otp_demanded = sleeps,
        |s, sleeps| s.halted = sleeps,
    ];
    let program = program(&[Right::Token]);
    for put in sleeps {
        let mut s = trader();
        give_token(s.who(), 0);
        put(&mut s, true);
        assert_eq!(check(&agent(&program), &s.view(), &HASHED, None, &s.context()), (INVALID, None));
        let (verdict, record) = revoke(&agent(&program), &s.view(), &HASHED, None, &s.context());
        assert!(matches!(verdict, Verdict::TokenKnown { .. }), "{verdict:?}");
        s.then(&record.unwrap());
        put(&mut s, false);
        assert_eq!(by_token(&s, HASHED).verdict, INVALID);
    }
}

#[test]
fn s3_rule_9_a_genuine_token_that_is_over_or_sleeps_is_no_wrong_one() {
    let over = |s: &mut Situation| {
        let (made_at, expires_at, by) = (NOW - HOUR, NOW, PersonId::from_random(2_000));
        let token = Token { hash: HASHED, made_at, expires_at, by, level: 1 };
        s.who().tokens = s.who().tokens.with(token, NOW);
    };
    let sleeps = |s: &mut Situation| {
        give_token(s.who(), 0);
        s.policy.otp_demanded = true;
    };
    let cases: [&dyn Fn(&mut Situation); 2] = [&over, &sleeps];
    for put in cases {
        let mut s = with_code();
        put(&mut s);
        let decision = by_token(&s, HASHED);
        assert_eq!((decision.verdict, decision.settle), (INVALID, Settle::Neutral));
        assert_eq!(decision.record.entry.reason, Some(Deny::TokenUnknown));
        ends_at(decision.record.entry.trace.as_ref(), Check::TokenLive);
        let guess = by_token(&s, TokenHash([1; 32]));
        assert_eq!((guess.verdict, guess.settle), (INVALID, Settle::Wrong));
    }
}

#[test]
fn rule_10_a_token_of_somebody_who_is_not_served_is_none() {
    let mut s = with_token();
    s.person = s.person.map(of_another_firm);
    let program = program(&[Right::Token]);
    assert_eq!(check(&agent(&program), &s.view(), &HASHED, None, &s.context()), (INVALID, None));
    for asker in [super::program(&[Right::Verify]), firms_administrator()] {
        for decide in [check, revoke] {
            let (verdict, record) = decide(&agent(&asker), &with_token().view(), &HASHED, None, &s.context());
            assert_eq!(verdict, Verdict::Declined(Declined::NotPermitted { field: None }));
            let record = record.unwrap();
            sound(&record);
            assert_eq!(record.entry.reason, Some(Deny::RightMissing));
        }
    }
}
