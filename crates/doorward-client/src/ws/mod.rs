//! The WebSocket door: connect, challenge, log in, send a code, change the password, stay, leave; and what programs and
//! administrators ask for others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use doorward_core::ask::{KeyId, Padding};
use doorward_core::secret::Secret;
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::net::Stream;
pub use crate::net::{tls_from_ca_file, tls_with_certificate, tls_with_roots};
use crate::password::{Challenge, encrypt};
use crate::{ClientError, Closing};

mod answer;
mod served;
mod serving;
mod target;
#[cfg(test)]
mod tests;

pub use answer::{ChangeAnswer, LoginAnswer, Reply};
pub use served::{
    Declined, KnownUser, LoginToken, NewSeed, StepAnswer, StepDone, TokenAnswer, UserAnswer, VerifiedLogin,
    VerifyAnswer,
};
pub use serving::{PasswordStep, UserDetails, VerifyLogin};
use target::Target;

/// How to connect and how long to wait.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// TLS for `wss://`: see [`tls_from_ca_file`] and [`tls_with_roots`].
    pub tls: Option<Arc<ClientConfig>>,
    /// The local address to connect from.
    pub source: Option<IpAddr>,
    /// The `Origin` header, which browsers send and programs do not.
    pub origin: Option<String>,
    /// The padding of passwords; `None` for the best that the challenge offers.
    pub padding: Option<Padding>,
    /// Limit for name, TCP, TLS and WebSocket handshake together: 10 s.
    pub connect_limit: Duration,
    /// Limit for each answer: 30 s.
    pub answer_limit: Duration,
    /// Longest message taken from the server, in bytes: 1 MiB.
    pub message_bytes_max: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            tls: None,
            source: None,
            origin: None,
            padding: None,
            connect_limit: Duration::from_secs(10),
            answer_limit: Duration::from_secs(30),
            message_bytes_max: 1 << 20,
        }
    }
}

/// How long to wait for a close handshake to end once it has begun.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The addresses that a `ws://` or `wss://` address leads to, in the order in which they are tried.
///
/// # Errors
/// [`ClientError::Url`] and, where the name is unknown, [`ClientError::Connect`].
pub async fn resolve(url: &str) -> Result<Vec<SocketAddr>, ClientError> {
    Target::parse(url)?.resolve().await
}

/// One WebSocket connection. Pings are answered while any of its methods is awaited.
///
/// A method that ran into its limit, or whose future was dropped, leaves the connection usable: a late answer is
/// told apart by its `id` and skipped.
#[derive(Debug)]
pub struct WsClient {
    stream: WebSocketStream<Stream>,
    challenge: Option<Challenge>,
    padding: Option<Padding>,
    answer_limit: Duration,
    id_last: u64,
    closing: Option<Closing>,
}

impl WsClient {
    /// Connects and makes the WebSocket handshake.
    ///
    /// # Errors
    /// Any but [`ClientError::Closed`]; nothing is left open.
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Self, ClientError> {
        let target = Target::parse(url)?;
        let limit = options.connect_limit;
        let opened = timeout(limit, open(&target, options)).await;
        let late =
            |_| ClientError::Timeout { what: format!("the connection to {}", target.address()), limit };
        Ok(Self {
            stream: opened.map_err(late)??,
            challenge: None,
            padding: options.padding,
            answer_limit: options.answer_limit,
            id_last: 0,
            closing: None,
        })
    }

    /// Asks for a challenge key and keeps it for the passwords that follow.
    ///
    /// # Errors
    /// [`ClientError::NoChallenge`] where the server has no key to give.
    pub async fn challenge(&mut self) -> Result<&Challenge, ClientError> {
        let raw = self.request(json!({"type": "challenge"})).await?;
        match (raw.get("key"), raw["result"].as_str()) {
            (None, Some(result)) => Err(ClientError::NoChallenge { result: result.to_owned() }),
            (Some(_), _) | (None, None) => Ok(self.challenge.insert(Challenge::from_answer(&raw)?)),
        }
    }

