//! What `security.md` asks of the FIX door, of key pairs and of traders' Logons, from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use doorward_client::fix::KeyPair;
use doorward_core::secret::Secret;
use serde_json::{Value, json};
use support::fix::{Fields, Gateway, Heard, Seat};
use support::{Server, User, shared_demo, source};

const REFUSED: &str = "Invalid Logon. Logout Forced";

/// The signed tags.
const SIGNED: [u32; 11] = [34, 49, 50, 52, 57, 108, 142, 369, 1603, 1604, 1605];

/// Everything durable about FIX but the audit trail: numbers, last uses, locks, and the stream log byte for byte.
async fn durable(server: &Server) -> (Value, Value, Vec<Vec<u8>>) {
    let sessions = server.api().get("/api/v1/sessions").await.unwrap();
    let streams = server.api().get("/api/v1/streams").await.unwrap();
    let mut files = server.written();
    files.retain(|(path, _)| path.components().any(|part| part.as_os_str() == "streams"));
    assert!(!files.is_empty(), "no stream log was found");
    files.sort();
    (sessions, streams, files.into_iter().map(|(_, bytes)| bytes).collect())
}

#[tokio::test]
async fn f1_an_unauthenticated_logon_changes_nothing_durable() {
    let demo = Server::demo(&[]).await;
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.order("before").await;
    peer.log_out().await;
    demo.venue_sends(&seat, 3, "undelivered").await;
    let before = durable(&demo).await;
    let other = demo.own_session(Gateway::Cgw);
    let changes: [fn(Fields) -> Fields; 6] = [
        |logon| logon,
        |logon| logon.with(141, "Y"),
        |logon| logon.set(34, "1").with(141, "Y"),
        |logon| logon.set(34, "4000"),
        |logon| logon.without(1402).with(141, "Y"),
        |logon| logon.set(108, "7").with(141, "Y"),
    ];
    for change in changes {
        for key in [seat.key_id.as_str(), other.key_id.as_str(), "AbCdEfGhIjKlMnOpQrSt"] {
            let mut peer = demo.fix(&seat).await;
            peer.next = 4;
            let logon = change(peer.unsigned_logon().signed(key, &seat.key).set(1402, "A".repeat(43)));
            peer.send(&logon).await;
            peer.refused().await;
            demo.forgive(&seat).await;
            demo.forgive(&other).await;
        }
    }
    assert_eq!(durable(&demo).await, before);
    demo.logged_on(&seat, 5).await;
}

#[tokio::test]
async fn f2_nothing_is_sent_before_the_logon_answer() {
    let demo = Server::demo(&["--fault", "gate-delay=1"]).await;
    let seat = demo.own_stream();
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon();
    // A Test Request right behind it, and the venue has something to say.
    let test = Fields { all: peer.head("1").set(34, "2").with(112, "early").all, ..Fields::new() };
    peer.send_bytes(&[logon.bytes(), test.bytes()].concat()).await;
    let sent = demo.venue_sends(&seat, 3, "while it was verified").await;
    let heard = peer.hear().await;
    assert!(heard.is("A"), "{heard:?}");
    let first = heard.number(34);
    peer.next = 3;
    let asked = peer.hear_type("1").await;
    let heartbeat = peer.head("0").with(112, asked.at(112));
    peer.say(heartbeat).await;
    peer.hear_type("0").await.assert(&[(112, Some("early"))]);
    // Where this program was so slow that the Logon was answered before, the messages stand behind it.
    assert_eq!(first, if sent == 1 { 4 } else { 1 }, "stored, and numbered before the Logon");

    // Nor to those who are not let in.
    let mut stranger = demo.fix(&demo.own_stream()).await;
    let strange = stranger.strange_logon();
    stranger.send_bytes(&[strange.bytes(), test.bytes()].concat()).await;
    stranger.refused().await.assert(&[(58, Some(REFUSED))]);
}

/// A refusal without what the peer itself sent, and the time.
fn told(refusal: &Heard) -> Vec<(u32, String)> {
    let own = [9, 10, 52, 56, 57];
    let fields = refusal.fields().into_iter();
    fields.map(|(tag, value)| (tag, if own.contains(&tag) { String::new() } else { value })).collect()
}

