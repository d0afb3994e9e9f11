//! Signed Logons: the scenarios, the order of the checks, waiting, ends.

use super::{LOGGED_ON, LOGON, Script, logged_on, opened, play};
use crate::time::Wall;

#[test]
fn beginning_of_week_the_logon_is_answered_and_a_test_request_follows() {
    play(LOGGED_ON).play(
        "
        35=0|34=2|112=2|
        35=D|34=3|11=x|
        > save-in 3 D
        > deliver 3 D
        ",
    );
}

#[test]
fn mid_week_numbers_go_on() {
    play(
        "
        logon 34=17
        > judge
        judged ok
        > claim cgw/ABC/001 34=17
        yours 17/40
        > save logon-granted 18/40
        saved
        > 35=A|34=40|369=17|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=41|369=17|112=41|
        ",
    );
}

#[test]
fn mid_week_too_high_is_accepted_and_asked_again() {
    play(
        "
        logon 34=20
        > judge
        judged ok
        > claim cgw/ABC/001 34=20
        yours 17/40
        > save logon-granted 17/40
        saved
        > 35=A|34=40|369=16|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=41|369=16|112=41|
        > 35=2|34=42|369=16|7=17|16=19|
        35=D|34=21|11=later|
        35=4|34=17|43=Y|122=20261124-19:00:00.000|123=Y|36=19|
        35=D|34=19|43=Y|122=20261124-19:00:00.000|11=missed|
        > save-in 19 D
        > deliver 19 D
        > save-in 21 D
        > deliver 21 D
        35=1|34=22|112=a|
        > 35=0|34=43|369=22|112=a|
        ",
    );
}

#[test]
fn in_session_both_series_begin_at_one_and_what_was_not_fetched_is_counted() {
    let mut s = play(
        "
        logon 34=17
        > judge
        judged ok
        > claim cgw/ABC/001 34=17
        yours 17/40 unsent=37..40
        > save logon-granted 18/40
        saved
        > 35=A|34=40|369=17|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=41|369=17|112=41|
        35=1|34=18|112=gap?|
        > 35=0|34=42|369=18|112=gap?|
        logon 34=1|141=Y
        > judge in-session ABC001N
        judged ok
        > save logon-granted
        saved
        > numbers 2/1 durable
        > note stream-reset
        > note undelivered-left 37-39
        > 35=A|34=1|369=1|108=30|141=Y|1603=SYS|1604=1.0|1605=VEN|
        35=D|34=2|11=x|
        > save-in 2 D
        > deliver 2 D
        35=2|34=3|7=1|16=0|
        > read 1-1
        stored
        > 35=4|34=1|43=Y|122=NOW|369=3|36=2|123=Y|
        ",
    );
    assert_eq!(s.session.numbers().unwrap().epoch.reset, 1);
    s.play("gone\n> numbers 4/2 exact\n> note logged-out\n> close");
}

#[test]
fn f8_a_reset_whose_answer_was_not_sent_leaves_the_old_numbers() {
    const RENEWING: &str = "
        logon 34=1|141=Y
        > judge in-session ABC001N
        judged ok
        > save logon-granted
    ";
    // The record may be durable or not: it moves no number.
    let mut gone = logged_on();
    gone.play(RENEWING).play("gone\n> numbers 2/3 exact\n> note logged-out\n> close\nsaved");
    let mut unwritten = logged_on();
    unwritten.play(RENEWING).play(
        "
        not-saved
        > 35=5|34=3|369=1|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|789=2|
        > numbers 2/4 exact
        > note logged-out not-verified
        > close not-verified
        ",
    );
    for (mut s, next_out) in [(gone, 3), (unwritten, 4)] {
        let numbers = s.session.release().unwrap().1.numbers;
        assert_eq!((numbers.epoch.reset, numbers.next_in, numbers.next_out), (0, 2, next_out));
    }
}

