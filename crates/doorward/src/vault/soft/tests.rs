use std::sync::Arc;

use doorward_core::ask::Padding;
use proptest::prelude::*;

use super::super::conformance::{self, at, encrypt};
use super::super::{CiphertextFact, FaultyVault, Label};
use super::*;

#[test]
fn the_soft_vault_conforms() {
    conformance::conforms(&|settings| Box::new(SoftVault::in_memory(settings).unwrap()));
}

#[test]
fn a_vault_behind_the_fault_switch_conforms_while_it_is_up() {
    conformance::conforms(&|settings| {
        Box::new(FaultyVault::new(Arc::new(SoftVault::in_memory(settings).unwrap()), false))
    });
}

#[test]
fn keys_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let settings = ChallengeSettings::default();
    let place = Place { table: "person", row: "1".into(), column: "seed", firm: "ACME".into(), version: 1 };
    let first = SoftVault::open_or_create(&path, &Protection::UnlockFile, settings).unwrap();
    let sealed = first.seal(&place, b"seed").unwrap();
    let peppered = first.pepper(b"hash").unwrap();
    let second = SoftVault::open_or_create(&path, &Protection::UnlockFile, settings).unwrap();
    assert_eq!(second.open(&place, &sealed).unwrap().expose(), b"seed");
    assert_eq!(second.pepper_with(&peppered.key, b"hash").unwrap(), peppered.mac);
    assert_eq!(first.describe(), second.describe());
    assert_eq!(first.audit_keys().unwrap(), second.audit_keys().unwrap());
    assert!(!second.describe().hsm);
}

#[test]
fn e6_a_refused_size_leaves_no_key_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let settings = ChallengeSettings { bits: 1024, ..ChallengeSettings::default() };
    assert!(SoftVault::create(&path, &Protection::UnlockFile, settings).is_err());
    assert!(!path.exists());
}

#[test]
fn a_vault_that_is_down_fails_every_call_and_recovers() {
    let soft = Arc::new(SoftVault::in_memory(ChallengeSettings::default()).unwrap());
    let vault = FaultyVault::new(soft, false);
    let place = Place { table: "t", row: "1".into(), column: "c", firm: String::new(), version: 1 };
    let challenge = vault.challenge(at(0)).unwrap();
    let ciphertext = encrypt(&challenge, Padding::Pkcs1, Label::WebSocket, b"password");
    let request = OpenPassword {
        key_id: &challenge.key_id,
        padding: Padding::Pkcs1,
        label: Label::WebSocket,
        pkcs1_allowed: true,
        ciphertext: &ciphertext,
    };
    let sealed = vault.seal(&place, b"x").unwrap();
    let query = TotpQuery {
        place: &place,
        seed: &sealed,
        algorithm: totp::TotpAlgorithm::Sha1,
        digits: 6,
        steps: &[],
        code: b"",
    };
    vault.set_down(true);
    let faults = [
        vault.challenge(at(0)).err(),
        vault.tick(at(0)).err(),
        vault.seal(&place, b"x").err(),
        vault.open(&place, &sealed).err(),
        vault.pepper(b"x").err(),
        vault.pepper_with("x", b"x").err(),
        vault.totp_match(&query).err(),
        vault.new_seed(&place, 20).err(),
        vault.random(&mut [0; 4]).err(),
        vault.audit_keys().err(),
        vault.audit_sign(&[0; 32], b"x").err(),
        vault.probe().err(),
        match vault.open_password(&request, at(0)) {
            Err(OpenError::Fault(fault)) => Some(fault),
            Err(OpenError::NoSuchKey) | Ok(_) => None,
        },
    ];
    assert!(faults.iter().all(|fault| matches!(fault, Some(Fault::Vault(_)))), "{faults:?}");
    assert!(vault.is_live(&challenge.key_id, at(0)));
    vault.set_down(false);
    assert_eq!(vault.open_password(&request, at(0)).unwrap().fact, CiphertextFact::Good);
}

fn expected(message: &[u8]) -> CiphertextFact {
    if message.len() > super::super::PASSWORD_LEN_MAX {
        CiphertextFact::TooLong
    } else if std::str::from_utf8(message).is_err() {
        CiphertextFact::NotUtf8
    } else {
        CiphertextFact::Good
    }
}

#[test]
fn what_aws_lc_encrypts_is_opened_and_what_is_changed_is_not() {
    let settings = ChallengeSettings::default();
    let vault = SoftVault::in_memory(settings).unwrap();
    let challenge = vault.challenge(at(0)).unwrap();
    let open = |padding, ciphertext: &[u8]| {
        let request = OpenPassword {
            key_id: &challenge.key_id,
            padding,
            label: Label::WebSocket,
            pkcs1_allowed: true,
            ciphertext,
        };
        vault.open_password(&request, at(0)).unwrap()
    };
    let message = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..=190),
        proptest::collection::vec(0x20_u8..0x7f, 1..=190),
        "\\PC{1,60}".prop_map(|text| text.bytes().take(190).collect::<Vec<u8>>()),
    ];
    let runner = &mut proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let result = runner.run(&(message, 0_usize..2048), |(message, bit)| {
        for padding in Padding::ALL {
            let mut ciphertext = encrypt(&challenge, padding, Label::WebSocket, &message);
            let opened = open(padding, &ciphertext);
            prop_assert_eq!(opened.fact, expected(&message));
            prop_assert_eq!(opened.password.expose() == &message, opened.fact == CiphertextFact::Good);
            ciphertext[bit / 8] ^= 1 << (bit % 8);
            let opened = open(padding, &ciphertext);
            prop_assert_ne!(opened.password.expose(), &message);
            prop_assert!(std::str::from_utf8(opened.password.expose()).is_ok());
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn keys_of_3072_bits_work() {
    let settings = ChallengeSettings { bits: 3072, ..ChallengeSettings::default() };
    let vault = SoftVault::in_memory(settings).unwrap();
    let challenge = vault.challenge(at(0)).unwrap();
    for padding in Padding::ALL {
        let ciphertext = encrypt(&challenge, padding, Label::WebSocket, &[b'a'; 190]);
        let request = OpenPassword {
            key_id: &challenge.key_id,
            padding,
            label: Label::WebSocket,
            pkcs1_allowed: true,
            ciphertext: &ciphertext,
        };
        assert_eq!(vault.open_password(&request, at(0)).unwrap().password.expose(), &[b'a'; 190]);
    }
}

#[test]
fn q3_a_peppered_hash_is_not_shown() {
    let peppered = Peppered { key: "soft:pepper/01".to_owned(), mac: [0xAB; 32] };
    assert_eq!(format!("{peppered:?}"), "Peppered(soft:pepper/01, ***)");
}
