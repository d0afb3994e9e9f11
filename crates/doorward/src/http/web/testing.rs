//! Pages on a real listener, and browsers that look at them, for tests of pages.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use doorward_client::password::{Challenge, encrypt_labelled};
use doorward_core::ask::Padding;
use doorward_core::secret::Secret;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::site::Site;
use super::tokens::{Tokens, tag};
use super::{CONNECTIONS_MAX, WebState, around, routes, serve_pages};
use crate::config::PublicUrl;
use crate::doors::accept::listen;
use crate::doors::admission::Limits;
use crate::doors::link::Entrance;
use crate::gate::Settings;
use crate::gate::testing::{World, world, world_with};

/// A gate's pages on a listener.
pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) at: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// All pages of an empty gate.
pub(crate) async fn served() -> Served {
    served_with(Router::new()).await
}

/// The same with further routes.
pub(crate) async fn served_with(more: Router<WebState>) -> Served {
    served_as(more, None).await
}

/// The same, reached at another URL than the listener's own.
pub(crate) async fn served_as(more: Router<WebState>, public: Option<&str>) -> Served {
    served_of(world(), more, public).await
}

/// All pages of a gate that mails can be sent from.
pub(crate) async fn served_with_mail() -> Served {
    let portal_url = Some("https://portal.example".to_owned());
    let settings = Settings { mail: true, portal_url, ..Settings::default() };
    served_of(world_with(settings), Router::new(), None).await
}

/// The same of a gate.
pub(crate) async fn served_of(world: World, more: Router<WebState>, public: Option<&str>) -> Served {
    let listener = listen("web.listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let at = listener.local_addr().unwrap();
    let public = public.map_or_else(|| format!("http://{at}"), str::to_owned);
    let site = Site::new(PublicUrl::parse(&public).unwrap(), true);
    let entrance = Entrance { tls: None, trusted: Vec::new(), proxy_protocol: false };
    let web = WebState::new(Arc::clone(&world.gate), site, Tokens::new().unwrap(), entrance);
    let pages = around(routes().into_router().merge(more), web.clone());
    let (stop, stopping) = oneshot::channel::<()>();
    let limits = Limits { open_max: CONNECTIONS_MAX, silent_max: CONNECTIONS_MAX };
    let serving = tokio::spawn(serve_pages(listener, web, pages, limits, async { drop(stopping.await) }));
    Served { world, at, stop, serving }
}

impl Served {
    /// A browser that has never been here.
    pub(crate) fn tab(&self) -> Tab {
        Tab { at: self.at, cookie: None }
    }

    /// Ends the listener; what is being answered is finished.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.serving.await.unwrap();
    }
}

/// A browser, as far as a page is concerned: its cookie, and the fields that browsers send.
#[derive(Clone)]
pub(crate) struct Tab {
    at: SocketAddr,
    pub(crate) cookie: Option<String>,
}

/// An answer.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    /// A field, as text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// Where it leads.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.field("location").unwrap()
    }

    /// The value of a hidden or other input of the page.
    pub(crate) fn input(&self, name: &str) -> &str {
        let begin = format!("name=\"{name}\" value=\"");
        let rest = self.body.split_once(&begin).unwrap_or_else(|| panic!("no {name}: {}", self.body)).1;
        rest.split_once('"').unwrap().0
    }
}

/// A request as a browser's page of ours sends it; tests change what is to be wrong.
pub(crate) fn request(method: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path)
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Tab {
    /// Sends a request on a connection of its own, with the tab's cookie unless there is one, and keeps what comes back.
    pub(crate) async fn send(&mut self, mut request: Request<String>) -> Seen {
        let headers = request.headers_mut();
        if !headers.contains_key(HOST) {
            headers.insert(HOST, self.at.to_string().parse().unwrap());
        }
        if let Some(cookie) = self.cookie.as_ref().filter(|_| !headers.contains_key(COOKIE)) {
            headers.insert(COOKIE, format!("dw_session={cookie}").parse().unwrap());
        }
        let stream = TcpStream::connect(self.at).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driven = tokio::spawn(connection);
        let response = sender.send_request(request.map(|body| Full::new(Bytes::from(body)))).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        drop(sender);
        driven.abort();
        let set = parts.headers.get(SET_COOKIE).map(|set| set.to_str().unwrap());
        if let Some(value) = set.and_then(|set| set.strip_prefix("dw_session=")) {
            self.cookie = Some(value.split(';').next().unwrap().to_owned());
        }
        Seen { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Seen {
        self.send(request("GET", path).body(String::new()).unwrap()).await
    }

    /// Posts fields as they are, as a form of ours does.
    pub(crate) async fn post_bare(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let request = request("POST", path)
            .header(ORIGIN, format!("http://{}", self.at))
            .header("sec-fetch-site", "same-origin")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(encoded(fields)).unwrap()).await
    }

    /// The same with the CSRF token.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let csrf = self.challenge(path).await["csrf"].as_str().unwrap().to_owned();
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.post_bare(path, &fields).await
    }

    /// What the page's script asks for before it encrypts.
    pub(crate) async fn challenge(&mut self, page: &str) -> serde_json::Value {
        let seen = self.get(&format!("/challenge?page={page}")).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        serde_json::from_str(&seen.body).unwrap()
    }

    /// A password as the page's script encrypts it: the fields `keyid`, `csrf` and `<name>.ciphertext`.
    pub(crate) async fn envelope(
        &mut self,
        page: &str,
        userid: &str,
        name: &str,
        password: &str,
    ) -> Vec<(String, String)> {
        let challenge = self.challenge(page).await;
        let text = |field: &str| challenge[field].as_str().unwrap().to_owned();
        let plain = format!("{}{}{password}", text("nonce"), tag(page, userid));
        let ciphertext = sealed(&challenge, b"portal", &plain);
        vec![
            ("csrf".to_owned(), text("csrf")),
            ("keyid".to_owned(), text("keyid")),
            (format!("{name}.ciphertext"), ciphertext),
        ]
    }

    /// Posts user id and password to the sign-in page.
    pub(crate) async fn sign_in(&mut self, userid: &str, password: &str) -> Seen {
        let mut fields = self.envelope("/signin", userid, "password", password).await;
        fields.push(("userid".to_owned(), userid.to_owned()));
        self.post_bare("/signin", &borrowed(&fields)).await
    }
}

/// A text, encrypted with a challenge's key and a label, in base64.
pub(crate) fn sealed(challenge: &serde_json::Value, label: &[u8], plain: &str) -> String {
    let answer = serde_json::json!({ "key": challenge["spki"], "keyid": challenge["keyid"] });
    let key = Challenge::from_answer(&answer).unwrap();
    let plain = Secret::new(plain.to_owned());
    data_encoding::BASE64.encode(&encrypt_labelled(&key, Padding::OaepSha256, label, &plain).unwrap())
}

pub(crate) fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
