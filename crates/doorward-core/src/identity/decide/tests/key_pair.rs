//! Key pairs: two at most, their ends, who may see them and when, codes, notices.

use super::*;
use crate::calendar::{Calendar, Date, Hours, Mode};
use crate::id::{AccessKeyId, CompId, SessionId};
use crate::identity::decide::MisuseKind;
use crate::identity::decide::firm::open_key_hours;
use crate::identity::decide::key_pair::{
    CODES_PER_DAY, KeyDecision, KeyView, NewPair, create, delete, download, next_notice, notices, shown,
};
use crate::identity::fix_session::{FixSession, SessionKind, SessionUse};
use crate::identity::key_pair::{Environment, Kept, KeyPair, KeyState, LastUse, access_key_id, secret_place};
use crate::limits::Limit;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const SEALED: &str = "c2VhbGVkLXNlY3JldA";

/// A Monday, 09:00 in Chicago.
fn monday() -> Wall {
    Wall::parse("2026-10-12T14:00:00Z").unwrap()
}

fn at(text: &str) -> Wall {
    Wall::parse(text).unwrap()
}

pub(super) fn session() -> FixSession {
    let stems = ["ABC001", "ABC002"].map(|text| text.to_owned().try_into().unwrap());
    FixSession {
        id: SessionId::parse(b"ABC").unwrap(),
        firm: firm().code,
        kind: SessionKind::Order,
        environment: Environment::Test,
        added_at: monday() - DAY,
        standing: Standing::Active,
        sender_comp_ids: stems.into_iter().collect(),
        operator_ids: ["OP1".to_owned().try_into().unwrap()].into_iter().collect(),
        sources: Vec::new(),
        pairs: Vec::new(),
        version: 1,
    }
}

pub(super) fn new_pair(n: u128) -> NewPair {
    let sealed = Sealed { key: "k1".into(), blob: SEALED.into() };
    NewPair { id: access_key_id(Environment::Test, n), sealed }
}

/// A session with its administrator, and the clock.
struct Center {
    person: Person,
    firm: Firm,
    session: FixSession,
    calendar: Calendar,
    now: Wall,
    clock_good: bool,
    code: CodeFact,
    made: u128,
}

fn center() -> Center {
    let mut person = person(Kind::Administrator);
    person.auth_system = AuthSystem::Otp;
    person.authenticator = active();
    let rights = [Right::ManageKeyPairs].into_iter().collect();
    person.profile.grant = Some(Grant { rights, ..Grant::default() });
    let now = monday();
    if let Authenticator::Active(factor) = &mut person.authenticator {
        factor.last_step = Parameters::default().step_at(now - DAY);
    }
    let calendar = Calendar::new(Hours::default()).unwrap();
    let code = CodeFact::Given { offset: Some(0) };
    Center { person, firm: firm(), session: session(), calendar, now, clock_good: true, code, made: 0 }
}

impl Center {
    fn context(&self) -> Context {
        Context { at: self.now, door: Door::Local, source: None, attempt: AttemptId(7) }
    }