/// Every way in which credentials can be wrong, with the check that says so in the audit trail.
fn wrong_credentials(demo: &Server, seat: &Seat) -> Vec<(&'static str, Fields)> {
    let other = demo.seat(11, seat.gateway);
    let logon = |later_ms: i64| {
        let head = Fields::new().with(35, "A").with(34, "1").with(49, &seat.comp).with(50, &seat.operator);
        let head =
            head.with(52, support::fix::time(later_ms)).with(56, "CME").with(57, seat.gateway.sub_id());
        let rest = head.with(142, "US,IL").with(108, "30").with(369, "0");
        rest.with(1603, "Test Suite").with(1604, "1.0").with(1605, "Example")
    };
    let sign = |fields: Fields| fields.signed(&seat.key_id, &seat.key);
    let good = || sign(logon(0));
    let flipped = {
        let signature = String::from_utf8(good().get(1402).to_vec()).unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        format!("{first}{}", &signature[1..])
    };
    let stem = &seat.comp[..3];
    vec![
        ("signature-differs", good().set(142, "US,NY")),
        ("signature-differs", good().set(1402, flipped)),
        ("signature-differs", logon(0).signed(&seat.key_id, &other.key)),
        ("bad-signature", good().set(1402, format!("{}=", "A".repeat(42)))),
        ("bad-signature", good().set(1402, "/".repeat(43))),
        ("unknown-access-key", logon(0).signed("AbCdEfGhIjKlMnOpQrSt", &seat.key)),
        ("unknown-access-key", logon(0).signed(&other.key_id, &other.key)),
        ("unknown-access-key", logon(0).signed("short", &seat.key)),
        ("unknown-comp-id", sign(logon(0).set(49, "ZZZ001N"))),
        ("unknown-comp-id", sign(logon(0).set(49, format!("{stem}999N")))),
        ("unknown-comp-id", sign(logon(0).set(49, "nobody"))),
        ("wrong-indicator", sign(logon(0).set(49, format!("{}U", &seat.comp[..6])))),
        ("operator-not-permitted", sign(logon(0).set(50, "OPER9"))),
        ("sending-time-stale", sign(logon(-6_000))),
        ("sending-time-ahead", sign(logon(30_000))),
        ("sending-time-ahead", sign(logon(0).set(52, "now"))),
        ("length-differs", good().set(354, "19")),
        ("length-differs", good().set(1401, "44")),
        ("repeated-tag", good().with(1605, "Example")),
        ("control-character", sign(logon(0).set(1603, "Test\nSuite"))),
        ("tag-not-permitted", good().with(43, "N")),
        ("tag-not-permitted", good().with(97, "N")),
        ("tag-not-permitted", good().with(122, "20261121-00:00:00.000")),
    ]
}

#[tokio::test]
async fn f3_h6_credential_failures_of_all_kinds_look_alike() {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    let count = wrong_credentials(demo, &seat).len();
    for n in 0..count {
        let from = source();
        let mut peer = demo.fix_from(&seat, from).await;
        // Made only now, or it would be stale.
        let (reason, logon) = wrong_credentials(demo, &seat).swap_remove(n);
        let shown = peer.refused_shown(&logon).await;
        let expected = vec![
            (8, "FIX.4.2".to_owned()),
            (9, String::new()),
            (35, "5".to_owned()),
            (34, "1".to_owned()),
            (49, "CME".to_owned()),
            (50, "G".to_owned()),
            (52, String::new()),
            (56, String::new()),
            (57, String::new()),
            (58, REFUSED.to_owned()),
            (10, String::new()),
        ];
        assert_eq!(told(&shown), expected, "{reason}: {shown:?}");
        assert_eq!(shown.at(56).as_bytes(), logon.get(49), "{reason}");
        assert_eq!(shown.at(57).as_bytes(), logon.get(50), "{reason}");
        let (check, recorded) = demo.failed_check(from).await;
        assert_eq!(recorded, reason, "{logon:?}");
        assert!(!check.is_empty(), "{reason}: no check is named");
        demo.forgive(&seat).await;
        demo.forgive(&demo.seat(11, Gateway::Cgw)).await;
    }
}

