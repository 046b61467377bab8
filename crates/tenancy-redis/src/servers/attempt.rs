//! A command on its way: to whom, and in which form.

use std::{ptr, sync::Arc};

use bb8_redis::redis::{self, Pipeline, ServerError, Value};

use crate::{command::Command, failure::Failure, script::Script, server::Server};

#[derive(Debug)]
pub(super) struct Attempt {
    /// Which command.
    pub(super) index: usize,
    /// With its script's text, which the server did not have.
    pub(super) with_text: bool,
    /// To the server that gets its slot, and not to the one that has it.
    pub(super) redirected: Option<Arc<Server>>,
}

pub(super) enum Verdict {
    Done(usize, Value),
    Again(Attempt),
    /// Over a new connection, if that was not tried.
    Elsewhere(Attempt, ServerError),
}

/// What goes to one server.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) server: Arc<Server>,
    pub(super) attempts: Vec<Attempt>,
}

impl Attempt {
    pub(super) fn first(index: usize) -> Self {
        Self {
            index,
            with_text: false,
            redirected: None,
        }
    }

    pub(super) fn with_text(self) -> Self {
        Self {
            with_text: true,
            ..self
        }
    }

    pub(super) fn by_slot(self) -> Self {
        Self {
            redirected: None,
            ..self
        }
    }

    pub(super) fn asking(self, server: Arc<Server>) -> Self {
        Self {
            redirected: Some(server),
            ..self
        }
    }
}

impl Group {
    /// Whether all of it may be sent a second time.
    pub(super) fn is_repeatable(&self, commands: &[Command]) -> bool {
        self.attempts
            .iter()
            .all(|attempt| commands[attempt.index].is_repeatable())
    }

    /// The reply to each attempt.
    pub(super) async fn send(&self, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        let pipeline = self.write(commands);
        let replies = self.server.run(&pipeline).await?;
        if replies.len() != pipeline.len() {
            return Err(Failure::Unexpected("Redis sent too few or too many replies"));
        }
        Ok(self.without_permissions(replies))
    }

    fn write(&self, commands: &[Command]) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(self.attempts.len());
        let mut texts = Vec::<&Script>::new();
        for attempt in &self.attempts {
            if attempt.redirected.is_some() {
                pipeline.add_command(redis::cmd("ASKING"));
            }
            let command = &commands[attempt.index];
            // The server knows the script from the first on.
            let unknown = command
                .script_of()
                .filter(|script| attempt.with_text && !texts.iter().any(|sent| ptr::eq(*sent, *script)));
            texts.extend(unknown);
            pipeline.add_command(command.write(unknown.is_some()));
        }
        pipeline
    }

    /// Takes out the replies to `ASKING`.
    fn without_permissions(&self, replies: Vec<Value>) -> Vec<Value> {
        let mut replies = replies.into_iter();
        let mut kept = Vec::with_capacity(self.attempts.len());
        for attempt in &self.attempts {
            if attempt.redirected.is_some() {
                replies.next();
            }
            kept.extend(replies.next());
        }
        kept
    }
}
