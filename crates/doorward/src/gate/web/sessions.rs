//! Browser sessions, in memory: a restart signs everybody out.
//!
//! A session is made once a password was right, never before: strangers take no memory. It is found by the SHA-256 of
//! its token, so that who reads the memory of the table cannot use what is there (S6). Each holds a
//! [`Connection`] that the gate's table of live ones knows: what an administrator does to the person ends it (S8).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::audit::{AttemptId, Deny};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::enrolment::EnrolmentId;
use doorward_core::identity::link::LinkHash;
use doorward_core::identity::person::{Kind, Person, Phc};
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::{Mono, Now, Wall};

use crate::fault::Fault;
use crate::gate::Connection;

/// Most sessions of one person; one more ends the oldest.
const PER_PERSON_MAX: usize = Limit::BrowserSessionsPerPerson.max() as usize;
/// Most sessions of all people; one more ends the one that was not used for longest.
const ALL_MAX: usize = Limit::BrowserSessions.max() as usize;
/// How long the steps between the password and being signed in may take in all (K5).
const UNDERWAY_MAX: Duration = Duration::from_secs(15 * 60);
/// Bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What a browser shows in its cookie: 256 random bits, base64url without padding (S6).
#[derive(Clone, Debug)]
pub struct Token(Secret<String>);

impl Token {
    /// A new one.
    pub fn random() -> Result<Self, Fault> {
        let mut bytes = zeroize::Zeroizing::new([0; TOKEN_BYTES]);
        rand::fill(&mut *bytes).map_err(|_| Fault::Vault("no random bytes for a session".to_owned()))?;
        Ok(Self(Secret::new(BASE64URL_NOPAD.encode(&*bytes))))
    }

    /// Reads one; `None` where it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok().map(Secret::new)?;
        (bytes.expose().len() == TOKEN_BYTES).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The text for the cookie.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    fn hash(&self) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.expose().as_bytes()).as_ref());
        hash
    }
}

type Hash = [u8; 32];

/// What CSRF tokens and nonces of a visitor are made from. A new token for the same session keeps it, so that forms in
/// other tabs stay good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding(pub [u8; 32]);

/// Names a session to its owner; it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionNo(pub u64);

/// How far somebody has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The password was right; a one-time password is awaited.
    CodeDue,
    /// The password was right; an authenticator must be registered.
    Registering {
        /// The password is an initial one: it is changed on the way.
        must_change: bool,
        /// The setup link that they came with.
        link: Option<LinkHash>,
        /// What was begun in this session, and can be confirmed in it alone (K9).
        enrolment: Option<EnrolmentId>,
    },
    /// Everything was right, but the password is an initial one and must be changed.
    Changing {
        /// When a one-time password was proved on the way here.
        factor_at: Option<Mono>,
    },
    /// Signed in.
    SignedIn {
        /// When a one-time password was last proved in this session (T14).
        factor_at: Option<Mono>,
    },
}

/// How long a session may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub whole: Duration,
}

impl Life {
    /// By kind (S7); `idle_max` of the policy only shortens.
    pub fn of(kind: Kind, idle_max: Option<Duration>) -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let life = match kind {
            Kind::Desk | Kind::Administrator => Self { idle: minutes(15), whole: minutes(8 * 60) },
            Kind::Trader | Kind::Service => Self { idle: minutes(30), whole: minutes(12 * 60) },
        };
        Self { idle: idle_max.map_or(life.idle, |max| life.idle.min(max)), ..life }
    }
}

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Whose.
    pub person: PersonId,
    /// Their user id.
    pub userid: UserId,
    /// Their kind.
    pub kind: Kind,
    /// How far they have come.
    pub stage: Stage,
    /// How long it may last once they are signed in.
    pub life: Life,
    /// The address they came from.
    pub source: IpAddr,
    /// What the browser calls itself.
    pub agent: String,
    /// The attempt that began it.
    pub attempt: AttemptId,
    /// What the gate ends.
    pub connection: Arc<Connection>,
}

/// One browser session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name for its owner.
    pub number: SessionNo,
    /// Whose.
    pub person: PersonId,
    /// Their user id.
    pub userid: UserId,
    /// Their kind.
    pub kind: Kind,
    /// How far they have come.
    pub stage: Stage,
    /// When it began; when they signed in, once they have.
    pub began_at: Wall,
    /// When it was last used.
    pub used_at: Wall,
    /// The address it began from.
    pub source: IpAddr,
    /// What the browser called itself when it began.
    pub agent: String,
    /// The attempt that began it.
    pub attempt: AttemptId,
    /// What CSRF tokens are made from.
    pub binding: Binding,
    pub(super) connection: Arc<Connection>,
    /// The password that was given right, as a fingerprint of its hash.
    password: Option<Hash>,
    life: Life,
    began: Mono,
    used: Mono,
}