    /// Keeps a challenge that was asked for with [`Self::request`].
    pub fn use_challenge(&mut self, challenge: Challenge) {
        self.challenge = Some(challenge);
    }

    /// Logs in with a password and, in one step, a one-time password.
    ///
    /// Asks for a challenge where none is held, and once more where the held one is gone.
    ///
    /// # Errors
    /// Of the connection, the challenge or the password's length; what the server decides is in the reply.
    pub async fn login(
        &mut self,
        userid: &str,
        password: &Secret<String>,
        code: Option<&str>,
    ) -> Result<Reply<LoginAnswer>, ClientError> {
        let mut message = json!({"type": "login", "userid": userid});
        if let Some(code) = code {
            message["2fatoken"] = Value::from(code);
        }
        let raw = self.request_encrypted(message, &[("pass", password)]).await?;
        Ok(Reply { answer: LoginAnswer::read(&raw), raw })
    }

    /// Sends the one-time password that [`LoginAnswer::CodeRequired`] asks for.
    ///
    /// # Errors
    /// Of the connection; what the server decides is in the reply.
    pub async fn send_code(&mut self, code: &str) -> Result<Reply<LoginAnswer>, ClientError> {
        let raw = self.request(json!({"type": "send2fatoken", "2fatoken": code})).await?;
        Ok(Reply { answer: LoginAnswer::read(&raw), raw })
    }

    /// Changes the password of the user who is logged in here.
    ///
    /// # Errors
    /// Of the connection, the challenge or a password's length; what the server decides is in the reply.
    pub async fn change_password(
        &mut self,
        old: &Secret<String>,
        new: &Secret<String>,
    ) -> Result<Reply<ChangeAnswer>, ClientError> {
        let message = json!({"type": "adduser", "updateprof": true});
        let raw = self.request_encrypted(message, &[("pass", old), ("newpass", new)]).await?;
        Ok(Reply { answer: ChangeAnswer::read(&raw), raw })
    }

