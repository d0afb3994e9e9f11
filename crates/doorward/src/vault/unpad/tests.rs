use super::*;

fn pkcs1_block(size: usize, message: &[u8]) -> Vec<u8> {
    let mut block = vec![0, 2];
    block.resize(size - message.len() - 1, 0x5a);
    block.push(0);
    block.extend_from_slice(message);
    block
}

fn oaep_block(size: usize, label: &[u8], message: &[u8]) -> Vec<u8> {
    let mut data = digest(&SHA256, label).as_ref().to_vec();
    data.resize(size - HASH_LEN - 2 - message.len(), 0);
    data.push(1);
    data.extend_from_slice(message);
    oaep_masked(&data)
}

fn oaep_masked(data: &[u8]) -> Vec<u8> {
    let seed = [0x77_u8; HASH_LEN];
    let masked = xor(data, &mgf1(&seed, data.len()));
    let mut block = vec![0];
    block.extend_from_slice(&xor(&seed, &mgf1(&masked, HASH_LEN)));
    block.extend_from_slice(&masked);
    block
}

fn message(unpadded: &Unpadded) -> Option<Vec<u8>> {
    let len = unpadded.len as usize;
    bool::from(unpadded.good).then(|| unpadded.message[..len].to_vec())
}

/// What RFC 8017, 7.2.2 says, without care for time.
fn pkcs1_plainly(block: &[u8]) -> Option<Vec<u8>> {
    let rest = block.strip_prefix(&[0, 2])?;
    let zero = rest.iter().position(|byte| *byte == 0)?;
    (zero >= PS_LEN_MIN).then(|| rest[zero + 1..].to_vec())
}

/// What RFC 8017, 7.1.2 says of the data block, without care for time.
fn oaep_data_plainly(data: &[u8], label: &[u8]) -> Option<Vec<u8>> {
    let rest = data.strip_prefix(digest(&SHA256, label).as_ref())?;
    let mark = rest.iter().position(|byte| *byte != 0)?;
    (rest[mark] == 1).then(|| rest[mark + 1..].to_vec())
}

#[test]
fn pkcs1_messages_of_every_length_come_back() {
    for size in [128, 256, 384] {
        for len in 0..=size - 11 {
            let text: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let unpadded = pkcs1(&pkcs1_block(size, &text));
            assert_eq!(message(&unpadded), Some(text), "{len} in {size}");
            assert_eq!(bool::from(unpadded.is_too_long()), len > PASSWORD_LEN_MAX);
        }
        assert_eq!(message(&pkcs1(&pkcs1_block(size, &vec![1; size - 10]))), None, "seven bytes of padding");
    }
}

#[test]
fn oaep_messages_of_every_length_come_back() {
    for size in [128, 256, 384] {
        for len in 0..=size - 66 {
            let text: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let unpadded = oaep(&oaep_block(size, b"portal", &text), b"portal");
            assert_eq!(message(&unpadded), Some(text), "{len} in {size}");
            assert_eq!(bool::from(unpadded.is_too_long()), len > PASSWORD_LEN_MAX);
        }
    }
}

#[test]
fn every_small_pkcs1_block_is_judged_as_the_rfc_does() {
    let mut good = 0;
    for lead in [[0, 2], [0, 0], [0, 1], [0, 3], [1, 2], [2, 0], [0x80, 2], [0, 0x82]] {
        for bits in 0..1_u32 << 13 {
            for fill in [1, 0xff] {
                let mut block = lead.to_vec();
                block.extend((0..13).map(|n| if bits >> n & 1 == 1 { fill } else { 0 }));
                let found = message(&pkcs1(&block));
                assert_eq!(found, pkcs1_plainly(&block), "{block:?}");
                good += usize::from(found.is_some());
            }
        }
    }
    assert_eq!(good, 2 * (1 + 2 + 4 + 8 + 16), "first zero at 8, 9, 10, 11, 12");
    for len in 0..11 {
        assert_eq!(message(&pkcs1(&[0, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9][..len])), None);
    }
}

