//! Messages of the WebSocket door: JSON in, requests out.

mod acting;

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64_NOPAD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroize;

use crate::ask::{KeyId, Padding};
use crate::limits::Limit;
use crate::secret::Secret;

pub use acting::{AddUser, TokenRequest, VerifyLogin};

/// Fields that mean something; all others are ignored.
const KNOWN: [&str; 20] = [
    "type",
    "id",
    "userid",
    "pass",
    "newpass",
    "2fatoken",
    "padding",
    "keyid",
    "token",
    "updateprof",
    "resetpass",
    "use2fa",
    "firm",
    "roles",
    "broker_comm_rate",
    "attr",
    "initial",
    "reason",
    "gentoken",
    "source",
];

/// Longest message type that is echoed, in bytes.
const TYPE_LEN_MAX: usize = 64;

/// 2 to the 63rd: a number beyond the integers of 64 bits is kept rounded.
const ROUNDED_FROM: f64 = 9_223_372_036_854_775_808.0;

/// What a peer wants.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub enum Request {
    /// `challenge`
    Challenge,
    /// `login`
    Login {
        /// `userid`
        userid: String,
        /// `pass`, `keyid`, `padding`
        password: Ciphered,
        /// `2fatoken`
        code: Option<Secret<String>>,
    },
    /// `login` with a token.
    TokenLogin {
        /// `userid`
        userid: String,
        /// `token`
        token: Secret<String>,
    },
    /// `send2fatoken`
    Code(Secret<String>),
    /// `adduser`
    AddUser(Box<AddUser>),
    /// `verifylogin`
    Verify(Box<VerifyLogin>),
    /// `checktoken` and `revoketoken`
    Token(TokenRequest),
    /// `getuser`
    Person {
        /// `userid`; absent: oneself.
        userid: Option<String>,
    },
    /// `logout`
    Logout,
    /// `ping`
    Ping,
    /// Any other type.
    Unknown,
}

/// A ciphertext, and how it was made where the request says.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Ciphered {
    /// The decoded bytes.
    pub ciphertext: Vec<u8>,
    /// `keyid`; absent: that of the connection's last challenge.
    pub key: Option<KeyId>,
    /// `padding`; absent: PKCS#1 v1.5.
    pub padding: Padding,
}

/// A well-formed message.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Message {
    /// `type`, to be echoed.
    pub message_type: String,
    /// `id`, to be echoed.
    pub id: Option<Value>,
    /// What is wanted.
    pub request: Request,
}

/// A message that is not: what to answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Malformed {
    /// What is wrong, naming the field.
    pub what: String,
    /// The type to echo: the request's, or `error`.
    pub message_type: String,
    /// `id`, to be echoed.
    pub id: Option<Value>,
}

/// Reads one message.
pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
    let error = |what: &str| Malformed { what: what.to_owned(), message_type: "error".to_owned(), id: None };
    let text = std::str::from_utf8(bytes).map_err(|_| error("not UTF-8"))?;
    if depth_over(text, Limit::WsJsonDepth.max()) {
        return Err(error("JSON deeper than 8"));
    }
    let mut fields: Fields = serde_json::from_str(text).map_err(|e| error(&what_is_wrong(&e)))?;
    let (message_type, id) = (fields.message_type(), fields.id());
    if let Some(name) = fields.repeated {
        let what = format!("repeated field: {name}");
        let message_type = message_type.ok().filter(|_| name != "type").unwrap_or_else(|| "error".to_owned());
        return Err(Malformed { what, message_type, id: id.ok().flatten().filter(|_| name != "id") });
    }
    match (message_type, id) {
        (Ok(message_type), Ok(id)) => match fields.request(&message_type) {
            Ok(request) => Ok(Message { message_type, id, request }),
            Err(what) => Err(Malformed { what, message_type, id }),
        },
        (Ok(message_type), Err(what)) => Err(Malformed { what, message_type, id: None }),
        (Err(what), id) => Err(Malformed { id: id.ok().flatten(), ..error(&what) }),
    }
}

/// What serde_json says, without the peer's own text.
fn what_is_wrong(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => "not a JSON object".to_owned(),
        Category::Eof => "malformed JSON: it ends too early".to_owned(),
        Category::Syntax | Category::Io => {
            format!("malformed JSON at line {} column {}", error.line(), error.column())
        }
    }
}

/// Whether brackets nest deeper than so many levels, strings left aside. Looked at before anything recurses.
fn depth_over(text: &str, max: u64) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0u64, false, false);
    for byte in text.bytes() {
        if in_string {
            (escaped, in_string) = (!escaped && byte == b'\\', escaped || byte != b'"');
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {} // any other byte of JSON nests nothing
        }
        if depth > max {
            return true;
        }
    }
    false
}

