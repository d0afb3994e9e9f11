//! Messages by which somebody asks for others: `verifylogin`, `checktoken`, `revoketoken`, `getuser`, `adduser`.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{Ciphered, Fields, Request};
use crate::secret::Secret;

/// `verifylogin`
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct VerifyLogin {
    /// `userid`: the customer.
    pub userid: Option<String>,
    /// `pass`, `keyid`, `padding`
    pub password: Option<Ciphered>,
    /// `2fatoken`
    pub code: Option<Secret<String>>,
    /// `gentoken`
    pub wants_token: bool,
    /// `source`
    pub source: Option<IpAddr>,
}

/// `checktoken` and `revoketoken`
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct TokenRequest {
    /// `token`
    pub token: Option<Secret<String>>,
    /// `userid`
    pub userid: Option<String>,
    /// Whether it is `revoketoken`.
    pub revoke: bool,
}

/// `adduser`
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct AddUser {
    /// `userid`; absent: oneself.
    pub userid: Option<String>,
    /// Whether `updateprof` is set.
    pub updates: bool,
    /// Whether `resetpass` is set.
    pub resets: bool,
    /// `pass`
    pub present: Option<Ciphered>,
    /// `newpass`
    pub new: Option<Ciphered>,
    /// `firm`
    pub firm: Option<String>,
    /// `roles`
    pub roles: Option<String>,
    /// `broker_comm_rate`
    pub broker_comm_rate: Option<String>,
    /// `attr`
    pub attr: Option<Map<String, Value>>,
    /// `use2fa`
    pub use2fa: Option<bool>,
    /// `initial`
    pub initial: Option<bool>,
    /// `reason`
    pub reason: Option<String>,
}

impl AddUser {
    /// A field that only others may set; none of them is due from somebody who changes the own password.
    pub fn foreign_field(&self) -> Option<&'static str> {
        let fields = [
            ("resetpass", self.resets),
            ("use2fa", self.use2fa.is_some()),
            ("firm", self.firm.is_some()),
            ("roles", self.roles.is_some()),
            ("broker_comm_rate", self.broker_comm_rate.is_some()),
            ("attr", self.attr.is_some()),
            ("initial", self.initial.is_some()),
            ("reason", self.reason.is_some()),
        ];
        fields.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

impl Fields {
    pub(super) fn verify_login(&mut self) -> Result<Request, String> {
        let (key, padding) = (self.key()?, self.padding()?);
        Ok(Request::Verify(Box::new(VerifyLogin {
            userid: self.text("userid")?,
            password: self.ciphered("pass", key, padding)?,
            code: self.code()?,
            wants_token: self.flag("gentoken")?.unwrap_or(false),
            source: self.source()?,
        })))
    }

    pub(super) fn token_request(&mut self, revoke: bool) -> Result<Request, String> {
        let (token, userid) = (self.token()?, self.text("userid")?);
        Ok(Request::Token(TokenRequest { token, userid, revoke }))
    }

    pub(super) fn add_user(&mut self) -> Result<Request, String> {
        let (key, padding) = (self.key()?, self.padding()?);
        Ok(Request::AddUser(Box::new(AddUser {
            updates: self.flag("updateprof")?.unwrap_or(false),
            resets: self.flag("resetpass")?.unwrap_or(false),
            userid: self.text("userid")?,
            present: self.ciphered("pass", key.clone(), padding)?,
            new: self.ciphered("newpass", key, padding)?,
            firm: self.text("firm")?,
            roles: self.text("roles")?,
            broker_comm_rate: self.text("broker_comm_rate")?,
            attr: self.object("attr")?,
            use2fa: self.flag("use2fa")?,
            initial: self.flag("initial")?,
            reason: self.text("reason")?,
        })))
    }

    fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Value>>, String> {
        match self.map.get_mut(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(std::mem::take(object))),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(format!("field {name}: not an object"))
            }
        }
    }

    /// An empty address is none, like an empty code.
    fn source(&mut self) -> Result<Option<IpAddr>, String> {
        match self.text("source")?.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| "field source: not an address".to_owned()),
        }
    }
}