    fn view(&self) -> KeyView<'_> {
        let (person, firm) = (&self.person, Some(&self.firm));
        let who = View {
            person: Some(person),
            firm,
            policy: Effective::default(),
            clock_good: self.clock_good,
            halted: false,
        };
        KeyView { who, person, session: &self.session, calendar: &self.calendar }
    }

    /// Does what the records say, as the store would.
    fn apply(&mut self, records: &[Record]) {
        for record in records {
            sound(record);
            let entry = serde_json::to_string(&record.entry).unwrap();
            assert!(!entry.contains(SEALED), "a secret in {entry}");
            for change in &record.changes {
                match change {
                    Change::FixSession { session } => {
                        assert_eq!(session.version, self.session.version + 1, "one change, one version");
                        self.session = session.as_ref().clone();
                    }
                    _ => self.person.apply(change),
                }
            }
        }
    }

    fn decided<T>(&mut self, decision: KeyDecision<T>) -> Result<T, Deny> {
        self.apply(&decision.records);
        decision.result.map_err(|refusal| refusal.deny)
    }

    fn create(&mut self, delete: Option<AccessKeyId>) -> Result<AccessKeyId, Deny> {
        self.made += 1;
        let decision = create(&self.view(), new_pair(self.made), delete, self.code, &self.context()).unwrap();
        self.decided(decision).map(|pair| pair.id)
    }

    fn download(&mut self, id: &AccessKeyId) -> Result<AccessKeyId, Deny> {
        let decision = download(&self.view(), id, self.code, &self.context()).unwrap();
        self.decided(decision).map(|pair| pair.id)
    }

    fn delete(&mut self, id: &AccessKeyId) -> Result<(), Deny> {
        let decision = delete(&self.view(), id, "left the firm", &self.context()).unwrap();
        self.decided(decision)
    }

    fn pair(&self, id: &AccessKeyId) -> &KeyPair {
        self.session.pair(id).unwrap()
    }

    fn later(&mut self, span: Duration) -> &mut Self {
        self.now = self.now + span;
        self
    }
}

#[test]
fn h2_a_second_pair_gives_the_first_its_end_and_a_third_asks_which_one_goes() {
    let mut c = center();
    let first = c.create(None).unwrap();
    assert_eq!(c.pair(&first).state(c.now), KeyState::Active);
    assert_eq!(c.pair(&first).ends_at, at("2027-10-12T14:00:00Z"), "twelve months");
    let second = c.later(DAY).create(None).unwrap();
    let end = at("2026-11-10T22:00:00Z");
    assert_eq!(c.pair(&first).state(c.now), KeyState::Expiring { at_us: end });
    assert_eq!(c.pair(&second).state(c.now), KeyState::Active);
    assert_eq!(c.later(DAY).create(None), Err(Deny::PairsFull));
    assert_eq!(c.person.key_codes.accepted, 1, "the code was not looked at");

    let third = c.create(Some(first)).unwrap();
    assert_eq!(c.pair(&first).state(c.now), KeyState::Deleted { at_us: c.now });
    assert_eq!(c.pair(&first).sealed(), None, "its secret is gone");
    assert_eq!(c.pair(&second).state(c.now), KeyState::Expiring { at_us: at("2026-11-11T22:00:00Z") });
    assert_eq!(c.pair(&third).state(c.now), KeyState::Active);
}

#[test]
fn h2_a_new_end_never_lies_after_the_one_that_a_pair_had() {
    let mut c = center();
    let first = c.create(None).unwrap();
    let second = c.later(DAY).create(None).unwrap();
    let end = c.pair(&first).ends_at;
    c.later(DAY).create(Some(second)).unwrap();
    assert_eq!(c.pair(&first).ends_at, end, "a third one does not lengthen the first's life");
    // Near the end of its twelve months, four weeks more would be too many.
    let mut c = center();
    let first = c.create(None).unwrap();
    let life = c.pair(&first).ends_at;
    c.now = at("2027-10-06T14:00:00Z");
    c.create(None).unwrap();
    assert_eq!(c.pair(&first).ends_at, life);
    assert_eq!(c.pair(&first).state(c.now), KeyState::Expiring { at_us: life });
    assert!(c.pair(&first).state(life - Duration::from_micros(1)).is_live());
    assert_eq!(c.pair(&first).state(life), KeyState::Expired { at_us: life });
}

#[test]
fn h2_an_ended_or_deleted_pair_leaves_room_for_another() {
    let mut c = center();
    let first = c.create(None).unwrap();
    c.later(DAY).create(None).unwrap();
    c.now = at("2026-11-11T15:00:00Z");
    assert!(!c.pair(&first).state(c.now).is_live());
    let third = c.create(None).unwrap();
    c.delete(&third).unwrap();
    c.later(DAY).create(None).unwrap();
    assert_eq!(c.session.live(c.now).count(), 2);
}

