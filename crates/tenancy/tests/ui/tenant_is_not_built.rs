//! A `Tenant` comes from a request or from `Tenancy::enter`, and from nowhere else.

use tenancy::Tenant;

fn anything<T>() -> T {
    unreachable!()
}

fn main() {
    let _ = Tenant { block: anything() };
}
