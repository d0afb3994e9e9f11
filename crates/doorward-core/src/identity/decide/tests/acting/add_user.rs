//! `adduser` for others (rules 10 to 12).

use super::*;
use crate::ask::{Declined, OnceShown, ShownSeed, TraderDetails};
use crate::identity::decide::add_user::{
    Made, NewPassword, NewSeed, PasswordFacts, Sets, Stepped, Wanted, add, change, plan_add, plan_change,
};
use crate::identity::password::Rule;
use crate::secret::Secret;

fn new_password() -> NewPassword {
    NewPassword { padding: Some(Padding::OaepSha256), opened: Opened::Good, hashed: Ok(new_phc()) }
}

fn new_phc() -> Phc {
    Phc("$argon2id$new".into())
}

fn new_seed() -> NewSeed {
    let shown = |text: &str| OnceShown::new(Secret::new(text.to_owned()));
    let seed = Seed { version: 2, ..seed() };
    NewSeed { seed, shown: ShownSeed { base32: shown("JBSWY3DP"), uri: shown("otpauth://x") } }
}

fn present(matches: bool) -> PasswordFacts {
    let (admission, padding, opened) = (Admission::Go, Some(Padding::OaepSha256), Opened::Good);
    PasswordFacts::Changed { admission, padding, opened, matches, new: new_password() }
}

fn reset() -> PasswordFacts {
    PasswordFacts::Reset(new_password())
}

/// Changes the situation's trader as an asker wants.
fn changed(
    asker: &Agent<'_>,
    s: &mut Situation,
    details: &TraderDetails,
    facts: impl Into<Option<PasswordFacts>>,
) -> Stepped {
    let facts = facts.into();
    let sets = match &facts {
        None => Sets::Nothing,
        Some(PasswordFacts::Changed { .. }) => Sets::Changed,
        Some(PasswordFacts::Reset(_)) => Sets::Reset,
    };
    let wanted = Wanted { userid: USERID, firm: Some("FINT"), sets, details };
    let seed = (details.otp == Some(true)).then(new_seed);
    let planned = plan_change(asker, &wanted, &s.view(), &s.context());
    let stepped = change(asker, &wanted, &s.view(), facts.as_ref(), seed, &s.context());
    if let Err(refused) = planned {
        assert_eq!(*refused, stepped, "what is planned is what is done");
    }
    stepped.records.iter().for_each(sound);
    if matches!(stepped.verdict, Verdict::StepDone(_)) {
        stepped.records.iter().for_each(|record| s.then(record));
    } else {
        assert!(stepped.records.iter().all(|record| record.changes.is_empty()));
    }
    stepped
}

fn added(asker: &Agent<'_>, s: &Situation, details: &TraderDetails) -> Result<Person, Declined> {
    let view = View { person: None, firm: Some(&s.firm), ..s.view() };
    let planned = plan_add(asker, "Andrea", Some("fint"), details, &view, &s.context());
    let addition = planned.map_err(|stepped| match stepped.verdict {
        Verdict::Declined(declined) => declined,
        other => panic!("{other:?}"),
    })?;
    let seed = (details.otp == Some(true)).then(new_seed);
    let made = Made { id: PersonId::from_random(77), password: new_password(), sent_as: "pass", seed };
    let stepped = add(asker, addition, details, made, &s.policy, &s.context());
    stepped.records.iter().for_each(sound);
    assert!(matches!(stepped.verdict, Verdict::StepDone(_)), "{stepped:?}");
    let mut person = person(Kind::Trader);
    let first = &stepped.records[0].changes[0];
    person.apply(first);
    stepped.records.iter().flat_map(|record| &record.changes).skip(1).for_each(|next| person.apply(next));
    Ok(person)
}

/// A trader of a firm whose administrators may see setup links.
fn shown() -> Situation {
    let mut s = trader();
    s.policy.show_setup_link = true;
    s
}

fn nothing() -> TraderDetails {
    TraderDetails::default()
}

fn denied(field: Option<&'static str>) -> Verdict {
    Verdict::Declined(Declined::NotPermitted { field })
}

