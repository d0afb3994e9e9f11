//! Rules of browser sessions, each by its id; time is given, not waited for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::{AttemptId, Deny, Door};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::person::Kind;
use doorward_core::limits::Limit;
use doorward_core::time::{Mono, Now, Wall};

use super::sessions::{Beginning, Found, Life, Sessions, Stage, Token};
use crate::gate::{Connection, Live, Seat};

const JULIAN: u64 = 2;
const JANE: u64 = 4;

fn at(seconds: u64) -> Now {
    let wall = Wall::from_s(1_800_000_000 + i64::try_from(seconds).unwrap());
    Now { wall, mono: Mono::from_ns(seconds * 1_000_000_000) }
}

fn minutes(minutes: u64) -> u64 {
    minutes * 60
}

fn beginning(person: u64, kind: Kind, stage: Stage) -> Beginning {
    Beginning {
        person: PersonId::from_random(person),
        userid: UserId::parse("julian").unwrap(),
        kind,
        stage,
        life: Life::of(kind, None),
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        agent: String::new(),
        attempt: AttemptId(1),
        connection: Arc::new(Connection::default()),
    }
}

fn signed_in() -> Stage {
    Stage::SignedIn { factor_at: None }
}

fn begin(sessions: &Sessions, person: u64, kind: Kind, now: Now) -> Token {
    sessions.begin(beginning(person, kind, signed_in()), now).unwrap().0
}

fn is_here(found: &Found) -> bool {
    matches!(found, Found::Here(_))
}

fn over(found: &Found) -> Option<Deny> {
    match found {
        Found::Over(_, reason) => Some(*reason),
        Found::Here(_) | Found::Nothing => None,
    }
}

#[test]
fn s6_a_token_has_256_random_bits_and_nothing_else_is_one() {
    let [one, other] = [(); 2].map(|()| Token::random().unwrap());
    assert_ne!(one.expose(), other.expose());
    assert_eq!(one.expose().len(), 43);
    assert!(Token::parse(one.expose()).is_some());
    let long = format!("{}A", one.expose());
    for text in ["", "short", &one.expose()[1..], &long, &"=".repeat(43), &"-".repeat(42)] {
        assert!(Token::parse(text).is_none(), "{text:?}");
    }
    assert_eq!(format!("{one:?}"), "Token(***)");
}

#[test]
fn s6_the_table_does_not_hold_what_a_cookie_holds() {
    let sessions = Sessions::default();
    let token = begin(&sessions, JULIAN, Kind::Trader, at(0));
    assert!(!format!("{sessions:?}").contains(token.expose()));
    assert!(is_here(&sessions.find(&token, at(1), true)));
    assert!(matches!(sessions.find(&Token::random().unwrap(), at(1), true), Found::Nothing));
}

#[test]
fn s6_each_step_has_a_token_of_its_own_and_forms_stay_good() {
    let sessions = Sessions::default();
    let due = beginning(JULIAN, Kind::Trader, Stage::CodeDue);
    let (first, _) = sessions.begin(due, at(0)).unwrap();
    let binding = sessions.binding(&first);
    let second = sessions.advance(&first, signed_in(), at(10)).unwrap().unwrap();
    assert!(matches!(sessions.find(&first, at(10), true), Found::Nothing), "the old one opens nothing");
    assert!(is_here(&sessions.find(&second, at(10), true)));
    assert!(sessions.binding(&second) == binding && sessions.binding(&first) == binding);
    let stage = Stage::SignedIn { factor_at: Some(at(20).mono) };
    let third = sessions.advance(&second, stage, at(20)).unwrap().unwrap();
    assert!(matches!(sessions.find(&second, at(20), true), Found::Nothing));
    let Found::Here(session) = sessions.find(&third, at(20), true) else { panic!("it has gone") };
    assert_eq!((session.factor_at(), session.began_at), (Some(at(20).mono), at(10).wall));
    assert!(sessions.advance(&first, signed_in(), at(20)).unwrap().is_none(), "there is nothing to advance");
}

