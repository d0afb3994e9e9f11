//! The demo's sample FIX sessions, each with a key pair, made through the gate like any others.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::Actor;
use doorward_core::id::{CompStem, FaultTolerance, FirmCode, FirmId, OperatorId, SessionId, UserId};
use doorward_core::identity::decide::fix_session::New;
use doorward_core::identity::fix_session::SessionKind;
use doorward_core::identity::key_pair::Environment;
use doorward_core::secret::Secret;
use serde::{Deserialize, Serialize};

use super::people::{Sample, parsed, text_of};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::gate::admin::Refused;
use crate::gate::keys::Asker;
use crate::serve::StartError;

/// Where the sample sessions' secrets are kept, for the next start over the same data.
const FILE: &str = "sample-sessions.json";
/// Sessions of each sample firm. Each key pair takes a one-time password of its own.
const EACH: u32 = 6;
/// Firm IDs (the middle of SenderCompID) of each session.
const FIRM_IDS: [&str; 2] = ["001", "002"];
/// How long one one-time password is good: the next one is of another step.
const STEP: Duration = Duration::from_secs(30);

/// A sample FIX session, as the ready file tells of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct FixSample {
    /// Its Session ID.
    pub session_id: String,
    /// The Firm ID of the first of its SenderCompIDs.
    pub firm_id: String,
    /// The SenderCompIDs (49) that it may use, without fault tolerance.
    pub sender_comp_ids: Vec<String>,
    /// The operators (50) that it permits.
    pub operator_ids: Vec<String>,
    /// The Access Key ID.
    pub access_key_id: String,
    /// The Secret Key, base64url.
    pub secret_key: String,
    /// What it is for.
    pub kind: String,
    /// The firm that owns it.
    pub firm: String,
}

impl fmt::Debug for FixSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FixSample({}, ***)", self.session_id)
    }
}

/// How far the demo's clock is ahead once all sample sessions are made: it begins so much earlier.
pub(super) const TAKES: Duration = Duration::from_secs(STEP.as_secs() * (EACH as u64 + 4));

/// Whether sessions will be made: there are none of earlier data.
pub(super) fn are_missing(data: &Path) -> bool {
    !data.join(FILE).exists()
}

/// The sample sessions of earlier data, or new ones. The clock is moved on for each key pair.
pub(super) async fn load_or_create(
    gate: &Arc<Gate>,
    data: &Path,
    people: &[Sample],
) -> Result<Vec<FixSample>, StartError> {
    let path = data.join(FILE);
    if path.exists() {
        let text = std::fs::read(&path).map_err(|error| Fault::disk(&path, &error))?;
        let samples = serde_json::from_slice(&text)
            .map_err(|error| Fault::Damaged(format!("{}: {error}; start with --fresh", path.display())))?;
        return Ok(samples);
    }
    let samples = create(gate, people).await.map_err(|refused| {
        StartError::Config(format!("sample FIX sessions: {}; start with --fresh", text_of(refused)))
    })?;
    let json = serde_json::to_vec_pretty(&samples).map_err(|error| Fault::Disk(error.to_string()))?;
    super::ready::write_private(&path, &json)?;
    Ok(samples)
}

async fn create(gate: &Arc<Gate>, people: &[Sample]) -> Result<Vec<FixSample>, Refused> {
    let mut samples = Vec::new();
    for number in 0..EACH {
        // A one-time password is good once.
        gate.advance_clock(STEP);
        for code in super::people::firm_codes() {
            let administrator =
                people.iter().find(|person| person.kind == "admin" && person.firm.as_deref() == Some(code));
            if let Some(administrator) = administrator {
                samples.push(add(gate, code, number, administrator).await?);
            }
        }
    }
    gate.advance_clock(TAKES.saturating_sub(STEP * EACH));
    // What was signed before now is too old.
    gate.listens_now();
    Ok(samples)
}

async fn add(
    gate: &Arc<Gate>,
    code: &str,
    number: u32,
    administrator: &Sample,
) -> Result<FixSample, Refused> {
    let firm: FirmCode = parsed(FirmCode::parse(code))?;
    // NA1, NA2, …; SA1, SA2, …
    let name = format!("{}A{}", code.chars().next().unwrap_or('X'), number + 1);
    let id = parsed(SessionId::parse(name.as_bytes()).ok_or("no Session ID"))?;
    let stem = |text: &&str| FirmId::parse(text.as_bytes()).map(|firm| CompStem { session: id, firm });
    let stems: BTreeSet<CompStem> = FIRM_IDS.iter().filter_map(stem).collect();
    let operators: BTreeSet<OperatorId> =
        ["OPER1", "OPER2"].iter().filter_map(|text| OperatorId::parse(text.as_bytes())).collect();
    let new = New {
        id,
        kind: SessionKind::Order,
        environment: Environment::Test,
        sender_comp_ids: stems.clone(),
        operator_ids: operators.clone(),
        sources: Vec::new(),
    };
    gate.add_fix_session(&firm, new, Actor::Node).await?;
    if number == 0 && gate.key_hours_begin().is_some() {
        gate.open_key_hours(&firm, "the demo makes its sample key pairs", Actor::Node).await?;
    }
    let asker = Asker {
        userid: parsed(UserId::parse(&administrator.userid))?,
        code: Some(code_of(gate, administrator)?),
        actor: Actor::Node,
    };
    let open = gate.create_key(id, None, &asker).await?;
    Ok(FixSample {
        session_id: id.to_string(),
        firm_id: FIRM_IDS[0].to_owned(),
        sender_comp_ids: stems.iter().map(|stem| stem.with(FaultTolerance::Without).to_string()).collect(),
        operator_ids: operators.iter().map(ToString::to_string).collect(),
        access_key_id: open.pair.id.to_string(),
        secret_key: open.secret_key.expose().clone(),
        kind: SessionKind::Order.id().to_owned(),
        firm: code.to_owned(),
    })
}

/// The administrator's one-time password of now.
fn code_of(gate: &Gate, administrator: &Sample) -> Result<Secret<String>, Refused> {
    let seed = administrator.otp_seed.as_deref().unwrap_or_default();
    let totp = doorward_client::totp::Totp::parse(seed)
        .map_err(|error| Fault::Vault(format!("a sample seed: {error}")))?;
    Ok(Secret::new(totp.code(gate.now().wall).to_string()))
}
