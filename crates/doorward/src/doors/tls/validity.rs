//! When a certificate holds, which rustls does not tell.

use doorward_core::time::Wall;

/// When a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Validity {
    pub(super) from: Wall,
    pub(super) to: Wall,
}

/// When a certificate holds (RFC 5280, 4.1.2.5); `None` where it does not read, which rustls judges.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = der(certificate, 0x30)?;
    let (mut tbs, _) = der(certificate, 0x30)?;
    if let Some((_, rest)) = der(tbs, 0xa0) {
        tbs = rest;
    }
    let (_serial, rest) = der(tbs, 0x02)?;
    let (_algorithm, rest) = der(rest, 0x30)?;
    let (_issuer, rest) = der(rest, 0x30)?;
    let (validity, _) = der(rest, 0x30)?;
    let (from, rest) = time(validity)?;
    let (to, _) = time(rest)?;
    Some(Validity { from, to })
}

/// The contents of the first DER value, where it has this tag, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = bytes else { return None };
    if *found != tag {
        return None;
    }
    let (len, rest) = match usize::from(*first) {
        len @ 0..0x80 => (len, rest),
        more => {
            let (digits, rest) =
                rest.split_at_checked(more - 0x80).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(len)
}

/// A `UTCTime` or `GeneralizedTime`, which end in `Z` in certificates.
fn time(bytes: &[u8]) -> Option<(Wall, &[u8])> {
    let (digits, rest, century) = match (der(bytes, 0x17), der(bytes, 0x18)) {
        (Some((short, rest)), _) => (short, rest, if short.first()? < &b'5' { "20" } else { "19" }),
        (None, Some((long, rest))) => (long, rest, ""),
        (None, None) => return None,
    };
    let text = format!("{century}{}", std::str::from_utf8(digits).ok()?);
    let part = |range: std::ops::Range<usize>| text.get(range);
    let instant = format!(
        "{}-{}-{}T{}:{}:{}",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        text.get(12..)?
    );
    Some((Wall::parse(&instant)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_cut_certificate_is_survived() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        let der = made.der();
        for end in 0..der.len() {
            assert!(validity(&der[..end]).is_none(), "{end}");
        }
        assert!(validity(der).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_for_a_certificate_are_survived(bytes: Vec<u8>) {
            let _ = validity(&bytes);
            let _ = time(&bytes);
        }
    }
}
