//! One process's way to a shared level in memory, and what can happen to it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tenancy::cache::shared::{
    Answer, Ask, Claim, EntryName, Fetched, Level, Message, ProcessReport, Raise, Raised, ScopeName,
    SharedError, SharedLevel, StoredEntry,
};

use super::{
    calls::{Counter, LevelCall, LevelCalls},
    gate::{Gate, HeldAnswer},
    memory_level::Shared,
    messages::{Inbox, MessageFaults},
};

/// One process's way to a [`MemoryLevel`](super::MemoryLevel): hand a clone of it to a cache, and hurt it here.
///
/// Faults add up: a node that is frozen and goes away answers with errors. All of them can be set at any time, from any thread.
///
/// ```
/// # async fn example() {
/// use tenancy::cache::shared::{Ask, ScopeName, SharedLevel};
/// use tenancy_test::cache::{LevelCall, MemoryLevel};
///
/// let node = MemoryLevel::new().node();
/// let asks = [Ask { scope: ScopeName::for_tests("acme:1"), seen: 0 }];
///
/// // The answer of a slow server, that the test lets come when it likes.
/// node.hold_answers();
/// let asked = tokio::spawn({
///     let node = node.clone();
///     async move { node.renew(&asks).await.is_err() }
/// });
/// let held = node.held_answer().await;
/// assert_eq!(held.call(), LevelCall::Renew);
/// held.lose();
/// assert!(asked.await.unwrap());
/// assert_eq!(node.calls().renew, 1);
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
/// ```
#[derive(Clone)]
pub struct MemoryNode {
    pub(super) node: Arc<Node>,
}

impl MemoryNode {
    /// From now on all calls fail at once, answers that are held back are lost, and no messages come.
    pub fn go_away(&self) {
        self.node.gate.set_away(true);
        self.node.inbox().set_away(true);
    }

    /// Undoes [`go_away`](Self::go_away). Listeners hear a [`Message::Gap`].
    pub fn come_back(&self) {
        self.node.inbox().set_away(false);
        self.node.gate.set_away(false);
    }

    /// From now on calls are not answered, and no messages come. What is asked meanwhile is done after
    /// [`thaw`](Self::thaw), unless it was dropped.
    ///
    /// A right level gives up by itself after a while; this one does not, so that what waits for it is seen.
    pub fn freeze(&self) {
        self.node.gate.set_frozen(true);
        self.node.inbox().freeze();
    }

    /// Undoes [`freeze`](Self::freeze). All messages come that were sent meanwhile, in order.
    pub fn thaw(&self) {
        self.node.inbox().thaw();
        self.node.gate.set_frozen(false);
    }

    /// From now on nothing new is stored, as by a server that is full; all else goes on. `false` undoes it.
    pub fn refuse_to_store(&self, refuses: bool) {
        self.node.refuses_to_store.store(refuses, Ordering::SeqCst);
    }

    /// From now on each call is done, and its answer is held back until [`held_answer`](Self::held_answer) hands it out and
    /// it is released.
    pub fn hold_answers(&self) {
        self.node.gate.hold_answers();
    }

    /// Undoes [`hold_answers`](Self::hold_answers): answers that were not handed out come now.
    pub fn stop_holding(&self) {
        self.node.gate.stop_holding();
    }

    /// The oldest answer that is held back and was not handed out yet; waits for one.
    pub async fn held_answer(&self) -> HeldAnswer {
        self.node.gate.held_answer().await
    }

    /// What happens to messages for this process from now on, in place of what was said before.
    pub fn harm_messages(&self, faults: MessageFaults) {
        self.node.inbox().set_faults(Some(faults));
    }

    /// Undoes [`harm_messages`](Self::harm_messages). What is delayed still comes late.
    pub fn heal_messages(&self) {
        self.node.inbox().set_faults(None);
    }

    /// Delivers delayed messages now, in any order.
    pub fn deliver_delayed(&self) {
        self.node.inbox().deliver_late();
    }

    /// Cuts the connection for messages, and connects it again: what is delayed is lost, and listeners hear a
    /// [`Message::Gap`].
    pub fn cut_subscriber(&self) {
        self.lose_subscriber();
        self.regain_subscriber();
    }

    /// Cuts the connection for messages until [`regain_subscriber`](Self::regain_subscriber). Listeners do not notice.
    pub fn lose_subscriber(&self) {
        self.node.inbox().set_cut(true);
    }