#[test]
fn s7_a_console_ends_after_15_idle_minutes_or_8_hours_a_portal_after_30_or_12() {
    for (kind, idle, whole) in
        [(Kind::Administrator, 15, 8 * 60), (Kind::Desk, 15, 8 * 60), (Kind::Trader, 30, 12 * 60)]
    {
        let sessions = Sessions::default();
        let token = begin(&sessions, JULIAN, kind, at(0));
        assert!(is_here(&sessions.find(&token, at(minutes(idle) - 1), false)), "{kind}");
        assert_eq!(over(&sessions.find(&token, at(minutes(idle)), true)), Some(Deny::SessionIdle), "{kind}");
        assert!(
            matches!(sessions.find(&token, at(0), true), Found::Nothing),
            "{kind}: it does not come back"
        );

        let token = begin(&sessions, JULIAN, kind, at(0));
        for minute in (0..whole).step_by(10) {
            assert!(is_here(&sessions.find(&token, at(minutes(minute)), true)), "{kind}: {minute}");
        }
        assert!(is_here(&sessions.find(&token, at(minutes(whole) - 1), true)), "{kind}");
        assert_eq!(over(&sessions.find(&token, at(minutes(whole)), true)), Some(Deny::SessionOver), "{kind}");
    }
}

#[test]
fn s7_what_a_page_does_by_itself_is_no_use() {
    let sessions = Sessions::default();
    let token = begin(&sessions, JULIAN, Kind::Trader, at(0));
    for minute in 0..30 {
        assert!(is_here(&sessions.find(&token, at(minutes(minute)), false)));
    }
    assert_eq!(over(&sessions.find(&token, at(minutes(30)), false)), Some(Deny::SessionIdle));
}

#[test]
fn s7_a_policy_shortens_the_idle_time_and_never_lengthens_it() {
    let idle = |max: u64| Life::of(Kind::Trader, Some(Duration::from_secs(minutes(max)))).idle.as_secs();
    assert_eq!((idle(5), idle(30), idle(600)), (minutes(5), minutes(30), minutes(30)));
}

#[test]
fn s7_a_stricter_policy_holds_for_sessions_that_are_open() {
    let sessions = Sessions::default();
    let token = begin(&sessions, JULIAN, Kind::Trader, at(0));
    let max = |count: u64| Duration::from_secs(minutes(count));
    assert!(sessions.hold(&token, max(30), at(minutes(9)), true));
    assert!(sessions.hold(&token, max(10), at(minutes(18)), false), "looking is no use");
    assert!(!sessions.hold(&token, max(10), at(minutes(19)), true));
    assert_eq!(over(&sessions.find(&token, at(minutes(19)), true)), Some(Deny::SessionIdle));
    let token = begin(&sessions, JULIAN, Kind::Trader, at(0));
    assert!(sessions.hold(&token, max(600), at(minutes(29)), false));
    assert!(!sessions.hold(&token, max(600), at(minutes(30)), true), "it never lengthens");
}

#[test]
fn k5_the_steps_before_being_signed_in_take_15_minutes_at_most() {
    let sessions = Sessions::default();
    let stage = Stage::Registering { must_change: true, link: None, enrolment: None };
    let (token, _) = sessions.begin(beginning(JULIAN, Kind::Trader, stage), at(0)).unwrap();
    for minute in 0..15 {
        assert!(is_here(&sessions.find(&token, at(minutes(minute)), true)));
    }
    assert_eq!(over(&sessions.find(&token, at(minutes(15)), true)), Some(Deny::SessionOver));
}

