//! Setup links: made, taken back, expired.

use super::*;
use crate::identity::decide::link::{MADE_MAX, NewLink, expire, make, revoke, revoke_live};
use crate::identity::decide::{MisuseKind, authenticator, password_set, person as people};

fn new(handed: Handed) -> NewLink {
    NewLink { hash: LinkHash([9; 32]), handed, reason: None }
}

/// Somebody with an address at a firm whose administrators may see links.
fn addressed() -> Situation {
    let mut s = newcomer();
    s.policy.show_setup_link = true;
    s.who().profile.email = Some("julian@fi.example".into());
    s
}

fn made(s: &Situation, handed: Handed) -> (Option<Deny>, Record) {
    let person = s.person.as_ref().unwrap();
    ruled(make(&s.view(), person, &new(handed), true, administrator(), &s.context()))
}

#[test]
fn k2_k6_a_new_link_takes_the_place_of_the_live_one_and_names_who_saw_it() {
    for handed in [Handed::Mailed, Handed::Shown] {
        let mut s = addressed();
        let (deny, record) = made(&s, handed);
        assert_eq!((deny, record.entry.event), (None, Event::LinkMade));
        assert_eq!(record.entry.actor, administrator());
        let detail = record.entry.detail.clone().unwrap();
        assert!(detail.starts_with(handed.name()), "{detail}");
        assert!(!detail.contains("09090909"), "{detail}");
        s.then(&record);
        let link = s.who().link.clone().unwrap();
        assert_eq!((link.hash, link.by, link.handed), (LinkHash([9; 32]), administrator().person(), handed));
        let old = crate::identity::decide::link::look(&s.view(), &TOKEN, NOW);
        assert_eq!(old, Err(Deny::LinkUnknown), "the one before is dead");
    }
}

#[test]
fn k5_a_link_works_for_the_time_that_the_desk_gives() {
    let mut s = addressed();
    s.policy.setup_link_min = 15;
    let (_, record) = made(&s, Handed::Mailed);
    s.then(&record);
    let link = s.who().link.clone().unwrap();
    assert_eq!(link.expires_at, NOW + Duration::from_secs(15 * 60));
    assert!(link.is_live(NOW) && !link.is_live(link.expires_at));
    let default = made(&addressed(), Handed::Mailed).1;
    let [Change::Link { link: Some(link), .. }] = &default.changes[..] else { panic!("{default:?}") };
    assert_eq!(link.expires_at, NOW + HOUR * 72);
}

#[test]
fn k7_five_links_an_hour_and_the_sixth_when_the_first_is_an_hour_old() {
    let mut s = addressed();
    for _ in 0..MADE_MAX {
        let (deny, record) = made(&s, Handed::Mailed);
        assert_eq!(deny, None);
        s.then(&record);
    }
    let (deny, record) = made(&s, Handed::Mailed);
    assert_eq!((deny, record.entry.event), (Some(Deny::LinksUsedUp), Event::LinkRefused));
    assert!(record.changes.is_empty());
    ends_at(record.entry.trace.as_ref(), Check::LinkAdmitted);
    let later = Context { at: NOW + HOUR, ..s.context() };
    let person = s.person.clone().unwrap();
    let (deny, record) = ruled(make(&s.view(), &person, &new(Handed::Mailed), true, administrator(), &later));
    assert_eq!(deny, None);
    s.then(&record);
    assert_eq!(s.who().links_made, [NOW + HOUR], "older ones are forgotten");
}

#[test]
fn a_link_is_shown_only_where_the_desk_says_so_and_mailed_only_to_an_address() {
    let mut s = addressed();
    s.policy.show_setup_link = false;
    assert_eq!(made(&s, Handed::Shown).0, Some(Deny::LinkNotShown));
    assert_eq!(made(&s, Handed::Mailed).0, None);
    s.who().profile.email = None;
    assert_eq!(made(&s, Handed::Mailed).0, Some(Deny::NoAddress));
    let s = addressed();
    let person = s.person.as_ref().unwrap();
    let ruling = make(&s.view(), person, &new(Handed::Mailed), false, administrator(), &s.context());
    assert_eq!(ruled(ruling).0, Some(Deny::NoAddress), "no mail server");
}

