//! What programs and administrators ask for others: verify a login, look after tokens, add and change users.

use std::net::IpAddr;

use doorward_core::secret::Secret;
use serde_json::{Map, Value, json};

use super::WsClient;
use super::answer::{LoginAnswer, Reply};
use super::served::{StepAnswer, TokenAnswer, UserAnswer, VerifyAnswer};
use crate::ClientError;

/// A customer's login to be verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifyLogin<'a> {
    /// The customer.
    pub userid: &'a str,
    /// The customer's password.
    pub password: &'a Secret<String>,
    /// The customer's one-time password.
    pub code: Option<&'a Secret<String>>,
    /// Whether a token is wanted.
    pub wants_token: bool,
    /// The customer's address, by which their wrong passwords are counted. Without it the program's own is: whoever
    /// types wrong ones for a customer at its site makes that customer wait there.
    pub source: Option<IpAddr>,
}

/// What is set of a user beside the password. What is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserDetails {
    /// The firm of a new user; it never changes.
    pub firm: Option<String>,
    /// An opaque text.
    pub roles: Option<String>,
    /// An opaque text; for superusers.
    pub broker_comm_rate: Option<String>,
    /// A JSON object of at most 4 KiB.
    pub attr: Option<Map<String, Value>>,
    /// Whether a one-time password is asked for; `true` makes a new seed each time.
    pub use2fa: Option<bool>,
    /// Whether the new password is to be changed at the first login.
    pub initial: Option<bool>,
    /// Why; it is written down.
    pub reason: Option<String>,
}

impl UserDetails {
    fn write(&self, message: &mut Value) {
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        let fields = [
            ("firm", text(&self.firm)),
            ("roles", text(&self.roles)),
            ("broker_comm_rate", text(&self.broker_comm_rate)),
            ("attr", self.attr.as_ref().map(|attr| json!(attr))),
            ("use2fa", self.use2fa.map(|set| json!(if set { "Y" } else { "N" }))),
            ("initial", self.initial.map(|set| json!(set))),
            ("reason", text(&self.reason)),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                message[name] = value;
            }
        }
    }
}

/// What becomes of the password of a user that is changed.
#[derive(Clone, Copy, Debug)]
pub enum PasswordStep<'a> {
    /// It stays.
    Keep,
    /// Another one, with the present one beside it.
    Change {
        /// The present one.
        present: &'a Secret<String>,
        /// The new one.
        new: &'a Secret<String>,
    },
    /// Another one, without the present one: for superusers with the right to it. Sessions and tokens end, and the
    /// owner is mailed.
    Reset {
        /// The new one.
        new: &'a Secret<String>,
    },
}

impl WsClient {
    /// Logs in with a token that a program had made: no password, no one-time password.
    ///
    /// # Errors
    /// Of the connection; what the server decides is in the reply.
    pub async fn login_by_token(
        &mut self,
        userid: &str,
        token: &Secret<String>,
    ) -> Result<Reply<LoginAnswer>, ClientError> {
        let message = json!({"type": "login", "userid": userid, "token": token.expose()});
        let raw = self.request(message).await?;
        Ok(Reply { answer: LoginAnswer::read(&raw), raw })
    }

    /// Has a customer's login verified; nobody is logged in by it, and the connection stays whatever the answer.
    ///
    /// # Errors
    /// Of the connection, the challenge or the password's length; what the server decides is in the reply.
    pub async fn verify_login(
        &mut self,
        customer: &VerifyLogin<'_>,
    ) -> Result<Reply<VerifyAnswer>, ClientError> {
        let mut message = json!({"type": "verifylogin", "userid": customer.userid});
        if let Some(code) = customer.code {
            message["2fatoken"] = json!(code.expose());
        }
        if customer.wants_token {
            message["gentoken"] = json!(true);
        }
        if let Some(source) = customer.source {
            message["source"] = json!(source);
        }
        let mut raw = self.request_encrypted(message, &[("pass", customer.password)]).await?;
        Ok(Reply { answer: VerifyAnswer::read(&mut raw), raw })
    }

    /// Asks whose a token is; `userid`: whose it must be.
    ///
    /// # Errors
    /// Of the connection; what the server decides is in the reply.
    pub async fn check_token(
        &mut self,
        token: &Secret<String>,
        userid: Option<&str>,
    ) -> Result<Reply<TokenAnswer>, ClientError> {
        self.token("checktoken", token, userid).await
    }

    /// Ends a token; `userid`: whose it must be.
    ///
    /// # Errors
    /// Of the connection; what the server decides is in the reply.
    pub async fn revoke_token(
        &mut self,
        token: &Secret<String>,
        userid: Option<&str>,
    ) -> Result<Reply<TokenAnswer>, ClientError> {
        self.token("revoketoken", token, userid).await
    }

    async fn token(
        &mut self,
        message_type: &str,
        token: &Secret<String>,
        userid: Option<&str>,
    ) -> Result<Reply<TokenAnswer>, ClientError> {
        let mut message = json!({"type": message_type, "token": token.expose()});
        if let Some(userid) = userid {
            message["userid"] = json!(userid);
        }
        let raw = self.request(message).await?;
        Ok(Reply { answer: TokenAnswer::read(&raw), raw })
    }

    /// Asks what is known of somebody; `None`: of whoever is logged in here.
    ///
    /// # Errors
    /// Of the connection; what the server decides is in the reply.
    pub async fn user(&mut self, userid: Option<&str>) -> Result<Reply<UserAnswer>, ClientError> {
        let mut message = json!({"type": "getuser"});
        if let Some(userid) = userid {
            message["userid"] = json!(userid);
        }
        let raw = self.request(message).await?;
        Ok(Reply { answer: UserAnswer::read(&raw), raw })
    }

    /// Adds a trader with a first password.
    ///
    /// # Errors
    /// Of the connection, the challenge or the password's length; what the server decides is in the reply.
    pub async fn add_user(
        &mut self,
        userid: &str,
        password: &Secret<String>,
        details: &UserDetails,
    ) -> Result<Reply<StepAnswer>, ClientError> {
        let mut message = json!({"type": "adduser", "userid": userid});
        details.write(&mut message);
        let mut raw = self.request_encrypted(message, &[("pass", password)]).await?;
        Ok(Reply { answer: StepAnswer::read(&mut raw), raw })
    }

    /// Changes a trader: what is known of them, the password, the authenticator. For the own password there is
    /// [`Self::change_password`].
    ///
    /// # Errors
    /// Of the connection, the challenge or a password's length; what the server decides is in the reply.
    pub async fn update_user(
        &mut self,
        userid: &str,
        password: PasswordStep<'_>,
        details: &UserDetails,
    ) -> Result<Reply<StepAnswer>, ClientError> {
        let mut message = json!({"type": "adduser", "userid": userid, "updateprof": true});
        details.write(&mut message);
        let mut raw = match password {
            PasswordStep::Keep => self.request(message).await?,
            PasswordStep::Change { present, new } => {
                self.request_encrypted(message, &[("pass", present), ("newpass", new)]).await?
            }
            PasswordStep::Reset { new } => {
                message["resetpass"] = json!(true);
                self.request_encrypted(message, &[("newpass", new)]).await?
            }
        };
        Ok(Reply { answer: StepAnswer::read(&mut raw), raw })
    }
}
