//! A table whose keys outlive their entries safely: a key of a removed entry finds nothing, also
//! after the place was taken again.

use std::{fmt, marker::PhantomData};

/// Names one entry of a [`Table`] for ever.
pub struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The place in the table; reused after removal.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}

impl<T> Eq for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

/// Entries by [`Key`].
pub struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Adds an entry that may want to know its own key.
    pub fn insert(&mut self, entry: T) -> Key<T> {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.entry = Some(entry);
            return Key { index, generation: place.generation, of: PhantomData };
        }
        let index = self.places.len() as u32;
        self.places.push(Place { generation: 0, entry: Some(entry) });
        Key { index, generation: 0, of: PhantomData }
    }

    /// Takes an entry out; its key is dead from now on.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation != key.generation {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(entry)
    }

    /// The entry, if it still exists.
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        let place = self.places.get(key.index())?;
        if place.generation == key.generation { place.entry.as_ref() } else { None }
    }

    /// The entry, if it still exists.
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation == key.generation { place.entry.as_mut() } else { None }
    }

    /// The key of the entry at a place, for owners that only keep the index.
    pub fn key_at(&self, index: usize) -> Option<Key<T>> {
        let place = self.places.get(index)?;
        place.entry.as_ref()?;
        Some(Key { index: index as u32, generation: place.generation, of: PhantomData })
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_removed_entries_find_nothing() {
        let mut table = Table::default();
        let a = table.insert('a');
        assert_eq!(table.remove(a), Some('a'));
        let b = table.insert('b');
        assert_eq!(b.index(), a.index());
        assert_eq!(table.remove(a), None);
        assert_eq!((table.get(a), table.get(b)), (None, Some(&'b')));
        assert_eq!((table.len(), table.key_at(b.index())), (1, Some(b)));
    }
}
