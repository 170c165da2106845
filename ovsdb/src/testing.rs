//! For tests that edit databases at random.

use crate::model::{AnyChange, Database, EXISTENCE, Row};

/// Which columns have been read, and which have several values: what is read and never changes is not tested.
#[derive(Debug)]
pub struct Coverage<D: Database> {
    read: Vec<u64>,
    varied: Vec<u64>,
    database: std::marker::PhantomData<D>,
}

impl<D: Database> Default for Coverage<D> {
    fn default() -> Self {
        Coverage {
            read: vec![0; D::TABLES.len()],
            varied: vec![0; D::TABLES.len()],
            database: std::marker::PhantomData,
        }
    }
}

impl<D: Database> Coverage<D> {
    /// A row has changed.
    pub fn changed(&mut self, change: &D::Change) {
        let columns = change.columns();
        if columns & EXISTENCE == 0 {
            self.varied[usize::from(change.table())] |= columns;
        }
    }

    /// Rows are drawn like these.
    pub fn drawn<R: Row>(&mut self, rows: &[R]) {
        let first = rows.first().cloned().unwrap_or_default();
        for row in rows {
            self.varied[usize::from(R::TABLE_ID)] |= first.differences(row, !0);
        }
    }

    /// Columns of a table have been read.
    pub fn read(&mut self, table: u8, columns: u64) {
        self.read[usize::from(table)] |= columns;
    }

    /// What has been read and has one value only: `Table.column`.
    pub fn missing(&self) -> Vec<String> {
        let tables = D::TABLES.iter().zip(self.read.iter().zip(&self.varied));
        let missing = tables.flat_map(|(table, (read, varied))| {
            let names = table.names(read & !varied);
            names.map(move |column| format!("{}.{column}", table.name))
        });
        missing.collect()
    }
}
