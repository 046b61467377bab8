//! What makes a `Tenant` inside of the crate is not there outside of it.

use tenancy::Tenant;

fn anything<T>() -> T {
    unreachable!()
}

fn main() {
    let _ = Tenant::new(anything());
}