/// The known fields of a JSON object.
struct Fields {
    map: BTreeMap<&'static str, Value>,
    repeated: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fields, A::Error> {
                let mut fields = Fields { map: BTreeMap::new(), repeated: None };
                while let Some(name) = access.next_key::<String>()? {
                    match KNOWN.into_iter().find(|known| *known == name) {
                        None => {
                            access.next_value::<IgnoredAny>()?;
                        }
                        Some(known) => {
                            if let Some(mut first) = fields.map.insert(known, access.next_value()?) {
                                wipe(&mut first);
                                fields.repeated.get_or_insert(known);
                            }
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Drop for Fields {
    /// One-time passwords and tokens go through here in clear.
    fn drop(&mut self) {
        for secret in ["2fatoken", "token"] {
            self.map.get_mut(secret).map(wipe);
        }
    }
}

fn wipe(value: &mut Value) {
    if let Value::String(text) = value {
        text.zeroize();
    }
}

impl Fields {
    fn message_type(&mut self) -> Result<String, String> {
        match self.map.remove("type") {
            Some(Value::String(name)) if name.len() <= TYPE_LEN_MAX => Ok(name),
            Some(Value::String(_)) => Err(format!("field type: longer than {TYPE_LEN_MAX} bytes")),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err("field type: not a string".to_owned())
            }
            None => Err("missing field: type".to_owned()),
        }
    }

    fn id(&mut self) -> Result<Option<Value>, String> {
        match self.map.remove("id") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() as u64 > Limit::WsIdChars.max() => {
                Err("field id: longer than 128 characters".to_owned())
            }
            // Such a number would come back rounded, and nobody would know it again.
            Some(Value::Number(number))
                if number.as_f64().is_some_and(|n| n.abs() >= ROUNDED_FROM) && number.is_f64() =>
            {
                Err("field id: a number beyond 64 bits".to_owned())
            }
            Some(id @ (Value::String(_) | Value::Number(_))) => Ok(Some(id)),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                Err("field id: not a string or number".to_owned())
            }
        }
    }

    fn request(&mut self, message_type: &str) -> Result<Request, String> {
        match message_type {
            "challenge" => Ok(Request::Challenge),
            "logout" => Ok(Request::Logout),
            "ping" => Ok(Request::Ping),
            "login" => {
                let userid = self.text("userid")?.ok_or("missing field: userid")?;
                let (key, padding) = (self.key()?, self.padding()?);
                let (password, token) = (self.ciphered("pass", key, padding)?, self.token()?);
                match (password, token) {
                    (Some(password), None) => Ok(Request::Login { userid, password, code: self.code()? }),
                    (None, Some(token)) => Ok(Request::TokenLogin { userid, token }),
                    (Some(_), Some(_)) => Err("fields pass and token: only one of them".to_owned()),
                    (None, None) => Err("missing field: pass".to_owned()),
                }
            }
            "send2fatoken" => Ok(Request::Code(self.code()?.ok_or("missing field: 2fatoken")?)),
            "adduser" => self.add_user(),
            "verifylogin" => self.verify_login(),
            "checktoken" => self.token_request(false),
            "revoketoken" => self.token_request(true),
            "getuser" => Ok(Request::Person { userid: self.text("userid")? }),
            _ => Ok(Request::Unknown),
        }
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        match self.map.get_mut(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(std::mem::take(text))),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(format!("field {name}: not a string"))
            }
        }
    }

    fn flag(&self, name: &'static str) -> Result<Option<bool>, String> {
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                flag(value).map(Some).ok_or_else(|| format!("field {name}: not Y, N, true or false"))
            }
        }
    }

    /// An empty code is none: many clients always send the field.
    fn code(&mut self) -> Result<Option<Secret<String>>, String> {
        Ok(self.text("2fatoken")?.filter(|code| !code.is_empty()).map(Secret::new))
    }

    fn token(&mut self) -> Result<Option<Secret<String>>, String> {
        Ok(self.text("token")?.filter(|token| !token.is_empty()).map(Secret::new))
    }

    fn key(&mut self) -> Result<Option<KeyId>, String> {
        match self.text("keyid")? {
            None => Ok(None),
            Some(name) => {
                KeyId::parse(&name).map(Some).ok_or_else(|| "field keyid: no key has such a name".to_owned())
            }
        }
    }

    fn padding(&mut self) -> Result<Padding, String> {
        match self.text("padding")? {
            None => Ok(Padding::Pkcs1),
            Some(name) => {
                Padding::from_name(&name).ok_or_else(|| "field padding: not PKCS1 or OAEP-SHA256".to_owned())
            }
        }
    }

    /// An empty ciphertext is none: the documented samples send `"pass":""`.
    fn ciphered(
        &mut self,
        name: &'static str,
        key: Option<KeyId>,
        padding: Padding,
    ) -> Result<Option<Ciphered>, String> {
        let Some(mut text) = self.text(name)? else { return Ok(None) };
        text.retain(|c| !c.is_ascii_whitespace());
        if text.is_empty() {
            return Ok(None);
        }
        let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(&text);
        match BASE64_NOPAD.decode(digits.as_bytes()) {
            Ok(ciphertext) => Ok(Some(Ciphered { ciphertext, key, padding })),
            Err(_) => Err(format!("field {name}: not base64")),
        }
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(set) => Some(*set),
        Value::String(text) if text == "Y" => Some(true),
        Value::String(text) if text == "N" => Some(false),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
