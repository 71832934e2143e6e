//! Whose an extension is: what messages between extensions are judged by, and whose handler numbers they name.
//!
//! Who writes an extension chooses its handlers' numbers, and cannot know what else is loaded. So numbers are those of
//! the client that loaded it: the daemon gives each handler another one that is free on its adapter, which is what
//! the handler table, the classifier and applications' FIFOs go by, and the extension never sees it. A message
//! from another adapter names a number of its sender's: it goes to the handler of that number of the same client, else of
//! the same user, else of the users that the sender was granted to send to.
//!
//! An extension of the process that the adapter runs in has no owner: its numbers are the adapter's, and everybody
//! reaches it.

/// An owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// Which of the user's clients.
    pub client: u64,
    /// The other users whose extensions it may send messages; `None`: all of them.
    pub messages: Option<Vec<u32>>,
}

impl Owner {
    /// How near another owner's extension is to one of ours that sends a message: the least is the one it goes to.
    /// `None`: it may not be sent any.
    pub(crate) fn nearness(&self, other: &Self) -> Option<u8> {
        if self.user == other.user {
            return Some(u8::from(self.client != other.client));
        }
        self.messages.as_ref().is_none_or(|users| users.contains(&other.user)).then_some(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_own_handlers_are_nearest_and_strangers_out_of_reach() {
        let owner = |user, client, messages| Owner { user, client, messages };
        let alice = owner(1, 10, Some(vec![3]));
        assert_eq!(alice.nearness(&owner(1, 10, None)), Some(0));
        assert_eq!(alice.nearness(&owner(1, 11, None)), Some(1), "another client of hers");
        assert_eq!(alice.nearness(&owner(3, 30, None)), Some(2), "granted");
        assert_eq!(alice.nearness(&owner(2, 20, None)), None, "not granted");
        assert_eq!(owner(0, 1, None).nearness(&alice), Some(2), "all");
    }
}
