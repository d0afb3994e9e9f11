//! What administrators do: firms, policies, people, authenticators.

use super::*;
use crate::audit::Subject;
use crate::identity::decide::grant::set_grant;
use crate::identity::decide::{
    Misuse, MisuseKind, authenticator, firm as firms, password_set, person as people,
};

fn local() -> Context {
    Context { at: NOW, door: Door::Local, source: None, attempt: AttemptId(9) }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Misuse>, kind: MisuseKind, field: &str, text: &str) {
    let misuse = result.unwrap_err();
    assert_eq!((misuse.kind, misuse.field, misuse.text.as_str()), (kind, field, text));
}

fn apply(person: &mut Person, record: &Record) {
    sound(record);
    assert!(record.changes.iter().all(|change| change.target() == record.changes[0].target()));
    let subject = Subject { id: person.id, userid: person.userid.clone() };
    assert_eq!(record.entry.subject, Some(subject));
    assert_eq!(record.entry.firm, person.firm);
    record.changes.iter().for_each(|change| person.apply(change));
}

fn new(kind: Kind, firm: Option<&str>) -> people::New {
    people::New {
        id: PersonId::from_random(84),
        userid: UserId::parse(USERID).unwrap(),
        kind,
        firm: firm.map(|code| FirmCode::parse(code).unwrap()),
        auth_system: AuthSystem::Password,
        password: password_set::initial(phc(), &Effective::default(), administrator().person(), &local()),
        profile: Profile::default(),
    }
}

fn add(new: people::New) -> Result<Record, Misuse> {
    people::add(new, &Effective::default(), administrator(), &local())
}

#[test]
fn p11_somebody_new_has_an_initial_password_for_seventy_two_hours() {
    let record = add(new(Kind::Trader, Some("FINT"))).unwrap();
    sound(&record);
    assert_eq!((record.entry.event, record.entry.actor.clone()), (Event::PersonAdded, administrator()));
    let [Change::PersonAdded { person }] = &record.changes[..] else { panic!("{record:?}") };
    assert_eq!(person.password, initial_password_since_now());
    assert_eq!(
        (person.authenticator.clone(), person.standing, person.version),
        (Authenticator::None, Standing::Active, 1)
    );
}

fn initial_password_since_now() -> Password {
    Password::Initial { phc: phc(), set_us: NOW, expires_us: NOW + HOUR * 72, by: administrator().person() }
}

#[test]
fn the_desk_is_of_no_firm_and_traders_are_of_one() {
    refused(add(new(Kind::Desk, Some("FINT"))), MisuseKind::Invalid, "firm", "firm: the desk is of no firm");
    refused(
        add(new(Kind::Trader, None)),
        MisuseKind::Invalid,
        "firm",
        "firm: missing; every trader is of one",
    );
    refused(
        add(new(Kind::Administrator, None)),
        MisuseKind::Invalid,
        "firm",
        "firm: missing; every admin is of one",
    );
    for (kind, firm) in [(Kind::Desk, None), (Kind::Service, None), (Kind::Service, Some("FINT"))] {
        sound(&add(new(kind, firm)).unwrap());
    }
}

#[test]
fn what_is_not_allowed_of_a_profile_is_named() {
    let with = |profile| add(people::New { profile, ..new(Kind::Trader, Some("FINT")) });
    for email in [
        "",
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "<a@b>",
        "ü@b.c",
        "a@b\n",
        &format!("{}@b.c", "x".repeat(251)),
    ] {
        let profile = Profile { email: Some(email.into()), ..Profile::default() };
        refused(
            with(profile),
            MisuseKind::Invalid,
            "email",
            "email: not an address of at most 254 characters",
        );
    }
    let profile = Profile { email: Some("julian+x@fi.example".into()), ..Profile::default() };
    sound(&with(profile).unwrap());
    for roles in ["a\u{0}", &"x".repeat(257)] {
        let text = "roles: longer than 256 characters, or a control character";
        let profile = Profile { roles: Some(roles.to_owned()), ..Profile::default() };
        refused(with(profile), MisuseKind::Invalid, "roles", text);
    }
    let profile = Profile { grant: Some(Grant::default()), ..Profile::default() };
    refused(
        with(profile),
        MisuseKind::Invalid,
        "grant",
        "grant: only service users and administrators have one, not a trader",
    );
}

