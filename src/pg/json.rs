//! A jsonb object from a payload and columns: what `payload || jsonb_build_object(…)` gives, for columns of
//! the common types.

use super::{Datum, Oid};
use crate::lease::object::{Keys, Value};
use pgrx::pg_sys;

/// How a value of a type is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Text,
    Int2,
    Int4,
    Int8,
    Numeric,
    Bool,
    Jsonb,
}

impl Kind {
    /// `None` for types whose values only SQL can write.
    pub fn of(type_oid: Oid) -> Option<Kind> {
        match type_oid {
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => Some(Kind::Text),
            pg_sys::INT2OID => Some(Kind::Int2),
            pg_sys::INT4OID => Some(Kind::Int4),
            pg_sys::INT8OID => Some(Kind::Int8),
            pg_sys::NUMERICOID => Some(Kind::Numeric),
            pg_sys::BOOLOID => Some(Kind::Bool),
            pg_sys::JSONBOID => Some(Kind::Jsonb),
            _ => None,
        }
    }

    /// Are values of any length?
    pub fn varies(self) -> bool {
        matches!(self, Kind::Text | Kind::Numeric | Kind::Jsonb)
    }
}

/// An object being built.
struct Builder(*mut pg_sys::JsonbParseState);

impl Builder {
    fn push(
        &mut self,
        token: pg_sys::JsonbIteratorToken::Type,
        value: Option<&mut pg_sys::JsonbValue>,
    ) -> *mut pg_sys::JsonbValue {
        // SAFETY: the state is what the calls before left; a value is copied (what it points to is not).
        unsafe {
            pg_sys::pushJsonbValue(&mut self.0, token, value.map_or(std::ptr::null_mut(), |v| &raw mut *v))
        }
    }

    fn push_key(&mut self, name: &str) {
        self.push(pg_sys::JsonbIteratorToken::WJB_KEY, Some(&mut string(name.as_ptr(), name.len())));
    }

