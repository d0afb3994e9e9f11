//! The other end of one WebSocket connection, well-behaved or not.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use data_encoding::BASE64;
use doorward_client::password::{Challenge, encrypt};
use doorward_core::ask::Padding;
use doorward_core::secret::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::WAIT_MAX;

/// What comes from the server.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Heard {
    /// An answer.
    Answer(Value),
    /// The close code; `None` where it broke off without one.
    Closed(Option<u16>),
}

/// A connection.
pub(crate) struct Peer {
    stream: WebSocketStream<TcpStream>,
    challenge: Option<Challenge>,
    /// How passwords are padded.
    pub(crate) padding: Padding,
    /// The `result` of each answer so far.
    pub(crate) results: BTreeSet<String>,
}

impl Peer {
    /// Makes the WebSocket handshake.
    pub(crate) async fn shake_hands(stream: TcpStream, door: SocketAddr) -> Self {
        let request = format!("ws://{door}/").into_client_request().unwrap();
        let (stream, _) = timeout(WAIT_MAX, client_async(request, stream)).await.unwrap().unwrap();
        Self { stream, challenge: None, padding: Padding::OaepSha256, results: BTreeSet::new() }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text frame.
    pub(crate) async fn send_text(&mut self, text: &str) {
        // What the server said before it closed is still to be heard.
        let _ = self.stream.send(Message::text(text)).await;
    }

    /// Sends bytes as they are, past the protocol.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    /// The connection below the protocol.
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    /// Sends a frame of its own making: first byte, payload; masked with zeros.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            len @ ..126 => frame.push(0x80 | len as u8),
            len @ ..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.send_bytes(&frame).await;
    }

    /// The next that comes.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match timeout(WAIT_MAX, self.stream.next()).await.expect("the server says nothing") {
                Some(Ok(Message::Text(text))) => {
                    let answer: Value = serde_json::from_str(&text).unwrap();
                    self.results.insert(answer["result"].as_str().unwrap().to_owned());
                    return Heard::Answer(answer);
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = timeout(WAIT_MAX, self.stream.flush()).await;
                    return Heard::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Value {
        match self.hear().await {
            Heard::Answer(answer) => answer,
            Heard::Closed(code) => panic!("closed with {code:?} instead of an answer"),
        }
    }

    /// The close code that comes next, without an answer before.
    pub(crate) async fn closed(&mut self) -> u16 {
        match self.hear().await {
            Heard::Closed(code) => code.expect("a close without a code"),
            Heard::Answer(answer) => panic!("{answer} instead of a close"),
        }
    }

    /// Sends a message and waits for the answer.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.send(&message).await;
        self.answer().await
    }

    /// Sends a text and waits for the answer.
    pub(crate) async fn ask_text(&mut self, text: &str) -> Value {
        self.send_text(text).await;
        self.answer().await
    }

    /// Asks for a challenge key and keeps it.
    pub(crate) async fn challenge(&mut self) -> Value {
        let answer = self.ask(json!({"type": "challenge"})).await;
        assert_eq!(answer["result"], "OK", "{answer}");
        self.challenge = Some(Challenge::from_answer(&answer).unwrap());
        answer
    }

    /// A password, encrypted and in base64.
    pub(crate) fn encrypted(&self, password: &str) -> String {
        let challenge = self.challenge.as_ref().expect("no challenge yet");
        let password = Secret::new(password.to_owned());
        BASE64.encode(&encrypt(challenge, self.padding, &password).unwrap())
    }

    /// A login to be sent.
    pub(crate) fn login_message(&self, userid: &str, password: &str, code: Option<&str>) -> Value {
        let pass = self.encrypted(password);
        let mut message =
            json!({"type": "login", "userid": userid, "pass": pass, "padding": self.padding.name()});
        if let Some(code) = code {
            message["2fatoken"] = Value::from(code);
        }
        message
    }

    /// Logs in with the key of the last challenge.
    pub(crate) async fn login(&mut self, userid: &str, password: &str, code: Option<&str>) -> Value {
        let message = self.login_message(userid, password, code);
        self.ask(message).await
    }

    /// Sends a one-time password.
    pub(crate) async fn code(&mut self, code: &str) -> Value {
        self.ask(json!({"type": "send2fatoken", "2fatoken": code})).await
    }

    /// Changes the own password.
    pub(crate) async fn change_password(&mut self, present: &str, new: &str) -> Value {
        let (pass, newpass) = (self.encrypted(present), self.encrypted(new));
        let padding = self.padding.name();
        self.ask(json!({
            "type": "adduser", "updateprof": true, "pass": pass, "newpass": newpass, "padding": padding
        }))
        .await
    }

    /// Takes the connection apart: what it heard.
    pub(crate) fn into_results(self) -> BTreeSet<String> {
        self.results
    }
}