    /// Undoes [`lose_subscriber`](Self::lose_subscriber). Listeners hear a [`Message::Gap`].
    pub fn regain_subscriber(&self) {
        self.node.inbox().set_cut(false);
    }

    /// How often this process has called what, until now.
    pub fn calls(&self) -> LevelCalls {
        self.node.calls.calls()
    }
}

impl SharedLevel for MemoryNode {
    fn renew<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Result<Vec<Answer>, SharedError>> {
        let node = &*self.node;
        let renewed = move || {
            asks.iter()
                .map(|ask| node.shared.answer(ask, node.number))
                .collect()
        };
        Box::pin(node.call(LevelCall::Renew, renewed))
    }

    fn fetch<'a>(
        &'a self,
        ask: &'a Ask,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<Fetched, SharedError>> {
        let node = &*self.node;
        let fetched = move || {
            let (answer, entries) = node.shared.fetch(ask, names, node.number);
            Fetched { answer, entries }
        };
        Box::pin(node.call(LevelCall::Fetch, fetched))
    }

    fn store<'a>(
        &'a self,
        scope: &'a ScopeName,
        entries: &'a [StoredEntry],
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        let node = &*self.node;
        Box::pin(async move {
            if node.refuses_to_store.load(Ordering::SeqCst) {
                node.count(LevelCall::Store);
                return Err(SharedError::message("the level is full"));
            }
            node.call(LevelCall::Store, move || node.shared.store(scope, entries))
                .await
        })
    }

    fn raise<'a>(&'a self, raise: &'a Raise) -> BoxFuture<'a, Result<Raised, SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Raise, move || node.shared.raise(raise, node.number)))
    }

    fn teach<'a>(
        &'a self,
        scope: &'a ScopeName,
        known: &'a [Level],
    ) -> BoxFuture<'a, Result<Answer, SharedError>> {
        let node = &*self.node;
        let taught = move || node.shared.teach(scope, known, node.number);
        Box::pin(node.call(LevelCall::Teach, taught))
    }

    fn discard<'a>(
        &'a self,
        scope: &'a ScopeName,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Discard, move || node.shared.discard(scope, names)))
    }

    fn claim<'a>(&'a self, claim: &'a Claim, length: Duration) -> BoxFuture<'a, Result<bool, SharedError>> {
        let node = &*self.node;
        let claimed = move || node.shared.claim(claim, length);
        Box::pin(node.call(LevelCall::Claim, claimed))
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Release, move || node.shared.release(claim)))
    }

    fn heat<'a>(&'a self, uses: &'a [(ScopeName, u64)]) -> BoxFuture<'a, Result<(), SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Heat, move || node.shared.heat(uses)))
    }

    fn hottest(&self, most: usize) -> BoxFuture<'_, Result<Vec<ScopeName>, SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Hottest, move || node.shared.hottest(most)))
    }

    fn report<'a>(
        &'a self,
        reports: &'a [ProcessReport],
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Report, move || node.shared.report(reports, keep_for)))
    }

    fn reports<'a>(&'a self, scope: &'a ScopeName) -> BoxFuture<'a, Result<Vec<ProcessReport>, SharedError>> {
        let node = &*self.node;
        Box::pin(node.call(LevelCall::Reports, move || node.shared.reports(scope)))
    }

    fn listen(&self) -> BoxStream<'static, Message> {
        self.node.count(LevelCall::Listen);
        let mut receiver = self.node.inbox().subscribe();
        Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx)))
    }
}

impl fmt::Debug for MemoryNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNode")
            .field("number", &self.node.number)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

/// A process, as the level knows it.
pub(super) struct Node {
    shared: Arc<Shared>,
    /// The last ten bits of the numbers that it asks for.
    number: u64,
    gate: Gate,
    inbox: Mutex<Inbox>,
    calls: Counter,
    refuses_to_store: AtomicBool,
}

impl Node {
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        Self {
            shared,
            number,
            gate: Gate::default(),
            inbox: Mutex::new(Inbox::new()),
            calls: Counter::default(),
            refuses_to_store: AtomicBool::new(false),
        }
    }

    pub(super) fn hear(&self, message: &Message) {
        self.inbox().take(message);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, call: LevelCall) {
        self.calls.count(call);
        self.shared.calls.count(call);
    }

    async fn call<T: Send>(
        &self,
        call: LevelCall,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, SharedError> {
        self.count(call);
        self.gate.pass().await?;
        let answer = work();
        self.gate.answer(call).await?;
        Ok(answer)
    }
}
