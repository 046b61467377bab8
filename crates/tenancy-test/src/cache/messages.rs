//! How messages reach a node, and what can happen to them on the way.

use tenancy::cache::shared::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A delayed message comes after at most so many later ones.
const LONGEST_DELAY: u8 = 8;

/// What happens to the messages for one node: each is lost, delayed, reordered or duplicated by chance.
///
/// The dice are thrown once for each message, in this order: a lost message is nothing else. All percentages are 0 at first.
///
/// ```
/// use tenancy_test::cache::{MemoryLevel, MessageFaults};
///
/// let node = MemoryLevel::new().node();
/// node.harm_messages(MessageFaults::seeded(7).lost(30).reordered(20));
/// ```
#[derive(Clone, Debug)]
#[must_use = "hand it to `MemoryNode::harm_messages`"]
pub struct MessageFaults {
    dice: fastrand::Rng,
    lost: u8,
    delayed: u8,
    reordered: u8,
    duplicated: u8,
}

impl MessageFaults {
    /// No faults yet. The same seed throws the same dice.
    pub fn seeded(seed: u64) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            lost: 0,
            delayed: 0,
            reordered: 0,
            duplicated: 0,
        }
    }

    /// How many of 100 messages never come.
    pub fn lost(mut self, percent: u8) -> Self {
        self.lost = percent;
        self
    }

    /// How many of 100 messages come after two to eight later ones, or with
    /// [`deliver_delayed`](super::MemoryNode::deliver_delayed).
    pub fn delayed(mut self, percent: u8) -> Self {
        self.delayed = percent;
        self
    }

    /// How many of 100 messages come after the one that follows them.
    pub fn reordered(mut self, percent: u8) -> Self {
        self.reordered = percent;
        self
    }

    /// How many of 100 messages come twice: at once, or the second time late.
    pub fn duplicated(mut self, percent: u8) -> Self {
        self.duplicated = percent;
        self
    }

    fn happens(&mut self, percent: u8) -> bool {
        self.dice.u8(0..100) < percent
    }

    /// After how many later messages this one comes, for each time that it comes.
    fn fates(&mut self) -> Vec<u8> {
        if self.happens(self.lost) {
            return Vec::new();
        }
        let first = if self.happens(self.delayed) {
            self.dice.u8(2..=LONGEST_DELAY)
        } else {
            u8::from(self.happens(self.reordered))
        };
        if !self.happens(self.duplicated) {
            return vec![first];
        }
        vec![first, self.dice.u8(0..=LONGEST_DELAY)]
    }
}

/// A message on its way: it comes after so many later ones.
#[derive(Debug)]
struct Late {
    after: u8,
    message: Message,
}