#[test]
fn h2_an_end_is_at_the_close_of_a_day_with_a_session() {
    let mut c = center();
    let holidays = ["2026-11-10", "2026-11-11"].map(|text| Date::parse(text).unwrap()).into_iter().collect();
    c.calendar = Calendar::new(Hours { holidays, ..Hours::default() }).unwrap();
    let first = c.create(None).unwrap();
    c.later(DAY).create(None).unwrap();
    assert_eq!(c.pair(&first).ends_at, at("2026-11-12T22:00:00Z"));
}

#[test]
fn which_pair_to_delete_must_make_sense() {
    let mut c = center();
    let first = c.create(None).unwrap();
    let strange = access_key_id(Environment::Test, 900);
    let try_create = |c: &Center, doomed| create(&c.view(), new_pair(50), Some(doomed), c.code, &c.context());
    assert_eq!(try_create(&c, strange).unwrap_err().kind, MisuseKind::NotFound);
    assert_eq!(try_create(&c, first).unwrap_err().kind, MisuseKind::Conflict, "there is room");
    c.later(DAY).create(None).unwrap();
    c.delete(&first).unwrap();
    assert_eq!(try_create(&c, first).unwrap_err().kind, MisuseKind::NotFound, "it is deleted already");
    let again = delete(&c.view(), &first, "twice", &c.context());
    assert_eq!(again.unwrap_err().kind, MisuseKind::Conflict);
    for reason in ["", "  ", "a\nb", &"x".repeat(257)] {
        let refused = delete(&c.view(), &first, reason, &c.context());
        assert_eq!(refused.unwrap_err().field, "reason", "{reason:?}");
    }
    assert_eq!(download(&c.view(), &strange, c.code, &c.context()).unwrap_err().kind, MisuseKind::NotFound);
}

#[test]
fn q3_only_an_administrator_of_the_firm_with_the_right_has_to_do_with_key_pairs() {
    type Spoil = fn(&mut Center);
    let spoiled: [(&str, Spoil, Deny); 7] = [
        ("the desk", |c| (c.person.kind, c.person.firm) = (Kind::Desk, None), Deny::RightMissing),
        ("a trader", |c| c.person.kind = Kind::Trader, Deny::RightMissing),
        ("no right", |c| c.person.profile.grant = None, Deny::RightMissing),
        ("q1 another firm", |c| c.session.firm = FirmCode::parse("OTHER").unwrap(), Deny::RightMissing),
        ("disabled", |c| c.person.standing = Standing::Disabled, Deny::Disabled),
        ("a closed firm", |c| c.firm.closed = true, Deny::FirmClosed),
        ("a service user", |c| c.person.kind = Kind::Service, Deny::RightMissing),
    ];
    for (name, spoil, deny) in spoiled {
        let mut c = center();
        let first = c.create(None).unwrap();
        c.later(DAY);
        spoil(&mut c);
        let before = (c.session.clone(), c.person.clone());
        assert_eq!(c.create(None), Err(deny), "{name}");
        assert_eq!(c.download(&first), Err(deny), "{name}");
        assert_eq!(c.delete(&first), Err(deny), "{name}");
        assert_eq!((c.session, c.person), before, "{name}");
    }
    let mut c = center();
    c.session.standing = Standing::Disabled;
    assert_eq!(c.create(None), Err(Deny::SessionDisabled));
}

#[test]
fn h4_each_pair_and_each_look_takes_a_fresh_code() {
    let mut c = center();
    c.code = CodeFact::NotGiven;
    assert_eq!(c.create(None), Err(Deny::WrongCode));
    c.code = CodeFact::Given { offset: Some(0) };
    let first = c.create(None).unwrap();
    assert_eq!(c.download(&first), Err(Deny::UsedCode), "the code of a moment ago");
    assert_eq!(c.later(DAY).download(&first), Ok(first));
    c.code = CodeFact::Given { offset: None };
    assert_eq!(c.later(DAY).download(&first), Err(Deny::WrongCode));
    let Authenticator::Active(factor) = &c.person.authenticator else { panic!("not active") };
    assert_eq!(factor.wrong, 1, "wrong codes count on every door");
    c.code = CodeFact::Given { offset: Some(0) };
    c.clock_good = false;
    assert_eq!(c.download(&first), Err(Deny::ClockSuspect));
    c.clock_good = true;
    for (authenticator, deny) in [
        (pending(), Deny::NotRegistered),
        (Authenticator::None, Deny::NotRegistered),
        (locked(), Deny::Locked),
    ] {
        c.person.authenticator = authenticator;
        assert_eq!(c.download(&first), Err(deny));
    }
}

