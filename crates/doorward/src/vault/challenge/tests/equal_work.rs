//! Whatever a ciphertext is, opening it costs the same.

use super::*;

/// One of each kind that a peer can make, with what is found of it under a modulus of 256 bytes.
fn kinds() -> Vec<(Vec<u8>, CiphertextFact)> {
    vec![
        (block(b"well-formed but wrong"), CiphertextFact::Good),
        (vec![7; 256], CiphertextFact::BadPadding),
        (vec![7; 255], CiphertextFact::BadLength),
        (Vec::new(), CiphertextFact::BadLength),
        (vec![0xff; 256], CiphertextFact::OutOfRange),
        (block(b"broken \xff utf-8"), CiphertextFact::NotUtf8),
        (block(&[b'a'; PASSWORD_LEN_MAX + 1]), CiphertextFact::TooLong),
    ]
}

#[test]
fn e3_each_kind_of_ciphertext_and_its_replay_cost_one_private_operation() {
    let (keys, counts) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    for (ciphertext, fact) in kinds() {
        // A replay is told as such only where nothing else is wrong.
        let replayed = if fact == CiphertextFact::Good { CiphertextFact::Replayed } else { fact };
        for expected in [fact, replayed] {
            let before = counts.used();
            let opened = keys.open_password(&request(&key, &ciphertext), at(0)).unwrap();
            assert_eq!(counts.used() - before, 1, "{fact:?}");
            if expected != fact {
                assert_eq!(opened.fact, expected);
            }
        }
    }
}

#[test]
fn e3_a_padding_that_is_not_allowed_costs_the_same_and_a_dead_key_nothing() {
    let (keys, counts) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    let ciphertext = block(b"well-formed");
    let refused = OpenPassword { pkcs1_allowed: false, ..request(&key, &ciphertext) };
    assert_eq!(keys.open_password(&refused, at(0)).unwrap().fact, CiphertextFact::PaddingNotAllowed);
    assert_eq!(counts.used(), 1);
    let gone = KeyId::parse("gone").unwrap();
    assert!(matches!(keys.open_password(&request(&gone, &ciphertext), at(0)), Err(OpenError::NoSuchKey)));
    assert_eq!(counts.used(), 1, "the name of the key is public: nothing is opened");
}
