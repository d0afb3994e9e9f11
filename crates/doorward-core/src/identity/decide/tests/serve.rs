//! Who may do what to whom, and what each step does.

use std::collections::BTreeSet;

use super::*;
use crate::identity::decide::link::NewLink;
use crate::identity::decide::serve::{self, Act, Asker, Denied, NotServed, may, may_add, may_rule};
use crate::identity::decide::{Misuse, MisuseKind};
use crate::identity::notice::Notice;

fn here() -> Context {
    Context { at: NOW, door: Door::Console, source: None, attempt: AttemptId(9) }
}

fn other(kind: Kind, firm: Option<&str>) -> Person {
    let userid = UserId::parse("other").unwrap();
    let firm = firm.map(|code| FirmCode::parse(code).unwrap());
    Person { id: PersonId::from_random(2), userid, firm, authenticator: active(), ..person(kind) }
}

/// An administrator of the firm with rights.
fn admin(rights: &[Right]) -> Person {
    let grant = Grant { rights: rights.iter().copied().collect(), ..Grant::default() };
    let profile = Profile { grant: Some(grant), ..Profile::default() };
    Person { profile, ..other(Kind::Administrator, Some("FINT")) }
}

fn asks(person: &Person) -> Asker<'_> {
    Asker { person, factor_at: Some(NOW) }
}

/// Somebody on whom every step can be done.
fn target(kind: Kind) -> Person {
    Person { authenticator: locked(), auth_system: AuthSystem::Otp, ..person(kind) }
}

fn denied<T: std::fmt::Debug>(result: Result<T, NotServed>) -> (Denied, Record) {
    let NotServed::Denied(denied, record) = result.unwrap_err() else { panic!("not denied") };
    sound(&record);
    assert_eq!(record.entry.reason, Some(denied.deny()));
    assert!(record.changes.is_empty());
    (denied, *record)
}

fn misused<T: std::fmt::Debug>(result: Result<T, NotServed>) -> Misuse {
    let NotServed::Misuse(misuse) = result.unwrap_err() else { panic!("no misuse") };
    misuse
}

/// Every step that is a decision here, on somebody.
fn all(asker: &Asker<'_>, target: &Person) -> Vec<(Act, Result<Vec<Record>, NotServed>)> {
    let (why, c, policy) = (reason(), here(), Effective::default());
    let one = |result: Result<Record, NotServed>| result.map(|record| vec![record]);
    let policy_shown = Effective { show_setup_link: true, ..policy };
    let view =
        View { person: Some(target), firm: None, policy: policy_shown, clock_good: true, halted: false };
    let link = |handed| {
        let new = NewLink { hash: TOKEN, handed, reason: Some(reason()) };
        serve::make_link(asker, &view, target, &new, true, &c).map(|ruling| vec![ruling.record])
    };
    let (otp, password) = (AuthSystem::Otp, AuthSystem::Password);
    let rights = BTreeSet::from([Right::EditPeople]);
    let notices = BTreeSet::from([Notice::Locked]);
    let email = Some("j@new.example".to_owned());
    let low = Person { auth_system: password, ..target.clone() };
    let off = Person { standing: Standing::Disabled, ..target.clone() };
    vec![
        (Act::ChangeEmail, one(serve::change_email(asker, target, email, &c))),
        (Act::SendLink, link(Handed::Mailed)),
        (Act::ShowLink, link(Handed::Shown)),
        (Act::RevokeLink, one(serve::revoke_link(asker, target, &c))),
        (Act::ResetAuthenticator, one(serve::reset_authenticator(asker, target, &why, &c))),
        (Act::ResetAll, serve::reset_all(asker, target, phc(), &policy, &why, &c)),
        (Act::Unlock, one(serve::unlock(asker, target, &why, &c))),
        (Act::Disable, one(serve::disable(asker, target, false, &why, &c))),
        (Act::Enable, one(serve::enable(asker, &off, &why, &c))),
        (Act::RaiseAuthSystem, serve::change_auth_system(asker, &low, otp, &policy, None, &c)),
        (Act::LowerAuthSystem, serve::change_auth_system(asker, target, password, &policy, Some(&why), &c)),
        (Act::SetRights, one(serve::set_rights(asker, target, rights, false, &why, &c))),
        (Act::SetNotices, one(serve::set_notices(asker, target, notices, &c))),
    ]
}

