//! The query language: one predicate, parsed, printed and evaluated