impl Session {
    /// Whether everything was proved.
    pub const fn is_signed_in(&self) -> bool {
        match self.stage {
            Stage::SignedIn { .. } => true,
            Stage::CodeDue | Stage::Registering { .. } | Stage::Changing { .. } => false,
        }
    }

    /// Whether its owner has a console.
    pub const fn is_console(&self) -> bool {
        match self.kind {
            Kind::Desk | Kind::Administrator => true,
            Kind::Trader | Kind::Service => false,
        }
    }

    /// Whether the password that brought them here is no longer theirs, before they were signed in: whatever was left to
    /// do with it, such as choosing an own one, is over (P11).
    pub fn is_overtaken(&self, person: &Person) -> bool {
        let now = fingerprint(person.password.phc());
        !self.is_signed_in() && self.password.is_some_and(|given| given != now)
    }

    /// When a one-time password was last proved in it.
    pub const fn factor_at(&self) -> Option<Mono> {
        match self.stage {
            Stage::Changing { factor_at } | Stage::SignedIn { factor_at } => factor_at,
            Stage::CodeDue | Stage::Registering { .. } => None,
        }
    }

    /// Why it is over, if it is.
    pub fn end_at(&self, now: Mono) -> Option<Deny> {
        let life =
            if self.is_signed_in() { self.life } else { Life { idle: UNDERWAY_MAX, whole: UNDERWAY_MAX } };
        if self.connection.is_ended() {
            Some(Deny::SessionEnded)
        } else if now.since(self.began) >= life.whole {
            Some(Deny::SessionOver)
        } else if now.since(self.used) >= life.idle {
            Some(Deny::SessionIdle)
        } else {
            None
        }
    }
}

/// What looking a session up came to.
#[derive(Debug)]
pub enum Found {
    /// It is there.
    Here(Box<Session>),
    /// It is over, as of now; the caller writes it down.
    Over(Box<Session>, Deny),
    /// There is none.
    Nothing,
}

/// All browser sessions of the node.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    by_token: HashMap<Hash, Session>,
    /// Of each person, oldest first.
    by_person: HashMap<PersonId, Vec<Hash>>,
}

impl Table {
    fn remove(&mut self, hash: &Hash) -> Option<Session> {
        let session = self.by_token.remove(hash)?;
        if let Some(hashes) = self.by_person.get_mut(&session.person) {
            hashes.retain(|other| other != hash);
            if hashes.is_empty() {
                self.by_person.remove(&session.person);
            }
        }
        Some(session)
    }

    /// Ends what there is no room for beside one more session of this person.
    fn make_room(&mut self, person: PersonId) -> Vec<Session> {
        let mut ended = Vec::new();
        let own = self.by_person.get(&person).map(Vec::as_slice).unwrap_or_default();
        if own.len() >= PER_PERSON_MAX
            && let Some(oldest) = own.first().copied()
        {
            ended.extend(self.remove(&oldest));
        }
        if self.by_token.len() >= ALL_MAX {
            // A walk over all of them; only a full table pays for it.
            let stalest = self.by_token.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            ended.extend(stalest.and_then(|hash| self.remove(&hash)));
        }
        ended
    }
}

impl Sessions {
    /// Begins a session; with its token come those that made room for it.
    pub fn begin(&self, beginning: Beginning, now: Now) -> Result<(Token, Vec<Session>), Fault> {
        let token = Token::random()?;
        let hash = token.hash();
        let mut table = self.table();
        let ended = table.make_room(beginning.person);
        table.next += 1;
        let Beginning { person, userid, kind, stage, life, source, agent, attempt, connection } = beginning;
        let session = Session {
            number: SessionNo(table.next),
            person,
            userid,
            kind,
            stage,
            began_at: now.wall,
            used_at: now.wall,
            source,
            agent,
            attempt,
            binding: binding_of(&hash),
            connection,
            password: None,
            life,
            began: now.mono,
            used: now.mono,
        };
        table.by_token.insert(hash, session);
        table.by_person.entry(person).or_default().push(hash);
        Ok((token, ended))
    }

    /// The session of a token. `touch` says whether this counts as use: what a page does by itself does not (S7).
    pub fn find(&self, token: &Token, now: Now, touch: bool) -> Found {
        let hash = token.hash();
        let mut table = self.table();
        let Some(session) = table.by_token.get_mut(&hash) else { return Found::Nothing };
        match session.end_at(now.mono) {
            None => {
                if touch {
                    (session.used, session.used_at) = (now.mono, now.wall);
                }
                Found::Here(Box::new(session.clone()))
            }
            Some(reason) => match table.remove(&hash) {
                Some(session) => Found::Over(Box::new(session), reason),
                None => Found::Nothing,
            },
        }
    }

