//! The demo's sample firms and people, made through the gate like any others.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use doorward_core::ask::{Ask, Verdict};
use doorward_core::audit::{Actor, Door};
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::{Grant, Kind, Profile, Right, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::gate::admin::{NewPassword, NewPerson, Refused};
use crate::gate::{Connection, Gate, Origin, new_attempt};
use crate::serve::StartError;

/// Where the sample people's secrets are kept, for the next start over the same data.
const FILE: &str = "sample-people.json";

/// Code and name of the sample firms.
const FIRMS: [(&str, &str); 2] = [("NORTH", "Northwind Futures"), ("SOUTH", "Southbank Securities")];

/// Who has an initial password, and a setup link in the mailbox.
pub(super) const JOINER: &str = "joiner";

/// A sample person, as the ready file tells of them.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The name to log in with.
    pub userid: String,
    /// The password, in clear.
    pub password: String,
    /// `desk`, `admin`, `trader` or `service`.
    pub kind: String,
    /// The firm's code.
    pub firm: Option<String>,
    /// `password` or `otp`.
    pub auth_system: String,
    /// The authenticator's seed, base32.
    pub otp_seed: Option<String>,
    /// Whether an authenticator is registered.
    pub otp_registered: bool,
    /// Whether the person is disabled.
    pub disabled: bool,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample({}, ***)", self.userid)
    }
}

impl Sample {
    fn new(userid: String, kind: Kind, firm: Option<&str>, auth_system: AuthSystem) -> Self {
        Self {
            userid,
            password: String::new(),
            kind: kind.id().to_owned(),
            firm: firm.map(str::to_owned),
            auth_system: auth_system.name().to_owned(),
            otp_seed: None,
            otp_registered: false,
            disabled: false,
        }
    }

    /// Whether somebody waits to be registered by the mailed link.
    pub(super) fn is_joiner(&self) -> bool {
        self.userid.split('@').next() == Some(JOINER)
    }

    fn registered(self) -> Self {
        Self { otp_registered: true, ..self }
    }
}

/// Codes of the sample firms.
pub(super) fn firm_codes() -> impl Iterator<Item = &'static str> {
    FIRMS.iter().map(|(code, _)| *code)
}

fn plan() -> Vec<Sample> {
    let mut plan = vec![Sample::new("desk".into(), Kind::Desk, None, AuthSystem::Otp).registered()];
    for (code, _) in FIRMS {
        let name = |who: &str| format!("{who}@{}.example", code.to_lowercase());
        let person = |who, kind, system| Sample::new(name(who), kind, Some(code), system);
        plan.push(person("admin", Kind::Administrator, AuthSystem::Otp).registered());
        plan.push(person("trader", Kind::Trader, AuthSystem::Otp).registered());
        plan.push(person("newcomer", Kind::Trader, AuthSystem::Otp));
        plan.push(person("plain", Kind::Trader, AuthSystem::Password));
        plan.push(Sample { disabled: true, ..person("leaver", Kind::Trader, AuthSystem::Password) });
        plan.push(person(JOINER, Kind::Trader, AuthSystem::Otp));
    }
    plan.push(Sample::new("web-backend".into(), Kind::Service, None, AuthSystem::Password));
    plan
}

/// The sample people of earlier data, or new ones.
pub(super) async fn load_or_create(gate: &Arc<Gate>, data: &Path) -> Result<Vec<Sample>, StartError> {
    let path = data.join(FILE);
    if path.exists() {
        let text = std::fs::read(&path).map_err(|error| Fault::disk(&path, &error))?;
        let samples = serde_json::from_slice(&text)
            .map_err(|error| Fault::Damaged(format!("{}: {error}; start with --fresh", path.display())))?;
        return Ok(samples);
    }
    if FIRMS.iter().any(|(code, _)| FirmCode::parse(code).is_ok_and(|code| gate.firm(&code).is_ok())) {
        let text = format!(
            "--data: {}: an earlier demo broke off while it made its sample people; start with --fresh",
            data.display()
        );
        return Err(StartError::Config(text));
    }
    let samples = create(gate).await.map_err(|refused| StartError::Config(text_of(refused)))?;
    let json = serde_json::to_vec_pretty(&samples).map_err(|error| Fault::Disk(error.to_string()))?;
    super::ready::write_private(&path, &json)?;
    Ok(samples)
}

async fn create(gate: &Arc<Gate>) -> Result<Vec<Sample>, Refused> {
    for (code, name) in FIRMS {
        gate.add_firm(parsed(FirmCode::parse(code))?, name, Actor::Node).await?;
    }
    let mut samples = plan();
    for sample in &mut samples {
        add(gate, sample).await?;
    }
    Ok(samples)
}