#[test]
fn h4_ten_codes_a_day_are_accepted_by_the_clock_of_the_venue() {
    let mut c = center();
    let first = c.create(None).unwrap();
    for n in 2..=CODES_PER_DAY {
        assert_eq!(c.later(Duration::from_secs(60)).download(&first), Ok(first), "{n}");
    }
    assert_eq!(c.later(Duration::from_secs(60)).download(&first), Err(Deny::CodesUsedUp));
    assert_eq!(c.create(None), Err(Deny::CodesUsedUp), "made and shown together");
    c.now = at("2026-10-13T04:59:59Z");
    assert_eq!(c.download(&first), Err(Deny::CodesUsedUp), "it is still Monday in Chicago");
    c.now = at("2026-10-13T05:00:00Z");
    assert_eq!(c.download(&first), Ok(first));
    let today = c.calendar.day(c.now);
    assert_eq!(c.person.key_codes, KeyCodes { day: today, accepted: 1 });
    c.delete(&first).unwrap();
    assert_eq!(c.person.key_codes.accepted, 1, "deleting takes no code");
}

#[test]
fn h4_each_is_in_the_audit_with_who_and_which() {
    let mut c = center();
    let context = c.context();
    let made = create(&c.view(), new_pair(1), None, c.code, &context).unwrap();
    c.apply(&made.records);
    c.later(DAY);
    let second = create(&c.view(), new_pair(2), None, c.code, &c.context()).unwrap();
    c.apply(&second.records);
    let id = new_pair(1).id;
    c.later(DAY);
    let third = create(&c.view(), new_pair(3), Some(id), c.code, &c.context()).unwrap();
    let events: Vec<_> = third.records.iter().map(|record| record.entry.event).collect();
    assert_eq!(events, [Event::KeyPairDeleted, Event::KeyPairCreated]);
    for record in &third.records {
        let entry = &record.entry;
        assert_eq!((&entry.firm, entry.session), (&Some(firm().code), Some(c.session.id)));
        assert!(matches!(&entry.actor, Actor::Person { id, .. } if *id == c.person.id), "{entry:?}");
        assert_eq!(entry.factor, Factor::LocalUserAndCode);
    }
    assert!(third.records[0].entry.detail.as_ref().unwrap().contains(&id.to_string()));
    c.apply(&third.records);
    c.later(DAY);
    let looked = download(&c.view(), &new_pair(3).id, c.code, &c.context()).unwrap();
    assert_eq!(looked.records[0].entry.event, Event::KeyPairDownloaded);
    c.code = CodeFact::Given { offset: None };
    c.later(DAY);
    let refused = download(&c.view(), &new_pair(3).id, c.code, &c.context()).unwrap();
    assert_eq!(refused.records[0].entry.event, Event::KeyPairRefused);
    ends_at(refused.records[0].entry.trace.as_ref(), Check::CodeMatches);
}

#[test]
fn keys_are_made_and_shown_in_the_hours_of_the_customer_center_and_deleted_at_all() {
    let mut c = center();
    let first = c.create(None).unwrap();
    c.now = at("2026-10-17T14:00:00Z"); // Saturday
    assert_eq!(c.create(None), Err(Deny::HoursClosed));
    let refused = download(&c.view(), &first, c.code, &c.context()).unwrap().result.unwrap_err();
    assert!(refused.text.contains("2026-10-18T15:00:00.000Z"), "{}", refused.text);
    // The desk opens it for this firm, for an hour.
    let opened = open_key_hours(&c.firm, "release weekend", administrator(), &c.context()).unwrap();
    sound(&opened);
    let [Change::Firm { firm }] = &opened.changes[..] else { panic!("{opened:?}") };
    c.firm = firm.clone();
    assert_eq!(c.download(&first), Ok(first));
    c.later(Duration::from_secs(3_600));
    assert_eq!(c.download(&first), Err(Deny::HoursClosed));
    assert_eq!(c.delete(&first), Ok(()));
    c.calendar = Calendar::new(Hours { mode: Mode::Always, ..Hours::default() }).unwrap();
    assert!(c.create(None).is_ok(), "a calendar that never closes");
}