#[test]
fn rule_10_a_program_adds_a_trader_with_an_initial_password() {
    let program = program(&[Right::Add]);
    let details = TraderDetails { roles: Some("XXSSS".into()), ..nothing() };
    let andrea = added(&agent(&program), &trader(), &details).unwrap();
    assert_eq!((andrea.userid.as_str(), andrea.kind), ("andrea", Kind::Trader));
    assert_eq!((andrea.firm, andrea.auth_system), (Some(firm().code), AuthSystem::Password));
    assert_eq!(andrea.profile.roles.as_deref(), Some("XXSSS"));
    assert!(matches!(andrea.password, Password::Initial { by: Some(by), .. } if by == program.id), "P11");
}

#[test]
fn rule_7_a_lasting_password_is_for_programs_that_the_desk_lets() {
    let details = TraderDetails { initial: Some(false), ..nothing() };
    let declined = Declined::NotPermitted { field: Some("initial") };
    assert_eq!(added(&agent(&program(&[Right::Add])), &trader(), &details), Err(declined));
    assert_eq!(added(&agent(&firms_administrator()), &trader(), &details), Err(declined));
    let andrea = added(&agent(&program(&ALL)), &trader(), &details).unwrap();
    assert_eq!(andrea.password, Password::Own { phc: new_phc(), set_us: NOW });
}

#[test]
fn rule_11_an_addition_with_a_seed_waits_for_its_first_code() {
    let details = TraderDetails { otp: Some(true), ..nothing() };
    let andrea = added(&agent(&program(&ALL)), &trader(), &details).unwrap();
    assert_eq!((andrea.auth_system, andrea.authenticator.state()), (AuthSystem::Otp, "pending"));
    let amanda = firms_administrator();
    let declined = Declined::NotPermitted { field: Some("use2fa") };
    assert_eq!(added(&agent(&amanda), &trader(), &details), Err(declined), "T14");
    let fresh = Agent { factor_at: Some(NOW), ..agent(&amanda) };
    assert_eq!(added(&fresh, &shown(), &details).unwrap().authenticator.state(), "pending");
}

#[test]
fn rule_11_where_a_second_factor_is_demanded_nobody_switches_it_off() {
    let mut s = trader();
    s.policy.otp_demanded = true;
    let details = TraderDetails { otp: Some(false), ..nothing() };
    let declined = Declined::NotPermitted { field: Some("use2fa") };
    assert_eq!(added(&agent(&program(&ALL)), &s, &details), Err(declined));
    assert_eq!(added(&agent(&program(&ALL)), &s, &nothing()).unwrap().auth_system, AuthSystem::Otp);
    s.who().auth_system = AuthSystem::Otp;
    let stepped = changed(&agent(&program(&ALL)), &mut s, &details, None);
    assert_eq!(stepped.verdict, denied(Some("use2fa")));
}

#[test]
fn rule_10_what_cannot_be_added_is_said() {
    let (program, s) = (program(&ALL), trader());
    let none = View { person: None, firm: Some(&s.firm), ..s.view() };
    let planned = |userid: &str, firm: Option<&str>, view: &View<'_>, details: &TraderDetails| match plan_add(
        &agent(&program),
        userid,
        firm,
        details,
        view,
        &s.context(),
    ) {
        Ok(_) => None,
        Err(stepped) => Some(stepped.verdict),
    };
    let declined = |declined| Some(Verdict::Declined(declined));
    assert_eq!(planned("andrea", None, &none, &nothing()), None, "the only firm that it serves");
    assert_eq!(planned("andrea", Some("OTHER"), &none, &nothing()), declined(Declined::UnknownFirm));
    let without = View { firm: None, ..none };
    assert_eq!(planned("andrea", Some("FINT"), &without, &nothing()), declined(Declined::UnknownFirm));
    assert_eq!(
        planned("andrea", Some("a firm"), &none, &nothing()),
        declined(Declined::Invalid { field: "firm" })
    );
    assert_eq!(planned("a b", None, &none, &nothing()), declined(Declined::Invalid { field: "userid" }));
    assert_eq!(planned(USERID, None, &s.view(), &nothing()), declined(Declined::UserExists));
    let asker = agent(&program);
    let taken = plan_add(&asker, USERID, None, &nothing(), &s.view(), &s.context()).unwrap_err();
    sound(&taken.records[0]);
    let entry = &taken.records[0].entry;
    assert_eq!((entry.reason, &entry.subject), (Some(Deny::UserIdTaken), &None), "Q4, Q1: who looks is seen");
    assert_eq!(entry.named, named(USERID), "and after whom");
    let mut attr = serde_json::Map::new();
    attr.insert("x".into(), "y".repeat(5_000).into());
    let large = TraderDetails { attr: Some(attr), ..nothing() };
    assert_eq!(
        planned("andrea", None, &none, &large),
        declined(Declined::Invalid { field: "attr" }),
        "rule 12"
    );
    let long = TraderDetails { reason: Some("x".repeat(257)), ..nothing() };
    assert_eq!(planned("andrea", None, &none, &long), declined(Declined::Invalid { field: "reason" }));
}