#[test]
fn q1_to_an_administrator_there_is_nobody_of_another_firm_whatever_the_step() {
    let foreign = Person { firm: Some(FirmCode::parse("ELSE").unwrap()), ..admin(Right::ADMINISTRATOR) };
    let trader = other(Kind::Trader, Some("FINT"));
    let gone = Person { standing: Standing::Disabled, ..admin(Right::ADMINISTRATOR) };
    let desk = person(Kind::Desk);
    for (asker, target) in [
        (&foreign, target(Kind::Trader)),
        (&foreign, target(Kind::Administrator)),
        (&foreign, target(Kind::Service)),
        (&foreign, desk.clone()),
        (&trader, target(Kind::Trader)),
        (&gone, target(Kind::Trader)),
        (&desk, target(Kind::Trader)),
    ] {
        for act in Act::ALL {
            assert_eq!(may(&asks(asker), *act, &target, NOW), Err(Denied::NotFound), "{act}");
        }
        let results = all(&asks(asker), &target);
        for (act, result) in results {
            let (why, record) = denied(result);
            assert_eq!(why, Denied::NotFound, "{act}");
            assert_eq!((record.entry.subject, record.entry.firm), (None, asker.firm.clone()), "{act}");
        }
    }
}

#[test]
fn q2_each_step_asks_for_its_right_and_for_no_other() {
    let target = target(Kind::Administrator);
    for act in Act::ALL {
        for right in Right::ADMINISTRATOR {
            let alone = admin(&[*right]);
            let expected = if *right == act.right() { Ok(()) } else { Err(Denied::Right(act.right())) };
            assert_eq!(may(&asks(&alone), *act, &target, NOW), expected, "{act} with {right}");
        }
    }
    let none = admin(&[]);
    for (act, result) in all(&asks(&none), &target) {
        assert_eq!(denied(result).0, Denied::Right(act.right()), "{act}");
    }
}

#[test]
fn q2_nobody_resets_disables_or_changes_what_proves_and_permits_themselves() {
    for asker in [admin(Right::ADMINISTRATOR), other(Kind::Desk, None)] {
        let asker = Person { auth_system: AuthSystem::Otp, ..asker };
        for (act, result) in all(&asks(&asker), &asker) {
            if act == Act::ChangeEmail {
                assert!(result.is_ok());
            } else {
                assert_eq!(denied(result).0, Denied::Oneself, "{act}");
            }
        }
        for act in Act::ALL {
            let expected = if act.on_oneself() { Ok(()) } else { Err(Denied::Oneself) };
            assert_eq!(may(&asks(&asker), *act, &asker, NOW), expected, "{act}");
        }
    }
}

#[test]
fn q2_t14_dangerous_steps_ask_for_a_code_of_the_last_five_minutes() {
    let (asker, target) = (admin(Right::ADMINISTRATOR), target(Kind::Administrator));
    for factor_at in [None, Some(NOW - Duration::from_secs(301)), Some(NOW + HOUR)] {
        let stale = Asker { person: &asker, factor_at };
        for (act, result) in all(&stale, &target) {
            if act.is_dangerous() {
                let (why, record) = denied(result);
                assert_eq!(why, Denied::Stale, "{act}");
                assert!(record.entry.subject.is_some());
                ends_at(record.entry.trace.as_ref(), Check::FactorFresh);
            } else {
                assert!(!matches!(result, Err(NotServed::Denied(..))), "{act}");
            }
        }
    }
    let five = Asker { person: &asker, factor_at: Some(NOW - Duration::from_secs(300)) };
    assert_eq!(may(&five, Act::ResetAll, &target, NOW), Ok(()));
}

#[test]
fn q5_what_is_done_stands_with_its_reason_and_asker_in_the_record_that_does_it() {
    let asker = admin(Right::ADMINISTRATOR);
    let target = target(Kind::Administrator);
    for (act, result) in all(&asks(&asker), &target) {
        let records = match result {
            Ok(records) => records,
            // There is no live link to take back, and whoever is registered needs none.
            Err(NotServed::Misuse(_)) if act == Act::RevokeLink => continue,
            Err(error) => panic!("{act}: {error:?}"),
        };
        if matches!(act, Act::SendLink | Act::ShowLink) {
            assert_eq!(records[0].entry.reason, Some(Deny::AlreadyRegistered));
            continue;
        }
        for record in records {
            sound(&record);
            assert!(!record.changes.is_empty(), "{act}");
            let entry = &record.entry;
            assert_eq!((&entry.actor, entry.factor), (&asks(&asker).actor(), Factor::PasswordAndCode));
            assert_eq!((&entry.subject.as_ref().unwrap().id, &entry.firm), (&target.id, &target.firm));
            let detail = entry.detail.clone().unwrap_or_default();
            assert_eq!(detail.ends_with("lost the device"), act.is_dangerous(), "{act}: {detail}");
        }
    }
}