#[test]
fn every_changed_byte_of_pkcs1_padding_is_noticed() {
    let block = pkcs1_block(256, b"secret");
    let separator = 256 - 7;
    for at in 0..=separator {
        for value in [0, 1, 2, 3, 0x5a, 0x80, 0xff] {
            let mut other = block.clone();
            other[at] = value;
            assert_eq!(message(&pkcs1(&other)), pkcs1_plainly(&other), "{value} at {at}");
        }
    }
    let mut other = block;
    other[separator] = 1;
    assert_eq!(message(&pkcs1(&other)), None, "no separator at all");
}

#[test]
fn every_form_of_oaep_data_is_judged_as_the_rfc_does() {
    // 128 bytes leave 95 of data: 32 of hash, then 63 in which each pair of places is tried.
    for first in 32..95 {
        for second in first..95 {
            for value in [1, 2, 0x80, 0xff] {
                let mut data = digest(&SHA256, b"").as_ref().to_vec();
                data.resize(95, 0);
                data[second] = 1;
                data[first] = value;
                let found = message(&oaep(&oaep_masked(&data), b""));
                assert_eq!(found, oaep_data_plainly(&data, b""), "{value} at {first}, 1 at {second}");
            }
        }
    }
    let mut data = digest(&SHA256, b"").as_ref().to_vec();
    data.resize(95, 0);
    assert_eq!(message(&oaep(&oaep_masked(&data), b"")), None, "no mark");
}

#[test]
fn every_changed_bit_of_an_oaep_block_is_noticed() {
    let block = oaep_block(128, b"", b"");
    assert_eq!(message(&oaep(&block, b"")), Some(Vec::new()));
    for bit in 0..128 * 8 {
        let mut other = block.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(message(&oaep(&other, b"")), None, "bit {bit}");
    }
    for len in 0..66 {
        assert_eq!(message(&oaep(&block[..len], b"")), None, "{len} bytes");
    }
}

#[test]
fn e8_a_block_for_another_label_is_bad() {
    for (made, read) in [("", "portal"), ("portal", ""), ("portal", "api"), ("api", "portal")] {
        assert_eq!(message(&oaep(&oaep_block(256, made.as_bytes(), b"x"), read.as_bytes())), None);
    }
}

#[test]
fn utf8_is_judged_as_the_standard_library_does() {
    let check = |text: &[u8]| {
        let mut bytes = text.to_vec();
        bytes.resize(PASSWORD_LEN_MAX, 0xff);
        let found = bool::from(utf8(&bytes, text.len() as u32));
        assert_eq!(found, std::str::from_utf8(text).is_ok(), "{text:x?}");
    };
    check(&[]);
    let short = |text: &[u8]| {
        let found = bool::from(utf8(text, text.len() as u32));
        assert_eq!(found, std::str::from_utf8(text).is_ok(), "{text:x?}");
    };
    for first in 0..=255 {
        check(&[first]);
        for second in 0..=255 {
            short(&[first, second]);
        }
    }
    let edges = [0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec];
    let edges = edges.into_iter().chain([0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff]);
    let edges: Vec<u8> = edges.collect();
    for a in &edges {
        for b in &edges {
            for c in &edges {
                short(&[*a, *b, *c]);
                if *a >= 0xf0 {
                    for d in &edges {
                        short(&[*a, *b, *c, *d]);
                    }
                }
            }
        }
    }
    check("pässwört 密码 🔑".as_bytes());
}

#[test]
fn the_choice_is_the_message_or_the_stand_in_whole() {
    let mut bytes = Zeroizing::new([0; PASSWORD_LEN_MAX]);
    bytes[..5].copy_from_slice(b"nobod");
    let stand_in = StandIn { bytes, len: 5 };
    let unpadded = pkcs1(&pkcs1_block(256, b"correct horse"));
    assert_eq!(choose(&unpadded, &stand_in, Choice::from(1)), b"correct horse");
    assert_eq!(choose(&unpadded, &stand_in, Choice::from(0)), b"nobod");
    let bad = pkcs1(&[7; 256]);
    assert_eq!(choose(&bad, &stand_in, bad.good), b"nobod");
}
