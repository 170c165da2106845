//! What the build script's output expands to. Kept small per table: everything that can be written once, over cells of
//! rows, is in `weft_ovsdb::model`.

/// Makes the types of one database.
macro_rules! database {
    ($database:literal $($doc:literal $ty:ident $reference:ident $module:ident $id:literal $table:literal {
        $($column_doc:literal $field:ident $constant:ident $place:literal $column:literal ($value:ty))*
    })*) => {
        use weft_ovsdb::model::{
            AnyChange, AnyUpdate, Cell, CellMut, ColumnDef, Columns, Database, Map, Recorder, Row, RowChange, RowUpdate, Set,
            Str, Table, TableDef, UpdateHead, Uuid, Value,
        };

        $(
            #[doc = $doc]
            #[derive(Clone, Debug, Default, PartialEq)]
            pub struct $ty { $(#[doc = $column_doc] pub $field: $value,)* }

            impl Columns for $ty {
                fn cell(&self, column: usize) -> Cell<'_> {
                    match column {
                        $($place => (&self.$field).into(),)*
                        _ => panic!(concat!("table ", $table, " has no column {}"), column),
                    }
                }
                fn cell_mut(&mut self, column: usize) -> CellMut<'_> {
                    match column {
                        $($place => (&mut self.$field).into(),)*
                        _ => panic!(concat!("table ", $table, " has no column {}"), column),
                    }
                }
            }

            impl Row for $ty {
                const TABLE: &'static str = $table;
                const TABLE_ID: u8 = $id;
                const COLUMNS: &'static [ColumnDef] =
                    &[$(ColumnDef { name: $column, shape: <$value as Value>::SHAPE },)*];
                type Ref<'a, C: Recorder + ?Sized + 'a> = $reference<'a, C>;
                fn tracked<'a, C: Recorder + ?Sized>(&'a self, uuid: Uuid, recorder: &'a C) -> $reference<'a, C> {
                    $reference { uuid, row: self, recorder }
                }
            }

            #[doc = concat!("A row of table `", $table, "` seen through a recorder: every access to a column is noted.")]
            pub struct $reference<'a, C: Recorder + ?Sized> {
                uuid: Uuid,
                row: &'a $ty,
                recorder: &'a C,
            }

            impl<'a, C: Recorder + ?Sized> $reference<'a, C> {
                /// The row's identifier.
                pub fn uuid(&self) -> Uuid {
                    self.uuid
                }
                /// The whole row; the columns in the mask are noted as read.
                pub fn columns(&self, mask: u64) -> &'a $ty {
                    self.recorder.read($id, self.uuid, mask);
                    self.row
                }
                $(
                    #[doc = $column_doc]
                    #[inline]
                    pub fn $field(&self) -> &'a $value {
                        self.recorder.read($id, self.uuid, 1 << $place);
                        &self.row.$field
                    }
                )*
            }

            impl<C: Recorder + ?Sized> Clone for $reference<'_, C> {
                fn clone(&self) -> Self {
                    *self
                }
            }
            impl<C: Recorder + ?Sized> Copy for $reference<'_, C> {}

            impl<C: Recorder + ?Sized> std::fmt::Debug for $reference<'_, C> {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    write!(f, "{} {} {:?}", $table, self.uuid, self.row)
                }
            }

            impl From<RowUpdate<$ty>> for Update {
                fn from(update: RowUpdate<$ty>) -> Update {
                    Update::$ty(update)
                }
            }
            impl From<RowChange<$ty>> for Change {
                fn from(change: RowChange<$ty>) -> Change {
                    Change::$ty(change)
                }
            }

            #[doc = concat!("Masks of the columns of table `", $table, "`.")]
            pub mod $module {
                $(#[doc = concat!("`", $column, "`: ", $column_doc)] pub const $constant: u64 = 1 << $place;)*
                /// All columns.
                pub const ALL: u64 = $($constant |)* 0;
            }
        )*

        /// Numbers of the tables.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum TableId { $(#[doc = concat!("Table `", $table, "`.")] $ty = $id,)* }

        impl TableId {
            /// All tables in the order of their numbers.
            pub const ALL: &'static [TableId] = &[$(TableId::$ty,)*];
            /// The table with that number.
            pub fn from_number(number: u8) -> Option<TableId> {
                Self::ALL.get(usize::from(number)).copied()
            }
            /// Name and columns.
            pub fn def(self) -> &'static TableDef {
                &Db::TABLES[self as usize]
            }
            /// The table's name as in the schema.
            pub fn name(self) -> &'static str {
                self.def().name
            }
        }

        /// A replica of the database: what the server lets us see of its tables.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Db { $(#[doc = $doc] pub $module: Table<$ty>,)* }

        /// An update of a row of any table as it came from the server.
        #[derive(Clone, Debug)]
        pub enum Update { $(#[doc = concat!("Of table `", $table, "`.")] $ty(RowUpdate<$ty>),)* }

        impl AnyUpdate for Update {
            fn blank(table: u8, uuid: Uuid) -> Update {
                match table {
                    $($id => Update::$ty(RowUpdate::blank(uuid)),)*
                    _ => panic!("there is no table number {table}"),
                }
            }
            fn table(&self) -> u8 {
                match self { $(Update::$ty(_) => $id,)* }
            }
            fn head(&self) -> UpdateHead {
                match self { $(Update::$ty(update) => update.head,)* }
            }
            fn parts_mut(&mut self) -> (&mut UpdateHead, &mut dyn Columns) {
                match self { $(Update::$ty(update) => update.parts_mut(),)* }
            }
        }

        /// What an update did to a row of any table.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Change { $(#[doc = concat!("Of table `", $table, "`.")] $ty(RowChange<$ty>),)* }

        impl Change {
            /// The table.
            pub fn table_id(&self) -> TableId {
                match self { $(Change::$ty(_) => TableId::$ty,)* }
            }
        }

        impl AnyChange for Change {
            fn table(&self) -> u8 {
                self.table_id() as u8
            }
            fn uuid(&self) -> Uuid {
                match self { $(Change::$ty(change) => change.uuid,)* }
            }
            fn columns(&self) -> u64 {
                match self { $(Change::$ty(change) => change.columns,)* }
            }
        }

        impl Database for Db {
            const NAME: &'static str = $database;
            const TABLES: &'static [TableDef] =
                &[$(TableDef { name: $table, columns: <$ty as Row>::COLUMNS },)*];
            type Update = Update;
            type Change = Change;

            fn apply(&mut self, update: Update) -> Option<Change> {
                match update { $(Update::$ty(update) => self.$module.apply(update).map(Change::$ty),)* }
            }

            fn replace_with(&mut self, fresh: Db, each: &mut dyn FnMut(Change)) {
                $(self.$module.replace(fresh.$module, |change| each(Change::$ty(change)));)*
            }
        }
    };
}
