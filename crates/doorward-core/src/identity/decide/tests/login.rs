//! The first step.

use super::*;

type Spoil = fn(&mut Situation);

/// All that a peer must not be able to tell apart: reason, check, what happens to the counts, how it comes about.
const REFUSED: [(Deny, Check, Settle, Spoil); 12] = [
    (Deny::BackedOff, Check::AttemptAdmitted, Settle::Neutral, |s| {
        s.facts.admission = Admission::BackedOff(NOW + HOUR);
    }),
    (Deny::PersonLimit, Check::AttemptAdmitted, Settle::Neutral, |s| {
        s.facts.admission = Admission::PersonLimit;
    }),
    (Deny::ReplayedCiphertext, Check::CiphertextFresh, Settle::Wrong, |s| s.facts.opened = Opened::Replayed),
    (Deny::BadCiphertext, Check::CiphertextOpens, Settle::Wrong, |s| s.facts.opened = Opened::Bad),
    (Deny::UnknownUser, Check::PersonKnown, Settle::Wrong, |s| s.person = None),
    (Deny::PaddingOff, Check::PaddingAllowed, Settle::Neutral, |s| s.policy.pkcs1_allowed = false),
    (Deny::WrongPassword, Check::PasswordMatches, Settle::Wrong, |s| s.facts.password_matches = false),
    (Deny::Disabled, Check::PersonActive, Settle::Neutral, |s| s.who().standing = Standing::Disabled),
    (Deny::FirmClosed, Check::FirmActive, Settle::Neutral, |s| s.firm.closed = true),
    (Deny::SourceNotPermitted, Check::SourcePermitted, Settle::Neutral, |s| {
        s.person = service(&["198.51.100.0/24"]).person;
    }),
    (Deny::Locked, Check::AuthenticatorUnlocked, Settle::Neutral, |s| s.who().authenticator = locked()),
    (Deny::PasswordExpired, Check::PasswordInForce, Settle::Neutral, |s| {
        s.who().password = initial_password(NOW);
    }),
];

#[test]
fn s1_rule_4_twelve_reasons_have_one_answer_and_each_its_own_trace() {
    for (deny, check, settle, spoil) in REFUSED {
        for mut s in [trader(), with_code()] {
            spoil(&mut s);
            let decision = s.login();
            assert_eq!(decision.verdict, Verdict::Refused, "{deny}");
            assert_eq!(decision.settle, settle, "{deny}");
            assert_eq!(decision.record.entry.reason, Some(deny));
            assert_eq!(decision.record.entry.event, Event::LoginRefused);
            assert!(decision.record.changes.is_empty(), "{deny}");
            ends_at(decision.record.entry.trace.as_ref(), check);
        }
    }
}

#[test]
fn s1_whatever_else_is_wrong_too_the_answer_stays() {
    for (_, _, _, first) in REFUSED {
        for (_, _, _, second) in REFUSED {
            let mut s = with_code();
            s.person = Some(person(Kind::Trader));
            first(&mut s);
            if s.person.is_some() {
                second(&mut s);
            }
            assert_eq!(s.login().verdict, Verdict::Refused);
        }
    }
}

#[test]
fn q4_a_refusal_says_what_had_been_proved() {
    for (deny, check, _, spoil) in REFUSED {
        let mut s = trader();
        spoil(&mut s);
        let after_password = check > Check::PasswordMatches;
        let factor = if after_password { Factor::Password } else { Factor::Nothing };
        assert_eq!(s.login().record.entry.factor, factor, "{deny}");
    }
}

#[test]
fn q3_a_name_that_nobody_has_is_written_down_as_its_beginning_and_length() {
    let mut s = trader();
    (s.person, s.facts.userid) = (None, "my password in the wrong field");
    let entry = s.login().record.entry;
    assert_eq!(entry.actor, Actor::Unknown { begins: "my ".into(), chars: 30 });
    assert_eq!(entry.firm, None);
}