#[test]
fn rule_10_each_step_has_its_right() {
    let rate = TraderDetails { broker_comm_rate: Some("0.25".into()), ..nothing() };
    let seed = TraderDetails { otp: Some(true), ..nothing() };
    let off = TraderDetails { otp: Some(false), ..nothing() };
    type Step<'a> = (Right, Option<&'static str>, &'a TraderDetails, Option<PasswordFacts>);
    let nothing = nothing();
    let steps: [Step<'_>; 6] = [
        (Right::Change, None, &nothing, None),
        (Right::Change, Some("broker_comm_rate"), &rate, None),
        (Right::Change, None, &nothing, Some(present(true))),
        (Right::ResetPassword, Some("resetpass"), &nothing, Some(reset())),
        (Right::ResetAuthenticator, Some("use2fa"), &seed, None),
        (Right::ResetAuthenticator, Some("use2fa"), &off, None),
    ];
    for (right, field, details, facts) in steps {
        let without: Vec<Right> = ALL.into_iter().filter(|other| *other != right).collect();
        let stepped = changed(&agent(&program(&without)), &mut with_code(), details, facts.clone());
        assert_eq!(stepped.verdict, denied(field), "{right}");
        assert_eq!(stepped.records[0].entry.reason, Some(Deny::RightMissing));
        let stepped = changed(&agent(&program(&ALL)), &mut with_code(), details, facts);
        assert!(matches!(stepped.verdict, Verdict::StepDone(_)), "{right}: {stepped:?}");
    }
}

#[test]
fn rule_10_whoever_gives_the_present_password_is_its_owner() {
    let (program, mut s) = (program(&[Right::Change]), trader());
    s.who().password = initial_password(NOW + HOUR);
    let stepped = changed(&agent(&program), &mut s, &nothing(), Some(present(true)));
    assert_eq!(stepped.settle, Settle::Right);
    assert_eq!(s.who().password, Password::Own { phc: new_phc(), set_us: NOW });
    let stepped = changed(&agent(&program), &mut s, &nothing(), Some(present(false)));
    assert_eq!(stepped.verdict, Verdict::PasswordIssue { reason: Rule::PresentWrong.id() });
    assert_eq!((stepped.settle, stepped.records[0].entry.reason), (Settle::Wrong, Some(Deny::WrongPassword)));
}

#[test]
fn rule_4_the_right_password_of_a_locked_trader_is_no_more_than_a_wrong_one() {
    let (program, mut s) = (program(&[Right::Change]), with_code());
    s.who().authenticator = locked();
    for (matches, reason, settle) in
        [(true, Deny::Locked, Settle::Neutral), (false, Deny::WrongPassword, Settle::Wrong)]
    {
        assert!(!present(matches).is_proved(&s.view(), s.person.as_ref().unwrap(), &s.context()));
        let stepped = changed(&agent(&program), &mut s, &nothing(), Some(present(matches)));
        assert_eq!(stepped.verdict, Verdict::PasswordIssue { reason: "present-password" });
        assert_eq!((stepped.settle, stepped.records[0].entry.reason), (settle, Some(reason)));
    }
}

