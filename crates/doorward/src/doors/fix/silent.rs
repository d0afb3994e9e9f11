//! Who makes room: connections of one listener on which nobody has logged on, by age (S10).

use std::collections::BTreeMap;

use super::slab::Token;
use crate::doors::admission::Limits;

/// Where a connection stands among those of its listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rank {
    /// It never sent a byte.
    Mute(u64),
    /// It sent something.
    Speaking(u64),
    /// Somebody is logged on: it makes room for nobody.
    LoggedOn,
}

/// Connections of one listener.
#[derive(Debug)]
pub(super) struct Silent {
    limits: Limits,
    next: u64,
    open: usize,
    mute: BTreeMap<u64, Token>,
    speaking: BTreeMap<u64, Token>,
}

/// What becomes of a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// There is room.
    Free,
    /// This one must go first.
    InPlaceOf(Token),
    /// Everybody is logged on.
    None,
}

impl Silent {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, next: 0, open: 0, mute: BTreeMap::new(), speaking: BTreeMap::new() }
    }

    /// Whether a new connection fits.
    pub(super) fn room(&self) -> Room {
        if self.open < self.limits.open_max && self.count() < self.limits.silent_max {
            return Room::Free;
        }
        self.oldest().map_or(Room::None, Room::InPlaceOf)
    }

    /// The oldest that has not logged on; one that never spoke goes first.
    pub(super) fn oldest(&self) -> Option<Token> {
        self.mute.first_key_value().or_else(|| self.speaking.first_key_value()).map(|(_, token)| *token)
    }

    /// A new connection.
    pub(super) fn enter(&mut self, token: Token) -> Rank {
        self.next += 1;
        self.open += 1;
        self.mute.insert(self.next, token);
        Rank::Mute(self.next)
    }

    /// It sent something.
    pub(super) fn spoke(&mut self, rank: &mut Rank) {
        if let Rank::Mute(age) = *rank
            && let Some(token) = self.mute.remove(&age)
        {
            self.speaking.insert(age, token);
            *rank = Rank::Speaking(age);
        }
    }

    /// Somebody logged on.
    pub(super) fn logged_on(&mut self, rank: &mut Rank) {
        self.forget(*rank);
        *rank = Rank::LoggedOn;
    }

    /// It has gone.
    pub(super) fn leave(&mut self, rank: Rank) {
        self.forget(rank);
        self.open = self.open.saturating_sub(1);
    }

    fn forget(&mut self, rank: Rank) {
        match rank {
            Rank::Mute(age) => self.mute.remove(&age),
            Rank::Speaking(age) => self.speaking.remove(&age),
            Rank::LoggedOn => None,
        };
    }

    /// Those on which nobody has logged on.
    pub(super) fn count(&self) -> usize {
        self.mute.len() + self.speaking.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::slab::Slab;
    use super::*;

    fn listener(open_max: usize, silent_max: usize) -> (Silent, Slab<Rank>) {
        (Silent::new(Limits { open_max, silent_max }), Slab::default())
    }

    fn enter(silent: &mut Silent, slab: &mut Slab<Rank>) -> Token {
        let token = slab.vacant();
        let rank = silent.enter(token);
        slab.insert(token, rank);
        token
    }

    #[test]
    fn s10_past_the_limit_the_oldest_silent_one_makes_room_and_who_never_spoke_goes_first() {
        let (mut silent, mut slab) = listener(10, 3);
        let speaking = enter(&mut silent, &mut slab);
        silent.spoke(slab.get_mut(speaking).unwrap());
        let mute = enter(&mut silent, &mut slab);
        let younger = enter(&mut silent, &mut slab);
        assert_eq!(silent.room(), Room::InPlaceOf(mute));
        silent.leave(*slab.remove(mute).unwrap());
        assert_eq!(silent.room(), Room::Free);
        silent.leave(*slab.remove(younger).unwrap());
        assert_eq!(silent.oldest(), Some(speaking));
        assert_eq!((silent.open, silent.count()), (1, 1));
    }

    #[test]
    fn s10_who_has_logged_on_stays_and_a_full_listener_turns_away() {
        let (mut silent, mut slab) = listener(2, 2);
        for _ in 0..2 {
            let token = enter(&mut silent, &mut slab);
            silent.logged_on(slab.get_mut(token).unwrap());
        }
        assert_eq!((silent.room(), silent.count()), (Room::None, 0));
        for token in slab.tokens() {
            silent.leave(*slab.remove(token).unwrap());
        }
        assert_eq!((silent.open, silent.room()), (0, Room::Free));
    }
}
