//! Short names for what the tests do with a connection.

use postgres::Client;
use postgres::types::private::BytesMut;
use postgres_types::{Format, FromSqlOwned, IsNull, ToSql, Type};
use std::error::Error;

pub trait Sql {
    /// Runs statements, each in its own transaction unless they say otherwise.
    fn run(&mut self, sql: &str);
    /// The one value that a query gives.
    fn one<T: FromSqlOwned>(&mut self, sql: &str) -> T;
    /// The values of the first column.
    fn all<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T>;
    /// The SQLSTATE that a statement raises; "00000" if it does not fail.
    fn code(&mut self, sql: &str) -> String;
}

impl Sql for Client {
    fn run(&mut self, sql: &str) {
        // Statement by statement: several in one message are one transaction.
        for statement in split(sql) {
            if let Err(error) = self.batch_execute(statement) {
                panic!("{statement}\n{}", describe(&error));
            }
        }
    }

    fn one<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        match self.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{sql}\n{}", describe(&error)),
        }
    }

    fn all<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T> {
        match self.query(sql, &[]) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => panic!("{sql}\n{}", describe(&error)),
        }
    }

    fn code(&mut self, sql: &str) -> String {
        match self.batch_execute(sql) {
            Ok(()) => "00000".into(),
            Err(error) => match error.code() {
                Some(code) => code.code().into(),
                None => panic!("{sql}\n{}", describe(&error)),
            },
        }
    }
}

/// Statements end with a semicolon at the end of a line.
fn split(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!(
            "{}: {}\n{}\n{}\n{}",
            db.code().code(),
            db.message(),
            db.detail().unwrap_or_default(),
            db.hint().unwrap_or_default(),
            db.where_().unwrap_or_default()
        ),
        None => error.to_string(),
    }
}

/// A parameter as node-postgres and others send it: text, whatever type the server wants.
#[derive(Debug, Clone)]
pub struct Text(pub Option<String>);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(Some(text.into()))
    }
}

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}
