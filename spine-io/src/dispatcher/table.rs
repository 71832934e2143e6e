//! The handler table: from the number in a message to an extension's handler.

use spine_abi::HandlerNumber;
use spine_abi::limits::HANDLER_NUMBERS;

/// Where a message for a number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which extension.
    pub extension: u16,
    /// Which of its handlers.
    pub handler: u8,
}

/// All handlers of one adapter.
#[derive(Debug)]
pub struct HandlerTable(Box<[Option<Target>]>);

impl Default for HandlerTable {
    fn default() -> Self {
        Self(vec![None; HANDLER_NUMBERS].into_boxed_slice())
    }
}

impl HandlerTable {
    /// Who handles this number.
    #[inline]
    pub fn find(&self, number: HandlerNumber) -> Option<Target> {
        *self.0.get(usize::from(number.0))?
    }

    /// Installs an extension's handlers, all or none.
    ///
    /// # Errors
    /// The first number that is taken or out of range.
    pub fn install(
        &mut self,
        extension: u16,
        numbers: impl Iterator<Item = HandlerNumber> + Clone,
    ) -> Result<(), HandlerNumber> {
        let taken = |number: &HandlerNumber| {
            usize::from(number.0) >= HANDLER_NUMBERS || self.find(*number).is_some()
        };
        if let Some(number) = numbers.clone().find(taken) {
            return Err(number);
        }
        for (handler, number) in (0..).zip(numbers) {
            self.0[usize::from(number.0)] = Some(Target { extension, handler });
        }
        Ok(())
    }

    /// Removes an extension's handlers.
    pub fn remove(&mut self, extension: u16) {
        for entry in &mut self.0 {
            if entry.is_some_and(|target| target.extension == extension) {
                *entry = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_number_leaves_the_table_as_it_was() {
        let mut table = HandlerTable::default();
        table.install(0, [HandlerNumber(1), HandlerNumber(2)].into_iter()).unwrap();
        let clash = [HandlerNumber(3), HandlerNumber(2)];
        assert_eq!(table.install(1, clash.into_iter()), Err(HandlerNumber(2)));
        assert_eq!(table.find(HandlerNumber(3)), None);
        assert_eq!(table.find(HandlerNumber(2)), Some(Target { extension: 0, handler: 1 }));
        table.remove(0);
        assert_eq!(table.find(HandlerNumber(1)), None);
        assert_eq!(table.find(HandlerNumber(u16::MAX)), None);
    }
}