async fn add(gate: &Arc<Gate>, sample: &mut Sample) -> Result<(), Refused> {
    let userid = parsed(UserId::parse(&sample.userid))?;
    let kind = Kind::from_id(&sample.kind).unwrap_or(Kind::Trader);
    let password = gate.generate()?;
    let person = NewPerson {
        userid: userid.clone(),
        kind,
        firm: sample.firm.as_deref().map(FirmCode::parse).transpose().ok().flatten(),
        auth_system: AuthSystem::from_name(&sample.auth_system),
        password: NewPassword::Clear(password.clone()),
        initial: sample.is_joiner(),
        profile: profile(kind, &sample.userid),
    };
    let (person, _) = gate.add_person(person, Actor::Node).await?;
    sample.password.clone_from(password.expose());
    if sample.otp_registered {
        let seed = gate.issue_authenticator(&userid, Actor::Node).await?;
        sample.otp_seed = Some(seed.base32.expose().clone());
        confirm(gate, person.id, seed.base32.expose()).await?;
    }
    if sample.is_joiner() {
        gate.mail_setup_link(&userid, Actor::Node).await?;
    }
    if sample.disabled {
        let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
        gate.edit_person(&userid, edit, &Actor::Node).await?;
    }
    Ok(())
}

/// Registers an authenticator with the code of the step before this one, so that the present code is still good.
async fn confirm(gate: &Arc<Gate>, person: doorward_core::id::PersonId, seed: &str) -> Result<(), Refused> {
    let before = gate.now().wall - std::time::Duration::from_secs(30);
    let totp = doorward_client::totp::Totp::parse(seed)
        .map_err(|error| Fault::Vault(format!("a sample seed: {error}")))?;
    let code = totp.code(before);
    let origin = Origin {
        door: Door::Node,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        attempt: new_attempt(),
        connection: Arc::new(Connection::default()),
    };
    match gate.ask(Ask::Code { person, code: Secret::new(code.to_string()) }, &origin).await {
        Verdict::Granted(_) => {
            gate.left(&origin);
            Ok(())
        }
        other => {
            Err(Fault::Book(format!("a sample authenticator could not be registered: {other:?}")).into())
        }
    }
}

fn profile(kind: Kind, userid: &str) -> Profile {
    let email =
        Some(if userid.contains('@') { userid.to_owned() } else { format!("{userid}@venue.example") });
    let service = |right: &Right| !right.is_reset() && !Right::ADMINISTRATOR.contains(right);
    let grant = match kind {
        Kind::Service => Some(Grant {
            firms: firm_codes().filter_map(|code| FirmCode::parse(code).ok()).collect(),
            rights: Right::ALL.iter().copied().filter(service).collect(),
            sources: ["127.0.0.0/8", "::1"].iter().filter_map(|text| Network::parse(text).ok()).collect(),
        }),
        // Of an administrator's grant only the rights count.
        Kind::Administrator => Some(Grant {
            firms: Default::default(),
            rights: Right::ADMINISTRATOR.iter().copied().collect(),
            sources: Default::default(),
        }),
        Kind::Desk | Kind::Trader => None,
    };
    Profile { email, grant, ..Profile::default() }
}

pub(super) fn parsed<T>(result: Result<T, &'static str>) -> Result<T, Refused> {
    result.map_err(|text| Refused::Fault(Fault::Book(text.to_owned())))
}

pub(super) fn text_of(refused: Refused) -> String {
    match refused {
        Refused::Misuse(misuse) => misuse.text,
        Refused::Rule(rule) => rule.doc().to_owned(),
        Refused::Denied(refusal) => refusal.text,
        Refused::ChallengeNeeded => "the challenge key is not held any more".to_owned(),
        Refused::Fault(fault) => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::testing::world;

    #[tokio::test]
    async fn data_of_a_demo_that_broke_off_half_way_ask_for_fresh_ones() {
        let world = world();
        world.gate.add_firm(FirmCode::parse(FIRMS[0].0).unwrap(), FIRMS[0].1, Actor::Node).await.unwrap();
        let error = load_or_create(&world.gate, world.folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("--fresh") && error.contains("broke off"), "{error}");
    }

    #[test]
    fn q3_a_samples_password_and_seed_are_not_shown() {
        let sample = Sample::new("jane".to_owned(), Kind::Desk, None, AuthSystem::Otp);
        let sample =
            Sample { password: "in clear".to_owned(), otp_seed: Some("JBSWY3DP".to_owned()), ..sample };
        assert_eq!(format!("{sample:?}"), "Sample(jane, ***)");
    }
}