#[test]
fn a_grant_holds_what_its_kind_can_use() {
    let with = |kind, rights: &[Right], firms: &[&str], sources: &[&str]| {
        let grant = Grant {
            rights: rights.iter().copied().collect(),
            firms: firms.iter().map(|code| FirmCode::parse(code).unwrap()).collect(),
            sources: sources.iter().map(|text| Network::parse(text).unwrap()).collect(),
        };
        let profile = Profile { grant: Some(grant), ..Profile::default() };
        add(people::New { profile, ..new(kind, Some("FINT")) }).map_err(|misuse| misuse.field)
    };
    assert!(with(Kind::Administrator, &[Right::ManageKeyPairs], &[], &[]).is_ok());
    assert!(with(Kind::Administrator, &[], &[], &[]).is_ok());
    assert_eq!(with(Kind::Administrator, &[Right::ManageKeyPairs], &["FINT"], &[]), Err("grant"));
    assert_eq!(with(Kind::Administrator, &[], &[], &["192.0.2.0/24"]), Err("grant"));
    assert_eq!(with(Kind::Administrator, &[Right::Add], &[], &[]), Err("grant.rights"));
    assert!(with(Kind::Service, &[Right::Add], &["FINT"], &["192.0.2.0/24"]).is_ok());
    assert_eq!(with(Kind::Service, &[Right::ManageKeyPairs], &[], &[]), Err("grant.rights"));
}

#[test]
fn l1_an_attr_has_4096_bytes_and_no_more() {
    let with = |text: usize| {
        let attr = serde_json::json!({"x": "y".repeat(text)}).as_object().cloned();
        let profile = Profile { attr, ..Profile::default() };
        add(people::New { profile, ..new(Kind::Trader, Some("FINT")) })
    };
    refused(with(4_089), MisuseKind::Invalid, "attr", "attr: 4097 bytes are more than 4096");
    sound(&with(4_088).unwrap());
}

#[test]
fn a_number_in_attr_reads_back_as_it_was_written() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..2_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let number = f64::from_bits(random);
        if number.is_finite() {
            let once: serde_json::Value = serde_json::from_str(&format!("{number:e}")).unwrap();
            let attr = serde_json::json!({ "x": once }).as_object().cloned();
            let profile = Profile { attr, ..Profile::default() };
            sound(&add(people::New { profile, ..new(Kind::Trader, Some("FINT")) }).unwrap());
        }
    }
    for plain in ["0", "-1", "0.25", "12.345", "1e-7", "123456789012345", "18446744073709551615"] {
        let attr = serde_json::from_str(&format!("{{\"x\":{plain}}}")).unwrap();
        sound(
            &add(people::New {
                profile: Profile { attr, ..Profile::default() },
                ..new(Kind::Trader, Some("FINT"))
            })
            .unwrap(),
        );
    }
}

#[test]
fn the_authentication_system_is_within_the_policy_and_the_kind() {
    let demanded = Effective { otp_demanded: true, ..Effective::default() };
    let text = "auth_system: password is not allowed, the policy demands otp";
    let given = people::add(new(Kind::Trader, Some("FINT")), &demanded, administrator(), &local());
    refused(given, MisuseKind::Invalid, "auth_system", text);
    let text = "auth_system: a service user has a password, never a one-time password";
    let service = people::New { auth_system: AuthSystem::Otp, ..new(Kind::Service, None) };
    refused(add(service), MisuseKind::Invalid, "auth_system", text);
    sound(&people::add(new(Kind::Service, None), &demanded, administrator(), &local()).unwrap());
}

#[test]
fn an_edit_makes_one_record_for_each_thing_that_changes_and_none_for_what_stays() {
    let mut julian = person(Kind::Trader);
    let edit =
        |person: &Person, edit| people::edit(person, edit, &Effective::default(), &administrator(), &local());
    let same = people::Edit {
        standing: Some(Standing::Active),
        auth_system: Some(AuthSystem::Password),
        profile: Some(Profile::default()),
    };
    assert_eq!(edit(&julian, same), Ok(Vec::new()));
    let other = people::Edit {
        standing: Some(Standing::Disabled),
        auth_system: Some(AuthSystem::Otp),
        profile: Some(Profile { roles: Some("XX".into()), ..Profile::default() }),
    };
    let records = edit(&julian, other).unwrap();
    let events: Vec<Event> = records.iter().map(|record| record.entry.event).collect();
    assert_eq!(events, [Event::PersonDisabled, Event::PersonChanged, Event::PersonChanged]);
    records.iter().for_each(|record| apply(&mut julian, record));
    assert_eq!(
        (julian.standing, julian.auth_system, julian.version),
        (Standing::Disabled, AuthSystem::Otp, 10)
    );
    let bad = people::Edit {
        standing: Some(Standing::Active),
        profile: Some(Profile { email: Some("x".into()), ..Profile::default() }),
        ..people::Edit::default()
    };
    assert!(edit(&julian, bad).is_err(), "all or nothing");
}

