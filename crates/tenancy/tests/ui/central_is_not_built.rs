//! `Central` comes from a central request, and from nowhere else.

use tenancy::Central;

fn main() {
    let _ = Central {
        _only_by_extraction: (),
    };
}
