//! What an extension says of a request was said by the stack.

use tenancy::resolve::Resolution;

fn anything<T>() -> T {
    unreachable!()
}

fn main() {
    let _ = Resolution { side: anything(), would_refuse: anything() };
}
