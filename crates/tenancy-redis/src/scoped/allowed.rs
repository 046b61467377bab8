//! Which commands can be kept to one scope's keys.

use super::command::Word;

/// Where a command has its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One, and then no more.
    One,
    /// Two, and then no more.
    Two,
    /// Nothing else.
    All,
    /// Each with its value.
    Pairs,
    /// How many there are, these, and then no more.
    Counted,
    /// One, how many there are, these, and then no more.
    CountedAfterOne,
    /// What is done, and then nothing else.
    AfterOperation,
}

#[derive(Debug)]
pub(super) struct Allowed {
    pub(super) name: &'static str,
    pub(super) layout: Layout,
    pub(super) only_reads: bool,
}

const fn reads(name: &'static str, layout: Layout) -> Allowed {
    Allowed {
        name,
        layout,
        only_reads: true,
    }
}

const fn writes(name: &'static str, layout: Layout) -> Allowed {
    Allowed {
        name,
        layout,
        only_reads: false,
    }
}

/// By name. What a server thinks of their keys is compared in tests/it/own/commands.rs.
pub(super) const ALLOWED: &[Allowed] = &[
    writes("APPEND", Layout::One),
    reads("BITCOUNT", Layout::One),
    writes("BITFIELD", Layout::One),
    reads("BITFIELD_RO", Layout::One),
    writes("BITOP", Layout::AfterOperation),
    reads("BITPOS", Layout::One),
    writes("DECR", Layout::One),
    writes("DECRBY", Layout::One),
    writes("DEL", Layout::All),
    reads("EXISTS", Layout::All),
    writes("EXPIRE", Layout::One),
    writes("EXPIREAT", Layout::One),
    reads("EXPIRETIME", Layout::One),
    writes("GEOADD", Layout::One),
    reads("GEODIST", Layout::One),
    reads("GEOHASH", Layout::One),
    reads("GEOPOS", Layout::One),
    reads("GEOSEARCH", Layout::One),
    writes("GEOSEARCHSTORE", Layout::Two),
    reads("GET", Layout::One),
    reads("GETBIT", Layout::One),
    writes("GETDEL", Layout::One),
    writes("GETEX", Layout::One),
    reads("GETRANGE", Layout::One),
    writes("GETSET", Layout::One),
    writes("HDEL", Layout::One),
    reads("HEXISTS", Layout::One),
    writes("HEXPIRE", Layout::One),
    reads("HGET", Layout::One),
    reads("HGETALL", Layout::One),
    writes("HINCRBY", Layout::One),
    writes("HINCRBYFLOAT", Layout::One),
    reads("HKEYS", Layout::One),
    reads("HLEN", Layout::One),
    reads("HMGET", Layout::One),
    writes("HMSET", Layout::One),
    writes("HPERSIST", Layout::One),
    writes("HPEXPIRE", Layout::One),
    reads("HPTTL", Layout::One),
    reads("HRANDFIELD", Layout::One),
    reads("HSCAN", Layout::One),
    writes("HSET", Layout::One),
    writes("HSETNX", Layout::One),
    reads("HSTRLEN", Layout::One),
    reads("HTTL", Layout::One),
    reads("HVALS", Layout::One),
    writes("INCR", Layout::One),
    writes("INCRBY", Layout::One),
    writes("INCRBYFLOAT", Layout::One),
    reads("LINDEX", Layout::One),
    writes("LINSERT", Layout::One),
    reads("LLEN", Layout::One),
    writes("LMOVE", Layout::Two),
    writes("LMPOP", Layout::Counted),
    writes("LPOP", Layout::One),
    reads("LPOS", Layout::One),
    writes("LPUSH", Layout::One),
    writes("LPUSHX", Layout::One),
    reads("LRANGE", Layout::One),
    writes("LREM", Layout::One),
    writes("LSET", Layout::One),
    writes("LTRIM", Layout::One),
    reads("MGET", Layout::All),
    writes("MSET", Layout::Pairs),
    writes("MSETNX", Layout::Pairs),
    writes("PERSIST", Layout::One),
    writes("PEXPIRE", Layout::One),
    writes("PEXPIREAT", Layout::One),
    reads("PEXPIRETIME", Layout::One),
    writes("PFADD", Layout::One),
    writes("PFCOUNT", Layout::All),
    writes("PFMERGE", Layout::All),
    writes("PSETEX", Layout::One),
    reads("PTTL", Layout::One),
    writes("RENAME", Layout::Two),
    writes("RENAMENX", Layout::Two),
    writes("RPOP", Layout::One),
    writes("RPOPLPUSH", Layout::Two),
    writes("RPUSH", Layout::One),
    writes("RPUSHX", Layout::One),
    writes("SADD", Layout::One),
    reads("SCARD", Layout::One),
    reads("SDIFF", Layout::All),
    writes("SDIFFSTORE", Layout::All),
    writes("SET", Layout::One),
    writes("SETBIT", Layout::One),
    writes("SETEX", Layout::One),
    writes("SETNX", Layout::One),
    writes("SETRANGE", Layout::One),
    reads("SINTER", Layout::All),
    reads("SINTERCARD", Layout::Counted),
    writes("SINTERSTORE", Layout::All),
    reads("SISMEMBER", Layout::One),
    reads("SMEMBERS", Layout::One),
    reads("SMISMEMBER", Layout::One),
    writes("SMOVE", Layout::Two),
    writes("SPOP", Layout::One),
    reads("SRANDMEMBER", Layout::One),
    writes("SREM", Layout::One),
    reads("SSCAN", Layout::One),
    reads("STRLEN", Layout::One),
    reads("SUNION", Layout::All),
    writes("SUNIONSTORE", Layout::All),
    writes("TOUCH", Layout::All),
    reads("TTL", Layout::One),
    reads("TYPE", Layout::One),
    writes("UNLINK", Layout::All),
    writes("XACK", Layout::One),
    writes("XADD", Layout::One),
    writes("XAUTOCLAIM", Layout::One),
    writes("XCLAIM", Layout::One),
    writes("XDEL", Layout::One),
    reads("XLEN", Layout::One),
    reads("XPENDING", Layout::One),
    reads("XRANGE", Layout::One),
    reads("XREVRANGE", Layout::One),
    writes("XTRIM", Layout::One),
    writes("ZADD", Layout::One),
    reads("ZCARD", Layout::One),
    reads("ZCOUNT", Layout::One),
    reads("ZDIFF", Layout::Counted),
    writes("ZDIFFSTORE", Layout::CountedAfterOne),
    writes("ZINCRBY", Layout::One),
    reads("ZINTER", Layout::Counted),
    reads("ZINTERCARD", Layout::Counted),
    writes("ZINTERSTORE", Layout::CountedAfterOne),
    reads("ZLEXCOUNT", Layout::One),
    writes("ZMPOP", Layout::Counted),
    reads("ZMSCORE", Layout::One),
    writes("ZPOPMAX", Layout::One),
    writes("ZPOPMIN", Layout::One),
    reads("ZRANDMEMBER", Layout::One),
    reads("ZRANGE", Layout::One),
    reads("ZRANGEBYLEX", Layout::One),
    reads("ZRANGEBYSCORE", Layout::One),
    writes("ZRANGESTORE", Layout::Two),
    reads("ZRANK", Layout::One),
    writes("ZREM", Layout::One),
    writes("ZREMRANGEBYLEX", Layout::One),
    writes("ZREMRANGEBYRANK", Layout::One),
    writes("ZREMRANGEBYSCORE", Layout::One),
    reads("ZREVRANGE", Layout::One),
    reads("ZREVRANGEBYLEX", Layout::One),
    reads("ZREVRANGEBYSCORE", Layout::One),
    reads("ZREVRANK", Layout::One),
    reads("ZSCAN", Layout::One),
    reads("ZSCORE", Layout::One),
    reads("ZUNION", Layout::Counted),
    writes("ZUNIONSTORE", Layout::CountedAfterOne),
];

