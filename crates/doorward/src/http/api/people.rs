//! People: who they are, what they prove themselves with.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use doorward_core::ask::{Encrypted, KeyId, Padding};
use doorward_core::id::UserId;
use doorward_core::identity::decide::Misuse;
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::{Grant, Kind, Person, Profile, Right, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::text::{percent_encoded, shortened};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::read::{
    Body, Caller, IfMatch, Nothing, Params, UserPath, firm_code, given, required, user_id, word,
};
use super::{ApiState, Tagged, show, tagged};
use crate::gate::Gate;
use crate::gate::admin::{NewPassword, NewPerson, PeopleFilter};
use crate::http::problem::Problem;

const STANDINGS: [Standing; 2] = [Standing::Active, Standing::Disabled];
const SYSTEMS: [AuthSystem; 2] = [AuthSystem::Password, AuthSystem::Otp];

fn kind(text: &str) -> Result<Kind, Problem> {
    word("kind", text, Kind::from_id, Kind::ALL.iter().map(|kind| kind.id()))
}

fn standing(text: &str) -> Result<Standing, Problem> {
    let known = |text: &str| STANDINGS.into_iter().find(|known| show::standing(*known) == text);
    word("standing", text, known, STANDINGS.into_iter().map(show::standing))
}

fn auth_system(text: &str) -> Result<AuthSystem, Problem> {
    word("auth_system", text, AuthSystem::from_name, SYSTEMS.into_iter().map(AuthSystem::name))
}

pub(super) async fn list(State(api): State<ApiState>, mut params: Params) -> Result<Json<Value>, Problem> {
    let registered = params.take("registered")?.map(|text| match text.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            Err(Problem::invalid("registered", format!("{:?} is none of true, false", shortened(&text, 32))))
        }
    });
    let filter = PeopleFilter {
        firm: params.take("firm")?.map(|code| firm_code("firm", &code)).transpose()?,
        kind: params.take("kind")?.as_deref().map(kind).transpose()?,
        standing: params.take("standing")?.as_deref().map(standing).transpose()?,
        text: params.take("text")?,
        registered: registered.transpose()?,
        ..PeopleFilter::default()
    };
    let after = params.take("cursor")?.map(|cursor| after(&cursor)).transpose()?;
    let limit = params.limit()?;
    params.end(&["firm", "kind", "standing", "text", "registered", "cursor", "limit"])?;

    let gate = Arc::clone(&api.gate);
    let looked_up = move || gate.people(&filter, after.as_ref(), limit + 1);
    let mut people = super::node::look_up(looked_up).await?;
    let more = people.len() > limit;
    people.truncate(limit);
    let next =
        people.last().filter(|_| more).map(|last| BASE64URL_NOPAD.encode(last.userid.as_str().as_bytes()));
    let items: Vec<_> = people.iter().map(|person| shown(&api.gate, person)).collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

fn after(cursor: &str) -> Result<UserId, Problem> {
    let read = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    read.and_then(|text| UserId::parse(&text).ok())
        .ok_or_else(|| Problem::invalid("cursor", "not what \"next\" of an earlier page said"))
}

fn shown(gate: &Gate, person: &Person) -> Value {
    show::person(person, &gate.access(person.id), gate.now().wall)
}