    /// Holds a session to the idle time of its owner's policy as it is now, and notes its use; false where it is over
    /// by that, or gone.
    pub fn hold(&self, token: &Token, idle_max: Duration, now: Now, touch: bool) -> bool {
        let mut table = self.table();
        let Some(session) = table.by_token.get_mut(&token.hash()) else { return false };
        session.life = Life::of(session.kind, Some(idle_max));
        if session.end_at(now.mono).is_some() {
            return false;
        }
        if touch {
            (session.used, session.used_at) = (now.mono, now.wall);
        }
        true
    }

    /// Moves a session to another stage under a new token (S6); `None` where it has gone meanwhile. Being signed in
    /// counts from here.
    pub fn advance(&self, token: &Token, stage: Stage, now: Now) -> Result<Option<Token>, Fault> {
        let (old, fresh) = (token.hash(), Token::random()?);
        let mut table = self.table();
        let Some(mut session) = table.by_token.remove(&old) else { return Ok(None) };
        let was_in = session.is_signed_in();
        session.stage = stage;
        (session.used, session.used_at) = (now.mono, now.wall);
        if session.is_signed_in() && !was_in {
            (session.began, session.began_at) = (now.mono, now.wall);
        }
        let hash = fresh.hash();
        for own in table.by_person.get_mut(&session.person).into_iter().flatten() {
            if *own == old {
                *own = hash;
            }
        }
        table.by_token.insert(hash, session);
        Ok(Some(fresh))
    }

    /// Notes which password the session stands on.
    pub fn stands_on(&self, token: &Token, password: &Phc) {
        if let Some(session) = self.table().by_token.get_mut(&token.hash()) {
            session.password = Some(fingerprint(password));
        }
    }

    /// Notes what became of a step, under the same token; false where the session has gone meanwhile.
    pub fn set_stage(&self, token: &Token, stage: Stage) -> bool {
        let mut table = self.table();
        let session = table.by_token.get_mut(&token.hash());
        session.map(|session| session.stage = stage).is_some()
    }

    /// See [`Gate::binding`](crate::gate::Gate::binding).
    pub fn binding(&self, token: &Token) -> Binding {
        let hash = token.hash();
        self.table().by_token.get(&hash).map_or_else(|| binding_of(&hash), |session| session.binding)
    }

    /// Ends the session of a token.
    pub fn end(&self, token: &Token) -> Option<Session> {
        self.table().remove(&token.hash())
    }

    /// Ends a person's session of this number.
    pub fn end_number(&self, person: PersonId, number: SessionNo) -> Option<Session> {
        let mut table = self.table();
        let hash = table.hash_of(person, |session| session.number == number).first().copied()?;
        table.remove(&hash)
    }

    /// Ends all of a person's sessions but one.
    pub fn end_others(&self, person: PersonId, kept: SessionNo) -> Vec<Session> {
        let mut table = self.table();
        let others = table.hash_of(person, |session| session.number != kept);
        others.iter().filter_map(|hash| table.remove(hash)).collect()
    }

    /// A person's sessions, oldest first.
    pub fn of(&self, person: PersonId) -> Vec<Session> {
        let table = self.table();
        let own = table.by_person.get(&person).into_iter().flatten();
        own.filter_map(|hash| table.by_token.get(hash).cloned()).collect()
    }

    /// Ends what is over, and says why.
    pub fn sweep(&self, now: Mono) -> Vec<(Session, Deny)> {
        let mut table = self.table();
        let over = |(hash, session): (&Hash, &Session)| Some((*hash, session.end_at(now)?));
        let over: Vec<(Hash, Deny)> = table.by_token.iter().filter_map(over).collect();
        over.into_iter().filter_map(|(hash, reason)| Some((table.remove(&hash)?, reason))).collect()
    }

    /// How many there are with somebody signed in.
    pub fn signed_in(&self) -> usize {
        self.table().by_token.values().filter(|session| session.is_signed_in()).count()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn hash_of(&self, person: PersonId, wanted: impl Fn(&Session) -> bool) -> Vec<Hash> {
        let own = self.by_person.get(&person).into_iter().flatten();
        own.filter(|hash| self.by_token.get(*hash).is_some_and(&wanted)).copied().collect()
    }
}

fn fingerprint(password: &Phc) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, password.0.as_bytes()).as_ref());
    hash
}

/// The first binding of a token; not the hash that the table is keyed by.
fn binding_of(hash: &Hash) -> Binding {
    let mut binding = [0; 32];
    binding.copy_from_slice(digest(&SHA256, hash).as_ref());
    Binding(binding)
}
