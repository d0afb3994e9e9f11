//! Who is logged in on this node, and how it ends when an administrator says so.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use doorward_core::audit::Door;
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::token::TokenHash;
use doorward_core::time::Wall;
use tokio::sync::Notify;

/// A connection, as the gate sees it: somebody may log in on it, and it can be ended from outside.
#[derive(Debug, Default)]
pub struct Connection {
    ended: AtomicBool,
    wake: Notify,
    gone: AtomicBool,
    person: Mutex<Option<PersonId>>,
}

impl Connection {
    /// Waits until the connection is to be ended.
    pub async fn ended(&self) {
        loop {
            let wake = self.wake.notified();
            if self.is_ended() {
                return;
            }
            wake.await;
        }
    }

    /// Whether the connection is to be ended.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the peer has gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }
}

/// All connections on which somebody is logged in.
#[derive(Debug, Default)]
pub struct Live {
    people: Mutex<HashMap<PersonId, Vec<Login>>>,
    closed: Mutex<BTreeSet<FirmCode>>,
    next: AtomicU64,
}

/// Where and since when somebody is logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The door.
    pub door: Door,
    /// From which address.
    pub source: IpAddr,
    /// Since when.
    pub since: Wall,
    /// The token that opened it, and its end.
    pub token: Option<(TokenHash, Wall)>,
}

/// Names a connection to whoever is logged in on it; it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnectionNo(pub u64);

#[derive(Debug)]
struct Login {
    number: ConnectionNo,
    connection: Weak<Connection>,
    firm: Option<FirmCode>,
    logged_in: bool,
    seat: Seat,
}

impl Login {
    fn is_open(&self) -> bool {
        self.logged_in && self.connection.upgrade().is_some_and(|connection| !connection.is_ended())
    }

    fn is_on(&self, connection: &Arc<Connection>) -> bool {
        std::ptr::eq(self.connection.as_ptr(), Arc::as_ptr(connection))
    }
}

impl Live {
    /// Somebody logged in on a connection, or has only the code left to give. Called before the answer is sent, under
    /// the person's lock, so that a later disabling finds it.
    pub fn enter(
        &self,
        person: PersonId,
        firm: Option<FirmCode>,
        connection: &Arc<Connection>,
        logged_in: bool,
        seat: Seat,
    ) {
        // A login that was decided while its firm was being closed ends as it begins.
        if firm.as_ref().is_some_and(|code| self.closed().contains(code)) {
            connection.end();
        }
        *connection.person.lock().unwrap_or_else(PoisonError::into_inner) = Some(person);
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let logins = people.entry(person).or_default();
        logins.retain(|login| login.connection.strong_count() > 0);
        match logins.iter_mut().find(|login| login.is_on(connection)) {
            Some(login) => (login.logged_in, login.seat.token) = (logged_in, seat.token),
            None => {
                let number = ConnectionNo(self.next.fetch_add(1, Ordering::Relaxed) + 1);
                let connection = Arc::downgrade(connection);
                logins.push(Login { number, connection, firm, logged_in, seat });
            }
        }
    }

    /// A connection has gone.
    pub fn leave(&self, connection: &Arc<Connection>) {
        connection.gone.store(true, Ordering::Release);
        let person = connection.person.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(person) = person else { return };
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(logins) = people.get_mut(&person) {
            logins.retain(|login| !login.is_on(connection));
            if logins.is_empty() {
                people.remove(&person);
            }
        }
    }

    /// Ends every connection of a person.
    pub fn end_person(&self, person: PersonId) {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        for login in people.get(&person).into_iter().flatten() {
            if let Some(connection) = login.connection.upgrade() {
                connection.end();
            }
        }
    }

    /// Ends every connection that was opened with a token which is over by now.
    pub fn end_over(&self, now: Wall) {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        for login in people.values().flatten() {
            if login.seat.token.is_some_and(|(_, end)| now >= end)
                && let Some(connection) = login.connection.upgrade()
            {
                connection.end();
            }
        }
    }

    /// Whether somebody has a connection that was opened with a token.
    pub fn has_token(&self, person: PersonId) -> bool {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.get(&person).into_iter().flatten().any(|login| login.seat.token.is_some())
    }

