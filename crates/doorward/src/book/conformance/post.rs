//! Setup links, last logins, mails and emergency switches, as every store must keep them.

use doorward_core::audit::{Door, Entry, Event, Record};
use doorward_core::id::{FirmCode, SessionId, UserId};
use doorward_core::identity::change::Change;
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::link::{Handed, LinkHash, LinkState, SetupLink};
use doorward_core::identity::mail::{Mail, MailId, MailKind, MailState};
use doorward_core::identity::person::{Kind, Person, Standing};
use doorward_core::identity::sealed::Sealed;
use doorward_core::time::Wall;

use super::{add, batch, by, commit, entry, firm, id, person, registered};
use crate::book::{
    Batch, LastLogin, LinkIs, Load, MailFilter, MailStage, PeopleFilter, Queued, Snapshot, Store,
};

pub(super) fn conforms<S: Store>(fresh: impl Fn() -> S) {
    k1_somebody_is_found_by_the_hash_of_their_last_link(&fresh());
    links_that_are_past_are_found_until_that_is_written_down(&fresh());
    people_are_filtered_by_lock_login_and_link(&fresh());
    the_last_login_is_when_somebody_was_let_in(&fresh());
    administrators_of_a_firm_are_not_those_of_another(&fresh());
    a_mail_is_due_until_it_is_sent_or_given_up(&fresh());
    mails_that_are_done_are_forgotten_after_a_month(&fresh());
    mails_are_listed_in_pages(&fresh());
    of_words_about_a_switch_the_last_holds(&fresh());
}

/// A link that ends at `n` seconds, in one of five states; none where `n` is a multiple of 7.
pub(crate) fn link(n: u8) -> Option<SetupLink> {
    let at_us = Wall::from_s(3);
    let state = match n % 5 {
        0 | 1 => LinkState::Live,
        2 => LinkState::Used { at_us },
        3 => LinkState::Revoked { at_us },
        _ => LinkState::Expired { at_us },
    };
    (!n.is_multiple_of(7)).then(|| SetupLink {
        hash: LinkHash([n; 32]),
        made_at: Wall::from_s(1),
        expires_at: Wall::from_s(n.into()),
        handed: Handed::Mailed,
        by: None,
        wrong: 0,
        state,
    })
}

/// What a filter says of somebody's link at an instant.
pub(crate) fn link_is(person: &Person, now: Wall) -> LinkIs {
    match person.link.as_ref().map(|link| link.state_name(now)) {
        Some("live") => LinkIs::Live,
        Some("expired") => LinkIs::Expired,
        Some(_) | None => LinkIs::None,
    }
}

/// The mail of this number, queued at `at_s`, of ACME.
pub(crate) fn mail(n: u64, at_s: i64) -> Mail {
    Mail {
        id: MailId::from_random((n + 1) << 1),
        to: "ana@example.com".to_owned(),
        kind: MailKind::SetupLink,
        queued_at: Wall::from_s(at_s),
        firm: FirmCode::parse("ACME").ok(),
        about: Some(id(n)),
        userid: UserId::parse("ana").ok(),
        values: [("reason".to_owned(), "Grüße \u{202e}".to_owned())].into(),
        secret: Some(Sealed { key: "k1".to_owned(), blob: "AAAA".to_owned() }),
    }
}

pub(crate) fn mail_state(n: u8) -> MailState {
    match n % 3 {
        0 => MailState::Sent { at_us: Wall::from_s(n.into()) },
        1 => MailState::GivenUp { at_us: Wall::from_s(n.into()), error: "550 nobody here".to_owned() },
        _ => MailState::Waiting {
            tries: n.into(),
            next_us: Wall::from_s(n.into()),
            error: Some("421 later".to_owned()),
        },
    }
}

pub(crate) fn scope(n: u8) -> HaltScope {
    match n % 3 {
        0 => HaltScope::Venue,
        1 => HaltScope::Firm(FirmCode::parse("ACME").unwrap()),
        _ => HaltScope::Session(SessionId::parse(b"S01").unwrap()),
    }
}

pub(crate) fn halt(n: u8) -> Option<Halt> {
    (!n.is_multiple_of(4)).then(|| Halt { since: Wall::from_s(n.into()), reason: "drill".to_owned() })
}

fn set(store: &dyn Store, change: Change) {
    commit(store, batch(Vec::new(), vec![change])).unwrap();
}

fn set_link(store: &dyn Store, n: u64, link: Option<SetupLink>) {
    set(store, Change::Link { person: id(n), link, made: Vec::new() });
}

