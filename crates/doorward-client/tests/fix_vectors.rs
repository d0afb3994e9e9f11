//! Signatures made by other people's software: the right ones come out to the byte, the others do not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use aws_lc_rs::hmac;
use doorward_core::fix::build::Builder;
use doorward_core::fix::message::Fields;
use doorward_core::fix::signature::{
    CME_1_SHA_256, canonical, decode_secret_key, decode_signature, encode_signature,
};
use serde_json::Value;

const VECTORS: &str = include_str!("../../doorward-core/vectors/fix-logon.json");

fn text<'v>(vector: &'v Value, name: &str) -> &'v str {
    vector[name].as_str().unwrap()
}

fn key(vector: &Value) -> hmac::Key {
    let key = decode_secret_key(text(vector, "secret_key").as_bytes()).unwrap();
    hmac::Key::new(hmac::HMAC_SHA256, key.expose())
}

/// The canonical message of a Logon with the vector's fields, as it is read from the wire.
fn canonical_of(vector: &Value) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut builder = Builder::begin(&mut wire, b"FIX.4.2", b"A");
    for (tag, value) in vector["fields"].as_object().unwrap() {
        builder = builder.field(tag.parse().unwrap(), value.as_str().unwrap());
    }
    builder.finish();
    let (mut fields, mut out) = (Fields::new(), Vec::new());
    canonical(&CME_1_SHA_256, &fields.read(&wire).unwrap(), &mut out);
    out
}

#[test]
fn accepted_signatures_are_reproduced_exactly() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors["accepted"].as_array().unwrap() {
        let signed = hmac::sign(&key(vector), &canonical_of(vector));
        let ours = encode_signature(signed.as_ref().try_into().unwrap());
        assert_eq!(ours, text(vector, "signature"), "{}", text(vector, "name"));
    }
}

#[test]
fn refused_signatures_do_not_pass() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let accepted = vectors["accepted"].as_array().unwrap();
    let refused = vectors["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 3);
    for vector in refused {
        let of = accepted.iter().find(|one| one["name"] == vector["of"]).unwrap();
        let passes = decode_signature(text(vector, "signature").as_bytes())
            .is_some_and(|signature| hmac::verify(&key(of), &canonical_of(of), &signature).is_ok());
        assert!(!passes, "{}", text(vector, "name"));
    }
}
