//! The people that `doorward load` logs in as.

use std::path::Path;
use std::time::Duration;

use doorward_client::totp::Totp;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::Value;

use super::CliError;

/// One user with what a login needs.
#[derive(Debug)]
pub(super) struct User {
    pub(super) userid: String,
    pub(super) password: Secret<String>,
    pub(super) totp: Option<Totp>,
    /// The newest time step whose code was used: a code counts once.
    used_step: Option<i64>,
}

impl User {
    pub(super) fn new(userid: String, password: Secret<String>, totp: Option<Totp>) -> Self {
        Self { userid, password, totp, used_step: None }
    }

    /// Reads the demo's ready file: those who can log in with what stands there.
    pub(super) fn from_ready_file(path: &Path) -> Result<Vec<Self>, CliError> {
        let fail = |why: String| CliError::usage(format!("--users-file {}: {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let json: Value = serde_json::from_slice(&text).map_err(|error| fail(format!("no JSON: {error}")))?;
        let rows = json["users"].as_array().ok_or_else(|| fail(String::from("no list 'users' in it")))?;
        let mut users = Vec::new();
        for row in rows {
            let (Some(userid), Some(password)) = (row["userid"].as_str(), row["password"].as_str()) else {
                return Err(fail(String::from("a user without userid or password")));
            };
            let with_code = row["otp_registered"] == true;
            let needs_code = row["auth_system"] == "otp" || with_code;
            if row["disabled"] == true || (needs_code && !with_code) {
                continue;
            }
            let totp = match row["otp_seed"].as_str().filter(|_| with_code) {
                Some(seed) => Some(Totp::parse(seed)?),
                None if needs_code => continue,
                None => None,
            };
            users.push(Self::new(userid.to_owned(), Secret::new(password.to_owned()), totp));
        }
        if users.is_empty() {
            return Err(fail(String::from("none of its users can log in")));
        }
        Ok(users)
    }
}

/// Hands out users in turn.
#[derive(Debug)]
pub(super) struct Pool {
    users: Vec<User>,
    next: usize,
}

/// What a login is made of.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) userid: String,
    pub(super) password: Secret<String>,
    pub(super) code: Option<String>,
}

impl Pool {
    pub(super) const fn new(users: Vec<User>) -> Self {
        Self { users, next: 0 }
    }

    /// The next user whose code, where one is needed, was not used yet; else how long until one has a new code.
    pub(super) fn take(&mut self, now: Wall) -> Result<Ticket, Duration> {
        let mut wait = Duration::MAX;
        for _ in 0..self.users.len() {
            let at = self.next % self.users.len();
            self.next = at + 1;
            let user = &mut self.users[at];
            let step = user.totp.as_ref().map(|totp| totp.step(now));
            if let (Some(totp), Some(step)) = (&user.totp, step)
                && user.used_step.is_some_and(|used| used >= step)
            {
                wait = wait.min(totp.good_for(now));
                continue;
            }
            user.used_step = step;
            return Ok(Ticket {
                userid: user.userid.clone(),
                password: user.password.clone(),
                code: user.totp.as_ref().map(|totp| totp.code(now)),
            });
        }
        Err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(userid: &str, seed: Option<&str>) -> User {
        let totp = seed.map(|seed| Totp::parse(seed).unwrap());
        User::new(userid.into(), Secret::new("pw".into()), totp)
    }

    #[test]
    fn t6_a_code_is_handed_out_once() {
        let mut pool = Pool::new(vec![user("a", Some("GEZDGNBV")), user("b", Some("GEZDGNBV"))]);
        let now = Wall::from_s(1_000_010);
        let first = pool.take(now).unwrap();
        let second = pool.take(now).unwrap();
        assert_eq!((first.userid.as_str(), second.userid.as_str()), ("a", "b"));
        assert!(first.code.is_some());
        let wait = pool.take(now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10));
        assert_eq!(pool.take(now + wait).unwrap().userid, "a");
    }

    #[test]
    fn users_with_a_password_alone_come_in_turn_for_ever() {
        let mut pool = Pool::new(vec![user("a", None), user("b", Some("GEZDGNBV")), user("c", None)]);
        let names: Vec<_> = (0..7).map(|_| pool.take(Wall::from_s(60)).unwrap().userid).collect();
        assert_eq!(names, ["a", "b", "c", "a", "c", "a", "c"]);
    }

    #[test]
    fn a_ready_file_gives_those_who_can_log_in() {
        let path = std::env::temp_dir().join(format!("doorward-users-{}.json", std::process::id()));
        let text = r#"{"users":[
            {"userid":"desk","password":"p","auth_system":"otp","otp_seed":"GEZDGNBV","otp_registered":true,"disabled":false},
            {"userid":"new","password":"p","auth_system":"otp","otp_seed":null,"otp_registered":false,"disabled":false},
            {"userid":"plain","password":"p","auth_system":"password","otp_seed":null,"otp_registered":false,"disabled":false},
            {"userid":"off","password":"p","auth_system":"password","otp_seed":null,"otp_registered":false,"disabled":true}]}"#;
        std::fs::write(&path, text).unwrap();
        let users = User::from_ready_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let names: Vec<_> = users.iter().map(|user| (user.userid.as_str(), user.totp.is_some())).collect();
        assert_eq!(names, [("desk", true), ("plain", false)]);
        let error = User::from_ready_file(&path).unwrap_err().to_string();
        assert!(error.starts_with("--users-file "), "{error}");
    }
}