#[tokio::test]
async fn f4_strangers_lock_nobody_out_and_the_fifth_refusal_of_a_key_locks_its_session() {
    let demo = shared_demo().await;
    let (victim, careless) = (demo.own_session(Gateway::Cgw), demo.own_session(Gateway::Cgw));
    for n in 0..12 {
        let mut peer = demo.fix(&victim).await;
        let key = if n % 2 == 0 { "AbCdEfGhIjKlMnOpQrSt" } else { "TsRqPoNmLkJiHgFeDcBa" };
        let logon = peer.unsigned_logon().signed(key, &victim.key);
        assert_eq!(peer.refused_logon(&logon).await, REFUSED);
    }
    // With the victim's name and a key of another session it is that one's refusals that are counted.
    for n in 1..=5 {
        let mut peer = demo.fix(&victim).await;
        let logon = peer.unsigned_logon().signed(&careless.key_id, &victim.key);
        let text = peer.refused_logon(&logon).await;
        assert_eq!(text == REFUSED, n < 5, "{n}: {text}");
    }
    assert_eq!(demo.session(&victim).await["locked"], Value::Null);
    assert!(demo.session(&careless).await["locked"].is_string());
    demo.logged_on(&victim, 1).await.log_out().await;
    let mut peer = demo.fix(&careless).await;
    let logon = peer.logon();
    assert!(peer.refused_logon(&logon).await.starts_with("(1000) CME Administered Port Closure"));
    demo.reopen(&careless).await;
    demo.logged_on(&careless, 1).await.log_out().await;
}

#[tokio::test]
async fn f5_h5_a_replayed_logon_is_refused_and_ends_nothing() {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon();
    peer.send(&logon).await;
    peer.welcomed().await;
    for _ in 0..2 {
        let from = source();
        let mut thief = demo.fix_from(&seat, from).await;
        assert_eq!(thief.refused_logon(&logon).await, REFUSED);
        let expected = ("logon-unseen".to_owned(), "replayed-logon".to_owned());
        assert_eq!(demo.failed_check(from).await, expected);
    }
    peer.ping("unharmed").await;
    peer.log_out().await;
    let mut thief = demo.fix(&seat).await;
    assert_eq!(thief.refused_logon(&logon).await, REFUSED);
}

/// The forms in which a secret could be found.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    if let Ok(raw) = BASE64URL_NOPAD.decode(secret.as_bytes())
        && raw.len() == 32
    {
        forms.push(HEXLOWER.encode(&raw).into_bytes());
        forms.push(raw);
    }
    forms
}

