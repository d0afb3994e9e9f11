use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../../doorward-core/vectors/fix-logon.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

/// The vector's Logon as somebody would paste it.
fn pasted(vector: &Value, separator: &str) -> Vec<u8> {
    let mut fields = vec!["8=FIX.4.2".to_owned(), "9=5".to_owned(), "35=A".to_owned(), "56=CME".to_owned()];
    for (tag, value) in vector["fields"].as_object().unwrap() {
        fields.push(format!("{tag}={}", value.as_str().unwrap()));
    }
    fields.push(format!("355={}", vector["access_key_id"].as_str().unwrap()));
    fields.push("10=000".to_owned());
    (fields.join(separator) + separator).into_bytes()
}

fn signing(vector: &Value) -> Signing {
    let secret_key = Secret::new(vector["secret_key"].as_str().unwrap().to_owned());
    Signing { secret_key: Some(secret_key), access_key_id: None }
}

#[test]
fn signatures_of_other_peoples_software_come_out_exactly() {
    for vector in vectors()["accepted"].as_array().unwrap() {
        for separator in ["|", "\u{1}", "^A", "\u{2401}"] {
            let signed = sign(&pasted(vector, separator), &signing(vector)).unwrap();
            assert_eq!(signed.canonical, vector["canonical"].as_str().unwrap().as_bytes(), "{vector}");
            assert_eq!(signed.signature.as_deref(), vector["signature"].as_str(), "{vector}");
            assert!(signed.is_complete(), "{:?}", signed.missing);
        }
    }
}

#[test]
fn the_complete_message_is_one_that_a_server_reads() {
    let vectors = vectors();
    let vector = &vectors["accepted"][0];
    let signed = sign(&pasted(vector, "|"), &signing(vector)).unwrap();
    let mut cutter = doorward_core::fix::frame::Cutter::new(4_096);
    let len = signed.message.len();
    assert_eq!(cutter.cut(&signed.message), doorward_core::fix::frame::Cut::Message { len });
    let mut fields = Fields::new();
    let message = fields.read(&signed.message).unwrap();
    assert_eq!(message.has_repeated(), None);
    for (tag, value) in [
        (354, "20"),
        (355, "oNDxM33uE81ohWuVRtWT"),
        (1400, "CME-1-SHA-256"),
        (1401, "43"),
        (1402, "oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s"),
    ] {
        assert_eq!(message.get(tag), Some(value.as_bytes()), "{tag}");
    }
    // Signed once more, it stays as it is.
    let again = sign(&signed.message, &signing(vector)).unwrap();
    assert_eq!(again.message, signed.message);
    assert_eq!(again.had_signature, signed.signature);
}

#[test]
fn what_is_missing_or_twice_is_named() {
    let signed = sign(b"35=A|34=1|49=B08004N|34=2|\n", &Signing::default()).unwrap();
    assert_eq!(signed.missing, [50, 52, 56, 57, 108, 142, 1603, 1604, 1605, 355]);
    assert_eq!(signed.repeated, [34]);
    assert_eq!(signed.signature, None);
    assert_eq!(signed.canonical, b"1\nB08004N\n\n\n\n\n\n\n\n\n");
    assert!(!signed.is_complete());
}

#[test]
fn what_is_no_logon_is_refused() {
    let error = |text: &[u8]| sign(text, &Signing::default()).unwrap_err().to_string();
    assert_eq!(error(b"  \n"), "no message: fields such as 35=A are needed, with | or SOH between them");
    assert_eq!(error(b"35=D|11=x|"), "35=D: only a Logon (35=A) is signed");
    assert_eq!(error(b"35=A|what|"), "not a field such as 35=A: what");
    assert_eq!(error(b"35=A|0=1|"), "not a field such as 35=A: 0=1");
    assert!(error(&[b"35=A|58=", &[b'x'; 5_000][..]].concat()).starts_with("message: 5"));
    let key = Signing { secret_key: Some(Secret::new("a b".to_owned())), access_key_id: None };
    assert_eq!(sign(b"35=A|", &key).unwrap_err(), SignError::Key(KeyError::Encoding));
}

#[test]
fn values_are_signed_as_they_stand() {
    let signed = sign(b"35=A|34=01|49= b08004n|1605=A B |", &Signing::default()).unwrap();
    assert_eq!(signed.canonical, b"01\n b08004n\n\n\n\n\n\n\n\n\nA B ");
}