    /// Asks the server's time; the answer's `time` is in milliseconds since the epoch.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn ping(&mut self) -> Result<Value, ClientError> {
        self.request(json!({"type": "ping"})).await
    }

    /// Logs out and waits for the server to close, 2 s at most.
    ///
    /// # Errors
    /// Of the connection; [`ClientError::Timeout`] where the server does not close.
    pub async fn logout(mut self) -> Result<Closing, ClientError> {
        if let Some(closing) = self.closing {
            return Ok(closing);
        }
        self.send(&json!({"type": "logout"})).await?;
        let late = |_| ClientError::Timeout { what: String::from("logout"), limit: CLOSE_LIMIT };
        timeout(CLOSE_LIMIT, self.closed()).await.map_err(late)
    }

    /// Waits, for as long as it takes, until the connection is closed; messages that come meanwhile are dropped.
    pub async fn closed(&mut self) -> Closing {
        loop {
            if let Err(ClientError::Closed(closing)) = self.receive().await {
                return closing;
            }
        }
    }

    /// Sends a message of any type and waits for its answer; sets the message's `id`.
    ///
    /// # Errors
    /// [`ClientError::Closed`] where the server closes instead, [`ClientError::Timeout`] past the limit,
    /// [`ClientError::Unexpected`] where something else than JSON comes.
    pub async fn request(&mut self, mut message: Value) -> Result<Value, ClientError> {
        self.id_last += 1;
        let id = Value::from(self.id_last);
        match message.as_object_mut() {
            Some(fields) => fields.insert(String::from("id"), id.clone()),
            None => return Err(ClientError::Unexpected(String::from("the message to send is no object"))),
        };
        let limit = self.answer_limit;
        let exchange = async {
            self.send(&message).await?;
            loop {
                let answer = self.receive().await?;
                if answer.get("id").is_none_or(|echoed| *echoed == id) {
                    return Ok(answer);
                }
            }
        };
        match timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                let what = message["type"].as_str().unwrap_or("a message").to_owned();
                Err(ClientError::Timeout { what, limit })
            }
        }
    }

    async fn request_encrypted(
        &mut self,
        mut message: Value,
        passwords: &[(&str, &Secret<String>)],
    ) -> Result<Value, ClientError> {
        let held = self.challenge.is_some();
        if !held {
            self.challenge().await?;
        }
        self.encrypt_into(&mut message, passwords)?;
        let answer = self.request(message.clone()).await?;
        if !held || answer["result"] != "challenge required" {
            return Ok(answer);
        }
        self.challenge().await?;
        self.encrypt_into(&mut message, passwords)?;
        self.request(message).await
    }

    fn encrypt_into(
        &self,
        message: &mut Value,
        passwords: &[(&str, &Secret<String>)],
    ) -> Result<(), ClientError> {
        let Some(challenge) = &self.challenge else {
            return Err(ClientError::Key);
        };
        let padding = self.padding.unwrap_or_else(|| challenge.preferred_padding());
        for (field, password) in passwords {
            message[*field] = Value::from(BASE64.encode(&encrypt(challenge, padding, password)?));
        }
        message["padding"] = Value::from(padding.name());
        if let Some(keyid) = challenge.keyid().map(KeyId::as_str) {
            message["keyid"] = Value::from(keyid);
        }
        Ok(())
    }

    async fn send(&mut self, message: &Value) -> Result<(), ClientError> {
        if let Some(closing) = &self.closing {
            return Err(ClientError::Closed(closing.clone()));
        }
        match self.stream.send(Message::text(message.to_string())).await {
            Ok(()) => Ok(()),
            // What the server said before it closed is still to be read, and says more than a broken pipe.
            Err(WsError::Io(_) | WsError::ConnectionClosed | WsError::AlreadyClosed) => Ok(()),
            Err(error) => Err(self.ended(&error)),
        }
    }

    async fn receive(&mut self) -> Result<Value, ClientError> {
        if let Some(closing) = &self.closing {
            return Err(ClientError::Closed(closing.clone()));
        }
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text)
                        .map_err(|error| ClientError::Unexpected(format!("no JSON: {error}")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => {
                    return Err(ClientError::Unexpected(String::from("a binary message")));
                }
                Some(Ok(Message::Close(frame))) => {
                    let closing = frame.map_or_else(
                        || Closing { code: None, reason: String::new() },
                        |frame| Closing { code: Some(frame.code.into()), reason: frame.reason.to_string() },
                    );
                    self.closing = Some(closing.clone());
                    // Our half of the close handshake; whether it arrives changes nothing for us.
                    let _ = timeout(CLOSE_LIMIT, self.stream.flush()).await;
                    return Err(ClientError::Closed(closing));
                }
                Some(Err(error)) => return Err(self.ended(&error)),
                None => return Err(self.ended(&WsError::ConnectionClosed)),
            }
        }
    }

    fn ended(&mut self, error: &WsError) -> ClientError {
        let closing = Closing { code: None, reason: format!("connection lost: {error}") };
        ClientError::Closed(self.closing.insert(closing).clone())
    }
}

async fn open(target: &Target, options: &ConnectOptions) -> Result<WebSocketStream<Stream>, ClientError> {
    let stream = target.open(options.source, options.tls.as_ref()).await?;
    let refused = |why: String| ClientError::Handshake { address: target.address(), why };
    let mut request = target.uri.clone().into_client_request().map_err(|error| refused(error.to_string()))?;
    if let Some(origin) = &options.origin {
        let origin = HeaderValue::from_str(origin).map_err(|error| refused(error.to_string()))?;
        request.headers_mut().insert(header::ORIGIN, origin);
    }
    // One process may hold tens of thousands of connections: buffers begin small, and grow where needed.
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_message_size(Some(options.message_bytes_max))
        .max_frame_size(Some(options.message_bytes_max));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((stream, _)) => Ok(stream),
        Err(WsError::Http(response)) => Err(refused(format!("http status {}", response.status()))),
        Err(error) => Err(refused(error.to_string())),
    }
}