#[test]
fn t15_a_reset_leaves_nothing_that_proves_the_person() {
    let asker = admin(Right::ADMINISTRATOR);
    for authenticator in [active(), locked(), pending(), enrolling(1, Some(TOKEN))] {
        let link = Some(link_in(LinkState::Live));
        let julian = Person { authenticator, link, recovery: Some(codes(3)), ..person(Kind::Trader) };
        let record = serve::reset_authenticator(&asks(&asker), &julian, &reason(), &here()).unwrap();
        sound(&record);
        assert_eq!(record.entry.event, Event::AuthenticatorRevoked);
        let after = julian.after(&record);
        assert_eq!((after.authenticator.state(), &after.recovery), ("revoked", &None));
        assert_eq!(after.link.clone().unwrap().state, LinkState::Revoked { at_us: NOW });
        assert_eq!(after.password, julian.password);
        let again = misused(serve::reset_authenticator(&asks(&asker), &after, &reason(), &here()));
        assert_eq!(again.kind, MisuseKind::Conflict);

        let policy = Effective::default();
        let records = serve::reset_all(&asks(&asker), &julian, phc(), &policy, &reason(), &here()).unwrap();
        let events: Vec<Event> = records.iter().map(|record| record.entry.event).collect();
        assert_eq!(events, [Event::PasswordSet, Event::AuthenticatorRevoked]);
        let after = records.iter().fold(julian, |person, record| person.after(record));
        assert_eq!((after.authenticator.state(), &after.recovery), ("revoked", &None));
        let by = Some(asker.id);
        let (set_us, expires_us) = (NOW, NOW + HOUR * 72);
        assert_eq!(after.password, Password::Initial { phc: phc(), set_us, expires_us, by });
    }
    let program = person(Kind::Service);
    let given = serve::reset_all(&asks(&asker), &program, phc(), &Effective::default(), &reason(), &here());
    assert_eq!(misused(given).field, "userid");
}

#[test]
fn a_reset_with_a_new_link_is_one_batch() {
    let asker = admin(Right::ADMINISTRATOR);
    let mut julian = Person { auth_system: AuthSystem::Otp, authenticator: active(), ..person(Kind::Trader) };
    julian.profile.email = Some("j@fi.example".into());
    let reset = serve::reset_authenticator(&asks(&asker), &julian, &reason(), &here()).unwrap();
    let after = julian.after(&reset);
    let policy = Effective::default();
    let view = View { person: Some(&after), firm: None, policy, clock_good: true, halted: false };
    let new = NewLink { hash: TOKEN, handed: Handed::Mailed, reason: None };
    let ruling = serve::make_link(&asks(&asker), &view, &after, &new, true, &here()).unwrap();
    assert_eq!(ruled(ruling).0, None);
}

#[test]
fn the_last_who_can_serve_others_is_not_put_out() {
    let asker = admin(Right::ADMINISTRATOR);
    let last = Person { id: PersonId::from_random(6), ..admin(Right::ADMINISTRATOR) };
    let given = misused(serve::disable(&asks(&asker), &last, true, &reason(), &here()));
    assert_eq!((given.kind, given.field), (MisuseKind::Conflict, "standing"));
    let set = |rights: &[Right], is_last| {
        let rights = rights.iter().copied().collect();
        serve::set_rights(&asks(&asker), &last, rights, is_last, &reason(), &here())
    };
    assert_eq!(misused(set(&[Right::ViewAudit], true)).field, "rights");
    assert!(set(&[Right::EditPeople], true).is_ok() && set(&[Right::ViewAudit], false).is_ok());
    let record = set(&[], false).unwrap();
    assert_eq!(record.entry.event, Event::RightsChanged);
    assert_eq!(record.entry.detail.as_deref(), Some("none: lost the device"));
    assert_eq!(misused(set(Right::ADMINISTRATOR, false)).kind, MisuseKind::Conflict, "nothing changes");
}

#[test]
fn nobody_gives_a_right_that_they_have_not() {
    let editor = admin(&[Right::EditPeople]);
    let target = Person { id: PersonId::from_random(6), ..admin(&[Right::ViewAudit]) };
    let set = |asker: &Person, rights: &[Right]| {
        let rights = rights.iter().copied().collect();
        serve::set_rights(&asks(asker), &target, rights, false, &reason(), &here())
    };
    let (why, _) = denied(set(&editor, &[Right::ManageKeyPairs]));
    assert_eq!(why, Denied::Right(Right::ManageKeyPairs));
    assert!(set(&editor, &[Right::ViewAudit, Right::EditPeople]).is_ok(), "what is there may stay");
    let desk = other(Kind::Desk, None);
    assert!(set(&desk, Right::ADMINISTRATOR).is_ok());
    assert_eq!(misused(set(&desk, &[Right::Verify])).field, "rights");
    let firm = FirmCode::parse("FINT").unwrap();
    let add = |asker: &Person, kind, rights: &[Right]| {
        may_add(&asks(asker), kind, Some(&firm), &rights.iter().copied().collect(), NOW)
    };
    assert_eq!(add(&editor, Kind::Trader, &[]), Ok(()));
    assert_eq!(add(&editor, Kind::Administrator, &[Right::ViewAudit]), Err(Denied::Right(Right::ViewAudit)));
    assert_eq!(add(&admin(&[Right::ViewPeople]), Kind::Trader, &[]), Err(Denied::Right(Right::EditPeople)));
    assert_eq!(add(&desk, Kind::Administrator, Right::ADMINISTRATOR), Ok(()));
    assert_eq!(add(&desk, Kind::Trader, &[]), Err(Denied::NotFound));
    assert_eq!(add(&editor, Kind::Desk, &[]), Err(Denied::NotFound));
}

