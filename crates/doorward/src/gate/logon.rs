//! Judges signed Logons: synchronous, from what is in memory, in microseconds where the vault is in this process.

use doorward_core::ask::{Judged, SignedLogon};
use doorward_core::id::{AccessKeyId, CompId, FirmCode};
use doorward_core::identity::decide::fix_session::struck;
use doorward_core::identity::decide::signed_logon::{LogonFacts, LogonView, signed_logon, unavailable};
use doorward_core::identity::key_pair::secret_place;
use doorward_core::time::Now;
use subtle::ConstantTimeEq as _;

use super::seen::Sight;
use super::sessions::{Held, Table};
use super::{Gate, Origin};
use crate::fault::Fault;
use crate::metrics;
use crate::vault::{MacKey, Vault};

/// What the vault and the table of seen signatures say of a Logon.
struct Verified {
    matches: bool,
    replayed: bool,
}

impl Gate {
    /// Judges what a signed Logon claims (checks 5 to 8). Whatever fails first, all is computed, and with a key that
    /// nobody has the work is the same (F3). Nothing durable has changed afterwards but in the record, which is the
    /// machine's to complete and the door's to save with [`Gate::save_logons`]; a refusal counts towards the lock of
    /// its session from now on.
    pub fn judge_logon(&self, logon: &SignedLogon, origin: &Origin) -> Judged {
        let now = self.clock.now();
        let context = self.context(origin);
        let key_id = AccessKeyId::parse(&logon.access_key_id);
        let table = self.sessions.read();
        let owner = key_id.as_ref().and_then(|id| table.owner(id));
        let view = self.logon_view(&table, logon, owner, key_id.as_ref());
        let strikes = owner.map_or(0, |owner| owner.strikes(now.mono));
        let opened = owner.zip(key_id.as_ref()).and_then(|(owner, id)| owner.mac_key(id));
        let verified = match opened {
            Some(key) => Ok(Some(key.clone())),
            None => self.late_key(&view),
        };
        let verified = verified.and_then(|key| self.verify_logon(logon, key.as_ref(), now));
        let judged = match verified {
            Ok(Verified { matches, replayed }) => {
                let facts = LogonFacts {
                    signature_matches: matches,
                    replayed,
                    listening_since: self.listening_since(),
                    strikes,
                };
                signed_logon(&view, logon, &facts, &context)
            }
            Err(fault) => {
                metrics::vault_failed("mac");
                tracing::error!(attempt = %origin.attempt, %fault, "a Logon could not be verified");
                unavailable(&view, logon, strikes, &context)
            }
        };
        drop(table);
        if let Some(session) = struck(&judged.record) {
            self.sessions.write().strike(session, now.mono, now.wall);
        }
        judged
    }

    /// The secret of a key that could not be opened when its session came into memory.
    fn late_key(&self, view: &LogonView<'_>) -> Result<Option<MacKey>, Fault> {
        let Some((session, pair)) = view.key else { return Ok(None) };
        let open = |sealed| self.vault.mac_key(&secret_place(&pair.id, &session.firm), sealed);
        pair.sealed().map(open).transpose()
    }

    fn logon_view<'t>(
        &self,
        table: &'t Table,
        logon: &SignedLogon,
        owner: Option<&'t Held>,
        key_id: Option<&AccessKeyId>,
    ) -> LogonView<'t> {
        let held = CompId::parse(&logon.sender_comp_id).and_then(|comp| table.get(comp.session));
        let is_closed = |firm: &FirmCode| table.is_closed(firm);
        LogonView {
            session: held.map(|held| &held.session),
            firm_closed: held.is_some_and(|held| is_closed(&held.session.firm)),
            halted: held.is_some_and(|held| self.halts.covers_session(&held.session)),
            locked: held.and_then(|held| held.locked),
            key: owner.zip(key_id).and_then(|(owner, id)| Some((&owner.session, owner.session.pair(id)?))),
        }
    }

    /// One HMAC and one look-up, whoever asks.
    fn verify_logon(&self, logon: &SignedLogon, key: Option<&MacKey>, now: Now) -> Result<Verified, Fault> {
        let mac = self.vault.mac(key.unwrap_or(&self.nobodys_key), &logon.canonical)?;
        let given = logon.signature.unwrap_or_default();
        let equal = bool::from(mac.ct_eq(&given));
        let matches = equal && key.is_some() && logon.signature.is_some();
        match self.seen.look(&given, matches, now) {
            Sight::First => Ok(Verified { matches, replayed: false }),
            Sight::Again => Ok(Verified { matches, replayed: true }),
            Sight::Full => Err(Fault::Busy("too many Logons at once")),
        }
    }
}

/// A key that nobody has.
pub(super) fn nobodys_key(vault: &dyn Vault) -> Result<MacKey, Fault> {
    let firm = FirmCode::parse("NOBODY").expect("a firm's code"); // holds: six capital letters are one
    let id = AccessKeyId::parse(b"00000000000000000000").expect("an access key"); // holds: twenty digits are one
    let place = secret_place(&id, &firm);
    let (sealed, _) = vault.new_mac_key(&place)?;
    vault.mac_key(&place, &sealed)
}
