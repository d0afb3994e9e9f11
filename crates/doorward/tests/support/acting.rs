//! Those who serve others at the WebSocket door: service users, administrators, and what they say.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Peer, Server, User, source};

/// Every right of a service user.
pub(crate) const ALL_RIGHTS: [&str; 8] = [
    "verify",
    "token",
    "add",
    "change",
    "reset-password",
    "reset-authenticator",
    "lasting-password",
    "token-on-password",
];

impl Server {
    /// A new service user for traders of firm `NORTH` with these rights, from anywhere on loopback.
    pub(crate) async fn service(&self, rights: &[&str]) -> User {
        self.service_of(&["NORTH"], rights).await
    }

    /// The same for the traders of these firms.
    pub(crate) async fn service_of(&self, firms: &[&str], rights: &[&str]) -> User {
        let grant = json!({"firms": firms, "rights": rights, "sources": ["127.0.0.0/8"]});
        self.newcomer("service", json!({"kind": "service", "initial": false, "grant": grant})).await
    }

    /// A new administrator of firm `NORTH` with a registered authenticator, whose present code is not used yet.
    pub(crate) async fn administrator(&self, rights: &[&str]) -> User {
        let grant = json!({"firms": [], "rights": rights, "sources": []});
        let fields = json!({"kind": "admin", "firm": "NORTH", "auth_system": "otp", "grant": grant});
        let user = self.newcomer("admin", fields).await;
        let user = self.new_seed(&user).await;
        self.settled(user).await
    }

    /// Somebody new; the password is as the fields say.
    pub(crate) async fn newcomer(&self, name: &str, mut fields: Value) -> User {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let userid = format!("{name}{}@other.example", NEXT.fetch_add(1, Ordering::Relaxed));
        fields["userid"] = Value::from(userid.as_str());
        let added = self.api().post("/api/v1/people", &fields).await.unwrap();
        User { userid, password: added["password"].as_str().unwrap().to_owned(), seed: None }
    }

    /// A connection on which somebody is logged in, with a challenge key.
    pub(crate) async fn enter(&self, user: &User) -> Peer {
        self.enter_from(source(), user).await
    }

    /// The same from an address.
    pub(crate) async fn enter_from(&self, from: IpAddr, user: &User) -> Peer {
        let mut peer = self.connect(from).await;
        peer.challenge().await;
        let code = user.seed.as_ref().map(|_| user.code());
        let answer = peer.login(&user.userid, &user.password, code.as_deref()).await;
        assert_eq!(answer["result"], "OK", "{answer}");
        peer
    }

    /// The answer to a login with a token on a connection of its own.
    pub(crate) async fn token_login(&self, userid: &str, token: &str) -> Value {
        let mut peer = self.connect(source()).await;
        peer.ask(json!({"type": "login", "userid": userid, "token": token})).await
    }
}

/// A message with more fields.
pub(crate) fn with(mut message: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

impl Peer {
    /// A `verifylogin` to be sent.
    pub(crate) fn verify_message(&self, customer: &User, more: &Value) -> Value {
        let message = json!({
            "type": "verifylogin", "userid": customer.userid, "pass": self.encrypted(&customer.password),
            "padding": self.padding.name(),
        });
        with(message, more)
    }

    /// Has a customer verified, with these fields beside.
    pub(crate) async fn verify(&mut self, customer: &User, more: Value) -> Value {
        let message = self.verify_message(customer, &more);
        self.ask(message).await
    }

    /// A token for a customer, by the present code where they have an authenticator.
    pub(crate) async fn token_for(&mut self, customer: &User) -> String {
        let mut more = json!({"gentoken": true});
        if customer.seed.is_some() {
            more["2fatoken"] = Value::from(customer.code());
        }
        let answer = self.verify(customer, more).await;
        answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// An `adduser` with passwords encrypted: `pass` and `newpass` in `secrets`.
    pub(crate) async fn step(&mut self, fields: Value, secrets: &[(&str, &str)]) -> Value {
        let mut message = with(json!({"type": "adduser", "padding": self.padding.name()}), &fields);
        for (field, password) in secrets {
            message[*field] = Value::from(self.encrypted(password));
        }
        self.ask(message).await
    }

    /// The `result` of `checktoken`.
    pub(crate) async fn token_state(&mut self, token: &str) -> String {
        let answer = self.ask(json!({"type": "checktoken", "token": token})).await;
        answer["result"].as_str().unwrap().to_owned()
    }
}
