//! Scripts of the login machine: what is sent, asked, decided and said, with time, read from top to bottom.

mod acting;
mod bad_input;
mod challenge;
mod code;
mod login;
mod orders;
mod password;
mod stop;
mod time;

use std::time::Duration;

use super::login::{Settings, WsLogin};
use crate::ask::{Ask, AskId, Challenge, GivenPassword, Granted, KeyId, Padding, Verdict};
use crate::audit::{Deny, Event};
use crate::id::{PersonId, UserId};
use crate::machine::{Machine, Note, Output};
use crate::time::{Mono, Now, Wall};

/// Saturday, 2026-11-21T20:00:00Z: when every script begins.
const START: Wall = Wall::from_s(1_795_291_200);

const CHALLENGE: &str = r#"{"type":"challenge"}"#;
const LOGIN: &str = r#"{"type":"login","userid":"julian","pass":"QUJD"}"#;
const LOGIN_AND_CODE: &str = r#"{"type":"login","userid":"julian","pass":"QUJD","2fatoken":"123456"}"#;
const CODE: &str = r#"{"type":"send2fatoken","2fatoken":"123456"}"#;
const CHANGE: &str = r#"{"type":"adduser","updateprof":true,"pass":"QUJD","newpass":"REVG"}"#;
const PING: &str = r#"{"type":"ping"}"#;
const LOGOUT: &str = r#"{"type":"logout"}"#;

const LOGIN_OK: &str = r#"{"result":"OK","type":"login"}"#;
const LOGIN_REQUIRED: &str = r#"{"result":"login required","type":"send2fatoken"}"#;
const LOGIN_TWICE: &str = r#"{"result":"already logged in","type":"login"}"#;
const LOGIN_IN_PROGRESS: &str = r#"{"result":"login in progress","type":"login"}"#;
const LOGIN_REFUSED: &str = r#"{"result":"invalid user/password","type":"login"}"#;
const CODE_NEEDED: &str = r#"{"result":"OK","type":"login","2fa":"required"}"#;
const CODE_OK: &str = r#"{"result":"OK","type":"send2fatoken"}"#;
const CODE_REFUSED: &str = r#"{"result":"invalid token","type":"send2fatoken","2fa":"required"}"#;
const CHANGED: &str = r#"{"result":"OK","type":"adduser","updateprof":true,"broker_comm_rate":"0"}"#;

/// One connection: each step checks what the machine does, and that it does nothing else.
struct Script {
    machine: WsLogin,
    now: Now,
    ask: Option<AskId>,
}

/// A connection that has just been opened.
fn opened() -> Script {
    let now = Now { wall: START, mono: Mono::from_ns(7_000_000_000) };
    Script { machine: WsLogin::new(Settings::default(), now.mono, now), now, ask: None }
}

/// A connection that holds the challenge key `k1`.
fn challenged() -> Script {
    let mut s = opened();
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says_something().silent();
    s
}

/// A connection whose password was right and whose code is awaited.
fn code_awaited() -> Script {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(code_needed()).says(CODE_NEEDED).silent();
    s
}

