use std::any::type_name;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
    value::{StrDeserializer, U32Deserializer},
};

use super::{
    samples::{ANYTHING, Anything, BOOLS, BYTES, CHARS, NO_FIELD, NUMBERS, TEXTS},
    survey::{Path, Refused, Survey},
};

/// A deserializer that has no input: it notes what it is asked for, and makes something up.
pub(super) struct Probe<'s> {
    survey: &'s mut Survey,
    path: Path,
}

impl<'s> Probe<'s> {
    pub(super) fn of_all(survey: &'s mut Survey) -> Self {
        Self {
            survey,
            path: Path::ROOT,
        }
    }

    fn offer<T: Copy>(&mut self, what: &str, samples: &[T]) -> Result<T, Refused> {
        self.survey.note(what)?;
        let sample = self.survey.sample(self.path.hash(), samples.len());
        samples.get(sample).copied().ok_or(Refused)
    }

    fn some(self, len: usize) -> Elements<'s> {
        Elements {
            survey: self.survey,
            path: self.path,
            read: 0,
            len,
        }
    }

    /// One of it, or none where the type is within itself.
    fn at_most_one(self) -> Elements<'s> {
        let len = usize::from(!self.survey.is_closing());
        self.some(len)
    }

    fn one<'de, T: DeserializeSeed<'de>>(
        survey: &'s mut Survey,
        path: Path,
        seed: T,
    ) -> Result<T::Value, Refused> {
        let path = path.child(0)?;
        seed.deserialize(Probe { survey, path })
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident $number:ty,)*) => {$(
        fn $deserialize<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
            let number = self.offer(stringify!($number), &NUMBERS)?;
            visitor.$visit(<$number>::from(number))
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refused;

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_i8<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let number = self.offer("i8", &NUMBERS)?;
        visitor.visit_i8(number.cast_signed())
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bool(self.offer("bool", &BOOLS)?)
    }

    fn deserialize_char<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_char(self.offer("char", &CHARS)?)
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(self.offer("text", &TEXTS)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bytes(self.offer("bytes", &BYTES)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("identifier")?;
        visitor.visit_str(NO_FIELD)
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note_looking_ahead();
        match self.offer("anything", &ANYTHING)? {
            Anything::Unit => visitor.visit_unit(),
            Anything::Text => visitor.visit_str(TEXTS[0]),
            Anything::Number => visitor.visit_u64(NUMBERS[0].into()),
            Anything::Bool => visitor.visit_bool(BOOLS[0]),
            Anything::EmptyMap => visitor.visit_map(self.some(0)),
            Anything::EmptySeq => visitor.visit_seq(self.some(0)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("option")?;
        if self.survey.is_closing() {
            return visitor.visit_none();
        }
        let path = self.path.child(0)?;
        visitor.visit_some(Probe {
            survey: self.survey,
            path,
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("unit")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.survey.note_all("unit struct", &[name])?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.survey.note_all("newtype struct", &[name])?;
        let path = self.path.child(0)?;
        self.survey.within(type_name::<V::Value>(), |survey| {
            visitor.visit_newtype_struct(Probe { survey, path })
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("seq")?;
        visitor.visit_seq(self.at_most_one())
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("tuple")?;
        self.survey.note_len(len)?;
        visitor.visit_seq(self.some(len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.survey.note_all("tuple struct", &[name])?;
        self.survey.note_len(len)?;
        let path = self.path;
        self.survey.within(type_name::<V::Value>(), |survey| {
            visitor.visit_seq(Probe { survey, path }.some(len))
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("map")?;
        visitor.visit_map(self.at_most_one())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.survey.note_all(name, fields)?;
        let path = self.path;
        self.survey.within(type_name::<V::Value>(), |survey| {
            visitor.visit_seq(Probe { survey, path }.some(fields.len()))
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.survey.note("enum")?;
        self.survey.note_all(name, variants)?;
        let path = self.path;
        let type_name = type_name::<V::Value>();
        self.survey
            .within_variant(type_name, variants.len(), |survey, index| {
                let path = path.child(index)?;
                visitor.visit_enum(ChosenVariant {
                    survey,
                    path,
                    index,
                    name: variants.get(index).copied().unwrap_or_default(),
                })
            })
    }

    fn is_human_readable(&self) -> bool {
        self.survey.is_readable()
    }
}

/// So many made-up elements, or entries.
struct Elements<'s> {
    survey: &'s mut Survey,
    path: Path,
    read: usize,
    len: usize,
}

impl Elements<'_> {
    fn next<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        let path = self.path.child(self.read)?;
        self.read += 1;
        seed.deserialize(Probe {
            survey: self.survey,
            path,
        })
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        if self.read == self.len {
            return Ok(None);
        }
        self.next(seed).map(Some)
    }
}

impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        // A key and its value are two.
        if self.read == 2 * self.len {
            return Ok(None);
        }
        self.next(seed).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        self.next(seed)
    }
}

struct ChosenVariant<'s> {
    survey: &'s mut Survey,
    path: Path,
    index: usize,
    name: &'static str,
}

impl<'de, 's> EnumAccess<'de> for ChosenVariant<'s> {
    type Error = Refused;
    type Variant = Probe<'s>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Probe<'s>), Refused> {
        let variant = if self.survey.is_readable() {
            let name: StrDeserializer<'_, Refused> = self.name.into_deserializer();
            seed.deserialize(name)?
        } else {
            let index: U32Deserializer<Refused> = (self.index as u32).into_deserializer();
            seed.deserialize(index)?
        };
        let (survey, path) = (self.survey, self.path);
        Ok((variant, Probe { survey, path }))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.survey.note("unit variant")
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        self.survey.note("newtype variant")?;
        Probe::one(self.survey, self.path, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.survey.note("tuple variant")?;
        self.survey.note_len(len)?;
        visitor.visit_seq(self.some(len))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.survey.note_all("struct variant", fields)?;
        visitor.visit_seq(self.some(fields.len()))
    }
}
