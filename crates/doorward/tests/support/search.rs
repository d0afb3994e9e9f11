//! Looks for secrets in bytes, in every form in which they might lie there.

use std::collections::HashMap;

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL, HEXLOWER, HEXUPPER};

/// Bytes by which a form is looked for at first.
const BEGIN: usize = 8;

/// How bytes may lie somewhere: as they are, in hexadecimal, in base64 of both alphabets at any offset, as a form sends
/// them, in UTF-16.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec(), HEXLOWER.encode(secret).into(), HEXUPPER.encode(secret).into()];
    for before in 0..3 {
        let shifted = [&[0; 3][..before], secret].concat();
        // The characters that hold bits of this secret alone.
        let own = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
        for text in [BASE64.encode(&shifted), BASE64URL.encode(&shifted)] {
            forms.push(text.as_bytes()[own.clone()].to_vec());
        }
    }
    let percent: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
    forms.extend([percent.to_lowercase().into(), percent.into()]);
    if let Ok(text) = std::str::from_utf8(secret) {
        let form: String = form_urlencoded::byte_serialize(secret).collect();
        forms.extend([form.replace('+', "%20").into(), form.into()]);
        forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        forms.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    forms
}

/// Secrets with all their forms.
#[derive(Default)]
pub(crate) struct Secrets(HashMap<[u8; BEGIN], Vec<(String, Vec<u8>)>>);

impl Secrets {
    /// Some texts; a seed is also the bytes that it stands for.
    pub(crate) fn of(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.add(text.as_ref()));
        all
    }

    pub(crate) fn add(&mut self, text: &str) {
        let seed = BASE32_NOPAD.decode(text.as_bytes()).ok();
        for secret in [Some(text.as_bytes().to_vec()), seed].into_iter().flatten() {
            for form in forms(&secret) {
                let own = self.0.entry(form[..BEGIN].try_into().unwrap()).or_default();
                own.push((text.to_owned(), form));
            }
        }
    }

    /// The first of these that lies in there; one pass, however many there are.
    pub(crate) fn found(&self, bytes: &[u8]) -> Option<&str> {
        bytes.windows(BEGIN).enumerate().find_map(|(at, begin)| {
            if begin == [0; BEGIN] {
                return None; // most of a journal file is not written yet
            }
            let forms = self.0.get(begin)?;
            let found = forms.iter().find(|(_, form)| bytes[at..].starts_with(form));
            found.map(|(text, _)| text.as_str())
        })
    }
}