#[test]
fn rule_7_with_the_present_password_whoever_set_it_makes_none_that_lasts() {
    let (first, lasting, amanda) =
        (program(&[Right::Add, Right::Change]), program(&ALL), firms_administrator());
    let by = |by: Option<&Person>| Password::Initial {
        phc: phc(),
        set_us: NOW - HOUR,
        expires_us: NOW + HOUR,
        by: by.map(|by| by.id),
    };
    for (asker, before, lasts) in [
        (&first, by(Some(&first)), false),
        (&first, by(Some(&amanda)), true),
        (&first, by(None), true),
        (&first, own_password(), true),
        (&lasting, by(Some(&lasting)), true),
        (&amanda, by(Some(&amanda)), false),
        (&amanda, by(Some(&first)), false),
        (&amanda, own_password(), false),
    ] {
        let mut s = trader();
        s.who().password = before.clone();
        let stepped = changed(&agent(asker), &mut s, &nothing(), Some(present(true)));
        assert!(matches!(stepped.verdict, Verdict::StepDone(_)), "{stepped:?}");
        match &s.who().password {
            Password::Own { .. } => assert!(lasts, "{} {before:?}", asker.userid),
            Password::Initial { by, .. } => {
                assert_eq!((lasts, *by), (false, Some(asker.id)), "{} {before:?}", asker.userid);
            }
        }
    }
}

#[test]
fn rule_10_a_reset_password_is_initial_and_ends_tokens() {
    let mut s = trader();
    give_token(s.who(), 1);
    let details = TraderDetails { reason: Some("by phone".into()), ..nothing() };
    let stepped = changed(&agent(&program(&ALL)), &mut s, &details, Some(reset()));
    assert_eq!(stepped.verdict, Verdict::StepDone(Box::default()));
    assert_eq!(stepped.records[0].entry.event, Event::PasswordSet);
    assert_eq!(stepped.records[0].entry.detail.as_deref(), Some("by phone"));
    assert!(matches!(s.who().password, Password::Initial { .. }) && s.who().tokens.is_empty());
    let lasting = TraderDetails { initial: Some(false), ..nothing() };
    changed(&agent(&program(&ALL)), &mut s, &lasting, Some(reset()));
    assert_eq!(s.who().password, Password::Own { phc: new_phc(), set_us: NOW });
}

#[test]
fn p5_a_password_against_the_rules_is_refused_with_the_reason() {
    for rule in [Rule::TooShort, Rule::Common] {
        let facts = PasswordFacts::Reset(NewPassword { hashed: Err(rule), ..new_password() });
        let stepped = changed(&agent(&program(&ALL)), &mut trader(), &nothing(), Some(facts));
        assert_eq!(stepped.verdict, Verdict::PasswordIssue { reason: rule.id() });
    }
    let too_long = Verdict::PasswordIssue { reason: Rule::TooLong.id() };
    for (opened, hashed, verdict) in [
        (Opened::Bad, Ok(new_phc()), too_long.clone()),
        (Opened::Bad, Err(Rule::TooLong), too_long.clone()),
        (Opened::Bad, Err(Rule::TooShort), too_long),
        (Opened::Replayed, Ok(new_phc()), Verdict::Declined(Declined::Invalid { field: "newpass" })),
    ] {
        let facts = PasswordFacts::Reset(NewPassword { opened, hashed, ..new_password() });
        let stepped = changed(&agent(&program(&ALL)), &mut trader(), &nothing(), Some(facts));
        assert_eq!(stepped.verdict, verdict, "E3");
    }
}

#[test]
fn rule_11_another_seed_takes_the_place_of_one_and_a_registered_one_is_reset() {
    let seed = TraderDetails { otp: Some(true), ..nothing() };
    let mut s = trader();
    s.who().authenticator = pending();
    let stepped = changed(&agent(&program(&[Right::Change])), &mut s, &seed, None);
    let Verdict::StepDone(done) = &stepped.verdict else { panic!("{stepped:?}") };
    assert_eq!(done.seed.as_ref().unwrap().base32.expose(), "JBSWY3DP");
    assert!(matches!(&s.who().authenticator, Authenticator::Pending { seed, .. } if seed.version == 2));
    let mut s = with_code();
    let stepped = changed(&agent(&program(&ALL)), &mut s, &seed, None);
    let events: Vec<Event> = stepped.records.iter().map(|record| record.entry.event).collect();
    assert_eq!(events, [Event::AuthenticatorRevoked, Event::AuthenticatorIssued]);
    assert_eq!(s.who().authenticator.state(), "pending");
}

