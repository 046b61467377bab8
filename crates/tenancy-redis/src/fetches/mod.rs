//! Entries that many ask for at the same time are asked for together: the server looks once for all of them at what has changed
//! in their scope, and this process writes and reads a few long messages rather than many short ones.
//!
//! Nobody waits for others to come. One call is sent as it comes. What is asked for while that is under way goes together as soon
//! as the runtime has nothing else to do, and what is asked for meanwhile goes after that. Nothing joins what was sent before:
//! its numbers might be those of before a flush that the caller knows.

mod batch;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tenancy::cache::shared::{Ask, EntryName, Fetched};
use tokio::{sync::oneshot, task::yield_now, time::Instant};

pub(crate) use self::queue::Queue;
use self::{
    batch::{Group, Want},
    queue::{Call, Taken},
};
use crate::{failure::Failure, link::Link, script::check_number, server::Server, servers::Reply};

impl Link {
    /// Entries, and what has changed in their scope; together with what others ask for at the same time.
    ///
    /// Cancel-safe: whoever is gone is not asked for, or not told.
    pub(crate) async fn fetch(self: &Arc<Self>, ask: &Ask, names: &[EntryName]) -> Result<Fetched, Failure> {
        // Of this call alone; the others would be refused with it.
        check_number(ask.seen)?;
        let server = self.in_time(self.servers.server_of_scope(&ask.scope)).await?;
        // Nobody else is sent with it: who is not polled any more holds up nobody.
        if let Some(_alone) = server.fetches.begin_alone() {
            return self.fetch_alone(ask, names).await;
        }
        let (reply, answered) = oneshot::channel();
        let call = Call {
            seen: ask.seen,
            names: names.to_vec(),
            since: Instant::now(),
            reply,
        };
        if server.fetches.add(&ask.scope, call) {
            tokio::spawn(Sender::new(self, &server).send_all());
        }
        // Senders end with the runtime, and with their panic.
        answered.await.unwrap_or(Err(Failure::Abandoned))
    }

    async fn fetch_alone(&self, ask: &Ask, names: &[EntryName]) -> Result<Fetched, Failure> {
        let want = Want {
            seen: ask.seen,
            names,
        };
        let groups = [Group::new(&ask.scope, vec![want])];
        let replies = self.ask_for(&groups).await?;
        batch::read(&groups, replies)
            .pop()
            .unwrap_or(Err(Failure::Abandoned))
    }

    /// What is refused, or fails alone, is among the replies.
    async fn ask_for(&self, groups: &[Group<'_>]) -> Result<Vec<Reply>, Failure> {
        self.run_each(&batch::commands(&self.keys, groups)?).await
    }
}

/// Sends what waits for one server, until nothing does.
struct Sender {
    link: Arc<Link>,
    server: Arc<Server>,
    is_done: bool,
}

impl Sender {
    fn new(link: &Arc<Link>, server: &Arc<Server>) -> Self {
        Self {
            link: Arc::clone(link),
            server: Arc::clone(server),
            is_done: false,
        }
    }

    async fn send_all(mut self) {
        loop {
            // First come those who are about to ask.
            yield_now().await;
            let Some(taken) = self.server.fetches.take() else {
                self.is_done = true;
                return;
            };
            if self.server.fetches.begin_another() {
                tokio::spawn(start_another(&self.link, &self.server));
            }
            self.send(taken).await;
            self.server.fetches.gather();
        }
    }

    async fn send(&self, mut taken: Vec<Taken>) {
        let limit = self.link.limits.answer;
        for late in taken.iter_mut().flat_map(|taken| taken.remove_late(limit)) {
            late.answer(Err(Failure::TimedOut(None)));
        }
        let groups: Vec<_> = taken.iter().filter_map(Taken::group).collect();
        if groups.is_empty() {
            return;
        }
        let entries = taken.iter().map(Taken::size).sum();
        match self.link.ask_for(&groups).await {
            Ok(replies) => {
                let outcomes = batch::read(&groups, replies);
                self.server.fetches.note_size(batch::size(&outcomes));
                let calls = taken.into_iter().flat_map(|taken| taken.calls);
                for (call, outcome) in calls.zip(outcomes) {
                    call.answer(outcome);
                }
            }
            Err(failure) => {
                let mut failed: Vec<_> = taken.into_iter().flat_map(|taken| taken.calls).collect();
                if failure.is_silence() {
                    failed.extend(self.server.fetches.note_silence(entries));
                }
                for call in failed {
                    call.answer(Err(failure.clone()));
                }
            }
        }
    }
}

/// Without it the future of a sender would contain itself.
fn start_another(link: &Arc<Link>, server: &Arc<Server>) -> BoxFuture<'static, ()> {
    Box::pin(Sender::new(link, server).send_all())
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.is_done {
            self.server.fetches.abandon();
        }
    }
}