/// One node's connection for messages.
#[derive(Debug)]
pub(super) struct Inbox {
    subscribers: Vec<UnboundedSender<Message>>,
    /// The whole node has no connection.
    is_away: bool,
    /// This connection alone is lost.
    is_cut: bool,
    is_frozen: bool,
    /// What came while it was frozen.
    waiting: Vec<Message>,
    late: Vec<Late>,
    faults: Option<MessageFaults>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            subscribers: Vec::new(),
            is_away: false,
            is_cut: false,
            is_frozen: false,
            waiting: Vec::new(),
            late: Vec::new(),
            faults: None,
        }
    }

    pub(super) fn subscribe(&mut self) -> UnboundedReceiver<Message> {
        let (sender, receiver) = unbounded_channel();
        if self.is_connected() && !self.is_frozen {
            // The receiver is at hand.
            let _ = sender.send(Message::Gap);
        } else if self.is_connected() {
            self.waiting.push(Message::Gap);
        }
        self.subscribers.push(sender);
        receiver
    }

    /// A message from the level.
    pub(super) fn take(&mut self, message: &Message) {
        if !self.is_connected() {
            return;
        }
        for late in &mut self.late {
            late.after -= 1;
        }
        let fates = self.faults.as_mut().map_or_else(|| vec![0], MessageFaults::fates);
        for after in fates {
            if after == 0 {
                self.deliver(message.clone());
            } else {
                self.late.push(Late {
                    after,
                    message: message.clone(),
                });
            }
        }
        for late in self
            .late
            .extract_if(.., |late| late.after == 0)
            .collect::<Vec<_>>()
        {
            self.deliver(late.message);
        }
    }

    /// Delivers what is late, in any order.
    pub(super) fn deliver_late(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        if let Some(faults) = &mut self.faults {
            faults.dice.shuffle(&mut late);
        }
        for late in late {
            self.deliver(late.message);
        }
    }

    pub(super) fn set_faults(&mut self, faults: Option<MessageFaults>) {
        self.faults = faults;
    }

    pub(super) fn set_away(&mut self, is_away: bool) {
        let was_connected = self.is_connected();
        self.is_away = is_away;
        self.connection_changed(was_connected);
    }

    pub(super) fn set_cut(&mut self, is_cut: bool) {
        let was_connected = self.is_connected();
        self.is_cut = is_cut;
        self.connection_changed(was_connected);
    }

    fn is_connected(&self) -> bool {
        !self.is_away && !self.is_cut
    }

    /// What was on its way over a lost connection is lost; over a new one the first is a gap.
    fn connection_changed(&mut self, was_connected: bool) {
        match (was_connected, self.is_connected()) {
            (true, false) => {
                self.waiting.clear();
                self.late.clear();
            }
            (false, true) => self.deliver(Message::Gap),
            _ => {}
        }
    }

    pub(super) fn freeze(&mut self) {
        self.is_frozen = true;
    }

    pub(super) fn thaw(&mut self) {
        self.is_frozen = false;
        for message in std::mem::take(&mut self.waiting) {
            self.deliver(message);
        }
    }

    fn deliver(&mut self, message: Message) {
        if self.is_frozen {
            self.waiting.push(message);
            return;
        }
        self.subscribers
            .retain(|subscriber| subscriber.send(message.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use tenancy::cache::shared::{Cell, FlushMode, ScopeName};

    use super::*;

    fn message(number: u64) -> Message {
        Message::Raised {
            scope: ScopeName::for_tests("acme:1"),
            previous: number - 1,
            number,
            cells: vec![Cell::Base],
            mode: FlushMode::Hard,
        }
    }

    fn heard(receiver: &mut UnboundedReceiver<Message>) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Ok(message) = receiver.try_recv() {
            numbers.push(match message {
                Message::Raised { number, .. } => number,
                Message::Gap => 0,
            });
        }
        numbers
    }

    fn heard_of_100(faults: MessageFaults) -> Vec<u64> {
        let mut inbox = Inbox::new();
        let mut receiver = inbox.subscribe();
        inbox.set_faults(Some(faults));
        for number in 1..=100 {
            inbox.take(&message(number));
        }
        inbox.deliver_late();
        let heard = heard(&mut receiver);
        assert_eq!(heard[0], 0, "the gap");
        heard[1..].to_vec()
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let sorted = |mut numbers: Vec<u64>| {
            numbers.sort_unstable();
            numbers
        };
        let all: Vec<u64> = (1..=100).collect();
        assert_eq!(heard_of_100(MessageFaults::seeded(1)), all);
        assert!(heard_of_100(MessageFaults::seeded(1).lost(100)).is_empty());
        let some = heard_of_100(MessageFaults::seeded(1).lost(50));
        assert!(some.len() > 20 && some.len() < 80 && some.is_sorted(), "{some:?}");
        for faults in [
            MessageFaults::seeded(1).reordered(30),
            MessageFaults::seeded(1).delayed(30),
        ] {
            let shuffled = heard_of_100(faults);
            assert!(!shuffled.is_sorted());
            assert_eq!(sorted(shuffled), all);
        }
        let twice = sorted(heard_of_100(MessageFaults::seeded(1).duplicated(100)));
        assert_eq!(twice, sorted([all.clone(), all].concat()));
    }

    #[test]
    fn the_same_seed_has_the_same_fate() {
        let faults = |seed| {
            MessageFaults::seeded(seed)
                .lost(30)
                .delayed(20)
                .reordered(20)
                .duplicated(10)
        };
        assert_eq!(heard_of_100(faults(3)), heard_of_100(faults(3)));
        assert_ne!(heard_of_100(faults(3)), heard_of_100(faults(4)));
    }

    #[test]
    fn a_frozen_connection_delivers_later_and_a_lost_one_never() {
        let mut inbox = Inbox::new();
        let mut receiver = inbox.subscribe();
        inbox.freeze();
        inbox.take(&message(1));
        assert_eq!(heard(&mut receiver), [0]);
        inbox.thaw();
        assert_eq!(heard(&mut receiver), [1]);
        inbox.set_cut(true);
        inbox.take(&message(2));
        inbox.set_cut(false);
        inbox.take(&message(3));
        assert_eq!(heard(&mut receiver), [0, 3]);
    }
}