#[tokio::test]
async fn f7_q3_v6_no_credential_is_written_anywhere() {
    let sample = Server::demo(&[]).await;
    sample.terminate();
    // A demo logs next to nothing; this one logs all it can.
    let demo = Server::serve_again(&sample, "log.level = \"trace\"\n").await;
    let (seat, locked) = (demo.own_session(Gateway::Cgw), demo.own_session(Gateway::Msgw));
    let mut secrets = vec![seat.secret.clone(), locked.secret.clone()];
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon();
    secrets.push(String::from_utf8(logon.get(1402).to_vec()).unwrap());
    peer.send(&logon).await;
    peer.welcomed().await;
    peer.order("a").await;
    peer.next = 1;
    let renewed = peer.sign(peer.unsigned_logon().with(141, "Y"));
    secrets.push(String::from_utf8(renewed.get(1402).to_vec()).unwrap());
    peer.say(renewed).await;
    peer.expect("A").await;
    peer.order("b").await;
    for change in [|logon: Fields| logon, |logon: Fields| logon.set(142, "US,NY")] {
        let mut peer = demo.fix(&locked).await;
        let logon = change(peer.logon().set(34, "9"));
        secrets.push(String::from_utf8(logon.get(1402).to_vec()).unwrap());
        peer.send(&logon).await;
        peer.refused().await;
    }
    let mut thief = demo.fix(&seat).await;
    thief.send(&logon).await;
    thief.refused().await;
    let trader = demo.registered().await;
    let code = trader.code();
    let mut peer = demo.fix(&Server::trader_seat(&trader)).await;
    let logon = peer.trader_logon(&trader.password, Some(&code)).with(925, "a canary of a new passphrase");
    peer.send(&logon).await;
    peer.expect("A").await.assert(&[(1409, Some("1"))]);
    peer.next = 2;
    peer.order("c").await;
    demo.trader_refused(&trader, "a canary of a wrong password", Some("123456")).await;
    secrets.extend([trader.password.clone(), "a canary of a new passphrase".to_owned()]);
    secrets.extend(["a canary of a wrong password".to_owned(), format!("20030={code}")]);

    let files = sample.written().into_iter().chain(demo.written());
    let mut places: Vec<(String, Vec<u8>)> =
        files.map(|(path, bytes)| (path.display().to_string(), bytes)).collect();
    // What the demo tells its user.
    let tour = sample.dir.join("stdout").display().to_string();
    for (_, bytes) in &mut places {
        // Files are longer than what is written to them so far.
        let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(len);
    }
    places.retain(|(name, _)| !name.contains("sample-") && !name.contains("ready.json") && *name != tour);
    places.push(("audit".to_owned(), json!(demo.audit("").await).to_string().into_bytes()));
    places.push(("measurements".to_owned(), demo.measurements().await.into_bytes()));
    let holds = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    let known = [
        ("/streams/", "35=D"),
        ("/journal/", "logon-granted"),
        ("stderr", "replayed-logon"),
        ("audit", "OPER1"),
    ];
    for (place, text) in known {
        let seen = places.iter().any(|(name, bytes)| name.contains(place) && holds(bytes, text.as_bytes()));
        assert!(seen, "the search does not find what is in {place}");
    }
    for (name, bytes) in &places {
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            assert!(!holds(bytes, &form), "{} is in {name}", form.escape_ascii());
        }
    }
}

#[tokio::test]
async fn f9_a_logon_made_before_the_process_listened_is_refused() {
    let demo = Server::demo(&[]).await;
    let seat = demo.own_session(Gateway::Cgw);
    // It listened when it wrote this file, at most a moment before.
    let ready = std::fs::metadata(demo.dir.join("ready.json")).unwrap().modified().unwrap();
    let before = ready - Duration::from_secs(3);
    let from = source();
    let mut peer = demo.fix_from(&seat, from).await;
    let logon = peer.sign(peer.unsigned_logon().set(52, support::fix::time_of(before)));
    assert_eq!(peer.refused_logon(&logon).await, REFUSED);
    let (_, reason) = demo.failed_check(from).await;
    // On a machine so busy that 2 s went by, it is too old besides.
    assert!(["before-listening", "sending-time-stale"].contains(&reason.as_str()), "{reason}");
    demo.logged_on(&seat, 1).await;
}

#[tokio::test]
async fn f10_a_tag_that_comes_twice_is_refused_whichever_it_is() {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    let tags = [34, 49, 50, 52, 56, 57, 108, 142, 369, 1603, 1604, 1605, 354, 1400, 1401];
    for (n, tag) in tags.into_iter().enumerate() {
        let from = source();
        let mut peer = demo.fix_from(&seat, from).await;
        let logon = peer.logon();
        let value = String::from_utf8(logon.get(tag).to_vec()).unwrap();
        let text = match n % 2 {
            0 => peer.refused_logon(&logon.before(tag, tag, &value)).await,
            _ => peer.refused_logon(&logon.before(1605, tag, &value)).await,
        };
        assert_eq!(text, REFUSED, "{tag}");
        let (check, reason) = demo.failed_check(from).await;
        let known = ["repeated-tag", "length-differs"].contains(&reason.as_str());
        assert!(known && check == "logon-well-formed", "{tag}: {check}, {reason}");
        demo.forgive(&seat).await;
    }
}