#[test]
fn f1_an_in_session_logon_that_is_refused_logs_out_and_keeps_the_numbers() {
    let mut s = logged_on();
    s.play(
        "
        logon 34=1|141=Y
        > judge in-session ABC001N
        judged refused
        > save logon-refused signature-differs
        saved
        > 35=5|34=3|369=1|58=Invalid Logon. Logout Forced|789=2|
        > numbers 2/4 exact
        > note logged-out signature-differs
        > close signature-differs
        ",
    );
    let (stream, state) = s.session.release().unwrap();
    assert_eq!((stream, state.numbers.epoch.reset), (super::stream(), 0));
    assert!(s.session.release().is_none());
}

#[test]
fn an_in_session_logon_without_a_sender_logs_out_and_gives_the_stream_back() {
    for without in ["-49", "49="] {
        let mut s = logged_on();
        s.play(&format!(
            "
            logon 34=2|{without}
            > 35=5|34=3|369=1|58=SenderCompID (49) tag is not present|789=2|
            > numbers 2/4 exact
            > note logged-out wrong-header
            > close wrong-header
            "
        ));
        let (stream, state) = s.session.release().unwrap();
        assert_eq!((stream, state.numbers.next_in), (super::stream(), 2));
    }
}

#[test]
fn messages_of_the_back_end_go_out_while_an_in_session_logon_is_judged() {
    logged_on().play(
        "
        logon 34=1|141=Y
        > judge in-session ABC001N
        app 8 37=a|
        > save-out 3 8
        > 35=8|34=3|369=1|37=a|
        judged ok
        > save logon-granted
        app 8 37=b|
        > save-out 4 8
        > 35=8|34=4|369=1|37=b|
        saved
        > numbers 2/1 durable
        > note stream-reset
        > 35=A|34=1|369=1|108=30|141=Y|1603=SYS|1604=1.0|1605=VEN|
        app 8 37=c|
        > save-out 2 8
        > 35=8|34=2|369=1|37=c|
        ",
    );
}

#[test]
fn f2_nothing_is_sent_before_the_logon_answer() {
    play(
        "
        logon 34=1
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        yours 1/5
        > save logon-granted 2/5
        app 8 37=a|
        > save-out 5 8
        saved
        > 35=A|34=6|369=1|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=7|369=1|112=7|
        35=2|34=2|7=1|16=0|
        > read 1-7
        stored
        > 35=4|34=1|43=Y|122=NOW|369=2|36=5|123=Y|
        > 35=8|34=5|43=Y|122=NOW|369=2|37=a|
        > read 6-7
        stored
        > 35=4|34=6|43=Y|122=NOW|369=2|36=8|123=Y|
        ",
    );
}

#[test]
fn f1_a_refused_logon_moves_nothing() {
    for refusal in ["refused", "closed", "later"] {
        let mut s = opened();
        s.feed(&format!("logon 34=1|141=Y\n judged {refusal}\n saved"));
        assert!(s.session.is_closed() && s.session.release().is_none());
        assert_eq!(s.sent.len(), 1, "{:?}", s.sent);
    }
    let mut s = opened();
    s.feed("logon 34=9\n judged ok\n yours 1/1\n saved");
    let (_, state) = s.session.release().unwrap();
    assert_eq!((state.numbers.next_in, state.numbers.next_out, state.numbers.rev), (1, 1, 0));
}

#[test]
fn f1_a_logon_whose_record_cannot_be_written_moves_nothing() {
    let mut s = play(
        "
        logon 34=17
        > judge
        judged ok
        > claim cgw/ABC/001 34=17
        yours 17/40
        > save logon-granted 18/40
        not-saved
        > numbers 17/40
        > note logon-refused not-verified
        > 35=5|34=40|369=16|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|789=17|
        > close not-verified
        ",
    );
    assert_eq!(s.session.release().unwrap().1.numbers.next_in, 17);
}

#[test]
fn a_refusal_whose_record_cannot_be_written_says_try_again() {
    play(
        "
        logon 34=1
        > judge
        judged refused
        > save logon-refused signature-differs
        not-saved
        > 35=5|34=1|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|
        > close signature-differs
        ",
    );
}

