//! A browser, as far as a server can tell: its cookie, the fields that browsers send, passwords encrypted as the
//! page's script does it; and whoever is none, byte for byte.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use doorward_client::password::{Challenge, encrypt_labelled};
use doorward_client::totp::Totp;
use doorward_core::ask::Padding;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Server, User, WAIT_MAX, source};

/// What went over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
}

/// All that went over the connections of some browsers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<Exchange>>>);

impl Tape {
    /// What is on it so far.
    pub(crate) fn all(&self) -> Vec<Exchange> {
        self.0.lock().unwrap().clone()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Page {
    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let fields: Vec<_> = lines.map(pair).collect();
        assert!(!fields.iter().any(|(name, _)| name == "transfer-encoding"), "answers have a length");
        Some(Self { status, fields, body: String::from_utf8(bytes[end + 4..].to_vec()).unwrap() })
    }

    /// A field that comes once at most.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let first = all.next();
        assert!(all.next().is_none(), "{name} comes twice: {:?}", self.fields);
        first
    }

    /// Where it leads.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{self:?}");
        self.field("location").unwrap()
    }

    /// The value of an input of the page.
    pub(crate) fn input(&self, name: &str) -> Option<&str> {
        Some(self.body.split_once(&format!("name=\"{name}\" value=\""))?.1.split_once('"')?.0)
    }

    /// Names and values of all inputs and of the options that are selected, as a browser would send them; of check boxes
    /// those that are ticked.
    pub(crate) fn fields_of_form(&self) -> Vec<(String, String)> {
        let attribute = |tag: &str, name: &str| {
            let rest = tag.split_once(&format!(" {name}=\""))?.1;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let mut all = Vec::new();
        let mut select = None;
        for tag in self.body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if tag.starts_with("select ") {
                select = attribute(tag, "name");
            } else if let (true, Some(name)) =
                (tag.starts_with("option ") && tag.contains(" selected"), &select)
            {
                all.push((name.clone(), attribute(tag, "value").unwrap_or_default()));
            } else if tag.starts_with("input ") && (!tag.contains("checkbox") || tag.contains(" checked")) {
                let named = attribute(tag, "name").zip(Some(attribute(tag, "value").unwrap_or_default()));
                all.extend(named);
            }
        }
        all
    }

    /// What stands in the element of this id.
    pub(crate) fn element(&self, id: &str) -> Option<&str> {
        let rest = self.body.split_once(&format!("id=\"{id}\""))?.1.split_once('>')?.1;
        Some(rest.split_once('<')?.0)
    }

    /// The authenticator whose seed it shows.
    pub(crate) fn seed(&self) -> Option<String> {
        let uri = self.body.split_once("href=\"otpauth://")?.1.split_once('"')?.0;
        Some(uri.split_once("secret=")?.1.split(['&', '"']).next()?.to_owned())
    }

    /// The recovery codes that it shows.
    pub(crate) fn recovery_codes(&self) -> Vec<String> {
        let list = self.body.split_once("<ul class=\"codes\"").map_or("", |(_, rest)| rest);
        let items = list.split("</ul>").next().unwrap().split("<li>").skip(1);
        items.map(|item| item.split_once("</li>").unwrap().0.to_owned()).collect()
    }
}

/// Fields of a form, encoded.
pub(crate) fn encoded(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Fields of a form.
pub(crate) fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The code of a seed at a time.
pub(crate) fn code_of(seed: &str, at: Wall) -> String {
    Totp::parse(seed).unwrap().code(at).to_string()
}

/// A browser: one cookie jar.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) at: SocketAddr,
    /// `Host`, as the address line has it.
    pub(crate) host: String,
    pub(crate) cookie: Option<String>,
    pub(crate) from: IpAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    tape: Tape,
}

impl Browser {
    /// One that has never been there.
    pub(crate) fn at(at: SocketAddr) -> Self {
        Self { at, host: at.to_string(), cookie: None, from: source(), tls: None, tape: Tape::default() }
    }

    /// One that reaches the pages by TLS under a name.
    pub(crate) fn secure(at: SocketAddr, name: &'static str, certificate: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.to_vec().into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let tls = (TlsConnector::from(Arc::new(config)), ServerName::try_from(name).unwrap());
        Self { host: format!("{name}:{}", at.port()), tls: Some(tls), ..Self::at(at) }
    }

    /// The same with all that it sends and hears on a tape.
    pub(crate) fn on(self, tape: &Tape) -> Self {
        Self { tape: tape.clone(), ..self }
    }

