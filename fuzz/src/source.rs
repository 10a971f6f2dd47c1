//! An input read as a list of choices, for the targets whose bytes are a program. At its end it gives zeros, so that
//! every input is a program, and a longer input is the same program with more behind it.

/// The rest of an input.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// Reads from the front of `data`.
    pub fn new(data: &'a [u8]) -> Source<'a> {
        Source(data)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next two bytes as a number.
    pub fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// One of `choices`, which are not none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }
}