#[test]
fn the_first_of_the_week_rolls_a_stream_of_last_week_and_counts_what_was_not_fetched() {
    play(
        "
        logon 34=1
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        yours 17/40 unsent=30..40 last-week
        > save logon-granted 2/1
        saved
        > note undelivered-left 30-39
        > 35=A|34=1|369=1|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=2|369=1|112=2|
        ",
    );
}

#[test]
fn t4_a_week_that_the_shell_has_not_begun_takes_no_logon_and_moves_no_number() {
    let mut s = play(
        "
        logon 34=1
        > judge
        judged ok strikes=4
        > claim cgw/ABC/001 34=1
        yours 17/40 unsent=30..40 distrusted
        > save logon-refused not-verified
        app 8 37=a|
        > save-out 40 8
        saved
        > 35=5|34=41|369=16|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|789=17|
        > close not-verified
        ",
    );
    let (_, state) = s.session.release().unwrap();
    let numbers = state.numbers;
    assert_eq!((numbers.next_in, numbers.unsent_from, numbers.unsent_to), (17, 30, 41));
}

#[test]
fn outside_of_the_week_nobody_is_let_in_and_no_stream_is_claimed() {
    // Saturday noon, US Central.
    let mut s = opened();
    s.now.wall = Wall::parse("2026-11-28T18:00:00Z").unwrap();
    s.play(
        "
        logon 34=1
        > judge
        judged ok
        > save logon-refused week-closed
        saved
        > 35=5|34=1|58=Session closed until 2026-11-29T16:30:00.000Z. Logout forced.|
        > close week-closed
        ",
    );
}

#[test]
fn a_verification_that_takes_five_seconds_is_over() {
    let refused =
        "35=5|34=1|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|";
    play(&format!(
        "logon 34=1
        > judge
        wait 4.999
        wait 0.001
        > {refused}
        > note logon-refused not-verified
        > close not-verified
        judged ok"
    ));
    play(&format!(
        "logon 34=1
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        wait 5
        > save logon-refused not-verified
        > {refused}
        > close not-verified"
    ));
    logged_on().play(
        "logon 34=1|141=Y
        > judge in-session ABC001N
        wait 5
        > 35=5|34=3|369=1|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|789=2|
        > numbers 2/4 exact
        > note logged-out not-verified
        > close not-verified",
    );
}

#[test]
fn a_late_answer_is_dropped() {
    let mut s = play(LOGGED_ON);
    s.feed("judged refused\n saved\n not-saved\n live");
    assert!(s.session.is_live());
}

#[test]
fn the_first_message_must_be_a_whole_good_logon_within_ten_seconds() {
    let closes = |why: &str| format!("> note connection-refused {why}\n> close {why}");
    play(&format!("wait 10\n{}", closes("too-slow")));
    play(&format!("raw 8=FIX.4.2|9=200|35=A\n wait 10\n{}", closes("too-slow")));
    play(&format!("35=0|34=1|\n{}", closes("no-logon")));
    play(&format!("35=D|34=1|11=x|\n{}", closes("no-logon")));
    play(&format!("raw 8=FIX.4.2|9=5|35=A|10=000|\n{}", closes("no-logon")));
    play(&format!("raw GET / HTTP/1.1\n{}", closes("no-logon")));
    play(&format!("logon -49\n{}", closes("no-logon")));
    play(&format!("logon 49=\n{}", closes("no-logon")));
    play(&format!("logon 0=x\n{}", closes("no-logon")));
    play(&format!("logon 58={}\n{}", "x".repeat(4_096), closes("too-long")));
    play(&format!("raw 8=FIX.4.2|9=999999999|\n{}", closes("too-long")));
    play("gone\n> close");
}

#[test]
fn other_bytes_behind_a_pending_logon_are_held_and_dealt_with_afterwards() {
    play(
        "
        logon 34=1
        > judge
        35=D|34=2|11=early|
        raw garbage
        judged ok
        > claim cgw/ABC/001 34=1
        yours 1/1
        > save logon-granted 2/1
        saved
        > 35=A|34=1|369=1|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=2|369=1|112=2|
        > save-in 2 D
        > deliver 2 D
        ",
    );
}