    /// The same cookie, from another address.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { from: source(), ..self.clone() }
    }

    const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The cookie's name.
    pub(crate) const fn cookie_name(&self) -> &'static str {
        if self.tls.is_some() { "__Host-doorward" } else { "dw_session" }
    }

    /// A connection below HTTP, without TLS.
    pub(crate) async fn tcp(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        socket.connect(self.at).await.unwrap()
    }

    /// Sends bytes on a connection of their own; what came back until it was closed.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let tcp = self.tcp().await;
        match &self.tls {
            Some((connector, name)) => {
                self.exchange(connector.connect(name.clone(), tcp).await.unwrap(), bytes).await
            }
            None => self.exchange(tcp, bytes).await,
        }
    }

    async fn exchange(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        let exchange = async {
            // Who is refused early is not read to the end; the answer is there all the same.
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            let _ = stream.read_to_end(&mut heard).await;
        };
        timeout(WAIT_MAX, exchange).await.expect("the server says nothing");
        let exchange = Exchange { sent: bytes.to_vec(), received: heard.clone() };
        self.tape.0.lock().unwrap().push(exchange);
        heard
    }

    /// A request with its fields, but for `Host`, the cookie and the length, which come by themselves; keeps the cookie
    /// that comes back.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Page {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        let has = |name: &str| more.iter().any(|(own, _)| *own == name);
        if !has("host") {
            head.push_str(&format!("host: {}\r\n", self.host));
        }
        if let Some(cookie) = self.cookie.as_ref().filter(|_| !has("cookie")) {
            head.push_str(&format!("cookie: {}={cookie}\r\n", self.cookie_name()));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let heard = self.raw(format!("{head}\r\n{body}").as_bytes()).await;
        let page = Page::read(&heard)
            .unwrap_or_else(|| panic!("{method} {path}: no answer: {:?}", String::from_utf8_lossy(&heard)));
        let begin = format!("{}=", self.cookie_name());
        if let Some(set) = page.field("set-cookie").and_then(|set| set.strip_prefix(&begin)) {
            self.cookie = Some(set.split(';').next().unwrap().to_owned());
        }
        page
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.request("GET", path, &[("sec-fetch-site", "same-origin")], "").await
    }

    /// Posts fields as a form of ours does.
    pub(crate) async fn post_bare(&mut self, path: &str, fields: &[(String, String)]) -> Page {
        let origin = format!("{}://{}", self.scheme(), self.host);
        let more = [
            ("origin", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.request("POST", path, &more, &encoded(fields)).await
    }

    /// What the page's script asks for before it encrypts.
    pub(crate) async fn challenge(&mut self, page: &str) -> Value {
        let seen = self.get(&format!("/challenge?page={page}")).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        serde_json::from_str(&seen.body).unwrap()
    }

    /// The CSRF token of this visitor.
    pub(crate) async fn csrf(&mut self) -> String {
        self.challenge("/signin").await["csrf"].as_str().unwrap().to_owned()
    }

    /// Posts fields with the CSRF token.
    pub(crate) async fn post(&mut self, path: &str, pairs: &[(&str, &str)]) -> Page {
        let csrf = self.csrf().await;
        let mut all = fields(pairs);
        all.push(("csrf".to_owned(), csrf));
        self.post_bare(path, &all).await
    }

    /// Posts fields with passwords: each its field's name, and what is typed.
    pub(crate) async fn post_secret(
        &mut self,
        page: &str,
        userid: &str,
        passwords: &[(&str, &str)],
        pairs: &[(&str, &str)],
    ) -> Page {
        let challenge = self.challenge(page).await;
        let text = |name: &str| challenge[name].as_str().unwrap().to_owned();
        let answer = serde_json::json!({ "key": challenge["spki"], "keyid": challenge["keyid"] });
        let key = Challenge::from_answer(&answer).unwrap();
        let bound = digest(&SHA256, format!("{page}\0{userid}").as_bytes());
        let bound = BASE64URL_NOPAD.encode(&bound.as_ref()[..8]);
        let mut all = fields(pairs);
        all.extend([("csrf".to_owned(), text("csrf")), ("keyid".to_owned(), text("keyid"))]);
        for (name, password) in passwords {
            let plain = Secret::new(format!("{}{bound}{password}", text("nonce")));
            let sealed = encrypt_labelled(&key, Padding::OaepSha256, b"portal", &plain).unwrap();
            all.push((format!("{name}.ciphertext"), BASE64.encode(&sealed)));
        }
        self.post_bare(page, &all).await
    }

    /// Posts user name and password to the sign-in page.
    pub(crate) async fn password(&mut self, userid: &str, password: &str) -> Page {
        self.post_secret("/signin", userid, &[("password", password)], &[("userid", userid)]).await
    }

    /// Signs in with the password and, where it is asked for, the code of now.
    pub(crate) async fn sign_in(&mut self, server: &Server, user: &User) {
        let mut seen = self.password(&user.userid, &user.password).await;
        if seen.location() == "/signin/code" {
            // The step may end between making the code and its arrival.
            for _ in 0..2 {
                let code = user.code_of(server).await;
                seen = self.post("/signin/code", &[("code", &code)]).await;
                if seen.status == 303 {
                    break;
                }
            }
        }
        assert!(["/account", "/console"].contains(&seen.location()), "{seen:?}");
    }

    /// Whether somebody is signed in.
    pub(crate) async fn is_in(&self) -> bool {
        self.clone().get("/account").await.status == 200
    }
}

impl Server {
    /// Where portal and console are served.
    pub(crate) fn pages(&self) -> SocketAddr {
        let url = match self.ready["portal"].as_str() {
            Some(url) => url.to_owned(),
            None => format!("http://{}", self.told(" web=")),
        };
        url.rsplit_once("//").unwrap().1.parse().unwrap()
    }

    /// The word behind a name in the log.
    fn told(&self, name: &str) -> String {
        let log = self.log();
        log.split_once(name)
            .unwrap_or_else(|| panic!("no{name} in {log}"))
            .1
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    }

    /// A browser from an address of its own.
    pub(crate) fn browser(&self) -> Browser {
        Browser::at(self.pages())
    }

    /// A browser in which somebody is signed in.
    pub(crate) async fn signed_in(&self, user: &User) -> Browser {
        let mut browser = self.browser();
        browser.sign_in(self, user).await;
        browser
    }
}