#[tokio::test]
async fn f10_a_control_character_in_a_signed_value_is_refused() {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    for (n, tag) in SIGNED.into_iter().enumerate() {
        let from = source();
        let mut peer = demo.fix_from(&seat, from).await;
        let value = String::from_utf8(peer.unsigned_logon().get(tag).to_vec()).unwrap();
        let control = ["\n", "\r", "\0", "\x7f"][n % 4];
        let logon = peer.sign(peer.unsigned_logon().set(tag, format!("{value}{control}")));
        assert_eq!(peer.refused_logon(&logon).await, REFUSED, "{tag}");
        let expected = ("logon-well-formed".to_owned(), "control-character".to_owned());
        assert_eq!(demo.failed_check(from).await, expected, "{tag}");
        demo.forgive(&seat).await;
    }
}

/// Sends a good Logon that somebody changed on its way; the text of the refusal and the reason.
async fn tampered(change: impl FnOnce(Fields) -> Fields) -> (String, String) {
    let demo = shared_demo().await;
    let seat = demo.seat(10, Gateway::Cgw);
    let from = source();
    let mut peer = demo.fix_from(&seat, from).await;
    let logon = change(peer.logon());
    let text = peer.refused_logon(&logon).await;
    let (_, reason) = demo.failed_check(from).await;
    (text, reason)
}

#[tokio::test]
async fn f11_begin_string_8_changed() {
    let (text, reason) = tampered(|logon| Fields { begin_string: "FIX.4.4".to_owned(), ..logon }).await;
    assert_eq!(text, "BeginString (8) has an incorrect value: FIX.4.4 should be FIX.4.2");
    assert_eq!(reason, "wrong-header");
}

#[tokio::test]
async fn f11_poss_dup_flag_43_added() {
    let (text, reason) = tampered(|logon| logon.before(49, 43, "Y")).await;
    assert_eq!((text.as_str(), reason.as_str()), (REFUSED, "tag-not-permitted"));
}

#[tokio::test]
async fn f11_target_comp_id_56_changed_or_stripped() {
    let (text, reason) = tampered(|logon| logon.set(56, "ICE")).await;
    assert_eq!(text, "TargetCompID (56) has an incorrect value: ICE should be CME");
    assert_eq!(reason, "wrong-header");
    let (text, _) = tampered(|logon| logon.without(56)).await;
    assert_eq!(text, "TargetCompID (56) tag is not present");
    demo_forgets().await;
}

/// The tests of unsigned tags share a session: its refusals are forgotten.
async fn demo_forgets() {
    let demo = shared_demo().await;
    demo.forgive(&demo.seat(10, Gateway::Cgw)).await;
}

#[tokio::test]
async fn f11_poss_resend_97_added() {
    let demo = shared_demo().await;
    let seat = demo.seat(9, Gateway::Cgw);
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon().before(49, 97, "Y");
    assert_eq!(peer.refused_logon(&logon).await, REFUSED);
}

#[tokio::test]
async fn f11_orig_sending_time_122_added() {
    let demo = shared_demo().await;
    let seat = demo.seat(9, Gateway::Cgw);
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon();
    let time = String::from_utf8(logon.get(52).to_vec()).unwrap();
    assert_eq!(peer.refused_logon(&logon.before(56, 122, &time)).await, REFUSED);
}

#[tokio::test]
async fn f11_reset_seq_num_flag_141_added_changed_or_stripped() {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.order("kept").await;
    peer.log_out().await;
    let numbers = demo.numbers(&seat).await;
    let mut peer = demo.fix(&seat).await;
    peer.next = numbers.0;
    let logon = peer.logon().with(141, "Y");
    let text = peer.refused_logon(&logon).await;
    assert_eq!(text, "Invalid Logon. ResetSeqNumFlag (141) must not be Y. Logout Forced");
    assert_eq!(demo.numbers(&seat).await, numbers, "it changes nothing");
    // Stripped from a Logon in session, or changed there, it resets nothing either.
    for flag in [None, Some("N")] {
        let next = demo.numbers(&seat).await.0;
        let mut peer = demo.logged_on(&seat, next).await;
        peer.next = 1;
        let logon = peer.sign(peer.unsigned_logon().with(141, "Y")).without(141);
        let logon = flag.map_or(logon.clone(), |flag| logon.with(141, flag));
        let text = peer.refused_logon(&logon).await;
        assert_eq!(text, "In session logon message must have 141=Y. Logout forced.");
        let stream = demo.stream_of(&seat).await.unwrap();
        assert_eq!(stream["reset"], 0, "{stream}");
    }
}