#[test]
fn rule_11_switched_off_the_authenticator_goes() {
    let (mut s, off) = (with_code(), TraderDetails { otp: Some(false), ..nothing() });
    changed(&agent(&program(&ALL)), &mut s, &off, None);
    assert_eq!((s.who().auth_system, s.who().authenticator.state()), (AuthSystem::Password, "revoked"));
}

#[test]
fn rule_10_fields_given_are_set_and_fields_absent_are_kept() {
    let mut s = trader();
    s.who().profile.roles = Some("XX".into());
    s.who().profile.email = Some("julian@example.com".into());
    let rate = TraderDetails { broker_comm_rate: Some("0.25".into()), ..nothing() };
    let stepped = changed(&agent(&program(&ALL)), &mut s, &rate, None);
    let Verdict::StepDone(done) = &stepped.verdict else { panic!("{stepped:?}") };
    assert_eq!(done.broker_comm_rate.as_deref(), Some("0.25"));
    assert_eq!(s.who().profile.roles.as_deref(), Some("XX"));
    assert_eq!(s.who().profile.email.as_deref(), Some("julian@example.com"));
    let same = changed(&agent(&program(&ALL)), &mut s, &rate, None);
    assert!(same.records.is_empty(), "nothing was different");
    let (program, s) = (program(&ALL), s);
    let wanted = Wanted { userid: USERID, firm: Some("OTHER"), sets: Sets::Nothing, details: &nothing() };
    let refused = plan_change(&agent(&program), &wanted, &s.view(), &s.context()).unwrap_err();
    assert_eq!(refused.verdict, Verdict::Declined(Declined::Invalid { field: "firm" }), "it never changes");
}

#[test]
fn q1_rule_10_who_is_not_served_is_not_there_and_others_of_the_firm_are_not_touched() {
    let details = nothing();
    for asker in [program(&ALL), firms_administrator()] {
        let mut foreign = trader();
        foreign.person = Some(of_another_firm(person(Kind::Trader)));
        let mut desk = trader();
        desk.person = Some(person(Kind::Desk));
        for s in [&mut foreign, &mut desk] {
            let stepped = changed(&agent(&asker), s, &details, None);
            assert_eq!(stepped.verdict, Verdict::Declined(Declined::UnknownUser));
            assert_eq!(stepped.records[0].entry.subject, None, "of whom it says nothing");
            assert_eq!(stepped.records[0].entry.named, named(USERID), "but who was named");
        }
        for kind in [Kind::Administrator, Kind::Service] {
            let mut s = trader();
            s.person = Some(person(kind));
            assert_eq!(changed(&agent(&asker), &mut s, &details, None).verdict, denied(None), "{kind}");
        }
    }
    for (deny, spoil) in NOT_HEARD {
        let (mut program, mut s) = (program(&ALL), trader());
        spoil(&mut program, &mut s);
        let stepped = changed(&agent(&program), &mut s, &details, None);
        assert_eq!((stepped.verdict, stepped.records[0].entry.reason), (denied(None), Some(deny)));
    }
}

