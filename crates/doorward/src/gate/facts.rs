//! Facts for decisions: what the vault finds in ciphertexts and codes.

use doorward_core::ask::{ENVELOPE_BYTES, Encrypted, Enveloped, GivenPassword};
use doorward_core::audit::Record;
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::decide::CodeFact;
use doorward_core::identity::decide::login::Opened;
use doorward_core::identity::enrolment::Seed;
use doorward_core::identity::password;
use doorward_core::identity::person::Person;
use doorward_core::identity::sealed::Place;
use doorward_core::identity::totp;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use subtle::ConstantTimeEq as _;

use super::Gate;
use crate::fault::Fault;
use crate::vault::{CiphertextFact, Label, OpenError, OpenPassword, TotpQuery};

/// A password as the vault opened it; where the ciphertext was bad, a pseudo-random one (E2).
pub(super) struct OpenedPassword {
    /// Normalised (P3).
    pub(super) normal: Secret<String>,
    /// For the decision and the audit; the work that follows is the same.
    pub(super) opened: Opened,
    /// Whether it was well-formed but longer than any password.
    pub(super) too_long: bool,
}

/// Why a password could not be opened at all.
pub(super) enum NotOpened {
    /// Its key is not held: nothing was decrypted, nothing is counted.
    ChallengeNeeded,
    /// The vault failed.
    Fault(Fault),
}

impl Gate {
    /// The password that a door got, whichever way it came.
    pub(super) fn open_given(
        &self,
        given: &GivenPassword,
        label: Label,
    ) -> Result<OpenedPassword, NotOpened> {
        match given {
            GivenPassword::Encrypted(encrypted) => self.open(encrypted, label),
            GivenPassword::Enveloped(enveloped) => self.open_enveloped(enveloped),
            GivenPassword::Clear(text) => Ok(OpenedPassword {
                normal: password::normalise(text.expose()),
                opened: Opened::Good,
                too_long: false,
            }),
        }
    }

    /// Has the vault forget that it saw a ciphertext: nothing was decided, the peer may send it again.
    pub(super) fn forget_given(&self, given: &GivenPassword) {
        match given {
            GivenPassword::Encrypted(encrypted)
            | GivenPassword::Enveloped(Enveloped { encrypted, expected: _ }) => {
                self.vault.forget_ciphertext(&encrypted.key, &encrypted.ciphertext);
            }
            GivenPassword::Clear(_) => {}
        }
    }

    /// Opens a password that a page encrypted. Where something else stands before it than the visitor was given for
    /// this action and user id, it is a bad ciphertext like any other: one that nobody has is compared (E2, E8).
    fn open_enveloped(&self, enveloped: &Enveloped) -> Result<OpenedPassword, NotOpened> {
        let (password, fact) = self.decrypt(&enveloped.encrypted, Label::Portal)?;
        let stand_in = self.web.stand_in(&enveloped.encrypted.ciphertext);
        let inside = password.expose().split_at_checked(ENVELOPE_BYTES);
        let (before, inside) = inside.unwrap_or((&[0; ENVELOPE_BYTES], stand_in.as_bytes()));
        let stands: bool = before.ct_eq(&enveloped.expected).into();
        let opened = match fact_of(fact) {
            Opened::Good if !stands => Opened::Bad,
            fact => fact,
        };
        let text = match opened {
            Opened::Good => std::str::from_utf8(inside).unwrap_or(&stand_in),
            Opened::Bad | Opened::Replayed => &stand_in,
        };
        Ok(OpenedPassword { normal: password::normalise(text), opened, too_long: false })
    }

    /// Opens a password that came encrypted.
    pub(super) fn open(&self, encrypted: &Encrypted, label: Label) -> Result<OpenedPassword, NotOpened> {
        let (password, fact) = self.decrypt(encrypted, label)?;
        let text = String::from_utf8_lossy(password.expose());
        let too_long = fact == CiphertextFact::TooLong;
        Ok(OpenedPassword { normal: password::normalise(&text), opened: fact_of(fact), too_long })
    }

    fn decrypt(
        &self,
        encrypted: &Encrypted,
        label: Label,
    ) -> Result<(Secret<Vec<u8>>, CiphertextFact), NotOpened> {
        let request = OpenPassword {
            key_id: &encrypted.key,
            padding: encrypted.padding,
            label,
            pkcs1_allowed: self.settings.pkcs1,
            ciphertext: &encrypted.ciphertext,
        };
        match self.vault.open_password(&request, self.clock.now()) {
            Ok(opened) => Ok((opened.password, opened.fact)),
            Err(OpenError::NoSuchKey) => Err(NotOpened::ChallengeNeeded),
            Err(OpenError::Fault(fault)) => Err(NotOpened::Fault(fault)),
        }
    }