#[tokio::test]
async fn h4_the_eleventh_code_of_the_day_is_refused_and_each_is_audited() {
    // Making the sample key pairs took six of the administrator's codes this day.
    let demo = Server::demo(&["--clock", "2026-11-25T15:00:00Z"]).await;
    let administrator = demo.sample("admin@north.example");
    let seat = demo.seat(0, Gateway::Cgw);
    assert_eq!(seat.firm, "NORTH");
    let mut at = 15 * 3_600;
    let path = format!("/api/v1/sessions/{}/keys/{}/download", seat.session, seat.key_id);
    let ask =
        async |code: &str| demo.api().post(&path, &json!({"as": administrator.userid, "code": code})).await;
    for n in 7..=11 {
        at += 120;
        demo.clock(&format!("2026-11-25T{:02}:{:02}:{:02}Z", at / 3_600, at / 60 % 60, at % 60)).await;
        let code = administrator.code_of(&demo).await;
        match ask(&code).await {
            Ok(shown) if n <= 10 => {
                assert_eq!(shown["secret_key"], seat.secret);
                let again = ask(&code).await.unwrap_err().to_string();
                assert!(!again.contains(&seat.secret), "a code is good once: {again}");
            }
            Err(refused) if n == 11 => {
                assert!(refused.to_string().contains("one-time password"), "{refused}");
            }
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(demo.audit("event=key-pair-created&firm=NORTH").await.len(), 6);
    assert_eq!(demo.audit("event=key-pair-downloaded&firm=NORTH").await.len(), 4);
    let refused = demo.audit("event=key-pair-refused&firm=NORTH").await;
    // The tenth one's second use and the eleventh; the used ones before counted nothing.
    let reasons: Vec<&str> = refused.iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["codes-used-up", "codes-used-up", "used-code", "used-code", "used-code"]);
}

#[tokio::test]
async fn h7_a_deleted_key_pair_ends_its_connections_within_a_second_and_lets_nobody_in() {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = demo.logged_on(&seat, 1).await;
    let mut other = demo.logged_on(&seat.on(Gateway::Msgw), 1).await;
    let administrator = format!("admin@{}.example", seat.firm.to_lowercase());
    let path = format!("/api/v1/sessions/{}/keys/{}", seat.session, seat.key_id);
    let body = json!({"as": administrator, "reason": "a test"});
    demo.api().delete(&path, Some(&body)).await.unwrap();
    for peer in [&mut peer, &mut other] {
        let logout = tokio::time::timeout(Duration::from_secs(1), peer.expect("5")).await.expect("a second");
        logout.assert(&[(58, Some("Session ended. Logout forced."))]);
        let answer = peer.head("5");
        peer.send(&answer).await;
        peer.expect_end().await;
    }
    let from = source();
    let mut peer = demo.fix_from(&seat, from).await;
    peer.next = 4;
    let logon = peer.logon();
    assert_eq!(peer.refused_logon(&logon).await, REFUSED);
    let expected = ("access-key-live".to_owned(), "access-key-deleted".to_owned());
    assert_eq!(demo.failed_check(from).await, expected);
}

#[tokio::test]
async fn h7_an_expired_key_pair_lets_nobody_in() {
    // The first pair ends at the market close four weeks after the second was made: a Monday, 16:00 in Chicago.
    let demo = Server::demo(&["--clock", "2026-11-02T15:00:00Z"]).await;
    let (seat, administrator) = (demo.seat(0, Gateway::Cgw), demo.sample("admin@north.example"));
    demo.advance(60).await;
    let code = administrator.code_of(&demo).await;
    let body = json!({"as": administrator.userid, "code": code});
    let made = demo.api().post(&format!("/api/v1/sessions/{}/keys", seat.session), &body).await.unwrap();
    let (id, secret) = (made["access_key_id"].as_str().unwrap(), made["secret_key"].as_str().unwrap());
    let second = KeyPair::new(id, &Secret::new(secret.to_owned())).unwrap();
    let keys = demo.api().get(&format!("/api/v1/sessions/{}/keys", seat.session)).await.unwrap();
    let first =
        keys["items"].as_array().unwrap().iter().find(|key| key["access_key_id"] == seat.key_id.as_str());
    let ends = first.unwrap()["expires"].as_str().unwrap().to_owned();
    let end = doorward_core::time::Wall::parse(&ends).unwrap();
    assert_eq!(ends, "2026-11-30T22:00:00.000Z");
    let before = doorward_core::time::Wall::from_us(end.as_us() - 60_000_000);

    demo.clock(&before.to_string()).await;
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.log_out().await;
    demo.clock(&ends).await;
    let from = source();
    let mut peer = demo.fix_from(&seat, from).await;
    peer.next = 4;
    let logon = peer.logon();
    assert_eq!(peer.refused_logon(&logon).await, REFUSED);
    let expected = ("access-key-live".to_owned(), "access-key-expired".to_owned());
    assert_eq!(demo.failed_check(from).await, expected);
    // The newer one goes on.
    let mut peer = demo.fix(&seat).await;
    peer.next = 4;
    let logon = peer.unsigned_logon().signed(id, &second);
    peer.send(&logon).await;
    peer.welcomed().await;
}

/// What an administrator changes of a session holds for the next Logon, and ends what is open where it must.
#[tokio::test]
async fn s8_a_disabled_session_is_logged_out_and_lists_hold_at_once() {
    let demo = Server::demo(&[]).await;
    let seat = demo.own_session(Gateway::Cgw);
    let path = format!("/api/v1/sessions/{}", seat.session);
    let edit = async |changes: Value| demo.api().patch(&path, &changes).await.unwrap();
    let refused = async |next: u64| {
        let from = source();
        let mut peer = demo.fix_from(&seat, from).await;
        peer.next = next;
        let logon = peer.logon();
        assert_eq!(peer.refused_logon(&logon).await, REFUSED);
        demo.failed_check(from).await.1
    };
    edit(json!({"sources": ["10.0.0.0/8"]})).await;
    assert_eq!(refused(1).await, "source-not-permitted");
    edit(json!({"sources": []})).await;
    let mut peer = demo.logged_on(&seat, 1).await;
    edit(json!({"standing": "disabled"})).await;
    let logout = tokio::time::timeout(Duration::from_secs(1), peer.expect("5")).await.expect("a second");
    logout.assert(&[(58, Some("Session ended. Logout forced."))]);
    let answer = peer.head("5");
    peer.send(&answer).await;
    peer.expect_end().await;
    assert_eq!(refused(4).await, "session-disabled");
    edit(json!({"standing": "active"})).await;
    demo.api().post("/api/v1/firms/NORTH/close", &json!({})).await.unwrap();
    assert_eq!(refused(4).await, "firm-closed");
}

#[tokio::test]
async fn t6_one_code_at_both_doors_100_times_at_once_lets_in_exactly_once() {
    const POSTS: usize = 50;
    let demo = shared_demo().await;
    let trader = demo.registered().await;
    let (mut sockets, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..POSTS {
        let mut peer = demo.connect(source()).await;
        peer.challenge().await;
        assert_eq!(peer.login(&trader.userid, &trader.password, None).await["2fa"], "required");
        sockets.push(peer);
    }
    for _ in 0..POSTS {
        sessions.push(demo.fix(&Server::trader_seat(&trader)).await);
    }
    let code = trader.code(); // good for at least the 30 s that follow
    let over_sockets = sockets.iter_mut().map(async |peer| peer.code(&code).await["result"] == "OK");
    let over_fix = sessions.iter_mut().map(async |peer| {
        let logon = peer.trader_logon(&trader.password, Some(&code));
        peer.send(&logon).await;
        peer.hear().await.is("A")
    });
    let (sockets, sessions) =
        tokio::join!(futures_util::future::join_all(over_sockets), futures_util::future::join_all(over_fix));
    let granted = sockets.into_iter().chain(sessions).filter(|in_| *in_).count();
    assert_eq!(granted, 1);
    let records = demo.audit(&format!("event=login-granted&userid={}", trader.userid)).await;
    assert_eq!(records.len(), 1, "{records:?}");
}

#[tokio::test]
async fn s3_a_source_is_held_back_at_both_doors() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let seat = Server::trader_seat(&trader);
    let (strange, own) = (source(), source());
    let guess = User { password: "a guess like any other".to_owned(), ..trader.clone() };
    for n in 0..5 {
        if n % 2 == 0 {
            assert_eq!(demo.login(strange, &guess, None).await["result"], "invalid user/password");
        } else {
            let mut peer = demo.fix_from(&seat, strange).await;
            let logon = peer.trader_logon(&guess.password, None);
            assert_eq!(peer.refused_logon(&logon).await, "invalid user or password");
        }
    }
    let mut peer = demo.fix_from(&seat, strange).await;
    let logon = peer.trader_logon(&trader.password, None);
    assert_eq!(peer.refused_logon(&logon).await, "invalid user or password", "even the right one waits");
    assert_eq!(demo.audit_from(strange).await[0]["reason"], "backed-off");
    assert_eq!(demo.login(strange, &trader, None).await["result"], "invalid user/password");
    let mut peer = demo.fix_from(&seat, own).await;
    let logon = peer.trader_logon(&trader.password, None);
    peer.send(&logon).await;
    peer.expect("A").await;
    assert_eq!(demo.login(own, &trader, None).await["result"], "OK", "others are not held back");
}

#[tokio::test]
async fn t10_wrong_codes_at_both_doors_lock_one_authenticator() {
    let demo = Server::demo(&[]).await;
    let trader = demo.registered().await;
    let state = async || demo.known(&trader).await["authenticator"]["state"].clone();
    let wrong = trader.wrong_code();
    for n in 0..10 {
        if n >= 5 {
            assert_eq!(state().await, "backed-off");
            demo.advance(30).await;
        }
        if n % 2 == 0 {
            let text = demo.trader_refused(&trader, &trader.password, Some(&wrong)).await;
            assert_eq!(text, "invalid one-time password", "{n}");
        } else {
            let mut peer = demo.connect(source()).await;
            peer.challenge().await;
            let answer = peer.login(&trader.userid, &trader.password, Some(&wrong)).await;
            assert_ne!(answer["result"], "OK", "{n}: {answer}");
        }
    }
    assert_eq!(state().await, "locked");
    let code = trader.code_of(&demo).await;
    let text = demo.trader_refused(&trader, &trader.password, Some(&code)).await;
    assert_eq!(text, "invalid user or password", "no oracle");
    assert_eq!(demo.login(source(), &trader, None).await["result"], "invalid user/password");
    demo.unlock(&trader).await;
    let mut peer = demo.fix(&Server::trader_seat(&trader)).await;
    let code = trader.code_of(&demo).await;
    let logon = peer.trader_logon(&trader.password, Some(&code));
    peer.send(&logon).await;
    peer.expect("A").await;
}

#[tokio::test]
async fn s8_a_disabled_trader_is_logged_out_within_a_second() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let mut peer = demo.fix(&Server::trader_seat(&trader)).await;
    let logon = peer.trader_logon(&trader.password, None);
    peer.send(&logon).await;
    peer.expect("A").await;
    demo.edit(&trader, json!({"standing": "disabled"})).await;
    let logout = tokio::time::timeout(Duration::from_secs(1), peer.expect("5")).await.expect("a second");
    logout.assert(&[(58, Some("Session ended. Logout forced."))]);
    let text = demo.trader_refused(&trader, &trader.password, None).await;
    assert_eq!(text, "invalid user or password");
}

#[tokio::test]
async fn a_key_pair_of_another_signer_is_no_help() {
    // The signature alone decides, not who knows the access key's name.
    let demo = shared_demo().await;
    let seat = demo.own_stream();
    let guess = KeyPair::new(&seat.key_id, &Secret::new("A".repeat(43))).unwrap();
    let mut peer = demo.fix(&seat).await;
    let logon = peer.unsigned_logon().signed(&seat.key_id, &guess);
    assert_eq!(peer.refused_logon(&logon).await, REFUSED);
}
