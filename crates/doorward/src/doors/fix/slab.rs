//! Connections by number. A number that is used again is told from its former owner by its generation.

/// Names a connection for ever; also the poller's token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// What is registered with the poller.
    pub(super) const fn to_poller(self) -> mio::Token {
        mio::Token((self.generation as usize) << 32 | self.index as usize)
    }

    /// What the poller gives back.
    pub(super) const fn from_poller(mio::Token(number): mio::Token) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// What is kept, each with its place.
#[derive(Debug)]
pub(super) struct Slab<T> {
    /// In boxes, so that growing moves no connection and a free place takes a pointer.
    places: Vec<(u32, Option<Box<T>>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

/// Generations below this one name what is no connection: listeners and the mailbox.
pub(super) const GENERATION_MIN: u32 = 1;

impl<T> Slab<T> {
    /// The name of the next one to be inserted.
    pub(super) fn vacant(&mut self) -> Token {
        if self.free.is_empty() {
            self.free.push(self.places.len() as u32); // holds: descriptors are fewer than 2^32
            self.places.push((GENERATION_MIN, None));
        }
        let index = self.free[self.free.len() - 1];
        Token { index, generation: self.places[index as usize].0 }
    }

    /// Keeps a value under the name that [`Self::vacant`] gave.
    pub(super) fn insert(&mut self, token: Token, value: T) {
        if self.free.last() == Some(&token.index) {
            self.free.pop();
            self.places[token.index as usize].1 = Some(Box::new(value));
        }
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (generation, value) = self.places.get_mut(token.index as usize)?;
        if *generation == token.generation { value.as_deref_mut() } else { None }
    }

    pub(super) fn get(&self, token: Token) -> Option<&T> {
        let (generation, value) = self.places.get(token.index as usize)?;
        if *generation == token.generation { value.as_deref() } else { None }
    }

    /// Takes a value out for good.
    pub(super) fn remove(&mut self, token: Token) -> Option<Box<T>> {
        let (generation, value) = self.places.get_mut(token.index as usize)?;
        if *generation != token.generation {
            return None;
        }
        let value = value.take()?;
        *generation = generation.checked_add(1).unwrap_or(GENERATION_MIN);
        self.free.push(token.index);
        Some(value)
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Names of all values.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let all = (0..).zip(&self.places).filter(|(_, (_, value))| value.is_some());
        all.map(|(index, (generation, _))| Token { index, generation: *generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_used_again_has_another_name() {
        let mut slab = Slab::default();
        let one = slab.vacant();
        slab.insert(one, "one");
        let two = slab.vacant();
        slab.insert(two, "two");
        assert_eq!(slab.get_mut(two), Some(&mut "two"));
        assert_eq!((slab.get(one), slab.len()), (Some(&"one"), 2));
        assert_eq!(slab.remove(one).as_deref(), Some(&"one"));
        let again = slab.vacant();
        assert_eq!(again.index, one.index);
        slab.insert(again, "again");
        assert!(slab.get(one).is_none() && slab.remove(one).is_none(), "the former name is nobody's");
        assert_eq!(slab.tokens(), [again, two]);
        assert_eq!(Token::from_poller(again.to_poller()), again);
        assert!(again.to_poller().0 >= 1 << 32, "below are listeners");
    }
}
