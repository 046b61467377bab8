//! One process of a schedule, and what it does at the same time as others.

use std::{io, time::Duration};

use fastrand::Rng;
use tenancy::cache::{CacheKey, EntryOptions, Loaded, TenantCache};
use tenancy_test::cache::MemoryNode;
use tokio::task::JoinHandle;

use super::{
    super::{Process, TEXT},
    book::{Book, Fate, KEYS, TAGS, TENANTS, Who, has_tag},
};

pub(super) struct Peer {
    pub(super) number: u32,
    process: Process,
    caches: Vec<TenantCache>,
    book: Book,
}

/// What goes on.
pub(super) type Task = JoinHandle<()>;

impl Peer {
    pub(super) async fn new(number: u32, process: Process, book: &Book) -> Self {
        let mut caches = Vec::new();
        for tenant in TENANTS {
            caches.push(process.cache_of(tenant).await);
        }
        book.is_born(number);
        Self {
            number,
            process,
            caches,
            book: book.clone(),
        }
    }

    pub(super) fn node(&self) -> &MemoryNode {
        self.process.node.as_ref().unwrap()
    }

    fn who(&self, tenant: usize) -> Who {
        Who {
            process: self.number,
            tenant,
        }
    }

    /// Asks for a key, which also keeps the account in use.
    pub(super) fn get(&self, tenant: usize, key: usize) -> Task {
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        tokio::spawn(async move {
            let reading = book.begin_read(who, true);
            if let Some(value) = cache.get(&key_of(key)).await {
                book.end_read(&reading, key, &value);
            }
        })
    }

