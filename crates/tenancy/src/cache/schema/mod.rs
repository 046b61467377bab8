//! The shape of a type, as a number: so that no version of the application reads what another has written differently.

mod probe;
mod samples;
mod survey;
#[cfg(test)]
mod tests;

use std::{
    any::{TypeId, type_name},
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use serde::de::DeserializeOwned;

use self::{probe::Probe, survey::Survey};

/// What is known of a type's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    /// Differs for other names, types or orders of fields and variants, wherever they are inside.
    pub(crate) id: u64,
    /// Whether it asks for what comes before it knows what to read, which postcard cannot answer.
    pub(crate) looks_ahead: bool,
    /// Whether all of it was seen. What lies behind a field that refuses made-up values is not.
    pub(crate) is_complete: bool,
}

/// It depends on the type alone, and there are as many as the program has types.
static KNOWN: RwLock<BTreeMap<TypeId, Schema>> = RwLock::new(BTreeMap::new());

/// The schema of `V`: the same in every process of one build. Made at the first call, by letting `V` read made-up values.
///
/// Where `V` accepts none of them, as a type may that checks what it reads, what lies behind is not seen, and its Rust name
/// stands for it.
pub(crate) fn of<V: DeserializeOwned + 'static>() -> Schema {
    let type_id = TypeId::of::<V>();
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = known.get(&type_id) {
        return *schema;
    }
    drop(known);
    let schema = explore(type_name::<V>(), &|survey| {
        V::deserialize(Probe::of_all(survey)).is_ok()
    });
    KNOWN
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(type_id, schema);
    schema
}

fn explore(name: &'static str, read: &dyn Fn(&mut Survey) -> bool) -> Schema {
    // Types may have two shapes, and JSON has the other one.
    let binary = Survey::run(false, read);
    let readable = Survey::run(true, read);
    Schema {
        id: survey::combined(name, &binary, &readable),
        looks_ahead: binary.looks_ahead(),
        is_complete: binary.is_complete(),
    }
}
