use std::sync::Arc;

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{RedisCallError, ScopedRedis, handles::Kind, pages::Pages};
use crate::failure::Failure;

/// So often it is begun where the slot gets another server, or the connection is lost.
const BEGINNINGS: usize = 5;

/// On its way through all keys.
struct Walk {
    redis: ScopedRedis,
    /// What the keys begin with.
    beginning: Vec<u8>,
    /// How much of that is in no name.
    cut: usize,
    beginnings: usize,
    pages: Option<Pages>,
    found: Vec<Vec<u8>>,
}

impl ScopedRedis {
    /// The names of values that begin like this; all, where it is empty. In no order; a name may come more than once, and one
    /// that comes or goes meanwhile may be missed.
    ///
    /// Redis has no list of them: it looks at all keys that it has, of every scope, a thousand at a time. For what is asked for
    /// often keep a set.
    ///
    /// # Errors
    /// In the stream: Redis refused, or can not be reached. It ends then.
    pub fn names(&self, beginning: impl AsRef<[u8]>) -> BoxStream<'static, Result<Vec<u8>, RedisCallError>> {
        let walk = self.key(Kind::Value, beginning.as_ref()).map(|key| Walk {
            cut: key.len() - beginning.as_ref().len(),
            beginning: key,
            redis: self.clone(),
            beginnings: 0,
            pages: None,
            found: Vec::new(),
        });
        match walk {
            Ok(walk) => stream::unfold(Some(walk), next).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

async fn next(walk: Option<Walk>) -> Option<(Result<Vec<u8>, RedisCallError>, Option<Walk>)> {
    let mut walk = walk?;
    loop {
        if let Some(mut key) = walk.found.pop() {
            key.drain(..walk.cut);
            return Some((Ok(key), Some(walk)));
        }
        match walk.page().await {
            Ok(Some(found)) => walk.found = found,
            Ok(None) => return None,
            Err(failure) => return Some((Err(failure.into()), None)),
        }
    }
}

impl Walk {
    async fn page(&mut self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        loop {
            let pages = match &mut self.pages {
                Some(pages) => pages,
                None => {
                    self.beginnings += 1;
                    let link = Arc::clone(&self.redis.link);
                    let begun = Pages::begin(link, self.redis.slot, self.beginning.clone()).await?;
                    self.pages.insert(begun)
                }
            };
            match pages.next().await {
                // Where it was means nothing to another server.
                Err(Failure::Lost(_) | Failure::SentAround) if self.beginnings < BEGINNINGS => {
                    self.pages = None;
                }
                outcome => return outcome,
            }
        }
    }
}
