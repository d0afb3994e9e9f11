//! What somebody asks for others: what is told without asking the gate, what is asked of it, and what is answered.

use serde_json::{Map, Value};

use super::{Purpose, State, WsLogin};
use crate::ask::{
    self, Acting, Ask, Declined, GivenPassword, Granted, NewSecret, NewTrader, PersonShown, StepDone,
    TraderChange, TraderDetails, Verified,
};
use crate::id::{FirmCode, UserId};
use crate::time::{Now, Wall};
use crate::ws::answer::{Answer, Refusal};
use crate::ws::message::{AddUser, Ciphered, TokenRequest, VerifyLogin};

/// What of an `adduser` comes back in its answer: all but passwords, where it was sent.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Echo {
    userid: String,
    firm: Option<String>,
    updates: bool,
    resets: bool,
    roles: Option<String>,
    attr: Option<Map<String, Value>>,
    use2fa: Option<bool>,
    initial: Option<bool>,
    reason: Option<String>,
}

/// A password in an `adduser` as it cannot be taken.
enum Unfit {
    Missing(&'static str),
    Invalid(&'static str),
    NoChallenge,
}

impl Unfit {
    fn answer(self) -> Answer {
        match self {
            Self::Missing(field) => declined("adduser", Declined::Missing { field }),
            Self::Invalid(field) => declined("adduser", Declined::Invalid { field }),
            Self::NoChallenge => Answer::refusal(Refusal::ChallengeRequired, "adduser"),
        }
    }
}

/// Whether something is asked of oneself: no name, or the own one in whatever spelling.
fn is_own(userid: Option<&str>, granted: &Granted) -> bool {
    userid.is_none_or(|of| UserId::parse(of).as_ref() == Ok(&granted.userid))
}

fn acting(granted: &Granted) -> Acting {
    Acting { person: granted.person, factor_at: granted.factor_at }
}

const fn flag(set: bool) -> &'static str {
    if set { "Y" } else { "N" }
}

/// The answer to what is not done, and why.
pub(super) fn declined(message_type: &str, declined: Declined) -> Answer {
    let refusal = |refusal| Answer::refusal(refusal, message_type);
    match declined {
        Declined::NotPermitted { field } => refusal(Refusal::PermissionDenied).maybe("field", field),
        Declined::UserExists => refusal(Refusal::UserExists),
        Declined::UnknownUser => refusal(Refusal::UnknownUser),
        Declined::UnknownFirm => refusal(Refusal::UnknownFirm),
        Declined::Missing { field } => refusal(Refusal::MissingField).with("field", field),
        Declined::Invalid { field } => refusal(Refusal::InvalidField).with("field", field),
        Declined::CodeMissing => refusal(Refusal::CodeMissing),
        Declined::InvalidToken => refusal(Refusal::InvalidToken),
    }
}

impl WsLogin {
    fn decline(&mut self, message_type: &str, why: Declined, id: Option<&Value>) {
        self.send(declined(message_type, why), id);
    }

    pub(super) fn verify_login(
        &mut self,
        request: VerifyLogin,
        id: Option<Value>,
        granted: &Granted,
        now: Now,
    ) {
        let message_type = "verifylogin";
        if !granted.serves {
            return self.decline(message_type, Declined::NotPermitted { field: None }, id.as_ref());
        }
        let VerifyLogin { userid, password, code, wants_token, source } = request;
        let Some(userid) = userid else {
            return self.decline(message_type, Declined::Missing { field: "userid" }, id.as_ref());
        };
        let Some(password) = password else {
            return self.decline(message_type, Declined::Missing { field: "pass" }, id.as_ref());
        };
        let Some(password) = self.encrypted(password) else {
            return self.send(Answer::refusal(Refusal::ChallengeRequired, message_type), id.as_ref());
        };
        let purpose = Purpose::Verify { userid: userid.clone() };
        let asker = acting(granted);
        let verify = ask::VerifyLogin { asker, userid, password, code, wants_token, source };
        self.ask(Ask::Verify(Box::new(verify)), purpose, id, now);
    }

