//! Interprets the schema table.