fn answer(gate: &Gate, person: &Person) -> Tagged {
    tagged(person.version, shown(gate, person))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Add {
    userid: Option<String>,
    kind: Option<String>,
    firm: Option<String>,
    auth_system: Option<String>,
    password: Option<Value>,
    initial: Option<bool>,
    email: Option<String>,
    roles: Option<String>,
    broker_comm_rate: Option<String>,
    attr: Option<Map<String, Value>>,
    grant: Option<GrantGiven>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct GrantGiven {
    firms: Vec<String>,
    rights: Vec<String>,
    sources: Vec<String>,
}

impl GrantGiven {
    fn read(&self, gate: &Gate) -> Result<Grant, Problem> {
        let mut grant = Grant::default();
        for code in &self.firms {
            let code = firm_code("grant.firms", code)?;
            gate.firm(&code).map_err(|refused| match Problem::from(refused) {
                problem if problem.is_not_found() => Problem::invalid("grant.firms", problem.detail()),
                problem => problem,
            })?;
            grant.firms.insert(code);
        }
        for right in &self.rights {
            let right =
                word("grant.rights", right, Right::from_id, Right::ALL.iter().map(|right| right.id()))?;
            grant.rights.insert(right);
        }
        for network in &self.sources {
            let shown = shortened(network, 64);
            grant.sources.push(Network::parse(&shown).map_err(|why| Problem::invalid("grant.sources", why))?);
        }
        Ok(grant)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordGiven {
    keyid: String,
    ciphertext: String,
}

/// Reads a password: encrypted with the label of the API, or none at all.
fn password(given: Option<Value>) -> Result<NewPassword, Problem> {
    let remedy =
        "encrypt it with the key of GET /api/v1/challenge, label api, or leave it out to have one generated";
    let fields = match given {
        None => return Ok(NewPassword::Generated),
        Some(Value::String(_)) => {
            return Err(Problem::invalid("password", "in clear text is not taken").with_remedy(remedy));
        }
        Some(fields) => fields,
    };
    // What serde says of a wrong value may repeat it: here it would be a password.
    let wrong = || Problem::invalid("password", "not {\"keyid\", \"ciphertext\"}").with_remedy(remedy);
    let PasswordGiven { keyid, mut ciphertext } = serde_json::from_value(fields).map_err(|_| wrong())?;
    let key = KeyId::parse(&keyid).ok_or_else(|| Problem::invalid("password.keyid", "no name of a key"))?;
    ciphertext.retain(|c| !c.is_ascii_whitespace());
    let ciphertext = BASE64
        .decode(ciphertext.as_bytes())
        .map_err(|_| Problem::invalid("password.ciphertext", "not base64"))?;
    Ok(NewPassword::Encrypted(Encrypted { key, padding: Padding::OaepSha256, ciphertext }))
}

pub(super) async fn add(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    Body(new): Body<Add>,
) -> Result<impl IntoResponse, Problem> {
    let userid = user_id("userid", &required("userid", new.userid)?)?;
    let new = NewPerson {
        userid: userid.clone(),
        kind: kind(&required("kind", new.kind)?)?,
        firm: new.firm.map(|code| firm_code("firm", &code)).transpose()?,
        auth_system: new.auth_system.as_deref().map(auth_system).transpose()?,
        password: password(new.password)?,
        initial: new.initial.unwrap_or(true),
        profile: Profile {
            email: new.email,
            roles: new.roles,
            broker_comm_rate: new.broker_comm_rate,
            attr: new.attr,
            grant: new.grant.map(|grant| grant.read(&api.gate)).transpose()?,
        },
    };
    let added = api.gate.add_person(new, actor).await.map_err(|refused| {
        let problem = Problem::from(refused);
        match problem.is_conflict() && api.gate.person(&userid).is_ok() {
            true => Problem::conflict(format!("user {userid} exists already")).at("userid"),
            false => problem,
        }
    });
    let (person, generated) = added?;
    let mut told = json!({ "person": shown(&api.gate, &person) });
    if let Some(generated) = generated {
        told["password"] = Value::String(generated.expose().clone());
    }
    let location =
        AppendHeaders([(LOCATION, format!("/api/v1/people/{}", percent_encoded(person.userid.as_str())))]);
    Ok((StatusCode::CREATED, location, Json(told)))
}

pub(super) async fn show(State(api): State<ApiState>, UserPath(userid): UserPath) -> Result<Tagged, Problem> {
    Ok(answer(&api.gate, &api.gate.person(&userid)?))
}

/// What is to be changed: absent stays, `null` is cleared.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Changes {
    standing: Option<String>,
    auth_system: Option<String>,
    #[serde(deserialize_with = "given")]
    email: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    roles: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    broker_comm_rate: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    attr: Option<Option<Map<String, Value>>>,
    #[serde(deserialize_with = "given")]
    grant: Option<Option<GrantGiven>>,
}

pub(super) async fn edit(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    UserPath(userid): UserPath,
    IfMatch(version): IfMatch,
    Body(changes): Body<Changes>,
) -> Result<Tagged, Problem> {
    let standing = changes.standing.as_deref().map(standing).transpose()?;
    let auth_system = changes.auth_system.as_deref().map(auth_system).transpose()?;
    let grant = match changes.grant {
        None => None,
        Some(None) => Some(None),
        Some(Some(grant)) => Some(Some(grant.read(&api.gate)?)),
    };
    let edit = move |present: &Person| {
        if let Some(version) = version.filter(|version| *version != present.version) {
            let text = format!(
                "version {version} was given, {} is in force; read the person again",
                present.version
            );
            return Err(Misuse::conflict(VERSION, text));
        }
        let mut profile = present.profile.clone();
        profile.email = changes.email.unwrap_or(profile.email);
        profile.roles = changes.roles.unwrap_or(profile.roles);
        profile.broker_comm_rate = changes.broker_comm_rate.unwrap_or(profile.broker_comm_rate);
        profile.attr = changes.attr.unwrap_or(profile.attr);
        profile.grant = grant.unwrap_or(profile.grant);
        Ok(Edit { standing, auth_system, profile: Some(profile) })
    };
    let person = api.gate.edit_person_with(&userid, edit, &actor).await.map_err(|refused| {
        let problem = Problem::from(refused);
        match problem.is_conflict() && problem.is_at(VERSION) {
            true => Problem::not_the_version(problem.detail()),
            false => problem,
        }
    })?;
    Ok(answer(&api.gate, &person))
}

/// Stands for `If-Match` where the gate refuses.
const VERSION: &str = "version";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SetPassword {
    password: Option<Value>,
}

pub(super) async fn set_password(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    UserPath(userid): UserPath,
    Body(new): Body<SetPassword>,
) -> Result<Json<Value>, Problem> {
    let generated = api.gate.set_password(&userid, &password(new.password)?, actor).await?;
    Ok(Json(match generated {
        Some(generated) => json!({ "password": generated.expose() }),
        None => json!({}),
    }))
}

pub(super) async fn issue_authenticator(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    UserPath(userid): UserPath,
    _: Body<Nothing>,
) -> Result<impl IntoResponse, Problem> {
    let seed = api.gate.issue_authenticator(&userid, actor).await?;
    Ok((StatusCode::CREATED, Json(json!({ "seed": seed.base32.expose(), "uri": seed.uri.expose() }))))
}

pub(super) async fn revoke_authenticator(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    UserPath(userid): UserPath,
    _: Body<Nothing>,
) -> Result<Tagged, Problem> {
    Ok(answer(&api.gate, &api.gate.revoke_authenticator(&userid, actor).await?))
}

pub(super) async fn unlock(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    UserPath(userid): UserPath,
    _: Body<Nothing>,
) -> Result<Tagged, Problem> {
    Ok(answer(&api.gate, &api.gate.unlock(&userid, actor).await?))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Recover {
    reason: Option<String>,
}

/// Recovers an operator of the desk; the password and the link are in this answer alone.
pub(super) async fn recover(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    UserPath(userid): UserPath,
    Body(asked): Body<Recover>,
) -> Result<Json<Value>, Problem> {
    let reason = required("reason", asked.reason)?;
    let recovered = api.gate.recover_operator(&userid, &reason, actor).await?;
    let mut answer = shown(&api.gate, &recovered.person);
    answer["password"] = recovered.password.expose().as_str().into();
    answer["link"] = recovered.link.expose().as_str().into();
    Ok(Json(answer))
}