    pub(super) fn get_many(&self, tenant: usize) -> Task {
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        tokio::spawn(async move {
            let reading = book.begin_read(who, true);
            let values = cache.get_many(&[0, 1, 2, 3].map(key_of)).await;
            for (key, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    book.end_read(&reading, key, value);
                }
            }
        })
    }

    pub(super) fn remember(&self, tenant: usize, key: usize, rng: &mut Rng) -> Task {
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        let (untagged, waits) = (untagged(rng), rng.u8(..3) > 0);
        // Some say only once they are loaded what they depend on.
        let is_tagged_late = rng.bool();
        tokio::spawn(async move {
            let reading = book.begin_read(who, false);
            let loading = book.clone();
            let load = async move || {
                let read = loading.value(tenant, key);
                wait(&loading, waits).await.map(|()| read)
            };
            let remembered = if is_tagged_late {
                let load = async move || load().await.map(|read| Loaded::new(read).tags(tags_of(&[key])));
                cache.remember_loaded(&key_of(key), &untagged, load).await
            } else {
                let options = untagged.tags(tags_of(&[key]));
                cache.remember(&key_of(key), &options, load).await
            };
            if let Ok(value) = remembered {
                book.end_read(&reading, key, &value);
            }
        })
    }

    pub(super) fn remember_many(&self, tenant: usize, keys: Vec<usize>, rng: &mut Rng) -> Task {
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        let (options, waits) = (options(&keys, rng), rng.u8(..3) > 0);
        tokio::spawn(async move {
            let reading = book.begin_read(who, false);
            let names: Vec<_> = keys.iter().map(|&key| key_of(key)).collect();
            let (loading, wanted) = (book.clone(), keys.clone());
            let load = async move |missing: Vec<usize>| {
                let missing = missing.into_iter().map(|place| wanted[place]);
                let read: Vec<_> = missing.map(|key| loading.value(tenant, key)).collect();
                wait(&loading, waits).await.map(|()| read)
            };
            if let Ok(values) = cache.remember_many(&names, &options, load).await {
                for (&key, value) in keys.iter().zip(&values) {
                    book.end_read(&reading, key, value);
                }
            }
        })
    }

    pub(super) fn flush_all(&self, tenant: usize, is_hard: bool, rng: &mut Rng) -> Task {
        let written: Vec<_> = (0..KEYS.len()).filter(|_| rng.bool()).collect();
        self.book.write(tenant, &written, false);
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        tokio::spawn(async move {
            let flushing = book.begin_flush(who, is_hard, |_| true);
            let flush = cache.flush();
            let flush = if is_hard { flush } else { flush.soft() };
            let receipt = flush.await;
            book.end_flush(&flushing, receipt);
        })
    }

    pub(super) fn flush_tag(&self, tenant: usize, tag: usize, is_hard: bool) -> Task {
        let written: Vec<_> = (0..KEYS.len()).filter(|&key| has_tag(key, tag)).collect();
        self.book.write(tenant, &written, false);
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        tokio::spawn(async move {
            let flushing = book.begin_flush(who, is_hard, |key| has_tag(key, tag));
            let flush = cache.flush_tags([TAGS[tag]]);
            let flush = if is_hard { flush } else { flush.soft() };
            let receipt = flush.await;
            book.end_flush(&flushing, receipt);
        })
    }

    pub(super) fn remove(&self, tenant: usize, key: usize) -> Task {
        self.book.write(tenant, &[key], false);
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        tokio::spawn(async move {
            let flushing = book.begin_flush(who, true, |other| other == key);
            let receipt = cache.remove(&key_of(key)).await;
            book.end_flush(&flushing, receipt);
        })
    }

    /// Writers of a row come one after the other, and a put is part of the write: two puts have no order of their own.
    pub(super) fn put(&self, tenant: usize, keys: Vec<usize>, rng: &mut Rng) -> Option<Task> {
        if !self.book.write(tenant, &keys, true) {
            return None;
        }
        let (cache, book, who) = (self.caches[tenant].clone(), self.book.clone(), self.who(tenant));
        let options = options(&keys, rng);
        let row = Locked { book, tenant, keys };
        Some(tokio::spawn(async move {
            let Locked { book, keys, .. } = &row;
            let entries: Vec<_> = keys
                .iter()
                .map(|&key| (key_of(key), book.value(tenant, key)))
                .collect();
            let flushing = book.begin_flush(who, true, |other| keys.contains(&other));
            let receipt = cache.put_many(entries, &options).await;
            book.end_flush(&flushing, receipt);
        }))
    }

    /// The process ends, whatever it was about.
    pub(super) fn end(self) {
        self.book.has_died(self.number);
    }
}

/// Rows, until a put has ended or was dropped.
struct Locked {
    book: Book,
    tenant: usize,
    keys: Vec<usize>,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.book.unlock(self.tenant, &self.keys);
    }
}

fn key_of(key: usize) -> CacheKey<String> {
    TEXT.key((KEYS[key],))
}

/// The tags that all of these have, so that a flush of a tag finds what the book says.
fn tags_of(keys: &[usize]) -> impl Iterator<Item = &'static str> {
    let tags = (0..TAGS.len()).filter(|&tag| keys.iter().any(|&key| has_tag(key, tag)));
    tags.map(|tag| TAGS[tag])
}

fn options(keys: &[usize], rng: &mut Rng) -> EntryOptions {
    untagged(rng).tags(tags_of(keys))
}

fn untagged(rng: &mut Rng) -> EntryOptions {
    let ttl = if rng.u8(..4) == 0 { 3 } else { 3600 };
    EntryOptions::new()
        .ttl(Duration::from_secs(ttl))
        .stale_for(Duration::from_secs(100))
        .early_refresh(rng.bool())
}

/// A load has read the database: now it may have to wait.
async fn wait(book: &Book, waits: bool) -> Result<(), io::Error> {
    let fate = if waits { book.wait() } else { None };
    let fate = match fate {
        Some(fate) => fate.await.unwrap_or(Fate::Answers),
        None => Fate::Answers,
    };
    match fate {
        Fate::Answers => Ok(()),
        Fate::Fails => Err(io::Error::other("the schedule lets this load fail")),
    }
}
