//! Statements for a server, run one after another by a thread that keeps its connection.
//!
//! Tests end their runtimes and drop their databases outside of any: neither may end the connection that others use.

use std::{fmt, sync::mpsc, thread};

use tokio::sync::oneshot;

use super::ServerError;

/// A connection of the server's administrator.
pub(super) trait Client: Send {
    /// The first column of each row.
    fn run(&mut self, statement: &str) -> Result<Vec<String>, ServerError>;
}

type Connect = Box<dyn Fn() -> Result<Box<dyn Client>, ServerError> + Send>;
type Answer = Result<Vec<String>, ServerError>;

struct Order {
    statement: String,
    reply: Option<oneshot::Sender<Answer>>,
}

pub(super) struct Console {
    orders: mpsc::Sender<Order>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// Connects when there is a first statement.
    pub(super) fn new(connect: Connect) -> Self {
        let (orders, inbox) = mpsc::channel();
        thread::spawn(move || serve(&connect, &inbox));
        Self { orders }
    }

    pub(super) async fn run(&self, statement: impl Into<String>) -> Answer {
        match self.order(statement.into()).await {
            Ok(answer) => answer,
            Err(_) => Err(ended()),
        }
    }

    /// Only where no runtime waits on this thread.
    pub(super) fn run_blocking(&self, statement: impl Into<String>) -> Answer {
        self.order(statement.into())
            .blocking_recv()
            .unwrap_or_else(|_| Err(ended()))
    }

    /// Runs it some time. That it failed is of no interest.
    pub(super) fn run_later(&self, statement: String) {
        let order = Order {
            statement,
            reply: None,
        };
        // Where the thread has ended, so has the server.
        let _ = self.orders.send(order);
    }

    fn order(&self, statement: String) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            statement,
            reply: Some(reply),
        };
        // Where the thread has ended, the reply is dropped, which the receiver sees.
        let _ = self.orders.send(order);
        answer
    }
}

fn ended() -> ServerError {
    ServerError::ended("the connection that administers the server", String::new())
}

fn serve(connect: &Connect, inbox: &mpsc::Receiver<Order>) {
    let mut client = None;
    for order in inbox {
        let mut answer = run(&mut client, connect, &order.statement);
        // The server was restarted since the last statement.
        if answer.as_ref().is_err_and(ServerError::is_io) {
            client = None;
            answer = run(&mut client, connect, &order.statement);
        }
        if answer.as_ref().is_err_and(ServerError::is_io) {
            client = None;
        }
        if let Some(reply) = order.reply {
            let _ = reply.send(answer);
        }
    }
}

fn run(client: &mut Option<Box<dyn Client>>, connect: &Connect, statement: &str) -> Answer {
    match client {
        Some(client) => client.run(statement),
        None => client.insert(connect()?).run(statement),
    }
}