pub(super) fn find(name: &str) -> Option<&'static Allowed> {
    let place = ALLOWED.binary_search_by(|allowed| allowed.name.cmp(name)).ok()?;
    ALLOWED.get(place)
}

impl Layout {
    /// Whether what is marked as a key is what Redis takes for one.
    pub(super) fn fits(self, words: &[Word]) -> bool {
        match self {
            Self::One => begins_with(1, words),
            Self::Two => begins_with(2, words),
            Self::All => !words.is_empty() && words.iter().all(Word::is_key),
            Self::Pairs => {
                let (pairs, rest) = words.as_chunks::<2>();
                let is_pair = |[key, value]: &[Word; 2]| key.is_key() && !value.is_key();
                !pairs.is_empty() && rest.is_empty() && pairs.iter().all(is_pair)
            }
            Self::Counted => counts(words),
            Self::CountedAfterOne => match words {
                [first, rest @ ..] => first.is_key() && counts(rest),
                [] => false,
            },
            Self::AfterOperation => match words {
                [operation, keys @ ..] => !operation.is_key() && Self::All.fits(keys),
                [] => false,
            },
        }
    }
}

/// So many keys, and no others.
fn begins_with(keys: usize, words: &[Word]) -> bool {
    words.len() >= keys
        && words
            .iter()
            .enumerate()
            .all(|(place, word)| word.is_key() == (place < keys))
}

/// A number that says how many keys come next, these, and no others.
fn counts(words: &[Word]) -> bool {
    let [Word::Argument(number), rest @ ..] = words else {
        return false;
    };
    let keys = rest.iter().filter(|word| word.is_key()).count();
    // One spelling, so that Redis can not read another number.
    keys > 0 && *number == keys.to_string().into_bytes() && begins_with(keys, rest)
}

impl Word {
    fn is_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }
}