    /// Everybody with a connection, logged in or on the way, and their firms.
    pub fn everybody(&self) -> Vec<(PersonId, Option<FirmCode>)> {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let firm = |logins: &Vec<Login>| logins.first().and_then(|login| login.firm.clone());
        people.iter().map(|(person, logins)| (*person, firm(logins))).collect()
    }

    /// Where somebody is logged in, oldest first.
    pub fn seats(&self, person: PersonId) -> Vec<(ConnectionNo, Seat)> {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let logins = people.get(&person).into_iter().flatten();
        logins.filter(|login| login.is_open()).map(|login| (login.number, login.seat)).collect()
    }

    /// Ends those connections of a person that are meant; how many there were.
    pub fn end_some(&self, person: PersonId, is_meant: impl Fn(ConnectionNo, &Seat) -> bool) -> usize {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let logins = people.get(&person).into_iter().flatten();
        let meant = logins.filter(|login| login.is_open() && is_meant(login.number, &login.seat));
        meant.filter_map(|login| login.connection.upgrade()).map(|connection| connection.end()).count()
    }

    /// Ends every connection of a firm's people; who they were.
    pub fn end_firm(&self, firm: &FirmCode) -> BTreeSet<PersonId> {
        self.closed().insert(firm.clone());
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = BTreeSet::new();
        for (person, logins) in people.iter() {
            for login in logins.iter().filter(|login| login.firm.as_ref() == Some(firm)) {
                if let Some(connection) = login.connection.upgrade() {
                    connection.end();
                    ended.insert(*person);
                }
            }
        }
        ended
    }

    /// A firm was opened again.
    pub fn firm_opened(&self, firm: &FirmCode) {
        self.closed().remove(firm);
    }

    fn closed(&self) -> std::sync::MutexGuard<'_, BTreeSet<FirmCode>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections have somebody logged in.
    pub fn count(&self) -> usize {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people
            .values()
            .flatten()
            .filter(|login| login.logged_in && login.connection.strong_count() > 0)
            .count()
    }

    /// Forgets connections that went while they were being let in.
    pub fn tidy(&self) {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.retain(|_, logins| {
            logins.retain(|login| login.connection.strong_count() > 0);
            !logins.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s8_ending_a_person_ends_all_their_connections_and_no_others() {
        let live = Live::default();
        let [one, two, other] = [(); 3].map(|()| Arc::new(Connection::default()));
        let (julian, jane) = (PersonId::from_random(2), PersonId::from_random(4));
        let source = IpAddr::from([127, 0, 0, 1]);
        let seat = Seat { door: Door::WebSocket, source, since: Wall::from_s(1), token: None };
        live.enter(julian, None, &one, true, seat);
        live.enter(julian, None, &two, true, seat);
        live.enter(jane, None, &other, true, seat);
        assert_eq!(live.count(), 3);
        live.end_person(julian);
        assert!(one.is_ended() && two.is_ended());
        one.ended().await;
        two.ended().await;
        assert!(!other.ended.load(Ordering::Acquire));
        live.leave(&other);
        assert_eq!(live.count(), 2);
    }

    #[tokio::test]
    async fn s9_one_connection_of_several_is_ended_by_its_number() {
        let live = Live::default();
        let [one, two] = [(); 2].map(|()| Arc::new(Connection::default()));
        let julian = PersonId::from_random(2);
        let source = IpAddr::from([127, 0, 0, 1]);
        let seat = Seat { door: Door::WebSocket, source, since: Wall::from_s(1), token: None };
        live.enter(julian, None, &one, true, seat);
        live.enter(julian, None, &two, true, seat);
        let seats = live.seats(julian);
        assert_eq!(seats.iter().map(|(_, seat)| *seat).collect::<Vec<_>>(), [seat, seat]);
        assert_eq!(live.end_some(julian, |number, _| number == seats[1].0), 1);
        assert!(two.is_ended());
        two.ended().await;
        assert!(!one.is_ended());
        assert_eq!(live.seats(julian), seats[..1]);
        assert_eq!(live.end_some(PersonId::from_random(4), |_, _| true), 0);
    }
}