#[test]
fn t14_who_gets_power_over_others_is_added_with_a_fresh_code_only() {
    let firm = FirmCode::parse("FINT").unwrap();
    let stale = |asker: &Person, kind, firm: Option<&FirmCode>| {
        may_add(&Asker { person: asker, factor_at: None }, kind, firm, &BTreeSet::new(), NOW)
    };
    let (editor, desk) = (admin(&[Right::EditPeople]), other(Kind::Desk, None));
    assert_eq!(stale(&editor, Kind::Trader, Some(&firm)), Ok(()));
    assert_eq!(stale(&editor, Kind::Administrator, Some(&firm)), Err(Denied::Stale));
    assert_eq!(stale(&desk, Kind::Administrator, Some(&firm)), Err(Denied::Stale));
    assert_eq!(stale(&desk, Kind::Desk, None), Err(Denied::Stale));
    assert_eq!(may_add(&asks(&desk), Kind::Desk, None, &BTreeSet::new(), NOW), Ok(()));
}

#[test]
fn firms_policies_and_switches_are_the_desks_alone_with_a_fresh_code() {
    let desk = other(Kind::Desk, None);
    assert_eq!(may_rule(&asks(&desk), NOW), Ok(()));
    assert_eq!(may_rule(&Asker { person: &desk, factor_at: None }, NOW), Err(Denied::Stale));
    assert_eq!(may_rule(&asks(&admin(Right::ADMINISTRATOR)), NOW), Err(Denied::NotFound));
    let gone = Person { standing: Standing::Disabled, ..desk };
    assert_eq!(may_rule(&asks(&gone), NOW), Err(Denied::NotFound));
}

#[test]
fn lowering_the_authentication_system_takes_a_reason_and_the_authenticator() {
    let asker = admin(Right::ADMINISTRATOR);
    let julian = Person { recovery: Some(codes(3)), ..target(Kind::Trader) };
    let lower = |policy: &Effective, reason: Option<&Reason>| {
        serve::change_auth_system(&asks(&asker), &julian, AuthSystem::Password, policy, reason, &here())
    };
    let policy = Effective::default();
    assert_eq!(misused(lower(&policy, None)).field, "reason");
    let records = lower(&policy, Some(&reason())).unwrap();
    let after = records.iter().fold(julian.clone(), |person, record| person.after(record));
    assert_eq!((after.authenticator.state(), after.recovery), ("revoked", None));
    for policy in [
        Effective { otp_demanded: true, ..Effective::default() },
        Effective { password_alone: false, ..Effective::default() },
    ] {
        assert_eq!(misused(lower(&policy, Some(&reason()))).field, "auth_system");
    }
}

#[test]
fn a_reason_is_one_to_256_visible_characters() {
    for text in ["", "  ", "a\u{7}b", "a\u{202e}b", &"x".repeat(257)] {
        assert_eq!(Reason::parse(text).unwrap_err().field, "reason");
    }
    assert_eq!(Reason::parse("  left  ").unwrap().as_str(), "left");
}

#[test]
fn a_notice_is_of_what_a_record_did() {
    let record =
        |event, changes| Record { entry: crate::audit::Entry::new(&here(), event, Actor::Node), changes };
    let change =
        |authenticator| Change::Authenticator { person: PersonId::from_random(1), authenticator, seeds: 1 };
    assert_eq!(Notice::of(&record(Event::CodeRefused, vec![change(locked())])), Some(Notice::Locked));
    assert_eq!(Notice::of(&record(Event::CodeRefused, vec![change(active())])), None);
    for (kind, notice) in [(Kind::Administrator, Some(Notice::NewAdministrator)), (Kind::Trader, None)] {
        let person = Box::new(person(kind));
        assert_eq!(Notice::of(&record(Event::PersonAdded, vec![Change::PersonAdded { person }])), notice);
    }
    assert_eq!(Notice::of(&record(Event::LinkMade, Vec::new())), Some(Notice::LinkSent));
}