#[test]
fn rule_10_a_programs_grant_is_the_programs_and_its_record_says_all_of_it() {
    let grant = |rights: &[Right], firms: &[&str], sources: &[&str]| Grant {
        firms: firms.iter().map(|code| FirmCode::parse(code).unwrap()).collect(),
        rights: rights.iter().copied().collect(),
        sources: sources.iter().map(|text| Network::parse(text).unwrap()).collect(),
    };
    let mut program = person(Kind::Service);
    program.profile.roles = Some("XX".into());
    let given = grant(&[Right::Verify, Right::TokenOnPassword], &["FINT"], &["192.0.2.0/24"]);
    let record = set_grant(&program, given.clone(), &administrator(), &local()).unwrap();
    sound(&record);
    assert_eq!(record.entry.event, Event::RightsChanged);
    let words = "rights: verify, token-on-password; firms: FINT; from: 192.0.2.0/24";
    assert_eq!(record.entry.detail.as_deref(), Some(words));
    apply(&mut program, &record);
    assert_eq!(
        (program.profile.grant.as_ref(), program.profile.roles.as_deref()),
        (Some(&given), Some("XX"))
    );
    let again = set_grant(&program, given, &administrator(), &local()).unwrap_err();
    assert_eq!((again.kind, again.field), (MisuseKind::Conflict, "grant"));
    let none = set_grant(&program, Grant::default(), &administrator(), &local()).unwrap();
    assert_eq!(none.entry.detail.as_deref(), Some("rights: none; firms: none; from: none"));
    for right in Right::ALL.iter().filter(|right| !Right::PROGRAM.contains(right)) {
        let given = set_grant(&program, grant(&[*right], &[], &[]), &administrator(), &local());
        assert_eq!(given.unwrap_err().field, "grant.rights", "{right}");
    }
    let many: Vec<String> = (0..257).map(|n| format!("F{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let given = set_grant(&program, grant(&[], &many, &[]), &administrator(), &local());
    assert_eq!(given.unwrap_err().field, "grant.firms");
    for kind in [Kind::Desk, Kind::Administrator, Kind::Trader] {
        let given = set_grant(&person(kind), Grant::default(), &administrator(), &local());
        assert_eq!(given.unwrap_err().field, "grant", "{kind}");
    }
}

#[test]
fn reset_rights_and_what_weakens_a_proof_are_off_unless_the_desk_gives_them() {
    let weaker =
        [Right::ResetPassword, Right::ResetAuthenticator, Right::LastingPassword, Right::TokenOnPassword];
    for right in Right::ALL {
        assert_eq!(right.is_reset(), weaker.contains(right), "{right}");
    }
    assert!(Grant::default().rights.is_empty() && !Grant::default().permits([127, 0, 0, 1].into()));
}

#[test]
fn from_otp_to_password_the_authenticator_is_taken_away() {
    for authenticator in [active(), pending(), locked()] {
        let mut julian = Person { auth_system: AuthSystem::Otp, authenticator, ..person(Kind::Trader) };
        let edit = people::Edit { auth_system: Some(AuthSystem::Password), ..people::Edit::default() };
        let records = people::edit(&julian, edit, &Effective::default(), &administrator(), &local()).unwrap();
        records.iter().for_each(|record| apply(&mut julian, record));
        assert_eq!(julian.authenticator.state(), "revoked");
    }
}

#[test]
fn t12_a_seed_that_is_given_out_makes_its_code_needed_even_after_it_is_revoked() {
    let mut s = trader();
    let record = authenticator::issue(s.who(), seed(), administrator(), &local()).unwrap();
    apply(s.who(), &record);
    assert_eq!((s.who().authenticator.state(), s.who().seeds), ("pending", 1));
    for _ in 0..5 {
        s.facts.code = CodeFact::Given { offset: None };
        let changes = s.login().record.changes;
        changes.iter().for_each(|change| s.who().apply(change));
    }
    assert_eq!(s.who().authenticator.state(), "revoked");
    s.facts.code = CodeFact::NotGiven;
    assert!(matches!(s.login().verdict, Verdict::RegistrationNeeded { .. }), "never by the password alone");
}

#[test]
fn t13_a_registered_authenticator_is_not_replaced_and_a_pending_one_is() {
    for state in [active(), locked(), Authenticator::BackedOff { factor: registered(), until_us: NOW }] {
        let julian = Person { authenticator: state, ..person(Kind::Trader) };
        let text = "julian@example.com: an authenticator is registered; reset it first";
        let given = authenticator::issue(&julian, seed(), administrator(), &local());
        refused(given, MisuseKind::Conflict, "authenticator", text);
    }
    let mut julian = Person { authenticator: pending(), seeds: 1, ..person(Kind::Trader) };
    let second = Seed { version: 2, ..seed() };
    let record = authenticator::issue(&julian, second.clone(), administrator(), &local()).unwrap();
    apply(&mut julian, &record);
    assert_eq!(julian.authenticator.comparable(), Some((&second, 0)));
    assert_eq!(julian.seeds, 2);
    let program = person(Kind::Service);
    let given = authenticator::issue(&program, seed(), administrator(), &local());
    refused(given, MisuseKind::Invalid, "userid", "julian@example.com: a service user has no authenticator");
}

#[test]
fn a_reset_takes_every_authenticator_away_that_there_is() {
    for state in [active(), pending(), locked()] {
        let mut julian = Person { authenticator: state, ..person(Kind::Trader) };
        let record = authenticator::revoke(&julian, administrator(), &local()).unwrap();
        apply(&mut julian, &record);
        assert_eq!(julian.authenticator, Authenticator::Revoked { at_us: NOW });
        let text = "julian@example.com: there is no authenticator to reset";
        let again = authenticator::revoke(&julian, administrator(), &local());
        refused(again, MisuseKind::Conflict, "authenticator", text);
    }
}

#[test]
fn t10_an_administrator_unlocks_and_no_used_code_lives_again() {
    let mut s = with_code();
    let last_step = Parameters::default().step_at(NOW);
    let factor = Registered { last_step, wrong: 10, ..registered() };
    s.who().authenticator = Authenticator::Locked { factor, since_us: NOW };
    let record = authenticator::unlock(s.who(), administrator(), &local());
    sound(&record);
    assert_eq!(record.entry.event, Event::AuthenticatorUnlocked);
    assert!(record.changes.contains(&Change::AttemptsForgotten { person: s.who().id }));
    record.changes.iter().for_each(|change| s.who().apply(change));
    assert_eq!(s.login().record.entry.reason, Some(Deny::UsedCode));
    s.facts.code = CodeFact::Given { offset: Some(1) };
    assert_eq!(s.login().verdict, Verdict::Granted(granted_by_code(false)));
    let record = authenticator::unlock(&person(Kind::Trader), administrator(), &local());
    assert_eq!((record.entry.event, record.changes.len()), (Event::AttemptsForgotten, 1));
}

#[test]
fn p11_a_password_that_an_administrator_sets_is_initial() {
    let mut julian = person(Kind::Trader);
    let policy = Effective { initial_password_h: 1, ..Effective::default() };
    let record = password_set::password_set(&julian, phc(), &policy, administrator(), &local());
    apply(&mut julian, &record);
    assert_eq!(
        julian.password,
        Password::Initial { phc: phc(), set_us: NOW, expires_us: NOW + HOUR, by: administrator().person() }
    );
}

#[test]
fn a_firm_has_a_name_and_may_be_closed_and_opened() {
    let code = || FirmCode::parse("FINT").unwrap();
    for name in ["", "  ", "a\u{7}", &"x".repeat(129)] {
        assert_eq!(firms::add(code(), name, administrator(), &local()).unwrap_err().field, "name");
    }
    sound(&firms::add(code(), " Fundamental ", administrator(), &local()).unwrap());
    for (closed, event) in [(true, Event::FirmClosed), (false, Event::FirmOpened)] {
        let record = firms::set_closed(&firm(), closed, administrator(), &local());
        sound(&record);
        let [Change::Firm { firm }] = &record.changes[..] else { panic!("{record:?}") };
        assert_eq!((record.entry.event, firm.closed, firm.version), (event, closed, 4));
    }
}

#[test]
fn p1_a_policy_is_only_ever_stricter_and_names_the_one_it_replaces() {
    let venue = Policy { version: 4, password_chars_min: Some(20), ..Policy::default() };
    let stale = Policy { version: 3, ..venue.clone() };
    let text = "version: 3 was given, 4 is in force; read the policy again";
    refused(
        firms::set_venue_policy(&venue, &stale, administrator(), &local()),
        MisuseKind::Conflict,
        "version",
        text,
    );
    let record = firms::set_venue_policy(&venue, &venue, administrator(), &local()).unwrap();
    sound(&record);
    assert!(matches!(&record.changes[..], [Change::VenuePolicy { policy }] if policy.version == 5));
    let looser = Policy { password_chars_min: Some(19), ..Policy::default() };
    let text = "password_chars_min: 19 is not allowed, only 20..=128";
    let given = firms::set_firm_policy(&venue, &firm(), &looser, administrator(), &local());
    refused(given, MisuseKind::Invalid, "password_chars_min", text);
    let stricter = Policy { password_chars_min: Some(21), pkcs1_allowed: Some(false), ..Policy::default() };
    let record = firms::set_firm_policy(&venue, &firm(), &stricter, administrator(), &local()).unwrap();
    sound(&record);
    assert_eq!(record.entry.firm, Some(firm().code));
}
