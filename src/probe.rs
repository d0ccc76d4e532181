//! What asks a target whether it is well.
