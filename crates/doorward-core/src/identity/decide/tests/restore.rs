//! What a restore voids.

use super::*;
use crate::id::{AccessKeyId, SessionId};
use crate::identity::fix_session::{FixSession, SessionKind};
use crate::identity::key_pair::{Environment, Kept, KeyPair};
use crate::identity::mail::{Mail, MailId, MailKind};
use crate::identity::restore::{Reach, UnsurePair, firms_of, pairs_in_words, restored, unsure_pairs};
use crate::identity::token::{Token, TokenHash};
use crate::identity::totp::{Match, judge};

fn context() -> Context {
    Context { at: NOW, door: Door::Local, source: None, attempt: AttemptId(9) }
}

fn after(person: &Person) -> Person {
    let mut next = person.clone();
    next.apply(&Change::Restored { at: NOW });
    next
}

#[test]
fn v8_no_code_that_could_be_used_by_now_is_good_after_a_restore() {
    for drift in [-10, -2, -1, 0, 1, 2, 10] {
        let factor = Registered { drift, ..registered() };
        let states = [
            Authenticator::Active(factor.clone()),
            Authenticator::BackedOff { factor: factor.clone(), until_us: NOW },
            Authenticator::Locked { factor, since_us: NOW - HOUR },
        ];
        for authenticator in states {
            let name = authenticator.state();
            let next = after(&Person { authenticator, ..person(Kind::Trader) });
            assert_eq!((next.authenticator.state(), next.version), (name, 8), "the rest stays");
            let (Authenticator::Active(factor)
            | Authenticator::BackedOff { factor, .. }
            | Authenticator::Locked { factor, .. }) = next.authenticator
            else {
                panic!("{name}")
            };
            let present = factor.seed.parameters.step_at(NOW);
            for offset in -12..=12 {
                let judged = judge(present, drift, Some(factor.last_step), Some(offset));
                assert!(!matches!(judged, Match::Good { .. }), "drift {drift}, offset {offset}");
            }
            let step = factor.last_step + 1;
            let offset =
                i8::try_from(i64::try_from(step).unwrap() - i64::try_from(present).unwrap()).unwrap();
            let later = judge(present + 2, drift, Some(factor.last_step), Some(offset - 2));
            assert!(matches!(later, Match::Good { .. }) || drift < -2, "the next one is: drift {drift}");
        }
    }
}

#[test]
fn v8_tokens_links_enrolments_and_recovery_codes_are_void_after_a_restore() {
    let link = SetupLink {
        hash: LinkHash([3; 32]),
        made_at: NOW - HOUR,
        expires_at: NOW + HOUR,
        handed: Handed::Mailed,
        by: None,
        wrong: 0,
        state: LinkState::Live,
    };
    let token = Token {
        hash: TokenHash([4; 32]),
        made_at: NOW - HOUR,
        expires_at: NOW + HOUR,
        by: PersonId::from_random(2),
        level: 1,
    };
    let full = Person {
        authenticator: pending(),
        link: Some(link),
        recovery: Some(RecoveryCodes { made_at: NOW - HOUR, unused: Vec::new() }),
        tokens: Tokens::default().with(token, NOW - HOUR),
        ..person(Kind::Trader)
    };
    let next = after(&full);
    assert_eq!(next.version, full.version + 1);
    assert!(next.tokens.is_empty() && next.recovery.is_none());
    assert_eq!(next.authenticator, Authenticator::Revoked { at_us: NOW });
    assert_eq!(next.link.as_ref().unwrap().state, LinkState::Revoked { at_us: NOW });
    assert_eq!((&next.password, next.standing), (&full.password, full.standing));
    assert_eq!(after(&next), next, "there is nothing left to void");
}

#[test]
fn the_record_of_a_restore_says_how_far_the_data_reach() {
    let records =
        restored(NOW - HOUR, "backup b1 of record 7", Vec::new(), &Actor::Local { uid: 7 }, &context());
    let [record] = <[crate::audit::Record; 1]>::try_from(records).unwrap();
    assert_eq!(record.entry.event, Event::Restored);
    assert_eq!(Reach::of(&record.entry), Some(Reach { reach: NOW - HOUR, restored_at: NOW }));
    assert_eq!(record.changes, [Change::Restored { at: NOW }]);
    let other = crate::audit::Entry { event: Event::ClockGood, ..record.entry };
    assert_eq!(Reach::of(&other), None);
}

