//! Changing the own password.

use super::*;
use crate::identity::decide::password_change::{Facts as ChangeFacts, password_change};
use crate::identity::password::Rule;

fn facts() -> ChangeFacts {
    ChangeFacts {
        admission: Admission::Go,
        opened: Opened::Good,
        padding: Some(Padding::OaepSha256),
        present_matches: true,
        new: Ok(Phc("$argon2id$new".into())),
    }
}

fn change(s: &Situation, facts: &ChangeFacts) -> Decision {
    let decision = password_change(&s.view(), s.person.as_ref().unwrap(), facts, &s.context());
    sound(&decision.record);
    decision
}

type Spoil = fn(&mut Situation, &mut ChangeFacts);

const REFUSED: [(Deny, Check, Settle, Spoil); 8] = [
    (Deny::BackedOff, Check::AttemptAdmitted, Settle::Neutral, |_, f| {
        f.admission = Admission::BackedOff(NOW + HOUR);
    }),
    (Deny::PersonLimit, Check::AttemptAdmitted, Settle::Neutral, |_, f| f.admission = Admission::PersonLimit),
    (Deny::ReplayedCiphertext, Check::CiphertextFresh, Settle::Wrong, |_, f| f.opened = Opened::Replayed),
    (Deny::BadCiphertext, Check::CiphertextOpens, Settle::Wrong, |_, f| f.opened = Opened::Bad),
    (Deny::PaddingOff, Check::PaddingAllowed, Settle::Neutral, |s, f| {
        (s.policy.pkcs1_allowed, f.padding) = (false, Some(Padding::Pkcs1));
    }),
    (Deny::WrongPassword, Check::PasswordMatches, Settle::Wrong, |_, f| f.present_matches = false),
    (Deny::Disabled, Check::PersonActive, Settle::Neutral, |s, _| s.who().standing = Standing::Disabled),
    (Deny::FirmClosed, Check::FirmActive, Settle::Neutral, |s, _| s.firm.closed = true),
];

#[test]
fn p6_without_the_present_password_nothing_changes_and_nothing_more_is_said() {
    for (deny, check, settle, spoil) in REFUSED {
        // Whether the new one keeps the rules must not be heard without the present one.
        for new in [facts().new, Err(Rule::SameAsPresent)] {
            let (mut s, mut given) = (trader(), ChangeFacts { new, ..facts() });
            spoil(&mut s, &mut given);
            let decision = change(&s, &given);
            assert_eq!(decision.verdict, Verdict::PasswordIssue { reason: "present-password" }, "{deny}");
            assert_eq!((decision.settle, decision.record.entry.reason), (settle, Some(deny)));
            assert!(decision.record.changes.is_empty());
            ends_at(decision.record.entry.trace.as_ref(), check);
        }
    }
}

#[test]
fn p5_a_new_password_against_the_rules_is_refused_with_the_reason() {
    for rule in Rule::ALL.iter().copied() {
        let decision = change(&trader(), &ChangeFacts { new: Err(rule), ..facts() });
        assert_eq!(decision.verdict, Verdict::PasswordIssue { reason: rule.id() });
        assert_eq!(decision.settle, Settle::Right, "the present one was right");
        assert_eq!(decision.record.entry.reason, Some(Deny::PasswordRule));
        ends_at(decision.record.entry.trace.as_ref(), Check::NewPasswordGood);
    }
}

#[test]
fn p11_a_changed_password_is_the_persons_own_and_need_not_be_changed() {
    let mut s = trader();
    s.who().password = initial_password(NOW + HOUR);
    s.who().profile.broker_comm_rate = Some("0.25".into());
    let decision = change(&s, &facts());
    let broker_comm_rate = Some("0.25".to_owned());
    assert_eq!(decision.verdict, Verdict::PasswordChanged { broker_comm_rate });
    assert_eq!((decision.settle, decision.record.entry.event), (Settle::Right, Event::PasswordChanged));
    decision.record.changes.iter().for_each(|change| s.who().apply(change));
    assert_eq!(s.who().password, Password::Own { phc: Phc("$argon2id$new".into()), set_us: NOW });
    assert_eq!(s.login().verdict, Verdict::Granted(granted(false)));
}
