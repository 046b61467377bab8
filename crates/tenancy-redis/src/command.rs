//! A command that can be sent again: to another server, or with its script's text.

use bb8_redis::redis::{self, Cmd};

use crate::script::Script;

/// One command on keys of one scope.
#[derive(Debug)]
pub(crate) struct Command {
    slot: u16,
    body: Body,
    is_repeatable: bool,
}

#[derive(Debug)]
enum Body {
    Plain(Cmd),
    Script {
        script: &'static Script,
        keys: Vec<Vec<u8>>,
        arguments: Vec<String>,
    },
}

impl Command {
    pub(crate) fn plain(slot: u16, command: Cmd) -> Self {
        Self {
            slot,
            body: Body::Plain(command),
            is_repeatable: true,
        }
    }

    pub(crate) fn script(
        slot: u16,
        script: &'static Script,
        keys: impl Into<Vec<Vec<u8>>>,
        arguments: Vec<String>,
    ) -> Self {
        Self {
            slot,
            body: Body::Script {
                script,
                keys: keys.into(),
                arguments,
            },
            is_repeatable: true,
        }
    }

    /// Not sent again over another connection: the first may have taken it, and twice is not once.
    pub(crate) fn once(self) -> Self {
        Self {
            is_repeatable: false,
            ..self
        }
    }

    /// Whether doing it twice is as good as once.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// In which of a cluster's slots its keys are.
    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }

    /// The script that it runs.
    pub(crate) fn script_of(&self) -> Option<&'static Script> {
        match &self.body {
            Body::Plain(_) => None,
            Body::Script { script, .. } => Some(script),
        }
    }

    /// As it is sent; with the text of its script, which the server then keeps, or with the hash of that.
    pub(crate) fn write(&self, with_text: bool) -> Cmd {
        match &self.body {
            Body::Plain(command) => command.clone(),
            Body::Script {
                script,
                keys,
                arguments,
            } => {
                let mut command = if with_text {
                    redis::cmd("EVAL").arg(script.text()).take()
                } else {
                    redis::cmd("EVALSHA").arg(script.hash()).take()
                };
                command.arg(keys.len()).arg(keys).arg(arguments);
                command
            }
        }
    }
}