#[test]
fn t10_a_code_is_not_looked_at_before_the_password_is_right() {
    let mut s = with_code();
    s.facts.code = CodeFact::Given { offset: None };
    s.facts.password_matches = false;
    let decision = s.login();
    assert_eq!((decision.verdict, decision.settle), (Verdict::Refused, Settle::Wrong));
    assert!(decision.record.changes.is_empty(), "no wrong code counted");
}

#[test]
fn a_password_alone_lets_in_who_needs_no_more() {
    for kind in [Kind::Desk, Kind::Administrator, Kind::Trader] {
        let mut s = trader();
        s.person = Some(person(kind));
        let decision = s.login();
        let serves = kind == Kind::Administrator;
        assert_eq!(decision.verdict, Verdict::Granted(Granted { serves, ..granted(false) }));
        assert_eq!(decision.settle, Settle::Right);
        let entry = decision.record.entry;
        assert_eq!((entry.event, entry.factor), (Event::LoginGranted, Factor::Password));
        assert_eq!(entry.firm, (kind != Kind::Desk).then(|| firm().code));
        assert!(decision.record.changes.is_empty());
        let steps: Vec<_> = entry.trace.as_ref().unwrap().steps().collect();
        assert!(steps.contains(&(Check::PasswordMatches, Step::Passed)));
        assert!(steps.contains(&(Check::CodeMatches, Step::NotNeeded)));
        assert_eq!(steps.contains(&(Check::FirmActive, Step::NotNeeded)), kind == Kind::Desk);
    }
}

#[test]
fn rule_5_a_right_password_without_a_code_is_asked_for_one() {
    for clock_good in [true, false] {
        let mut s = with_code();
        (s.facts.code, s.clock_good) = (CodeFact::NotGiven, clock_good);
        let decision = s.login();
        assert_eq!((decision.verdict, decision.settle), (Verdict::CodeNeeded(granted(false)), Settle::Right));
        assert_eq!((decision.record.entry.event, decision.record.entry.reason), (Event::CodeAsked, None));
        ends_at(decision.record.entry.trace.as_ref(), Check::CodeGiven);
    }
}

#[test]
fn both_in_one_request_let_in_and_use_the_step_up() {
    let decision = with_code().login();
    assert_eq!(
        (decision.verdict, decision.settle),
        (Verdict::Granted(granted_by_code(false)), Settle::Right)
    );
    assert_eq!(decision.record.entry.factor, Factor::PasswordAndCode);
    let [Change::Authenticator { authenticator: Authenticator::Active(factor), .. }] =
        &decision.record.changes[..]
    else {
        panic!("{:?}", decision.record.changes)
    };
    assert_eq!(factor.last_step, Parameters::default().step_at(NOW));
}

#[test]
fn p11_rule_7_an_initial_password_must_be_changed_and_ends_on_time() {
    let mut s = trader();
    s.who().password = initial_password(NOW + Duration::from_micros(1));
    assert_eq!(s.login().verdict, Verdict::Granted(granted(true)));
    s.who().password = initial_password(NOW);
    assert_eq!(s.login().verdict, Verdict::Refused);
    let mut s = with_code();
    s.who().password = initial_password(NOW + HOUR);
    assert_eq!(s.login().verdict, Verdict::Granted(granted_by_code(true)));
}

#[test]
fn rule_6_who_needs_an_authenticator_and_has_none_is_sent_to_register() {
    for authenticator in [Authenticator::None, Authenticator::Revoked { at_us: NOW }] {
        for code in [CodeFact::NotGiven, CodeFact::Given { offset: None }] {
            let mut s = trader();
            s.policy.otp_demanded = true;
            s.who().authenticator = authenticator.clone();
            s.facts.code = code;
            let decision = s.login();
            let register_url = Some("https://portal.example/register".to_owned());
            let who = granted(false);
            assert_eq!(decision.verdict, Verdict::RegistrationNeeded { who: who.clone(), register_url });
            assert_eq!(decision.settle, Settle::Right);
            assert_eq!(decision.record.entry.reason, Some(Deny::NotRegistered));
            assert_eq!(decision.record.entry.event, Event::RegistrationAsked);
            ends_at(decision.record.entry.trace.as_ref(), Check::AuthenticatorRegistered);
            s.facts.register_url = None;
            assert_eq!(s.login().verdict, Verdict::RegistrationNeeded { who, register_url: None });
        }
    }
}