#[test]
fn t14_rule_10_an_administrator_has_no_reset_and_no_rate_and_a_seed_with_a_fresh_code_only() {
    let amanda = firms_administrator();
    let roles = TraderDetails { roles: Some("YY".into()), ..nothing() };
    let mut s = shown();
    assert!(matches!(changed(&agent(&amanda), &mut s, &roles, None).verdict, Verdict::StepDone(_)));
    assert_eq!(s.who().profile.roles.as_deref(), Some("YY"));
    let rate = TraderDetails { broker_comm_rate: Some("1".into()), ..nothing() };
    assert_eq!(changed(&agent(&amanda), &mut s, &rate, None).verdict, denied(Some("broker_comm_rate")));
    assert_eq!(
        changed(&agent(&amanda), &mut s, &nothing(), Some(reset())).verdict,
        denied(Some("resetpass"))
    );
    let seed = TraderDetails { otp: Some(true), ..nothing() };
    let stale = changed(&agent(&amanda), &mut s, &seed, None);
    assert_eq!(
        (stale.verdict, stale.records[0].entry.reason),
        (denied(Some("use2fa")), Some(Deny::FactorStale))
    );
    let fresh = Agent { factor_at: Some(NOW - Duration::from_secs(300)), ..agent(&amanda) };
    assert!(matches!(changed(&fresh, &mut s, &seed, None).verdict, Verdict::StepDone(_)));
    let mut s = Situation { policy: s.policy, ..with_code() };
    let unexplained = changed(&fresh, &mut s, &seed, None);
    assert_eq!(unexplained.verdict, Verdict::Declined(Declined::Missing { field: "reason" }));
    let explained = TraderDetails { reason: Some("lost".into()), ..seed };
    assert!(matches!(changed(&fresh, &mut s, &explained, None).verdict, Verdict::StepDone(_)));
}

#[test]
fn t14_rule_11_an_administrator_sees_a_seed_where_a_setup_link_could_be_shown_only() {
    let amanda = firms_administrator();
    let fresh = Agent { factor_at: Some(NOW), ..agent(&amanda) };
    let seed = TraderDetails { otp: Some(true), reason: Some("lost".into()), ..nothing() };
    let by = |by: &Person| Password::Initial {
        phc: phc(),
        set_us: NOW - HOUR,
        expires_us: NOW + HOUR,
        by: Some(by.id),
    };
    type Set = fn(&mut Effective);
    let (none, split, link): (Set, Set, Set) = (
        |_| {},
        |policy| policy.split_handover = true,
        |policy| *policy = Effective { registration_needs_link: None, ..*policy }.settled(true),
    );
    let hidden: Set = |policy| policy.show_setup_link = false;
    let cases: [(Set, Password, Option<PasswordFacts>, Option<Deny>); 7] = [
        (hidden, own_password(), None, Some(Deny::LinkNotShown)),
        (none, by(&amanda), None, None),
        (split, own_password(), None, None),
        (split, by(&program(&ALL)), None, None),
        (split, by(&amanda), None, Some(Deny::LinkNotShown)),
        (split, own_password(), Some(present(true)), Some(Deny::LinkNotShown)),
        (link, own_password(), None, Some(Deny::LinkNeeded)),
    ];
    for (n, (set, password, facts, deny)) in cases.into_iter().enumerate() {
        for authenticator in [Authenticator::None, active()] {
            let mut s = shown();
            set(&mut s.policy);
            (s.who().password, s.who().authenticator) = (password.clone(), authenticator);
            let stepped = changed(&fresh, &mut s, &seed, facts.clone());
            assert_eq!(stepped.records[0].entry.reason, deny, "{n}");
            match deny {
                Some(_) => assert_eq!(stepped.verdict, denied(Some("use2fa")), "{n}"),
                None => assert!(matches!(stepped.verdict, Verdict::StepDone(_)), "{n}"),
            }
            let mut s = Situation { policy: s.policy, ..trader() };
            let stepped = changed(&agent(&program(&ALL)), &mut s, &seed, None);
            assert!(matches!(stepped.verdict, Verdict::StepDone(_)), "{n}: a program may as ever");
        }
        let mut s = shown();
        set(&mut s.policy);
        let refused = n == 0 || (2..=6).contains(&n);
        assert_eq!(added(&fresh, &s, &seed).is_err(), refused, "{n}: who adds, sets the password");
    }
}

#[test]
fn k2_a_seed_that_is_handed_over_takes_the_live_setup_link_back() {
    let mut s = newcomer();
    let seed = TraderDetails { otp: Some(true), ..nothing() };
    let stepped = changed(&agent(&program(&ALL)), &mut s, &seed, None);
    assert!(matches!(stepped.verdict, Verdict::StepDone(_)));
    assert_eq!(stepped.records.len(), 1);
    assert_eq!(s.who().link.as_ref().unwrap().state, LinkState::Revoked { at_us: NOW });
}
