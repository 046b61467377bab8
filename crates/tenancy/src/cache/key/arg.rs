use tenancy_core::TenantId;

use super::{bytes::KeyBuffer, mark};

/// What can stand in a key: integers, `bool`, `char`, `&str`, byte and other slices, arrays, `Option`, `()`, tuples of up
/// to six, `TenantId`, and your own types. `String` and `Vec` stand for `&str` and slices: they are given borrowed.
///
/// A type of your own says which of these it is written as:
///
/// ```
/// use tenancy::cache::{KeyArg, KeyWriter, KeyWritten, Keys};
///
/// #[derive(Clone, Copy)]
/// struct NoteId(u64);
///
/// impl KeyArg for NoteId {
///     type Given<'a> = Self;
///
///     fn write(given: Self, key: KeyWriter<'_>) -> KeyWritten {
///         key.value::<u64>(given.0)
///     }
/// }
///
/// struct Author { name: String, site: String }
///
/// impl KeyArg for Author {
///     type Given<'a> = &'a Self;
///
///     fn write(given: &Self, key: KeyWriter<'_>) -> KeyWritten {
///         key.value::<(&str, &str)>((&given.name, &given.site))
///     }
/// }
///
/// const NOTE: Keys<(NoteId, Author), String> = Keys::new("note", 1);
///
/// let author = Author { name: "Ada".into(), site: "ada.example".into() };
/// assert_eq!(NOTE.key((NoteId(7), &author)).to_string(), r#"note@1(7u64, ("Ada", "ada.example"))"#);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a cache key",
    note = "integers, `bool`, `char`, `&str`, slices, arrays, `Option` and tuples can; other types implement `KeyArg`"
)]
pub trait KeyArg {
    /// What [`Keys::key`](super::Keys::key) takes: this type, with any lifetime in the place of `'static`.
    type Given<'a>: Copy + 'a;

    /// Writes it, as one value of another kind. Two that are to have different keys must be written differently.
    fn write(given: Self::Given<'_>, key: KeyWriter<'_>) -> KeyWritten;

    /// Bytes are written shorter.
    #[doc(hidden)]
    fn write_list(given: &[Self::Given<'_>], key: KeyWriter<'_>) -> KeyWritten {
        key.buffer.push(&[mark::LIST]);
        for item in given {
            let KeyWritten(()) = Self::write(*item, KeyWriter::new(key.buffer));
        }
        key.end(&[mark::LIST_END])
    }
}

/// The place for one argument in a key. It is filled once, so that arguments never run into each other.
#[derive(Debug)]
pub struct KeyWriter<'k> {
    buffer: &'k mut KeyBuffer,
}

/// The proof that an argument was written.
#[derive(Debug)]
#[must_use]
pub struct KeyWritten(());

impl<'k> KeyWriter<'k> {
    pub(super) fn new(buffer: &'k mut KeyBuffer) -> Self {
        Self { buffer }
    }

    /// Fills the place.
    pub fn value<T: KeyArg>(self, given: T::Given<'_>) -> KeyWritten {
        T::write(given, self)
    }

    fn end(self, bytes: &[u8]) -> KeyWritten {
        self.buffer.push(bytes);
        KeyWritten(())
    }

    fn sized(self, mark: u8, bytes: &[u8]) -> KeyWritten {
        self.buffer.push(&[mark]);
        self.buffer.push_len(bytes.len());
        self.end(bytes)
    }
}

macro_rules! integers {
    ($($integer:ty as $wide:ty: $mark:ident),* $(,)?) => {$(
        impl KeyArg for $integer {
            type Given<'a> = Self;

            fn write(given: Self, key: KeyWriter<'_>) -> KeyWritten {
                // Of one width on every machine.
                let wide = given as $wide;
                key.buffer.push(&[mark::$mark]);
                key.end(&wide.to_be_bytes())
            }
        }
    )*};
}

integers! {
    u16 as u16: U16, u32 as u32: U32, u64 as u64: U64, u128 as u128: U128, usize as u64: USIZE,
    i8 as i8: I8, i16 as i16: I16, i32 as i32: I32, i64 as i64: I64, i128 as i128: I128, isize as i64: ISIZE,
}

impl KeyArg for u8 {
    type Given<'a> = Self;

    fn write(given: Self, key: KeyWriter<'_>) -> KeyWritten {
        key.end(&[mark::U8, given])
    }

    fn write_list(given: &[Self], key: KeyWriter<'_>) -> KeyWritten {
        key.sized(mark::BYTES, given)
    }
}

impl KeyArg for bool {
    type Given<'a> = Self;

    fn write(given: Self, key: KeyWriter<'_>) -> KeyWritten {
        key.end(&[if given { mark::TRUE } else { mark::FALSE }])
    }
}

impl KeyArg for char {
    type Given<'a> = Self;

    fn write(given: Self, key: KeyWriter<'_>) -> KeyWritten {
        key.buffer.push(&[mark::CHAR]);
        key.end(&u32::from(given).to_be_bytes())
    }
}

impl KeyArg for &'static str {
    type Given<'a> = &'a str;

    fn write(given: &str, key: KeyWriter<'_>) -> KeyWritten {
        key.sized(mark::TEXT, given.as_bytes())
    }
}

impl KeyArg for String {
    type Given<'a> = &'a str;

    fn write(given: &str, key: KeyWriter<'_>) -> KeyWritten {
        key.value::<&str>(given)
    }
}

impl KeyArg for TenantId {
    type Given<'a> = &'a Self;

    fn write(given: &Self, key: KeyWriter<'_>) -> KeyWritten {
        key.value::<&str>(given.as_str())
    }
}

impl<T: KeyArg + 'static> KeyArg for &'static [T] {
    type Given<'a> = &'a [T::Given<'a>];

    fn write(given: Self::Given<'_>, key: KeyWriter<'_>) -> KeyWritten {
        T::write_list(given, key)
    }
}

impl<T: KeyArg + 'static> KeyArg for Vec<T> {
    type Given<'a> = &'a [T::Given<'a>];

    fn write(given: Self::Given<'_>, key: KeyWriter<'_>) -> KeyWritten {
        T::write_list(given, key)
    }
}

impl<T: KeyArg, const N: usize> KeyArg for [T; N] {
    type Given<'a> = [T::Given<'a>; N];

    fn write(given: Self::Given<'_>, key: KeyWriter<'_>) -> KeyWritten {
        T::write_list(&given, key)
    }
}

impl<T: KeyArg> KeyArg for Option<T> {
    type Given<'a> = Option<T::Given<'a>>;

    fn write(given: Self::Given<'_>, key: KeyWriter<'_>) -> KeyWritten {
        match given {
            None => key.end(&[mark::NONE]),
            Some(given) => {
                key.buffer.push(&[mark::SOME]);
                T::write(given, key)
            }
        }
    }
}

macro_rules! tuples {
    ($(($($member:ident $given:ident),*))*) => {$(
        impl<$($member: KeyArg),*> KeyArg for ($($member,)*) {
            type Given<'a> = ($($member::Given<'a>,)*);

            fn write(($($given,)*): Self::Given<'_>, key: KeyWriter<'_>) -> KeyWritten {
                key.buffer.push(&[mark::TUPLE]);
                $(let KeyWritten(()) = $member::write($given, KeyWriter::new(key.buffer));)*
                key.end(&[mark::TUPLE_END])
            }
        }
    )*};
}

tuples! {
    ()
    (A a)
    (A a, B b)
    (A a, B b, C c)
    (A a, B b, C c, D d)
    (A a, B b, C c, D d, E e)
    (A a, B b, C c, D d, E e, F f)
}