#[test]
fn s8_what_an_administrator_ends_is_over_at_the_next_look() {
    let (sessions, live) = (Sessions::default(), Live::default());
    let julian = beginning(JULIAN, Kind::Trader, signed_in());
    let seat = Seat { door: Door::Portal, source: julian.source, since: at(0).wall, token: None };
    live.enter(julian.person, None, &julian.connection, true, seat);
    let (token, _) = sessions.begin(julian, at(0)).unwrap();
    live.end_person(PersonId::from_random(JULIAN));
    assert_eq!(over(&sessions.find(&token, at(0), true)), Some(Deny::SessionEnded));
    assert!(sessions.of(PersonId::from_random(JULIAN)).is_empty());
}

#[test]
fn s9_a_person_ends_the_own_sessions_and_nobody_elses() {
    let sessions = Sessions::default();
    let [one, two, three] = [(); 3].map(|()| begin(&sessions, JULIAN, Kind::Trader, at(0)));
    let others = begin(&sessions, JANE, Kind::Trader, at(0));
    let (julian, jane) = (PersonId::from_random(JULIAN), PersonId::from_random(JANE));
    let numbers: Vec<_> = sessions.of(julian).iter().map(|session| session.number).collect();
    assert_eq!(numbers.len(), 3);
    assert!(sessions.end_number(jane, numbers[0]).is_none(), "not hers");
    assert!(sessions.end_number(julian, numbers[0]).is_some());
    assert!(!is_here(&sessions.find(&one, at(0), true)));
    assert_eq!(sessions.end_others(julian, numbers[2]).len(), 1);
    assert!(!is_here(&sessions.find(&two, at(0), true)));
    assert!(is_here(&sessions.find(&three, at(0), true)) && is_here(&sessions.find(&others, at(0), true)));
}

#[test]
fn l1_a_person_has_32_sessions_and_one_more_ends_the_oldest() {
    let sessions = Sessions::default();
    let max = usize::try_from(Limit::BrowserSessionsPerPerson.max()).unwrap();
    let tokens: Vec<Token> = (0..max).map(|_| begin(&sessions, JULIAN, Kind::Trader, at(0))).collect();
    let other = begin(&sessions, JANE, Kind::Trader, at(0));
    let (_, ended) = sessions.begin(beginning(JULIAN, Kind::Trader, signed_in()), at(1)).unwrap();
    assert_eq!(ended.len(), 1);
    assert!(
        !is_here(&sessions.find(&tokens[0], at(1), true)) && is_here(&sessions.find(&tokens[1], at(1), true))
    );
    assert!(is_here(&sessions.find(&other, at(1), true)));
    assert_eq!(sessions.of(PersonId::from_random(JULIAN)).len(), max);
}

#[test]
fn l1_all_people_have_100_000_sessions_and_one_more_ends_the_one_not_used_for_longest() {
    let sessions = Sessions::default();
    let per_person = Limit::BrowserSessionsPerPerson.max();
    // One that is neither the first nor the last was not used since a second before all others.
    let used = |n: u64| at(u64::from(n != 77));
    let tokens: Vec<Token> = (0..Limit::BrowserSessions.max())
        .map(|n| begin(&sessions, 1_000 + n / per_person * 2, Kind::Trader, used(n)))
        .collect();
    assert_eq!(sessions.signed_in(), tokens.len());
    begin(&sessions, JULIAN, Kind::Trader, at(2));
    assert_eq!(sessions.signed_in(), tokens.len());
    assert!(
        !is_here(&sessions.find(&tokens[77], at(2), true))
            && is_here(&sessions.find(&tokens[0], at(2), true))
    );
}

#[test]
fn what_is_over_is_swept_with_its_reason() {
    let sessions = Sessions::default();
    begin(&sessions, JULIAN, Kind::Administrator, at(0));
    let kept = begin(&sessions, JANE, Kind::Trader, at(0));
    let reasons: Vec<Deny> = sessions.sweep(at(minutes(15)).mono).into_iter().map(|(_, why)| why).collect();
    assert_eq!(reasons, [Deny::SessionIdle]);
    assert!(is_here(&sessions.find(&kept, at(minutes(15)), true)) && sessions.signed_in() == 1);
}
