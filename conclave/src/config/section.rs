//! One table of the configuration file, declared once: the struct, its defaults, its reader and
//! its page of the sample file all come from the same lines.

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::mistake::Mistakes;

/// A table of the configuration file.
pub(super) trait Section: Default {
    /// Name of the table.
    const NAME: &'static str;

    /// Takes the values out of the file's table; what is absent keeps its default.
    fn read(reader: &mut Reader<'_>) -> Self;

    /// Writes the table with a comment for each value.
    fn sample(out: &mut String);
}

/// Declares a [`Section`]. `example` marks a value that has no default: its sample line is
/// commented out.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident = $table:literal {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $type:ty = $default:expr $(, example $example:literal)?;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])* pub(crate) $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::section::Section for $name {
            const NAME: &'static str = $table;

            fn read(reader: &mut $crate::config::section::Reader<'_>) -> Self {
                let default = Self::default();
                Self { $( $field: reader.take(stringify!($field), default.$field), )* }
            }

            fn sample(out: &mut String) {
                let default = Self::default();
                let page = $crate::config::section::Page::open(out, $table, &[$($about),*]);
                $(
                    let example: &[&str] = &[$($example)?];
                    page.value(out, stringify!($field), &[$($doc),*], &default.$field, example);
                )*
            }
        }
    };
}
pub(super) use section;

/// Reads one table and notes what is wrong with it.
pub(super) struct Reader<'a> {
    section: &'static str,
    table: Table,
    known: Vec<&'static str>,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    /// Takes the value `key`, or `default` when it is absent or wrong.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.known.push(key);
        let Some(value) = self.table.remove(key) else { return default };
        match value.try_into() {
            Ok(value) => value,
            Err(error) => {
                self.mistakes.add(format!("{}.{key}", self.section), error.message());
                default
            }
        }
    }

    fn finish(self) {
        for key in self.table.keys() {
            let problem = unknown(key, &self.known);
            self.mistakes.add(format!("{}.{key}", self.section), problem);
        }
    }
}

/// Reads the section `S` out of the whole file.
pub(super) fn read<S: Section>(file: &mut Table, mistakes: &mut Mistakes) -> S {
    let table = match file.remove(S::NAME) {
        None => return S::default(),
        Some(Value::Table(table)) => table,
        Some(_) => {
            mistakes.add(S::NAME, "must be a table: [name] on a line of its own");
            return S::default();
        }
    };
    let mut reader = Reader { section: S::NAME, table, known: Vec::new(), mistakes };
    let section = S::read(&mut reader);
    reader.finish();
    section
}

/// Says that a name is unknown and which ones there are.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let near = known.iter().find(|k| k.contains(name) || name.contains(**k));
    match near {
        Some(near) => format!("unknown; did you mean {near}?"),
        None => format!("unknown; there are: {}", known.join(", ")),
    }
}

/// Writer of one table of the sample file.
pub(super) struct Page;

impl Page {
    pub(super) fn open(out: &mut String, table: &str, about: &[&str]) -> Self {
        out.push('\n');
        comment(out, about);
        out.push_str(&format!("[{table}]\n"));
        Self
    }

    pub(super) fn value<T: Serialize>(
        &self,
        out: &mut String,
        key: &str,
        doc: &[&str],
        default: &T,
        example: &[&str],
    ) {
        comment(out, doc);
        match (example.first(), Value::try_from(default)) {
            (Some(example), _) => out.push_str(&format!("# {key} = {example}\n")),
            (None, Ok(value)) => out.push_str(&format!("{key} = {value}\n")),
            (None, Err(_)) => {} // Every default is a TOML value; a test holds that.
        }
    }
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(&format!("#{line}\n"));
    }
}