/// A connection that is logged in but for a password that must be changed.
fn must_change() -> Script {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(granted_initial());
    s.says(r#"{"result":"OK","type":"login","password":"change required"}"#).silent();
    s
}

/// A connection that is logged in.
fn logged_in() -> Script {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(granted()).says(LOGIN_OK).silent();
    s
}

fn julian(must_change: bool) -> Granted {
    let userid = UserId::parse("julian").unwrap();
    Granted { person: PersonId::from_random(42), userid, must_change, serves: false, factor_at: None }
}

fn key(name: &str) -> Verdict {
    Verdict::ChallengeKey(Challenge {
        key: KeyId::parse(name).unwrap(),
        spki_base64: "MIIB".into(),
        paddings: Padding::ALL.to_vec(),
        expires: START + Duration::from_secs(60),
    })
}

fn granted() -> Verdict {
    Verdict::Granted(julian(false))
}

fn granted_initial() -> Verdict {
    Verdict::Granted(julian(true))
}

fn code_needed() -> Verdict {
    Verdict::CodeNeeded(julian(false))
}

fn code_refused() -> Verdict {
    Verdict::CodeRefused(julian(false))
}

fn busy() -> Verdict {
    Verdict::Busy { retry_ms: 250 }
}

fn later() -> Verdict {
    Verdict::TryAgainLater { retry_ms: 5_000 }
}

fn password_changed() -> Verdict {
    Verdict::PasswordChanged { broker_comm_rate: None }
}

impl Script {
    /// The peer sends a message. Whatever the step before made must have been looked at.
    fn send(&mut self, message: &str) -> &mut Self {
        self.silent();
        self.machine.receive(message.as_bytes(), self.now);
        self
    }

    /// The gate answers the last ask.
    fn verdict(&mut self, verdict: Verdict) -> &mut Self {
        let id = self.ask.expect("something was asked");
        self.verdict_to(id, verdict)
    }

    /// The gate answers an ask, maybe too late.
    fn verdict_to(&mut self, id: AskId, verdict: Verdict) -> &mut Self {
        self.silent();
        self.machine.verdict(id, verdict, self.now);
        self
    }

    /// The machine sends exactly this.
    fn says(&mut self, message: &str) -> &mut Self {
        match self.machine.poll() {
            Some(Output::Send(bytes)) => assert_eq!(String::from_utf8(bytes).unwrap(), message),
            other => panic!("{other:?} instead of {message}"),
        }
        self
    }

    /// The machine sends an answer; which one is not this script's business.
    fn says_something(&mut self) -> &mut Self {
        assert!(matches!(self.machine.poll(), Some(Output::Send(_))));
        self
    }

    fn next_ask(&mut self) -> Ask {
        match self.machine.poll() {
            Some(Output::Ask(id, ask)) => {
                self.ask = Some(id);
                ask
            }
            other => panic!("{other:?} instead of an ask"),
        }
    }

    /// The machine asks for a challenge key.
    fn asks_for_a_key(&mut self) -> &mut Self {
        let ask = self.next_ask();
        assert!(matches!(ask, Ask::ChallengeKey), "{ask:?}");
        self
    }

    /// The machine asks for a login, with the ciphertext `ABC` and the key `k1`.
    fn asks_login(&mut self, expected: &str, expected_code: Option<&str>) -> &mut Self {
        let ask = self.next_ask();
        let Ask::Login { userid, password, code } = ask else { panic!("{ask:?} instead of a login") };
        let GivenPassword::Encrypted(password) = password else { panic!("not encrypted") };
        assert_eq!((userid.as_str(), password.key.as_str()), (expected, "k1"));
        assert_eq!((password.padding, password.ciphertext.as_slice()), (Padding::Pkcs1, b"ABC".as_slice()));
        assert_eq!(code.as_ref().map(|code| code.expose().as_str()), expected_code);
        self
    }

    /// The machine asks whether julian's code is right.
    fn asks_code(&mut self, expected: &str) -> &mut Self {
        let ask = self.next_ask();
        let Ask::Code { person, code } = ask else { panic!("{ask:?} instead of a code") };
        assert_eq!((person, code.expose().as_str()), (julian(false).person, expected));
        self
    }

    /// The machine asks for a change of julian's password, both ciphertexts with the key `k1`.
    fn asks_change(&mut self) -> &mut Self {
        let ask = self.next_ask();
        let Ask::PasswordChange { person, present, new } = ask else { panic!("{ask:?} instead of a change") };
        assert_eq!(person, julian(false).person);
        let (GivenPassword::Encrypted(present), GivenPassword::Encrypted(new)) = (present, new) else {
            panic!("not encrypted")
        };
        assert_eq!((present.key.as_str(), new.key.as_str()), ("k1", "k1"));
        assert_eq!((present.ciphertext.as_slice(), new.ciphertext.as_slice()), (&b"ABC"[..], &b"DEF"[..]));
        self
    }

    /// The machine pings the peer.
    fn pings(&mut self) -> &mut Self {
        let output = self.machine.poll();
        assert!(matches!(output, Some(Output::Ping)), "{output:?}");
        self
    }

    /// The peer answers a ping.
    fn pong(&mut self) -> &mut Self {
        self.machine.pong();
        self
    }

    /// The machine has something written down about julian, or about nobody.
    fn notes(&mut self, event: Event, reason: Option<Deny>) -> &mut Self {
        let who = (event == Event::LoggedOut).then(|| (julian(false).person, julian(false).userid));
        match self.machine.poll() {
            Some(Output::Note(note)) => assert_eq!(note, Note { event, who, reason }),
            other => panic!("{other:?} instead of a note"),
        }
        self
    }

    /// The machine closes the connection, and nothing follows.
    fn closes(&mut self, code: u16) -> &mut Self {
        match self.machine.poll() {
            Some(Output::Close(close)) => assert_eq!(close.code, code),
            other => panic!("{other:?} instead of a close with {code}"),
        }
        assert!(self.machine.is_closed() && self.machine.who().is_none());
        assert_eq!(self.machine.deadline(), None);
        self.silent()
    }

    /// Nothing was said that was not looked at.
    fn silent(&mut self) -> &mut Self {
        let output = self.machine.poll();
        assert!(output.is_none(), "{output:?} instead of silence");
        self
    }

    /// Time passes; the machine is woken at each of its deadlines on the way.
    fn after_ms(&mut self, ms: u64) -> &mut Self {
        self.silent();
        let until = self.now + Duration::from_millis(ms);
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= until.mono) {
            self.now = self.now + deadline.since(self.now.mono);
            self.machine.timeout(self.now);
            if self.machine.deadline() == Some(deadline) {
                panic!("the deadline stays where it was");
            }
        }
        self.now = until;
        self
    }

    fn after_s(&mut self, s: u64) -> &mut Self {
        self.after_ms(s * 1_000)
    }

    /// The node stops.
    fn stop(&mut self) -> &mut Self {
        self.silent();
        self.machine.stop();
        self
    }

    /// The shell saw something that ends the connection.
    fn fail(&mut self, reason: Deny) -> &mut Self {
        self.silent();
        self.machine.fail(reason);
        self
    }

    /// The peer has gone.
    fn lost(&mut self) -> &mut Self {
        self.silent();
        self.machine.lost();
        self
    }

    fn is_logged_in(&mut self) -> &mut Self {
        assert_eq!(self.machine.who().map(|who| who.userid.as_str()), Some("julian"));
        self
    }

    fn is_not_logged_in(&mut self) -> &mut Self {
        assert_eq!(self.machine.who(), None);
        self
    }
}
