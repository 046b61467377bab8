# A menu: each line below runs as it stands, without just.

_menu:
    @just --list --unsorted

# Run the example server (release build)
run *args:
    cargo run --release -p example-server -- {{ args }}

# Install what the tests need, then run every unit, integration and doc test
test *args:
    scripts/test {{ args }}

# Formatting, clippy with warnings denied, every feature alone
lint:
    bash .ci/run fmt clippy features

# API documentation with broken links denied, into target/doc
doc:
    bash .ci/run doc

# Measure: instructions, allocations, and load beside what one would use instead
bench *args:
    cargo bench -p tenancy-bench {{ args }}

# Fuzz every target for some seconds each: just fuzz 300
fuzz *args:
    scripts/fuzz {{ args }}

# Everything CI checks, in CI's order
verify:
    bash .ci/run