    pub(super) fn token_request(
        &mut self,
        request: TokenRequest,
        id: Option<Value>,
        granted: &Granted,
        now: Now,
    ) {
        let TokenRequest { token, userid, revoke } = request;
        let purpose = Purpose::Token { revoke };
        let message_type = purpose.message_type();
        if !granted.serves {
            return self.decline(message_type, Declined::NotPermitted { field: None }, id.as_ref());
        }
        let Some(token) = token else {
            return self.decline(message_type, Declined::Missing { field: "token" }, id.as_ref());
        };
        self.ask(Ask::Token { asker: acting(granted), token, userid, revoke }, purpose, id, now);
    }

    pub(super) fn get_user(
        &mut self,
        userid: Option<String>,
        id: Option<Value>,
        granted: &Granted,
        now: Now,
    ) {
        let own = is_own(userid.as_deref(), granted);
        if !own && !granted.serves {
            return self.decline("getuser", Declined::NotPermitted { field: None }, id.as_ref());
        }
        let userid = userid.filter(|_| !own);
        self.ask(Ask::Person { asker: acting(granted), userid }, Purpose::Person, id, now);
    }

    /// `adduser`: the own password, or a trader's step by whoever serves others.
    pub(super) fn add_user(
        &mut self,
        request: AddUser,
        id: Option<Value>,
        granted: &Granted,
        must_change: bool,
        now: Now,
    ) {
        let own = is_own(request.userid.as_deref(), granted);
        let on_oneself = own && request.updates;
        if must_change && !on_oneself {
            return self.send(Answer::refusal(Refusal::PasswordChangeRequired, "adduser"), id.as_ref());
        }
        if granted.serves && !on_oneself {
            return self.step(request, id, granted, now);
        }
        let field = request.foreign_field();
        if !on_oneself || field.is_some() || self.by_token {
            let why = Declined::NotPermitted { field: field.filter(|_| own) };
            return self.decline("adduser", why, id.as_ref());
        }
        match self.change_of(request.present, request.new) {
            Ok(Some((present, new))) => {
                let purpose = Purpose::PasswordChange { userid: request.userid };
                self.ask(Ask::PasswordChange { person: granted.person, present, new }, purpose, id, now);
            }
            Ok(None) => self.send(Unfit::Missing("pass").answer(), id.as_ref()),
            Err(unfit) => self.send(unfit.answer(), id.as_ref()),
        }
    }

    /// A new trader, or a change of one.
    fn step(&mut self, request: AddUser, id: Option<Value>, granted: &Granted, now: Now) {
        let Some(userid) = request.userid.clone() else {
            return self.decline("adduser", Declined::Missing { field: "userid" }, id.as_ref());
        };
        let echo = Echo {
            userid: userid.clone(),
            firm: request.firm.clone(),
            updates: request.updates,
            resets: request.resets,
            roles: request.roles.clone(),
            attr: request.attr.clone(),
            use2fa: request.use2fa,
            initial: request.initial,
            reason: request.reason.clone(),
        };
        match self.step_of(request, userid, acting(granted)) {
            Ok(ask) => self.ask(ask, Purpose::Step(Box::new(echo)), id, now),
            Err(unfit) => self.send(unfit.answer(), id.as_ref()),
        }
    }

    fn step_of(&self, request: AddUser, userid: String, asker: Acting) -> Result<Ask, Unfit> {
        let AddUser { updates, resets, present, new, firm, .. } = request;
        let details = TraderDetails {
            roles: request.roles,
            broker_comm_rate: request.broker_comm_rate,
            attr: request.attr,
            otp: request.use2fa,
            initial: request.initial,
            reason: request.reason,
        };
        if updates {
            let password = match (resets, present, new) {
                (true, Some(_), _) => return Err(Unfit::Invalid("pass")),
                (true, None, None) => return Err(Unfit::Missing("newpass")),
                (true, None, Some(new)) => {
                    Some(NewSecret::Reset(self.encrypted(new).ok_or(Unfit::NoChallenge)?))
                }
                (false, present, new) => {
                    self.change_of(present, new)?.map(|(present, new)| NewSecret::Changed { present, new })
                }
            };
            return Ok(Ask::ChangeTrader(Box::new(TraderChange { asker, userid, firm, password, details })));
        }
        let (sent_as, first) = match (resets, present, new) {
            (true, _, _) => return Err(Unfit::Invalid("resetpass")),
            (false, Some(_), Some(_)) => return Err(Unfit::Invalid("newpass")),
            (false, None, None) => return Err(Unfit::Missing("pass")),
            (false, Some(first), None) => ("pass", first),
            (false, None, Some(first)) => ("newpass", first),
        };
        let password = self.encrypted(first).ok_or(Unfit::NoChallenge)?;
        Ok(Ask::AddTrader(Box::new(NewTrader { asker, userid, firm, password, sent_as, details })))
    }

