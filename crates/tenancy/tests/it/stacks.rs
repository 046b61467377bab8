//! The stack: its order, its mistakes, and what each stage does wherever it stands.

mod alone;
mod catching;
mod cors;
mod deadlines;
mod limits;
mod moved;
mod orders;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{Request, Response},
};
use tenancy::stack::BoxedService;
use tower::{Layer, Service};

/// What went through layers, in order: `name` on the way in, `name status` on the way out.
#[derive(Clone, Debug, Default)]
struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// A layer that notes the requests and answers that pass it.
    fn layer(&self, name: &str) -> Traced<()> {
        Traced {
            inner: (),
            name: name.into(),
            trace: self.clone(),
        }
    }
}

#[derive(Clone)]
struct Traced<S> {
    inner: S,
    name: Arc<str>,
    trace: Trace,
}

impl Layer<BoxedService> for Traced<()> {
    type Service = Traced<BoxedService>;

    fn layer(&self, inner: BoxedService) -> Self::Service {
        Traced {
            inner,
            name: Arc::clone(&self.name),
            trace: self.trace.clone(),
        }
    }
}

impl Service<Request<Body>> for Traced<BoxedService> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (name, trace) = (Arc::clone(&self.name), self.trace.clone());
        trace.0.lock().unwrap().push(name.to_string());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            trace
                .0
                .lock()
                .unwrap()
                .push(format!("{name} {}", answer.status().as_u16()));
            Ok(answer)
        })
    }
}
