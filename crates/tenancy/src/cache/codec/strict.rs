//! Notices fields that are left out. postcard writes no names: it would read the next field in their place.

use std::{cell::Cell, fmt::Display};

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::CodecError;

/// Writes `value`, or says which field it leaves out.
pub(super) fn serialize<V, S>(value: &V, serializer: S) -> Result<S::Ok, CodecError>
where
    V: Serialize,
    S: Serializer<Error = postcard::Error>,
{
    let left_out = Cell::new(None);
    let strict = Strict {
        inner: serializer,
        left_out: &left_out,
    };
    value.serialize(strict).map_err(|error| match left_out.get() {
        Some(field) => CodecError::leaves_out(field),
        None => CodecError::not_writable(error),
    })
}

/// A serializer, or a part of one, with the place to note what was left out: postcard's errors have no text.
struct Strict<'n, S> {
    inner: S,
    left_out: &'n Cell<Option<&'static str>>,
}

/// A value that is written by a [`Strict`] serializer.
struct Within<'n, T: ?Sized> {
    value: &'n T,
    left_out: &'n Cell<Option<&'static str>>,
}

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Strict {
            inner: serializer,
            left_out: self.left_out,
        })
    }
}

impl<'n, S> Strict<'n, S> {
    fn within<'v, T: ?Sized>(&self, value: &'v T) -> Within<'v, T>
    where
        'n: 'v,
    {
        Within {
            value,
            left_out: self.left_out,
        }
    }

    fn part<P, E>(self, open: impl FnOnce(S) -> Result<P, E>) -> Result<Strict<'n, P>, E> {
        Ok(Strict {
            inner: open(self.inner)?,
            left_out: self.left_out,
        })
    }
}

macro_rules! pass_on {
    ($($method:ident($value:ty))*) => {$(
        fn $method(self, value: $value) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<'n, S: Serializer> Serializer for Strict<'n, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Strict<'n, S::SerializeSeq>;
    type SerializeTuple = Strict<'n, S::SerializeTuple>;
    type SerializeTupleStruct = Strict<'n, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Strict<'n, S::SerializeTupleVariant>;
    type SerializeMap = Strict<'n, S::SerializeMap>;
    type SerializeStruct = Strict<'n, S::SerializeStruct>;
    type SerializeStructVariant = Strict<'n, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64) serialize_unit_struct(&'static str)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.within(value);
        self.inner.serialize_some(&value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.within(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.within(value);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.part(|inner| inner.serialize_seq(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.part(|inner| inner.serialize_tuple(len))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.part(|inner| inner.serialize_tuple_struct(name, len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.part(|inner| inner.serialize_tuple_variant(name, index, variant, len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.part(|inner| inner.serialize_map(len))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.part(|inner| inner.serialize_struct(name, len))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.part(|inner| inner.serialize_struct_variant(name, index, variant, len))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! parts_without_names {
    ($($part:ident: $method:ident)*) => {$(
        impl<S: $part> $part for Strict<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.within(value);
                self.inner.$method(&value)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

parts_without_names! {
    SerializeSeq: serialize_element
    SerializeTuple: serialize_element
    SerializeTupleStruct: serialize_field
    SerializeTupleVariant: serialize_field
}

impl<S: SerializeMap> SerializeMap for Strict<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let key = self.within(key);
        self.inner.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.within(value);
        self.inner.serialize_value(&value)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

macro_rules! parts_with_names {
    ($($part:ident)*) => {$(
        impl<S: $part> $part for Strict<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                field: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.within(value);
                self.inner.serialize_field(field, &value)
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), S::Error> {
                self.left_out.set(Some(field));
                Err(S::Error::custom("a field is left out"))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

parts_with_names! {
    SerializeStruct
    SerializeStructVariant
}