#[test]
fn l1_more_than_64_kib_behind_a_pending_logon_close_the_connection() {
    let mut s = opened();
    s.play("logon 34=1\n> judge");
    s.receive(&[b'x'; 64 * 1024]);
    s.play("");
    s.receive(b"x");
    s.play("> note logon-refused held-too-much\n> close held-too-much");
}

#[test]
fn a_second_logon_on_the_same_connection_ends_both_and_the_judgement_is_written_down() {
    let ends = |deny: &str| {
        format!(
            "> save logon-refused {deny}
            saved
            > 35=5|34=1|58=Invalid Logon. Logon Already in Progress. Logout Forced|
            > close {deny}"
        )
    };
    for (judged, deny) in
        [("ok", "logon-in-progress"), ("refused", "signature-differs"), ("closed", "signature-differs")]
    {
        play(&format!("logon 34=1\n> judge\n logon 34=1\n logon 34=2\n judged {judged}\n{}", ends(deny)));
        // In one piece with the first.
        let mut s = opened();
        let two = [s.logon("34=1"), s.logon("34=2")].concat();
        s.receive(&two);
        s.play(&format!("> judge\n judged {judged}\n{}", ends(deny)));
    }
    let mut s = play(&format!(
        "logon 34=1\n> judge\n judged ok\n> claim cgw/ABC/001 34=1\n 35=0|34=2|\n logon 34=3\n{}",
        ends("logon-in-progress")
    ));
    // What was claimed goes back.
    s.play("yours 1/1");
    assert!(s.session.release().is_some());
    let mut s = logged_on();
    let two = [s.logon("34=1|141=Y"), s.logon("34=1|141=Y")].concat();
    s.receive(&two);
    s.play(
        "
        > judge in-session ABC001N
        judged refused
        > save logon-refused signature-differs
        saved
        > 35=5|34=3|369=1|58=Invalid Logon. Logon Already in Progress. Logout Forced|789=2|
        > numbers 2/4 exact
        > note logged-out signature-differs
        > close signature-differs
        ",
    );
}

#[test]
fn a_logon_that_was_judged_is_written_down_however_its_claim_ends() {
    let claimed = "logon 34=1\n> judge\n judged ok\n> claim cgw/ABC/001 34=1\n";
    play(claimed).play("gone\n> save logon-refused not-verified\n> close");
    play(claimed).play(
        "
        end stopping
        > save logon-refused stopping
        saved
        > 35=5|34=1|58=Server is stopping. Please reconnect. Logout forced.|
        > close stopping
        ",
    );
    let mut s = play(claimed);
    s.receive(&[b'x'; 64 * 1024 + 1]);
    s.play("> save logon-refused held-too-much\n> close held-too-much");
}

#[test]
fn another_connection_of_the_stream_is_unharmed() {
    for (answer, deny, text) in [
        ("live", "already-logged-on", "Already logged on. Logout forced."),
        ("in-progress", "logon-in-progress", "Logon Already in Progress. Logout Forced"),
    ] {
        play(&format!(
            "logon 34=1
            > judge
            judged ok strikes=4
            > claim cgw/ABC/001 34=1
            {answer}
            > save logon-refused {deny}
            saved
            > 35=5|34=1|58=Invalid Logon. {text}|
            > close {deny}"
        ));
    }
}

#[test]
fn the_order_of_the_checks_is_the_pages() {
    // Each line adds the fault that comes before those above it.
    let faults = [
        ("49=ABC001P", "indicator-permitted"),
        ("1402=short", "signature-decodes"),
        ("1400=CME-2", "scheme-named"),
        ("108=61", "heart-bt-int-right"),
        ("142=", "header-right"),
        ("57=H", "header-right"),
        ("-1605", "fields-given"),
        ("-1401", "credentials-given"),
        ("+34=1", "logon-well-formed"),
    ];
    let mut changes = String::new();
    for (fault, check) in faults {
        changes = format!("{changes}|{fault}");
        let mut s = opened();
        // 1401 goes with a signature that is no longer of its length.
        let logon = s.logon(&changes.replace("1402=short", "1401=5|1402=short"));
        s.receive(&logon);
        let judge = s.next().unwrap();
        assert!(judge.starts_with(&format!("judge {check} ")), "{judge} for {changes}");
    }
}

