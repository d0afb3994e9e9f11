//! One fact in one place: enums whose rows carry an id and a line of documentation.

/// Makes an enum of rows. Each row has an id (what is stored, logged and shown) and its documentation; `ALL` lists
/// the rows in order, from which docs and `--help` are made.
macro_rules! table {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($row:ident = $id:literal, $doc:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        $vis enum $name { $(#[doc = $doc] $row,)+ }

        impl $name {
            /// Every row, in order.
            pub const ALL: &'static [Self] = &[$(Self::$row,)+];

            /// What stands for this row in records, logs and answers.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$row => $id,)+ }
            }

            /// One sentence about this row.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$row => $doc,)+ }
            }

            /// The row with this id.
            pub fn from_id(id: &str) -> Option<Self> {
                match id { $($id => Some(Self::$row),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.id())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.id())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::from_id(&id).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(concat!("no ", stringify!($name), " has the id {:?}"), id))
                })
            }
        }
    };
}
pub(crate) use table;
