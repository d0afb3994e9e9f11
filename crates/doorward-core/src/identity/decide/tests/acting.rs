//! What programs and administrators do for others at a door: `verifylogin`, tokens, `adduser` (rules 9 to 12).

mod add_user;
mod token;
mod verify;

use super::*;
use crate::audit::Named;
use crate::identity::decide::acting::{Agent, see};
use crate::identity::token::{Token, TokenHash};

const ALL: [Right; 8] = [
    Right::Verify,
    Right::Token,
    Right::Add,
    Right::Change,
    Right::ResetPassword,
    Right::ResetAuthenticator,
    Right::LastingPassword,
    Right::TokenOnPassword,
];
const HASHED: TokenHash = TokenHash([9; 32]);

/// A program that serves the firm FINT from the address that [`trader`] comes from.
fn program(rights: &[Right]) -> Person {
    let mut program = person(Kind::Service);
    program.id = PersonId::from_random(2_000);
    program.userid = UserId::parse("web-portal").unwrap();
    program.firm = None;
    program.profile.grant = Some(Grant {
        firms: [firm().code].into(),
        rights: rights.iter().copied().collect(),
        sources: vec![Network::parse("192.0.2.0/24").unwrap()],
    });
    program
}

/// An administrator of the firm FINT with all rights.
fn firms_administrator() -> Person {
    let mut administrator = person(Kind::Administrator);
    administrator.id = PersonId::from_random(3_000);
    administrator.userid = UserId::parse("amanda").unwrap();
    let rights = Right::ADMINISTRATOR.iter().copied().collect();
    administrator.profile.grant = Some(Grant { rights, ..Grant::default() });
    administrator
}

fn agent(person: &Person) -> Agent<'_> {
    Agent { person, firm: None, factor_at: None }
}

/// How a record names somebody of whom it says nothing else.
fn named(userid: &str) -> Option<Named> {
    Some(Named { begins: userid.chars().take(3).collect(), chars: userid.len() })
}

fn of_another_firm(mut person: Person) -> Person {
    person.firm = Some(FirmCode::parse("OTHER").unwrap());
    person
}

/// A token of the trader's, made an hour ago by the program, good for another hour.
fn give_token(person: &mut Person, level: u8) {
    let (made_at, expires_at, by) = (NOW - HOUR, NOW + HOUR, PersonId::from_random(2_000));
    let token = Token { hash: HASHED, made_at, expires_at, by, level };
    person.tokens = person.tokens.with(token, NOW);
}

type Spoil = fn(&mut Person, &mut Situation);

/// How a program may be in no position to ask anything at all.
const NOT_HEARD: [(Deny, Spoil); 4] = [
    (Deny::Disabled, |program, _| program.standing = Standing::Disabled),
    (Deny::SourceNotPermitted, |_, s| s.source = Some(IpAddr::from([203, 0, 113, 9]))),
    (Deny::SourceNotPermitted, |_, s| s.source = None),
    (Deny::RightMissing, |program, _| {
        program.profile.grant = Some(Grant {
            rights: std::collections::BTreeSet::new(),
            ..program.profile.grant.clone().unwrap()
        });
    }),
];

#[test]
fn rule_10_a_program_serves_the_traders_of_its_firms_and_nobody_else() {
    let program = program(&ALL);
    let agent = agent(&program);
    assert!(agent.serves(&person(Kind::Trader)));
    assert!(!agent.serves(&of_another_firm(person(Kind::Trader))));
    for kind in [Kind::Desk, Kind::Administrator, Kind::Service] {
        assert!(!agent.serves(&person(kind)), "{kind}");
    }
    for kind in [Kind::Desk, Kind::Trader] {
        let other = person(kind);
        assert!(!Agent { person: &other, firm: None, factor_at: Some(NOW) }.serves(&person(Kind::Trader)));
    }
}

#[test]
fn rule_10_who_is_seen_by_whom() {
    let (program, amanda) = (program(&[Right::Verify]), firms_administrator());
    let s = trader();
    for asker in [&program, &amanda, s.person.as_ref().unwrap()] {
        let (verdict, record) = see(&agent(asker), &s.view(), Some(USERID), &s.context());
        let Verdict::Person(shown) = verdict else { panic!("{verdict:?}") };
        assert_eq!((shown.userid.as_str(), shown.active, shown.registered), (USERID, true, false));
        assert_eq!(record, None, "a reading");
    }
    let mut foreign = trader();
    foreign.person = Some(of_another_firm(person(Kind::Trader)));
    let nobody = Situation { person: None, ..trader() };
    for s in [&foreign, &nobody] {
        for asker in [&program, &amanda] {
            let (verdict, record) = see(&agent(asker), &s.view(), Some(USERID), &s.context());
            assert_eq!(
                verdict,
                Verdict::Declined(crate::ask::Declined::UnknownUser),
                "Q1: to them there is none"
            );
            let record = record.unwrap();
            sound(&record);
            assert_eq!((record.entry.event, record.entry.subject), (Event::StepRefused, None));
            assert_eq!(record.entry.named, named(USERID));
        }
    }
    for (deny, spoil) in NOT_HEARD {
        let (mut program, mut s) = (program.clone(), trader());
        spoil(&mut program, &mut s);
        let (verdict, record) = see(&agent(&program), &s.view(), Some(USERID), &s.context());
        assert_eq!(verdict, Verdict::Declined(crate::ask::Declined::NotPermitted { field: None }));
        assert_eq!(record.unwrap().entry.reason, Some(deny));
    }
}