#[test]
fn v7_mails_of_a_restore_are_spread_over_records_that_are_never_too_large() {
    let pair = |n: u64| UnsurePair {
        session: SessionId::parse(b"ABC").unwrap(),
        id: AccessKeyId::parse(format!("T{n:019}").as_bytes()).unwrap(),
        at: NOW,
        deleted: true,
    };
    let pairs: Vec<_> = (0..10_000).map(pair).collect();
    let words = pairs_in_words(&pairs.iter().collect::<Vec<_>>());
    assert!(words.ends_with("; and 9975 more, see the console") && words.len() < 3_000, "{words}");
    assert_eq!(pairs_in_words(&[&pairs[7]]), pairs[7].in_words());

    let mail = |n: u64| Mail {
        id: MailId::from_random(n),
        to: format!("{}@north.example", "x".repeat(240)),
        kind: MailKind::PairsUnsure,
        queued_at: NOW,
        firm: Some(firm().code),
        about: None,
        userid: None,
        values: [("detail".to_owned(), words.clone())].into(),
        secret: None,
    };
    let mails: Vec<_> = (0..950).map(mail).collect();
    let records = restored(NOW - HOUR, "backup b1", mails.clone(), &Actor::Local { uid: 7 }, &context());
    assert_eq!(records.len(), 10);
    let mut told = Vec::new();
    for (nth, record) in records.into_iter().enumerate() {
        assert!(serde_json::to_vec(&record).unwrap().len() < 1 << 20, "a record of the journal");
        assert_eq!(Reach::of(&record.entry), Some(Reach { reach: NOW - HOUR, restored_at: NOW }));
        let voids = record.changes.contains(&Change::Restored { at: NOW });
        assert_eq!(voids, nth == 0, "once, and first of all");
        for change in record.changes {
            if let Change::MailQueued { mail } = change {
                told.push(*mail);
            }
        }
    }
    assert_eq!(told, mails);
}

#[test]
fn key_pairs_made_or_deleted_within_15_minutes_before_are_unsure() {
    let minute = HOUR / 60;
    let pair = |id: &str, made_at: Wall, secret: Kept| KeyPair {
        id: AccessKeyId::parse(id.as_bytes()).unwrap(),
        made_at,
        ends_at: NOW + HOUR,
        replaced: false,
        noted_at: made_at,
        secret,
    };
    let secret = || Kept::Secret { sealed: seed().sealed };
    let session = FixSession {
        id: SessionId::parse(b"ABC").unwrap(),
        firm: firm().code,
        kind: SessionKind::Order,
        environment: Environment::Test,
        added_at: NOW - HOUR,
        standing: Standing::Active,
        sender_comp_ids: std::collections::BTreeSet::new(),
        operator_ids: std::collections::BTreeSet::new(),
        sources: Vec::new(),
        pairs: vec![
            pair("T000000000000000000A", NOW - 16 * minute, secret()),
            pair("T000000000000000000B", NOW - 15 * minute, secret()),
            pair("T000000000000000000C", NOW - HOUR, Kept::Deleted { at_us: NOW }),
            pair("T000000000000000000D", NOW, Kept::Deleted { at_us: NOW - 20 * minute }),
        ],
        version: 1,
    };
    let reach = |reach: Wall| Reach { reach, restored_at: reach + HOUR };
    let unsure = unsure_pairs(&session, reach(NOW));
    let told: Vec<_> = unsure.iter().map(|pair| (pair.id.to_string(), pair.deleted)).collect();
    assert_eq!(told, [("T000000000000000000B".into(), false), ("T000000000000000000C".into(), true)]);
    assert_eq!(firms_of([&session].into_iter(), reach(NOW)).into_iter().collect::<Vec<_>>(), [firm().code]);
    assert!(firms_of([&session].into_iter(), reach(NOW + 2 * HOUR)).is_empty());
    let before = Reach { reach: NOW - 2 * HOUR, restored_at: NOW - 2 * HOUR };
    assert!(unsure_pairs(&session, before).is_empty(), "made since the restore");
}
