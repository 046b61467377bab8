//! `profile.proto` of pprof, as much of it as is needed: <https://github.com/google/pprof/blob/main/proto/profile.proto>.

use std::collections::HashMap;

use super::dump::{Dump, Mapping};

/// The texts that always are in the table; the first must be empty.
const TEXTS: [&str; 6] = ["", "inuse_objects", "count", "inuse_space", "bytes", "space"];

pub(super) fn encode(dump: &Dump) -> Vec<u8> {
    let mut profile = Message::default();
    profile.message(1, &value_type(1, 2));
    profile.message(1, &value_type(3, 4));
    let mut locations = Locations::default();
    for stack in &dump.stacks {
        let mut sample = Message::default();
        let ids: Vec<u64> = stack
            .addresses
            .iter()
            .map(|address| locations.id_of(*address))
            .collect();
        sample.packed(1, &ids);
        sample.packed(2, &[stack.objects.cast_unsigned(), stack.bytes.cast_unsigned()]);
        profile.message(2, &sample);
    }
    for (at, mapping) in dump.mappings.iter().enumerate() {
        profile.message(3, &mapping_message(at, mapping));
    }
    for (address, id) in locations.in_order() {
        profile.message(4, &location_message(id, address, &dump.mappings));
    }
    for text in TEXTS {
        profile.text(6, text);
    }
    for mapping in &dump.mappings {
        profile.text(6, &mapping.file);
    }
    profile.message(11, &value_type(5, 4));
    profile.number(12, dump.rate);
    // Which of the two is shown first.
    profile.number(14, 3);
    profile.0
}

fn value_type(kind: u64, unit: u64) -> Message {
    let mut message = Message::default();
    message.number(1, kind);
    message.number(2, unit);
    message
}

fn mapping_message(at: usize, mapping: &Mapping) -> Message {
    let mut message = Message::default();
    message.number(1, at as u64 + 1);
    message.number(2, mapping.start);
    message.number(3, mapping.end);
    message.number(4, mapping.offset);
    message.number(5, (TEXTS.len() + at) as u64);
    message
}

fn location_message(id: u64, address: u64, mappings: &[Mapping]) -> Message {
    let mut message = Message::default();
    message.number(1, id);
    let of_address = |mapping: &Mapping| (mapping.start..mapping.end).contains(&address);
    if let Some(at) = mappings.iter().position(of_address) {
        message.number(2, at as u64 + 1);
    }
    message.number(3, address);
    message
}

/// Addresses, numbered from 1.
#[derive(Default)]
struct Locations(HashMap<u64, u64>);

impl Locations {
    /// Of a return address; the call is before it.
    fn id_of(&mut self, address: u64) -> u64 {
        let next = self.0.len() as u64 + 1;
        *self.0.entry(address.saturating_sub(1)).or_insert(next)
    }

    fn in_order(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<(u64, u64)> = self.0.iter().map(|(address, id)| (*address, *id)).collect();
        all.sort_unstable_by_key(|(_, id)| *id);
        all
    }
}

/// A message of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.variable(field << 3);
        self.variable(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.variable(field << 3 | 2);
        self.variable(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn packed(&mut self, field: u64, values: &[u64]) {
        let mut inner = Self::default();
        for value in values {
            inner.variable(*value);
        }
        self.message(field, &inner);
    }

    fn variable(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::profile::dump::Stack;

    #[test]
    fn numbers_have_seven_bits_a_byte_and_messages_their_length_before_them() {
        let mut message = Message::default();
        message.number(1, 300);
        message.text(6, "ab");
        message.packed(2, &[1, 128]);
        assert_eq!(
            message.0,
            [0x08, 0xac, 0x02, 0x32, 2, b'a', b'b', 0x12, 3, 1, 0x80, 0x01]
        );
    }

    #[test]
    fn an_address_in_two_stacks_is_one_location_of_its_mapping() {
        let stack = |addresses: &[u64]| Stack {
            addresses: addresses.to_vec(),
            objects: 1,
            bytes: 2,
        };
        let mapping = Mapping {
            start: 0x100,
            end: 0x200,
            offset: 0,
            file: "/srv/server".to_owned(),
        };
        let dump = Dump {
            rate: 512,
            stacks: vec![stack(&[0x110, 0x120]), stack(&[0x110, 0x900])],
            mappings: vec![mapping],
        };
        let bytes = encode(&dump);
        let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        // Field 4: number 1, mapping 1, the address of the call.
        assert!(contains(&[0x22, 7, 0x08, 1, 0x10, 1, 0x18, 0x8f, 0x02]));
        // One without a mapping.
        assert!(contains(&[0x22, 5, 0x08, 3, 0x18, 0xff, 0x11]));
        assert!(!contains(&[0x08, 4, 0x18]));
        assert!(contains(b"/srv/server"));
    }
}
