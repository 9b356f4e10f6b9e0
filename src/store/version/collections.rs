//! The collections of a version, by name and by number.
//!
//! A version shares with the one before everything that did not change, so a commit costs the same whether a database
//! has ten collections or a hundred thousand.

use super::CollectionVersion;
use rpds::RedBlackTreeMapSync as Map;
use std::ops::Index;
use std::sync::Arc;

/// Collections by name, in order of the names. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Collections {
    by_name: Map<String, Arc<CollectionVersion>>,
    names: Map<u64, String>,
    /// Most bytes that they take in a manifest.
    room: u64,
}

impl Collections {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.by_name.size()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns the collection of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<CollectionVersion>> {
        self.by_name.get(name)
    }

    /// Returns whether there is one of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns all names.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    /// Returns all collections.
    pub fn values(&self) -> impl Iterator<Item = &Arc<CollectionVersion>> {
        self.by_name.values()
    }

    /// Returns all collections with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<CollectionVersion>)> {
        self.by_name.iter()
    }

    /// Returns the collection of that number.
    pub(crate) fn of_number(&self, id: u64) -> Option<&Arc<CollectionVersion>> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// Returns the most bytes that they take in a manifest.
    pub(crate) fn room(&self) -> u64 {
        self.room
    }

    /// Adds a collection, replacing the one with its name.
    pub(crate) fn put(&mut self, collection: CollectionVersion) {
        let before = self.by_name.get(&collection.name).map(|before| before.id);
        if before != Some(collection.id) {
            self.remove(&collection.name);
            self.names.insert_mut(collection.id, collection.name.clone());
        } else if let Some(before) = self.by_name.get(&collection.name) {
            self.room -= before.room();
        }
        self.room += collection.room();
        self.by_name.insert_mut(collection.name.clone(), Arc::new(collection));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(collection) = self.by_name.get(name) {
            self.room -= collection.room();
            self.names.remove_mut(&collection.id);
            self.by_name.remove_mut(name);
        }
    }
}

impl Index<&str> for Collections {
    type Output = Arc<CollectionVersion>;

    /// Panics when there is none of that name, as a map does.
    fn index(&self, name: &str) -> &Arc<CollectionVersion> {
        &self.by_name[name]
    }
}

impl<'a> IntoIterator for &'a Collections {
    type Item = (&'a String, &'a Arc<CollectionVersion>);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::record::Schema;

    #[test]
    fn they_are_found_by_name_and_number_and_take_the_room_of_those_there_are() {
        let make = |id, name: &str| CollectionVersion::empty(id, name.to_owned(), Schema::new(2));
        let mut all = Collections::default();
        all.put(make(1, "b"));
        all.put(make(2, "a"));
        let before = all.clone();
        all.put(make(3, "b"));
        all.remove("a");
        all.remove("absent");
        assert!(before.len() == 2 && before.keys().eq(["a", "b"]));
        assert_eq!((before.of_number(1).unwrap().id, before["b"].id), (1, 1));
        assert_eq!((all.len(), all["b"].id), (1, 3));
        assert!(all.of_number(1).is_none() && all.of_number(2).is_none() && all.of_number(3).is_some());
        assert_eq!(before.room(), 2 * all.room());
        all.put(make(3, "b"));
        all.remove("b");
        assert!(all.room() == 0 && all.is_empty());
    }
}