    /// The pairs of an object.
    fn push_pairs(&mut self, object: *mut pg_sys::Jsonb) {
        // SAFETY: a detoasted jsonb object; skipping nested values gives its keys and values in turn.
        unsafe {
            let mut iterator = pg_sys::JsonbIteratorInit(&raw mut (*object).root);
            let mut value = pg_sys::JsonbValue::default();
            loop {
                let token = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
                match token {
                    pg_sys::JsonbIteratorToken::WJB_DONE => return,
                    pg_sys::JsonbIteratorToken::WJB_KEY | pg_sys::JsonbIteratorToken::WJB_VALUE => {
                        self.push(token, Some(&mut value));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn string(bytes: *const u8, length: usize) -> pg_sys::JsonbValue {
    pg_sys::JsonbValue {
        type_: pg_sys::jbvType::jbvString,
        val: pg_sys::JsonbValue__bindgen_ty_1 {
            string: pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_1 {
                len: length as i32,
                val: bytes.cast_mut().cast(),
            },
        },
    }
}

fn number(value: i64) -> pg_sys::JsonbValue {
    pg_sys::JsonbValue {
        type_: pg_sys::jbvType::jbvNumeric,
        // SAFETY: makes a new numeric.
        val: pg_sys::JsonbValue__bindgen_ty_1 { numeric: unsafe { pg_sys::int64_to_numeric(value) } },
    }
}

/// `None` for a number that JSON has no way to write.
fn json_value(kind: Kind, value: Datum) -> Option<pg_sys::JsonbValue> {
    // SAFETY: the value is of the kind's type, and not null; what is pointed to lives in the row or in the
    // present memory context until the object is finished.
    unsafe {
        Some(match kind {
            Kind::Text => {
                let text = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
                string(pgrx::vardata_any(text).cast(), pgrx::varsize_any_exhdr(text))
            }
            Kind::Int2 => number(i64::from(value.value() as i16)),
            Kind::Int4 => number(i64::from(value.value() as i32)),
            Kind::Int8 => number(value.value() as i64),
            Kind::Numeric => {
                let numeric = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast();
                if pg_sys::numeric_is_nan(numeric) || pg_sys::numeric_is_inf(numeric) {
                    return None;
                }
                pg_sys::JsonbValue {
                    type_: pg_sys::jbvType::jbvNumeric,
                    val: pg_sys::JsonbValue__bindgen_ty_1 { numeric },
                }
            }
            Kind::Bool => pg_sys::JsonbValue {
                type_: pg_sys::jbvType::jbvBool,
                val: pg_sys::JsonbValue__bindgen_ty_1 { boolean: value.value() & 0xff != 0 },
            },
            Kind::Jsonb => {
                let jsonb = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
                if (*jsonb).root.header & pg_sys::JB_FSCALAR != 0 {
                    let mut scalar = pg_sys::JsonbValue::default();
                    pg_sys::JsonbExtractScalar(&raw mut (*jsonb).root, &mut scalar);
                    scalar
                } else {
                    pg_sys::JsonbValue {
                        type_: pg_sys::jbvType::jbvBinary,
                        val: pg_sys::JsonbValue__bindgen_ty_1 {
                            binary: pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_4 {
                                len: (pgrx::varsize(jsonb.cast()) - size_of::<i32>()) as i32,
                                data: &raw mut (*jsonb).root,
                            },
                        },
                    }
                }
            }
        })
    }
}

/// The payload's fields with the columns' on top; `None` if it must be done in SQL: the payload is no
/// object, or a value cannot be written.
pub fn object<'a>(
    payload: Option<Datum>,
    columns: impl Iterator<Item = (&'a str, Kind, Option<Datum>)>,
) -> Option<Datum> {
    let mut builder = Builder(std::ptr::null_mut());
    builder.push(pg_sys::JsonbIteratorToken::WJB_BEGIN_OBJECT, None);
    if let Some(payload) = payload {
        // SAFETY: a jsonb value, not null.
        let payload = unsafe { pg_sys::pg_detoast_datum(payload.cast_mut_ptr()).cast::<pg_sys::Jsonb>() };
        if !super::array::is_json_object(Datum::from(payload)) {
            return None;
        }
        builder.push_pairs(payload);
    }
    for (name, kind, value) in columns {
        builder.push_key(name);
        let mut value = match value {
            Some(value) => json_value(kind, value)?,
            None => pg_sys::JsonbValue { type_: pg_sys::jbvType::jbvNull, ..Default::default() },
        };
        builder.push(pg_sys::JsonbIteratorToken::WJB_VALUE, Some(&mut value));
    }
    let whole = builder.push(pg_sys::JsonbIteratorToken::WJB_END_OBJECT, None);
    // SAFETY: a finished object.
    Some(Datum::from(unsafe { pg_sys::JsonbValueToJsonb(whole) }))
}

/// Makes objects of the same columns.
pub struct Plain {
    keys: Keys,
    /// For an object each, of words, since Postgres wants a value aligned.
    rooms: Vec<Vec<u64>>,
    /// So many of them hold one.
    made: usize,
    /// Of the present row, and not looked at once the object is made.
    values: Vec<Value<'static>>,
}

impl Plain {
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Plain {
        Plain { keys: Keys::new(names), rooms: Vec::new(), made: 0, values: Vec::new() }
    }

    /// The objects made so far are not used any more.
    pub fn forget(&mut self) {
        self.made = 0;
    }

    /// The columns as an object, valid until `forget` is called; `None` if `object` must make it.
    pub fn object(&mut self, columns: impl Iterator<Item = (Kind, Option<Datum>)>) -> Option<Datum> {
        self.values.clear();
        for (kind, value) in columns {
            self.values.push(plain_value(kind, value)?);
        }
        let bytes = self.keys.room(&self.values);
        if self.made == self.rooms.len() {
            self.rooms.push(Vec::new());
        }
        let room = &mut self.rooms[self.made];
        room.resize(room.len().max(bytes.div_ceil(8)), 0);
        // SAFETY: there are so many bytes, and any bytes are words.
        let bytes = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), bytes) };
        self.keys.write(&self.values, bytes)?;
        self.made += 1;
        Some(Datum::from(room.as_ptr()))
    }
}

/// Does a value of variable length stand here, as it is?
///
/// # Safety
/// Such a value.
unsafe fn is_here(value: *const pg_sys::varlena) -> bool {
    // SAFETY: by the contract above.
    unsafe { pgrx::varatt_is_4b_u(value) || (pgrx::varatt_is_1b(value) && !pgrx::varatt_is_1b_e(value)) }
}

/// Is a payload an empty object, and stored so that this can be seen?
pub fn is_empty_object(payload: Datum) -> bool {
    // SAFETY: a jsonb value, not null, begins with the header of its root container, perhaps not aligned.
    unsafe {
        let value = payload.cast_mut_ptr::<pg_sys::varlena>();
        is_here(value)
            && pgrx::varsize_any_exhdr(value) == size_of::<u32>()
            && pgrx::vardata_any(value).cast::<u32>().read_unaligned() == pg_sys::JB_FOBJECT
    }
}

/// A column's value, for as long as its row is there; `None` if it cannot be written simply.
fn plain_value<'a>(kind: Kind, value: Option<Datum>) -> Option<Value<'a>> {
    let Some(value) = value else { return Some(Value::Null) };
    // SAFETY: the value is of the kind's type; a text's bytes stand behind its header.
    unsafe {
        match kind {
            Kind::Text => {
                let text = value.cast_mut_ptr::<pg_sys::varlena>();
                is_here(text).then(|| {
                    let bytes = pgrx::vardata_any(text).cast();
                    Value::Text(std::slice::from_raw_parts(bytes, pgrx::varsize_any_exhdr(text)))
                })
            }
            Kind::Int2 => Some(Value::Number(i64::from(value.value() as i16))),
            Kind::Int4 => Some(Value::Number(i64::from(value.value() as i32))),
            Kind::Int8 => Some(Value::Number(value.value() as i64)),
            Kind::Bool => Some(Value::Bool(value.value() & 0xff != 0)),
            Kind::Numeric | Kind::Jsonb => None,
        }
    }
}