#[test]
fn split_handover_whoever_set_or_saw_the_password_does_not_see_the_link() {
    let other = Actor::Person { id: PersonId::from_random(6), userid: UserId::parse("other").unwrap() };
    for (split, actor, deny) in [
        (true, administrator(), Some(Deny::LinkNotShown)),
        (true, other, None),
        (false, administrator(), None),
    ] {
        let mut s = addressed();
        s.policy.split_handover = split;
        s.who().password = password_set::initial(phc(), &s.policy, administrator().person(), &s.context());
        let person = s.person.as_ref().unwrap();
        let shown = make(&s.view(), person, &new(Handed::Shown), true, actor.clone(), &s.context());
        assert_eq!(ruled(shown).0, deny);
        let mailed = make(&s.view(), person, &new(Handed::Mailed), true, actor, &s.context());
        assert_eq!(ruled(mailed).0, None);
    }
}

#[test]
fn t13_a_link_is_made_for_those_alone_who_have_to_register() {
    for mut s in every_state() {
        s.policy.show_setup_link = true;
        let person = s.who().clone();
        let expected = match (person.standing, person.kind, person.authenticator.is_registered()) {
            (Standing::Disabled, _, _) => Some(Deny::Disabled),
            (Standing::Active, Kind::Service, _) => Some(Deny::WrongKind),
            (Standing::Active, _, true) => Some(Deny::AlreadyRegistered),
            (Standing::Active, _, false) => None,
        };
        let (deny, record) = made(&s, Handed::Shown);
        assert_eq!(deny, expected);
        assert_eq!(record.changes.len(), usize::from(deny.is_none()), "effect and entry in one record");
    }
    let mut s = addressed();
    s.who().auth_system = AuthSystem::Password;
    assert_eq!(made(&s, Handed::Mailed).0, Some(Deny::OtpNotChosen));
    s.firm.closed = true;
    assert_eq!(made(&s, Handed::Mailed).0, Some(Deny::FirmClosed));
}

#[test]
fn k2_every_step_that_takes_a_link_back_does_so_in_its_own_record() {
    let s = newcomer();
    let julian = Person { authenticator: pending(), ..s.person.clone().unwrap() };
    let (actor, context) = (administrator(), s.context());
    let policy = Effective::default();
    let edit = |edit| people::edit(&julian, edit, &policy, &actor, &context).unwrap().remove(0);
    let mailed = Profile { email: Some("j@new.example".into()), ..Profile::default() };
    let records = [
        (Event::PasswordSet, password_set::password_set(&julian, phc(), &policy, actor.clone(), &context)),
        (Event::AuthenticatorRevoked, authenticator::revoke(&julian, actor.clone(), &context).unwrap()),
        (
            Event::PersonDisabled,
            edit(people::Edit { standing: Some(Standing::Disabled), ..people::Edit::default() }),
        ),
        (Event::EmailChanged, edit(people::Edit { profile: Some(mailed), ..people::Edit::default() })),
        (Event::LinkRevoked, revoke(&julian, actor.clone(), &context).unwrap()),
    ];
    for (event, record) in records {
        sound(&record);
        let after = julian.after(&record);
        assert_eq!(record.entry.event, event);
        assert_eq!(after.link.unwrap().state, LinkState::Revoked { at_us: NOW }, "{event}");
    }
}

#[test]
fn an_edit_of_the_address_and_the_rest_makes_a_record_of_each() {
    let mut s = trader();
    let profile =
        Profile { email: Some("j@new.example".into()), roles: Some("XX".into()), ..Profile::default() };
    let edit = people::Edit { profile: Some(profile.clone()), ..people::Edit::default() };
    let records =
        people::edit(&person(Kind::Trader), edit, &Effective::default(), &administrator(), &s.context())
            .unwrap();
    let events: Vec<Event> = records.iter().map(|record| record.entry.event).collect();
    assert_eq!(events, [Event::EmailChanged, Event::PersonChanged]);
    records.iter().for_each(|record| s.then(record));
    assert_eq!(s.who().profile, profile);
}

#[test]
fn a_link_expires_once_and_only_a_live_one_is_taken_back() {
    for mut s in every_state() {
        let context = s.context();
        let link = s.who().link.clone();
        let due = link.as_ref().is_some_and(|link| link.state == LinkState::Live && NOW >= link.expires_at);
        let record = expire(s.who(), &context);
        assert_eq!(record.is_some(), due);
        let live = link.as_ref().is_some_and(|link| link.state == LinkState::Live);
        assert_eq!(revoke_live(s.who(), NOW).is_some(), live);
        let by_hand = revoke(s.who(), administrator(), &context);
        match by_hand {
            Ok(_) => assert!(live && !due),
            Err(misuse) => assert_eq!((misuse.kind, live && !due), (MisuseKind::Conflict, false)),
        }
        if let Some(record) = record {
            assert_eq!((record.entry.event, &record.entry.actor), (Event::LinkExpired, &Actor::Node));
            s.then(&record);
            assert_eq!(expire(s.who(), &context), None, "once");
        }
    }
}