fn k1_somebody_is_found_by_the_hash_of_their_last_link(store: &dyn Store) {
    set(store, Change::Firm { firm: firm("ACME") });
    for (n, userid) in [(1, "ana"), (2, "bea")] {
        commit(store, add(&person(n, userid))).unwrap();
    }
    assert_eq!(store.load(&Load::Link(LinkHash([1; 32]))).unwrap(), Snapshot::default());
    set_link(store, 1, link(1));
    set_link(store, 2, link(2));
    let found = store.load(&Load::Link(LinkHash([1; 32]))).unwrap();
    assert_eq!((found.person.unwrap().link, found.firm), (link(1), Some(firm("ACME"))));
    set_link(store, 1, link(6));
    assert_eq!(store.load(&Load::Link(LinkHash([1; 32]))).unwrap(), Snapshot::default(), "K2: replaced");
    assert_eq!(store.load(&Load::Link(LinkHash([6; 32]))).unwrap().person.unwrap().id, id(1));
    set_link(store, 1, None);
    assert_eq!(store.load(&Load::Link(LinkHash([6; 32]))).unwrap(), Snapshot::default());
}

fn links_that_are_past_are_found_until_that_is_written_down(store: &dyn Store) {
    for n in 1..=4 {
        commit(store, add(&person(n, &format!("user{n}")))).unwrap();
    }
    let (used, live) = (link(2), |n: u8| link(n).map(|link| SetupLink { state: LinkState::Live, ..link }));
    set_link(store, 1, live(20));
    set_link(store, 2, live(10));
    set_link(store, 3, live(40));
    set_link(store, 4, used);
    let past = |s| store.links_past(Wall::from_s(s), 9).unwrap();
    assert_eq!(past(9), []);
    assert_eq!(past(20), [id(2), id(1)], "the longest past first, and an end is the first instant past");
    assert_eq!(store.links_past(Wall::from_s(50), 1).unwrap(), [id(2)]);
    let expired =
        link(10).map(|link| SetupLink { state: LinkState::Expired { at_us: Wall::from_s(21) }, ..link });
    set_link(store, 2, expired);
    assert_eq!(past(21), [id(1)]);
}

