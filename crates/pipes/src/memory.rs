//! How much memory the parts of one query take together, while each of them gathers by itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What all parts of a query have taken, in bytes. Clones are the same; two are never unequal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<AtomicUsize>);

impl PartialEq for Memory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What one part has taken of it. It is given back when the part ends.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    of: Memory,
    bytes: usize,
}

impl Memory {
    pub(crate) fn none_taken(&self) -> Taken {
        Taken { of: self.clone(), bytes: 0 }
    }
}

impl Taken {
    /// So much from now on; says how much all parts take together.
    pub(crate) fn set(&mut self, bytes: usize) -> usize {
        let all = &self.of.0;
        let before = if bytes >= self.bytes {
            all.fetch_add(bytes - self.bytes, Ordering::Relaxed)
        } else {
            all.fetch_sub(self.bytes - bytes, Ordering::Relaxed)
        };
        let after = before.wrapping_add(bytes).wrapping_sub(self.bytes);
        self.bytes = bytes;
        after
    }
}

impl Clone for Taken {
    fn clone(&self) -> Self {
        let mut clone = self.of.none_taken();
        clone.set(self.bytes);
        clone
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_take_together_and_give_back() {
        let memory = Memory::default();
        let (mut one, mut other) = (memory.none_taken(), memory.clone().none_taken());
        assert_eq!(one.set(10), 10);
        assert_eq!(other.set(5), 15);
        assert_eq!(one.set(7), 12);
        let third = other.clone();
        assert_eq!(one.set(7), 17);
        drop((third, other));
        assert_eq!(one.set(0), 0);
    }
}