#[test]
fn t12_rule_6_while_a_seed_is_pending_its_code_is_asked_for_whatever_was_chosen() {
    for auth_system in [AuthSystem::Password, AuthSystem::Otp] {
        let mut s = trader();
        s.who().auth_system = auth_system;
        s.who().authenticator = pending();
        assert_eq!(s.login().verdict, Verdict::CodeNeeded(granted(false)));
        s.facts.code = CodeFact::Given { offset: None };
        assert_eq!(s.login().verdict, Verdict::CodeRefused(granted(false)));
        s.facts.code = CodeFact::Given { offset: Some(0) };
        let decision = s.login();
        assert_eq!(decision.verdict, Verdict::Granted(granted_by_code(false)));
        assert_eq!(decision.record.entry.event, Event::AuthenticatorConfirmed);
    }
}

#[test]
fn t7_t12_the_confirming_code_is_used_up() {
    let mut s = trader();
    s.who().authenticator = pending();
    s.facts.code = CodeFact::Given { offset: Some(0) };
    let changes = s.login().record.changes;
    changes.iter().for_each(|change| s.who().apply(change));
    assert_eq!(s.who().authenticator.state(), "active");
    let again = s.login();
    assert_eq!(again.verdict, Verdict::CodeRefused(granted(false)));
    assert_eq!(again.record.entry.reason, Some(Deny::UsedCode));
}

#[test]
fn an_authenticator_is_asked_for_even_where_the_policy_demands_it_no_more() {
    let mut s = with_code();
    s.who().auth_system = AuthSystem::Password;
    s.facts.code = CodeFact::NotGiven;
    assert_eq!(s.login().verdict, Verdict::CodeNeeded(granted(false)));
}

#[test]
fn a_service_user_comes_from_listed_addresses_and_needs_no_code() {
    for (sources, from, in_) in [
        (&["192.0.2.0/24"][..], Some("192.0.2.7"), true),
        (&["192.0.2.0/24"], Some("::ffff:192.0.2.7"), true),
        (&["127.0.0.1", "::1"], Some("::1"), true),
        (&["192.0.2.0/24"], Some("192.0.3.7"), false),
        (&[], Some("192.0.2.7"), false),
        (&["0.0.0.0/0", "::/0"], None, false),
    ] {
        let mut s = service(sources);
        s.source = from.map(|text| text.parse().unwrap());
        s.policy.otp_demanded = true;
        let granted = Verdict::Granted(Granted { serves: true, ..granted(false) });
        assert_eq!(s.login().verdict == granted, in_, "{sources:?} {from:?}");
    }
    let mut without_grant = service(&[]);
    without_grant.who().profile.grant = None;
    assert_eq!(without_grant.login().record.entry.reason, Some(Deny::SourceNotPermitted));
}

#[test]
fn e5_where_pkcs1_is_off_oaep_still_goes() {
    let mut s = trader();
    (s.policy.pkcs1_allowed, s.facts.padding) = (false, Some(Padding::OaepSha256));
    assert_eq!(s.login().verdict, Verdict::Granted(granted(false)));
}

#[test]
fn s1_the_code_of_somebody_who_may_not_come_in_is_not_looked_at() {
    let mut s = trader();
    assert!(s.looks_at_code());
    s.who().standing = Standing::Disabled;
    assert!(!s.looks_at_code());
}
