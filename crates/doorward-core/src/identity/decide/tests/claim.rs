//! The desk's first operator, one who is recovered, and the emergency switch.

use super::*;
use crate::id::SessionId;
use crate::identity::decide::claim::{NewOperator, first, recover};
use crate::identity::decide::{MisuseKind, halt};
use crate::identity::halt::{Halt, HaltScope};

fn local() -> Context {
    Context { at: NOW, door: Door::Local, source: None, attempt: AttemptId(9) }
}

fn operator() -> NewOperator {
    let (id, userid) = (PersonId::from_random(84), UserId::parse(USERID).unwrap());
    NewOperator { id, userid, email: Some("desk@venue.example".into()), phc: phc(), seed: seed() }
}

fn claims(desk_exists: bool, clock_good: bool, offset: Option<i8>) -> (Option<Deny>, Record) {
    let policy = Effective::default();
    let ruling = first(desk_exists, clock_good, operator(), offset, Some(codes(10)), &policy, &local());
    ruled(ruling.unwrap())
}

#[test]
fn s11_the_first_operator_is_there_with_the_confirming_code_and_nothing_before() {
    for (desk_exists, clock_good, offset, deny) in [
        (true, true, Some(0), Some(Deny::DeskClaimed)),
        (false, false, Some(0), Some(Deny::ClockSuspect)),
        (false, true, None, Some(Deny::WrongCode)),
        (false, true, Some(5), Some(Deny::WrongCode)),
        (false, true, Some(0), None),
    ] {
        let (given, record) = claims(desk_exists, clock_good, offset);
        assert_eq!((given, record.changes.len()), (deny, usize::from(deny.is_none())));
    }
    let record = claims(false, true, Some(0)).1;
    assert_eq!((record.entry.event, record.entry.factor), (Event::OperatorClaimed, Factor::PasswordAndCode));
    let [Change::PersonAdded { person }] = &record.changes[..] else { panic!("{record:?}") };
    assert_eq!((person.kind, person.auth_system, person.seeds), (Kind::Desk, AuthSystem::Otp, 1));
    assert!(person.authenticator.is_registered() && person.recovery == Some(codes(10)));
    let mut s = with_code();
    s.person = Some(person.as_ref().clone());
    assert_eq!(s.login().record.entry.reason, Some(Deny::UsedCode), "T7: the confirming code is used up");
    let bad = NewOperator { email: Some("x".into()), ..operator() };
    let given = first(false, true, bad, Some(0), None, &Effective::default(), &local());
    assert_eq!(given.unwrap_err().field, "email");
}

#[test]
fn an_operator_who_is_recovered_begins_again_with_a_password_and_a_link() {
    let mut s = newcomer();
    let gone = Person {
        standing: Standing::Disabled,
        authenticator: locked(),
        recovery: Some(codes(3)),
        ..person(Kind::Desk)
    };
    let policy = Effective::default();
    let actor = Actor::Local { uid: 0 };
    let record = recover(&gone, phc(), TOKEN, &policy, &reason(), actor.clone(), &local()).unwrap();
    sound(&record);
    assert_eq!(record.entry.event, Event::OperatorRecovered);
    assert!(record.changes.contains(&Change::AttemptsForgotten { person: gone.id }));
    s.person = Some(gone.after(&record));
    let who = s.who().clone();
    assert_eq!((who.standing, who.authenticator.state(), who.recovery), (Standing::Active, "revoked", None));
    assert!(matches!(who.password, Password::Initial { .. }));
    let looked = crate::identity::decide::link::look(&s.view(), &TOKEN, NOW);
    assert_eq!((looked, who.auth_system), (Ok(()), AuthSystem::Otp));
    for kind in [Kind::Trader, Kind::Administrator, Kind::Service] {
        let given = recover(&person(kind), phc(), TOKEN, &policy, &reason(), actor.clone(), &local());
        assert_eq!(given.unwrap_err().field, "userid");
    }
}

#[test]
fn the_switch_is_thrown_once_and_taken_back_each_with_a_reason() {
    let firm = FirmCode::parse("FINT").unwrap();
    let session = SessionId::parse(b"ABC").unwrap();
    for (scope, of) in [
        (HaltScope::Venue, None),
        (HaltScope::Firm(firm.clone()), Some(firm.clone())),
        (HaltScope::Session(session), Some(firm.clone())),
    ] {
        let throw = |present: Option<&Halt>, end_all| {
            let (scope, firm) = (scope.clone(), Some(firm.clone()));
            halt::throw(scope, firm, present, &reason(), end_all, administrator(), &local())
        };
        let back = |present: Option<&Halt>| {
            let (scope, firm) = (scope.clone(), Some(firm.clone()));
            halt::take_back(scope, firm, present, &reason(), administrator(), &local())
        };
        let record = throw(None, false).unwrap();
        sound(&record);
        assert_eq!((record.entry.event, &record.entry.firm), (Event::Halted, &of));
        let [Change::Halt { halt: Some(thrown), .. }] = &record.changes[..] else { panic!("{record:?}") };
        assert_eq!(throw(Some(thrown), false).unwrap_err().kind, MisuseKind::Conflict);
        assert!(throw(Some(thrown), true).is_ok(), "to end all as well");
        assert_eq!(back(None).unwrap_err().kind, MisuseKind::Conflict);
        let record = back(Some(thrown)).unwrap();
        sound(&record);
        assert_eq!(
            (record.entry.event, &record.changes[..]),
            (Event::Resumed, &[Change::Halt { scope, halt: None }][..])
        );
    }
}

#[test]
fn the_switch_covers_everybody_but_the_desk() {
    let firm = FirmCode::parse("FINT").unwrap();
    for kind in [Kind::Trader, Kind::Administrator, Kind::Service] {
        assert!(HaltScope::Venue.covers_person(&person(kind)));
        assert!(HaltScope::Firm(firm.clone()).covers_person(&person(kind)));
        assert!(!HaltScope::Firm(FirmCode::parse("ELSE").unwrap()).covers_person(&person(kind)));
    }
    assert!(!HaltScope::Venue.covers_person(&person(Kind::Desk)));
    assert!(!HaltScope::Session(SessionId::parse(b"ABC").unwrap()).covers_person(&person(Kind::Trader)));
}
