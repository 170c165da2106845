//! Sets and maps as columns hold them: sorted, shared slices.
//!
//! A row is cloned whenever one of its columns changes, so what did not change must be shared, not copied.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Value of a set column: its elements in ascending order, each once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set<T>(Arc<[T]>);

impl<T: Ord> Set<T> {
    /// Whether `element` is in the set.
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0
            .binary_search_by(|probe| probe.borrow().cmp(element))
            .is_ok()
    }

    /// The elements that are in exactly one of the two sets: how `update2` and `update3` transmit a modified set.
    #[must_use]
    pub fn symmetric_difference(&self, other: &Self) -> Self
    where
        T: Clone,
    {
        // Mostly a large set changes in one place.
        if other.len() < self.len() / 16 {
            return self.toggled(other);
        }
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut out = Vec::with_capacity(self.len().abs_diff(other.len()));
        loop {
            match (a.peek(), b.peek()) {
                (Some(x), Some(y)) => match x.cmp(y) {
                    std::cmp::Ordering::Less => out.extend(a.next().cloned()),
                    std::cmp::Ordering::Greater => out.extend(b.next().cloned()),
                    std::cmp::Ordering::Equal => {
                        a.next();
                        b.next();
                    }
                },
                (Some(_), None) => out.extend(a.next().cloned()),
                (None, Some(_)) => out.extend(b.next().cloned()),
                (None, None) => return Set(out.into()),
            }
        }
    }
}

impl<T: Ord + Clone> Set<T> {
    /// The set without those of the few that are in it, and with those that are not: what is between them is copied as it is.
    fn toggled(&self, few: &Self) -> Self {
        let (mut rest, mut out) = (&self.0[..], Vec::with_capacity(self.len() + few.len()));
        for element in few {
            let (found, at) = match rest.binary_search(element) {
                Ok(at) => (1, at),
                Err(at) => (0, at),
            };
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + found..];
            if found == 0 {
                out.push(element.clone());
            }
        }
        out.extend_from_slice(rest);
        Set(out.into())
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Set(Arc::default())
    }
}

impl<T> Deref for Set<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Ord> From<Vec<T>> for Set<T> {
    fn from(mut elements: Vec<T>) -> Self {
        if !elements.is_sorted() {
            elements.sort_unstable();
        }
        elements.dedup();
        if elements.is_empty() {
            Set::default()
        } else {
            Set(elements.into())
        }
    }
}

impl<T: Ord> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().collect::<Vec<_>>().into()
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Set<T> {
    fn from(elements: [T; N]) -> Self {
        Vec::from(elements).into()
    }
}

impl<'a, T> IntoIterator for &'a Set<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter()).finish()
    }
}

/// Value of a map column: its pairs in ascending order of key, each key once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Map<K, V>(Arc<[(K, V)]>);

impl<K: Ord, V> Map<K, V> {
    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self
            .0
            .binary_search_by(|(probe, _)| probe.borrow().cmp(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// Whether `key` has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// A copy in which `key` has `value`.
    #[must_use]
    pub fn with(&self, key: impl Into<K>, value: impl Into<V>) -> Self
    where
        K: Clone,
        V: Clone,
    {
        let mut pairs = self.0.to_vec();
        let (key, value) = (key.into(), value.into());
        match pairs.binary_search_by(|(probe, _)| probe.cmp(&key)) {
            Ok(at) => pairs[at].1 = value,
            Err(at) => pairs.insert(at, (key, value)),
        }
        Map(pairs.into())
    }

    /// A copy in which `key` has no value.
    #[must_use]
    pub fn without<Q: Ord + ?Sized>(&self, key: &Q) -> Self
    where
        K: Borrow<Q> + Clone,
        V: Clone,
    {
        self.0
            .iter()
            .filter(|(k, _)| k.borrow() != key)
            .cloned()
            .collect()
    }

    /// Applies a difference as `update2` and `update3` transmit it: a pair that is here with the same value leaves, one
    /// whose key is here with another value replaces it, any other comes in.
    #[must_use]
    pub fn merged(&self, delta: &Self) -> Self
    where
        K: Clone,
        V: Clone + PartialEq,
    {
        let mut pairs = Vec::with_capacity(self.len() + delta.len());
        for (k, v) in self {
            match delta.get(k) {
                None => pairs.push((k.clone(), v.clone())),
                Some(new) if new != v => pairs.push((k.clone(), new.clone())),
                Some(_) => {}
            }
        }
        pairs.extend(delta.iter().filter(|(k, _)| !self.contains_key(k)).cloned());
        pairs.into()
    }
}

impl<V> Map<crate::model::Str, V> {
    /// The value of `key` when it is present and, as text, not empty.
    pub fn nonempty(&self, key: &str) -> Option<&V>
    where
        V: AsRef<str>,
    {
        self.get(key).filter(|v| !v.as_ref().is_empty())
    }

    /// Whether `key` has the value "true", in any case, as OVN's switches in maps are read; `default` when it is absent.
    pub fn flag(&self, key: &str, default: bool) -> bool
    where
        V: AsRef<str>,
    {
        match self.get(key) {
            None => default,
            Some(v) if default => !v.as_ref().eq_ignore_ascii_case("false"),
            Some(v) => v.as_ref().eq_ignore_ascii_case("true"),
        }
    }
}

impl<K, V> Map<K, V> {
    /// The keys in ascending order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.0.iter().map(|(k, _)| k)
    }

    /// The values in ascending order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.0.iter().map(|(_, v)| v)
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map(Arc::default())
    }
}

impl<K, V> Deref for Map<K, V> {
    type Target = [(K, V)];
    fn deref(&self) -> &[(K, V)] {
        &self.0
    }
}

impl<K: Ord, V> From<Vec<(K, V)>> for Map<K, V> {
    /// Of several pairs with one key the last one stays.
    fn from(mut pairs: Vec<(K, V)>) -> Self {
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs.reverse();
            pairs.dedup_by(|a, b| a.0 == b.0);
            pairs.reverse();
        }
        if pairs.is_empty() {
            Map::default()
        } else {
            Map(pairs.into())
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        pairs.into_iter().collect::<Vec<_>>().into()
    }
}

impl<V, const N: usize> From<[(&str, V); N]> for Map<crate::model::Str, V> {
    fn from(pairs: [(&str, V); N]) -> Self {
        pairs.into_iter().map(|(k, v)| (k.into(), v)).collect()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Map<crate::model::Str, crate::model::Str> {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }
}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(k, v)| (k, v))
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_changes_of_a_large_set() {
        let large: Set<u32> = (0..100).map(|n| n * 2).collect();
        for few in [
            vec![],
            vec![0],
            vec![198],
            vec![3],
            vec![500],
            vec![0, 1, 7, 50, 198, 199],
        ] {
            let few: Set<u32> = few.into();
            let slowly = large.iter().filter(|n| !few.contains(*n)).copied();
            let slowly = slowly.chain(few.iter().filter(|n| !large.contains(*n)).copied());
            assert_eq!(large.symmetric_difference(&few), slowly.collect());
            assert_eq!(
                few.symmetric_difference(&large),
                large.symmetric_difference(&few)
            );
        }
    }
}
