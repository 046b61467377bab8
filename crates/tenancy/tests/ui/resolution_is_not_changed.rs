//! A resolution does not become that of another tenant.

use tenancy::resolve::Resolution;

fn swap(mine: &mut Resolution, other: Resolution) {
    mine.side = other.side;
}

fn main() {}