#[test]
fn a_pair_that_is_good_no_more_is_not_shown() {
    let mut c = center();
    let first = c.create(None).unwrap();
    c.delete(&first).unwrap();
    assert_eq!(c.later(DAY).download(&first), Err(Deny::AccessKeyDeleted));
    let second = c.create(None).unwrap();
    c.now = at("2027-10-18T15:00:00Z");
    assert_eq!(c.download(&second), Err(Deny::AccessKeyExpired));
}

/// Every notice that is told when somebody looks once in a while, with its instant.
fn told(c: &mut Center, every: Duration, until: Wall) -> Vec<(Wall, String)> {
    let mut told = Vec::new();
    while c.now < until {
        c.later(every);
        for record in notices(&c.session, &c.context()) {
            let detail = record.entry.detail.clone().unwrap();
            told.push((c.now, detail.split(": ").nth(1).unwrap().to_owned()));
            c.apply(std::slice::from_ref(&record));
        }
    }
    told
}

#[test]
fn h3_sixty_thirty_fourteen_seven_and_one_days_before_the_end_are_told_once() {
    for every in [Duration::from_secs(3_600), DAY, DAY * 40, DAY * 400] {
        let mut c = center();
        c.create(None).unwrap();
        let end = c.session.pairs[0].ends_at;
        let told = told(&mut c, every, end + DAY);
        let words: Vec<_> = told.iter().map(|(_, text)| text.split(" before").next().unwrap()).collect();
        let ended = format!("ended {end}");
        assert_eq!(words, ["60 days", "30 days", "14 days", "7 days", "1 day", &ended], "{every:?}");
        for (days, (at, _)) in [60u32, 30, 14, 7, 1].into_iter().zip(&told) {
            let due = end - DAY * days;
            assert!(due <= *at && *at < due + every, "{days}: {at}");
        }
        assert_eq!(c.session.pairs[0].secret, Kept::Expired);
        assert_eq!(next_notice(&c.session), None);
    }
}

#[test]
fn h3_a_pair_that_got_a_nearer_end_is_told_of_what_still_lies_ahead() {
    let mut c = center();
    c.create(None).unwrap();
    assert_eq!(next_notice(&c.session), Some(at("2027-10-12T14:00:00Z") - DAY * 60));
    let second = c.later(DAY).create(None).unwrap();
    let end = c.session.pairs[0].ends_at;
    assert_eq!(next_notice(&c.session), Some(end - DAY * 14));
    let told = told(&mut c, DAY, end + DAY);
    let words: Vec<_> = told.iter().map(|(_, text)| text.split(" before").next().unwrap()).collect();
    assert_eq!(words, ["14 days", "7 days", "1 day", &format!("ended {end}")]);
    c.delete(&second).unwrap();
    assert_eq!(next_notice(&c.session), None, "nothing is told of a deleted one");
}