    /// Compares a one-time password with the steps around now; the seed is opened for that alone.
    pub(super) fn code_fact(
        &self,
        person: &Person,
        code: Option<&Secret<String>>,
        now: Wall,
    ) -> Result<CodeFact, Fault> {
        let Some(code) = code else { return Ok(CodeFact::NotGiven) };
        let Some((seed, drift)) = person.authenticator.comparable() else {
            return Ok(CodeFact::Given { offset: None });
        };
        Ok(CodeFact::Given { offset: self.match_code(person, seed, drift, code, now)? })
    }

    /// How many steps from now a seed has a code, if it has it anywhere near.
    pub(super) fn match_code(
        &self,
        person: &Person,
        seed: &Seed,
        drift: i8,
        code: &Secret<String>,
        now: Wall,
    ) -> Result<Option<i8>, Fault> {
        self.match_code_at(&seed_place(person, seed.version), seed, drift, code, now)
    }

    /// The same for a seed of somebody who is not yet known.
    pub(super) fn match_code_at(
        &self,
        place: &Place,
        seed: &Seed,
        drift: i8,
        code: &Secret<String>,
        now: Wall,
    ) -> Result<Option<i8>, Fault> {
        if !seed.parameters.is_code(code.expose()) {
            return Ok(None);
        }
        let candidates = totp::candidates(seed.parameters.step_at(now), drift);
        let steps: Vec<u64> = candidates.iter().map(|(_, step)| *step).collect();
        let found = self.vault.totp_match(&TotpQuery {
            place,
            seed: &seed.sealed,
            algorithm: seed.parameters.algorithm,
            digits: seed.parameters.digits,
            steps: &steps,
            code: code.expose().as_bytes(),
        })?;
        Ok(found.and_then(|at| candidates.get(at)).map(|(offset, _)| *offset))
    }
}

const fn fact_of(fact: CiphertextFact) -> Opened {
    match fact {
        CiphertextFact::Good => Opened::Good,
        CiphertextFact::Replayed => Opened::Replayed,
        CiphertextFact::PaddingNotAllowed
        | CiphertextFact::BadLength
        | CiphertextFact::OutOfRange
        | CiphertextFact::BadPadding
        | CiphertextFact::TooLong
        | CiphertextFact::NotUtf8 => Opened::Bad,
    }
}

/// Where a person's seed lives; it opens nowhere else (V1).
pub(super) fn seed_place(person: &Person, version: u32) -> Place {
    seed_place_of(person.id, person.firm.as_ref(), version)
}

/// The same of somebody who is not yet known.
pub(super) fn seed_place_of(person: PersonId, firm: Option<&FirmCode>, version: u32) -> Place {
    Place {
        table: "person",
        row: person.to_string(),
        column: "totp_seed",
        firm: firm.map(|code| code.as_str().to_owned()).unwrap_or_default(),
        version,
    }
}

/// The person that a record adds.
pub(in crate::gate) fn drafted(record: &Record) -> Person {
    use doorward_core::identity::change::Change;
    record
        .changes
        .iter()
        .find_map(|change| match change {
            Change::PersonAdded { person } => Some(person.as_ref().clone()),
            Change::VenuePolicy { .. }
            | Change::Firm { .. }
            | Change::Password { .. }
            | Change::Authenticator { .. }
            | Change::Standing { .. }
            | Change::AuthSystem { .. }
            | Change::Profile { .. }
            | Change::KeyCodes { .. }
            | Change::Link { .. }
            | Change::Recovery { .. }
            | Change::Notices { .. }
            | Change::Tokens { .. }
            | Change::MailQueued { .. }
            | Change::MailState { .. }
            | Change::Halt { .. }
            | Change::FixSession { .. }
            | Change::SessionLock { .. }
            | Change::KeyUsed { .. }
            | Change::Stream { .. }
            | Change::Week { .. }
            | Change::Attempt { .. }
            | Change::AttemptsForgotten { .. }
            | Change::Restored { .. } => None,
        })
        .expect("a record of person::add adds a person") // holds: add makes exactly that change
}