#[test]
fn all_subsets_of_the_credentials_tags() {
    let credentials = ["354", "355", "1400", "1401", "1402"];
    let others = ["34", "52", "1603", "1604", "1605"];
    let generic = "Invalid Logon. Logout Forced";
    for mask in 0..1_u32 << 10 {
        let gone = |tags: [&'static str; 5], shift: usize| -> Vec<&'static str> {
            (0..5).filter(|at| mask & (1 << (at + shift)) != 0).map(|at| tags[at]).collect()
        };
        let (no_credentials, no_others) = (gone(credentials, 0), gone(others, 5));
        let changes: String = no_credentials.iter().chain(&no_others).map(|tag| format!("-{tag}|")).collect();
        let expected = match (no_credentials.len(), no_credentials.first().or(no_others.first())) {
            (5, _) => Some(generic.to_owned()),
            (_, None) => None,
            (_, Some(tag)) => Some(format!(
                "Invalid Logon. All Required Fields are not Present. Missing Tag {tag}. Logout Forced"
            )),
        };
        let mut s = opened();
        let logon = s.logon(&changes);
        s.receive(&logon);
        // Every one of them is judged all the same (F3).
        assert!(s.next().unwrap().starts_with("judge"), "{changes}");
        s.feed("judged refused\n saved");
        let text = format!("58={}|", expected.as_deref().unwrap_or(generic));
        assert!(s.sent.len() == 1 && s.sent[0].contains(&text), "{changes}: {:?}", s.sent);
    }
}

#[test]
fn f3_a_flaw_is_never_overruled_by_a_grant() {
    play(
        "
        logon 1400=CME-2
        > judge scheme-named wrong-scheme
        judged ok
        > save logon-refused wrong-scheme
        saved
        > 35=5|34=1|58=Invalid Logon. Invalid EncryptedPasswordMethod(tag 1400). Logout Forced|
        > close wrong-scheme
        ",
    );
}

/// What the machine asks and says for a Logon, refused by the gate.
fn refused(changes: &str) -> (String, Vec<String>) {
    let mut s = opened();
    let logon = s.logon(changes);
    s.receive(&logon);
    let judge = s.next().unwrap();
    s.feed("judged refused\n saved");
    (judge, s.sent)
}

#[test]
fn f10_a_repeated_tag_or_a_control_character_in_a_signed_value_is_a_flaw() {
    for (tag, value) in LOGON {
        let value = value.replace("NOW", "20261124-20:00:00.000");
        let (judge, sent) = refused(&format!("+{tag}={value}"));
        assert_eq!(judge, "judge logon-well-formed repeated-tag", "{tag}");
        assert_eq!(sent, ["35=5|34=1|58=Invalid Logon. Logout Forced|"]);
    }
    assert_eq!(refused("+58=a|+58=b").0, "judge logon-well-formed repeated-tag");
    for tag in ["1603", "1604", "1605"] {
        for control in ["\n", "\t", "\u{7f}", "\0"] {
            let (judge, sent) = refused(&format!("{tag}=a{control}b"));
            assert_eq!(judge, "judge logon-well-formed control-character");
            assert_eq!(sent, ["35=5|34=1|58=Invalid Logon. Logout Forced|"]);
        }
    }
}

#[test]
fn f11_unsigned_tags_added_stripped_or_changed() {
    let generic = "35=5|34=1|58=Invalid Logon. Logout Forced|";
    for tag in ["43=Y", "43=N", "97=Y", "97=N", "122=20261124-20:00:00.000"] {
        let (judge, sent) = refused(tag);
        assert_eq!(judge, "judge logon-well-formed tag-not-permitted", "{tag}");
        assert_eq!(sent, [generic]);
    }
    for (change, text) in [
        ("8=FIX.4.4", "BeginString (8) has an incorrect value: FIX.4.4 should be FIX.4.2"),
        ("-56", "TargetCompID (56) tag is not present"),
        ("56=ICE", "TargetCompID (56) has an incorrect value: ICE should be CME"),
    ] {
        let (judge, sent) = refused(change);
        assert_eq!(judge, "judge header-right wrong-header", "{change}");
        assert_eq!(sent, [format!("35=5|34=1|58={text}|")]);
    }
    // 141 added to an initial Logon.
    play(
        "
        logon 34=1|141=Y
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        yours 1/1
        > save logon-refused reset-not-permitted
        saved
        > 35=5|34=1|369=0|58=Invalid Logon. ResetSeqNumFlag (141) must not be Y. Logout Forced|789=1|
        > close reset-not-permitted
        ",
    );
    // 141 stripped from an in-session one.
    logged_on().play(
        "
        logon 34=1
        > judge in-session ABC001N
        judged ok
        > save logon-refused reset-not-permitted
        saved
        > 35=5|34=3|369=1|58=In session logon message must have 141=Y. Logout forced.|789=2|
        > numbers 2/4 exact
        > note logged-out reset-not-permitted
        > close reset-not-permitted
        ",
    );
    // 43 added to an in-session one.
    logged_on().play("logon 34=1|141=Y|43=Y\n> judge logon-well-formed tag-not-permitted");
}

#[test]
fn bad_fields_of_a_logon_name_their_check() {
    for (changes, judge) in [
        ("34=0", "judge fields-given missing-tag"),
        ("34=-1", "judge fields-given missing-tag"),
        ("34=1000000000000000000", "judge fields-given missing-tag"),
        ("108=0", "judge heart-bt-int-right wrong-heart-bt-int"),
        ("108=1000000000", "judge heart-bt-int-right wrong-heart-bt-int"),
        ("108=-30", "judge heart-bt-int-right wrong-heart-bt-int"),
        (
            "1401=44|1402=oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s=",
            "judge signature-decodes bad-signature",
        ),
        ("1402=oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp/ZhsSCxr3s", "judge signature-decodes bad-signature"),
        ("1401=42|1402=oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3", "judge signature-decodes bad-signature"),
        (
            "1401=44|1402=oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3sA",
            "judge signature-decodes bad-signature",
        ),
        ("354=19", "judge logon-well-formed length-differs"),
        ("354=21", "judge logon-well-formed length-differs"),
        ("1401=999999999", "judge logon-well-formed length-differs"),
        ("49=ABC001U", "judge indicator-permitted wrong-indicator"),
        ("49=ABC001X", "judge"),
        ("49=x", "judge"),
    ] {
        assert_eq!(refused(changes).0, judge, "{changes}");
    }
}

#[test]
fn sending_time_is_taken_to_the_millisecond_and_in_no_other_format() {
    let judged = |value: &str| {
        let mut s = opened();
        let logon = s.logon(&format!("52={value}"));
        s.receive(&logon);
        match s.session.poll() {
            Some(crate::fix::session::Output::Judge(_, logon)) => logon.sending_time,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(judged("20261124-20:00:00.250"), Wall::parse("2026-11-24T20:00:00.25Z"));
    for value in [
        "20261124-20:00:00",
        "20261124-20:00:00.250000",
        "2026-11-24T20:00:00Z",
        "20261324-20:00:00.250",
        "20:00:00",
        "x",
    ] {
        assert_eq!(judged(value), None, "{value}");
    }
}

#[test]
fn f4_the_fifth_refusal_after_a_good_signature_closes_the_port() {
    let closure =
        "(1000) CME Administered Port Closure Due to Invalid Number of Login Attempts Being Exceeded";
    for (strikes, text) in [
        (3, "Failed to reset sequence numbers at beginning of the week. Logout forced."),
        (4, closure),
        (5, "Failed to reset sequence numbers at beginning of the week. Logout forced."),
    ] {
        let mut s = opened();
        s.feed(&format!("logon 34=9\n judged ok strikes={strikes}\n yours 1/1\n saved"));
        assert_eq!(s.sent, [format!("35=5|34=1|369=0|58={text}|789=1|")]);
    }
}

#[test]
fn f7_credentials_are_never_echoed() {
    let s = logged_on();
    for sent in &s.sent {
        for tag in ["354=", "355=", "1400=", "1401=", "1402=", "98="] {
            assert!(!sent.contains(&format!("|{tag}")), "{sent}");
        }
    }
}

#[test]
fn the_server_can_end_a_logon_at_any_moment() {
    let text = "58=Server is stopping. Please reconnect. Logout forced.|";
    play("end stopping\n> note connection-refused stopping\n> close stopping");
    play(&format!(
        "logon 34=1\n> judge\n end stopping\n> 35=5|34=1|{text}\n> note logon-refused stopping\n> close stopping"
    ));
    play(&format!(
        "logon 34=1
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        yours 1/1
        > save logon-granted 2/1
        end stopping
        saved
        > 35=A|34=1|369=1|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=2|369=1|112=2|
        > 35=5|34=3|369=1|{text}789=2|"
    ))
    .play("wait 2\n> numbers 2/4 exact\n> note logged-out stopping\n> close stopping");
}

#[test]
fn a_peer_that_goes_away_while_its_logon_is_saved_gives_its_stream_back() {
    let mut s: Script = play(
        "
        logon 34=1
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        yours 1/1
        > save logon-granted 2/1
        gone
        > numbers 2/1 exact
        > note logged-out
        > close
        saved
        ",
    );
    assert_eq!(s.session.release().unwrap().1.numbers.next_in, 2);
}

#[test]
fn a_stream_that_comes_too_late_goes_back() {
    let mut s = play(
        "
        logon 34=1
        > judge
        judged ok
        > claim cgw/ABC/001 34=1
        gone
        > save logon-refused not-verified
        > close
        yours 4/9
        ",
    );
    let (stream, state) = s.session.release().unwrap();
    assert_eq!((stream, state.numbers.next_in), (super::stream(), 4));
}

#[test]
fn f5_a_replayed_logon_is_judged_with_the_bytes_of_the_first() {
    let judge = |s: &mut Script, logon: &[u8]| {
        s.receive(logon);
        match s.session.poll() {
            Some(crate::fix::session::Output::Judge(_, logon)) => logon,
            other => panic!("{other:?}"),
        }
    };
    let logon = opened().logon("34=1");
    let (first, again) = (judge(&mut opened(), &logon), judge(&mut opened(), &logon));
    assert_eq!((&first.canonical, first.signature), (&again.canonical, again.signature));
    // In session a replay is judged too, and without 141=Y it could not reset anything.
    let mut live = logged_on();
    let again = judge(&mut live, &logon);
    assert_eq!((&first.canonical, first.sending_time), (&again.canonical, again.sending_time));
    assert!(again.in_session.is_some());
}

#[test]
fn in_session_another_name_or_indicator_is_judged_and_refused() {
    logged_on().play(
        "
        logon 34=1|141=Y|49=XYZ001N
        > judge in-session ABC001N
        judged ok
        > save logon-refused unknown-comp-id
        saved
        > 35=5|34=3|369=1|58=Invalid Logon. Logout Forced|789=2|
        > numbers 2/4 exact
        > note logged-out unknown-comp-id
        > close unknown-comp-id
        ",
    );
    for indicator in ["U", "P", "B"] {
        logged_on().play(&format!(
            "
            logon 34=1|141=Y|49=ABC001{indicator}
            > judge indicator-permitted wrong-indicator
            judged refused
            > save logon-refused signature-differs
            saved
            > 35=5|34=3|369=1|58=Received invalid fault tolerance indicator = ({indicator}) Logout forced.|789=2|
            > numbers 2/4 exact
            > note logged-out signature-differs
            > close signature-differs
            "
        ));
    }
}