fn people_are_filtered_by_lock_login_and_link(store: &dyn Store) {
    for n in 1..=6u8 {
        let mut who = person(n.into(), &format!("user{n}"));
        who.link = link(n);
        commit(store, add(&who)).unwrap();
    }
    let Authenticator::Active(factor) = registered() else { panic!("not active") };
    let locked = Authenticator::Locked { factor, since_us: Wall::from_s(4) };
    set(store, Change::Authenticator { person: id(5), authenticator: locked, seeds: 1 });
    let_in(store, &person(2, "user2"), 30, Door::WebSocket);
    let all = PeopleFilter::default;
    let acme = FirmCode::parse("ACME").ok();
    let at = Wall::from_s(5);
    let cases: Vec<(PeopleFilter, &[u64])> = vec![
        (PeopleFilter { locked: true, ..all() }, &[5]),
        (PeopleFilter { never_signed_in: true, ..all() }, &[1, 3, 4, 5, 6]),
        // 1, 5 and 6 are live on paper, 4 is written down as expired; at second 5 only 6 still works.
        (PeopleFilter { link: Some((LinkIs::Live, at)), ..all() }, &[6]),
        (PeopleFilter { link: Some((LinkIs::Live, Wall::from_s(4))), ..all() }, &[5, 6]),
        (PeopleFilter { link: Some((LinkIs::Expired, at)), ..all() }, &[1, 4, 5]),
        (PeopleFilter { link: Some((LinkIs::None, at)), ..all() }, &[2, 3]),
        (
            PeopleFilter {
                locked: true,
                never_signed_in: true,
                link: Some((LinkIs::Expired, at)),
                registered: Some(true),
                kind: Some(Kind::Trader),
                standing: Some(Standing::Active),
                auth_system: None,
                text: Some("USER".to_owned()),
                firm: acme.clone(),
            },
            &[5],
        ),
    ];
    for (filter, expected) in cases {
        for firm in [None, acme.clone()] {
            let filter = PeopleFilter { firm: filter.firm.clone().or(firm), ..filter.clone() };
            let found = store.people(&filter, None, 100).unwrap();
            assert_eq!(store.people_count(&filter, 100).unwrap(), found.len(), "{filter:?}");
            assert_eq!(store.people_count(&filter, 1).unwrap(), found.len().min(1), "{filter:?}");
            let found: Vec<_> = found.iter().map(|listed| listed.person.id).collect();
            assert_eq!(found, expected.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{filter:?}");
        }
    }
}

/// Somebody is let in, which changes nothing.
fn let_in(store: &dyn Store, who: &Person, at_s: i64, door: Door) {
    let entry = Entry { door, ..by(entry(Event::LoginGranted, at_s), who) };
    let records = vec![Record { entry, changes: Vec::new() }];
    commit(store, Batch { expects: Vec::new(), records }).unwrap();
}

fn the_last_login_is_when_somebody_was_let_in(store: &dyn Store) {
    let (ana, late) = (person(1, "ana"), person(2, "late"));
    commit(store, add(&ana)).unwrap();
    assert_eq!(store.last_login(ana.id).unwrap(), None);
    let_in(store, &ana, 30, Door::WebSocket);
    let_in(store, &ana, 40, Door::Fix);
    let refused = by(entry(Event::LoginRefused, 50), &ana).refused(doorward_core::audit::Deny::WrongCode);
    let asked = by(entry(Event::CodeAsked, 60), &ana);
    for entry in [refused, asked] {
        let records = vec![Record { entry, changes: Vec::new() }];
        commit(store, Batch { expects: Vec::new(), records }).unwrap();
    }
    let last = LastLogin { at: Wall::from_s(40), door: Door::Fix };
    assert_eq!(store.last_login(ana.id).unwrap(), Some(last));
    // Whichever the book hears of first.
    let_in(store, &late, 70, Door::Local);
    commit(store, add(&late)).unwrap();
    let listed = store.people(&PeopleFilter::default(), None, 9).unwrap();
    let logins: Vec<_> =
        listed.iter().map(|listed| listed.last_login.map(|login| login.at.as_us())).collect();
    assert_eq!(logins, [Some(40_000_000), Some(70_000_000)]);
    let never = PeopleFilter { never_signed_in: true, ..PeopleFilter::default() };
    assert_eq!(store.people(&never, None, 9).unwrap(), []);
}

fn administrators_of_a_firm_are_not_those_of_another(store: &dyn Store) {
    let other = FirmCode::parse("BETA").ok();
    let of = |n, userid: &str, kind, firm: Option<FirmCode>| Person { kind, firm, ..person(n, userid) };
    let acme = FirmCode::parse("ACME").ok();
    let people = [
        of(1, "zoe", Kind::Administrator, acme.clone()),
        of(2, "ana", Kind::Administrator, acme.clone()),
        of(3, "tim", Kind::Trader, acme.clone()),
        of(4, "bea", Kind::Administrator, other.clone()),
        of(5, "ops", Kind::Desk, None),
    ];
    for who in &people {
        commit(store, add(who)).unwrap();
    }
    let ids = |firm: Option<&FirmCode>| {
        store.administrators(firm).unwrap().iter().map(|who| who.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(acme.as_ref()), [id(2), id(1)]);
    assert_eq!((ids(other.as_ref()), ids(None)), (vec![id(4)], vec![id(5)]));
    for code in ["ZETA", "BETA", "DELTA", "ACME"] {
        set(store, Change::Firm { firm: firm(code) });
    }
    let unserved = |limit| store.firms_unserved(limit).unwrap();
    assert_eq!(unserved(9), ["DELTA", "ZETA"].map(|code| FirmCode::parse(code).unwrap()));
    assert_eq!(unserved(1).len(), 1);
}

fn a_mail_is_due_until_it_is_sent_or_given_up(store: &dyn Store) {
    assert_eq!((store.next_mail_due().unwrap(), store.mails_waiting().unwrap()), (None, 0));
    for n in 0..3 {
        set(store, Change::MailQueued { mail: Box::new(mail(n, 10 + n as i64)) });
    }
    let due = |s| {
        let due = store.mails_due(Wall::from_s(s), 9).unwrap();
        due.into_iter().map(|queued| queued.mail.id).collect::<Vec<_>>()
    };
    let ids: Vec<MailId> = (0..3).map(|n| mail(n, 0).id).collect();
    assert_eq!((due(9), due(11)), (Vec::new(), ids[..2].to_vec()));
    assert_eq!(store.next_mail_due().unwrap(), Some(Wall::from_s(10)));
    assert_eq!(store.mails_due(Wall::from_s(11), 1).unwrap().len(), 1);

    let become_ = |n: usize, state: MailState| set(store, Change::MailState { mail: ids[n], state });
    let later = MailState::Waiting { tries: 1, next_us: Wall::from_s(90), error: Some("421".to_owned()) };
    become_(0, later.clone());
    become_(1, mail_state(0));
    become_(2, mail_state(1));
    assert_eq!((due(89), due(90)), (Vec::new(), vec![ids[0]]));
    assert_eq!((store.next_mail_due().unwrap(), store.mails_waiting().unwrap()), (Some(Wall::from_s(90)), 1));
    assert_eq!(store.mail(ids[0]).unwrap(), Some(Queued { mail: mail(0, 10), state: later }));
    let sent = store.mail(ids[1]).unwrap().unwrap();
    assert_eq!((sent.mail.secret, sent.state), (None, mail_state(0)), "no token where nothing is to be sent");
    // The same mail is not queued twice, and a state of none is nobody's.
    set(store, Change::MailQueued { mail: Box::new(mail(1, 95)) });
    set(store, Change::MailState { mail: MailId::from_random(400), state: mail_state(2) });
    assert_eq!(due(200), [ids[0]]);
    assert_eq!(store.mail(MailId::from_random(400)).unwrap(), None);
}

fn mails_that_are_done_are_forgotten_after_a_month(store: &dyn Store) {
    const DAY_S: i64 = 86_400;
    let [sent, given_up, waits, last] = [0, 1, 2, 3].map(|n| mail(n, 10 + n as i64));
    for mail in [&sent, &given_up, &waits] {
        set(store, Change::MailQueued { mail: Box::new(mail.clone()) });
    }
    let at = |days: i64| Wall::from_s(20 + days * DAY_S);
    let become_ = |mail: &Mail, state: MailState| set(store, Change::MailState { mail: mail.id, state });
    become_(&sent, MailState::Sent { at_us: at(0) });
    become_(&given_up, MailState::GivenUp { at_us: at(0), error: "550 nobody here".to_owned() });
    let there = || [&sent, &given_up, &waits, &last].map(|mail| store.mail(mail.id).unwrap().is_some());
    // A mail that comes to its end takes along those that did a month before.
    for (days, left) in [(30, [true, true, true, true]), (32, [false, false, true, true])] {
        let queued_at = at(days);
        set(store, Change::MailQueued { mail: Box::new(Mail { queued_at, ..last.clone() }) });
        become_(&last, MailState::Sent { at_us: at(days) });
        assert_eq!(there(), left, "{days} days later");
    }
    assert_eq!(store.mails_waiting().unwrap(), 1);
}

fn mails_are_listed_in_pages(store: &dyn Store) {
    for n in 0..6u64 {
        let mut queued = mail(n, 10 + (n / 2) as i64);
        if n == 5 {
            queued.firm = None;
        }
        let about = queued.id;
        set(store, Change::MailQueued { mail: Box::new(queued) });
        if n > 0 {
            set(store, Change::MailState { mail: about, state: mail_state(n as u8) });
        }
    }
    let all = MailFilter::default;
    let firm = FirmCode::parse("ACME").ok();
    let cases: Vec<(MailFilter, &[u64])> = vec![
        (all(), &[5, 4, 3, 2, 1, 0]),
        (MailFilter { firm: firm.clone(), ..all() }, &[4, 3, 2, 1, 0]),
        (MailFilter { about: Some(id(3)), ..all() }, &[3]),
        (MailFilter { stage: Some(MailStage::Waiting), ..all() }, &[0]),
        (MailFilter { stage: Some(MailStage::Sent), firm: firm.clone(), ..all() }, &[3]),
        (MailFilter { stage: Some(MailStage::GivenUp), ..all() }, &[4, 1]),
        (MailFilter { unsent: true, ..all() }, &[5, 4, 2, 1, 0]),
        (MailFilter { failed: true, ..all() }, &[5, 4, 2, 1]),
        (MailFilter { failed: true, firm, ..all() }, &[4, 2, 1]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<MailId> = expected.iter().map(|n| mail(*n, 0).id).collect();
        let whole = store.mails(&filter, None, 99).unwrap();
        assert_eq!(whole.iter().map(|queued| queued.mail.id).collect::<Vec<_>>(), expected, "{filter:?}");
        let (mut before, mut paged) = (None, Vec::new());
        while let Some(Queued { mail, .. }) = store.mails(&filter, before, 1).unwrap().pop() {
            paged.push(mail.id);
            before = Some((mail.queued_at, mail.id));
        }
        assert_eq!(paged, expected, "{filter:?}");
    }
}

fn of_words_about_a_switch_the_last_holds(store: &dyn Store) {
    assert_eq!(store.halts().unwrap(), []);
    let say = |n: u8, halt| set(store, Change::Halt { scope: scope(n), halt });
    for n in 0..3 {
        say(n, halt(1));
    }
    say(1, halt(2));
    say(0, None);
    let expected = [(scope(1), halt(2).unwrap()), (scope(2), halt(1).unwrap())];
    assert_eq!(store.halts().unwrap(), expected);
}