#[test]
fn what_is_shown_says_when_a_pair_was_used_and_whether_it_is_safe_to_retire() {
    let mut c = center();
    let (first, second) = (c.create(None).unwrap(), c.later(DAY).create(None).unwrap());
    let mut used = SessionUse::default();
    let safe = |c: &Center, used: &SessionUse| {
        let all = shown(&c.session, used, c.now);
        assert_eq!((all[0].id, all[1].id), (second, first), "newest first");
        (all[1].safe_to_retire, all[0].safe_to_retire)
    };
    let comp = CompId::parse(b"ABC001N").unwrap();
    let log_on = |c: &Center, used: &mut SessionUse, access_key| {
        let last = LastUse { at: c.now, source: IpAddr::from([192, 0, 2, 1]), sender_comp_id: comp };
        used.apply(&Change::KeyUsed { session: c.session.id, access_key, used: last });
    };
    assert_eq!(safe(&c, &used), (false, false), "neither was ever used");
    log_on(&c, &mut used, first);
    assert_eq!(safe(&c, &used), (false, false));
    log_on(c.later(DAY), &mut used, second);
    assert_eq!(safe(&c, &used), (false, false), "the first was in use yesterday");
    assert_eq!(safe(c.later(DAY * 6), &used), (true, false));
    log_on(&c, &mut used, first);
    assert_eq!(safe(&c, &used), (false, false));
    assert_eq!(shown(&c.session, &used, c.now)[1].last_use.unwrap().sender_comp_id, comp);
    c.delete(&first).unwrap();
    assert_eq!(safe(&c, &used), (true, false));
}

#[test]
fn l1_a_session_remembers_so_many_ended_pairs() {
    let mut c = center();
    c.calendar = Calendar::new(Hours { mode: Mode::Always, ..Hours::default() }).unwrap();
    for _ in 0..40 {
        let id = c.later(DAY).create(None).unwrap();
        c.delete(&id).unwrap();
    }
    assert_eq!(c.session.pairs.len() as u64, Limit::KeyPairsShown.max());
    assert_eq!(c.session.pairs.last().unwrap().id, access_key_id(Environment::Test, 40));
}

#[test]
fn an_access_key_id_tells_its_environment_and_reads_back() {
    let ids: Vec<_> = [0, 1, 61, 62, u128::MAX].map(|n| access_key_id(Environment::Live, n)).into();
    for id in &ids {
        assert_eq!(AccessKeyId::parse(id.as_bytes()), Some(*id));
        assert_eq!(id.as_bytes()[0], b'L');
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1);
    }
    assert_eq!(access_key_id(Environment::Test, 0).as_bytes()[0], b'T');
    let place = secret_place(&ids[0], &firm().code);
    assert_eq!((place.table, place.row, place.firm.as_str()), ("key_pair", ids[0].to_string(), "FINT"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever is done with a session, at most two pairs are good, none longer than twelve months, and no end moves
    /// away.
    #[test]
    fn h2_whatever_is_done_the_rules_of_two_pairs_hold(
        steps in proptest::collection::vec((0u8..4, 0u32..3_000), 1..40),
    ) {
        let mut c = center();
        for (step, hours) in steps {
            c.later(HOUR * hours + Duration::from_secs(31));
            let before = c.session.clone();
            let live: Vec<_> = c.session.live(c.now).map(|pair| pair.id).collect();
            match (step, &live[..]) {
                (0, _) => drop(c.create(None)),
                (1, [older, _]) => drop(c.create(Some(*older))),
                (2, [_, newer]) => drop(c.create(Some(*newer))),
                (1 | 2, _) => drop(c.create(None)),
                (_, []) => {}
                (_, [first, ..]) => c.delete(first).unwrap(),
            }
            let due = notices(&c.session, &c.context());
            c.apply(&due);
            proptest::prop_assert!(c.session.live(c.now).count() <= 2);
            for pair in &c.session.pairs {
                proptest::prop_assert!(pair.ends_at <= c.calendar.key_life_end(pair.made_at));
                if let Some(old) = before.pair(&pair.id) {
                    proptest::prop_assert!(pair.ends_at <= old.ends_at);
                    let revived = pair.state(c.now).is_live() && !old.state(c.now).is_live();
                    proptest::prop_assert!(!revived);
                }
            }
            let mut live: Vec<_> = c.session.live(c.now).collect();
            if live.len() == 2 {
                live.sort_by_key(|pair| pair.ends_at);
                let close = c.calendar.market_close_at_or_after(live[0].ends_at);
                let life = c.calendar.key_life_end(live[0].made_at);
                proptest::prop_assert!(live[0].ends_at == close || live[0].ends_at == life);
                proptest::prop_assert!(live[0].ends_at <= c.calendar.key_end(c.now));
            }
        }
    }
}
