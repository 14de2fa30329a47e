//! Everything that looks at Hansard from outside.

pub mod load;
