//! S1 over the WebSocket door of a server in a process of its own, on the other core.

use std::time::Instant;

use data_encoding::BASE64;
use doorward::book::{Load, Store as _};
use doorward::clock::Clock;
use doorward_client::password::{Challenge, encrypt};
use doorward_client::ws::{ConnectOptions, WsClient};
use doorward_core::ask::Padding;
use doorward_core::id::UserId;
use doorward_core::secret::Secret;
use serde_json::{Value, json};

use super::logins::folder;
use super::people::{KINDS, Kind, People};
use super::server::Server;
use super::{Chance, Fallible, Tries, plant, seed};

const WRONG: &str = "lumen quartz ferry 32";
/// The first byte of all sources.
const NETWORK: u8 = 127;
const DOOR: &str = "[ws]\nlisten = [\"127.0.0.1:0\"]\n";

/// A folder with everybody in it, and their one password.
async fn prepare(folder: &std::path::Path, people: People) -> Fallible<Secret<String>> {
    let server = Server::start(folder, DOOR)?;
    server.api().post("/api/v1/firms", &json!({ "code": "ACME", "name": "Acme" })).await?;
    let new = json!({ "userid": "like", "kind": "trader", "firm": "ACME", "auth_system": "password" });
    let added = server.api().post("/api/v1/people", &new).await?;
    let password = added["password"].as_str().ok_or("no password")?.to_owned();
    server.process.stop()?;
    let store = seed::open(&folder.join("data"))?;
    let like = store.load(&Load::UserId(UserId::parse("like")?))?.person.ok_or("nobody")?;
    people.add(&store, &like, NETWORK, Clock::system().now().wall)?;
    Ok(Secret::new(password))
}

/// A login as a client sends it.
fn login(
    challenge: &Challenge,
    kind: Kind,
    userid: &str,
    right: &Secret<String>,
    chance: &mut Chance,
) -> Fallible<Value> {
    let wrong = Secret::new(WRONG.to_owned());
    let password = if kind == Kind::DisabledRight { right } else { &wrong };
    let mut ciphertext = encrypt(challenge, Padding::OaepSha256, password)?;
    if kind == Kind::BadCiphertext {
        ciphertext.iter_mut().for_each(|byte| *byte = chance.byte());
        // Below every modulus of this size.
        ciphertext[0] &= 0x7f;
    }
    let padding = Padding::OaepSha256.name();
    Ok(json!({ "type": "login", "userid": userid, "pass": BASE64.encode(&ciphertext), "padding": padding }))
}

/// Tries each kind so often, each on a connection of its own.
pub(crate) fn measure(tries: usize, out: &mut Tries) -> Fallible<()> {
    let folder = folder()?;
    let people = People::for_tries(tries);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let right = runtime.block_on(prepare(folder.path(), people))?;
    let server = Server::start(folder.path(), DOOR)?;
    let mut chance = Chance::new();
    // By password: a login by token has no secret of the challenge's, and is tried at the gate.
    let mut kinds: Vec<usize> = (0..KINDS.len()).filter(|&n| !KINDS[n].0.is_by_token()).collect();
    for attempt in 0..tries {
        chance.shuffle(&mut kinds);
        for &number in &kinds {
            let (kind, what) = KINDS[number];
            let source = Some(people.source(NETWORK, number, attempt));
            let options = ConnectOptions { source, ..ConnectOptions::default() };
            let took = runtime.block_on(async {
                let mut client = WsClient::connect(&server.url, &options).await?;
                let challenge = client.challenge().await?.clone();
                let login = login(&challenge, kind, &people.userid(number, attempt), &right, &mut chance)?;
                let began = Instant::now();
                let answer = client.request(login).await?;
                if kind == Kind::Planted {
                    plant();
                }
                let took = began.elapsed();
                if answer["result"] != "invalid user/password" {
                    return Err(format!("{what}: {answer}").into());
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
            })?;
            out.tell(what, took, None)?;
        }
    }
    server.process.stop()
}
