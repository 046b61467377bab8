//! All servers: which one is asked what, and what is asked again where.

mod attempt;
mod cluster;
mod slots;

use std::sync::Arc;

use bb8_redis::redis::{ServerErrorKind, Value};
use futures_util::future::join_all;
use tenancy::cache::shared::ScopeName;

use self::attempt::{Attempt, Group, Verdict};
pub(crate) use self::cluster::Cluster;
use crate::{
    command::Command,
    failure::Failure,
    keys::slot_of,
    server::{Dial, Server, is_of_a_replica},
};

/// One that has all, or those of a cluster.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Arc<Server>),
    Cluster(Arc<Cluster>),
}

/// What came of one command; a refusal is a value.
pub(crate) type Reply = Result<Value, Failure>;

/// A script that is not there, a slot that has moved and is being moved on, and a connection that was closed: no more happens
/// to one call by chance.
const ROUNDS: usize = 5;

impl Servers {
    /// Runs commands, those of one server in one go and in their order. One that is refused fails all, though others may be done.
    pub(crate) async fn run(&self, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        let replies = self.run_each(commands).await?.into_iter();
        let done = replies.map(|reply| match reply? {
            Value::ServerError(error) => Err(Failure::Refused(error.into())),
            reply => Ok(reply),
        });
        done.collect()
    }

    /// As [`run`](Self::run), with what was refused among the replies, and with what failed where a command was sent on: there the others
    /// were answered already. What fails for all is an error.
    pub(crate) async fn run_each(&self, commands: &[Command]) -> Result<Vec<Reply>, Failure> {
        let replies = self.reply_to_each(commands).await?;
        match replies.first() {
            Some(Err(failure)) if replies.iter().all(Result::is_err) => Err(failure.clone()),
            _ => Ok(replies),
        }
    }

    async fn reply_to_each(&self, commands: &[Command]) -> Result<Vec<Reply>, Failure> {
        let mut replies: Vec<Reply> = vec![Err(Failure::SentAround); commands.len()];
        let mut open: Vec<Attempt> = (0..commands.len()).map(Attempt::first).collect();
        let (mut may_reconnect, mut lost) = (true, None);
        for round in 0..ROUNDS {
            let is_first = round == 0;
            let mut reconnects = false;
            let (groups, unserved) = self.group(commands, open).await;
            for (index, failure) in unserved {
                if is_first {
                    return Err(failure);
                }
                replies[index] = Err(failure);
            }
            let outcomes = join_all(groups.iter().map(|group| group.send(commands))).await;
            open = Vec::new();
            for (group, outcome) in groups.into_iter().zip(outcomes) {
                match outcome {
                    Ok(values) => {
                        for (attempt, value) in group.attempts.into_iter().zip(values) {
                            let index = attempt.index;
                            match self.judge(attempt, value) {
                                Ok(Verdict::Done(index, value)) => replies[index] = Ok(value),
                                Ok(Verdict::Again(attempt)) => open.push(attempt),
                                Ok(Verdict::Elsewhere(attempt, error)) if !may_reconnect => {
                                    replies[attempt.index] = Ok(Value::ServerError(error));
                                }
                                Ok(Verdict::Elsewhere(attempt, _)) => {
                                    reconnects = true;
                                    open.push(attempt);
                                }
                                Err(failure) => replies[index] = Err(failure),
                            }
                        }
                    }
                    // It had been closed before, as by a server that was restarted; a new one may be had.
                    Err(Failure::Lost(error)) if may_reconnect && group.is_repeatable(commands) => {
                        reconnects = true;
                        lost = Some(error);
                        open.extend(group.attempts);
                    }
                    Err(failure) => {
                        self.suspect();
                        let failure = match (failure, &lost) {
                            // What was lost may have been done.
                            (Failure::NoConnection(_), Some(error)) => Failure::Lost(error.clone()),
                            (failure, _) => failure,
                        };
                        if is_first {
                            return Err(failure);
                        }
                        for attempt in group.attempts {
                            replies[attempt.index] = Err(failure.clone());
                        }
                    }
                }
            }
            if open.is_empty() {
                break;
            }
            may_reconnect &= !reconnects;
        }
        Ok(replies)
    }

    /// Somewhere that messages can be heard; another one the next time, perhaps.
    pub(crate) fn somewhere(&self) -> Dial {
        match self {
            Self::One(server) => server.dial().clone(),
            Self::Cluster(cluster) => cluster.somewhere(),
        }
    }

    /// The one that has this slot.
    pub(crate) async fn server_of(&self, slot: u16) -> Result<Arc<Server>, Failure> {
        match self {
            Self::One(server) => Ok(Arc::clone(server)),
            Self::Cluster(cluster) => cluster.server_of(slot).await,
        }
    }

    /// The one that has all of this scope.
    pub(crate) async fn server_of_scope(&self, scope: &ScopeName) -> Result<Arc<Server>, Failure> {
        match self {
            Self::One(server) => Ok(Arc::clone(server)),
            Self::Cluster(cluster) => cluster.server_of(slot_of(scope)).await,
        }
    }

    /// What goes where, and which commands nobody is there for.
    async fn group(
        &self,
        commands: &[Command],
        attempts: Vec<Attempt>,
    ) -> (Vec<Group>, Vec<(usize, Failure)>) {
        let (mut groups, mut unserved) = (Vec::<Group>::new(), Vec::new());
        for attempt in attempts {
            let server = match &attempt.redirected {
                Some(server) => Ok(Arc::clone(server)),
                None => self.server_of(commands[attempt.index].slot()).await,
            };
            let server = match server {
                Ok(server) => server,
                Err(failure) => {
                    unserved.push((attempt.index, failure));
                    continue;
                }
            };
            // A cluster has a handful of servers.
            match groups
                .iter_mut()
                .find(|group| Arc::ptr_eq(&group.server, &server))
            {
                Some(group) => group.attempts.push(attempt),
                None => groups.push(Group {
                    server,
                    attempts: vec![attempt],
                }),
            }
        }
        (groups, unserved)
    }

    fn judge(&self, attempt: Attempt, value: Value) -> Result<Verdict, Failure> {
        let Value::ServerError(error) = value else {
            return Ok(Verdict::Done(attempt.index, value));
        };
        if is_of_a_replica(&error) {
            return Ok(Verdict::Elsewhere(attempt, error));
        }
        match (error.kind(), self) {
            (Some(ServerErrorKind::NoScript), _) if !attempt.with_text => {
                Ok(Verdict::Again(attempt.with_text()))
            }
            (Some(ServerErrorKind::Moved), Self::Cluster(cluster)) => {
                cluster.has_moved(&error)?;
                Ok(Verdict::Again(attempt.by_slot()))
            }
            (Some(ServerErrorKind::Ask), Self::Cluster(cluster)) => {
                Ok(Verdict::Again(attempt.asking(cluster.asked_for(&error)?)))
            }
            _ => Ok(Verdict::Done(attempt.index, Value::ServerError(error))),
        }
    }

    fn suspect(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.refresh_soon();
        }
    }
}
