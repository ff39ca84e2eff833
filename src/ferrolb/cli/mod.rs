//! The command line: definitions, offline commands, tables.