    /// The present password and the new one; neither, where no password is to be changed.
    fn change_of(
        &self,
        present: Option<Ciphered>,
        new: Option<Ciphered>,
    ) -> Result<Option<(GivenPassword, GivenPassword)>, Unfit> {
        match (present, new) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Unfit::Missing("pass")),
            (Some(_), None) => Err(Unfit::Missing("newpass")),
            (Some(present), Some(new)) => {
                let both = self.encrypted(present).zip(self.encrypted(new));
                both.map(Some).ok_or(Unfit::NoChallenge)
            }
        }
    }

    pub(super) fn verified(&mut self, verified: Verified, id: Option<&Value>) {
        let Verified { userid, active, level, attr, token, must_register, must_change } = verified;
        let answer = Answer::ok("verifylogin")
            .with("active", flag(active))
            .with("userid", userid.as_str())
            .with("verify_level", level)
            .maybe("2fa", must_register.then_some("registration required"))
            .maybe("password", must_change.then_some("change required"))
            .maybe("attr", attr);
        let answer = match token {
            Some(made) => answer.with("token", made.token.expose()).with("expires", made.expires.as_ms()),
            None => answer,
        };
        self.send(answer, id);
    }

    pub(super) fn token_known(
        &mut self,
        message_type: &str,
        userid: &UserId,
        expires: Wall,
        id: Option<&Value>,
    ) {
        let answer = Answer::ok(message_type).with("userid", userid.as_str());
        self.send(answer.with("expires", expires.as_ms()), id);
    }

    pub(super) fn person_shown(&mut self, shown: PersonShown, id: Option<&Value>) {
        let answer = Answer::ok("getuser")
            .with("userid", shown.userid.as_str())
            .maybe("firm", shown.firm.as_ref().map(FirmCode::as_str))
            .maybe("roles", shown.roles)
            .with("active", flag(shown.active))
            .with("use2fa", flag(shown.otp))
            .with("2faregistered", flag(shown.registered))
            .maybe("attr", shown.attr);
        self.send(answer, id);
    }

    pub(super) fn step_done(&mut self, echo: Echo, done: StepDone, id: Option<&Value>) {
        let rate = done.broker_comm_rate.unwrap_or_else(|| "0".to_owned());
        let answer = Answer::ok("adduser")
            .with("userid", echo.userid)
            .maybe("firm", echo.firm)
            .maybe("roles", echo.roles)
            .maybe("updateprof", echo.updates.then_some(true))
            .maybe("resetpass", echo.resets.then_some(true))
            .maybe("use2fa", echo.use2fa.map(flag))
            .maybe("initial", echo.initial)
            .maybe("attr", echo.attr)
            .maybe("reason", echo.reason)
            .with("broker_comm_rate", rate);
        let answer = match done.seed {
            Some(seed) => answer.with("2faseed", seed.base32.expose()).with("2fauri", seed.uri.expose()),
            None => answer,
        };
        self.send(answer, id);
    }

    /// Another password was set in place of one that had to be changed.
    pub(super) fn need_not_change(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::MustChange(granted) => State::In(Granted { must_change: false, ..granted }),
            other @ (State::Open
            | State::CodeAwaited(_)
            | State::In(_)
            | State::Asking(_)
            | State::Closed) => other,
        };
    }
}
