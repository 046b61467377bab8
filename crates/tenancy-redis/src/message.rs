//! What processes tell each other: `scope previous number kind cells…`, as `raise.lua` and `teach.lua` write it.

use std::str;

use tenancy::cache::shared::{Message, ScopeName};

use crate::script::{cell_from_text, mode_from_text, number_from_text};

/// `None` for what no script of this version writes.
pub(crate) fn read(payload: &[u8]) -> Option<Message> {
    let mut words = str::from_utf8(payload).ok()?.split(' ');
    let scope = ScopeName::parse(words.next()?)?;
    let previous = number_from_text(words.next()?)?;
    let number = number_from_text(words.next()?)?;
    let mode = mode_from_text(words.next()?)?;
    let cells = words.map(cell_from_text).collect::<Option<Vec<_>>>()?;
    (!cells.is_empty()).then_some(Message::Raised {
        scope,
        previous,
        number,
        cells,
        mode,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenancy::cache::shared::{Cell, FlushMode};

    use super::*;

    #[test]
    fn a_message_is_read_as_the_scripts_write_it() {
        assert_eq!(
            read(b"acme:1 12 34 a b 7 4095"),
            Some(Message::Raised {
                scope: ScopeName::for_tests("acme:1"),
                previous: 12,
                number: 34,
                cells: vec![Cell::Base, Cell::Slot(7), Cell::Slot(4095)],
                mode: FlushMode::Soft,
            })
        );
        assert!(read(b":central 0 34 h b").is_some());
    }

    #[test]
    fn what_no_script_writes_is_none() {
        for text in [
            "",
            "hello",
            "acme:1 12 34 h",
            "acme:1 12 34 h ",
            "acme:1 12 34 h 4096",
            "acme:1 12 34 x 7",
            "acme:1 12 -34 h 7",
            "acme:1 12 99999999999999999 h 7",
            "acme 12 34 h 7",
            "acme:1  12 34 h 7",
            "acme:1 12 34 h 7 ",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"acme:1 12 34 h 7\xff"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn anything_may_be_told(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            read(&payload);
        }
    }
}
