//! The log lines of one test.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    sync::Once,
};

use tracing_subscriber::{Layer, filter::dynamic_filter_fn, fmt::MakeWriter, prelude::*};

thread_local! {
    static LINES: RefCell<Option<Rc<RefCell<Vec<u8>>>>> = const { RefCell::new(None) };
}

/// What was logged on this thread since [`capture`]. Tests run on one thread each, with all tasks of their
/// runtime, unless they ask for more.
pub(crate) struct Captured {
    lines: Rc<RefCell<Vec<u8>>>,
}

/// Begins to keep the log lines of this thread, of every level.
///
/// The subscriber is that of the process: with one for each thread, `tracing` may remember for all of them that a
/// call site which another thread met first interests nobody.
pub(crate) fn capture() -> Captured {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(ToThisThread)
            .with_filter(dynamic_filter_fn(|_, _| LINES.with_borrow(Option::is_some)));
        tracing_subscriber::registry().with(lines).init();
    });
    let lines = Rc::new(RefCell::new(Vec::new()));
    LINES.replace(Some(Rc::clone(&lines)));
    Captured { lines }
}

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.borrow().clone()).unwrap()
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        LINES.replace(None);
    }
}

struct ToThisThread;

impl<'a> MakeWriter<'a> for ToThisThread {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for ToThisThread {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.with_borrow(|lines| {
            if let Some(lines) = lines {
                lines.borrow_mut().extend_from_slice(line);
            }
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
